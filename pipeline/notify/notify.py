"""The notify stage: alerts in, intents to notify out; and what each says, when its turn comes.

A group is looked at `group_wait` after its first alert and then every `group_interval`, counted from when it
was looked at. Each look runs the chain of stages and asks the ledger, integration by integration. An intent
has no content: `compose` makes it of the newest state, and `record` writes what came of it into the ledger.
What was said is never said again, and what people should have heard of stays until they have.
(Semantics, section 3.)
"""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING

import msgspec

from pipeline.alert import Alert, to_ms
from pipeline.errors import ConfigError, nearest
from pipeline.notify.finished import FinishedAlerts
from pipeline.notify.group import Finished, Group, Held, Integration
from pipeline.notify.kept import alert_key, encode, owner, read
from pipeline.notify.notification import Intent, Notification, Status, rank
from pipeline.notify.route import Route, Router, group_key
from pipeline.notify.stages import STAGES
from pipeline.notify.view import View

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pipeline.notify.notification import Result
    from pipeline.notify.stages import Stage

__all__ = ["Limits", "Notify", "Stats"]


class Limits(msgspec.Struct, frozen=True):
    """How much is held.

    Attributes:
        groups: at most so many; an alert that needs one more is not taken, and counted.
        alerts: in one group; likewise.
        finished: of so many finished alerts repeats are recognised; the oldest are forgotten first.
    """

    groups: int = 100_000
    alerts: int = 10_000
    finished: int = 100_000


class Stats(msgspec.Struct, frozen=True):
    """Figures of the stage; all but the first two only rise.

    Attributes:
        groups: groups now.
        alerts: alerts in them now.
        repeats: alerts ignored since their revision, or a later one, was known.
        refused: notifications that a receiver refused for good.
        failed: notifications that could not be delivered, each tried again at the next flush.
        dropped_groups: alerts not taken since there were too many groups.
        dropped_alerts: alerts not taken since their group had too many.
        forgotten: finished alerts forgotten early since there were too many.
    """

    groups: int
    alerts: int
    repeats: int
    refused: int
    failed: int
    dropped_groups: int
    dropped_alerts: int
    forgotten: int


