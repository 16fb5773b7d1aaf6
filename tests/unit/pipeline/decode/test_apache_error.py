from __future__ import annotations

import pytest

from pipeline.decode import FORMATS
from pipeline.errors import DecodeError

RECORD_MS = 1_795_537_450_000
STAMP = {"timestamp": "2026-11-24T12:34:56.000Z"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "[Tue Nov 24 12:34:56 2026] [error] [client 192.0.2.7] File does not exist: /x",
            {"level": "error", "src_ip": "192.0.2.7", "event": "File does not exist: /x"},
        ),
        ("[Tue Nov 24 12:34:56 2026] [notice] ready", {"level": "notice", "event": "ready"}),
        (
            (
                "[Tue Nov 24 12:34:56.000123 2026] [core:crit] [pid 1:tid 2] [client "
                "192.0.2.7:5678] AH00126: Invalid URI"
            ),
            {
                "level": "critical",
                "logger": "core",
                "pid": 1,
                "tid": 2,
                "src_ip": "192.0.2.7",
                "src_port": 5678,
                "error_code": "AH00126",
                "event": "AH00126: Invalid URI",
            },
        ),
        (
            "[Tue Nov 24 12:34:56 2026] [ssl:warn] [pid 1] [client 2001:db8::1:443] x",
            {
                "level": "warning",
                "logger": "ssl",
                "pid": 1,
                "src_ip": "2001:db8::1",
                "src_port": 443,
                "event": "x",
            },
        ),
        (
            "[Tue Nov 24 12:34:56 2026] [error] [client 2001:db8::1] x",
            {"level": "error", "src_ip": "2001:db8::1", "event": "x"},
        ),
    ],
)
def test_both_forms(text: str, expected: dict[str, object]) -> None:
    event = FORMATS["apache_error"].decode(text.encode(), RECORD_MS)
    assert event.fields == expected | STAMP
    assert event.timed


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "[Tue Nov 24 12:34:56 2026] x",
        "[Tue Nov 31 12:34:56 2026] [error] x",
        "[Tue Nov 24 12:34:56 2026] [odd] x",
    ],
)
def test_what_is_no_error_log_is_refused(text: str) -> None:
    with pytest.raises(DecodeError):
        FORMATS["apache_error"].decode(text.encode(), RECORD_MS)
