"""JSON lines: one object a notification, whole, masked, appended."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from consumers.receivers.jsonl import JsonLinesReceiver, line_of
from pipeline.notify.notification import Reason, Receipt, Status
from tests.unit.consumers.receivers.builders import alert, notification

if TYPE_CHECKING:
    import pytest


async def test_each_notification_is_one_line_with_all_fields(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    receiver = JsonLinesReceiver(path)
    for reason in (Reason.FIRST, Reason.RESOLVED):
        sent = notification(
            alert(over=True, texts=("a\nb\x00",)),
            reason=reason,
            receipt=Receipt("c", "1"),
            changed=("b", "a"),
        )
        assert (await receiver.send(sent)).status is Status.SENT
    await receiver.close()
    first, second = (json.loads(line) for line in path.read_text().splitlines())
    assert (first["reason"], second["reason"]) == ("first", "resolved")
    assert set(first) == {
        *("id", "receiver", "integration", "group_key", "group_labels", "reason"),
        *("alerts", "changed", "receipt", "severity", "count"),
    }
    assert first["changed"] == ["a", "b"]
    assert first["count"] == 12_345
    assert first["alerts"][0]["samples"][0]["text"] == "a\nb\x00"
    assert first["alerts"][0]["startsAt"] == "2026-10-07T09:14:03Z"


async def test_standard_output_is_written_when_no_path_is_given(
    capfdbinary: pytest.CaptureFixture[bytes],
) -> None:
    await JsonLinesReceiver().send(notification())
    assert json.loads(capfdbinary.readouterr().out)["id"] == "n-1"


async def test_path_that_cannot_be_written_is_a_failure(tmp_path: Path) -> None:
    result = await JsonLinesReceiver(tmp_path / "none" / "out.jsonl").send(notification())
    assert (result.status, result.detail) == (Status.FAILED, "No such file or directory")


def test_secrets_are_masked_and_lone_surrogates_taken() -> None:
    line = line_of(
        notification(alert("x", texts=("password=hunter2 \ud800",), labels={"key": "token=hunter2"}))
    )
    assert b"hunter2" not in line
    json.loads(line)


async def test_full_disk_is_a_failure() -> None:
    result = await JsonLinesReceiver(Path("/dev/full")).send(notification())
    assert (result.status, result.detail) == (Status.FAILED, "No space left on device")


def test_line_that_a_full_disk_breaks_off_is_taken_back(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    code = """
import asyncio, resource, signal, sys
from pathlib import Path
from consumers.receivers.jsonl import JsonLinesReceiver
from tests.unit.consumers.receivers.builders import notification
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
result = asyncio.run(JsonLinesReceiver(Path(sys.argv[1])).send(notification()))
print(result.status.value, result.detail)
"""
    path.write_bytes(b"before\n")
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "failed File too large\n"
    assert path.read_bytes() == b"before\n"
