"""Real logs that lie beside the checkout: every line is an event with its own time, in the right format."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pipeline.decode import Auto, Joiner

if TYPE_CHECKING:
    from pipeline.event import Event

FOLDER = Path(__file__).parents[5] / "shared" / "data" / "loghub"
FORMATS = {
    "Apache_2k.log": "apache_error",
    "Linux_2k.log": "syslog",
    "OpenSSH_2k.log": "syslog",
    "OpenStack_2k.log": "basic",
}
RECORD_MS = 1_795_537_450_000  # 2026-11-24T16:24:10Z


def read(path: Path, chunk: int) -> tuple[str, list[Event]]:
    auto = Auto()
    joiner = Joiner(auto)
    data = path.read_bytes()
    framed = [
        f for at in range(0, len(data), chunk) for f in joiner.feed(data[at : at + chunk], at, RECORD_MS)
    ] + joiner.drain()
    assert b"".join(data[f.start : f.end] for f in framed) == data
    return auto.settled, [auto.decode(f.data, RECORD_MS) for f in framed]


def test_the_real_logs_are_there() -> None:
    assert sorted(path.name for path in FOLDER.glob("*.log")) == sorted(FORMATS)


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.log")), ids=lambda path: path.name)
@pytest.mark.parametrize("chunk", [4096, 1 << 20])
def test_every_line_is_an_event_with_its_own_time(path: Path, chunk: int) -> None:
    settled, events = read(path, chunk)
    assert settled == FORMATS[path.name]
    assert len(events) == 2000
    assert all(event.timed for event in events)
    assert all(event.fields["event"] for event in events)
    assert all("\r" not in event.text for event in events)


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.log")), ids=lambda path: path.name)
def test_times_are_those_written_in_the_lines(path: Path) -> None:
    _, events = read(path, 1 << 16)
    for event in events:
        at = dt.datetime.fromtimestamp(event.time_ms / 1000, dt.UTC)
        assert f"{at:%H:%M:%S}" in event.text
        assert f"{at:%Y-%m-%d}" in event.text or f"{at:%b}" in event.text
        assert event.fields["timestamp"] == f"{at:%Y-%m-%dT%H:%M:%S}.{event.time_ms % 1000:03}Z"
    if FORMATS[path.name] == "syslog":
        # No year is written: the latest that puts the time at most a day ahead of the record.
        assert all(RECORD_MS - 366 * 86_400_000 < e.time_ms <= RECORD_MS + 86_400_000 for e in events)
    else:
        assert {str(e.fields["timestamp"])[:4] for e in events} <= {"2005", "2017"}


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*SSH*.log")), ids=lambda path: path.name)
def test_failed_passwords_name_user_and_address(path: Path) -> None:
    _, events = read(path, 1 << 16)
    failed = [event for event in events if "Failed password for" in event.text]
    assert len(failed) > 500
    for event in failed:
        assert f"from {event.fields['src_ip']} port {event.fields['src_port']} ssh2" in event.text
        assert f"{event.fields['user']} from" in event.text
        assert event.fields["outcome"] == "failure"
    assert all("src_ip" in e.fields for e in events if " from " in e.text and "[preauth]" in e.text)
