"""Batches of a file's events, each with the position to commit once they have been dealt with."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from consumers.files.position import Position
from pipeline.event import Batch, Partition

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipeline.decode import Framed

__all__ = ["Counts", "FileBatch", "columns"]


class FileBatch(msgspec.Struct, frozen=True):
    """Events of one file, and what to commit when they have been dealt with.

    Attributes:
        batch: the events; there may be none.
        position: to be committed with what came of the events; None for standard input.
        bytes_read: bytes of the source that were read for it (of the disk, if the file is compressed).
        fresh: whether its offsets begin anew: the first of a file that is read from its beginning, be it
            the path's first or one that took its place (rotation, truncation).
    """

    batch: Batch
    position: Position | None
    bytes_read: int
    fresh: bool = False


class Counts(msgspec.Struct):
    """What happened to the sources of a reader, for metrics.

    Attributes:
        rotated: times a path led to another file.
        truncated: times a file was truncated or written anew in place.
        missed: times the rest of a file could not be found or read, so that events may be missing.
        errors: failed attempts to open or read.
        cut_bytes: bytes of overlong lines that were left out of their events.
    """

    rotated: int = 0
    truncated: int = 0
    missed: int = 0
    errors: int = 0
    cut_bytes: int = 0


def columns(partition: Partition, framed: Sequence[Framed], time_ms: int, *, caught_up: bool) -> Batch:
    """Return events as a batch.

    Args:
        partition: where they are from.
        framed: the events.
        time_ms: the time of those that don't say theirs, milliseconds since the epoch.
        caught_up: whether the source had nothing after them.
    """
    return Batch(
        partition,
        [event.start for event in framed],
        [time_ms] * len(framed),
        [event.data for event in framed],
        caught_up,
    )
