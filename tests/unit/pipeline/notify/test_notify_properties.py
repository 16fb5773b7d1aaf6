"""Whatever happens, in whatever order: what people must hear of they hear of, and of each once.

The model is what a person with one integration's messages knows. Sends fail, the process dies between any
two steps and reads again what it had not committed; what `record` changed is saved before anything else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from pipeline.notify import Integration, Notification, Reason, Receipt, Result, Route, Status, parse_matchers
from tests.unit.pipeline.notify.bench import Bench, alert, route

if TYPE_CHECKING:
    from pipeline.alert import Alert

TICK = 300_000
INTEGRATIONS = (
    Integration("people", 0, edits=True),
    Integration("people", 1, edits=False),
    Integration("people", 2, edits=False, send_resolved=False),
)
NAMES = st.sampled_from("abcdef")


def tree(service: str, *, moved: bool) -> Route:
    first = (route(matchers=parse_matchers("service=none")),) if moved else ()
    return route(
        repeat_interval_ms=TICK * 4,
        routes=(*first, route(group_by=("service",), matchers=parse_matchers(f"service={service}"))),
    )


class Person:
    """What one integration's messages have said."""

    def __init__(self, *, quiet: bool) -> None:
        self.quiet = quiet
        self.firing: set[str] = set()
        self.over: set[str] = set()
        self.counts: dict[str, int] = {}

    def read(self, told: Notification) -> None:
        firing, over = {a.id for a in told.firing}, {a.id for a in told.resolved}
        if told.reason is Reason.FIRST:
            assert told.changed - self.firing - self.over, "a FIRST that says nothing new"
            assert told.receipt is None
        if told.reason is Reason.NEW_ALERTS:
            assert told.changed & firing, "no new alert among them"
        assert not told.changed & firing & (self.firing | self.over), "an alert was told twice as new"
        assert not told.changed & over & self.over, "an end was told twice"
        if self.quiet:
            assert not over & (self.firing | self.over), "an end was told that is not wanted"
        self.firing = (self.firing | firing) - over
        self.over |= over
        self.counts |= {a.id: a.count for a in told.alerts}


class Notifying(RuleBasedStateMachine):
    """Alerts never fire again once over, as the correlate stage has it."""

    def __init__(self) -> None:
        super().__init__()
        self.alerts: dict[str, Alert] = {}
        self.committed = 0
        self.log: list[Alert] = []
        self.number = 0
        self.must: set[str] = set()
        self.people = {i.index: Person(quiet=not i.send_resolved) for i in INTEGRATIONS}

    @initialize()
    def start(self) -> None:
        self.bench = Bench(tree("a", moved=False), INTEGRATIONS)

    def _take(self, change: Alert) -> None:
        self.log.append(change)
        self.bench.receive(change)

    @rule(name=NAMES)
    def begin(self, name: str) -> None:
        self.number += 1
        name = f"{name}{self.number}"
        start_ms = self.bench.now
        self.alerts[name] = alert(name, 1, labels={"service": name[0]}, start_ms=start_ms)
        self._take(self.alerts[name])

    @precondition(lambda self: any(a.firing for a in self.alerts.values()))
    @rule(data=st.data(), over=st.booleans())
    def change(self, data: st.DataObject, over: bool) -> None:
        name = data.draw(st.sampled_from(sorted(n for n, a in self.alerts.items() if a.firing)))
        before = self.alerts[name]
        start_ms = int(before.starts_at.timestamp() * 1_000)
        self.alerts[name] = alert(
            name,
            before.revision + 1,
            labels=before.labels,
            start_ms=start_ms,
            over_after_ms=self.bench.now - start_ms if over else None,
        )
        if over and self.bench.now - start_ms >= 30_000:
            self.must.add(name)
        self._take(self.alerts[name])

    @precondition(lambda self: self.log)
    @rule(data=st.data())
    def repeat(self, data: st.DataObject) -> None:
        self.bench.receive(data.draw(st.sampled_from(self.log)))

    @rule(ms=st.sampled_from([1_000, 29_000, 30_000, 150_000, TICK]), failing=st.sets(st.integers(0, 2)))
    def wait(self, ms: int, failing: set[int]) -> None:
        self.bench.now += ms
        self._flush(failing)

    @rule()
    def commit(self) -> None:
        self.bench.save()
        self.committed = len(self.log)

    @rule(moved=st.booleans(), service=st.sampled_from("ab"))
    def restart_with_other_routes(self, moved: bool, service: str) -> None:
        self.bench.root = tree(service, moved=moved)
        self.crash()

    @rule()
    def crash(self) -> None:
        self.bench.restart()
        self.bench.receive(*self.log[self.committed :])

    @rule()
    def end_of_input(self) -> None:
        self._flush(set(), everything=True)

    def _flush(self, failing: set[int], *, everything: bool = False) -> None:
        notify, now = self.bench.notify, self.bench.now
        for intent in notify.flush_all(now) if everything else notify.flush(now):
            told = notify.compose(intent, now)
            if told is None:
                continue
            status = Status.FAILED if told.integration in failing else Status.SENT
            if status is Status.SENT:
                self.people[told.integration].read(told)
            notify.record(told, Result(status, told.receipt or Receipt("C", told.id)), now)
            self.bench.save()

    @invariant()
    def nothing_piles_up(self) -> None:
        assert self.bench.notify.stats.alerts <= len(self.alerts) * 2

    def teardown(self) -> None:
        if not hasattr(self, "bench"):
            return
        for _ in range(2):
            self._flush(set(), everything=True)
        firing = {n for n, a in self.alerts.items() if a.firing}
        for integration in INTEGRATIONS:
            person = self.people[integration.index]
            assert firing <= person.firing, "an alert that fires was not told"
            if integration.send_resolved:
                assert person.firing == firing, "an end was not told"
            assert self.must <= person.firing | person.over
        assert all(self.people[0].counts[n] == self.alerts[n].count for n in firing)
        assert self.bench.notify.stats.alerts == len(firing)


TestNotifying = Notifying.TestCase
TestNotifying.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
