"""Plain text: what every event is at least. It never fails."""

from __future__ import annotations

import datetime as dt

from pipeline.decode import timestamps
from pipeline.event import Event

__all__ = ["TextDecoder", "stands_alone"]

_WITHIN = (
    b" ",
    b"\t",
    b"Traceback (most recent",
    b"During handling of",
    b"The above exception",
    b"Caused by:",
)


def stands_alone(line: bytes) -> bool:
    """Return whether a line is neither blank nor indented nor what a traceback has between its parts."""
    return bool(line) and not line.isspace() and not line.startswith(_WITHIN)


class TextDecoder:
    """Any bytes; `event` is all of them, invalid UTF-8 replaced by U+FFFD.

    Args:
        zone: what a time without an offset is in.
    """

    name = "text"

    def __init__(self, zone: dt.tzinfo = dt.UTC) -> None:
        self._zone = zone

    def starts(self, line: bytes) -> bool:
        """Whether the line is neither blank nor indented nor within a traceback."""
        return stands_alone(line)

    def decode(self, raw: bytes, record_ms: int) -> Event:
        """Decode anything; a time that stands at the very beginning is the event's."""
        text = raw.decode("utf-8", "replace")
        found = timestamps.leading(text, self._zone)
        time_ms, timed = timestamps.settle(found[0] if found else None, record_ms)
        fields: dict[str, object] = {"event": text}
        if timed:
            fields["timestamp"] = timestamps.rfc3339(time_ms)
        return Event(time_ms, fields, text, timed)
