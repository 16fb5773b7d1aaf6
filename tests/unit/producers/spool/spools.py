"""Spools as tests need them: small, with a clock that only goes when told to, and a process that dies."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

from producers.event.renderer import RenderedEvent
from producers.spool.spool import Spool

if TYPE_CHECKING:
    from producers.kafka.queue import Record

LEVELS = ("debug", "info", "warning", "error", "critical")
SEGMENT_BYTES = 4_096
ALL = 10**9


class Clock:
    """Goes when it is told to."""

    def __init__(self) -> None:
        self.now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s


def event(value: bytes = b"x", key: bytes = b"k", level: str = "info", time_ms: int = 0) -> RenderedEvent:
    return RenderedEvent(value, key, time_ms, level)


def spool(
    folder: Path,
    *,
    segments: int = 8,
    clock: Clock | None = None,
    sync: str = "never",
    label: str = "logs",
    segment_bytes: int = SEGMENT_BYTES,
) -> Spool:
    return Spool(
        str(folder),
        label,
        max_bytes=segments * segment_bytes,
        sync=sync,
        segment_bytes=segment_bytes,
        clock=clock or Clock(),
    )


def kill(spool: Spool) -> None:
    """Leave what the kernel leaves of a process that is killed: files, and no locks; then begin another."""
    spool.renew()


def take(spool: Spool) -> list[Record]:
    """Take one chunk and settle it."""
    chunk = spool.take(ALL)
    spool.settle(chunk)
    return chunk.records


def drain(spool: Spool) -> list[Record]:
    """Take all there is, journals of the dead included."""
    records: list[Record] = []
    spool.tend()
    while not spool.empty:
        records += take(spool)
    return records


def values(records: list[Record]) -> list[bytes]:
    return [record.event.value for record in records]


def files(folder: Path, kind: str = "") -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.name.endswith(kind))


def open_files(folder: Path) -> int:
    """Descriptors of ours that lead into the folder, to deleted files as well."""
    count = 0
    for link in Path("/proc/self/fd").iterdir():
        # The one that lists them is gone by now.
        with contextlib.suppress(FileNotFoundError):
            count += str(link.readlink()).startswith(str(folder))
    return count
