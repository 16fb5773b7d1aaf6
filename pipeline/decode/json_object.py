"""JSON: one object an event, in our own names or any dialect's.

An event in canonical names costs little more than its parsing: what orjson built is what the event holds.
"""

from __future__ import annotations

import datetime as dt

import orjson

from pipeline.decode import timestamps
from pipeline.decode.dialects import FOREIGN, adopt
from pipeline.decode.levels import LEVELS
from pipeline.errors import DecodeError
from pipeline.event import Event

__all__ = ["JsonDecoder"]

_CANONICAL_LEVELS: frozenset[object] = frozenset(LEVELS)


class JsonDecoder:
    """Events as JSON objects (RFC 8259); of duplicate keys the last one counts.

    Args:
        zone: what times without an offset are in.
    """

    name = "json"

    def __init__(self, zone: dt.tzinfo = dt.UTC) -> None:
        self._zone = zone

    def starts(self, line: bytes) -> bool:
        """Whether the line is not the inside or the end of an object printed over several lines."""
        return line[:1] not in (b"", b" ", b"\t", b"\r", b"}", b"]")

    def decode(self, raw: bytes, record_ms: int) -> Event:
        """Decode one object.

        Raises:
            DecodeError: it is no JSON, or none that UTF-8 and 64-bit floats can hold, or no object.
        """
        try:
            fields = orjson.loads(raw)
        except orjson.JSONDecodeError as error:
            raise DecodeError(f"not JSON: {error}") from None
        if type(fields) is not dict:
            raise DecodeError(f"a JSON object was expected, not {type(fields).__name__}")
        text = raw.decode("utf-8", "replace")
        level = fields.get("level")
        if FOREIGN.isdisjoint(fields) and type(level) is str and level in _CANONICAL_LEVELS:
            found = timestamps.of_value(fields.get("timestamp"), self._zone)
            time_ms, timed = timestamps.settle(found, record_ms)
        else:
            time_ms, timed = adopt(fields, self._zone, record_ms)
        return Event(time_ms, fields, text, timed, structured=True)
