"""Brute force on a real log: whom the shipped rules name, next to whom an independent count finds."""

from __future__ import annotations

import datetime as dt
import re
from collections import defaultdict
from pathlib import Path

import pytest

from consumers.rules import load_rules
from pipeline.correlate.correlate import Correlate
from pipeline.detect.detect import Detect, Source
from pipeline.event import Batch, LogSource, Partition

_ROOT = Path(__file__).resolve().parents[2]
_LOG = _ROOT.parent / "shared" / "data" / "loghub" / "OpenSSH_2k.log"
_NOW = int(dt.datetime(2026, 3, 1, tzinfo=dt.UTC).timestamp() * 1000)
_WINDOW_S, _THRESHOLD = 300, 5
# What counts as one failed attempt: sshd's own line. A folded line stands for as many as it says.
_ATTEMPT = re.compile(
    r"^(\w{3} +\d+ \d\d:\d\d:\d\d) \S+ sshd\[\d+\]: Failed password for .* from (\S+) port \d+"
)
_FOLDED = re.compile(
    r"^(\w{3} +\d+ \d\d:\d\d:\d\d) \S+ sshd\[\d+\]: message repeated (\d+) times:"
    r" \[ Failed password for .* from (\S+) port"
)


def _counted_by_hand(lines: list[str]) -> set[str]:
    attempts: dict[str, list[float]] = defaultdict(list)
    for line in lines:
        if found := _ATTEMPT.match(line):
            time, address, times = found[1], found[2], 1
        elif found := _FOLDED.match(line):
            time, address, times = found[1], found[3], int(found[2])
        else:
            continue
        at = dt.datetime.strptime(f"2025 {time}", "%Y %b %d %H:%M:%S").replace(tzinfo=dt.UTC).timestamp()
        attempts[address] += [at] * times
    return {
        address
        for address, times in attempts.items()
        if any(len([t for t in times if end - _WINDOW_S < t <= end]) >= _THRESHOLD for end in times)
    }


def _named_by_rules(lines: list[str]) -> set[str]:
    rules = load_rules([str(_ROOT / "rules" / "ssh" / "brute_force.yml")])
    detect = Detect(rules, lateness_ms=30_000, idle_timeout_ms=60_000)
    correlate = Correlate(rules, resolve_timeout_ms=300_000)
    partition = Partition("OpenSSH_2k.log", 0)
    source = Source("auto", (LogSource(product="linux", service="sshd"),), timed=False)
    alerts = correlate.process([detect.open(partition, source, 0, _NOW)], 0)
    for start in range(0, len(lines), 100):
        values = [line.encode() for line in lines[start : start + 100]]
        offsets = list(range(start, start + len(values)))
        batch = Batch(partition, offsets, [_NOW] * len(values), values)
        alerts += correlate.process(detect.process(batch, _NOW), start + 1)
    alerts += correlate.process([detect.finish(partition)], len(lines) + 1)
    assert correlate.counts.late == 0
    return {a.labels.get("src_address") or a.labels.get("src_ip", "?") for a in alerts}


def test_log_is_there() -> None:
    assert _LOG.is_file(), f"{_LOG} is missing: the shared data belongs beside the checkout"


def test_brute_force_names_the_addresses_that_an_independent_count_finds() -> None:
    lines = _LOG.read_text(encoding="utf-8", errors="replace").splitlines()
    by_hand = _counted_by_hand(lines)
    assert len(by_hand) >= 5
    assert _named_by_rules(lines) == by_hand


@pytest.mark.parametrize("chunk", [1, 7, 1000])
def test_alerts_do_not_depend_on_how_the_log_is_cut(chunk: int) -> None:
    lines = _LOG.read_text(encoding="utf-8", errors="replace").splitlines()[: 300 + chunk]
    assert _named_by_rules(lines) == _counted_by_hand(lines)
