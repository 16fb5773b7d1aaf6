"""The sink without a broker: JSON lines appended to a file, or to standard output.

A line is written within the log call, whole, so that a crash loses nothing and several processes can
share a file. A file that was renamed away (logrotate) is opened anew.
"""

from __future__ import annotations

import collections
import os
import threading
from typing import TYPE_CHECKING

from producers.process import join, say

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from producers.event.renderer import RenderedEvent

__all__ = ["FileSink"]

_STDOUT = 1


class FileSink:
    """Appends events to one file."""

    def __init__(self, path: str, notice: Callable[[Mapping[str, int]], RenderedEvent]) -> None:
        """Open the file, so that a wrong path is known at once.

        Args:
            path: the file's path, or `-` for standard output.
            notice: renders the event about what was dropped.

        Raises:
            OSError: the file can't be opened for appending.
        """
        self._path = path
        self._notice = notice
        self._dropped: collections.Counter[str] = collections.Counter()
        self._untold: collections.Counter[str] = collections.Counter()
        self._lock = threading.RLock()
        self._torn = False
        self._descriptor: int | None = None
        self._open()
        join(self)

    @property
    def dropped(self) -> dict[str, int]:
        """Events lost so far, by level."""
        with self._lock:
            return dict(self._dropped)

    @property
    def pending(self) -> int:
        """Always 0: what `write` has taken is written."""
        return 0

    def write(self, event: RenderedEvent) -> None:
        """Append an event as one line."""
        with self._lock:
            try:
                self._append(event.value)
            except OSError as error:
                known = bool(self._untold)
                # Before it is said: standard error may itself be logged.
                self.lose(event.level)
                if not known:
                    say(f"can't write log records to {self._path} ({error}); they are counted and dropped")
                return
            if self._untold:
                self._tell()

    def lose(self, level: str) -> None:
        """Count an event that was lost before it got here."""
        with self._lock:
            self._dropped[level] += 1
            self._untold[level] += 1

    def flush(self, timeout_s: float | None = None) -> bool:
        """Return True: nothing waits here."""
        del timeout_s
        return True

    def finish(self, began_s: float) -> None:
        """Say in the file what was dropped."""
        del began_s
        with self._lock:
            if self._untold:
                self._tell()

    def cease(self, began_s: float) -> None:
        """Do nothing: what is logged is written."""

    def close(self) -> None:
        """Close the file; the next `write` opens it again."""
        with self._lock:
            if self._untold:
                self._tell()
            descriptor, self._descriptor = self._descriptor, None
            if descriptor is not None and descriptor != _STDOUT:
                os.close(descriptor)

    def renew(self) -> None:
        """Start over in a forked child, on the same file."""
        self._lock = threading.RLock()
        self._dropped.clear()
        self._untold.clear()

    def _tell(self) -> None:
        untold, self._untold = self._untold, collections.Counter()
        try:
            self._append(self._notice(untold).value)
        except OSError:
            # Still full: to be told later.
            self._untold += untold

    def _open(self) -> int:
        if self._path == "-":
            self._descriptor = _STDOUT
        else:
            self._descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        return self._descriptor

    def _append(self, value: bytes) -> None:
        descriptor = self._open() if self._descriptor is None else self._descriptor
        if descriptor != _STDOUT and self._moved(descriptor):
            # Forgotten first: a log call within this one must not use a number that is another's by then.
            self._descriptor = None
            os.close(descriptor)
            descriptor = self._open()
        # A line that a full disk has torn is ended first, so that it spoils no other.
        line = b"\n" + value + b"\n" if self._torn else value + b"\n"
        written = os.write(descriptor, line)
        self._torn = True
        while written < len(line):
            written += os.write(descriptor, line[written:])
        self._torn = False

    def _moved(self, descriptor: int) -> bool:
        try:
            there = os.stat(self._path)  # noqa: PTH116 - within each log call; pathlib is thrice as slow
        except FileNotFoundError:
            return True
        here = os.fstat(descriptor)
        return (there.st_dev, there.st_ino) != (here.st_dev, here.st_ino)
