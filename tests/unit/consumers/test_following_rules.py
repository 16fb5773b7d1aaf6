"""`tocsin run` with rules that change or fail meanwhile: as a process, as people run it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.unit.consumers.rules.rule_files import detection, write

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).resolve().parents[3]
_CONFIG = """
rules: [{folder}/rules]
python_rules: [{folder}/own.py]
web: {{enabled: false}}
route: {{receiver: file, group_by: [alertname], group_wait: 0s, group_interval: 1m}}
receivers: [{{name: file, jsonl_configs: [{{path: "{folder}/out.jsonl"}}]}}]
"""
_OWN = """
from pipeline.python_rule import rule

@rule("own", "Own", needles=["odd"])
def own(event):
    return event.fields["no such field"]
"""


class Run:
    """`tocsin run` in a folder."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder = folder
        self.told = folder / "stderr.txt"
        self.log = folder / "app.log"
        (folder / "tocsin.yml").write_text(_CONFIG.format(folder=folder))
        (folder / "own.py").write_text(_OWN)
        self.rule("boom")
        self.log.touch()
        with self.told.open("wb") as told:
            self.process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "pipeline.consumer", "run"),
                    *("--config", str(folder / "tocsin.yml"), *options, str(self.log)),
                ],
                cwd=ROOT,
                env={**os.environ, "TOCSIN_CACHE": str(folder / "cache")},
                stdin=subprocess.DEVNULL,
                stderr=told,
            )

    def rule(self, word: str) -> None:
        write(self.folder / "rules", rule=detection(f"rule_{word}", f"{{event|contains: {word}}}"))

    def write(self, event: str) -> None:
        with self.log.open("a") as log:
            log.write(json.dumps({"event": event}) + "\n")

    def alerts(self) -> list[str]:
        out = self.folder / "out.jsonl"
        lines = out.read_text().splitlines() if out.exists() else []
        return [a["labels"]["alertname"] for line in lines for a in json.loads(line)["alerts"]]

    def until(self, condition: Callable[[], bool]) -> None:
        """Wait for what another process does; it tells nobody."""
        for _ in range(3000):
            if condition():
                return
            assert self.process.poll() is None, self.told.read_text()
            threading.Event().wait(0.01)
        raise AssertionError(self.told.read_text())

    def says(self, text: str) -> bool:
        return text in self.told.read_text()

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    running = Run(tmp_path, "--follow")
    try:
        yield running
    finally:
        running.end()


def test_rules_change_under_a_run_that_follows(run: Run) -> None:
    run.write("boom 1")
    run.until(lambda: run.alerts() == ["rule_boom"])
    run.rule("bang")
    run.process.send_signal(signal.SIGHUP)
    run.until(lambda: run.says("rules reloaded"))
    run.write("boom 2")
    run.write("bang 1")
    run.until(lambda: "rule_bang" in run.alerts())
    # Nobody has to say so: the file is looked at.
    write(run.folder / "rules", rule="title: [\n")
    run.until(lambda: run.says("changed rules are refused; those that run go on"))
    assert run.says("rule.yml:2: not valid YAML")
    run.write("odd")
    run.until(lambda: run.says("a rule in Python has failed"))
    run.process.send_signal(signal.SIGTERM)
    assert run.process.wait(30) == 0
    assert run.alerts().count("rule_bang") >= 1
    assert not run.says("Traceback")


def test_what_a_rule_in_python_raised_is_told_at_the_end_as_well(tmp_path: Path) -> None:
    (tmp_path / "app.log").write_text('{"event":"odd"}\n' * 3)
    run = Run(tmp_path)
    try:
        assert run.process.wait(30) == 0
    finally:
        run.end()
    (line,) = [line for line in run.told.read_text().splitlines() if "has failed" in line]
    assert json.loads(line)["error"] == "KeyError: 'no such field'"
