"""Framing: the bytes of a file, in chunks, into whole events with exact positions.

A line that begins no event belongs to the one before it. Nothing is held without bound: a line longer than
the limit is cut (and the rest counted), an event that would outgrow it is closed and the line begins a new
one. Offsets are positions in the file, so a reader that starts again at `Joiner.resume` misses and repeats
nothing.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from pipeline.decode.decoder import Decoder

__all__ = ["Framed", "Joiner"]

_TRACEBACK = b"Traceback (most recent call last):"
# The line that ends a Python traceback, `pkg.SomeError: message`: not indented, and not `ERROR: …` either.
_RAISED = re.compile(rb"(?=[A-Z_.\d]{0,255}[a-z])[A-Za-z_][\w.]{0,255}(?::? ?$|: )")


class Framed(msgspec.Struct, frozen=True):
    r"""One event of a file.

    Attributes:
        start: position of its first byte.
        end: position after its last line end; where reading goes on when this event is done.
        data: its lines without the last line end, inner ones as `\n`.
        cut: bytes of overlong lines that are missing from `data`.
    """

    start: int
    end: int
    data: bytes
    cut: int = 0


class Joiner:
    """Joins the lines of one file to events; owns the open event and the unfinished line.

    Args:
        decoder: of the file's format; says which lines begin an event.
        max_bytes: of one event.
        max_lines: of one event.
        max_age_ms: how long after its last line an event may still get another.
    """

    def __init__(
        self,
        decoder: Decoder,
        *,
        max_bytes: int = 1 << 20,
        max_lines: int = 1000,
        max_age_ms: int = 1000,
    ) -> None:
        self._decoder = decoder
        self._max_bytes = max_bytes
        self._max_lines = max_lines
        self._max_age_ms = max_age_ms
        # The unfinished line: what is kept of it, where it begins, and what had to be cut.
        self._tail = bytearray()
        self._tail_cut = 0
        self._tail_start = 0
        self._position: int | None = None
        # The open event.
        self._lines: list[bytes] = []
        self._size = 0
        self._cut = 0
        self._start = 0
        self._end = 0
        self._last_ms = 0
        self._raising = False
        self._cut_bytes = 0

    @property
    def cut_bytes(self) -> int:
        """Bytes of overlong lines that were cut so far."""
        return self._cut_bytes

    @property
    def resume(self) -> int | None:
        """Position of the first byte that no returned event covers; None before the first chunk."""
        if self._position is None:
            return None
        return self._start if self._lines else self._tail_start

    def feed(self, data: bytes, offset: int, now_ms: int) -> list[Framed]:
        """Take the next chunk and return the events that it completes.

        An event is complete when the next one begins; the last waits for `flush` or `drain`.

        Args:
            data: the chunk.
            offset: its position in the file; it follows the chunk before it.
            now_ms: the time, milliseconds since the epoch.

        Raises:
            ValueError: the chunk doesn't follow the one before it.
        """
        if self._position is None:
            self._position = self._tail_start = offset
        elif offset != self._position:
            raise ValueError(f"chunk at {offset} does not follow {self._position}")
        done: list[Framed] = []
        begin = 0
        while (end := data.find(b"\n", begin)) >= 0:
            if self._tail or self._tail_cut:
                self._extend(data[begin:end])
                line, cut = bytes(self._tail), self._tail_cut
                self._tail.clear()
                self._tail_cut = 0
            else:
                line, cut = data[begin:end], 0
                if len(line) > self._max_bytes:
                    line, cut = line[: self._max_bytes], len(line) - self._max_bytes
                    self._cut_bytes += cut
            begin = end + 1
            start, self._tail_start = self._tail_start, offset + begin
            self._add(line, cut, start, self._tail_start, done)
            self._last_ms = now_ms
        self._extend(data[begin:])
        self._position = offset + len(data)
        return done

    def flush(self, now_ms: int) -> list[Framed]:
        """Return the open event if its last line is older than the age limit.

        An unfinished line stays: whoever writes it is not done.

        Args:
            now_ms: the time, milliseconds since the epoch.
        """
        done: list[Framed] = []
        if self._lines and now_ms - self._last_ms >= self._max_age_ms:
            self._close(done)
        return done

    def drain(self) -> list[Framed]:
        """Return all that is held: the file has ended, and its last line with it, line end or not."""
        done: list[Framed] = []
        if (self._tail or self._tail_cut) and self._position is not None:
            line, cut, start = bytes(self._tail), self._tail_cut, self._tail_start
            self._tail.clear()
            self._tail_cut = 0
            self._tail_start = self._position
            self._add(line, cut, start, self._position, done)
        if self._lines:
            self._close(done)
        return done

    def _extend(self, piece: bytes) -> None:
        room = self._max_bytes - len(self._tail)
        self._tail += piece[:room]
        if len(piece) > room:
            self._tail_cut += len(piece) - room
            self._cut_bytes += len(piece) - room

    def _add(self, line: bytes, cut: int, start: int, end: int, done: list[Framed]) -> None:
        line = line.rstrip(b"\r")
        if not self._lines:
            if not line or line.isspace():
                return
            self._start = start
        elif self._begins(line) or not self._fits(line):
            self._close(done)
            self._start = start
        self._lines.append(line)
        self._size += len(line) + 1
        self._cut += cut
        self._end = end
        self._raising = line.startswith(_TRACEBACK) or (self._raising and line[:1] in (b" ", b"\t"))

    def _begins(self, line: bytes) -> bool:
        if self._raising and _RAISED.match(line) is not None:
            return False
        return self._decoder.starts(line)

    def _fits(self, line: bytes) -> bool:
        return len(self._lines) < self._max_lines and self._size + len(line) <= self._max_bytes

    def _close(self, done: list[Framed]) -> None:
        data = self._lines[0] if len(self._lines) == 1 else b"\n".join(self._lines).rstrip(b"\n")
        done.append(Framed(self._start, self._end, data, self._cut))
        self._lines = []
        self._size = 0
        self._cut = 0
        self._raising = False
