"""The buffer between log calls and the thread that delivers: bounded, ordered, exact about its losses.

A record stays counted from the log call until the broker has acknowledged it, so the bounds hold for
what is on its way too. When there is no room, DEBUG goes first and errors last: waiting records of a
lower level make room, the lowest level first and its oldest first, or else the newcomer is dropped. What
is dropped is counted, and its number is used up: the worker sees the gap.

The lock is reentrant, since a signal handler or a finalizer may log within a log call. It comes up behind
a call or where an object is made, never between plain assignments; so what belongs together is assigned
without a call in between.
"""

from __future__ import annotations

import collections
import threading
from typing import Final, TypeAlias

from producers.event.renderer import RenderedEvent
from producers.kafka.queue import LEVELS, Chunk, Record, new_source
from producers.process import within

__all__ = ["Buffer", "Chunk", "Record"]

# What a record costs in memory beside its bytes: a tuple, its numbers, the heads of the objects.
_OVERHEAD_BYTES = 256
_MAX_KEYS = 1_024

# An event's value, key, time, level and trace, its source and seq, and its place among all that were logged.
# Plain and flat: the garbage collector lets go of a tuple that holds texts and numbers alone. A hundred
# thousand that it went through again and again would hold the service up for tens of milliseconds.
_Waiting: TypeAlias = "tuple[bytes, bytes, int, str, str, bytes, int, int]"
_LEVEL: Final = 3
_SOURCE: Final = 5
_SEQ: Final = 6
_PLACE: Final = 7


class _Lane:
    """Records of one level that wait, the oldest first, and how many of that level were lost.

    Attributes:
        lower: the lanes that make room for this one, the lowest first.
        waiting: what nobody has taken yet.
        size_bytes: what these count for.
        dropped: records lost so far.
        untold: those of them that `take_untold` has not returned yet.
    """

    __slots__ = ("dropped", "lower", "size_bytes", "untold", "waiting")

    def __init__(self, lower: tuple[_Lane, ...]) -> None:
        self.lower = lower
        self.waiting: collections.deque[_Waiting] = collections.deque()
        self.size_bytes = 0
        self.dropped = 0
        self.untold = 0


class _Series:
    """The numbers of one source and key."""

    __slots__ = ("seq", "source")

    def __init__(self, source: bytes) -> None:
        self.source = source
        self.seq = 0


