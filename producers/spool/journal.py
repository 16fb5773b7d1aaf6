"""A journal: the records of one process, in segments, and a file that says how far they have arrived.

That file also says what the records are for, and how many were dropped of which no word is on the way. The
owner holds its lock, and nobody else touches the journal; who finds it unlocked adopts it. A segment is
deleted when all in it has arrived, the journal when nothing is left. Whoever shares a `Journal` among threads
has a lock for it; only `load`, which reads all there is, is called without.
"""

from __future__ import annotations

import collections
import contextlib
import errno
import os
import struct
from typing import TYPE_CHECKING
from zlib import crc32

from producers.kafka.queue import LEVELS
from producers.spool.folder import FILE_MODE, lock
from producers.spool.form import SEGMENT_HEADER_BYTES, SOURCE_BYTES, Header, pack_header, read_header
from producers.spool.segment import Segment, View, content

if TYPE_CHECKING:
    from collections.abc import Sequence

    from producers.spool.folder import Folder
    from producers.spool.losses import Losses
    from producers.spool.segment import Batch

__all__ = ["Journal"]

# Each behind the crc32 of itself: the number of the segment, and where in it the first record is that has not
# arrived; how many were dropped, by level; and what for, as in a segment.
_POSITION = struct.Struct("<QQ")
_LOSSES = struct.Struct(f"<{len(LEVELS)}Q")
_POSITION_AT, _LOSSES_AT, _HEADER_AT, _FILE_BYTES = 0, 64, 128, 512
_CHECK_BYTES = 4
_TRIES = 10


