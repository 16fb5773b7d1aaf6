"""The job without Kafka: files in, messages out, and what a restart remembers."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from consumers.clock import now_ms
from consumers.embedded import Embedded
from consumers.files import FileReader
from consumers.metrics import Metrics
from consumers.rules import load_rules
from consumers.state import Database, StateError
from pipeline.config.read import read_config
from pipeline.decode import choose
from pipeline.detect.detect import Detect, Source
from pipeline.notify.group import Integration

if TYPE_CHECKING:
    from consumers.receivers.receiver import Receiver
    from pipeline.notify.notification import Notification, Result

_ROOT = Path(__file__).resolve().parents[3]
_RULE = """
title: Boom
id: 6d0f6a4e-6a2f-4f6e-9a65-0d5f0ac6f001
name: boom
status: test
logsource: {category: application}
detection:
  sel: {event|contains: boom}
  condition: sel
level: high
---
title: Many Booms
id: 6d0f6a4e-6a2f-4f6e-9a65-0d5f0ac6f002
status: test
correlation:
  type: event_count
  rules: [boom]
  group-by: [service]
  timespan: 1m
  condition: {gte: 3}
level: high
"""
_CONFIG = """
rules: [{rules}]
web: {{enabled: false}}
route: {{receiver: file, group_by: [alertname, service], group_wait: {wait}, group_interval: 1m}}
receivers: [{{name: file, jsonl_configs: [{{path: "{out}"}}]}}]
"""


class Job:
    """A folder with a rule, a configuration and a log, and `tocsin run` on them."""

    def __init__(self, folder: Path) -> None:
        self.log = folder / "app.log"
        self.out = folder / "messages.jsonl"
        self.config = folder / "tocsin.yml"
        self._state = folder / "state.db"
        (folder / "rule.yml").write_text(_RULE)
        self.configure()

    def configure(self, wait: str = "1s") -> None:
        rules = self.config.parent / "rule.yml"
        self.config.write_text(_CONFIG.format(rules=rules, out=self.out, wait=wait))

    def command(self, *more: str, files: tuple[Path, ...] = (), state: bool = True) -> list[str]:
        return [
            sys.executable, "-m", "pipeline.consumer", "run", "--config", str(self.config),
            *(["--state", str(self._state)] if state else []), *more, *map(str, files or [self.log]),
        ]  # fmt: skip

    def run(
        self, *more: str, files: tuple[Path, ...] = (), state: bool = True, stdin: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*more, files=files, state=state),
            cwd=_ROOT,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            input=stdin,
        )

    def follow_until_read(self, sign: int, *, state: bool) -> tuple[int, str]:
        """Follow the log, and send a signal as soon as its file has been read to the end."""
        process = subprocess.Popen(
            self.command("--follow", state=state), cwd=_ROOT, stderr=subprocess.PIPE, text=True
        )
        try:
            while process.poll() is None and _read_to(process.pid, self.log) < self.log.stat().st_size:
                os.sched_yield()
            process.send_signal(sign)
            _, errors = process.communicate(timeout=30)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
        return process.returncode, errors

    def write(self, *events: dict[str, object]) -> None:
        with self.log.open("ab") as log:
            for event in events:
                log.write(json.dumps(event).encode() + b"\n")

    def messages(self) -> list[dict[str, Any]]:  # Any: what JSON holds
        return [json.loads(line) for line in self.out.read_text().splitlines()] if self.out.exists() else []


def _read_to(pid: int, path: Path) -> int:
    """Return how far a process has read a file that it has open."""
    for link in Path(f"/proc/{pid}/fd").glob("*"):
        try:
            if link.resolve() == path:
                told = Path(f"/proc/{pid}/fdinfo/{link.name}").read_text().split()
                return int(told[told.index("pos:") + 1])
        except (FileNotFoundError, ProcessLookupError):
            continue
    return 0


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return Job(tmp_path)


def _boom(second: int, service: str = "shop", hour: int = 10) -> dict[str, object]:
    return {"timestamp": f"2026-03-01T{hour}:00:{second:02}Z", "service": service, "event": f"boom {second}"}


def test_alerts_of_a_file_are_sent_with_exact_counts(job: Job) -> None:
    job.write(*(_boom(n) for n in range(5)), *(_boom(n, "web") for n in range(2)))
    done = job.run()
    assert done.returncode == 0, done.stderr
    (message,) = job.messages()
    (alert,) = message["alerts"]
    assert (alert["labels"]["alertname"], alert["labels"]["service"], alert["count"]) == (
        "Many Booms",
        "shop",
        5,
    )
    assert "7 events" in done.stderr


def test_restart_neither_repeats_nor_misses(job: Job) -> None:
    job.write(_boom(0), _boom(1))
    assert job.run().returncode == 0
    assert job.messages() == []
    # Two are counted; the third event, read by the next process, completes the window.
    job.write(_boom(2))
    assert job.run().returncode == 0
    assert [m["reason"] for m in job.messages()] == ["first"]
    assert job.run().returncode == 0
    assert len(job.messages()) == 1
    job.write(_boom(3))
    assert job.run().returncode == 0
    last = job.messages()[-1]
    assert last["alerts"][0]["count"] == 4
    assert last["reason"] == "update"


def test_following_goes_on_until_it_is_told_to_stop(job: Job) -> None:
    job.write(_boom(0), _boom(1))
    process = subprocess.Popen(
        job.command("--follow"),
        cwd=_ROOT,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    try:
        job.write(_boom(2))
        # The message is there when its file gets its first line.
        while not job.messages() and process.poll() is None:
            os.sched_yield()
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=30)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
    assert process.returncode == 0, errors
    assert "3 events" in errors


def test_standard_input_is_read_to_its_end(job: Job) -> None:
    lines = "".join(json.dumps(_boom(n)) + "\n" for n in range(3))
    done = job.run(files=(Path("-"),), stdin=lines)
    assert done.returncode == 0, done.stderr
    assert len(job.messages()) == 1


def test_missing_file_is_an_error_that_names_it(job: Job) -> None:
    done = job.run()
    assert done.returncode == 2
    assert str(job.log) in done.stderr
    assert "Traceback" not in done.stderr


def test_hostile_bytes_leave_the_events_around_them_counted(job: Job) -> None:
    job.write(_boom(0))
    with job.log.open("ab") as log:
        log.write(b'{"event": "bo\n' + b"\xff\xfe\x00\x00\n" + b"[" * 1000 + b"]" * 1000 + b"\n")
        log.write(b'{"event": "\\ud800"}\n{"n": 1e999, "n": 2}\n' + b"x" * 3_000_000 + b"\n\n")
    job.write(_boom(1), _boom(2))
    done = job.run()
    assert done.returncode == 0, done.stderr
    (message,) = job.messages()
    assert message["alerts"][0]["count"] == 3


def test_older_file_after_a_younger_one_is_not_late(job: Job) -> None:
    job.write(*(_boom(n, hour=12) for n in range(5)))
    younger = job.log.rename(job.log.with_name("younger.log"))
    job.write(*(_boom(n, "web", hour=9) for n in range(4)))
    done = job.run(files=(younger, job.log), state=False)
    assert done.returncode == 0, done.stderr
    assert "too late" not in done.stderr
    alerts = [alert for message in job.messages() for alert in message["alerts"]]
    assert sorted((a["labels"]["service"], a["count"]) for a in alerts) == [("shop", 5), ("web", 4)]


def test_file_that_took_anothers_place_between_two_runs_is_read_whole(job: Job) -> None:
    job.write(*({**_boom(n), "event": f"nothing {n} {'x' * 100}"} for n in range(9)))
    assert job.run().returncode == 0
    job.log.unlink()
    job.write(*(_boom(n) for n in range(20, 23)))
    assert job.run().returncode == 0
    assert [m["count"] for m in job.messages()] == [3]
    # And it goes on from there.
    job.write(_boom(24))
    assert job.run().returncode == 0
    assert job.messages()[-1]["count"] == 4


def test_standard_input_of_a_second_run_is_not_what_the_first_one_read(job: Job) -> None:
    first = "".join(json.dumps({**_boom(n), "event": "nothing at all"}) + "\n" for n in range(9))
    second = "".join(json.dumps(_boom(n)) + "\n" for n in range(20, 23))
    for text in (first, second):
        assert job.run(files=(Path("-"),), stdin=text).returncode == 0
    assert [m["count"] for m in job.messages()] == [3]


def test_rotation_does_not_make_a_straggler_late(job: Job) -> None:
    job.write(_boom(10), _boom(20))
    rotated = job.log.rename(job.log.with_name("app.log.1"))
    job.log = rotated
    assert job.run(files=(rotated.with_name("app.log.1"),)).returncode == 0
    # Written by another thread a moment before the last line of the run before.
    job.write(_boom(19))
    done = job.run()
    assert "too late" not in done.stderr
    assert [m["count"] for m in job.messages()] == [3]


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
def test_stop_without_a_state_file_tells_what_waits(job: Job, sign: int) -> None:
    job.configure(wait="1h")
    job.write(*(_boom(n) for n in range(3)), {**_boom(4), "event": "the last line"})
    code, errors = job.follow_until_read(sign, state=False)
    assert code == 0, errors
    assert [m["count"] for m in job.messages()] == [3]


def test_stop_with_a_state_file_leaves_what_waits_to_the_next_run(job: Job) -> None:
    job.configure(wait="1h")
    job.write(*(_boom(n) for n in range(3)), {**_boom(4), "event": "the last line"})
    code, errors = job.follow_until_read(signal.SIGTERM, state=True)
    assert code == 0, errors
    assert job.messages() == []
    assert job.run().returncode == 0
    assert [(m["reason"], m["count"]) for m in job.messages()] == [("first", 3)]


def test_file_that_breaks_off_is_named_and_what_came_before_it_is_told(job: Job) -> None:
    job.write(*(_boom(n) for n in range(2000)))
    whole = gzip.compress(job.log.read_bytes())
    broken = job.log.with_name("broken.log.gz")
    broken.write_bytes(whole[: len(whole) // 2])
    done = job.run(files=(broken,), state=False)
    assert done.returncode == 2
    assert "damaged" in done.stderr
    assert str(broken) in done.stderr
    assert "Traceback" not in done.stderr
    assert len(job.messages()) == 1


def test_failed_message_is_said_and_told_by_the_next_run(job: Job) -> None:
    job.write(*(_boom(n) for n in range(3)))
    job.out.mkdir()
    done = job.run()
    assert done.returncode == 1
    assert "1 failed" in done.stderr
    job.out.rmdir()
    assert job.run().returncode == 0
    assert [(m["reason"], m["count"]) for m in job.messages()] == [("first", 3)]


def test_state_file_of_a_run_that_was_stopped_holds_nothing_back(job: Job) -> None:
    # A partition that is read no more would keep the time of all windows where it was.
    job.write(*(_boom(n, hour=9) for n in range(3)))
    code, errors = job.follow_until_read(signal.SIGTERM, state=True)
    assert code == 0, errors
    job.log = job.log.with_name("other.log")
    job.write(*(_boom(n, "web", hour=11) for n in range(3)), _boom(0, "db", hour=13))
    assert job.run().returncode == 0
    (over,) = [
        alert
        for message in job.messages()
        for alert in message["alerts"]
        if alert["labels"]["service"] == "web"
    ][-1:]
    assert over["count"] == 3
    assert over["endsAt"] is not None


class _Hung:
    """A receiver that never answers, and asks for a stop when it is called."""

    edits = False
    channel = "hung"
    interval_s = 0.0

    def __init__(self, stop: asyncio.Event) -> None:
        self._stop = stop
        self.closed = False

    async def send(self, notification: Notification) -> Result:
        self._stop.set()
        await asyncio.Event().wait()
        raise AssertionError(notification)

    async def close(self) -> None:
        self.closed = True


def _embedded(job: Job, database: Database, receiver: Receiver) -> tuple[Embedded, FileReader]:
    settings = read_config(job.config.read_text(), str(job.config), {})
    built = {("file", 0): (receiver, Integration("file", 0, edits=False, send_resolved=True))}
    embedded = Embedded(
        settings,
        Detect(load_rules(settings.config.rules), lateness_ms=30_000, idle_timeout_ms=60_000),
        built,
        database,
        Metrics(now_ms),
        source_of=lambda _: Source(timed=False),
        clock_ms=now_ms,
    )
    reader = FileReader(
        [job.log],
        decoder=lambda _: choose("auto"),
        follow=False,
        positions=database.position,
        clock_ms=now_ms,
    )
    return embedded, reader


@pytest.mark.parametrize("kept", [False, True])
async def test_receiver_that_hangs_does_not_outlast_a_stop(
    job: Job, monkeypatch: pytest.MonkeyPatch, kept: bool
) -> None:
    monkeypatch.setattr("consumers.embedded._STOP_S", 0.01)
    monkeypatch.setattr("consumers.embedded._STOP_KEPT_S", 0.01)
    job.write(*(_boom(n) for n in range(3)))
    stop = asyncio.Event()
    receiver = _Hung(stop)
    database = Database(job.log.with_name("hung.db") if kept else None)
    embedded, reader = _embedded(job, database, receiver)
    async with asyncio.timeout(30):
        summary = await embedded.run(reader, [str(job.log)], stop)
    database.close()
    assert (summary.sent, summary.failed) == (0, 1)
    assert receiver.closed


async def test_state_that_cannot_be_written_is_one_error_that_says_so(job: Job) -> None:
    job.write(_boom(0))
    database = Database(None)
    receiver = _Hung(asyncio.Event())
    embedded, reader = _embedded(job, database, receiver)
    database.close()
    with pytest.raises(StateError, match="state in memory"):
        await embedded.run(reader, [str(job.log)], asyncio.Event())
    assert receiver.closed


async def test_path_is_the_same_however_it_is_written(job: Job) -> None:
    job.write(*(_boom(n) for n in range(2)), _boom(0, "web", hour=11))
    database = Database(None)
    embedded, reader = _embedded(job, database, _Hung(asyncio.Event()))
    await embedded.run(reader, [f"{job.log.parent}/sub/../{job.log.name}"], asyncio.Event())
    database.close()
    assert [*embedded.correlate.watermarks.progress] == [f"{job.log}/0"]
    assert embedded.correlate.watermarks.value_ms > 0
