"""All of a large rule set against the floor and against another engine, on three kinds of events.

    python -m benchmarks.sigma --rules FOLDER [--windows FILE] [--rsigma BINARY]

(a) application events of a source that declares its log source; (b) the same without; (c) Windows events,
which say their own. First from a real broker, against `getmany` and `orjson.loads` of every event; then from
JSON lines in a file, where rsigma reads the same lines with the same rules: its CPU time less that of a run
over no events, parsing included, as ours is. Counted is CPU time an event; contenders take turns.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from benchmarks.events import application_events
from benchmarks.kafka import PARTITIONS, Topic, broker
from benchmarks.measure import interleave, table
from consumers.kafka.lean import poll_lean
from consumers.rules import rule_files
from pipeline.detect.detect import Detect, Source
from pipeline.errors import RuleError
from pipeline.event import Batch, Event, LogSource, Partition
from pipeline.sigma.form import Rule
from pipeline.sigma.matcher.match import compile_rule
from pipeline.sigma.matcher.subject import Subject
from pipeline.sigma.reader.read import read_each
from pipeline.sigma.ruleset import RuleSet

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from aiokafka import AIOKafkaConsumer, TopicPartition

__all__ = ["load_all", "run"]

_POLLED = 1000
# A web service in Python with its access log, as it would be declared.
_DECLARED = Source("json", (LogSource("python", "", "application"), LogSource("", "", "webserver")))
_OPEN = Source("json")
# rsigma takes one log source, so that it has fewer rules to look at than we do.
_ROUTED = ("--logsource-routing", "--event-logsource", "product=python,category=application")


def load_all(folder: str) -> RuleSet:
    """Return the rules under a folder that can be read, and say which can't."""
    loaded = []
    for file in rule_files([folder]):
        for rule in read_each(file.read_text(encoding="utf-8"), str(file)):
            if isinstance(rule, RuleError):
                sys.stderr.write(f"left out: {rule}\n")
            else:
                loaded.append(rule)
    return RuleSet(loaded)


def _windows_events(path: str) -> list[tuple[bytes, bytes]]:
    """Return events of a file of regression cases, as they are and as flat objects for who wants those."""
    events = []
    for line in Path(path).read_bytes().splitlines():
        for event in orjson.loads(line)["events"]:
            inner = event["Event"]
            system = inner["System"]
            number = system["EventID"]
            flat = {
                "EventID": number.get("#text") if isinstance(number, dict) else number,
                "Channel": system["Channel"],
                "Computer": system["Computer"],
                "Provider_Name": system["Provider"]["#attributes"]["Name"],
                **(inner.get("EventData") or {}),
            }
            events.append((orjson.dumps(event), orjson.dumps(flat)))
    return events


