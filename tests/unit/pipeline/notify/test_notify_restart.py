"""What a restart, a change of routes or a torn write leaves: nothing said twice, nothing lost."""

from __future__ import annotations

import pytest

from pipeline.errors import TocsinError
from pipeline.notify import Integration, Reason, Result, Route, Status, parse_matchers
from tests.unit.pipeline.notify.bench import EDITOR, POSTER, Bench, alert, route

WAIT, TICK = 30_000, 300_000


def told_bench(root: Route | None = None) -> Bench:
    bench = Bench(root, integrations=(EDITOR, POSTER))
    bench.receive(alert("a", labels={"service": "shop"}), alert("b", labels={"service": "web"}))
    assert {n.reason for n in bench.after(WAIT)} == {Reason.FIRST}
    return bench


def test_restart_says_nothing_again_and_timers_go_on() -> None:
    bench = told_bench()
    due = bench.notify.due_ms()
    bench.restart()
    assert bench.notify.due_ms() == due
    assert bench.notify.changes() == []
    assert bench.after(TICK) == []
    bench.receive(alert("a", 2, labels={"service": "shop"}, over_after_ms=TICK))
    for told, first in zip(bench.after(TICK), bench.sent[:2], strict=True):
        assert told.reason is Reason.SOME_RESOLVED
        assert told.integration == first.integration
        assert told.receipt is not None


def test_flush_missed_while_away_is_due_at_once() -> None:
    bench = Bench()
    bench.receive(alert("a"))
    bench.save()
    bench.now += WAIT * 100
    bench.restart()
    assert [n.reason for n in bench.flush()] == [Reason.FIRST]


def test_clock_that_was_set_back_silences_no_group() -> None:
    bench = told_bench()
    bench.now -= 10**9
    bench.restart()
    due = bench.notify.due_ms()
    assert due is not None
    assert due <= bench.now + TICK


def test_repeats_after_a_long_pause_reopen_nothing() -> None:
    bench = Bench()
    bench.receive(alert("a"))
    bench.after(WAIT)
    bench.receive(alert("a", 2, over_after_ms=TICK))
    bench.after(TICK)
    bench.now += 10**8
    bench.restart()
    bench.receive(alert("a", 1), alert("a", 2, over_after_ms=TICK))
    assert bench.notify.stats.repeats == 2
    assert bench.flush(everything=True) == []


def test_repeats_reopen_nothing_where_the_routes_have_changed() -> None:
    bench = Bench()
    bench.receive(alert("a"))
    bench.after(WAIT)
    bench.receive(alert("a", 2, over_after_ms=TICK))
    bench.after(TICK)
    bench.root = route(group_by=("service",))
    bench.restart()
    bench.receive(alert("a", 1), alert("a", 2, over_after_ms=TICK))
    assert bench.flush(everything=True) == []
    bench.after(3_600_000)
    assert bench.kept == {}
    assert not bench.notify._ended_before


def test_route_that_was_moved_takes_its_ledger_along() -> None:
    shop = route(matchers=parse_matchers("service=shop"))
    bench = told_bench(route(routes=(shop,)))
    before = set(bench.kept)
    bench.root = route(routes=(route(matchers=parse_matchers("service=none")), shop))
    bench.restart()
    assert bench.flush(everything=True) == []
    assert bench.notify.stats.groups == 2
    assert set(bench.kept) - before
    assert before - set(bench.kept)
    bench.restart()
    assert bench.flush(everything=True) == []
    bench.receive(alert("a", 2, labels={"service": "shop"}, over_after_ms=TICK))
    assert {n.reason for n in bench.flush(everything=True)} == {Reason.RESOLVED}
    assert bench.notify.stats.groups == 1


def test_changed_group_by_splits_a_group_without_saying_it_again() -> None:
    bench = told_bench()
    bench.root = route(group_by=("service",))
    bench.restart()
    assert bench.notify.stats.groups == 2
    assert bench.flush(everything=True) == []
    bench.root = route(group_by=())
    bench.restart()
    assert bench.notify.stats.groups == 1
    assert bench.flush(everything=True) == []


def test_receiver_that_is_new_to_a_group_hears_of_what_still_fires() -> None:
    bench = told_bench()
    bench.integrations["others"] = [Integration("others", 0, edits=False)]
    bench.root = route(receiver="others")
    bench.restart()
    (told,) = bench.flush(everything=True)
    assert (told.reason, told.receiver, set(told.changed)) == (Reason.FIRST, "others", {"a", "b"})


def test_alert_that_was_not_told_before_its_group_moved_is_told_after() -> None:
    bench = told_bench()
    bench.receive(alert("c", labels={"service": "shop"}))
    bench.save()
    bench.root = route(group_by=("service",))
    bench.restart()
    told = bench.flush(everything=True)
    assert {(n.reason, n.changed) for n in told} == {(Reason.NEW_ALERTS, frozenset("c"))}


def test_end_is_told_though_the_route_is_gone_and_nothing_fires() -> None:
    bench = Bench(route(routes=(route(matchers=parse_matchers("alertname=burst")),)))
    bench.receive(alert("a"))
    bench.after(WAIT)
    bench.receive(alert("a", 2, over_after_ms=TICK))
    bench.save()
    bench.root = route()
    bench.restart()
    assert [n.reason for n in bench.flush(everything=True)] == [Reason.RESOLVED]
    assert bench.notify.stats.groups == 0


def test_group_whose_route_is_gone_is_dropped_when_its_end_was_told() -> None:
    bench = Bench(route(routes=(route(matchers=parse_matchers("alertname=burst")),)), (EDITOR, POSTER))
    bench.receive(alert("a"))
    bench.after(WAIT)
    bench.receive(alert("a", 2, over_after_ms=TICK))
    bench.failing = {1}
    bench.after(TICK)
    bench.integrations["people"] = [EDITOR]
    bench.root = route()
    bench.restart()
    assert bench.flush(everything=True) == []
    assert bench.notify.stats.groups == 0


def test_alert_whose_group_was_not_written_any_more_is_taken_anew() -> None:
    bench = Bench()
    bench.receive(alert("a"))
    bench.save()
    (group,) = (key for key in bench.kept if "\n" not in key)
    del bench.kept[group]
    bench.restart()
    assert [n.reason for n in bench.flush(everything=True)] == [Reason.FIRST]


def test_group_is_written_before_its_alerts_and_removed_after_them() -> None:
    bench = Bench()
    bench.receive(alert("a"), alert("b"))
    written = [key for key, _ in bench.notify.changes()]
    assert written[0] == written[1].partition("\n")[0]
    bench.after(WAIT)
    bench.receive(alert("a", 2, over_after_ms=TICK), alert("b", 2, over_after_ms=TICK))
    bench.now += TICK
    (intent,) = bench.notify.flush(bench.now)
    told = bench.notify.compose(intent, bench.now)
    assert told is not None
    bench.notify.record(told, Result(Status.SENT), bench.now)
    changes = bench.notify.changes()
    assert changes[-1] == (written[0], None)


@pytest.mark.parametrize("data", [b"{", b"{}", b"\xff"])
def test_unreadable_state_is_an_error_that_names_the_key(data: bytes) -> None:
    bench = Bench()
    bench.kept = {'{}:{"a":"b"}': data}
    with pytest.raises(TocsinError, match="can't be read"):
        bench.restart()
