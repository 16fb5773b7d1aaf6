r"""logfmt: `time=… level=error msg="a \"b\"" key=value flag`, as logrus, go-kit and Heroku write it.

Quoted values know JSON's escapes. A flag without a value is present and empty. Names are any dialect's.
"""

from __future__ import annotations

import datetime as dt
import re

import orjson

from pipeline.decode.dialects import adopt
from pipeline.errors import DecodeError
from pipeline.event import Event

__all__ = ["MAX_PAIRS", "LogfmtDecoder"]

MAX_PAIRS = 1000
"""Pairs that become fields; what follows them is still in the event's text."""

_PAIR = re.compile(r'\s*+([^\s="]{1,256})(=)?(?:(?<==)(?:"((?:[^"\\]|\\.)*+)"(?!\S)|(\S*+)))?', re.DOTALL)
_FIRST = re.compile(rb'[^\s="]{1,256}=')
# One of these marks a line as logfmt rather than as prose that has a `=` in it.
_MARKS = frozenset({"level", "lvl", "msg", "message", "time", "ts", "timestamp", "severity", "at"})


class LogfmtDecoder:
    """Lines of key=value pairs.

    Args:
        zone: what times without an offset are in.
    """

    name = "logfmt"

    def __init__(self, zone: dt.tzinfo = dt.UTC) -> None:
        self._zone = zone

    def starts(self, line: bytes) -> bool:
        """Whether the line begins with a pair."""
        return _FIRST.match(line) is not None

    def decode(self, raw: bytes, record_ms: int) -> Event:
        """Decode one line.

        Raises:
            DecodeError: it doesn't begin with a pair, or holds none of the names that logfmt is known by.
        """
        if _FIRST.match(raw) is None:
            raise DecodeError("logfmt begins with key=value")
        text = raw.decode("utf-8", "replace")
        fields: dict[str, object] = {}
        position = 0
        for _ in range(MAX_PAIRS):
            match = _PAIR.match(text, position)
            if match is None:
                break
            key, equals, quoted, bare = match.groups()
            # What is no escape of JSON's stays as it is written.
            fields[key] = _unquote(quoted) if quoted is not None else (bare or "") if equals else ""
            position = match.end()
        if _MARKS.isdisjoint(fields):
            raise DecodeError("logfmt has a level, a message or a time")
        time_ms, timed = adopt(fields, self._zone, record_ms)
        return Event(time_ms, fields, text, timed)


def _unquote(quoted: str) -> str:
    if "\\" not in quoted:
        return quoted
    try:
        value = orjson.loads(f'"{quoted}"')
    except orjson.JSONDecodeError:
        return quoted
    return value if type(value) is str else quoted
