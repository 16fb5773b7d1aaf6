"""A notify stage on a bench: alerts made by hand, a clock that is a number, a channel that obeys."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

from pipeline.alert import Alert, moment
from pipeline.notify import Integration, Limits, Notification, Notify, Receipt, Result, Route, Status

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["EDITOR", "POSTER", "START", "Bench", "alert", "route"]

START = 1_800_000_000_000
EDITOR = Integration("people", 0, edits=True)
POSTER = Integration("people", 1, edits=False)


def route(**given: object) -> Route:
    settings: dict[str, object] = {
        "receiver": "people",
        "group_by": ("alertname",),
        "group_wait_ms": 30_000,
        "group_interval_ms": 300_000,
        "repeat_interval_ms": 14_400_000,
    }
    return Route(**(settings | given))  # type: ignore[arg-type]  # a test names what it needs


def alert(
    name: str = "a",
    revision: int = 1,
    *,
    count: int | None = None,
    over_after_ms: int | None = None,
    labels: Mapping[str, str] | None = None,
    start_ms: int = START,
) -> Alert:
    start = moment(start_ms)
    return Alert(
        id=name,
        revision=revision,
        labels={"alertname": "burst", "severity": "error", **(labels or {})},
        annotations={},
        starts_at=start,
        count=revision if count is None else count,
        first_at=start,
        last_at=start,
        ends_at=None if over_after_ms is None else start + dt.timedelta(milliseconds=over_after_ms),
    )


class Bench:
    """A stage with its store and its clock. `failing` are the integrations whose sends fail now."""

    def __init__(
        self,
        root: Route | None = None,
        integrations: Sequence[Integration] = (EDITOR,),
        limits: Limits | None = None,
    ) -> None:
        self.root = root if root is not None else route()
        self.integrations = {"people": list(integrations)}
        self.limits = limits
        self.now = START
        self.kept: dict[str, bytes] = {}
        self.sent: list[Notification] = []
        self.status = Status.SENT
        self.failing: set[int] = set()
        self.notify = self.fresh()

    def fresh(self) -> Notify:
        return Notify(self.root, self.integrations, limits=self.limits)

    def receive(self, *alerts: Alert) -> None:
        for each in alerts:
            self.notify.receive(each, None, self.now)

    def flush(self, *, everything: bool = False) -> list[Notification]:
        """Flush, and send at once; returns what was tried."""
        intents = self.notify.flush_all(self.now) if everything else self.notify.flush(self.now)
        tried = []
        for intent in intents:
            notification = self.notify.compose(intent, self.now)
            if notification is None:
                continue
            tried.append(notification)
            status = Status.FAILED if notification.integration in self.failing else self.status
            receipt = notification.receipt or Receipt("C1", f"{len(self.sent)}.0")
            result = Result(status, receipt if status is Status.SENT else None)
            self.notify.record(notification, result, self.now)
            if status is Status.SENT:
                self.sent.append(notification)
        self.save()
        return tried

    def after(self, ms: int) -> list[Notification]:
        self.now += ms
        return self.flush()

    def save(self) -> None:
        for key, data in self.notify.changes():
            if data is None:
                self.kept.pop(key, None)
            else:
                self.kept[key] = data

    def restart(self) -> None:
        """Lose all that was not saved."""
        self.notify = self.fresh()
        self.notify.restore(dict(self.kept), self.now)
