from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.decode import FORMATS

RECORD_MS = 1_795_537_450_000
TEXT = FORMATS["text"]


@given(st.binary(max_size=200))
def test_text_never_fails_and_is_the_whole(raw: bytes) -> None:
    event = TEXT.decode(raw, RECORD_MS)
    assert event.fields["event"] == event.text == raw.decode("utf-8", "replace")


def test_a_leading_time_is_the_events_own() -> None:
    event = TEXT.decode(b"2026-11-24T12:34:56.5Z something", RECORD_MS)
    assert (event.time_ms, event.timed) == (1_795_523_696_500, True)
    assert event.fields["event"] == "2026-11-24T12:34:56.5Z something"


@pytest.mark.parametrize("raw", [b"", b"1999 things", b"2026-99-99 12:00:00 x", b"2036-11-24 12:00:00 x"])
def test_without_a_likely_time_the_records_serves(raw: bytes) -> None:
    event = TEXT.decode(raw, RECORD_MS)
    assert (event.time_ms, event.timed) == (RECORD_MS, False)
    assert "timestamp" not in event.fields
