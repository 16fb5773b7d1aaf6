"""A reader that is driven poll by poll on a clock of the test."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from consumers.files import FileReader
from pipeline.decode import choose

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence
    from pathlib import Path

    from consumers.files import FileBatch, Position
    from pipeline.decode import Decoder

NOW_MS = 1_776_499_200_000


def text(_path: str = "") -> Decoder:
    """Every line that isn't indented begins an event."""
    return choose("text")


def events(batches: Sequence[FileBatch]) -> list[str]:
    return [(value or b"").decode() for each in batches for value in each.batch.values]


def append(path: Path, data: str | bytes) -> None:
    with path.open("ab") as file:
        file.write(data.encode() if isinstance(data, str) else data)


async def read_once(
    *paths: Path,
    positions: Callable[[str], Position | None] = lambda _: None,
    decoder: Callable[[], Decoder] = text,
    **settings: int,
) -> list[FileBatch]:
    reader = FileReader(
        paths, decoder=decoder, follow=False, positions=positions, clock_ms=lambda: NOW_MS, **settings
    )
    return [batch async for batch in reader.batches()]


class Follower:
    """What a followed reader has given so far; `poll` lets it look once more."""

    def __init__(self, *paths: Path, position: Position | None = None, **settings: int) -> None:
        self.now_ms = NOW_MS
        self.batches: list[FileBatch] = []
        self.naps: list[float] = []
        self._idle = asyncio.Event()
        self._wake = asyncio.Event()
        self.reader = FileReader(
            paths,
            decoder=text,
            follow=True,
            positions=lambda _: position,
            clock_ms=lambda: self.now_ms,
            sleep=self._sleep,
            **settings,
        )

    @property
    def events(self) -> list[str]:
        return events(self.batches)

    async def poll(self, after_ms: int = 250) -> None:
        """Wake the reader after some time and let it read all there is."""
        self.now_ms += after_ms
        self._idle.clear()
        self._wake.set()
        await self._idle.wait()

    async def polls(self, count: int) -> None:
        for _ in range(count):
            await self.poll()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[Follower]:
        async with asyncio.TaskGroup() as group:
            task = group.create_task(self._collect())
            await self._idle.wait()
            yield self
            task.cancel()

    async def _collect(self) -> None:
        # The group ends the test if this fails.
        async with contextlib.aclosing(self.reader.batches()) as batches:
            async for batch in batches:
                self.batches.append(batch)
        self._idle.set()

    async def _sleep(self, seconds: float) -> None:
        self.naps.append(seconds)
        self._idle.set()
        await self._wake.wait()
        self._wake.clear()
