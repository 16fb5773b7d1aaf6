"""JSON: one object an event, in our own names or any dialect's; Windows events in Sigma's.

An event in canonical names costs little more than its parsing: what orjson built is what the event holds.
"""

from __future__ import annotations

import datetime as dt

import orjson

from pipeline.decode import timestamps, windows_event
from pipeline.decode.dialects import FOREIGN, adopt
from pipeline.decode.levels import LEVELS
from pipeline.errors import DecodeError
from pipeline.event import Event, LogSource

__all__ = ["JsonDecoder", "WindowsDecoder"]

_CANONICAL_LEVELS: frozenset[object] = frozenset(LEVELS)
_DECLARED = "logsource"
_PARTS = frozenset({"product", "service", "category"})
_LONGEST_PART = 64
# Without any of these an event needs no second look.
_MARKED = FOREIGN | windows_event.MARKS | {_DECLARED}


class JsonDecoder:
    """Events as JSON objects (RFC 8259); of duplicate keys the last one counts.

    An event may say what log source it is of: `{"logsource": {"product": …, "service": …, "category": …}}`.
    A Windows event says so by itself, and has the names that `windows_event` gives it.

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
        fields, text = _load(raw)
        level = fields.get("level")
        if _MARKED.isdisjoint(fields) and type(level) is str and level in _CANONICAL_LEVELS:
            found = timestamps.of_value(fields.get("timestamp"), self._zone)
            time_ms, timed = timestamps.settle(found, record_ms)
            return Event(time_ms, fields, text, timed, structured=True)
        said = _declared(fields.get(_DECLARED))
        if (event := windows_event.read(fields, text, self._zone, record_ms, said)) is not None:
            return event
        time_ms, timed = adopt(fields, self._zone, record_ms)
        return Event(time_ms, fields, text, timed, structured=True, logsources=said)


class WindowsDecoder(JsonDecoder):
    """Events of the Windows event log as JSON, and nothing else.

    Args:
        zone: what times without an offset are in.
    """

    name = "windows"

    def decode(self, raw: bytes, record_ms: int) -> Event:
        """Decode one object.

        Raises:
            DecodeError: it is no JSON object, as of `json`, or not in any shape of a Windows event.
        """
        fields, text = _load(raw)
        said = _declared(fields.get(_DECLARED))
        event = windows_event.read(fields, text, self._zone, record_ms, said)
        if event is None:
            raise DecodeError(
                "no Windows event: it has no Event.System, no winlog, no EventID with a channel"
            )
        return event


def _load(raw: bytes) -> tuple[dict[str, object], str]:
    try:
        fields = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise DecodeError(f"not JSON: {error}") from None
    if type(fields) is not dict:
        raise DecodeError(f"a JSON object was expected, not {type(fields).__name__}")
    return fields, raw.decode("utf-8", "replace")


def _declared(value: object) -> tuple[LogSource, ...]:
    """Return the log source that an event declares: an object of one to three short texts, else none."""
    if type(value) is not dict or not value or not value.keys() <= _PARTS:
        return ()
    if any(type(part) is not str or len(part) > _LONGEST_PART for part in value.values()):
        return ()
    return (LogSource(**value),)
