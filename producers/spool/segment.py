"""A segment: one file of a journal, and what is read from it.

What can't be read is passed over and counted, never raised; only what may work later is.
"""

from __future__ import annotations

import contextlib
import errno
import os
from typing import TYPE_CHECKING, NamedTuple

from producers.kafka.queue import LEVELS
from producers.spool.folder import FILE_MODE
from producers.spool.form import SEGMENT_HEADER_BYTES, pack_header, parse, read_header, survey

if TYPE_CHECKING:
    from collections.abc import Iterable

    from producers.kafka.queue import Record
    from producers.spool.form import Header

__all__ = ["Batch", "Segment", "View", "content", "delete", "read"]

# Neither a link nor a pipe that somebody has put there leads anywhere, or waits.
_READING = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
# Come and go with what else the process does, and say nothing about the file.
_PASSING = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EACCES, errno.EPERM})
_UNREADABLE = b"?"


class Segment:
    """One file of a journal.

    Attributes:
        number: its place among the journal's segments.
        path: where it is.
        source: of its records.
        descriptor: to write with; -1 when nobody does any more.
        limit: where records have to end.
        capacity: where the word about losses has to end: a little behind that.
        end: where records end.
        counts: how many of them have not arrived, by level.
        dirty: whether the disk may lack some of it.
    """

    __slots__ = ("capacity", "counts", "descriptor", "dirty", "end", "limit", "number", "path", "source")

    def __init__(self, number: int, path: str, source: bytes = b"") -> None:
        self.number = number
        self.path = path
        self.source = source
        self.descriptor = -1
        self.limit = self.capacity = 0
        self.end = SEGMENT_HEADER_BYTES
        self.counts = [0] * len(LEVELS)
        self.dirty = False

    def make(self, header: Header, size_bytes: int, reserve_bytes: int) -> None:
        """Make the file, with room for records.

        Args:
            header: what it says of itself.
            size_bytes: of the file.
            reserve_bytes: how much of it is for the word about losses.

        Raises:
            OSError: the disk says no, as it does when it is full.
        """
        try:
            self.descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL, FILE_MODE)
            os.posix_fallocate(self.descriptor, 0, size_bytes)
            _write(self.descriptor, pack_header(header))
        except BaseException:
            self.delete()
            raise
        self.source = header.source
        self.capacity = size_bytes
        self.limit = size_bytes - reserve_bytes

    def seal(self) -> None:
        """Let nobody write to it any more."""
        # Forgotten first: a log call within this one must not use a number that is another's by then.
        descriptor, self.descriptor = self.descriptor, -1
        if descriptor >= 0:
            with contextlib.suppress(OSError):
                os.close(descriptor)

    def delete(self) -> None:
        """Seal it, and delete the file."""
        self.seal()
        with contextlib.suppress(OSError):
            os.unlink(self.path)  # noqa: PTH108 - within a log call; pathlib is thrice as slow

    def sync(self) -> None:
        """Have on the disk what has been written to it.

        Raises:
            OSError: the disk says no.
        """
        try:
            descriptor = os.open(self.path, _READING)
        except FileNotFoundError:
            # All has arrived meanwhile.
            return
        try:
            os.fdatasync(descriptor)
        finally:
            os.close(descriptor)

    def survey(self, header: Header, data: bytes, start: int, *, last: bool) -> bool:
        """Take over what somebody else has written.

        Args:
            header: what the file says of itself.
            data: all of it.
            start: where the first record is that has not arrived.
            last: whether it is the journal's last segment.

        Returns:
            Whether all of it can be read.
        """
        self.source = header.source
        self.end, self.counts, damaged = survey(data, start, last=last)
        return not damaged


class View(NamedTuple):
    """A piece of a segment that can be read.

    Attributes:
        segment: the segment.
        start: where to begin.
        end: where records ended when this was made.
        counts: how many there are in between, by level.
    """

    segment: Segment
    start: int
    end: int
    counts: list[int]


class Batch(NamedTuple):
    """What was read of a segment.

    Attributes:
        segment: the segment.
        records: what can be sent.
        counts: how many these are, by level.
        lost: how many were there and can't be read, by level.
        size_bytes: what was read, or passed over.
        end: where to go on.
    """

    segment: Segment
    records: list[Record]
    counts: list[int]
    lost: list[int]
    size_bytes: int
    end: int


def read(view: View, max_bytes: int) -> Batch:
    """Read records, at least one if there is one.

    Args:
        view: what there is.
        max_bytes: where to stop, unless there is no record by then.

    Raises:
        OSError: not now; it may work later.
    """
    segment, start, end, counts = view
    most = end - start
    wanted = min(max_bytes, most)
    try:
        descriptor = os.open(segment.path, _READING)
        try:
            while True:
                parsed = parse(os.pread(descriptor, wanted, start), segment.source)
                if not wanted < parsed.missing <= most:
                    break
                wanted = parsed.missing
        finally:
            os.close(descriptor)
    except OSError as error:
        if error.errno in _PASSING:
            raise
        return Batch(segment, [], [0] * len(LEVELS), counts, most, end)
    if parsed.broken or not parsed.end:
        lost = [count - whole for count, whole in zip(counts, parsed.counts, strict=True)]
        return Batch(segment, parsed.records, parsed.counts, lost, most, end)
    return Batch(segment, parsed.records, parsed.counts, parsed.damaged, parsed.end, start + parsed.end)


def delete(segments: Iterable[Segment]) -> None:
    """Delete several segments."""
    for segment in segments:
        segment.delete()


def content(path: str) -> bytes:
    """Return what is in a segment; what no segment begins like is not read further, however large it is.

    Raises:
        OSError: not now; it may work later.
    """
    try:
        descriptor = os.open(path, _READING)
    except OSError as error:
        if error.errno in _PASSING:
            raise
        return _UNREADABLE
    try:
        start = os.pread(descriptor, SEGMENT_HEADER_BYTES, 0)
        if read_header(start) is None:
            return start
        return os.pread(descriptor, os.fstat(descriptor).st_size, 0)
    except OSError:
        return _UNREADABLE
    finally:
        os.close(descriptor)


def _write(descriptor: int, data: bytes) -> None:
    if os.pwrite(descriptor, data, 0) < len(data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
