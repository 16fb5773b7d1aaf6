from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import msgspec
import pytest

from pipeline.alert import to_ms
from pipeline.correlate.correlate import Limits
from pipeline.correlate.timeline import Timeline
from pipeline.detection import Detection, Match, Progress
from pipeline.event import Partition
from pipeline.sigma.reader.read import read
from pipeline.sigma.ruleset import RuleSet
from tests.unit.pipeline.correlate.streams import (
    BASE_MS,
    LATENESS_MS,
    RESOLVE_MS,
    Seen,
    Store,
    batch,
    detections,
    model,
    part,
    rules_of,
    shard,
    stories,
    story,
)

if TYPE_CHECKING:
    from pipeline.alert import Alert
    from pipeline.correlate.correlate import Correlate

RULES = rules_of()


def seen(
    *times: int, start: int = 0, partition: int = 0, group: str = "u", target: str = "many"
) -> list[Seen]:
    return [
        Seen(BASE_MS + time_ms, partition, start + i, target, (group,), "abc"[i % 3])
        for i, time_ms in enumerate(times)
    ]


def until(
    time_ms: int, *, offset: int = 0, number: int = 0, idle: bool = False, siblings: int = 1
) -> Progress:
    """Word that a partition's watermark is at a time."""
    return Progress(part(number), offset, BASE_MS + time_ms, idle, siblings)


def tell(correlate: Correlate, position: int, *events: Seen, rules: RuleSet = RULES) -> list[Alert]:
    return correlate.process(detections(rules, events), position)


# --- firing and resolving -----------------------------------------------------------------------------


def test_an_alert_fires_at_once_and_says_what_it_is_about() -> None:
    correlate = shard(RULES)
    (alert,) = tell(correlate, 7, *seen(0, 10, 20))
    assert alert.firing
    assert alert.revision == 7
    assert alert.labels == {
        "alertname": "Many",
        "severity": "high",
        "rule_id": "many",
        "host": "h",
        "user": "u",
    }
    assert (to_ms(alert.starts_at), to_ms(alert.last_at), alert.count) == (BASE_MS, BASE_MS + 20, 3)
    assert [s.text for s in alert.samples] == ["0/0", "0/1", "0/2"]


def test_what_has_not_changed_is_not_told_again() -> None:
    correlate = shard(RULES)
    tell(correlate, 1, *seen(0, 10, 20))
    assert correlate.process([until(100, offset=3)], 2) == []
    (alert,) = tell(correlate, 3, *seen(130, start=3))
    assert alert.count == 4


def test_an_alert_ends_when_the_watermark_has_passed_its_last_event_by_the_resolve_timeout() -> None:
    correlate = shard(RULES)
    (fired,) = tell(correlate, 1, *seen(0, 10, 20))
    assert correlate.process([until(20 + RESOLVE_MS, offset=3)], 2) == []
    (ended,) = correlate.process([until(21 + RESOLVE_MS, offset=3)], 3)
    assert ended.id == fired.id
    assert ended.ends_at is not None
    assert to_ms(ended.ends_at) == BASE_MS + 20 + RESOLVE_MS


def test_a_stalled_partition_resolves_nothing() -> None:
    correlate = shard(RULES)
    correlate.process([until(0, siblings=2), until(0, number=1, siblings=2)], 0)
    tell(correlate, 1, *seen(0, 10, 20))
    assert correlate.process([until(10**7, offset=3, siblings=2)], 2) == []
    (ended,) = correlate.process([until(0, number=1, idle=True, siblings=2)], 3)
    assert not ended.firing


def test_after_an_end_another_alert_with_another_id_begins() -> None:
    correlate = shard(RULES)
    (one,) = tell(correlate, 1, *seen(0, 10, 20))
    correlate.process([until(9000, offset=3)], 2)
    (other,) = tell(correlate, 3, *seen(9100, 9101, 9102, start=3))
    assert other.id != one.id
    assert other.count == 3
    assert other.firing


def test_spent_events_raise_no_second_alert() -> None:
    correlate = shard(RULES)
    tell(correlate, 1, *seen(0, 10, 20))
    alerts = tell(correlate, 2, *seen(21 + RESOLVE_MS, start=3))
    assert [a.firing for a in alerts] == [False]


def test_ids_are_of_the_rule_its_content_the_group_and_the_window() -> None:
    ids = {
        tell(shard(rules), 1, *seen(*(base + t for t in range(3)), group=group), rules=rules)[0].id
        for rules in (RULES, rules_of(version="2"))
        for group in ("u", "w")
        for base in (0, 50_000)
    }
    assert len(ids) == 8
    assert {a.id for a in tell(shard(RULES), 9, *seen(0, 1, 2))} <= ids


