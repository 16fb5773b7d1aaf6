"""The flight recorder: records that are too detailed to send, kept until something goes wrong near them.

A record below the handler's level goes into the ring of its trace, or else of the asyncio task or thread that
logs it. An error takes its ring along, the kept records first; the worker may ask for rings as well. What is
kept and then overwritten was never to be sent: it is counted here, and is no loss.

No other lock is ever taken under the recorder's own, since the code that holds that other one may log, too.
What a signal handler or a finalizer logs while its thread holds the lock is therefore put aside until later.
"""

from __future__ import annotations

import collections
import sys
import threading
import weakref
from typing import TYPE_CHECKING

from producers.process import join

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from producers.event.renderer import RenderedEvent
    from producers.sink import Sink

__all__ = ["Recorder"]

_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40, "critical": 50}
_GRAVE = frozenset({"error", "critical"})
_DEFAULT_LEVEL = 20
# What an event and a ring take beside the event's bytes and the key, as measured.
_EVENT_BYTES = 240
_RING_BYTES = 1_024
_LONGEST_TRACE = 128
_LONGEST_SERVICE = 256  # as in the key of a record
_MAX_SERVICES = 1_024
_PATIENCE_S = 0.1
_NAME = b'"recorded":'
_MARK = b',"recorded":true}'


class _Ring:
    """What is kept of one trace, task or thread, the oldest first."""

    __slots__ = ("events", "size_bytes")

    def __init__(self, size_bytes: int) -> None:
        self.events: collections.deque[RenderedEvent] = collections.deque()
        self.size_bytes = size_bytes


