"""Messages: what a notification says to a person, whatever carries it.

It must be read in two seconds: which rule, which service, how many, since when, still going on or over.
Everything taken from logs is data: masked, made inert and bounded here, so that a receiver has to mind
its own format only. All times are UTC.
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

import msgspec

from consumers.receivers.evidence import evidence
from consumers.receivers.mask import mask
from consumers.receivers.mrkdwn import clip
from consumers.receivers.visible import one_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pipeline.alert import Alert
    from pipeline.notify.notification import Notification

__all__ = ["Field", "Item", "Message", "message_of", "news_of"]

_TITLE = 140  # with the icon within Slack's 150 for a header
_VALUE = 160
_SUMMARY = 400
_SAMPLES = 5
_ITEMS = 10
_FIELDS = 10
_NAMED = 3  # of many services, rules or ids as many are named

_ICONS = {
    "critical": "🔴",
    "high": "🟠",
    "error": "🟠",
    "medium": "🟡",
    "warning": "🟡",
    "low": "🔵",
    "informational": "⚪",
    "info": "⚪",
}
_PLACES = {"service": "Service", "host": "Host", "environment": "Environment"}
_SAID_ELSEWHERE = frozenset({"alertname", "severity", "rule_id", *_PLACES})
# Labels of what a service wants to be told, and what it says: then that is the headline, not the rule.
_NOTIFY, _EVENT = "notify", "event"
_OF_TOLD = frozenset({"alertname", _EVENT})


class Field(msgspec.Struct, frozen=True):
    """One fact with a name."""

    name: str
    value: str


class Item(msgspec.Struct, frozen=True):
    """One alert among several.

    Attributes:
        name: what sets it apart from the others.
        says: how many and when.
        firing: whether it still goes on.
    """

    name: str
    says: str
    firing: bool


class Message(msgspec.Struct, frozen=True):
    """A notification, in words.

    Attributes:
        title: the rule and whom it is about; with the icon at most 150 characters.
        severity: the gravest one that fires.
        firing: whether anything still goes on.
        status: state, severity, count and time, in one line.
        summary: what the rule says about itself; may be empty.
        fields: at most 10.
        items: the alerts, at most 10 and the largest first; empty when there is only one.
        items_left: how many more there are.
        samples: at most 5 log lines, oldest first; each may have inner newlines.
        footer: the rule's id, status and tags, and the alert's id.
    """

    title: str
    severity: str
    firing: bool
    status: str
    summary: str
    fields: tuple[Field, ...]
    items: tuple[Item, ...]
    items_left: int
    samples: tuple[str, ...]
    footer: str

    @property
    def icon(self) -> str:
        """One character for the state: a colour by severity, or a tick when all is over."""
        return _ICONS.get(self.severity, "⚪") if self.firing else "✅"

    @property
    def text(self) -> str:
        """The whole in one line, for a phone's notification."""
        return f"{self.icon} {self.title}: {self.status}"


def message_of(notification: Notification) -> Message:
    """Say what a notification has to tell, about all of its alerts."""
    return _message(notification, notification.alerts, notification.severity)


def news_of(notification: Notification) -> Message:
    """Say what is new since the last notification: only its changed alerts that fire, if there are any."""
    news = tuple(a for a in notification.firing if a.id in notification.changed)
    return _message(notification, news or notification.alerts, notification.severity)


def _message(notification: Notification, alerts: tuple[Alert, ...], severity: str) -> Message:
    """Build the message about `alerts`, which are some of the notification's."""
    firing = tuple(a for a in alerts if a.firing)
    # What goes on most comes first; but of what is told, the newest.
    ordered = sorted(alerts, key=lambda a: (not a.firing, -a.count, a.first_at, a.id))
    if _told(alerts):
        ordered.sort(key=lambda a: a.last_at, reverse=True)
    severity = _data(severity, 20)
    return Message(
        title=_title(notification, ordered if _told(alerts) else alerts),
        severity=severity,
        firing=bool(firing),
        status=_status(alerts, firing, severity),
        summary=_data(_summary(ordered), _SUMMARY),
        fields=_fields(notification, alerts),
        items=_items(ordered[:_ITEMS], alerts) if len(alerts) > 1 else (),
        items_left=max(0, len(alerts) - _ITEMS),
        samples=evidence(ordered, _SAMPLES),
        footer=_footer(ordered),
    )


def _told(alerts: Sequence[Alert]) -> bool:
    """Whether all that is told are words of services, which they want to be told."""
    return bool(alerts) and all(a.labels.get(_NOTIFY) and a.labels.get(_EVENT) for a in alerts)


def _title(notification: Notification, alerts: Sequence[Alert]) -> str:
    rules = _named(a.labels.get("alertname", "") for a in alerts) or "Alert"
    if _told(alerts):
        texts = list(dict.fromkeys(a.labels[_EVENT] for a in alerts))
        rules = _data(texts[0], _TITLE) if len(texts) == 1 else _named(texts)
    whom = _named(a.labels.get("service", "") for a in alerts) or ", ".join(
        _data(value, _VALUE) for name, value in notification.group_labels.items() if name != "alertname"
    )
    return clip(f"{rules} · {whom}" if whom else rules, _TITLE)


def _status(alerts: Sequence[Alert], firing: Sequence[Alert], severity: str) -> str:
    count = _events(sum(a.count for a in alerts))
    first, last, day = _span(alerts)
    many = f" in {len(alerts):,} alerts" if len(alerts) > 1 else ""
    if first == last:
        when = f"at {_time(first, day)} UTC"
    elif firing:
        when = f"since {_time(first, day)} UTC, last {_time(last, day)}"
    else:
        when = f"in {_duration(last - first)}, {_time(first, day)} to {_time(last, day)} UTC"
    if not firing:
        state = "Over"
    elif len(firing) < len(alerts):
        state = f"{len(firing):,} of {len(alerts):,} still firing"
        many = ""
    else:
        state = "Logged" if _told(alerts) else "Firing"
    return f"{state} · {severity} · {count}{many} {when}"