def test_events_out_of_order_that_join_two_alerts_withdraw_the_younger() -> None:
    correlate = shard(RULES)
    (first,) = tell(correlate, 1, *seen(0, 1, 2))
    alerts = tell(correlate, 2, *seen(4000, 4001, 4002, start=3))
    second = next(a for a in alerts if a.firing)
    withdrawn = {a.id: a for a in tell(correlate, 3, *seen(2000, partition=1))}
    assert (withdrawn[second.id].count, withdrawn[second.id].firing) == (0, False)
    assert (withdrawn[first.id].count, withdrawn[first.id].firing) == (7, True)


# --- labels and evidence ------------------------------------------------------------------------------


def found(*matches: Match, **more: object) -> Detection:
    target = RULES.targets["many"]
    return msgspec.convert(
        {
            "target": "many",
            "rule_hash": target.hash,
            "rule": "r0",
            "group": ("u",),
            "partition": part(0),
            "matches": matches,
            **more,
        },
        Detection,
        from_attributes=True,
    )


def test_labels_do_not_change_while_an_alert_is_open() -> None:
    correlate = shard(RULES)
    correlate.process([found(Match(0, BASE_MS), fields={"service": "a"})], 1)
    first = correlate.process([found(Match(1, BASE_MS), Match(2, BASE_MS), fields={"service": "b"})], 2)
    later = correlate.process([found(Match(3, BASE_MS), fields={"service": "c", "environment": "e"})], 3)
    assert [a.labels for a in first] == [a.labels for a in later]
    assert first[0].labels["service"] == "b"
    correlate.process([until(9000, offset=4)], 4)
    again = correlate.process(
        [found(*(Match(4 + i, BASE_MS + 9001) for i in range(3)), fields={"service": "d"})], 5
    )
    assert again[0].labels["service"] == "d"


def test_an_alert_carries_what_its_rule_says_about_itself() -> None:
    text = """\
title: Odd
name: odd
status: experimental
level: low
description: something  odd
references: [https://one.example, https://two.example]
tags: [attack.t1110, attack.credential-access]
logsource: {category: application}
detection: {s: {event: odd}, condition: s}
"""
    rules = RuleSet(read(text, "r.yml"))
    (alert,) = tell(shard(rules), 1, *seen(0, target="odd"), rules=rules)
    assert alert.labels["severity"] == "low"
    assert alert.annotations == {
        "summary": "Odd",
        "description": "something odd",
        "status": "experimental",
        "tags": "attack.t1110, attack.credential-access",
        "references": "https://one.example https://two.example",
    }


def test_no_field_takes_the_place_of_a_rules_own_labels() -> None:
    correlate = shard(RULES)
    fields = {"alertname": "x", "severity": "low", "rule_id": "y", "user": "z"}
    (alert,) = correlate.process([found(*(Match(i, BASE_MS) for i in range(3)), fields=fields)], 1)
    assert alert.labels == {"alertname": "Many", "severity": "high", "rule_id": "many", "user": "u"}


def test_samples_are_the_first_and_the_last_few() -> None:
    correlate = shard(RULES)
    alerts = [a for i in range(50) for a in tell(correlate, i, *seen(i, start=i))]
    assert max(len(a.samples) for a in alerts) == 10
    assert [s.origin.offset for s in alerts[-1].samples] == [0, 1, 2, 3, 4, 45, 46, 47, 48, 49]
    assert [str(s.origin) for s in alerts[-1].samples[:1]] == ["logs/0/0"]


def test_what_left_the_window_is_no_evidence() -> None:
    correlate = shard(RULES)
    for i in range(20):
        tell(correlate, i, *seen(i * 1500, start=i))
        correlate.process([until(i * 1500 - 100, offset=i + 1)], i)
    (alert,) = tell(correlate, 99, *seen(28_600, 28_700, start=20))
    assert [s.origin.offset for s in alert.samples] == [18, 19, 20, 21]


# --- what is skipped ----------------------------------------------------------------------------------


def test_a_late_event_is_skipped_and_counted() -> None:
    correlate = shard(RULES)
    correlate.process([until(5000)], 1)
    assert tell(correlate, 2, *seen(4999, 4999, 4999)) == []
    assert correlate.counts.late == 3
    assert correlate.groups == 0
    # An event at the watermark is not late.
    assert len(tell(correlate, 3, *seen(5000, 5000, 5000, start=3))) == 1


