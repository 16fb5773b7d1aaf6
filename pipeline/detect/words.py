"""Words on sources: what their accounts say, as events that rules, windows and routes work on.

Every word is an event of its service, with the logger `tocsin.sources`. Its text comes from keys and headers,
which whoever writes to the topic chooses: bounded, and data only. However much is found, few words are made:
losses of a service are added up for a minute, and a partition has so many words a minute; the rest waits.
"""

from __future__ import annotations

import datetime as dt
import enum
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from pipeline.detect.silence import Service

__all__ = ["LOGGER", "OWN_SOURCE", "SourceCounts", "SourceEvent", "Words"]

LOGGER = "tocsin.sources"
"""The logger of these events: what rules know them by."""

OWN_SOURCE = b"."
"""What the name of a worker's own source begins with: no handler's does, and no account is kept of it."""

_MINUTE_MS = 60_000
_PER_MINUTE = 60
_MAX_WAITING = 1_000
_MAX_COUNTED = 1_000
_MAX_SOURCES = 1_000


class SourceCounts(msgspec.Struct):
    """What the accounts of all partitions have come to; for metrics.

    Attributes:
        lost: records that are missing, by service; those of services beyond a number under the empty name.
        repeated: records that came a second time, and were not examined again.
        reordered: records that came after younger ones of their source, in time.
        returned: records that came after they had been counted as lost.
        untold: words that were not written, as there were too many or the topic can't be written to.
    """

    lost: dict[str, int] = {}
    repeated: int = 0
    reordered: int = 0
    returned: int = 0
    untold: int = 0

    def lose(self, service: str, count: int) -> None:
        """Count records as lost."""
        if service not in self.lost and len(self.lost) >= _MAX_COUNTED:
            service = ""
        self.lost[service] = self.lost.get(service, 0) + count


class SourceEvent(msgspec.Struct, frozen=True):
    """One event, to be written to the topic that it is about.

    Attributes:
        key: the service's.
        value: the JSON.
        text: what it says, for people.
        time_ms: milliseconds since the epoch.
    """

    key: bytes
    value: bytes
    text: str
    time_ms: int


class _Kind(enum.Enum):
    """What can be said of a service."""

    LOST = "lost"
    RETURNED = "returned"
    SILENT = "silent"
    BACK = "back"


_GRAVE = frozenset({_Kind.LOST, _Kind.SILENT})


class _Word:
    """What is to be said of one service.

    Attributes:
        service: its name.
        environment: where it runs; empty for not said.
        ready_ms: when it may be said, by the wall clock.
        amount: how many records; or for how many milliseconds.
        host: where they are from; empty for not said, or from several.
        sources: of which sources.
        first: the first number that is missing, of the first of these sources.
        last: the last one, likewise.
    """

    __slots__ = ("amount", "environment", "first", "host", "last", "ready_ms", "service", "sources")

    def __init__(self, service: Service, ready_ms: int) -> None:
        self.service = service.name
        self.environment = service.environment
        self.ready_ms = ready_ms
        self.amount = 0
        self.host = ""
        self.sources: dict[bytes, None] = {}
        self.first = self.last = 0


