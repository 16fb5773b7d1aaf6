"""Groups, their timers and what each flush says."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pipeline.errors import ConfigError
from pipeline.notify import (
    Integration,
    Intent,
    Limits,
    Notify,
    Reason,
    Receipt,
    Result,
    Status,
    parse_matchers,
)
from tests.unit.pipeline.notify.bench import EDITOR, POSTER, START, Bench, alert, route

if TYPE_CHECKING:
    from pipeline.notify import Notification

QUIET = Integration("people", 0, edits=False, send_resolved=False)
WAIT, TICK, REPEAT = 30_000, 300_000, 14_400_000


def said(notifications: list[Notification]) -> list[tuple[Reason, list[str], list[str]]]:
    return [(n.reason, [a.id for a in n.firing], [a.id for a in n.resolved]) for n in notifications]


def test_first_notification_comes_group_wait_after_the_first_alert() -> None:
    bench = Bench()
    bench.receive(alert("a"))
    assert bench.notify.due_ms() == START + WAIT
    assert bench.after(WAIT - 1_000) == []
    bench.receive(alert("b"))
    assert said(bench.after(1_000)) == [(Reason.FIRST, ["a", "b"], [])]
    assert bench.notify.due_ms() == START + WAIT + TICK


def test_group_wait_of_nothing_is_the_very_next_flush() -> None:
    bench = Bench(route(group_wait_ms=0))
    bench.receive(alert("a"))
    assert said(bench.flush()) == [(Reason.FIRST, ["a"], [])]


def test_new_alert_waits_for_the_next_tick() -> None:
    bench = Bench()
    bench.receive(alert("a"))
    bench.after(WAIT)
    bench.receive(alert("b"))
    assert bench.after(TICK - 1) == []
    (told,) = bench.after(1)
    assert said([told]) == [(Reason.NEW_ALERTS, ["a", "b"], [])]
    assert told.changed == {"b"}
    assert told.receipt == Receipt("C1", "0.0")


def test_ticks_are_counted_from_the_flush_so_that_two_never_crowd() -> None:
    bench = Bench()
    bench.receive(alert("a"))
    bench.after(WAIT + TICK - 1)
    assert bench.notify.due_ms() == bench.now + TICK


def test_alert_that_resolves_before_group_wait_is_never_sent() -> None:
    bench = Bench()
    bench.receive(alert("a", 1), alert("b", 1))
    bench.receive(alert("a", 2, over_after_ms=1_000))
    assert said(bench.after(WAIT)) == [(Reason.FIRST, ["b"], [])]
    bench.receive(alert("b", 2, over_after_ms=600_000))
    assert said(bench.after(TICK)) == [(Reason.RESOLVED, [], ["b"])]
    alone = Bench()
    alone.receive(alert("a", 1), alert("a", 2, over_after_ms=1_000))
    assert alone.after(WAIT) == []
    assert alone.notify.stats.groups == 0


def test_alert_that_lasted_in_event_time_is_told_though_a_replay_ends_it_at_once() -> None:
    bench = Bench()
    bench.receive(alert("a", 1), alert("a", 2, over_after_ms=WAIT), alert("b", 1, over_after_ms=TICK))
    assert said(bench.flush(everything=True)) == [(Reason.FIRST, [], ["a", "b"])]
    assert bench.notify.stats.groups == 0


def test_end_of_an_alert_that_never_mattered_makes_no_group() -> None:
    bench = Bench()
    bench.receive(alert("a", 2, over_after_ms=1_000))
    assert bench.notify.stats.groups == 0
    bench.receive(alert("a", 1))
    assert bench.notify.stats.repeats == 1


def test_resolved_alert_is_told_once_then_dropped_and_the_group_with_it() -> None:
    bench = Bench()
    bench.receive(alert("a"), alert("b"))
    bench.after(WAIT)
    bench.receive(alert("a", 2, over_after_ms=60_000))
    (told,) = bench.after(TICK)
    assert said([told]) == [(Reason.SOME_RESOLVED, ["b"], ["a"])]
    assert told.changed == {"a"}
    assert bench.notify.stats.alerts == 1
    assert bench.after(TICK) == []
    bench.receive(alert("b", 2, over_after_ms=60_000))
    assert said(bench.after(TICK)) == [(Reason.RESOLVED, [], ["b"])]
    assert bench.notify.stats.groups == bench.notify.stats.alerts == 0
    assert bench.notify.due_ms() is None
    bench.receive(alert("c"))
    assert said(bench.after(WAIT)) == [(Reason.FIRST, ["c"], [])]


def test_without_send_resolved_an_end_is_settled_in_silence() -> None:
    bench = Bench(integrations=(QUIET,))
    bench.receive(alert("a"), alert("b"))
    bench.after(WAIT)
    bench.receive(alert("a", 2, over_after_ms=60_000))
    assert bench.after(TICK) == []
    bench.receive(alert("b", 2, over_after_ms=60_000))
    assert bench.after(TICK) == []
    assert bench.notify.stats.groups == 0


def test_end_that_is_not_wanted_is_not_told_later_while_another_integration_waits_for_it() -> None:
    posts = Integration("people", 1, edits=False)
    bench = Bench(integrations=(QUIET, posts))
    bench.receive(alert("a"), alert("b"))
    bench.after(WAIT)
    bench.failing = {1}
    bench.receive(alert("a", 2, over_after_ms=TICK), alert("c"))
    quiet, _ = bench.after(TICK)
    assert said([quiet]) == [(Reason.NEW_ALERTS, ["b", "c"], [])]
    assert [n.integration for n in bench.after(TICK)] == [1]


def test_repeat_comes_at_the_first_tick_when_it_is_due() -> None:
    bench = Bench(route(repeat_interval_ms=TICK * 2 + 1))
    bench.receive(alert("a"))
    bench.after(WAIT)
    assert [said(bench.after(TICK)) for _ in range(4)] == [[], [], [(Reason.REPEAT, ["a"], [])], []]
    exact = Bench(route(repeat_interval_ms=TICK * 2))
    exact.receive(alert("a"))
    exact.after(WAIT)
    # Each flush is a little late; the repeat is still at its tick.
    assert [[r for r, _, _ in said(exact.after(TICK + 7))] for _ in range(4)] == [[], [Reason.REPEAT]] * 2


def test_each_repeat_has_an_id_of_its_own() -> None:
    bench = Bench(route(repeat_interval_ms=TICK))
    bench.receive(alert("a"))
    bench.after(WAIT)
    repeats = [bench.after(TICK)[0] for _ in range(3)]
    assert len({n.id for n in repeats}) == 3


def test_counts_that_moved_are_an_edit_where_the_receiver_can() -> None:
    bench = Bench(integrations=(EDITOR, POSTER))
    bench.receive(alert("a", 1, count=50))
    bench.after(WAIT)
    bench.receive(alert("a", 2, count=80))
    (edit,) = bench.after(TICK)
    assert (edit.reason, edit.integration, edit.count) == (Reason.UPDATE, EDITOR.index, 80)
    assert edit.changed == frozenset()
    assert bench.after(TICK) == []


def test_edits_do_not_put_off_a_repeat() -> None:
    bench = Bench(route(repeat_interval_ms=TICK * 3))
    bench.receive(alert("a", 1))
    bench.after(WAIT)
    reasons = []
    for revision in range(2, 6):
        bench.receive(alert("a", revision))
        reasons += [n.reason for n in bench.after(TICK)]
    assert reasons == [Reason.UPDATE, Reason.UPDATE, Reason.REPEAT, Reason.UPDATE]


def test_last_message_has_the_final_count() -> None:
    bench = Bench()
    bench.receive(alert("a", 1, count=50))
    bench.after(WAIT)
    bench.receive(alert("a", 2, count=99, over_after_ms=TICK))
    assert [n.count for n in bench.after(TICK)] == [99]


def test_end_of_input_says_at_once_what_was_to_come() -> None:
    bench = Bench()
    bench.receive(alert("a", 1, count=50))
    assert said(bench.flush(everything=True)) == [(Reason.FIRST, ["a"], [])]
    bench.receive(alert("a", 2, count=70), alert("b"))
    (told,) = bench.flush(everything=True)
    assert (told.reason, told.count) == (Reason.NEW_ALERTS, 71)
    bench.receive(alert("a", 3, count=75))
    assert [(n.reason, n.count) for n in bench.flush(everything=True)] == [(Reason.UPDATE, 76)]
    assert bench.flush(everything=True) == []


def test_failed_flush_keeps_its_alerts_for_the_next_tick() -> None:
    bench = Bench()
    bench.failing = {0}
    bench.receive(alert("a"))
    (failed,) = bench.after(WAIT)
    bench.receive(alert("a", 2, over_after_ms=TICK))
    assert bench.notify.due_ms() == bench.now + TICK
    assert said(bench.after(TICK)) == [(Reason.FIRST, [], ["a"])]
    bench.failing = set()
    (told,) = bench.after(TICK)
    assert said([told]) == [(Reason.FIRST, [], ["a"])]
    assert failed.id != told.id
    assert bench.notify.stats.groups == 0
    assert bench.notify.stats.failed == 2


def test_alert_that_fired_at_a_flush_is_told_however_short_it_was() -> None:
    bench = Bench()
    bench.failing = {0}
    bench.receive(alert("a"))
    bench.after(WAIT)
    bench.receive(alert("a", 2, over_after_ms=1))
    bench.failing = set()
    assert said(bench.after(TICK)) == [(Reason.FIRST, [], ["a"])]


def test_one_integration_that_fails_holds_up_no_other() -> None:
    bench = Bench(integrations=(EDITOR, POSTER))
    bench.failing = {1}
    bench.receive(alert("a"))
    bench.after(WAIT)
    bench.receive(alert("a", 2, over_after_ms=TICK))
    assert {(n.integration, n.reason) for n in bench.after(TICK)} == {(0, Reason.RESOLVED), (1, Reason.FIRST)}
    assert bench.notify.stats.alerts == 1
    bench.failing = set()
    assert [(n.integration, n.reason) for n in bench.after(TICK)] == [(1, Reason.FIRST)]
    assert bench.notify.stats.groups == 0


def test_count_that_moves_after_an_end_was_told_is_edited_before_the_alert_goes() -> None:
    bench = Bench(integrations=(Integration("people", 0, edits=False), Integration("people", 1, edits=True)))
    bench.receive(alert("a"))
    bench.after(WAIT)
    bench.failing = {0}
    bench.receive(alert("a", 2, count=5, over_after_ms=TICK))
    bench.after(TICK)
    bench.failing = set()
    bench.receive(alert("a", 3, count=6, over_after_ms=TICK))
    assert [(n.reason, n.count) for n in bench.after(TICK)] == [(Reason.RESOLVED, 6), (Reason.UPDATE, 6)]
    assert bench.notify.stats.groups == 0


def test_what_comes_after_an_end_that_was_not_wanted_is_a_story_of_its_own() -> None:
    bench = Bench(integrations=(QUIET, Integration("people", 1, edits=False)))
    bench.receive(alert("a"))
    bench.after(WAIT)
    bench.failing = {1}
    bench.receive(alert("a", 2, over_after_ms=TICK))
    bench.after(TICK)
    bench.receive(alert("b"))
    assert said(bench.after(TICK)[:1]) == [(Reason.FIRST, ["b"], [])]


def test_alert_owed_to_a_quiet_integration_is_told_though_it_is_over() -> None:
    bench = Bench(integrations=(QUIET,))
    bench.failing = {0}
    bench.receive(alert("a"))
    bench.after(WAIT)
    bench.receive(alert("a", 2, over_after_ms=TICK))
    bench.failing = set()
    assert said(bench.after(TICK)) == [(Reason.FIRST, [], ["a"])]
    assert bench.notify.stats.groups == 0


def test_refused_notification_is_not_tried_again_and_counted() -> None:
    bench = Bench(route(repeat_interval_ms=TICK * 3))
    bench.status = Status.REFUSED
    bench.receive(alert("a"))
    assert len(bench.after(WAIT)) == 1
    bench.receive(alert("a", 2))
    assert bench.after(TICK) == []
    assert bench.notify.stats.refused == 1
    # There is no message to edit; what is said next is one of its own.
    bench.receive(alert("b"))
    (told,) = bench.after(TICK)
    assert (told.reason, told.receipt) == (Reason.NEW_ALERTS, None)


def test_intent_is_composed_of_the_newest_state_and_void_when_it_was_said() -> None:
    bench = Bench(route(group_wait_ms=0))
    bench.receive(alert("a", 1, count=1))
    (intent,) = bench.notify.flush(bench.now)
    bench.receive(alert("a", 2, count=5), alert("b", 1, labels={"severity": "critical"}))
    told = bench.notify.compose(intent, bench.now)
    assert told is not None
    assert said([told]) == [(Reason.FIRST, ["a", "b"], [])]
    assert told.count == 6
    bench.flush(everything=True)
    assert bench.notify.compose(intent, bench.now) is None


def test_change_during_a_send_is_told_later() -> None:
    bench = Bench(route(group_wait_ms=0))
    bench.receive(alert("a", 1, count=1))
    (intent,) = bench.notify.flush(bench.now)
    told = bench.notify.compose(intent, bench.now)
    assert told is not None
    bench.receive(alert("a", 2, count=9, over_after_ms=TICK))
    bench.notify.record(told, Result(Status.SENT), bench.now)
    (after,) = bench.after(TICK)
    assert (after.reason, after.count) == (Reason.RESOLVED, 9)


def test_intent_that_outlived_its_group_does_not_hurry_the_next_one() -> None:
    bench = Bench(integrations=(QUIET,))
    bench.receive(alert("a"))
    bench.after(WAIT)
    stale = Intent("people", 0, bench.sent[0].group_key)
    bench.receive(alert("a", 2, over_after_ms=TICK))
    bench.after(TICK)
    bench.receive(alert("b"))
    assert bench.notify.compose(stale, bench.now) is None
    bench.notify.record(bench.sent[0], Result(Status.SENT), bench.now)
    assert said(bench.after(WAIT)) == [(Reason.FIRST, ["b"], [])]


def test_repeats_and_older_revisions_are_ignored_also_when_all_is_over() -> None:
    bench = Bench()
    bench.receive(alert("a", 2), alert("a", 2), alert("a", 1))
    assert bench.notify.stats.repeats == 2
    bench.after(WAIT)
    bench.receive(alert("a", 3, over_after_ms=TICK))
    bench.after(TICK)
    bench.receive(alert("a", 2), alert("a", 3, over_after_ms=TICK))
    assert bench.notify.stats.groups == 0
    assert bench.notify.stats.repeats == 4
    bench.after(3_599_000)
    bench.receive(alert("a", 2))
    assert bench.notify.stats.groups == 0
    bench.after(1_000)
    assert bench.kept == {}


def test_alert_that_fires_again_is_news() -> None:
    bench = Bench()
    bench.receive(alert("a"))
    bench.after(WAIT)
    bench.receive(alert("a", 2, over_after_ms=TICK))
    bench.after(TICK)
    bench.receive(alert("a", 3))
    assert said(bench.after(WAIT)) == [(Reason.FIRST, ["a"], [])]


def test_limits_keep_what_is_there_and_count_what_is_not_taken() -> None:
    bench = Bench(route(group_by=("service",)), limits=Limits(groups=2, alerts=1, finished=1))
    bench.receive(*(alert(name, labels={"service": name}) for name in "abc"))
    bench.receive(alert("a2", labels={"service": "a"}), alert("a", 2, labels={"service": "a"}))
    stats = bench.notify.stats
    assert (stats.groups, stats.alerts, stats.dropped_groups, stats.dropped_alerts) == (2, 2, 1, 1)
    assert len(bench.after(WAIT)) == 2
    bench.receive(*(alert(name, 9, labels={"service": name}, over_after_ms=TICK) for name in "ab"))
    bench.after(TICK)
    assert bench.notify.stats.forgotten == 1
    assert len(bench.kept) == 1


def test_alert_goes_down_the_route_it_was_dispatched_to_or_all() -> None:
    child = route(group_by=("service",), matchers=parse_matchers("severity=error"), continue_=True)
    other = route(group_wait_ms=0, matchers=parse_matchers("severity=error"))
    bench = Bench(route(routes=(child, other)))
    bench.notify.receive(alert("a"), '{}/{severity="error"}/1', START)
    assert bench.notify.stats.groups == 1
    bench.notify.receive(alert("b"), "{}/gone", START)
    assert bench.notify.stats.groups == 2
    (told,) = bench.flush()
    assert bench.notify.owns(told.group_key)
    assert not bench.notify.owns("else")


def test_gravest_severity_that_fires_ranks_an_intent() -> None:
    bench = Bench(route(group_wait_ms=0))
    bench.receive(alert("a"), alert("b", labels={"severity": "critical"}))
    assert [i.rank for i in bench.notify.flush(bench.now)] == [0]
    other = Bench(route(group_wait_ms=0))
    other.receive(alert("a", labels={"severity": "odd"}))
    assert other.notify.flush(other.now)[0].rank > 8


def test_alerts_are_firing_first_and_oldest_first() -> None:
    bench = Bench()
    bench.receive(alert("a", start_ms=START + 2), alert("b", start_ms=START + 1), alert("c"), alert("d"))
    bench.after(WAIT)
    bench.receive(alert("b", 2, start_ms=START + 1, over_after_ms=1), alert("c", 2, over_after_ms=1))
    (told,) = bench.after(TICK)
    assert [a.id for a in told.alerts] == ["d", "a", "c", "b"]


def test_id_is_the_same_for_the_same_content_and_moves_with_it() -> None:
    first, second = Bench(), Bench()
    first.receive(alert("a", 1), alert("b", 1))
    second.receive(alert("b", 7), alert("a", 5))
    one, other = first.after(WAIT)[0], second.after(WAIT + 5)[0]
    assert one.id == other.id
    for bench in (first, second):
        bench.receive(alert("a", 20))
    assert first.after(TICK)[0].id != second.after(TICK)[0].id


def test_receiver_without_integrations_tells_nobody_and_keeps_nothing() -> None:
    bench = Bench(integrations=())
    bench.receive(alert("a"))
    assert bench.after(WAIT) == []
    bench.receive(alert("a", 2, over_after_ms=TICK))
    bench.after(TICK)
    assert bench.notify.stats.groups == 0


def test_receiver_that_is_not_there_is_an_error_with_the_nearest_name() -> None:
    with pytest.raises(ConfigError, match="did you mean 'people'"):
        Notify(route(receiver="poeple"), {"people": []})


def test_many_short_lived_groups_leave_no_timers_behind() -> None:
    bench = Bench(route(group_by=("service",), group_wait_ms=0), integrations=(QUIET,))
    for number in range(3_000):
        labels = {"service": str(number)}
        bench.receive(alert("a", 1, labels=labels))
        bench.after(1)
        bench.receive(alert("a", 2, labels=labels, over_after_ms=0))
        bench.flush(everything=True)
    assert bench.notify.stats.groups == 0
    assert len(bench.notify._timers) <= 1_100