def test_a_late_event_does_not_reopen_a_window() -> None:
    correlate = shard(RULES)
    tell(correlate, 1, *seen(0, 10))
    correlate.process([until(1000, offset=2)], 2)
    assert tell(correlate, 3, *seen(20, start=2)) == []
    assert correlate.counts.late == 1


def test_a_late_event_still_raises_the_alert_of_a_plain_rule() -> None:
    correlate = shard(RULES)
    correlate.process([until(100_000)], 1)
    (alert,) = tell(correlate, 2, *seen(0, target="plain"))
    assert alert.firing
    assert correlate.counts.late == 0
    # It counts at the watermark, and its own time stands in the evidence.
    assert to_ms(alert.starts_at) == BASE_MS + 100_000
    assert [to_ms(s.at) for s in alert.samples] == [BASE_MS]
    (more,) = tell(correlate, 3, *seen(50, start=1, target="plain"))
    assert (more.id, more.count) == (alert.id, 2)
    (ended,) = correlate.process([until(100_001 + RESOLVE_MS, offset=2)], 4)
    assert (ended.id, ended.firing, ended.count) == (alert.id, False, 2)


def test_a_plain_rule_fires_without_its_group() -> None:
    (alert,) = tell(shard(RULES), 1, *seen(0, target="plain", group=""))
    assert "service" not in alert.labels


def test_detections_of_another_version_of_the_rules_are_counted_and_left() -> None:
    correlate = shard(RULES)
    assert tell(correlate, 1, *seen(0, 1, 2), rules=rules_of(version="2")) == []
    gone = msgspec.structs.replace(detections(RULES, seen(0))[0], target="gone")
    assert correlate.process([gone], 2) == []
    assert correlate.counts.unknown == 4


def test_what_has_been_applied_is_counted_once() -> None:
    correlate = shard(RULES)
    records = batch(RULES, seen(0, 1, 2), BASE_MS + LATENESS_MS, 1)
    correlate.process(records, 1)
    assert correlate.process(records, 2) == []
    assert correlate.process(records[:1], 3) == []
    assert correlate.counts.repeats == 6
    assert correlate.counts.matches == 3


# --- limits -------------------------------------------------------------------------------------------


def test_at_the_limit_of_groups_the_quietest_goes() -> None:
    correlate = shard(RULES, Limits(groups=3))
    for i, group in enumerate("abc"):
        tell(correlate, i, *seen(i, start=i, group=group))
    tell(correlate, 3, *seen(4, 5, start=3, group="a"))  # fires
    tell(correlate, 4, *seen(6, start=5, group="d"))  # b was the quietest
    assert (correlate.groups, correlate.counts.evicted) == (3, 1)
    (alert,) = tell(correlate, 5, *seen(7, 8, start=6, group="c"))
    assert alert.labels["user"] == "c"
    tell(correlate, 6, *seen(9, 10, start=8, group="b"))
    assert correlate.counts.evicted == 2


def test_a_flood_of_keys_hides_no_alert() -> None:
    correlate = shard(RULES, Limits(groups=10))
    flood = [s for i in range(200) for s in seen(10 + i, start=10 + i, group=f"k{i}")]
    alerts = tell(correlate, 1, *seen(0, 1, 2, group="victim"), *flood)
    assert [a.labels["user"] for a in alerts] == ["victim"]
    assert correlate.groups == 10
    (ended,) = correlate.process([until(9000, offset=300)], 2)
    assert (ended.labels["user"], ended.firing) == ("victim", False)


def test_where_all_groups_have_alerts_the_quietest_alert_is_ended() -> None:
    correlate = shard(RULES, Limits(groups=2))
    for i, name in enumerate("abc"):
        alerts = tell(correlate, i, *seen(i, start=i, group=name, target="plain"))
    told = {a.labels["service"]: a.firing for a in alerts}
    assert told == {"a": False, "c": True}
    assert correlate.groups == 2


def test_a_limit_is_each_rules_own() -> None:
    correlate = shard(RULES, Limits(groups=1))
    tell(correlate, 1, *seen(0, group="a"), *seen(1, start=1, group="a", target="plain"))
    assert (correlate.groups, correlate.counts.evicted) == (2, 0)


