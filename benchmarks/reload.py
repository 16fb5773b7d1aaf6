"""Loading and reloading a large rule set: how long it takes, and how long it keeps the next batch waiting.

    python -m benchmarks.reload RULES_FOLDER

Loads are timed in processes of their own, from the first import to compiled engines of a source without a log
source. For the pause, batches of 100 events go through the detect stage without a break while all rules are
reloaded beside it; counted is the longest time from the end of one batch to the end of the next.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import orjson

from benchmarks.events import application_events
from consumers.clock import now_ms, timer_ns
from consumers.logs import configure_logs
from consumers.rules import LiveRules, RuleCache, RuleSources, calm, load
from pipeline.detect.detect import Detect, Source
from pipeline.event import Batch, Partition

__all__ = ["run"]

_BATCH = 100
_SOURCE = Source("json")
_ROUNDS = 3


def _detect(live: LiveRules, cache: RuleCache) -> Detect:
    return Detect(
        live.rules,
        lateness_ms=30_000,
        idle_timeout_ms=60_000,
        databases=cache.databases,
        timer_ns=timer_ns,
    )


def _sources(rules: Path) -> RuleSources:
    return RuleSources((str(rules),), skip=True)


def _load_once(rules: Path, folder: Path) -> dict[str, float]:
    """Load in this process and return what it took, in seconds."""
    cache = RuleCache(folder, now_ms)
    began_s = time.perf_counter()
    with calm():
        loaded = load(_sources(rules), cache)
        loaded_s = time.perf_counter()
        detect = Detect(loaded.rules, lateness_ms=0, idle_timeout_ms=0, databases=cache.databases)
        detect.engine(_SOURCE)
    return {
        "rules": len(loaded.rules.rules),
        "refused": len(loaded.refused),
        "read": loaded.read,
        "pysigma": "sigma" in sys.modules,
        "load_s": loaded_s - began_s,
        "compile_s": time.perf_counter() - loaded_s,
    }


def _in_a_process(rules: Path, folder: Path) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.reload", str(rules), "--once", str(folder)]
    return orjson.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def _median(runs: list[dict[str, float]]) -> dict[str, float]:
    return sorted(runs, key=lambda r: r["load_s"] + r["compile_s"])[len(runs) // 2]


def _change(rules: Path, turn: int) -> None:
    """Change one rule in what it looks for, and so the compiled database as well."""
    (rules / "changing.yml").write_text(
        "title: Changing\nid: 1b3a2c44-0d0f-4e0a-8f0e-6f7ad7a3c001\nlogsource: {category: application}\n"
        f"detection: {{s: {{event|contains: 'never seen {turn}'}}, condition: s}}\n",
        "utf-8",
    )


def _times(rules: Path, place: Path) -> list[str]:
    runs: dict[str, list[dict[str, float]]] = {}
    for turn in range(_ROUNDS):
        folder = place / f"cache-{turn}"
        runs.setdefault("cold", []).append(_in_a_process(rules, folder))
        runs.setdefault("cached", []).append(_in_a_process(rules, folder))
        _change(rules, turn)
        runs.setdefault("one file changed", []).append(_in_a_process(rules, folder))
    lines = [f"{'':18}{'files read':>11}{'load':>9}{'compile':>10}   pySigma imported"]
    for name, results in runs.items():
        median = _median(results)
        lines.append(
            f"{name:18}{median['read']:11,.0f}{median['load_s']:8.2f}s{median['compile_s']:9.2f}s"
            f"   {'yes' if median['pysigma'] else 'no'}"
        )
    first = runs["cold"][0]
    return [f"{first['rules']:,.0f} rules, {first['refused']:,.0f} refused and left out", "", *lines]


class _Consumer:
    """Takes batches through the detect stage without a break, and knows the longest pause between two."""

    def __init__(self, live: LiveRules, detect: Detect) -> None:
        self._live = live
        self._detect = detect
        self._partition = Partition("bench")
        self._offset = 0
        self.batches = 0
        self.longest_s = 0.0
        self.began_s = self._ended_s = time.perf_counter()
        detect.open(self._partition, _SOURCE, 0, 0)

    def begin(self) -> None:
        """Forget what was measured."""
        self.batches, self.longest_s = 0, 0.0
        self.began_s = self._ended_s = time.perf_counter()

    def figures(self) -> str:
        mean_ms = 1000 * (time.perf_counter() - self.began_s) / max(self.batches, 1)
        return f"longest pause {1000 * self.longest_s:6.1f} ms, mean {mean_ms:5.2f} ms"

    async def run(self, events: list[bytes]) -> None:
        while True:
            async with self._live.detecting.batch():
                ms = now_ms()
                offsets = range(self._offset, self._offset + _BATCH)
                self._detect.process(Batch(self._partition, offsets, [ms] * _BATCH, events), ms)
            self._offset += _BATCH
            self.batches += 1
            now_s = time.perf_counter()
            self.longest_s = max(self.longest_s, now_s - self._ended_s)
            self._ended_s = now_s
            # As the session does, the loop gets its turn after each batch.
            await asyncio.sleep(0)


async def _pauses(rules: Path, folder: Path) -> list[str]:
    with calm():
        cache = RuleCache(folder, now_ms)
        live = LiveRules(_sources(rules), cache, now_ms)
        detect = live.detect = _detect(live, cache)
        consumer = _Consumer(live, detect)
    lines = []
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(consumer.run(application_events(_BATCH)))
        await asyncio.to_thread(_wait, consumer)
        lines.append(f"{'no reload':18}{'':10}{consumer.figures()}")
        for name in ("cold cache", "warm cache", "one file changed"):
            for turn in range(_ROUNDS):
                if name == "cold cache":
                    _empty(folder)
                elif name == "one file changed":
                    _change(rules, 100 + turn)
                consumer.begin()
                if not await live.reload():
                    raise RuntimeError("the reload was refused")
                took_s = time.perf_counter() - consumer.began_s
                lines.append(f"{name:18}{took_s:7.2f} s  {consumer.figures()}")
        running.cancel()
    return lines


def _empty(folder: Path) -> None:
    for file in folder.iterdir():
        file.unlink()


def _wait(consumer: _Consumer) -> None:
    """Let it run for a while: the first batches warm up."""
    while consumer.batches < 500:
        time.sleep(0.01)
    consumer.begin()
    while consumer.batches < 1000:
        time.sleep(0.01)


def run(folder: str) -> str:
    """Measure, and return the tables.

    Args:
        folder: a folder of Sigma rules; it is copied.
    """
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        rules = place / "rules"
        shutil.copytree(folder, rules, ignore=lambda _, names: [n for n in names if n.startswith(".")])
        _change(rules, -1)
        lines = _times(rules, place)
        lines += ["", f"batches of {_BATCH} events while all rules are reloaded:"]
        lines += asyncio.run(_pauses(rules, place / "cache-0"))
    return "\n".join(lines)


def main() -> None:
    """Run as a program."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument("rules", help="a folder of Sigma rules")
    arguments.add_argument("--once", metavar="CACHE", help=argparse.SUPPRESS)
    args = arguments.parse_args()
    configure_logs("text", logging.ERROR)
    if args.once:
        sys.stdout.write(orjson.dumps(_load_once(Path(args.rules), Path(args.once))).decode())
    else:
        print(run(args.rules))


if __name__ == "__main__":
    main()