def _fields(notification: Notification, alerts: Sequence[Alert]) -> tuple[Field, ...]:
    first, last, day = _span(alerts)
    fields = [
        Field(shown, value)
        for name, shown in _PLACES.items()
        if (value := _named(a.labels.get(name, "") for a in alerts))
    ]
    fields += [
        Field("Events", f"{sum(a.count for a in alerts):,}"),
        Field("First", f"{first:%Y-%m-%d %H:%M:%S} UTC"),
        Field("Last", f"{_time(last, first.date())} UTC"),
    ]
    if ends := [a.ends_at for a in alerts if a.ends_at is not None]:
        resolved = f"{_time(max(ends), day)} UTC"
        if len(ends) < len(alerts):
            resolved = f"{len(ends):,} of {len(alerts):,}, the last at {resolved}"
        fields.append(Field("Resolved", resolved))
    # Of one alert every label is told; of several those that made the group, since items tell the rest.
    labels = {**notification.group_labels, **(alerts[0].labels if len(alerts) == 1 else {})}
    elsewhere = _SAID_ELSEWHERE | ({_EVENT} if _told(alerts) else set())
    others = [
        Field(_data(name, 40), _data(value, _VALUE))
        for name, value in sorted(labels.items())
        if value and name not in elsewhere
    ]
    room = _FIELDS - len(fields)
    if len(others) > room:
        rest = ", ".join(f"{field.name}={field.value}" for field in others[room - 1 :])
        others = [*others[: room - 1], Field("Other labels", clip(rest, _VALUE))]
    return (*fields, *others)


def _items(shown: Sequence[Alert], alerts: Sequence[Alert]) -> tuple[Item, ...]:
    day = _span(alerts)[2]
    names = {name for alert in alerts for name in alert.labels}
    common = {name for name in names if len({alert.labels.get(name) for alert in alerts}) == 1}
    telling = sorted(names - common - {"severity", "rule_id"}, key=lambda n: (n != "alertname", n))
    items = []
    told = _told(alerts)
    for alert in shown:
        parts = [(name, alert.labels[name]) for name in telling if alert.labels.get(name)]
        if told:
            name = " · ".join([alert.labels[_EVENT], *(v for n, v in parts if n not in _OF_TOLD)])
        elif len(telling) == 1:
            name = "".join(value for _, value in parts)
        else:
            name = ", ".join(v if n == "alertname" else f"{n}={v}" for n, v in parts)
        when = _time(alert.first_at, day)
        if alert.last_at != alert.first_at:
            when += f" to {_time(alert.last_at, day)}"
        items.append(Item(_data(name or alert.id, 100), f"{_events(alert.count)}, {when}", alert.firing))
    return tuple(items)


def _summary(alerts: Sequence[Alert]) -> str:
    """Return what the rule of the first alert says about itself; nothing beside what a service says."""
    notes = alerts[0].annotations if alerts and not _told(alerts) else {}
    summary = notes.get("summary", "")
    # The title says already what the rule is called; what it finds is news.
    return (
        summary if summary and summary != alerts[0].labels.get("alertname") else notes.get("description", "")
    )


def _footer(alerts: Sequence[Alert]) -> str:
    rules = _named(a.labels.get("rule_id", "") for a in alerts)
    ids = _named(a.id for a in alerts)
    # Who is woken by a rule wants to know whether it has proved itself. (Sigma specification, "Status".)
    status = _named(s for a in alerts if (s := a.annotations.get("status", "")) != "stable")
    tags = _named(tag for a in alerts for tag in a.annotations.get("tags", "").split(", "))
    named = (("rule", rules), ("status", status), ("tags", tags), ("alert", ids))
    return " · ".join(f"{word} {which}" for word, which in named if which)


def _named(values: Iterable[str]) -> str:
    """Return the distinct non-empty values, the first few by name and the rest as a number."""
    distinct = [value for value in dict.fromkeys(values) if value]
    shown = ", ".join(_data(value, _VALUE // 2) for value in distinct[:_NAMED])
    left = len(distinct) - _NAMED
    return f"{shown} and {left:,} more" if left > 0 else shown


def _data(text: str, limit: int) -> str:
    """Return text that came from outside as one bounded, masked, inert line."""
    # Masked before it is cut: half a secret would not be known for one.
    return clip(one_line(mask(text[:2_000])), limit)


def _events(count: int) -> str:
    return "1 event" if count == 1 else f"{count:,} events"


def _span(alerts: Sequence[Alert]) -> tuple[dt.datetime, dt.datetime, dt.date]:
    """Return the first and the last time of the alerts, and the newest day that they speak of."""
    first = min(a.first_at for a in alerts).astimezone(dt.UTC)
    last = max(a.last_at for a in alerts).astimezone(dt.UTC)
    ends = [a.ends_at.astimezone(dt.UTC) for a in alerts if a.ends_at is not None]
    return first, last, max([last, *ends]).date()


def _time(at: dt.datetime, day: dt.date) -> str:
    """Return the time of day, with the date before it when that is not `day`."""
    at = at.astimezone(dt.UTC)
    return f"{at:%H:%M:%S}" if at.date() == day else f"{at:%Y-%m-%d %H:%M:%S}"


def _duration(span: dt.timedelta) -> str:
    """Return a length of time in its two largest units."""
    seconds = round(span.total_seconds())
    parts = []
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)):
        number, seconds = divmod(seconds, size)
        if number:
            parts.append(f"{number} {unit}")
    return " ".join(parts[:2]) or "under 1 s"