@pytest.mark.parametrize("step", [0, 1, 100])
def test_events_that_wait_are_bounded_even_where_they_share_one_time(step: int) -> None:
    correlate = shard(RULES, Limits(pending=100))
    alerts: list[Alert] = []
    for start in range(0, 1500, 50):
        alerts += tell(correlate, start, *seen(*(step * (start + n) for n in range(50)), start=start))
    (group,) = correlate._groups.values()
    assert group.waiting <= 150
    assert correlate.counts.settled_early > 0
    assert stories(alerts).popitem()[1][4] == 1500
    # What comes for the time before is still counted.
    (alert,) = tell(correlate, 99, *seen(0, partition=1))
    assert alert.count == 1501
    assert alert.last_at == alerts[-1].last_at


def test_schedule_stays_in_proportion_to_what_is_held() -> None:
    correlate = shard(RULES, Limits(groups=10))
    for i in range(5000):
        tell(correlate, i, *seen(i, start=i, group=f"k{i}"))
    assert len(correlate._deadlines) < 1100


# --- cost ---------------------------------------------------------------------------------------------


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> itertools.count[int]:
    """Counts how often a timeline takes an event; the next number is how often so far."""
    counted = itertools.count()
    plain = Timeline.step

    def step(self: Timeline, time_ms: int, value: str | None) -> object:
        next(counted)
        return plain(self, time_ms, value)

    monkeypatch.setattr(Timeline, "step", step)
    return counted


def test_events_in_order_cost_two_steps_each(steps: itertools.count[int]) -> None:
    correlate, number = shard(RULES), 20_000
    for i in range(0, number, 10):
        events = seen(*range(i, i + 10), start=i)
        correlate.process(batch(RULES, events, events[-1].time_ms, 1), i)
    assert next(steps) <= 2 * number
    assert correlate.counts.matches == number


