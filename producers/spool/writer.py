"""The writing half of a spool: numbers, room, and records written through to the file.

Its spool's lock is held around every call. It is reentrant, since a signal handler or a finalizer may log
within a log call. It comes up behind a call or where an object is made, never between plain assignments. So a
record's place and number are assigned right before the one call that writes it, and what a call within this
one may have changed is looked at again before that. A new segment is made aside; who comes first puts his in
place.
"""

from __future__ import annotations

import contextlib
import errno
import os
from typing import TYPE_CHECKING, NamedTuple

from producers.kafka.queue import LEVELS, new_source
from producers.spool.form import RECORD_HEADER_BYTES, SEGMENT_HEADER_BYTES, Header, pack_record
from producers.spool.journal import Journal
from producers.spool.segment import delete

if TYPE_CHECKING:
    from collections.abc import Callable

    from producers.event.renderer import RenderedEvent
    from producers.spool.folder import Folder
    from producers.spool.losses import Losses
    from producers.spool.notes import Notes
    from producers.spool.segment import Segment

__all__ = ["Bounds", "Writer", "blocks"]

_MAX_KEYS = 1_024
_RANKS = {level: rank for rank, level in enumerate(LEVELS)}
_ERROR = _RANKS["error"]
_NOBODY = len(LEVELS)
# How full the folder may be for a record of each level to be taken in.
_SHARES = (1 / 2, 3 / 4, 7 / 8, 1, 1)
_BLOCK_BYTES = 4_096
_LOOK_AGAIN_S = 1.0


class Bounds(NamedTuple):
    """How large things are.

    Attributes:
        max_bytes: most bytes of all segments in the folder, whoever they belong to.
        segment_bytes: of one segment, unless a single record needs a larger one.
        reserve_bytes: how much of it is for the word about losses.
    """

    max_bytes: int
    segment_bytes: int
    reserve_bytes: int


class _Series:
    """The numbers of one source and key: the next one, and the last one of a record that was kept."""

    __slots__ = ("previous", "seq", "source")

    def __init__(self, source: bytes) -> None:
        self.source = source
        self.seq = 0
        self.previous = -1


