"""One path being read: the file it leads to, those that came before it, and the event that is still open.

A position never passes an event that has not been handed out, so going on from the last committed one
neither loses nor repeats any. Every failure is met the same way: let go, and go on from the position.
"""

from __future__ import annotations

import contextlib
import os
from collections import deque
from typing import TYPE_CHECKING

import msgspec
import structlog

from consumers.files.batch import FileBatch, columns
from consumers.files.opened import DamagedError
from consumers.files.position import SourceError, named
from consumers.files.rotation import resume, successors
from pipeline.event import Partition

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from consumers.files.batch import Counts
    from consumers.files.opened import OpenedFile
    from consumers.files.position import Position
    from pipeline.decode import Decoder, Framed, Joiner

__all__ = ["PathSource"]

_log = structlog.get_logger(__name__)

# What a decoder that finds out the format is shown of the text before the position it goes on from.
_PRIMING_BYTES = 1 << 16


class PathSource:
    """One path; owns the open files of its chain, the open event and the position.

    Args:
        path: absolute.
        follow: whether to wait for more at its end.
        position: where to go on from.
        decoder: of this path; it says where events begin, and may learn.
        joiner: makes the joiner of one file.
        counts: is told what happens.
        max_batch_records: events of one batch.
        block_bytes: read at a time.
        rotation_wait_ms: how long a file that lost the path must have been silent to be left.
    """

    def __init__(  # noqa: PLR0913 - settings, all but the first by name
        self,
        path: str,
        *,
        follow: bool,
        position: Position | None,
        decoder: Decoder,
        joiner: Callable[[Decoder], Joiner],
        counts: Counts,
        max_batch_records: int,
        block_bytes: int,
        rotation_wait_ms: int,
    ) -> None:
        self.path = path
        self.done = False
        self.partition = Partition(named(path))
        self._follow = follow
        self._position = position
        self._decoder = decoder
        self._new_joiner = joiner
        self._counts = counts
        self._max_batch_records = max_batch_records
        self._block_bytes = block_bytes
        self._rotation_wait_ms = rotation_wait_ms
        self._file: OpenedFile | None = None
        self._next: deque[OpenedFile] = deque()
        self._awaited = False
        self._bytes_before = 0
        # Of the file being read: where in it to begin, and what has been told of it.
        self._start = 0
        self._joiner = joiner(decoder)
        self._fresh = False
        self._caught_up = False
        self._told_bytes = 0
        self._lost_path_ms: int | None = None

    @property
    def opened(self) -> bool:
        """Whether a file is being read."""
        return self._file is not None

    @property
    def read_bytes(self) -> int:
        """Bytes of the disk that are behind the reader."""
        return self._bytes_before + (self._file.disk_offset if self._file else 0)

    @property
    def total_bytes(self) -> int:
        """Bytes of the disk behind the reader and, as far as is known, before it.

        Raises:
            OSError: it can't be told.
        """
        if self._file is not None:
            return self._bytes_before + sum(file.size for file in (self._file, *self._next))
        try:
            return self._bytes_before + (0 if self.done else os.stat(self.path).st_size)  # noqa: PTH116 - paths are text here
        except FileNotFoundError:
            return self._bytes_before

    def step(self, now_ms: int) -> list[FileBatch]:
        """Read one block and return what it completes; nothing if there was nothing to read.

        Args:
            now_ms: the time, milliseconds since the epoch.

        Raises:
            OSError: a file can't be opened or read; the next step goes on where this one failed.
            SourceError: likewise.
        """
        try:
            file = self._file or self._open()
            return self._advance(file, now_ms) if file is not None else []
        except (OSError, SourceError):
            self._counts.errors += 1
            self.close()
            raise

    def silence(self, now_ms: int) -> FileBatch:
        """Return the word that there is nothing to read, so that nobody waits for this path.

        Args:
            now_ms: the time, milliseconds since the epoch.
        """
        return FileBatch(columns(self.partition, [], now_ms, caught_up=True), None, 0)

    def close(self) -> None:
        """Let go of all files; another step opens them again and goes on from the position."""
        for file in (self._file, *self._next):
            if file is not None:
                file.close()
        self._file = None
        self._next.clear()

    def _open(self) -> OpenedFile | None:
        chain = resume(self.path, self._position)
        if not chain.files:
            if self._follow and not self._awaited:
                self._awaited = True
                _log.info("waiting for a file that is not there", path=self.path)
            return None
        self._awaited = False
        if not chain.found and self._position is not None and self._position.fingerprint:
            self._missed("the file that was being read is gone, the rest of it unread")
        return self._enter(chain.files, chain.offset)

    def _enter(self, files: Sequence[OpenedFile], offset: int) -> OpenedFile:
        """Begin with the first of some files; the others are next."""
        file, *others = files
        self._file = file
        self._next = deque(others)
        self._start = offset
        self._joiner = self._new_joiner(self._decoder)
        self._fresh = offset == 0
        self._caught_up = False
        self._lost_path_ms = None
        file.skip(max(0, offset - _PRIMING_BYTES))
        self._told_bytes = file.disk_offset
        self._position = file.position(self.path, offset)
        return file

    def _leave(self, file: OpenedFile) -> None:
        self._bytes_before += file.disk_offset
        file.close()
        self._file = None

    def _live(self, file: OpenedFile) -> bool:
        """Whether more may yet be written to a file: it is followed, and no other has taken its path."""
        return self._follow and not self._next and not file.compressed

    def _advance(self, file: OpenedFile, now_ms: int) -> list[FileBatch]:
        if self._live(file) and not file.unchanged():
            return self._begin_anew(file, now_ms)
        offset = file.offset
        ahead = self._start - offset
        try:
            data = file.read(min(self._block_bytes, ahead) if ahead > 0 else self._block_bytes)
        except DamagedError as error:
            if not self._follow:
                raise
            self._missed(str(error))
            data = b""
        if not data:
            return self._wait(file, now_ms) if self._live(file) else self._end(file, now_ms)
        framed = self._joiner.feed(data, offset, now_ms)
        if ahead > 0:
            # The decoder has seen it; its events were handed out by the reader that left the position.
            framed = []
            if file.offset == self._start:
                self._joiner = self._new_joiner(self._decoder)
        elif self._lost_path_ms is not None:
            self._lost_path_ms = now_ms
        self._caught_up = self._live(file) and file.offset >= file.size
        return self._batches(file, framed, now_ms)

    def _wait(self, file: OpenedFile, now_ms: int) -> list[FileBatch]:
        """Deal with the end, for now, of a file that may grow."""
        framed = self._joiner.flush(now_ms)
        self._look_for_rotation(file, now_ms)
        if self._caught_up and not framed:
            return []
        self._caught_up = True
        return self._batches(file, framed, now_ms)

    def _look_for_rotation(self, file: OpenedFile, now_ms: int) -> None:
        try:
            status = os.stat(self.path)  # noqa: PTH116 - paths are text here
        except FileNotFoundError:
            # Its writer may still have it open; it is left when another takes its path.
            return
        if (status.st_dev, status.st_ino) == file.identity:
            self._lost_path_ms = None
        elif self._lost_path_ms is None or now_ms < self._lost_path_ms:
            self._lost_path_ms = now_ms
        elif now_ms - self._lost_path_ms >= self._rotation_wait_ms:
            with contextlib.suppress(FileNotFoundError):
                self._next.extend(successors(self.path, file))
                self._counts.rotated += 1
                _log.info("file rotated", path=self.path)

    def _end(self, file: OpenedFile, now_ms: int) -> list[FileBatch]:
        """Deal with the end of a file that nothing is added to."""
        if file.offset < self._start:
            self._missed("it is shorter than it was")
            framed = []
        else:
            framed = self._joiner.drain()
        self._caught_up = not self._next
        batches = self._batches(file, framed, now_ms)
        self._leave(file)
        if self._next:
            self._enter(tuple(self._next), 0)
        else:
            self.done = True
        return batches

    def _begin_anew(self, file: OpenedFile, now_ms: int) -> list[FileBatch]:
        """Deal with a file that was truncated; a copy of it may hold what wasn't read (`copytruncate`)."""
        self._counts.truncated += 1
        _log.warning("file truncated, reading it from its beginning", path=self.path)
        self._caught_up = False
        chain = resume(self.path, self._position)
        self._next.extend(chain.files)
        if chain.files and chain.found:
            self._leave(file)
            self._enter(chain.files, chain.offset)
            return []
        batches = self._batches(file, self._joiner.drain(), now_ms)
        self._leave(file)
        self._position = None
        if chain.files:
            self._enter(chain.files, 0)
        # What was open in the old content is handed out, so the new one's beginning is where to go on.
        return [*batches[:-1], msgspec.structs.replace(batches[-1], position=self._position)]

    def _batches(self, file: OpenedFile, framed: Sequence[Framed], now_ms: int) -> list[FileBatch]:
        """Return events as batches of limited size, the position of each right after its last event."""
        time_ms = now_ms if self._live(file) else min(now_ms, file.mtime_ms)
        resume_at = self._joiner.resume
        end = self._start if resume_at is None or file.offset <= self._start else resume_at
        batches = []
        for begin in range(0, len(framed) or 1, self._max_batch_records):
            part = framed[begin : begin + self._max_batch_records]
            last = begin + self._max_batch_records >= len(framed)
            self._position = file.position(self.path, end if last else part[-1].end)
            batches.append(
                FileBatch(
                    columns(self.partition, part, time_ms, caught_up=last and self._caught_up),
                    self._position,
                    file.disk_offset - self._told_bytes if last else 0,
                    self._fresh,
                )
            )
            self._fresh = False
        self._told_bytes = file.disk_offset
        self._counts.cut_bytes += sum(event.cut for event in framed)
        return batches

    def _missed(self, what: str) -> None:
        self._counts.missed += 1
        _log.warning("events may be missing", path=self.path, reason=what)