class Notify:
    """Owns the groups and the ledger of one shard. Times are milliseconds since the epoch, of the wall clock.

    Args:
        root: the tree of routes.
        integrations: those of each receiver, by its name; a receiver that tells nobody has none.
        limits: how much is held.
        stages: the chain between a group and its integrations.

    Raises:
        ConfigError: a route names a receiver that isn't there, or an interval that can't be.
    """

    def __init__(
        self,
        root: Route,
        integrations: Mapping[str, Sequence[Integration]],
        *,
        limits: Limits | None = None,
        stages: Sequence[Stage] = STAGES,
    ) -> None:
        self._router = Router(root)
        self._integrations = {name: tuple(each) for name, each in integrations.items()}
        for route in self._router:
            if route.receiver not in self._integrations:
                hint = nearest(route.receiver, self._integrations)
                raise ConfigError(f"no receiver is named {route.receiver!r}; {hint}", path=route.path)
        self._limits = limits if limits is not None else Limits()
        self._stages = tuple(stages)
        self._groups: dict[str, Group] = {}
        self._finished = FinishedAlerts(self._limits.finished)
        # Those of before the restart, by their alert: what the routes made of them may have changed since.
        self._ended_before: dict[str, dict[str, Finished]] = {}
        self._timers: list[tuple[int, str]] = []
        # Dicts, for their order: the same input gives the same changes.
        self._changed: dict[str, None] = {}
        self._repeats = self._refused = self._failed = 0
        self._dropped_groups = self._dropped_alerts = 0

    @property
    def stats(self) -> Stats:
        """The figures now."""
        return Stats(
            groups=len(self._groups),
            alerts=sum(len(group.alerts) for group in self._groups.values()),
            repeats=self._repeats,
            refused=self._refused,
            failed=self._failed,
            dropped_groups=self._dropped_groups,
            dropped_alerts=self._dropped_alerts,
            forgotten=self._finished.forgotten,
        )

    def owns(self, group_key: str) -> bool:
        """Whether the group is here."""
        return group_key in self._groups

    def receive(self, alert: Alert, route_path: str | None, now_ms: int) -> None:
        """Take an alert as it stands now.

        Args:
            alert: a revision that is known, or older than that, is ignored.
            route_path: the route it was dispatched to; None or an unknown path for all that match.
            now_ms: the time.
        """
        route = self._router.route(route_path) if route_path is not None else None
        for each in [route] if route is not None else self._router.dispatch(alert.labels):
            self._receive(alert, each, now_ms)

    def due_ms(self) -> int | None:
        """Return when the next group wants to be looked at, or None while there is none."""
        while self._timers:
            at, key = self._timers[0]
            group = self._groups.get(key)
            if group is not None and group.next_ms == at:
                return at
            heapq.heappop(self._timers)
        return None

    def flush(self, now_ms: int) -> list[Intent]:
        """Look at the groups that are due, and return an intent for each integration that has news of one."""
        self._forget(now_ms)
        intents: list[Intent] = []
        while (due := self.due_ms()) is not None and due <= now_ms:
            intents += self._flush(self._groups[self._timers[0][1]], now_ms)
        return intents

    def flush_all(self, now_ms: int) -> list[Intent]:
        """Look at all groups, due or not: at the end of input what would be sent in time is sent now."""
        self._forget(now_ms)
        return [intent for group in list(self._groups.values()) for intent in self._flush(group, now_ms)]

    def compose(self, intent: Intent, now_ms: int) -> Notification | None:
        """Return what an intent's integration should hear of its group now, or None for nothing any more."""
        group = self._groups.get(intent.group_key)
        # An intent may outlive its group; one of the same key that came since waits for its own first flush.
        if group is None or group.flushed_ms is None:
            return None
        for integration in self._receiver(group):
            if (integration.receiver, integration.index) == (intent.receiver, intent.integration):
                view = self._view(group, integration, self._passing(group, now_ms), now_ms)
                return None if view.reason is None else view.notification(group)
        return None

    def record(self, notification: Notification, result: Result, now_ms: int) -> None:
        """Take what came of a notification.

        Sent: the ledger knows it. Refused for good: likewise, so that the same is not tried for ever. Failed:
        nothing is written, so the next flush says it again.
        """
        if result.status is Status.FAILED:
            self._failed += 1
            return
        refused = result.status is Status.REFUSED
        self._refused += refused
        group = self._groups.get(notification.group_key)
        told = {alert.id for alert in notification.alerts}
        if group is None or told.isdisjoint(group.alerts):
            return
        name = f"{notification.receiver}/{notification.integration}"
        receipt = notification.receipt if refused else result.receipt or notification.receipt
        group.note(name, notification, receipt, taken=not refused)
        self._changed[group.key] = None
        passing = self._passing(group, now_ms)
        views = [self._view(group, integration, passing, now_ms) for integration in self._receiver(group)]
        self._drop_told(group, views, now_ms, among=told)

    def changes(self) -> list[tuple[str, bytes | None]]:
        """Return what changed since the last call, for a store; None removes a key."""
        written: list[tuple[str, bytes | None]] = []
        removed: list[tuple[str, bytes | None]] = []
        # A group before its alerts, and its removal after theirs.
        for key in sorted(self._changed, key=lambda key: owner(key) is not None):
            record = self._record(key)
            if record is not None:
                written.append((key, encode(record)))
            else:
                removed.append((key, None))
        self._changed.clear()
        return written + removed[::-1]

    def restore(self, kept: Mapping[str, bytes], now_ms: int) -> None:
        """Take over what a store kept, before anything else is received.

        Timers go on; what was due meanwhile is due now. The alerts of a group that the routes no longer make
        are dispatched anew by their labels, with what was told of them.

        Raises:
            TocsinError: a record can't be read.
        """
        state = read(kept)
        # Repeats come after a restart, however long the pause was: the memory's time begins anew.
        for key, finished in sorted(state.finished.items(), key=lambda item: item[1].until_ms):
            self._finish(key, finished.revision, now_ms)
            ended_in, _, alert_id = key.partition("\n")
            self._ended_before.setdefault(alert_id, {})[ended_in] = finished
        stale = []
        for group in state.groups.values():
            route = self._router.route(group.route)
            if route is None or not self._makes(group):
                stale.append(group)
            else:
                # A clock that was set back must not silence a group.
                latest = now_ms + max(route.group_wait_ms, route.group_interval_ms)
                self._groups[group.key] = group
                self._schedule(group, min(group.next_ms, latest))
        for group in stale:
            self._changed |= dict.fromkeys([group.key, *(alert_key(group.key, i) for i in group.alerts)])
            for held in group.alerts.values():
                self._move(held, group, now_ms)
        for key, held in state.orphans.items():
            self._changed[key] = None
            self.receive(held.alert, None, now_ms)

    def _makes(self, group: Group) -> bool:
        """Whether today's routes still bring each alert of a group into it."""
        return all(
            any(
                group_key(route, held.alert.labels)[0] == group.key
                for route in self._router.dispatch(held.alert.labels)
            )
            for held in group.alerts.values()
        )

    def _receive(self, alert: Alert, route: Route, now_ms: int) -> None:
        key, labels = group_key(route, alert.labels)
        kept_at = alert_key(key, alert.id)
        finished = self._finished.get(kept_at)
        group = self._groups.get(key)
        held = group.alerts.get(alert.id) if group is not None else None
        if held is None and finished is None:
            finished = self._ended_elsewhere(alert)
        known = held.alert if held is not None else finished
        if known is not None and alert.revision <= known.revision:
            self._repeats += 1
            return
        lasted = (held is not None and held.lasted) or _outlasts(alert, route.group_wait_ms)
        # One that was over before anybody had to hear of it needs no group; a finished one stays finished.
        if not alert.firing and held is None and (finished is not None or (group is None and not lasted)):
            self._finish(kept_at, alert.revision, now_ms)
            return
        if group is None:
            group = self._open(key, labels, route, now_ms)
        if group is not None:
            self._hold(group, Held(alert, lasted))

    def _ended_elsewhere(self, alert: Alert) -> Finished | None:
        """Return what is remembered of an alert in a group that the routes bring it to no more."""
        ended = self._ended_before.get(alert.id)
        if ended is None:
            return None
        today = {group_key(route, alert.labels)[0] for route in self._router.dispatch(alert.labels)}
        return next((finished for key, finished in ended.items() if key not in today), None)

    def _open(self, key: str, labels: dict[str, str], route: Route, now_ms: int) -> Group | None:
        """Make a group, unless there are too many."""
        if len(self._groups) >= self._limits.groups:
            self._dropped_groups += 1
            return None
        group = Group(key, route.path, labels, created_ms=now_ms, next_ms=0)
        self._groups[key] = group
        self._schedule(group, now_ms + route.group_wait_ms)
        self._changed[key] = None
        return group

    def _hold(self, group: Group, held: Held) -> None:
        """Put an alert into its group, unless it has too many."""
        if held.alert.id not in group.alerts and len(group.alerts) >= self._limits.alerts:
            self._dropped_alerts += 1
            return
        group.alerts[held.alert.id] = held
        kept_at = alert_key(group.key, held.alert.id)
        self._finished.reopen(kept_at)
        self._changed[kept_at] = None

    def _move(self, held: Held, old: Group, now_ms: int) -> None:
        """Put an alert of a group that the routes no longer make where it belongs now."""
        for route in self._router.dispatch(held.alert.labels):
            key, labels = group_key(route, held.alert.labels)
            group = self._groups.get(key)
            if group is None and (group := self._open(key, labels, route, now_ms)) is not None:
                self._schedule(group, min(old.next_ms, group.next_ms))
                group.flushed_ms = old.flushed_ms
            if group is None or held.alert.id in group.alerts:
                continue
            self._hold(group, held)
            for integration in self._integrations[route.receiver]:
                entry = old.entries.get(integration.name)
                if entry is not None and held.alert.id in group.alerts and entry.knows(held.alert.id):
                    told = entry.about([held.alert.id])
                    group.entries[integration.name] = told.joined(group.entries.get(integration.name))
            self._changed[group.key] = None

    def _flush(self, group: Group, now_ms: int) -> list[Intent]:
        """Look at one group, and set when it is looked at next."""
        route = self._route(group)
        passing = self._passing(group, now_ms)
        for alert in passing:
            held = group.alerts[alert.id]
            if alert.firing and not held.lasted:
                self._hold(group, msgspec.structs.replace(held, lasted=True))
        if not any(alert.firing for alert in passing):
            for integration in self._receiver(group):
                if not integration.send_resolved:
                    group.settle(integration.name)
        views = [self._view(group, integration, passing, now_ms) for integration in self._receiver(group)]
        gravest = _gravest(passing)
        intents = [
            Intent(view.integration.receiver, view.integration.index, group.key, gravest)
            for view in views
            if view.reason is not None
        ]
        group.flushed_ms = now_ms
        self._schedule(group, now_ms + route.group_interval_ms)
        self._changed[group.key] = None
        self._drop_told(group, views, now_ms)
        return intents

    def _route(self, group: Group) -> Route:
        route = self._router.route(group.route)
        if route is None:  # pragma: no cover - `restore` admits no such group
            raise LookupError(group.route)
        return route

    def _receiver(self, group: Group) -> tuple[Integration, ...]:
        return self._integrations[self._route(group).receiver]

    def _passing(self, group: Group, now_ms: int) -> Sequence[Alert]:
        """Return the alerts that pass the chain."""
        alerts: Sequence[Alert] = [held.alert for held in group.alerts.values()]
        for stage in self._stages:
            alerts = stage.apply(group, alerts, now_ms)
        return alerts

    def _view(self, group: Group, integration: Integration, passing: Sequence[Alert], now_ms: int) -> View:
        repeat_interval_ms = self._route(group).repeat_interval_ms
        return View.of(group, integration, passing, repeat_interval_ms=repeat_interval_ms, now_ms=now_ms)

    def _drop_told(
        self, group: Group, views: Sequence[View], now_ms: int, *, among: set[str] | None = None
    ) -> None:
        """Drop the resolved alerts that no integration has yet to hear of, and the group with its last one.

        Args:
            group: the group.
            views: how its integrations see it.
            now_ms: the time.
            among: only these, or all of them.
        """
        pending = {alert_id for view in views for alert_id in view.pending()}
        for held in list(group.alerts.values()):
            alert = held.alert
            if not alert.firing and alert.id not in pending and (among is None or alert.id in among):
                del group.alerts[alert.id]
                self._finish(alert_key(group.key, alert.id), alert.revision, now_ms)
        if not group.alerts:
            del self._groups[group.key]
            self._changed[group.key] = None

    def _finish(self, kept_at: str, revision: int, now_ms: int) -> None:
        self._changed |= dict.fromkeys(self._finished.add(kept_at, revision, now_ms))

    def _forget(self, now_ms: int) -> None:
        gone = self._finished.expire(now_ms)
        self._changed |= dict.fromkeys(gone)
        for key in gone:
            self._ended_before.pop(key.partition("\n")[2], None)

    def _schedule(self, group: Group, at_ms: int) -> None:
        group.next_ms = at_ms
        heapq.heappush(self._timers, (at_ms, group.key))
        if len(self._timers) > 2 * len(self._groups) + 1_024:
            # Timers of groups that are gone, or were set anew, would pile up until they are due.
            self._timers = [(each.next_ms, each.key) for each in self._groups.values()]
            heapq.heapify(self._timers)

    def _record(self, key: str) -> Group | Held | Finished | None:
        """Return what is to be kept under a key."""
        group_key = owner(key)
        if group_key is None:
            return self._groups.get(key)
        group = self._groups.get(group_key)
        held = group.alerts.get(key[len(group_key) + 1 :]) if group is not None else None
        return held if held is not None else self._finished.get(key)


def _outlasts(alert: Alert, group_wait_ms: int) -> bool:
    """Whether an alert that is over lived as long as `group_wait`, in event time.

    On files, and behind a backlog, an alert comes and ends in a moment of the wall clock; people must hear of
    it as they would have at the time.
    """
    return alert.ends_at is not None and to_ms(alert.ends_at) - to_ms(alert.starts_at) >= group_wait_ms


def _gravest(alerts: Sequence[Alert]) -> int:
    """Return the rank of the gravest alert that fires, or of all when none does."""
    counted = [a for a in alerts if a.firing] or alerts
    return min((rank(a.labels.get("severity", "none")) for a in counted), default=rank("none"))
