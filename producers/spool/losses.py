"""The account of what was dropped, by level, and of how much of it has been told.

What has not been told is kept on disk as well, so that whoever adopts the journal of a process that is killed
tells it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from producers.kafka.queue import LEVELS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["Losses"]


class Losses:
    """Counts what was dropped. Whoever shares it among threads has a lock for it.

    Attributes:
        version: another one whenever `unsafe` has changed.
    """

    def __init__(self, keep: Callable[[], None]) -> None:
        """Begin with nothing.

        Args:
            keep: called whenever `unsafe` has changed.
        """
        self.version = 0
        self._keep = keep
        self._all = [0] * len(LEVELS)
        self._untold = [0] * len(LEVELS)
        self._being_told = [0] * len(LEVELS)

    @property
    def all(self) -> dict[str, int]:
        """What was dropped so far."""
        return _by_level(self._all)

    @property
    def unsafe(self) -> list[int]:
        """What has not been told yet, by the level's place among `LEVELS`."""
        return [untold + told for untold, told in zip(self._untold, self._being_told, strict=True)]

    def add(self, rank: int, count: int = 1) -> None:
        """Count records of the level that has this place among `LEVELS`."""
        self.version += 1
        self._all[rank] += count
        self._untold[rank] += count
        self._keep()

    def add_all(self, counts: Sequence[int]) -> None:
        """Count records of several levels."""
        self.version += 1
        for rank, count in enumerate(counts):
            self._all[rank] += count
            self._untold[rank] += count
        if any(counts):
            self._keep()

    def tell(self) -> dict[str, int]:
        """Return what was dropped since the last call; it is told as soon as `told` is called."""
        untold, self._untold = self._untold, [0] * len(LEVELS)
        for rank, count in enumerate(untold):
            self._being_told[rank] += count
        return _by_level(untold)

    def told(self) -> None:
        """Note that the word about it is safe."""
        told, self._being_told = self._being_told, [0] * len(LEVELS)
        if any(told):
            self.version += 1
            self._keep()

    def take_back(self) -> None:
        """Note that there was no room for the word about it."""
        again, self._being_told = self._being_told, [0] * len(LEVELS)
        for rank, count in enumerate(again):
            self._untold[rank] += count

    def hand_over(self) -> None:
        """Note that it will be told by whoever adopts the journal."""
        self._untold = [0] * len(LEVELS)
        self._being_told = [0] * len(LEVELS)
        self.version += 1


def _by_level(counts: list[int]) -> dict[str, int]:
    return {level: count for level, count in zip(LEVELS, counts, strict=True) if count}