class Buffer:
    """A bounded queue in memory, with many writers and one taker; see `Queue`."""

    place = "memory"
    lasting = False

    def __init__(self, max_bytes: int, max_records: int) -> None:
        """Start empty.

        Args:
            max_bytes: most bytes to hold.
            max_records: most records to hold.

        Raises:
            ValueError: nothing would fit.
        """
        for name, value in (("queue_bytes", max_bytes), ("queue_records", max_records)):
            if value < 1:
                raise ValueError(f"{name} must be at least 1, not {value}")
        self._max_bytes = max_bytes
        self._most_records = max_records
        self.renew()

    def renew(self) -> None:
        """Start over: empty, with a new source and new locks; for a forked child."""
        self._lock = threading.RLock()
        self._settlement = threading.Condition(self._lock)
        self._waiters = 0
        # While the process ends: who ends it, and what the others wait at, for ever.
        self._shut = False
        self._ending = 0
        self._gate = threading.Lock()
        self._max_records = self._most_records
        self._levels: dict[str, _Lane] = {}
        for level in LEVELS:
            self._levels[level] = _Lane(tuple(self._levels.values()))
        # For what is put in beyond the bounds, which makes room for nothing.
        self._kept = _Lane(())
        self._lanes = (*self._levels.values(), self._kept)
        self._taken: list[_Waiting] = []
        self._taken_bytes = 0
        self._pending_bytes = 0
        # All that was logged; of that, what is not pending any more; of that, what never was.
        self._logged = 0
        self._gone = 0
        self._turned_away = 0
        self._era = 0
        self._armed = True
        self._new_source()

    def _new_source(self) -> None:
        self._source = new_source()
        self._series: dict[bytes, _Series] = {}

    def _new_series(self, key: bytes) -> _Series:
        if len(self._series) >= _MAX_KEYS:
            self._new_source()
        return self._series.setdefault(key, _Series(self._source))

    @property
    def accepted(self) -> int:
        """Records taken in so far, those among them that made room for others later."""
        with self._lock:
            return self._logged - self._turned_away

    @property
    def pending(self) -> int:
        """Records taken in and not settled yet."""
        with self._lock:
            return self._logged - self._gone

    @property
    def awaited(self) -> int:
        """The same: what is given up is gone."""
        return self.pending

    @property
    def pending_bytes(self) -> int:
        """What the pending records count for."""
        return self._pending_bytes

    @property
    def empty(self) -> bool:
        """Whether there is nothing to take."""
        return not any(lane.waiting for lane in self._lanes)

    @property
    def dropped(self) -> dict[str, int]:
        """Records lost so far, by level."""
        with self._lock:
            return {level: lane.dropped for level, lane in self._levels.items() if lane.dropped}

    def put(self, event: RenderedEvent, *, always: bool = False) -> bool:
        """Take an event in; when there is no room, drop waiting ones of lower levels for it, or else itself.

        Args:
            event: the event.
            always: take it in beyond the bounds, and never drop it for another; for the rare word about
                what was dropped.

        Returns:
            Whether the taker is asleep and has to be woken, now, by whoever called.
        """
        size_bytes = len(event.value) + len(event.key) + _OVERHEAD_BYTES
        with self._lock:
            series = self._series.get(event.key) or self._new_series(event.key)
            lane = self._kept if always else self._levels[event.level]
            while True:
                place, seq = self._logged, series.seq
                record = event + (series.source, seq, place)  # noqa: RUF005 - twice as fast: it makes no list
                if self._logged != place:
                    # A log call within this one has taken the place, or the number.
                    continue
                if not always and (
                    self._pending_bytes + size_bytes > self._max_bytes
                    or place - self._gone >= self._max_records
                ):
                    if not self._shut and self._make_room(lane, size_bytes):
                        continue
                    if self._shut and not (self._ending == threading.get_ident() or within.background):
                        break
                    series.seq += 1
                    self._logged += 1
                    self._gone += 1
                    self._turned_away += 1
                    lane.dropped += 1
                    lane.untold += 1
                    return False
                series.seq = seq + 1
                self._logged = place + 1
                self._pending_bytes += size_bytes
                lane.size_bytes += size_bytes
                wake, self._armed = self._armed, False
                # Last: what a signal handler raises comes up behind a call.
                lane.waiting.append(record)
                return wake
        # The process dies in a moment, and this thread with it: so nothing is logged that is not delivered.
        with self._gate:
            return False

    def _make_room(self, lane: _Lane, size_bytes: int) -> bool:
        """Drop waiting records of lower levels until a newcomer fits; none if it would not fit even so.

        Args:
            lane: the newcomer's.
            size_bytes: what it counts for.

        Returns:
            Whether it fits now.
        """
        bytes_left = self._max_bytes - size_bytes
        records_left = self._max_records - 1
        bytes_short = self._pending_bytes - bytes_left
        records_short = self._logged - self._gone - records_left
        for lower in lane.lower:
            bytes_short -= lower.size_bytes
            records_short -= len(lower.waiting)
        if bytes_short > 0 or records_short > 0:
            return False
        for lower in lane.lower:
            while lower.waiting:
                oldest = lower.waiting[0]
                freed_bytes = len(oldest[0]) + len(oldest[1]) + _OVERHEAD_BYTES
                if not lower.waiting or lower.waiting[0] is not oldest:
                    # A log call within this one has dropped it.
                    continue
                if self._pending_bytes <= bytes_left and self._logged - self._gone <= records_left:
                    break
                self._pending_bytes -= freed_bytes
                lower.size_bytes -= freed_bytes
                self._gone += 1
                lower.dropped += 1
                lower.untold += 1
                lower.waiting.popleft()
        if self._waiters:
            self._settlement.notify_all()
        return self._pending_bytes <= bytes_left and self._logged - self._gone <= records_left

    def arm(self) -> bool:
        """Announce that the taker is about to sleep: the next `put` asks for it to be woken.

        Returns:
            Whether there is nothing to take. If there is, the taker may as well stay awake.
        """
        with self._lock:
            self._armed = True
            return self.empty

    def take(self, max_bytes: int) -> Chunk:
        """Take the oldest records, at least one; they stay pending until they are settled.

        Args:
            max_bytes: where to stop.
        """
        taken: list[_Waiting] = []
        size_bytes = 0
        with self._lock:
            self._armed = False
            # What a finalizer logs meanwhile is left for the next time: it would come before its turn.
            end = self._logged
            lane, until = self._oldest(end)
            while lane is not None and size_bytes < max_bytes:
                if not lane.waiting or lane.waiting[0][_PLACE] >= until:
                    lane, until = self._oldest(end)
                    continue
                record = lane.waiting.popleft()
                record_bytes = len(record[0]) + len(record[1]) + _OVERHEAD_BYTES
                lane.size_bytes -= record_bytes
                size_bytes += record_bytes
                taken.append(record)
            self._taken, self._taken_bytes = taken, size_bytes
            era = self._era
        records = [Record(RenderedEvent(*r[:_SOURCE]), r[_SOURCE], r[_SEQ]) for r in taken]
        return Chunk(records, size_bytes, era)

    def _oldest(self, end: int) -> tuple[_Lane | None, int]:
        """Find where the oldest waiting record is.

        Args:
            end: the place to stop before.

        Returns:
            Its lane, None if there is none; and up to which place that lane may be emptied, since the next
            record is in another lane.
        """
        oldest = None
        first = until = end
        for lane in self._lanes:
            if lane.waiting:
                place = lane.waiting[0][_PLACE]
                if place < first:
                    oldest, first, until = lane, place, first
                elif place < until:
                    until = place
        return oldest, until

    def settle(self, chunk: Chunk) -> None:
        """Let go of a chunk whose records have arrived, or have been counted as lost."""
        with self._settlement:
            if chunk.era == self._era:
                self._pending_bytes -= chunk.size_bytes
                self._gone += len(chunk.records)
                self._taken, self._taken_bytes = [], 0
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
            lane = self._levels[level]
            lane.dropped += count
            lane.untold += count

    def take_untold(self) -> dict[str, int]:
        """Return what was lost since the last call, by level; empty when nothing was."""
        untold: dict[str, int] = {}
        with self._lock:
            if self._shut:
                return untold
            for level, lane in self._levels.items():
                if lane.untold:
                    untold[level], lane.untold = lane.untold, 0
        return untold

    def wait(self, timeout_s: float, *, inherited: bool = False) -> bool:
        """Wait until all that has been taken in by now is settled, or has made room for others.

        Args:
            timeout_s: most seconds to wait.
            inherited: of no effect: nothing outlives its process here.

        Returns:
            Whether it is.
        """
        del inherited
        with self._settlement:
            end, era = self._logged, self._era
            self._waiters += 1
            try:
                return self._settlement.wait_for(
                    lambda: self._era != era or not self._is_pending_before(end), timeout_s
                )
            finally:
                self._waiters -= 1

    def _is_pending_before(self, end: int) -> bool:
        # Not by number: what came later and was dropped for others has gone before its turn.
        return bool(self._taken and self._taken[0][_PLACE] < end) or self._oldest(end)[0] is not None

    def discard(self) -> int:
        """Give up all that is pending, count it as lost, and return how many records that were."""
        with self._settlement:
            lost, self._taken = self._taken, []
            self._pending_bytes -= self._taken_bytes
            self._taken_bytes = 0
            self._era += 1
            for lane in self._lanes:
                empty: collections.deque[_Waiting] = collections.deque()
                waiting, lane.waiting = lane.waiting, empty
                self._pending_bytes -= lane.size_bytes
                lane.size_bytes = 0
                lost.extend(waiting)
            for record in lost:
                self._levels[record[_LEVEL]].dropped += 1
            self._gone += len(lost)
            self._settlement.notify_all()
            return len(lost)

    def shut(self) -> None:
        """Hold up whoever puts something in from now on, but for this thread and ours: theirs is dropped."""
        self._gate.acquire(blocking=False)
        with self._lock:
            self._max_records = 0
            self._shut = True
            self._ending = threading.get_ident()

    def freeze(self) -> int:
        """Keep the lock for good; count what is pending and what was dropped and not told."""
        self._lock.acquire()
        self._shut = False
        return self.pending + sum(self.take_untold().values())

    def tend(self) -> bool:
        """Do nothing: nothing is due here."""
        return not self.empty

    def release(self) -> None:
        """Do nothing: there are no resources."""
