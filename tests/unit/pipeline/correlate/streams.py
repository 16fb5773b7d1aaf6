"""Streams of detections for tests, a store, and a model of correlation that is too simple to be wrong."""

from __future__ import annotations

import dataclasses
import random
from typing import TYPE_CHECKING

import msgspec

from pipeline.alert import Alert, to_ms
from pipeline.correlate.correlate import Correlate, Limits
from pipeline.detection import Detection, Match, Progress
from pipeline.event import LogSource, Partition
from pipeline.sigma.form import About, And, Correlation, CorrelationType, Rule
from pipeline.sigma.ruleset import RuleSet

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

LATENESS_MS = 1000
RESOLVE_MS = 3000
BASE_MS = 1_000_000_000

Bounds = tuple[tuple[str, float], ...]
# target, group, starts, last, count, ended
Story = tuple[str, tuple[str, ...], int, int, int, bool]


def rules_of(
    *,
    bounds: Bounds = (("gte", 3),),
    timespan_ms: int = 2000,
    distinct: bool = False,
    feeding: int = 1,
    version: str = "",
) -> RuleSet:
    """One correlation `many` by `user`; with it a plain rule `plain` by service."""
    about = [About(id=f"r{i}", name=f"r{i}", title=f"R{i}", hash=f"h{i}") for i in range(feeding)]
    plain = Rule(About(id="plain", name="plain", title="Plain", hash="hp"), LogSource(), And(()))
    many = Correlation(
        about=About(id="many", name="many", title="Many", hash=f"hm{version}", level="high"),
        type=CorrelationType.VALUE_COUNT if distinct else CorrelationType.EVENT_COUNT,
        rules=tuple(a.id for a in about),
        group_by=("user",),
        timespan_ms=timespan_ms,
        bounds=bounds,
        fields=("ip",) if distinct else (),
    )
    return RuleSet([*(Rule(a, LogSource(), And(())) for a in about), plain, many])


@dataclasses.dataclass(frozen=True, order=True)
class Seen:
    """One event that matched."""

    time_ms: int
    partition: int
    offset: int
    target: str = "many"
    group: tuple[str, ...] = ("u",)
    value: str = "v"


def part(number: int) -> Partition:
    return Partition("logs", number)


def detections(rules: RuleSet, events: Sequence[Seen]) -> list[Detection]:
    """Gather one batch of one partition as the detect stage does."""
    found: dict[tuple[str, tuple[str, ...]], list[Seen]] = {}
    for event in events:
        found.setdefault((event.target, event.group), []).append(event)
    return [
        Detection(
            target=target,
            rule_hash=rules.targets[target].hash,
            rule=rules.targets[target].rules[0],
            group=group,
            partition=part(seen[0].partition),
            matches=tuple(Match(e.offset, e.time_ms, e.value) for e in seen),
            samples=tuple((e.offset, f"{e.partition}/{e.offset}") for e in seen[:10]),
            fields={"host": "h"},
        )
        for (target, group), seen in sorted(found.items())
    ]


def batch(
    rules: RuleSet, events: Sequence[Seen], highest_ms: int, siblings: int
) -> list[Detection | Progress]:
    """What detect says of a batch of one partition; `highest_ms` is the highest time so far, with it."""
    last = events[-1]
    progress = Progress(part(last.partition), last.offset + 1, highest_ms - LATENESS_MS, siblings=siblings)
    return [*detections(rules, events), progress]


class Arrivals:
    """The records of one arrival of events: batches of partitions, interleaved; each has its own cut."""

    def __init__(self, rules: RuleSet, parts: dict[int, list[Seen]], seed: int, *, most: int = 4) -> None:
        dice = random.Random(seed)
        waiting = {p: list(events) for p, events in parts.items() if events}
        self.siblings = len(waiting)
        highest = dict.fromkeys(waiting, 0)
        self.batches: list[tuple[int, list[Seen], int]] = []
        self.records: list[Detection | Progress] = []
        while waiting:
            chosen = dice.choice(sorted(waiting))
            events = waiting[chosen][: dice.randint(1, most)]
            del waiting[chosen][: len(events)]
            highest[chosen] = max(highest[chosen], *(e.time_ms for e in events))
            self.batches.append((chosen, events, highest[chosen]))
            self.records += batch(rules, events, highest[chosen], self.siblings)
            if not waiting[chosen]:
                del waiting[chosen]
        self.end_ms = max(highest.values(), default=0)

    def finish(self, parts: Iterable[int], end_ms: int) -> list[Progress]:
        """Let time come to `end_ms` everywhere."""
        return [Progress(part(p), 10**6, end_ms, idle=True, siblings=self.siblings) for p in parts]


