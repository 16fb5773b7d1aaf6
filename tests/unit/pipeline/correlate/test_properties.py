"""What must hold of any events in any order: the alerts are those of a model that sees them sorted."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.pipeline.correlate.streams import (
    BASE_MS,
    LATENESS_MS,
    Arrivals,
    Bounds,
    Seen,
    Store,
    batch,
    model,
    rules_of,
    shard,
    stories,
    story,
    through_json,
)

if TYPE_CHECKING:
    from pipeline.alert import Alert
    from pipeline.detection import Detection, Progress
    from pipeline.sigma.ruleset import RuleSet

MANY = settings(deadline=None, max_examples=300)

seeds = st.integers(0, 2**32)
early_bounds = st.sampled_from(
    [(("gte", 2),), (("gte", 3),), (("gt", 3),), (("gte", 2), ("gt", 2)), (("gte", 1),)]
)
waiting_bounds = st.sampled_from(
    [(("lt", 3),), (("lte", 2),), (("eq", 2),), (("neq", 2),), (("gte", 2), ("lte", 3)), (("lte", 0),)]
)
bounds_of = st.one_of(early_bounds, waiting_bounds)
# Timespans shorter and longer than the resolve timeout: a long window may reach over an alert's end.
timespans = st.sampled_from([500, 2000, 9000])


@st.composite
def partitions(draw: st.DrawFn, *, most: int = 3) -> dict[int, list[Seen]]:
    """Events of some partitions, each in offset order, times going back by no more than the lateness."""
    parts: dict[int, list[Seen]] = {}
    for number in range(draw(st.integers(1, most))):
        events: list[Seen] = []
        highest = BASE_MS + draw(st.integers(0, 2000))
        offset = draw(st.integers(0, 2))
        for _ in range(draw(st.integers(1, 14))):
            # The timespans and the resolve timeout to the millisecond, for their edges.
            step = draw(st.sampled_from([0, 0, 50, 300, 500, 900, 1000, 2000, 3000, 3001, 7000]))
            back = draw(st.sampled_from([0, 0, 0, 40, 600, LATENESS_MS]))
            time_ms = max(highest + step - back, highest - LATENESS_MS)
            highest = max(highest, time_ms)
            target = draw(st.sampled_from(["many", "many", "many", "plain"]))
            group = (draw(st.sampled_from(["u", "w"])),)
            events.append(Seen(time_ms, number, offset, target, group, draw(st.sampled_from("abc"))))
            offset += draw(st.integers(1, 3))
        parts[number] = events
    return parts


def all_of(parts: dict[int, list[Seen]]) -> list[Seen]:
    return [e for events in parts.values() for e in events]


def run(rules: RuleSet, records: list[Detection | Progress], *, cut: int = 1) -> list[Alert]:
    correlate = shard(rules)
    alerts: list[Alert] = []
    for start in range(0, len(records), cut):
        told = correlate.process(records[start : start + cut], start)
        assert len({a.id for a in told}) == len(told)
        alerts += told
    return alerts


@MANY
@given(partitions(), seeds, bounds_of, timespans, st.booleans(), st.integers(0, 4000))
def test_alerts_are_those_of_the_model(
    parts: dict[int, list[Seen]], seed: int, bounds: Bounds, timespan_ms: int, distinct: bool, silence_ms: int
) -> None:
    rules = rules_of(bounds=bounds, timespan_ms=timespan_ms, distinct=distinct)
    arrivals = Arrivals(rules, parts, seed)
    end_ms = arrivals.end_ms + silence_ms
    alerts = run(rules, arrivals.records + arrivals.finish(parts, end_ms))
    assert sorted(stories(alerts).values()) == model(rules, all_of(parts), end_ms)


@MANY
@given(partitions(), seeds, seeds, bounds_of, timespans, st.booleans())
def test_order_of_arrival_within_the_lateness_changes_nothing(
    parts: dict[int, list[Seen]], one: int, other: int, bounds: Bounds, timespan_ms: int, distinct: bool
) -> None:
    rules = rules_of(bounds=bounds, timespan_ms=timespan_ms, distinct=distinct)
    found = []
    for seed in (one, other):
        arrivals = Arrivals(rules, parts, seed)
        alerts = run(rules, arrivals.records + arrivals.finish(parts, arrivals.end_ms + 20_000))
        found.append(stories(alerts))
    # Ids included: the same events, the same alerts.
    assert found[0] == found[1]


@MANY
@given(partitions(), seeds, st.integers(2, 9), bounds_of)
def test_cut_of_the_input_changes_nothing(
    parts: dict[int, list[Seen]], seed: int, cut: int, bounds: Bounds
) -> None:
    rules = rules_of(bounds=bounds)
    arrivals = Arrivals(rules, parts, seed)
    records = arrivals.records + arrivals.finish(parts, arrivals.end_ms + 5000)
    assert stories(run(rules, records, cut=cut)) == stories(run(rules, records))


@MANY
@given(partitions(), seeds, bounds_of, timespans)
def test_withdrawn_alerts_are_told_as_ended_and_counts_of_the_others_are_all_there_is(
    parts: dict[int, list[Seen]], seed: int, bounds: Bounds, timespan_ms: int
) -> None:
    rules = rules_of(bounds=bounds, timespan_ms=timespan_ms)
    arrivals = Arrivals(rules, parts, seed)
    alerts = run(rules, arrivals.records + arrivals.finish(parts, arrivals.end_ms + 20_000))
    last = {a.id: a for a in alerts}
    assert all(not a.firing for a in last.values())
    windows = [story(a)[:4] for a in last.values() if a.count]
    assert len(set(windows)) == len(windows)


@settings(deadline=None, max_examples=500)
@given(partitions(), seeds, seeds, bounds_of, timespans, st.booleans())
def test_restart_at_any_point_changes_nothing(
    parts: dict[int, list[Seen]], seed: int, crashes: int, bounds: Bounds, timespan_ms: int, distinct: bool
) -> None:
    rules = rules_of(bounds=bounds, timespan_ms=timespan_ms, distinct=distinct)
    arrivals = Arrivals(rules, parts, seed)
    records = through_json(arrivals.records + arrivals.finish(parts, arrivals.end_ms + 3500))
    undisturbed = stories(run(rules, records))

    dice = random.Random(crashes)
    store, correlate = Store(), shard(rules)
    alerts: list[Alert] = []
    committed = at = 0
    left = 5
    while at < len(records):
        until = min(at + dice.randint(1, 5), len(records))
        alerts += correlate.process(records[at:until], until)
        at = until
        if left and dice.random() < 0.5:
            left -= 1
            changes = correlate.changes()
            # Nothing of the last changes is kept, or some, or all: the offsets are not committed then.
            store.save(changes, dice.choice([0, dice.randint(0, len(changes)), len(changes)]))
            correlate = shard(rules)
            correlate.restore(store.kept)
            at = committed
        elif dice.random() < 0.7:
            store.save(correlate.changes())
            committed = at
    assert stories(alerts) == undisturbed


@settings(deadline=None, max_examples=500)
@given(partitions(), seeds, seeds, bounds_of, timespans)
def test_detections_repeated_by_another_worker_are_counted_once(
    parts: dict[int, list[Seen]], seed: int, crashes: int, bounds: Bounds, timespan_ms: int
) -> None:
    """A detect worker dies in the midst of a batch; another begins at what was committed and cuts anew."""
    rules = rules_of(bounds=bounds, timespan_ms=timespan_ms)
    arrivals = Arrivals(rules, parts, seed)
    ending = arrivals.finish(parts, arrivals.end_ms + 3500)
    undisturbed = stories(run(rules, arrivals.records + ending))

    dice = random.Random(crashes)
    records: list[Detection | Progress] = []
    done: dict[int, list[Seen]] = {p: [] for p in parts}
    for number, events, highest in arrivals.batches:
        if dice.random() < 0.4:
            # Some of the batch's records were written, some lost; then come the repeats, older ones too.
            torn = [r for r in batch(rules, events, highest, arrivals.siblings)[:-1] if dice.random() < 0.6]
            records += torn
            again = done[number][-dice.randint(0, 5) :] if done[number] else []
            redo = again + events
            while redo:
                size = dice.randint(1, len(redo))
                piece, redo = redo[:size], redo[size:]
                known = [e.time_ms for e in done[number] + events if e.offset <= piece[-1].offset]
                records += batch(rules, piece, max(known), arrivals.siblings)
        else:
            records += batch(rules, events, highest, arrivals.siblings)
        done[number] += events
    correlate = shard(rules)
    alerts = correlate.process(records, 1) + correlate.process(ending, 2)
    assert stories(alerts) == undisturbed


@MANY
@given(partitions(), seeds, bounds_of, timespans, st.booleans())
def test_nothing_is_left_once_everything_has_settled(
    parts: dict[int, list[Seen]], seed: int, bounds: Bounds, timespan_ms: int, distinct: bool
) -> None:
    rules = rules_of(bounds=bounds, timespan_ms=timespan_ms, distinct=distinct)
    arrivals = Arrivals(rules, parts, seed)
    correlate, store = shard(rules), Store()
    for position, record in enumerate(arrivals.records):
        correlate.process([record], position)
        store.save(correlate.changes())
    correlate.process(arrivals.finish(parts, arrivals.end_ms + 100_000), 10**6)
    store.save(correlate.changes())
    assert correlate.groups == 0
    held = vars(correlate)
    for name in ("_groups", "_scheduled", "_deadlines", "_lingering", "_changed", "_dropped", "_news"):
        assert not held[name], name
    assert all(len(m) == 0 for m in held["_members"].values())
    assert len(store.kept) == 1


@pytest.mark.parametrize("bounds", [(("gte", 3),), (("lt", 3),)])
def test_streams_of_these_tests_do_raise_alerts(bounds: Bounds) -> None:
    """Guards the properties: with no alerts they would hold of nothing."""
    rules = rules_of(bounds=bounds)
    parts = {p: [Seen(BASE_MS + 100 * i + p, p, i) for i in range(2)] for p in range(2)}
    arrivals = Arrivals(rules, parts, 1)
    alerts = run(rules, arrivals.records + arrivals.finish(parts, arrivals.end_ms + 9000))
    assert stories(alerts)