def _stage(detect: Detect, source: Source, topic: str) -> Callable[[TopicPartition, Sequence[Any]], object]:
    """Return what does the detect stage's work on a topic's records; rules are compiled before."""
    for number in range(PARTITIONS):
        detect.open(Partition(topic, number), source, 0, 0)

    def work(tp: TopicPartition, rows: Sequence[Any]) -> None:
        offsets, times = [r.offset for r in rows], [r.timestamp for r in rows]
        batch = Batch(Partition(tp.topic, tp.partition), offsets, times, [r.value for r in rows])
        detect.process(batch, time.time_ns() // 1_000_000)

    return work


def _parse(_: TopicPartition, rows: Sequence[Any]) -> None:
    for row in rows:
        orjson.loads(row.value)


def _getmany(consumer: AIOKafkaConsumer) -> Any:
    return consumer.getmany(timeout_ms=500)


def _getmany_some(consumer: AIOKafkaConsumer) -> Any:
    return consumer.getmany(timeout_ms=500, max_records=_POLLED)


def _lean(consumer: AIOKafkaConsumer) -> Any:
    return poll_lean(consumer, 500, _POLLED)


async def _from_kafka(detect: Detect, payload: list[bytes], rounds: int) -> str:
    floor = "getmany + orjson.loads (the floor)"
    name = f"bench-{os.getpid()}"
    async with broker() as servers:
        topic = Topic(servers, name)
        await topic.fill(payload)

        async def declared() -> int:
            return await topic.read(_lean, _stage(detect, _DECLARED, name))

        async def open_() -> int:
            return await topic.read(_lean, _stage(detect, _OPEN, name))

        figures = await interleave(
            {
                floor: lambda: topic.read(_getmany, _parse),
                "the same, 1,000 records a call": lambda: topic.read(_getmany_some, _parse),
                "(a) detect stage, log source declared": declared,
                "(b) detect stage, no log source": open_,
            },
            rounds,
        )
    return table(figures, floor)


class _Lines:
    """JSON lines in a file, and what takes them through an engine."""

    def __init__(self, folder: Path, name: str, events: Sequence[bytes]) -> None:
        self.path = folder / f"{name}.jsonl"
        self.path.write_bytes(b"\n".join(events) + b"\n")
        self.events = len(events)

    async def parse(self) -> int:
        with self.path.open("rb") as lines:
            for line in lines:
                orjson.loads(line)
        return self.events

    def detect(self, detect: Detect, source: Source) -> Callable[[], Awaitable[int]]:
        partition = Partition(str(self.path))

        async def work() -> int:
            detect.open(partition, source, 0, 0)
            now_ms = time.time_ns() // 1_000_000
            offset = 0
            with self.path.open("rb") as lines:
                while values := [line[:-1] for line in lines.readlines(512 * 1024)]:
                    offsets = range(offset, offset + len(values))
                    detect.process(Batch(partition, offsets, [now_ms] * len(values), values), now_ms)
                    offset += len(values)
            return offset

        return work


def _spent_us(command: Sequence[str]) -> float:
    """Run a command and return the CPU time that it took, in µs."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return 1e6 * (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def _rsigma(binary: str, rules: str, lines: _Lines, nothing: _Lines, *options: str) -> float:
    command = [binary, "engine", "eval", "-q", "--no-stats", "--input-format", "json", "-r", rules, *options]
    loading_us = _spent_us([*command, "-e", f"@{nothing.path}"])
    return (_spent_us([*command, "-e", f"@{lines.path}"]) - loading_us) / lines.events


def _without_universal(rules: str, loaded: RuleSet, folder: Path) -> tuple[Path, RuleSet]:
    """Return a copy of a folder of rules, and what it holds, without rules that match an empty event.

    Where one such rule is loaded every event has to be decoded and reported, whatever the engine.
    """
    nothing = Subject(Event(0, {}, "{}", structured=True))
    everywhere = {
        r.about.file for r in loaded.rules.values() if isinstance(r, Rule) and compile_rule(r)(nothing)
    }
    shutil.copytree(rules, folder)
    for file in everywhere:
        (folder / Path(file).relative_to(rules)).unlink()
    sys.stderr.write(f"matches every event: {', '.join(sorted(everywhere))}\n")
    return folder, load_all(str(folder))


async def _from_lines(
    detect: Detect,
    rules: str,
    payload: list[bytes],
    windows: list[tuple[bytes, bytes]],
    binary: str,
    rounds: int,
) -> str:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        app = _Lines(folder, "application", payload)
        nothing = _Lines(folder, "nothing", [b"{}"])
        others, quiet = _without_universal(rules, detect.rules, folder / "rules")
        fewer = Detect(quiet, lateness_ms=30_000, idle_timeout_ms=60_000)
        nested = _Lines(folder, "windows", [nested for nested, _ in windows])
        flat = _Lines(folder, "flat", [flat for _, flat in windows])
        contenders: dict[str, Callable[[], Awaitable[int]]] = {
            "application events, orjson.loads": app.parse,
            "(a) detect stage, log source declared": app.detect(detect, _DECLARED),
            "(b) detect stage, no log source": app.detect(detect, _OPEN),
            "(b) the same, without rules that match every event": app.detect(fewer, _OPEN),
        }
        if windows:
            contenders["Windows events, orjson.loads"] = nested.parse
            contenders["(c) detect stage, Windows events"] = nested.detect(detect, _OPEN)
        # As the worker does once its rules are loaded.
        gc.collect()
        gc.freeze()
        figures: dict[str, list[float]] = {}
        for turn in range(rounds + 1):
            # One round of each at a time, so that the other engine's turn comes between.
            once = await interleave(contenders, 1)
            if binary:
                once["rsigma (a) log-source routing"] = [_rsigma(binary, rules, app, nothing, *_ROUTED)]
                once["rsigma (b) no log source"] = [_rsigma(binary, rules, app, nothing)]
                once["rsigma (b) without those rules"] = [_rsigma(binary, str(others), app, nothing)]
                if windows:
                    once["rsigma (c) Windows events, flattened"] = [_rsigma(binary, rules, flat, nothing)]
            if turn:
                for contender, values in once.items():
                    figures.setdefault(contender, []).extend(values)
    return table(figures, "application events, orjson.loads")


async def run(rules: str, windows: str, binary: str, events: int, rounds: int) -> str:
    """Let the contenders take turns and return the tables.

    Args:
        rules: a folder of Sigma rules.
        windows: a file of regression cases, JSON lines with `events`; or empty.
        binary: rsigma's; or empty.
        events: application events.
        rounds: how often each one's turn comes.
    """
    loaded = load_all(rules)
    detect = Detect(loaded, lateness_ms=30_000, idle_timeout_ms=60_000)
    payload = application_events(events)
    cases = _windows_events(windows) if windows else []
    repeated = cases * max(1, events // 10 // max(len(cases), 1))
    declared, unfiltered = len(detect.applicable(_DECLARED)), len(detect.unfiltered(_OPEN))
    size = sum(map(len, payload)) / events
    also = f", {len(repeated):,} Windows events of {_mean(repeated):.0f}" if repeated else ""
    parts = [
        f"{len(loaded.rules):,} rules: {declared} of the log source declared; {unfiltered} have no witness",
        f"{events:,} application events of {size:.0f} bytes{also}",
        "",
        "from Kafka:",
        await _from_kafka(detect, payload, rounds),
        "",
        "from JSON lines:",
        await _from_lines(detect, rules, payload, repeated, binary, rounds),
    ]
    return "\n".join(parts)


def _mean(events: list[tuple[bytes, bytes]]) -> float:
    return sum(len(nested) for nested, _ in events) / len(events)


if __name__ == "__main__":
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument(
        "--rules", required=True, metavar="FOLDER", help="Sigma rules, as SigmaHQ's repository has"
    )
    asked.add_argument(
        "--windows", default="", metavar="FILE", help="regression cases: JSON lines with `events`"
    )
    asked.add_argument("--rsigma", default="", metavar="BINARY", help="the other engine")
    asked.add_argument("--events", type=int, default=200_000)
    asked.add_argument("--rounds", type=int, default=5)
    args = asked.parse_args()
    report = run(args.rules, args.windows, args.rsigma, args.events, args.rounds)
    sys.stdout.write(asyncio.run(report) + "\n")
