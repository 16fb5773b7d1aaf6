"""Alerts and notifications as tests of receivers need them."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

from pipeline.alert import Alert, Sample
from pipeline.event import Origin
from pipeline.notify.notification import Notification, Reason, Receipt

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["START", "Clock", "alert", "notification"]

START = dt.datetime(2026, 10, 7, 9, 14, 3, tzinfo=dt.UTC)


class Clock:
    """A clock that sleepers move, and a record of how long they slept."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


def alert(
    name: str = "payments",
    count: int = 12_345,
    *,
    texts: tuple[str, ...] = ("payment failed: card declined",),
    seconds: int = 62,
    over: bool = False,
    severity: str = "error",
    start: dt.datetime = START,
    labels: Mapping[str, str] | None = None,
) -> Alert:
    last = start + dt.timedelta(seconds=seconds)
    return Alert(
        id=f"id-{name}",
        revision=count,
        labels={
            "alertname": "Error burst",
            "severity": severity,
            "rule_id": "rule-77",
            "service": name,
            **(labels or {}),
        },
        annotations={"summary": "More than 50 errors of one service within a minute."},
        starts_at=start,
        ends_at=last + dt.timedelta(minutes=5) if over else None,
        count=count,
        first_at=start,
        last_at=last,
        samples=tuple(
            Sample(Origin("logs", 0, i), start + dt.timedelta(seconds=i), text)
            for i, text in enumerate(texts)
        ),
    )


def notification(
    *alerts: Alert,
    reason: Reason = Reason.FIRST,
    receipt: Receipt | None = None,
    changed: tuple[str, ...] = (),
    id: str = "n-1",  # noqa: A002 - the field's name
    labels: dict[str, str] | None = None,
) -> Notification:
    labels = {"alertname": "Error burst"} if labels is None else labels
    return Notification(
        id=id,
        receiver="people",
        integration=0,
        group_key="{}/{alertname=Error burst}",
        group_labels=labels,
        reason=reason,
        alerts=alerts or (alert(),),
        changed=frozenset(changed),
        receipt=receipt,
    )