class Writer:
    """Writes one journal at a time, from the first record on.

    Attributes:
        journal: what is written, None before the first record.
        accepted: records taken in so far.
        settled: those of them that are not pending any more.
        new_names: whether files were made that the disk may not know of.
    """

    def __init__(
        self,
        folder: Folder,
        label: bytes,
        bounds: Bounds,
        losses: Losses,
        notes: Notes,
        *,
        sync_names: bool,
        clock: Callable[[], float],
    ) -> None:
        """Prepare.

        Args:
            folder: where.
            label: what the records are for.
            bounds: how much.
            losses: counts what is dropped.
            notes: says what a person must know.
            sync_names: whether a new file has to be known to the disk before anything is written to it.
            clock: seconds, never going back.
        """
        self._folder = folder
        self._label = label
        self._bounds = bounds
        self._limits = [int(bounds.max_bytes * share) for share in _SHARES]
        self._losses = losses
        self._notes = notes
        self._sync_names = sync_names
        self._clock = clock
        self.journal: Journal | None = None
        self._segment: Segment | None = None
        self.accepted = 0
        self.settled = 0
        self.new_names = False
        # The least level there is room for, and when to look at the folder again.
        self._least = 0
        self._look_s = 0.0
        self._new_source()

    def _new_source(self) -> None:
        self._source = new_source()
        self._series: dict[bytes, _Series] = {}

    def _new_series(self, key: bytes) -> _Series:
        if len(self._series) >= _MAX_KEYS:
            self._new_source()
        return self._series.setdefault(key, _Series(self._source))

    @property
    def crowded(self) -> bool:
        """Whether there is no room for some levels, as far as is known."""
        return self._least > 0

    def put(self, event: RenderedEvent, *, always: bool) -> Segment | None:
        """Write an event to the disk.

        Args:
            event: the event.
            always: use the reserve, whatever its level.

        Returns:
            Where it is, or None when it was dropped.
        """
        rank = _RANKS[event.level]
        key = event.key
        size = RECORD_HEADER_BYTES + len(key) + len(event.value)
        while True:
            series = self._series.get(key) or self._new_series(key)
            segment = self._segment
            if (
                segment is None
                or segment.source is not series.source
                or segment.end + size > (segment.capacity if always else segment.limit)
                or (rank < self._least and not always)
            ):
                if self._admit(series, size, rank, always=always):
                    continue
                # Its number is used up.
                series.seq += not always
                self._lose(rank, always=always)
                return None
            offset, seq, previous = segment.end, series.seq, series.previous
            end = offset + size
            data = pack_record(event, rank, seq, previous)
            descriptor = segment.descriptor
            if self._segment is not segment or segment.end != offset or series.seq != seq:
                # A log call within this one has taken the place, or the number.
                continue
            segment.end = end
            segment.counts[rank] += 1
            segment.dirty = True
            series.seq = seq + 1
            series.previous = seq
            self.accepted += 1
            try:
                written = os.pwrite(descriptor, data, offset)
            except OSError as error:
                failure = error
            else:
                if written == size:
                    break
                failure = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            self._take_back(segment, offset, end, rank)
            if series.previous == seq:
                series.previous = previous
            self._lose(rank, always=always)
            self._notes.trouble(failure)
            return None
        if always:
            self._losses.told()
        return segment

    def _lose(self, rank: int, *, always: bool) -> None:
        """Count a record that is not kept; what the word about losses was to say is said later."""
        if always:
            self._losses.take_back()
        else:
            self._losses.add(rank)

    def _take_back(self, segment: Segment, offset: int, end: int, rank: int) -> None:
        """Forget a record that the disk did not take; none comes behind it in that segment."""
        alone = segment.end == end
        segment.limit = segment.capacity = 0
        segment.counts[rank] -= 1
        self.accepted -= 1
        if alone:
            segment.end = offset
            # So that whoever adopts it doesn't stumble over half a record.
            with contextlib.suppress(OSError):
                os.ftruncate(segment.descriptor, offset)

    def _admit(self, series: _Series, size: int, rank: int, *, always: bool) -> bool:
        """Look whether there is room for a record, and make a segment if it needs one.

        Returns:
            Whether to try again; else it is to be dropped.
        """
        now_s = self._clock()
        level = _NOBODY - 1 if always else rank
        if level < self._least and now_s < self._look_s:
            return False
        segment = self._segment
        fits = (
            segment is not None
            and segment.source is series.source
            and segment.end + size <= (segment.capacity if always else segment.limit)
        )
        needed = SEGMENT_HEADER_BYTES + size + self._bounds.reserve_bytes
        wanted = 0 if fits else max(self._bounds.segment_bytes, blocks(needed))
        try:
            used = self._look(now_s, wanted)
            if level < self._least or (wanted and used + wanted > self._limits[level]):
                return False
            return fits or self._add_segment(series.source, wanted, level)
        except OSError as error:
            self._least, self._look_s = _NOBODY, now_s + _LOOK_AGAIN_S
            self._notes.trouble(error)
            return False

    def look(self) -> None:
        """Find out which levels there is room for; make room for others if all of ours has arrived."""
        try:
            self._look(self._clock(), 0)
        except OSError as error:
            self._notes.trouble(error)

    def look_soon(self) -> None:
        """Look at the folder with the next record that there is no room for: something was deleted."""
        self._look_s = 0.0

    def _look(self, now_s: float, wanted: int) -> int:
        used = self._folder.used_bytes()
        if used + wanted > self._limits[0] and self._retire():
            used = self._folder.used_bytes()
        # One record that is too large for the folder says nothing of the others.
        then = used + min(wanted, self._bounds.segment_bytes)
        least = 0
        while least < _NOBODY and then > self._limits[least]:
            least += 1
        # What is there already may be used for errors in any case.
        self._least = least if wanted else min(least, _ERROR)
        self._look_s = now_s + _LOOK_AGAIN_S
        return used

    def _retire(self) -> bool:
        """Give up the segment that is written to, if all in it has arrived; return whether it was."""
        journal, segment = self.journal, self._segment
        if journal is None or segment is None or self.accepted != self.settled:
            return False
        self._segment = None
        segment.seal()
        delete(journal.shed())
        return True

    def _add_segment(self, source: bytes, size_bytes: int, level: int) -> bool:
        """Make a segment and write to it from now on.

        Returns:
            Whether there is one now; another process may have taken the last room meanwhile.

        Raises:
            OSError: the disk says no.
        """
        before = self._segment
        journal = self._begin()
        fresh = journal.make_segment(Header(source, self._label), size_bytes, self._bounds.reserve_bytes)
        try:
            if self._sync_names:
                self._folder.sync()
            # Looked at again with ours in it: of several that do so, the last sees the others'.
            over = self._folder.used_bytes() > self._limits[level]
        except BaseException:
            fresh.delete()
            raise
        if over or self._segment is not before or self.journal is not journal:
            fresh.delete()
            return not over
        self._segment = fresh
        journal.segments.append(fresh)
        if before is not None:
            before.seal()
        self._notes.well()
        self.new_names = True
        return True

    def _begin(self) -> Journal:
        """Return the journal, which may have to be made.

        Raises:
            OSError: the disk says no.
        """
        journal = self.journal
        if journal is None:
            journal = Journal.create(self._folder, self._label)
            if self.journal is None:
                self.journal = journal
                self.new_names = True
            else:
                # A log call within this one was first.
                journal.remove()
                journal = self.journal
        return journal

    def keep_losses(self) -> None:
        """Note on disk what was dropped and has not been told."""
        try:
            self._begin().keep(self._losses)
        except OSError as error:
            # Then it is known while the process lives.
            self._notes.trouble(error)

    def release(self) -> int:
        """Let go of the journal, and delete it if nothing is left in it.

        Returns:
            How many records are left.
        """
        journal, self.journal = self.journal, None
        self._segment = None
        left, self.settled = self.accepted - self.settled, self.accepted
        if left:
            # They may come after what is logged from now on, so that must not go on counting.
            self._new_source()
        if journal is not None:
            if left or any(self._losses.unsafe):
                self._losses.hand_over()
                journal.close()
            else:
                journal.remove()
        return left


def blocks(size_bytes: int) -> int:
    """Return the bytes of the whole blocks that so many bytes take."""
    return -(-size_bytes // _BLOCK_BYTES) * _BLOCK_BYTES