def test_a_storm_out_of_order_costs_few_steps_an_event(steps: itertools.count[int]) -> None:
    correlate, number = shard(RULES), 20_000
    for i in range(0, number, 100):
        # Each batch comes backwards, and each second batch before the one in front of it.
        base = i + (100 if i // 100 % 2 == 0 else -100)
        events = seen(*(base + n for n in reversed(range(100))), start=i)
        correlate.process(batch(RULES, events, BASE_MS + max(i, 200), 1), i)
    assert correlate.counts.matches == number
    assert next(steps) <= 4 * number


# --- state --------------------------------------------------------------------------------------------


def kept_by(correlate: Correlate) -> dict[str, bytes]:
    store = Store()
    store.save(correlate.changes())
    return store.kept


def test_only_what_has_changed_is_kept() -> None:
    correlate = shard(RULES)
    tell(correlate, 1, *seen(0, group="a"), *seen(0, start=1, group="b"))
    assert len(correlate.changes()) == 2
    assert correlate.changes() == []
    tell(correlate, 2, *seen(1, start=2, group="b"))
    ((key, value),) = correlate.changes()
    assert key.endswith("1:b")
    assert value


def test_progress_comes_after_the_groups_that_it_covers() -> None:
    correlate = shard(RULES)
    correlate.process([until(0), *detections(RULES, seen(0, 1, 2)), until(0, offset=3)], 1)
    keys = [key for key, _ in correlate.changes()]
    assert keys[-1] == "\0progress"
    assert len(keys) == 2


def test_a_rule_named_progress_is_no_progress() -> None:
    correlate = shard(RULES)
    correlate.process([until(5)], 1)
    assert set(kept_by(correlate)) == {"\0progress"}


def test_keys_of_groups_can_not_be_made_alike() -> None:
    correlate = shard(RULES)
    for i, group in enumerate(["a\0" + "1:b", "a", "1:a", "", "\0"]):
        tell(correlate, i, *seen(0, start=i, group=group))
    assert correlate.groups == 5
    assert len(kept_by(correlate)) == 5


def test_a_restored_shard_goes_on_counting_and_tells_nothing_twice() -> None:
    correlate = shard(RULES)
    correlate.process([until(0)], 0)
    (before,) = tell(correlate, 1, *seen(0, 1, 2))
    restored = shard(RULES)
    restored.restore(kept_by(correlate))
    assert restored.process([], 2) == []
    assert restored.watermarks.value_ms == BASE_MS
    (alert,) = tell(restored, 3, *seen(0, 1, 2, 3))
    assert (alert.id, alert.count) == (before.id, 4)
    assert [s.text for s in alert.samples] == ["0/0", "0/1", "0/2", "0/3"]


def test_alerts_of_a_rule_that_has_changed_are_told_as_ended() -> None:
    correlate = shard(RULES)
    (open_,) = tell(correlate, 1, *seen(0, 1, 2))
    kept = kept_by(correlate)
    changed = shard(rules_of(version="2"))
    changed.restore(kept)
    (ended,) = changed.process([], 2)
    assert (ended.id, ended.firing, ended.count, ended.labels) == (open_.id, False, 3, open_.labels)
    store = Store()
    store.kept = kept
    store.save(changed.changes())
    assert store.kept == {}


def test_a_store_that_holds_something_else_is_refused() -> None:
    with pytest.raises(msgspec.DecodeError):
        shard(RULES).restore({"many": b'{"no": "group"}'})


def test_a_topic_that_nobody_reads_any_more_does_not_hold_alerts_open() -> None:
    correlate = shard(RULES)
    correlate.process([until(0), Progress(Partition("old"), 5, BASE_MS)], 0)
    tell(correlate, 1, *seen(0, 1, 2))
    assert correlate.process([until(10**6, offset=3)], 2) == []
    correlate.expect({"logs"})
    (ended,) = correlate.process([], 3)
    assert not ended.firing
    assert "\0progress" in dict(correlate.changes())


def test_two_rules_of_one_correlation_count_together() -> None:
    rules = rules_of(feeding=2)
    correlate = shard(rules)
    events = seen(0, 1, 2)
    alerts = correlate.process(batch(rules, events, BASE_MS, 1), 1)
    assert [story(a) for a in alerts] == model(rules, events, BASE_MS)


# --- other rules while running ------------------------------------------------------------------------


def test_alerts_of_a_rule_that_is_replaced_end_and_its_groups_leave_the_store() -> None:
    correlate = shard(RULES)
    (open_,) = tell(correlate, 1, *seen(0, 1, 2))
    store = Store()
    store.save(correlate.changes())
    changed = rules_of(version="2")
    correlate.replace(changed)
    (ended,) = correlate.process([], 2)
    assert (ended.id, ended.firing, ended.count, ended.labels) == (open_.id, False, 3, open_.labels)
    assert correlate.groups == 0
    store.save(correlate.changes())
    assert store.kept == {}
    # The old rule's events are no one's now; the new one's begin anew.
    assert tell(correlate, 3, *seen(3, start=3)) == []
    assert correlate.counts.unknown == 1
    (new,) = tell(correlate, 4, *seen(4, 5, 6, start=4), rules=changed)
    assert (new.firing, new.count) == (True, 3)
    assert new.id != open_.id


def test_what_a_replacement_leaves_as_it_is_goes_on_counting() -> None:
    correlate = shard(RULES)
    assert tell(correlate, 1, *seen(0, 1)) == []
    correlate.replace(rules_of())
    (alert,) = tell(correlate, 2, *seen(2, start=2))
    assert alert.count == 3
    correlate.replace(rules_of())
    assert correlate.process([], 3) == []
    (alert,) = tell(correlate, 4, *seen(3, start=3))
    assert alert.count == 4


def test_a_rule_replaced_before_its_group_was_stored_leaves_no_trace() -> None:
    correlate = shard(RULES)
    tell(correlate, 1, *seen(0))
    correlate.replace(rules_of(version="2"))
    assert correlate.process([until(5)], 2) == []
    assert set(kept_by(correlate)) == {"\0progress"}


def test_groups_of_a_replaced_rule_take_no_room_from_those_of_the_new_one() -> None:
    correlate = shard(RULES, Limits(groups=1))
    tell(correlate, 1, *seen(0))
    changed = rules_of(version="2")
    correlate.replace(changed)
    (alert,) = tell(correlate, 2, *seen(1, 2, 3, start=1, group="v"), rules=changed)
    assert (alert.labels["user"], alert.count) == ("v", 3)
    assert (correlate.groups, correlate.counts.evicted) == (1, 0)


def test_a_replaced_rule_leaves_no_deadline_behind() -> None:
    correlate = shard(RULES)
    tell(correlate, 1, *seen(0, 1, 2))
    assert len(correlate._scheduled) == 1
    correlate.replace(rules_of(version="2"))
    assert correlate._scheduled == {}


def test_a_group_that_goes_on_is_told_as_the_new_rules_say() -> None:
    correlate = shard(RULES)
    assert tell(correlate, 1, *seen(0, 1)) == []
    renamed = rules_of()
    target = renamed.targets["many"]
    about = msgspec.structs.replace(target.about, title="Renamed", level="low")
    renamed.targets["many"] = msgspec.structs.replace(target, about=about)
    correlate.replace(renamed)
    (alert,) = tell(correlate, 2, *seen(2, start=2))
    assert (alert.labels["alertname"], alert.labels["severity"], alert.count) == ("Renamed", "low", 3)
