"""Watermarks: how far event time has surely come.

The watermark over all source partitions is the lowest among those that are not idle; when all are idle, the
highest of theirs. It never goes back. While a partition of a topic has not told yet, there is none: its
events may be of any age. (Design: "Event time and watermarks".)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from pipeline.detection import Progress

if TYPE_CHECKING:
    from collections.abc import Collection

__all__ = ["Watermarks"]


class Watermarks(msgspec.Struct):
    """The watermark over a set of source partitions. Times are milliseconds since the epoch.

    Attributes:
        progress: the newest word of each source partition, by its name.
        value_ms: the watermark; 0 while there is none.
    """

    progress: dict[str, Progress] = {}
    value_ms: int = 0

    def observe(self, progress: Progress) -> bool:
        """Take what a detect worker says of a partition.

        Returns:
            Whether the watermark has moved.
        """
        known = self.progress.get(name := str(progress.partition))
        # A worker that took a partition over begins without knowing how far its time had come.
        if known is not None:
            progress = msgspec.structs.replace(
                progress,
                watermark_ms=max(progress.watermark_ms, known.watermark_ms),
                offset=max(progress.offset, known.offset),
            )
        self.progress[name] = progress
        return self._move()

    def applied(self, partition: str) -> int:
        """Return the source offset below which everything of a partition has been applied."""
        known = self.progress.get(partition)
        return known.offset if known is not None else 0

    def expect(self, topics: Collection[str]) -> bool:
        """Note that nobody reads other topics any more: their partitions hold nothing.

        Args:
            topics: names of the topics, or paths of the files, that are read.

        Returns:
            Whether the watermark has moved.
        """
        for name, progress in self.progress.items():
            if progress.partition.topic not in topics:
                # The offset stays: what was applied of it is not to be applied again.
                self.progress[name] = msgspec.structs.replace(progress, idle=True, siblings=0)
        return self._move()

    def _move(self) -> bool:
        value = self._lowest()
        if value <= self.value_ms:
            return False
        self.value_ms = value
        return True

    def _lowest(self) -> int:
        told: dict[str, int] = {}
        for progress in self.progress.values():
            told[progress.partition.topic] = told.get(progress.partition.topic, 0) + 1
        if any(told[p.partition.topic] < p.siblings for p in self.progress.values()):
            return 0
        busy = [p.watermark_ms for p in self.progress.values() if not p.idle]
        if busy:
            return min(busy)
        return max((p.watermark_ms for p in self.progress.values()), default=0)