class Journal:
    """The files of one journal, while they are ours.

    Attributes:
        name: random.
        segments: those with records that have not arrived, and the one that is written to.
        offset: where in the first of them the first of these records is.
        damaged: paths of segments that hold something that can't be read, as far as `load` has found that.
        losses: what was dropped by whoever is gone, by level, and of which no word is on the way.
    """

    def __init__(self, folder: Folder, name: str, descriptor: int) -> None:
        """Take over a journal's file that the descriptor has locked; see `create` and `adopt`."""
        self._folder = folder
        self._descriptor = descriptor
        self._made = 0
        self.name = name
        self.segments: collections.deque[Segment] = collections.deque()
        self.offset = SEGMENT_HEADER_BYTES
        self.damaged: list[str] = []
        self.losses: Sequence[int] = [0] * len(LEVELS)

    @classmethod
    def create(cls, folder: Folder, label: bytes) -> Journal:
        """Begin a journal.

        Args:
            folder: where.
            label: what its records are for.

        Raises:
            OSError: the disk says no.
        """
        for _ in range(_TRIES):
            name = os.urandom(8).hex()
            path = folder.journal_path(name)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, FILE_MODE)
            try:
                if lock(descriptor):
                    os.pwrite(descriptor, pack_header(Header(bytes(SOURCE_BYTES), label)), _HEADER_AT)
                    return cls(folder, name, descriptor)
            except BaseException:
                _undo(descriptor, path)
                raise
            # Another process has found it just then and clears it away, since nothing is in it.
            _undo(descriptor, path)
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    @classmethod
    def adopt(cls, folder: Folder, name: str) -> Journal | None:
        """Return a journal whose owner is gone; None when it is there or another process was faster."""
        try:
            descriptor = os.open(folder.journal_path(name), os.O_RDWR | getattr(os, "O_NOFOLLOW", 0))
        except OSError:
            # Gone meanwhile, or another user's.
            return None
        if lock(descriptor):
            return cls(folder, name, descriptor)
        os.close(descriptor)
        return None

    def load(self, label: bytes) -> bool:
        """Find out what there is in an adopted journal.

        Args:
            label: what our records are for.

        Returns:
            Whether it is for the same. It may be that nothing is left in it.

        Raises:
            OSError: not now; it may work later.
        """
        file = os.pread(self._descriptor, _FILE_BYTES, 0)
        said = read_header(file[_HEADER_AT:])
        if said is not None and said.label != label:
            return False
        first, offset = _unpacked(_POSITION, file[_POSITION_AT:]) or (0, SEGMENT_HEADER_BYTES)
        numbers = self._folder.segments(self.name)
        strange = []
        for number in numbers:
            segment = Segment(number, self._folder.segment_path(self.name, number))
            data = content(segment.path) if number >= first else b""
            header = read_header(data)
            if header is None and data.strip(b"\0"):
                strange.append(segment)
            elif header is None:
                # All in it has arrived, or nothing was put into it yet.
                segment.delete()
            elif header.label != label:
                return False
            else:
                start = offset if number == first else SEGMENT_HEADER_BYTES
                self._take_over(segment, header, data, start, last=number == numbers[-1])
        if said is None and not self.segments and (strange or file.strip(b"\0")):
            # Nothing here is known to be ours.
            return False
        for segment in strange:
            self.damaged.append(segment.path)
            segment.delete()
        for segment in self.shed():
            segment.delete()
        self.losses = _unpacked(_LOSSES, file[_LOSSES_AT:]) or self.losses
        return True

    def _take_over(self, segment: Segment, header: Header, data: bytes, start: int, *, last: bool) -> None:
        if not self.segments:
            self.offset = start
        if not segment.survey(header, data, start, last=last):
            self.damaged.append(segment.path)
        self.segments.append(segment)

    @property
    def waiting(self) -> int:
        """Records that have not arrived."""
        return sum(sum(segment.counts) for segment in self.segments)

    @property
    def waiting_bytes(self) -> int:
        """What these take on disk."""
        ends = sum(segment.end - SEGMENT_HEADER_BYTES for segment in self.segments)
        return ends - (self.offset - SEGMENT_HEADER_BYTES)

    def make_segment(self, header: Header, size_bytes: int, reserve_bytes: int) -> Segment:
        """Make a segment that comes behind all others; it is none of `segments` yet.

        Raises:
            OSError: the disk says no, as it does when it is full.
        """
        number = self._made
        self._made = number + 1
        segment = Segment(number, self._folder.segment_path(self.name, number))
        segment.make(header, size_bytes, reserve_bytes)
        return segment

    def view(self) -> View | None:
        """Return what can be read next, None if there is nothing; `shed` has to be called before."""
        if not self.segments:
            return None
        first = self.segments[0]
        return View(first, self.offset, first.end, first.counts[:]) if self.offset < first.end else None

    def settle(self, batch: Batch) -> list[Segment]:
        """Note that what was read has arrived, or is lost.

        Returns:
            The segments in which nothing is left, to be deleted.
        """
        counts = batch.segment.counts
        for rank, (whole, lost) in enumerate(zip(batch.counts, batch.lost, strict=True)):
            counts[rank] -= whole + lost
        self.offset = batch.end
        # Without it they only come twice.
        with contextlib.suppress(OSError):
            data = _packed(_POSITION, batch.segment.number, batch.end)
            os.pwrite(self._descriptor, data, _POSITION_AT)
        return self.shed()

    def keep(self, losses: Losses) -> None:
        """Note what was dropped and has not been told."""
        while True:
            version = losses.version
            data = _packed(_LOSSES, *losses.unsafe)
            try:
                if losses.version != version:
                    # A log call within this one was dropped as well.
                    continue
                os.pwrite(self._descriptor, data, _LOSSES_AT)
            except OSError:
                # Then it is known while the process lives.
                return
            return

    def forget_losses(self) -> None:
        """Note that somebody else has taken over the account of what was dropped."""
        with contextlib.suppress(OSError):
            os.pwrite(self._descriptor, _packed(_LOSSES, *[0] * len(LEVELS)), _LOSSES_AT)

    def shed(self) -> list[Segment]:
        """Forget the first segments if nobody writes to them and all in them has arrived; return them."""
        done = []
        while self.segments:
            first = self.segments[0]
            if self.offset < first.end or (first.descriptor >= 0 and len(self.segments) == 1):
                break
            self.segments.popleft()
            self.offset = SEGMENT_HEADER_BYTES
            done.append(first)
        return done

    def close(self) -> None:
        """Leave the journal to whoever adopts it, or, in a forked child, to the parent."""
        for segment in self.segments:
            segment.seal()
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            with contextlib.suppress(OSError):
                os.close(descriptor)

    def remove(self) -> bool:
        """Delete the journal with all that is in it; return whether that worked."""
        try:
            for number in self._folder.segments(self.name):
                os.unlink(self._folder.segment_path(self.name, number))  # noqa: PTH108 - as above
            # Last, since it is the lock.
            os.unlink(self._folder.journal_path(self.name))  # noqa: PTH108 - as above
        except OSError:
            return False
        finally:
            self.close()
        return True


def _undo(descriptor: int, path: str) -> None:
    os.close(descriptor)
    with contextlib.suppress(OSError):
        os.unlink(path)  # noqa: PTH108 - within a log call; pathlib is thrice as slow


def _packed(form: struct.Struct, *values: int) -> bytes:
    data = form.pack(*values)
    return crc32(data).to_bytes(_CHECK_BYTES, "little") + data


def _unpacked(form: struct.Struct, data: bytes) -> tuple[int, ...] | None:
    check, data = data[:_CHECK_BYTES], data[_CHECK_BYTES : _CHECK_BYTES + form.size]
    whole = len(data) == form.size and check == crc32(data).to_bytes(_CHECK_BYTES, "little")
    return form.unpack(data) if whole else None
