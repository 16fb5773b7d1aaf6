"""Alerts: what the correlate stage tells, in Alertmanager's shape with Tocsin's evidence added."""

from __future__ import annotations

import datetime as dt

import msgspec

from pipeline.event import Origin

__all__ = ["Alert", "Sample", "moment", "to_ms"]

_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


def moment(ms: int) -> dt.datetime:
    """Return the UTC time of `ms`, milliseconds since the epoch."""
    return _EPOCH + dt.timedelta(milliseconds=ms)


def to_ms(at: dt.datetime) -> int:
    """Return milliseconds since the epoch of an aware time."""
    return (at - _EPOCH) // dt.timedelta(milliseconds=1)


class Sample(msgspec.Struct, frozen=True):
    """One event as evidence: where it lies, when it happened, and its text (bounded, unescaped)."""

    origin: Origin
    at: dt.datetime
    text: str


class Alert(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """One alert as it stands; each change is a new value with the same id and a higher revision.

    Attributes:
        id: hash of rule id, rule content hash, group-by values and window start: the same events give
            the same id on every run.
        revision: counts the changes of this alert, in a way that repeats itself on replay.
        labels: `alertname`, `severity`, `rule_id`, `service` and the group-by fields.
        annotations: `summary`, `description` and what else the rule says about itself.
        starts_at: time of the first event of the window that fired.
        ends_at: when it was resolved, in event time; None while it fires.
        count: events counted so far.
        first_at: time of the first event counted.
        last_at: time of the last event counted.
        samples: up to 10 of the events.
    """

    id: str
    revision: int
    labels: dict[str, str]
    annotations: dict[str, str]
    starts_at: dt.datetime
    count: int
    first_at: dt.datetime
    last_at: dt.datetime
    ends_at: dt.datetime | None = None
    samples: tuple[Sample, ...] = ()

    @property
    def firing(self) -> bool:
        """Whether the alert has not been resolved."""
        return self.ends_at is None
