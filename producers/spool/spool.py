"""The spool: a queue on disk, which outlives the process and is shared safely by many.

A log call writes its record through to the file before it returns, so a process that is killed right then
loses nothing, and nothing of the record stays in memory. Each spool writes a journal of its own; those of
processes that are gone are adopted and delivered by the living. The folder's bound holds over all of them,
and errors have more of it than DEBUG.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from producers.kafka.queue import LEVELS, Chunk
from producers.spool.folder import Folder
from producers.spool.forks import join
from producers.spool.form import MAX_LABEL_BYTES
from producers.spool.journal import Journal
from producers.spool.losses import Losses
from producers.spool.notes import Notes
from producers.spool.segment import delete, read
from producers.spool.writer import Bounds, Writer, blocks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from producers.event.renderer import RenderedEvent
    from producers.spool.segment import Batch, Segment

__all__ = ["SYNCS", "Spool"]

SYNCS = ("never", "interval", "always")

_SEGMENT_BYTES = 1024 * 1024
_MAX_SEGMENT_BYTES = 8 * _SEGMENT_BYTES
# Few enough to list within a log call.
_SEGMENTS = 256
_RESERVE_BYTES = 4_096
_OVERHEAD_BYTES = 16_384
_BLOCKED_S = 1.0
_ADOPT_EVERY_S = 10.0


class Spool:
    """A bounded queue on disk with many writers and one taker; see `producers.kafka.queue.Queue`."""

    lasting = True

    def __init__(
        self,
        folder: str,
        label: str,
        *,
        max_bytes: int,
        sync: str,
        max_event_bytes: int = 0,
        segment_bytes: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Make the folder; no journal is begun before the first event.

        Args:
            folder: where journals are, those of other processes included.
            label: what the records are for; those of others with the same label are adopted.
            max_bytes: most bytes of all journals in the folder.
            sync: when to wait for the disk: `never`, once in an `interval` of a second, or `always`.
            max_event_bytes: most bytes of an event, as a rule; a larger one gets a larger segment.
            segment_bytes: size of a segment; None for one that suits these bounds.
            clock: seconds, never going back.

        Raises:
            ValueError: a bound that hardly anything fits into; an unknown way to sync; a platform that
                lacks what is needed.
            OSError: the folder can't be made or used.
        """
        if sync not in SYNCS:
            raise ValueError(f"spool_sync {sync!r} is unknown; valid: {', '.join(SYNCS)}")
        if segment_bytes is None:
            segment_bytes = min(max(_SEGMENT_BYTES, max_bytes // _SEGMENTS), _MAX_SEGMENT_BYTES)
            segment_bytes = max(segment_bytes, blocks(max_event_bytes + _OVERHEAD_BYTES))
        if max_bytes < 2 * segment_bytes:
            raise ValueError(f"spool_bytes must be at least {2 * segment_bytes}, not {max_bytes}")
        self._bounds = Bounds(max_bytes, segment_bytes, min(_RESERVE_BYTES, segment_bytes // 16))
        self._sync = sync
        self._label = label.encode("utf-8", "backslashreplace")[:MAX_LABEL_BYTES]
        self._clock = clock
        self._folder = Folder(folder)
        self.place = self._folder.path
        self._begin()
        join(self)

    def _begin(self) -> None:
        self._lock = threading.RLock()
        self._settlement = threading.Condition(self._lock)
        self._losses = Losses(self._keep_losses)
        self._notes = Notes(self.place)
        self._writer = Writer(
            self._folder,
            self._label,
            self._bounds,
            self._losses,
            self._notes,
            sync_names=self._sync == "always",
            clock=self._clock,
        )
        # Another's: the one that is delivered, and the one that is looked at.
        self._orphan: Journal | None = None
        self._candidate: Journal | None = None
        self._taken: tuple[Journal, Batch] | None = None
        self._orphans_turn = False
        self._shunned: set[str] = set()
        self._era = 0
        self._armed = True
        # What `release` left behind, until the next record.
        self._left = 0
        # What nobody waits for any more.
        self._given_up = 0
        self._given_up_orphan: Journal | None = None
        self._adopt_s = 0.0
        self._blocked_s = 0.0

    def renew(self) -> None:
        """Start over in a forked child: empty, with a journal of its own."""
        # Ours is only a copy of each descriptor; while it is open, a parent that is killed seems to live.
        for journal in (self._writer.journal, self._orphan, self._candidate):
            if journal is not None:
                journal.close()
        self._begin()

    def hold(self, timeout_s: float) -> bool:
        """Open no file until `let_go`; see `producers.spool.forks`."""
        return self._lock.acquire(timeout=timeout_s)

    def let_go(self) -> None:
        """End what `hold` began."""
        self._lock.release()

    @property
    def accepted(self) -> int:
        """Records taken in so far."""
        with self._lock:
            return self._writer.accepted

    @property
    def pending(self) -> int:
        """Records that wait: our own, those of an adopted journal, and those that `release` left behind."""
        with self._lock:
            orphans = self._orphan.waiting if self._orphan is not None else 0
            return self._own + orphans + self._left

    @property
    def awaited(self) -> int:
        """Our own records that wait and have not been given up."""
        with self._lock:
            return self._writer.accepted - max(self._writer.settled, self._given_up)

    @property
    def _own(self) -> int:
        return self._writer.accepted - self._writer.settled

    @property
    def pending_bytes(self) -> int:
        """What they take on disk."""
        with self._lock:
            return sum(j.waiting_bytes for j in (self._writer.journal, self._orphan) if j is not None)

    @property
    def empty(self) -> bool:
        """Whether there is nothing to take."""
        with self._lock:
            if self._blocked_s and self._clock() < self._blocked_s:
                return True
            return not self._own and self._orphan is None

    @property
    def dropped(self) -> dict[str, int]:
        """Records lost so far, by level."""
        with self._lock:
            return self._losses.all

    def put(self, event: RenderedEvent, *, always: bool = False) -> bool:
        """Write an event to the disk, or count it as dropped; see `Queue.put`."""
        wake = False
        with self._lock:
            segment = self._writer.put(event, always=always)
            if segment is not None:
                self._left = 0
                wake, self._armed = self._armed, False
        if segment is not None and self._sync == "always":
            self._sync_to_disk((segment,))
        if self._notes.waiting:
            self._notes.speak()
        return wake

    def arm(self) -> bool:
        """Announce that the taker is about to sleep; see `Queue.arm`."""
        with self._lock:
            self._armed = True
            return self.empty

    def take(self, max_bytes: int) -> Chunk:
        """Read the oldest records of our journal or, in turn, of an adopted one; see `Queue.take`.

        The chunk is empty when there is nothing, when nothing can be read at present, and when what there was
        can't be read any more; then `settle` counts it as lost.
        """
        with self._lock:
            self._armed = False
            era = self._era
            journal = self._next()
            done = journal.shed() if journal is not None else []
            view = journal.view() if journal is not None else None
        delete(done)
        if journal is None:
            return Chunk([], 0, era)
        try:
            batch = read(view, max_bytes) if view is not None else None
        except OSError:
            batch = None
        if batch is None:
            # Nothing is taken until then, so that nobody tries in a loop.
            self._blocked_s = self._clock() + _BLOCKED_S
            return Chunk([], 0, era)
        with self._lock:
            if era == self._era:
                self._taken = (journal, batch)
        return Chunk(batch.records, batch.size_bytes, era)

    def _next(self) -> Journal | None:
        own = self._writer.journal if self._own else None
        if own is None or self._orphan is None:
            return own or self._orphan
        # By turns, so that neither what is new nor what is old waits for all of the other.
        self._orphans_turn = not self._orphans_turn
        return own if self._orphans_turn else self._orphan

    def settle(self, chunk: Chunk) -> None:
        """Let go of a chunk whose records have arrived, and note on disk that they have."""
        with self._settlement:
            if chunk.era != self._era or self._taken is None:
                return
            (journal, batch), self._taken = self._taken, None
            done = journal.settle(batch)
            if journal is self._writer.journal:
                self._writer.settled += sum(batch.counts) + sum(batch.lost)
            if any(batch.lost):
                self._losses.add_all(batch.lost)
                self._notes.damage(batch.segment.path)
            if done:
                self._writer.look_soon()
            over = journal is self._orphan and not journal.segments
            self._settlement.notify_all()
        delete(done)
        if over:
            if not journal.remove():
                # Or it would come again and again.
                self._shunned.add(journal.name)
            self._adopt()
        self._notes.speak()

    def abandon(self, chunk: Chunk) -> None:
        """Take a chunk back; its records are read again, here or by whoever adopts the journal."""
        with self._lock:
            if chunk.era == self._era:
                self._taken = None

    def lose(self, level: str, count: int = 1) -> None:
        """Count records that were lost elsewhere than for lack of room."""
        with self._lock:
            self._losses.add(LEVELS.index(level), count)

    def take_untold(self) -> dict[str, int]:
        """Return what was lost since the last call, by level; empty when nothing was."""
        with self._lock:
            return self._losses.tell()

    def wait(self, timeout_s: float, *, inherited: bool = False) -> bool:
        """Wait until all that has been taken in by now has arrived; see `Queue.wait`."""
        with self._settlement:
            end = self._writer.accepted

            def over() -> bool:
                orphan = self._orphan if inherited else None
                done = max(self._writer.settled, self._given_up) >= end
                return done and (orphan is None or orphan is self._given_up_orphan)

            return self._settlement.wait_for(over, timeout_s)

    def discard(self) -> int:
        """Have on the disk what waits for the next start, and return 0: nothing is lost."""
        with self._settlement:
            self._given_up, self._given_up_orphan = self._writer.accepted, self._orphan
            self._settlement.notify_all()
        if self._sync != "never":
            self._sync_to_disk()
            self._notes.speak()
        return 0

    def _keep_losses(self) -> None:
        self._writer.keep_losses()

    def shut(self) -> None:
        """Go on: what comes outlives the process."""

    def freeze(self) -> int:
        """Return 0: nothing is lost."""
        return 0

    def tend(self) -> bool:
        """Sync, adopt what others left behind, look for room; see `Queue.tend`."""
        if self._sync == "interval":
            self._sync_to_disk()
        adopts = self._orphan is None and self._clock() >= self._adopt_s
        if adopts:
            self._adopt()
        if adopts or self._writer.crowded:
            with self._lock:
                self._writer.look()
        self._notes.speak()
        return not self.empty

    def _adopt(self) -> None:
        """Find a journal whose owner is gone; from now on it is delivered beside ours."""
        self._adopt_s = self._clock() + _ADOPT_EVERY_S
        era = self._era
        try:
            names = self._folder.journals()
        except OSError:
            names = []
        for name in names:
            if name in self._shunned:
                continue
            with self._lock:
                if self._era != era:
                    return
                candidate = self._candidate = Journal.adopt(self._folder, name)
            if candidate is not None and self._has_work(candidate):
                break
        with self._settlement:
            if self._era == era:
                self._orphan, self._candidate = self._candidate, None
                self._settlement.notify_all()

    def _has_work(self, candidate: Journal) -> bool:
        """Look into a journal, take over its account of losses, and let go of it if there is nothing else."""
        try:
            ours = candidate.load(self._label)
        except OSError:
            ours = False
        with self._lock:
            if ours and self._candidate is candidate:
                self._losses.add_all(candidate.losses)
                candidate.forget_losses()
            for path in candidate.damaged:
                # At least one error; how many more, only the gap in their numbers tells.
                self.lose("error")
                self._notes.damage(path)
            if ours and candidate.segments:
                return True
            if ours:
                candidate.remove()
            candidate.close()
            if self._candidate is candidate:
                self._candidate = None
        return False

    def release(self) -> None:
        """Let go of the journals; what still waits in them is for whoever adopts them."""
        with self._settlement:
            self._era += 1
            orphans = [j for j in (self._orphan, self._candidate) if j is not None]
            self._orphan = self._candidate = self._taken = None
            self._left += self._writer.release() + sum(orphan.waiting for orphan in orphans)
            for orphan in orphans:
                orphan.close()
            self._armed = True
            self._adopt_s = 0.0
            self._settlement.notify_all()

    def _sync_to_disk(self, segments: Iterable[Segment] | None = None) -> None:
        """Wait for the disk.

        Args:
            segments: what to wait for; None for all that was written to.
        """
        with self._lock:
            journal = self._writer.journal
            if segments is None:
                segments = [s for s in journal.segments if s.dirty] if journal is not None else ()
            for segment in segments:
                segment.dirty = False
            names, self._writer.new_names = self._writer.new_names, False
        try:
            if names:
                self._folder.sync()
            for segment in segments:
                segment.sync()
        except OSError as error:
            self._notes.trouble(error)