def stories(alerts: Iterable[Alert]) -> dict[str, Story]:
    """The last word on each alert, by id; withdrawn ones left out."""
    last: dict[str, Alert] = {}
    for alert in alerts:
        last[alert.id] = alert
    return {i: story(a) for i, a in last.items() if a.count}


def story(alert: Alert) -> Story:
    target = alert.labels["rule_id"]
    group = alert.labels.get("user", alert.labels.get("service", ""))
    return (target, (group,), to_ms(alert.starts_at), to_ms(alert.last_at), alert.count, not alert.firing)


def ordered(events: Iterable[Seen]) -> list[Seen]:
    return sorted(events, key=lambda e: (e.time_ms, f"logs/{e.partition}", e.offset))


OPS = {
    "gte": lambda a, b: a >= b,
    "gt": lambda a, b: a > b,
    "lt": lambda a, b: a < b,
    "lte": lambda a, b: a <= b,
    "eq": lambda a, b: a == b,
    "neq": lambda a, b: a != b,
}


def model(rules: RuleSet, events: Iterable[Seen], end_ms: int) -> list[Story]:
    """All alerts of events in order, by looking at every window of every event anew."""
    groups: dict[tuple[str, tuple[str, ...]], list[Seen]] = {}
    for event in ordered(events):
        groups.setdefault((event.target, event.group), []).append(event)
    told: list[Story] = []
    for (target_id, group), seen in groups.items():
        target = rules.targets[target_id]
        early = all(op in ("gt", "gte") for op, _ in target.bounds)
        if not early:
            # What waits is judged on what can't change any more.
            seen = [e for e in seen if e.time_ms < end_ms]  # noqa: PLW2901 — the rest is dropped for good
        spent = 0
        while spent < len(seen):
            fired = _fire(rules, target_id, seen, spent, end_ms, early=early)
            if fired is None:
                break
            first, taken = fired
            last = taken
            while last < len(seen) and seen[last].time_ms - seen[last - 1].time_ms <= RESOLVE_MS:
                last += 1
            end = seen[last - 1].time_ms
            told.append((target_id, group, seen[first].time_ms, end, last - first, end_ms - end > RESOLVE_MS))
            spent = last
    return sorted(told)


def _fire(
    rules: RuleSet, target_id: str, seen: list[Seen], spent: int, end_ms: int, *, early: bool
) -> tuple[int, int] | None:
    """The first window after `spent` that fires, as positions from and to."""
    target = rules.targets[target_id]
    span = target.timespan_ms
    for at in range(spent, len(seen)):
        if early:
            now = seen[at].time_ms
            window = [i for i in range(spent, at + 1) if seen[i].time_ms > now - span or i == at]
        else:
            start = seen[at].time_ms
            if start + span > end_ms:
                return None
            window = [i for i in range(at, len(seen)) if seen[i].time_ms < start + span]
        measure = (
            len({seen[i].value for i in window})
            if target.count is CorrelationType.VALUE_COUNT
            else len(window)
        )
        if all(OPS[op](measure, n) for op, n in target.bounds):
            return window[0], window[-1] + 1
    return None


class Store:
    """A store that keeps changes one after the other, and may be stopped between any two."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}

    def save(self, changes: Sequence[tuple[str, bytes | None]], most: int | None = None) -> None:
        for key, value in changes[:most]:
            if value is None:
                self.kept.pop(key, None)
            else:
                self.kept[key] = value


def shard(rules: RuleSet, limits: Limits | None = None) -> Correlate:
    return Correlate(rules, resolve_timeout_ms=RESOLVE_MS, **({"limits": limits} if limits else {}))


def through_json(records: Iterable[Detection | Progress]) -> list[Detection | Progress]:
    decoder = msgspec.json.Decoder(Detection | Progress)
    return [decoder.decode(msgspec.json.encode(r)) for r in records]
