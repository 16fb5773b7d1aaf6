"""Standard input: a pipe, a terminal or a file that was redirected, read to its end.

There is no position: what comes through a pipe comes once. A block is read only when the one before it has
been taken, so the writer waits and nothing piles up here.
"""

from __future__ import annotations

import asyncio
import os
import select
import stat
from typing import TYPE_CHECKING

from consumers.files.batch import Counts, FileBatch, columns
from consumers.files.position import SourceError
from pipeline.decode import Joiner
from pipeline.event import Partition

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Sequence

    from pipeline.decode import Decoder, Framed

__all__ = ["StdinReader"]


class StdinReader:
    """Reads a descriptor that belongs to the caller, who closes it.

    Args:
        decoder: makes the decoder, which finds out where events begin.
        clock_ms: the time, milliseconds since the epoch.
        descriptor: what to read.
        max_batch_records: events of one batch.
        block_bytes: read at a time.
        poll_s: seconds to wait for data before an event that waits for further lines is looked at; as long
            may pass after a cancellation until nobody reads any more.
        joiner: makes the joiner.

    Raises:
        SourceError: it is not open, or a folder.
    """

    def __init__(
        self,
        *,
        decoder: Callable[[], Decoder],
        clock_ms: Callable[[], int],
        descriptor: int = 0,
        max_batch_records: int = 5000,
        block_bytes: int = 1 << 18,
        poll_s: float = 0.25,
        joiner: Callable[[Decoder], Joiner] = Joiner,
    ) -> None:
        self.counts = Counts()
        self._joiner = joiner(decoder())
        self._clock_ms = clock_ms
        self._descriptor = descriptor
        self._max_batch_records = max_batch_records
        self._block_bytes = block_bytes
        self._poll_ms = max(1, round(1000 * poll_s))
        self._partition = Partition("-")
        self._read_bytes = 0
        self._caught_up = False
        self._fresh = True
        try:
            status = os.fstat(descriptor)
        except OSError as error:
            raise SourceError(f"standard input: {error.strerror}") from error
        if stat.S_ISDIR(status.st_mode):
            raise SourceError("standard input: a folder; name the files in it")
        regular = stat.S_ISREG(status.st_mode)
        # A redirected log was written before now, and a time without a year is told by the record's.
        self._written_ms = status.st_mtime_ns // 1_000_000 if regular else None
        self._total_bytes = status.st_size if regular else None

    @property
    def read_bytes(self) -> int:
        """Bytes that have been read."""
        return self._read_bytes

    @property
    def total_bytes(self) -> int | None:
        """Bytes there are, if it is a redirected file; None for a pipe or a terminal."""
        return self._total_bytes

    async def batches(self) -> AsyncGenerator[FileBatch, None]:
        """Yield what is read, until its end.

        Raises:
            SourceError: it can't be read.
        """
        while True:
            # In a thread, since neither all loops nor all kinds of descriptors can be waited for alike, and
            # making a terminal non-blocking would do the same to those who write to it.
            try:
                data = await asyncio.to_thread(self._read)
            except OSError as error:
                raise SourceError(f"standard input: {error.strerror}") from error
            now_ms = self._clock_ms()
            if data:
                framed = self._joiner.feed(data, self._read_bytes, now_ms)
                self._read_bytes += len(data)
                self._caught_up = False
            else:
                framed = self._joiner.flush(now_ms) if data is None else self._joiner.drain()
            if data or framed or not self._caught_up:
                self._caught_up = not data
                for batch in self._batches(framed, now_ms, len(data or b"")):
                    yield batch
            if data == b"":
                return

    def _read(self) -> bytes | None:
        """Return what there is, nothing at the end, or None when nothing came for a while."""
        poll = select.poll()
        poll.register(self._descriptor, select.POLLIN)
        return os.read(self._descriptor, self._block_bytes) if poll.poll(self._poll_ms) else None

    def _batches(self, framed: Sequence[Framed], now_ms: int, read: int) -> list[FileBatch]:
        time_ms = now_ms if self._written_ms is None else min(now_ms, self._written_ms)
        batches = []
        for begin in range(0, len(framed) or 1, self._max_batch_records):
            part = framed[begin : begin + self._max_batch_records]
            last = begin + self._max_batch_records >= len(framed)
            batch = columns(self._partition, part, time_ms, caught_up=last and self._caught_up)
            batches.append(FileBatch(batch, None, read if last else 0, self._fresh))
            self._fresh = False
        self.counts.cut_bytes += sum(event.cut for event in framed)
        return batches
