"""Sniffing: which format a source is in, found from its lines.

A line speaks for the first format of the table that decodes it; a source is in the format that most lines
speak for. A single odd line never changes that: it is decoded by whatever format takes it, or as text, and
only a run of lines that the settled format refuses makes it look again. Decoding teaches nothing: what is
decoded depends on the rules that are loaded, and what a rule finds must not.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from typing import TYPE_CHECKING

from pipeline.decode.formats import FORMATS, formats
from pipeline.errors import ConfigError, DecodeError, nearest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pipeline.decode.decoder import Decoder
    from pipeline.event import Event

__all__ = ["AUTO", "Auto", "choose", "sniff"]

AUTO = "auto"
"""The format's name in the configuration that means: find it."""

_TEXT = "text"
# Lines the settled format refuses, one after the other, before it is doubted.
_RUN = 8
# Lines before the first look; until then each is decoded by what takes it.
_FIRST = 4
# While nothing but text is found the next look comes after twice as many lines, up to this.
_MAX_RUN = 4096
# Records that pass between two looks whether the source is still in its settled format.
_PASSING = 255
# Bytes kept of each line of a run.
_MAX_SAMPLE = 1 << 16
# Traceback lines speak for nothing, so few lines may have to speak for all.
_LEAST_SHARE = 0.25
# A time that no sample is later than: when a line was read doesn't matter here.
_ANY_MS = 4_102_444_800_000


def sniff(lines: Sequence[bytes]) -> str:
    """Return the name of the format that sample lines are in; `text` when they are in none.

    Args:
        lines: physical lines or whole events; blank and indented lines count for nothing.
    """
    counted = Counter(
        claimed.name if claimed else _TEXT
        for line in lines
        if line[:1] not in (b"", b" ", b"\t", b"\r")
        for claimed in (_claim(FORMATS, line),)
    )
    total = counted.total()
    counted.pop(_TEXT, None)
    if not counted:
        return _TEXT
    order = list(FORMATS)
    best = max(counted, key=lambda name: (counted[name], -order.index(name)))
    return best if counted[best] >= total * _LEAST_SHARE else _TEXT


def choose(name: str, zone: dt.tzinfo = dt.UTC) -> Decoder:
    """Return a decoder for one source.

    Args:
        name: a format's name, or `auto`.
        zone: what times without an offset are in.

    Raises:
        ConfigError: there is no such format.
    """
    if name == AUTO:
        return Auto(zone)
    decoder = formats(zone).get(name)
    if decoder is None:
        raise ConfigError(f"unknown format {name!r}; {nearest(name, [AUTO, *FORMATS])}")
    return decoder


class _Run:
    """Lines refused one after the other; owns the last few of them."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []
        self._count = 0
        self._look_at = _FIRST

    def add(self, line: bytes) -> bool:
        """Count a refusal, and return whether it is time to look what the lines are."""
        self.lines.append(line[:_MAX_SAMPLE])
        del self.lines[:-_RUN]
        self._count += 1
        if self._count < self._look_at:
            return False
        self._count = 0
        self._look_at = min(2 * self._look_at, _MAX_RUN)
        return True

    def passing(self) -> int:
        """Pass over what the next look would not see, count it, and return how many that is."""
        passed = max(self._look_at - self._count - _RUN, 0)
        self._count += passed
        return passed

    def end(self) -> None:
        """Forget the run; a settled format is doubted only after a whole new one."""
        if self.lines:
            self.lines.clear()
        self._count = 0
        self._look_at = _RUN


class Auto:
    """The decoder of a source whose format is not set; each source has its own, for it learns.

    It owns what it has settled on and the runs of lines which that refused, to begin and to decode; nothing
    else does. It learns from the physical lines that `starts` sees, and from the records that `learn` is
    shown. An event that begins with `{` is tried as JSON whatever it settled on, which takes Windows events
    as well.

    Args:
        zone: what times without an offset are in.
    """

    name = AUTO

    def __init__(self, zone: dt.tzinfo = dt.UTC) -> None:
        self._formats = formats(zone)
        self._json = self._formats["json"]
        self._objects = (self._json, self._formats["windows"])
        self._text = self._formats[_TEXT]
        self._settled: Decoder | None = None
        self._unframed = _Run()
        self._undecoded = _Run()

    @property
    def settled(self) -> str:
        """The format's name that was found; `text` until one is."""
        return self._settled.name if self._settled else _TEXT

    def starts(self, line: bytes) -> bool:
        """Whether the line begins an event in the settled format, or is one in another."""
        if self._settled is not None and self._settled.starts(line):
            self._unframed.end()
            return True
        if not self._text.starts(line):
            return False
        claimed = _claim(self._formats, line)
        begins = claimed is not None or self._settled is None
        self._refuse(self._unframed, line)
        return begins

    def learn(self, raw: bytes) -> int:
        """Learn from one record, to be decoded or not; return how many may pass before the next one is shown.

        Args:
            raw: a record of the source, chosen by nothing but its place.
        """
        if self._settled is not None:
            if raw[:1] == b"{":
                # Tried as JSON in any case, so that it speaks against nothing but lines.
                if self._settled in self._objects:
                    self._undecoded.end()
                return _PASSING
            if _try(self._settled, raw, _ANY_MS) is not None:
                self._undecoded.end()
                return _PASSING
        self._refuse(self._undecoded, raw)
        return self._undecoded.passing()

    def decode(self, raw: bytes, record_ms: int) -> Event:
        """Decode one event in the settled format, in another that takes it, or as text; never fails."""
        if raw[:1] == b"{" and (event := _try(self._json, raw, record_ms)) is not None:
            return event
        if self._settled is not None and (event := _try(self._settled, raw, record_ms)) is not None:
            return event
        return (_claim(self._formats, raw) or self._text).decode(raw, record_ms)

    def _refuse(self, run: _Run, line: bytes) -> None:
        if run.add(line) and (found := sniff(run.lines)) != _TEXT:
            self._settled = self._formats[found]
            self._unframed.end()
            self._undecoded.end()


def _try(decoder: Decoder, raw: bytes, record_ms: int) -> Event | None:
    try:
        return decoder.decode(raw, record_ms)
    except DecodeError:
        return None


def _claim(decoders: Mapping[str, Decoder], line: bytes) -> Decoder | None:
    """Return the first decoder that takes a line and is not the one that takes everything."""
    return next(
        (d for d in decoders.values() if d.name != _TEXT and _try(d, line, _ANY_MS) is not None),
        None,
    )
