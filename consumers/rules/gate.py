"""Between batches: when rules may change, and nothing of one batch sees both the old and the new ones."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

__all__ = ["Gate"]


class Gate:
    """Lets any number of batches through at once, or one change."""

    def __init__(self) -> None:
        self._inside = 0
        self._open = asyncio.Event()
        self._open.set()
        self._empty = asyncio.Event()
        self._empty.set()

    @contextlib.asynccontextmanager
    async def batch(self) -> AsyncIterator[None]:
        """Work on a batch: nothing changes meanwhile. One within another would wait for itself."""
        while not self._open.is_set():
            await self._open.wait()
        self._inside += 1
        self._empty.clear()
        try:
            yield
        finally:
            self._inside -= 1
            if not self._inside:
                self._empty.set()

    @contextlib.asynccontextmanager
    async def between(self) -> AsyncIterator[None]:
        """Wait until no batch is worked on, and let none begin before the body ends."""
        self._open.clear()
        try:
            await self._empty.wait()
            yield
        finally:
            self._open.set()
