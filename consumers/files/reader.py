"""Reading files: each once to its end, or all of them for as long as they grow.

Blocks are small and the event loop gets a turn after each, so reading needs no thread. When files are
followed each gives one block in turn, so a busy one starves no other.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from typing import TYPE_CHECKING

import structlog

from consumers.files.batch import Counts
from consumers.files.opened import OpenedFile
from consumers.files.position import SourceError
from consumers.files.source import PathSource
from pipeline.decode import Joiner

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
    from pathlib import Path

    from consumers.files.batch import FileBatch
    from consumers.files.position import Position
    from pipeline.decode import Decoder

__all__ = ["FileReader"]

_log = structlog.get_logger(__name__)

# A file that fails is tried again after a second, then after twice as long each time, up to this.
_FIRST_RETRY_MS = 1000
_MAX_RETRY_MS = 60_000


class FileReader:
    """Reads files; owns what is open, and hands out positions that its caller commits.

    Following a path means following its rotations: name `auth.log`, not `auth.log.1` beside it.

    Args:
        paths: the files, in the order in which to read them; one named twice is read once. Patterns are
            expanded by the caller.
        decoder: makes the decoder of one path (given as it was named, absolute), which says where events
            begin.
        follow: whether to wait for more, and for files that are not there yet.
        positions: where a path was read to, by its absolute name; None to begin at its beginning.
        clock_ms: the time, milliseconds since the epoch.
        max_batch_records: events of one batch.
        block_bytes: read at a time.
        poll_s: seconds between two looks when all files are at their end.
        rotation_wait_ms: how long a file that was renamed must have been silent before the one that took its
            path is read; its writer goes on with it until it is told.
        joiner: makes the joiner of one file.
        sleep: waits for some seconds.

    Raises:
        SourceError: a path can't be read: a folder, no regular file, or, unless it is followed, missing or
            not permitted.
    """

    def __init__(  # noqa: PLR0913 - settings, all but the first by name
        self,
        paths: Sequence[Path],
        *,
        decoder: Callable[[str], Decoder],
        follow: bool,
        positions: Callable[[str], Position | None],
        clock_ms: Callable[[], int],
        max_batch_records: int = 5000,
        block_bytes: int = 1 << 18,
        poll_s: float = 0.25,
        rotation_wait_ms: int = 2000,
        joiner: Callable[[Decoder], Joiner] = Joiner,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self.counts = Counts()
        self._follow = follow
        self._clock_ms = clock_ms
        self._poll_s = poll_s
        self._sleep = sleep
        # Absolute, since a position must mean the same file wherever the next run is started from.
        names = dict.fromkeys(os.path.abspath(path) for path in paths)  # noqa: PTH100 - `absolute` keeps `..`
        for name in names:
            self._check(name)
        self._sources = [
            PathSource(
                name,
                follow=follow,
                position=positions(name),
                decoder=decoder(name),
                joiner=joiner,
                counts=self.counts,
                max_batch_records=max_batch_records,
                block_bytes=block_bytes,
                rotation_wait_ms=rotation_wait_ms,
            )
            for name in names
        ]

    @property
    def read_bytes(self) -> int:
        """Bytes of the disk that have been read or, by their positions, had been before."""
        return sum(source.read_bytes for source in self._sources)

    @property
    def total_bytes(self) -> int:
        """Bytes of the disk that have been read or, as far as is known, will be.

        Raises:
            OSError: it can't be told.
        """
        return sum(source.total_bytes for source in self._sources)

    async def batches(self) -> AsyncGenerator[FileBatch, None]:
        """Yield what is read; ends when all files are read to their end, never when they are followed.

        A batch without events tells progress, or that the end was reached. Whoever stops early closes the
        generator (`contextlib.aclosing`), and with it the files.

        Raises:
            SourceError: a file that isn't followed can't be read.
        """
        try:
            if self._follow:
                async with contextlib.aclosing(self._follow_all()) as followed:
                    async for batch in followed:
                        yield batch
            else:
                for source in self._sources:
                    while not source.done:
                        for batch in self._read(source):
                            yield batch
                        await asyncio.sleep(0)
        finally:
            for source in self._sources:
                source.close()

    def _read(self, source: PathSource) -> list[FileBatch]:
        try:
            batches = source.step(self._clock_ms())
        except OSError as error:
            raise SourceError(f"{source.path}: {error.strerror}") from error
        if not batches and not source.done:
            raise SourceError(f"{source.path}: {os.strerror(2)}")
        return batches

    async def _follow_all(self) -> AsyncGenerator[FileBatch, None]:
        followed = [_Retrying(source) for source in self._sources]
        while followed:
            idle = True
            for each in followed:
                for batch in each.step(self._clock_ms()):
                    idle = False
                    yield batch
                await asyncio.sleep(0)
            followed = [each for each in followed if not each.source.done]
            if idle and followed:
                await self._sleep(self._poll_s)

    def _check(self, path: str) -> None:
        try:
            OpenedFile(path).close()
        except OSError as error:
            if not self._follow:
                raise SourceError(f"{path}: {error.strerror}") from error


class _Retrying:
    """A followed path that may fail for a while; says so once, and again when it is over."""

    def __init__(self, source: PathSource) -> None:
        self.source = source
        self._wait_ms = 0
        self._failed_ms = 0
        self._silent = False

    def step(self, now_ms: int) -> list[FileBatch]:
        """Return what there is to hand out; that there is nothing is said as well, once.

        Args:
            now_ms: the time, milliseconds since the epoch.
        """
        batches = self._step(now_ms)
        if batches or self.source.opened or self.source.done:
            self._silent = False
            return batches
        silent, self._silent = self._silent, True
        return [] if silent else [self.source.silence(now_ms)]

    def _step(self, now_ms: int) -> list[FileBatch]:
        # A clock that was set back must not make the wait longer.
        if self._wait_ms and 0 <= now_ms - self._failed_ms < self._wait_ms:
            return []
        try:
            batches = self.source.step(now_ms)
        except (OSError, SourceError) as error:
            if not self._wait_ms:
                reason = error.strerror if isinstance(error, OSError) else str(error)
                _log.warning("can't read file, trying again", path=self.source.path, reason=reason)
            self._failed_ms = now_ms
            self._wait_ms = min(2 * self._wait_ms or _FIRST_RETRY_MS, _MAX_RETRY_MS)
            return []
        if self._wait_ms:
            self._wait_ms = 0
            _log.info("file can be read again", path=self.source.path)
        return batches
