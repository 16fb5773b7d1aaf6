"""Control: what the worker asks of services over the topic `control`.

When an alert begins to fire that is grave enough, the recorders of its service are asked for what they keep:
of the traces that its events name, or of all where they name none. A request that is lost is no disaster, and
neither is one that comes twice: a recorder sends nothing a second time. So nothing here outlives the process.
"""

from __future__ import annotations

import datetime as dt
import re
from typing import TYPE_CHECKING

import msgspec

from pipeline.alert import moment, to_ms
from pipeline.notify.notification import rank

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pipeline.alert import Alert

__all__ = ["RecorderRequest", "RecorderRequests"]

_EVERY_MS = 60_000
# Within this time a service is asked for so many traces at the most.
_MAX_TRACES = 20
# An event of a trace is rarely older than its alert; logs that are read again are.
_FRESH_MS = 300_000
_MAX_KNOWN = 10_000
_MAX_READ = 4_000
# All that repeats is bounded, so no attempt goes far. A quote within a text is escaped, so it begins no key.
_TRACE = re.compile(
    r"""(?<![\w.])(?:"(?:trace_id|trace\.id|trace[Ii]d|TraceId)"\s{0,4}:\s{0,4}(?:"([^"\\]{1,128})"|(\d{1,39}+)(?!\d))"""
    r"""|(?:trace_id|trace\.id|trace[Ii]d)=(?:"([^"\\]{1,128})"|([\w.:/+-]{1,128}+)(?![\w.:/+-])))""",
    re.ASCII,
)


class RecorderRequest(msgspec.Struct, frozen=True, tag_field="kind", tag="recorder", omit_defaults=True):
    """Asks the recorders of a service for what they keep.

    Attributes:
        service: whose; others don't answer.
        at: when it was asked; after a minute nobody answers.
        alert: id of the alert that is the reason.
        traces: of which traces; none for all that is kept.
    """

    service: str
    at: dt.datetime
    alert: str
    traces: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """The record's key on the topic, which is compacted."""
        return f"recorder/{self.service}"


class _Asked:
    """What a service was asked for since a moment."""

    __slots__ = ("everything", "since_ms", "traces")

    def __init__(self, since_ms: int) -> None:
        self.since_ms = since_ms
        self.traces: set[str] = set()
        self.everything = False


class RecorderRequests:
    """Decides what to ask for; one for each process that correlates."""

    def __init__(self, severity: str) -> None:
        """Begin with nothing asked.

        Args:
            severity: that of the least grave alerts that are worth a request.
        """
        self._rank = rank(severity)
        # Ids of alerts that have begun, the oldest first.
        self._begun: dict[str, None] = {}
        self._asked: dict[str, _Asked] = {}

    def requests(self, alerts: Iterable[Alert], now_ms: int) -> list[RecorderRequest]:
        """Return what to ask for now.

        A service is asked for all that it keeps once a minute at the most, and for 20 traces in a minute.

        Args:
            alerts: alerts that changed, as they stand.
            now_ms: the present, milliseconds since the epoch.
        """
        requests = []
        for alert in alerts:
            service = alert.labels.get("service", "")
            if service and self._begins(alert, now_ms):
                asked = self._of(service, now_ms)
                traces = dict.fromkeys(_traces(alert))
                new = [t for t in traces if t not in asked.traces][: _MAX_TRACES - len(asked.traces)]
                if new or not (traces or asked.everything):
                    asked.traces.update(new)
                    asked.everything = asked.everything or not new
                    requests.append(RecorderRequest(service, moment(now_ms), alert.id, tuple(new)))
        return requests

    def _begins(self, alert: Alert, now_ms: int) -> bool:
        """Whether an alert is grave, new, and of the present."""
        if not alert.firing:
            self._begun.pop(alert.id, None)
            return False
        if rank(alert.labels.get("severity", "none")) > self._rank or alert.id in self._begun:
            return False
        if len(self._begun) >= _MAX_KNOWN:
            del self._begun[next(iter(self._begun))]
        self._begun[alert.id] = None
        return now_ms - to_ms(alert.last_at) <= _FRESH_MS

    def _of(self, service: str, now_ms: int) -> _Asked:
        asked = self._asked.get(service)
        if asked is None or now_ms - asked.since_ms >= _EVERY_MS:
            # Those that were asked the longest ago come first.
            self._asked.pop(service, None)
            if len(self._asked) >= _MAX_KNOWN:
                del self._asked[next(iter(self._asked))]
            asked = self._asked[service] = _Asked(now_ms)
        return asked


def _traces(alert: Alert) -> Iterator[str]:
    """Yield the traces that an alert's labels and events name; the newest events first, as they fired it."""
    if label := alert.labels.get("trace_id"):
        yield label
    for sample in reversed(alert.samples):
        for found in _TRACE.finditer(sample.text[:_MAX_READ]):
            yield found[1] or found[2] or found[3] or found[4]