class Words:
    """The words on the services of one partition, until they are due."""

    def __init__(self, counts: SourceCounts) -> None:
        """Begin with none.

        Args:
            counts: where those are counted that find no room.
        """
        self._counts = counts
        self._waiting: dict[tuple[_Kind, bytes], _Word] = {}
        # When losses of a service were last told, as far as that is less than a minute ago.
        self._told_ms: dict[tuple[_Kind, bytes], int] = {}
        self._minute_ms = 0
        self._left = _PER_MINUTE

    def lost(self, service: Service, source: bytes, host: str, first: int, last: int) -> None:
        """Say that records are missing.

        Args:
            service: whose.
            source: of which of its sources.
            host: where that runs; empty for not said.
            first: the first number that is missing.
            last: the last one.
        """
        if (word := self._word(_Kind.LOST, service)) is None:
            return
        if not word.sources:
            word.first, word.last, word.host = first, last, host
        elif source in word.sources and len(word.sources) == 1:
            word.last = max(word.last, last)
        elif host != word.host:
            word.host = ""
        word.amount += last - first + 1
        if len(word.sources) < _MAX_SOURCES:
            word.sources[source] = None

    def returned(self, service: Service) -> None:
        """Say that a record has come that counted as lost."""
        if (word := self._word(_Kind.RETURNED, service)) is not None:
            word.amount += 1

    def silent(self, service: Service, quiet_ms: int) -> None:
        """Say that a service has fallen silent, `quiet_ms` milliseconds ago."""
        if (word := self._word(_Kind.SILENT, service)) is not None:
            word.amount = quiet_ms

    def back(self, service: Service, quiet_ms: int) -> None:
        """Say that a service is back that was silent for `quiet_ms` milliseconds."""
        if (word := self._word(_Kind.BACK, service)) is not None:
            word.amount = quiet_ms

    def due(self, now_ms: int, time_ms: int) -> list[SourceEvent]:
        """Return the events that are to be written now.

        Args:
            now_ms: the wall clock.
            time_ms: the time that the events are to have, milliseconds since the epoch.
        """
        if abs(now_ms - self._minute_ms) >= _MINUTE_MS:
            self._minute_ms, self._left = now_ms, _PER_MINUTE
            self._told_ms = {k: t for k, t in self._told_ms.items() if abs(now_ms - t) < _MINUTE_MS}
        if not self._waiting or not self._left:
            return []
        # A clock that was set back must not hold a word up.
        ready = [
            key for key, word in self._waiting.items() if not now_ms < word.ready_ms <= now_ms + _MINUTE_MS
        ][: self._left]
        self._left -= len(ready)
        self._told_ms.update(dict.fromkeys(ready, now_ms))
        return [_event(kind, key, self._waiting.pop((kind, key)), time_ms) for kind, key in ready]

    def _word(self, kind: _Kind, service: Service) -> _Word | None:
        """Return the word that waits, or a new one; None where there is no room."""
        key = (kind, service.key)
        word = self._waiting.get(key)
        if word is None:
            if len(self._waiting) >= _MAX_WAITING:
                self._counts.untold += 1
                return None
            added_up = kind in (_Kind.LOST, _Kind.RETURNED) and key in self._told_ms
            word = self._waiting[key] = _Word(service, self._told_ms[key] + _MINUTE_MS if added_up else 0)
        return word


def _event(kind: _Kind, key: bytes, word: _Word, time_ms: int) -> SourceEvent:
    text, details = _said(kind, word)
    moment = dt.datetime.fromtimestamp(time_ms / 1000, dt.UTC)
    fields: dict[str, object] = {
        "timestamp": moment.isoformat(timespec="milliseconds")[:-6] + "Z",
        "level": "warning" if kind in _GRAVE else "info",
        "event": text,
        "logger": LOGGER,
        "service": word.service,
        "environment": word.environment,
        "host": word.host,
        "finding": kind.value,
        **details,
    }
    return SourceEvent(key, msgspec.json.encode(fields), text, time_ms)


def _said(kind: _Kind, word: _Word) -> tuple[str, dict[str, object]]:
    name = word.service or "a service without a name"
    records = f"{word.amount} record{'' if word.amount == 1 else 's'} of {name}"
    match kind:
        case _Kind.LOST:
            details: dict[str, object] = {"lost": word.amount, "sources": len(word.sources)}
            if len(word.sources) == 1:
                (source,) = word.sources
                details |= {"source": source.decode("utf-8", "replace")}
                details |= {"from_seq": word.first, "to_seq": word.last}
            return f"{records} {'was' if word.amount == 1 else 'were'} lost", details
        case _Kind.RETURNED:
            return f"{records} came after being counted as lost", {"returned": word.amount}
        case _Kind.SILENT:
            return f"{name} fell silent", {"silent_s": word.amount // 1000}
        case _Kind.BACK:
            return f"{name} is back", {"silent_s": word.amount // 1000}
