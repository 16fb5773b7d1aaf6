"""The job without Kafka: files in, messages out, and what a restart remembers."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

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
route: {{receiver: file, group_by: [alertname, service], group_wait: 1s, group_interval: 1m}}
receivers: [{{name: file, jsonl_configs: [{{path: "{out}"}}]}}]
"""


class Job:
    """A folder with a rule, a configuration and a log, and `tocsin run` on them."""

    def __init__(self, folder: Path) -> None:
        self.log = folder / "app.log"
        self.out = folder / "messages.jsonl"
        self._config = folder / "tocsin.yml"
        self._state = folder / "state.db"
        (folder / "rule.yml").write_text(_RULE)
        self._config.write_text(_CONFIG.format(rules=folder / "rule.yml", out=self.out))

    def command(self, *more: str) -> list[str]:
        return [
            sys.executable, "-m", "pipeline.consumer", "run", "--config", str(self._config),
            "--state", str(self._state), *more, str(self.log),
        ]  # fmt: skip

    def run(self, *more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*more), cwd=_ROOT, capture_output=True, text=True, timeout=60, check=False
        )

    def write(self, *events: dict[str, object]) -> None:
        with self.log.open("ab") as log:
            for event in events:
                log.write(json.dumps(event).encode() + b"\n")

    def messages(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in self.out.read_text().splitlines()] if self.out.exists() else []


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return Job(tmp_path)


def _boom(second: int, service: str = "shop") -> dict[str, object]:
    return {"timestamp": f"2026-03-01T10:00:{second:02}Z", "service": service, "event": f"boom {second}"}


def test_alerts_of_a_file_are_sent_with_exact_counts(job: Job) -> None:
    job.write(*(_boom(n) for n in range(5)), *(_boom(n, "web") for n in range(2)))
    done = job.run()
    assert done.returncode == 0, done.stderr
    (message,) = job.messages()
    (alert,) = message["alerts"]  # type: ignore[misc]
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
    assert last["alerts"][0]["count"] == 4  # type: ignore[index]
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
    command = [*job.command()[:-1], "-"]
    done = subprocess.run(
        command, cwd=_ROOT, input=lines, capture_output=True, text=True, timeout=60, check=False
    )
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
    assert message["alerts"][0]["count"] == 3  # type: ignore[index]