class Recorder:
    """A sink before the sink: sends what is to be sent, keeps what is not.

    Attributes:
        kept: records kept back so far.
        sent: those of them that were sent after all.
        forgotten: those that had to make room for others.
        begin: called with every record that is kept back; starts whoever listens to requests.
    """

    def __init__(self, sink: Sink, *, least: int, max_bytes: int, max_records: int, max_rings: int) -> None:
        """Start empty, with INFO as the least level to send.

        Args:
            sink: where records go.
            least: number of the least level to keep, as the logging module counts.
            max_bytes: most bytes that all rings take in memory together.
            max_records: most records of one ring.
            max_rings: most rings; the one that was untouched the longest goes first.

        Raises:
            ValueError: nothing would be kept.
        """
        for name, value in (("bytes", max_bytes), ("records", max_records), ("traces", max_rings)):
            if value < 1:
                raise ValueError(f"recorder_{name} must be at least 1, not {value}")
        self._sink = sink
        self._least = least
        self._max_bytes = max_bytes
        self._max_records = max_records
        self._max_rings = max_rings
        self.begin: Callable[[], None] | None = None
        # Names of tasks and threads that nothing else bears, also after their end.
        self._tasks: weakref.WeakKeyDictionary[object, object] = weakref.WeakKeyDictionary()
        self._threads = threading.local()
        self.renew()
        self.set_level(0)
        join(self)

    def renew(self) -> None:
        """Start over in a forked child, empty."""
        self._lock = threading.RLock()
        self._owner = 0
        self._aside: collections.deque[RenderedEvent] = collections.deque()
        # The ring that was untouched the longest comes first.
        self._rings: collections.OrderedDict[object, _Ring] = collections.OrderedDict()
        # Of whom anything was ever kept; no more of them are told apart than fit.
        self._services: set[bytes] = set()
        self._size_bytes = 0
        self.kept = 0
        self.sent = 0
        self.forgotten = 0

    def set_level(self, level: int) -> int:
        """Say which records to send at once; those below are kept back.

        A level between the standard ones counts as the one below it, as it does in an event.

        Args:
            level: number of the least level to send; 0 for INFO.

        Returns:
            The number of the least level that this recorder has a use for.
        """
        send = level or _DEFAULT_LEVEL
        self._to_send = frozenset(name for name, number in _LEVELS.items() if number > send - 10)
        known = frozenset(name for name, number in _LEVELS.items() if number > self._least - 10)
        self._to_keep = known - self._to_send
        return min(send, self._least)

    @property
    def held(self) -> int:
        """Records in the rings now: kept, and neither sent nor forgotten."""
        return self.kept - self.sent - self.forgotten

    @property
    def held_bytes(self) -> int:
        """What the rings take in memory."""
        return self._size_bytes

    @property
    def dropped(self) -> Mapping[str, int]:
        """Events lost so far, by level."""
        return self._sink.dropped

    @property
    def pending(self) -> int:
        """Events taken in that have not arrived yet; those kept back are none."""
        return self._sink.pending

    def write(self, event: RenderedEvent) -> None:
        """Keep an event back, or send it; before an error what is kept of its trace."""
        if self._owner == threading.get_ident():
            self._aside.append(event)
            return
        level = event.level
        if level in self._to_keep:
            self._keep(event)
        elif level in self._to_send:
            if level in _GRAVE and self._rings:
                self._release(self._take(self._key(event)))
            self._sink.write(event)
        if self._aside:
            self._catch_up()

    def answer(self, service: str, traces: Collection[str] | None = None) -> int:
        """Send what is kept of a service.

        Args:
            service: whose records, by the name that they bear.
            traces: of which traces; None for all there is, that of tasks and threads included.

        Returns:
            How many records were sent.
        """
        key = service[:_LONGEST_SERVICE].encode("utf-8", "backslashreplace")
        if key not in self._services and len(self._services) < _MAX_SERVICES:
            # The whole fleet hears what one service is asked.
            return 0
        # Whoever asks must not wait for a log call that a signal has broken off.
        if not self._lock.acquire(timeout=_PATIENCE_S):
            return 0
        try:
            self._owner = threading.get_ident()
            wanted = list(self._rings) if traces is None else [t for t in traces if t in self._rings]
            events = [event for ring in wanted for event in self._take_of(ring, key)]
        finally:
            self._owner = 0
            self._lock.release()
        events.sort(key=lambda event: event.time_ms)
        self._release(events)
        if self._aside:
            self._catch_up()
        return len(events)

    def lose(self, level: str) -> None:
        """Count an event that was lost before it got here."""
        self._sink.lose(level)

    def flush(self, timeout_s: float | None = None) -> bool:
        """Wait until all that was sent has arrived; what is kept back stays."""
        return self._sink.flush(timeout_s)

    def finish(self, began_s: float) -> None:
        """Let the end come: what is kept back is not sent."""

    def cease(self, began_s: float) -> None:
        """Do nothing: the sink does."""

    def close(self) -> None:
        """Close the sink; what is kept back stays, for an error that may still come."""
        self._sink.close()

    def _key(self, event: RenderedEvent) -> object:
        """Return the key of an event's ring."""
        if event.trace:
            return event.trace[:_LONGEST_TRACE]
        # Who has not loaded it runs no task. The public name raises where there is no loop, which is slow.
        asyncio = sys.modules.get("asyncio")
        running_loop = getattr(asyncio, "_get_running_loop", None)
        loop = running_loop() if running_loop is not None else None
        if asyncio is not None and loop is not None:
            task = asyncio.current_task(loop)
            if task is not None:
                name = self._tasks.get(task)
                if name is None:
                    name = self._tasks[task] = object()
                return name
        threads = self._threads
        try:
            return threads.name
        except AttributeError:
            threads.name = object()
            return threads.name

    def _keep(self, event: RenderedEvent) -> None:
        key = self._key(event)
        size_bytes = len(event.value) + _EVENT_BYTES
        with self._lock:
            self._owner = threading.get_ident()
            try:
                ring = self._rings.get(key)
                if ring is None:
                    ring = self._open(key)
                else:
                    self._rings.move_to_end(key)
                if event.key not in self._services and len(self._services) < _MAX_SERVICES:
                    self._services.add(event.key)
                self.kept += 1
                self._size_bytes += size_bytes
                ring.size_bytes += size_bytes
                ring.events.append(event)
                while len(ring.events) > self._max_records:
                    self._forget_oldest(ring)
                while self._size_bytes > self._max_bytes:
                    self._make_room()
            finally:
                self._owner = 0
        if self.begin is not None:
            self.begin()

    def _open(self, key: object) -> _Ring:
        while len(self._rings) >= self._max_rings:
            oldest, ring = next(iter(self._rings.items()))
            count = len(ring.events)
            self.forgotten += count
            self._size_bytes -= ring.size_bytes
            del self._rings[oldest]
        ring = _Ring(_RING_BYTES + 4 * len(key) if isinstance(key, str) else _RING_BYTES)
        self._size_bytes += ring.size_bytes
        self._rings[key] = ring
        return ring

    def _make_room(self) -> None:
        """Forget the oldest record of the ring that was untouched the longest."""
        key, ring = next(iter(self._rings.items()))
        if ring.events:
            self._forget_oldest(ring)
        if not ring.events:
            self._size_bytes -= ring.size_bytes
            del self._rings[key]

    def _forget_oldest(self, ring: _Ring) -> None:
        size_bytes = len(ring.events[0].value) + _EVENT_BYTES
        self.forgotten += 1
        self._size_bytes -= size_bytes
        ring.size_bytes -= size_bytes
        ring.events.popleft()

    def _take(self, key: object) -> Iterable[RenderedEvent]:
        """Take what is kept under a key."""
        with self._lock:
            self._owner = threading.get_ident()
            try:
                ring = self._rings.get(key)
                if ring is None:
                    return ()
                count = len(ring.events)
                self.sent += count
                self._size_bytes -= ring.size_bytes
                del self._rings[key]
                return ring.events
            finally:
                self._owner = 0

    def _take_of(self, key: object, service: bytes) -> list[RenderedEvent]:
        """Take what is kept under a key of one service; the lock is held."""
        ring = self._rings[key]
        taken = [event for event in ring.events if event.key == service]
        rest = collections.deque(event for event in ring.events if event.key != service)
        count = len(taken)
        freed_bytes = sum(len(event.value) + _EVENT_BYTES for event in taken) if rest else ring.size_bytes
        self.sent += count
        self._size_bytes -= freed_bytes
        ring.size_bytes -= freed_bytes
        ring.events = rest
        if not rest:
            del self._rings[key]
        return taken

    def _release(self, events: Iterable[RenderedEvent]) -> None:
        for event in events:
            self._sink.write(_marked(event))

    def _catch_up(self) -> None:
        """Deal with what was put aside."""
        for _ in range(len(self._aside)):
            try:
                event = self._aside.popleft()
            except IndexError:
                # Another thread was quicker.
                return
            self.write(event)


def _marked(event: RenderedEvent) -> RenderedEvent:
    """Return an event that says it was kept back; a field of that name that the service has goes before."""
    value = event.value
    if value.startswith(b'{"') and value.endswith(b"}") and _NAME not in value:
        return event._replace(value=value[:-1] + _MARK)
    return event
