"""The buffer between log calls and the thread that delivers: bounded, ordered, exact about its losses.

A record stays counted from the log call until the broker has acknowledged it, so the bounds hold for
what is on its way too. What finds no room is dropped and counted, and its number is used up: the worker
sees the gap. The lock is reentrant, since a signal handler or a finalizer may log within a log call.
"""

from __future__ import annotations

import collections
import itertools
import os
import threading
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from producers.event import RenderedEvent

__all__ = ["Buffer", "Chunk", "Record"]

# What a record costs beside its bytes, in memory and in a batch.
_OVERHEAD_BYTES = 64
_MAX_KEYS = 1_024


class Record(NamedTuple):
    """One event in the buffer.

    Attributes:
        event: the event, ready to travel.
        source: names the counter: random, of one buffer in one process.
        seq: counts the events of a source that have the same key, from 0.
    """

    event: RenderedEvent
    source: bytes
    seq: int


class Chunk(NamedTuple):
    """Records that were taken together, in order.

    Attributes:
        records: at least one.
        size_bytes: what they count for.
        era: grows when the buffer is emptied by force, so that a late acknowledgement counts nothing.
    """

    records: list[Record]
    size_bytes: int
    era: int


class Buffer:
    """A bounded queue with many writers and one taker."""

    def __init__(self, max_bytes: int, max_records: int) -> None:
        """Start empty.

        Args:
            max_bytes: most bytes to hold.
            max_records: most records to hold.
        """
        self._max_bytes = max_bytes
        self._max_records = max_records
        self.renew()

    def renew(self) -> None:
        """Start over: empty, with a new source and new locks; for a forked child."""
        self._lock = threading.RLock()
        self._settlement = threading.Condition(self._lock)
        self._records: collections.deque[Record] = collections.deque()
        self._taken: list[Record] = []
        self._pending_bytes = 0
        self._accepted = 0
        self._settled = 0
        self._era = 0
        self._armed = True
        self._dropped: collections.Counter[str] = collections.Counter()
        self._untold: collections.Counter[str] = collections.Counter()
        self._new_source()

    def _new_source(self) -> None:
        self._source = os.urandom(8).hex().encode()
        # Counters, since a log call within this one must not be given the same number.
        self._seqs: dict[bytes, itertools.count[int]] = {}

    @property
    def accepted(self) -> int:
        """Records taken in so far."""
        return self._accepted

    @property
    def pending(self) -> int:
        """Records taken in and not settled yet."""
        return self._accepted - self._settled

    @property
    def pending_bytes(self) -> int:
        """What the pending records count for."""
        return self._pending_bytes

    @property
    def empty(self) -> bool:
        """Whether there is nothing to take."""
        return not self._records

    @property
    def dropped(self) -> dict[str, int]:
        """Records lost so far, by level."""
        with self._lock:
            return dict(self._dropped)

    def put(self, event: RenderedEvent, *, always: bool = False) -> bool:
        """Take an event in, or drop it when there is no room.

        Args:
            event: the event.
            always: take it in beyond the bounds; for the rare word about what was dropped.

        Returns:
            Whether the taker is asleep and has to be woken, now, by whoever called.
        """
        size_bytes = len(event.value) + len(event.key) + _OVERHEAD_BYTES
        with self._lock:
            counter = self._seqs.get(event.key)
            if counter is None:
                if len(self._seqs) >= _MAX_KEYS:
                    self._new_source()
                counter = self._seqs.setdefault(event.key, itertools.count())
            seq = next(counter)
            full = (
                self._pending_bytes + size_bytes > self._max_bytes
                or self._accepted - self._settled >= self._max_records
            )
            if full and not always:
                self._dropped[event.level] += 1
                self._untold[event.level] += 1
                return False
            self._records.append(Record(event, self._source, seq))
            self._pending_bytes += size_bytes
            self._accepted += 1
            wake, self._armed = self._armed, False
        return wake

    def arm(self) -> bool:
        """Announce that the taker is about to sleep: the next `put` asks for it to be woken.

        Returns:
            Whether there is nothing to take. If there is, the taker may as well stay awake.
        """
        with self._lock:
            self._armed = True
            return not self._records

    def take(self, max_bytes: int) -> Chunk:
        """Take the oldest records, at least one; they stay pending until they are settled.

        Args:
            max_bytes: where to stop.
        """
        taken: list[Record] = []
        size_bytes = 0
        with self._lock:
            self._armed = False
            while self._records and size_bytes < max_bytes:
                record = self._records.popleft()
                size_bytes += len(record.event.value) + len(record.event.key) + _OVERHEAD_BYTES
                taken.append(record)
            self._taken = taken
            return Chunk(taken, size_bytes, self._era)

    def settle(self, chunk: Chunk) -> None:
        """Let go of a chunk whose records have arrived, or have been counted as lost."""
        with self._settlement:
            if chunk.era == self._era:
                self._pending_bytes -= chunk.size_bytes
                self._settled += len(chunk.records)
                self._taken = []
                self._settlement.notify_all()

    def abandon(self, chunk: Chunk) -> None:
        """Let go of a chunk that nobody will deliver; its records are lost."""
        with self._lock:
            if chunk.era == self._era:
                for record in chunk.records:
                    self.lose(record.event.level)
                self.settle(chunk)

    def lose(self, level: str, count: int = 1) -> None:
        """Count records that were lost elsewhere than for lack of room."""
        with self._lock:
            self._dropped[level] += count
            self._untold[level] += count

    def take_untold(self) -> dict[str, int]:
        """Return what was lost since the last call, by level; empty when nothing was."""
        with self._lock:
            untold, self._untold = self._untold, collections.Counter()
        return dict(untold)

    def wait(self, timeout_s: float) -> bool:
        """Wait until all that has been taken in by now is settled.

        Args:
            timeout_s: most seconds to wait.

        Returns:
            Whether it is.
        """
        with self._settlement:
            accepted, era = self._accepted, self._era
            return self._settlement.wait_for(lambda: self._settled >= accepted or self._era != era, timeout_s)

    def discard(self) -> int:
        """Give up all that is pending, count it as lost, and return how many records that were."""
        with self._settlement:
            count = self.pending
            self._dropped.update(record.event.level for record in (*self._taken, *self._records))
            self._records.clear()
            self._taken = []
            self._pending_bytes = 0
            self._settled = self._accepted
            self._era += 1
            self._settlement.notify_all()
        return count
