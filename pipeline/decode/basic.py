"""Basic: what `logging.basicConfig` and its many relatives write, tracebacks included.

A line is a time, a level, perhaps a logger and a process, and a message, parted by dashes, bars, brackets or
spaces; the level is what every one of them has. Lines with a level only (`LEVEL:name:message`, uvicorn's
`INFO:     message`) count as well. Understood besides: loguru, Flask, gunicorn, Celery, OpenStack's oslo.log
with or without a file's name in front, nginx's error log.
"""

from __future__ import annotations

import datetime as dt
import re

from pipeline.decode import levels, stacktrace, timestamps
from pipeline.errors import DecodeError
from pipeline.event import Event

__all__ = ["BasicDecoder"]

# Longest first, so that no spelling hides one that it begins.
_LOWER = "|".join(sorted(levels.SPELLINGS, key=len, reverse=True))
_UPPER = _LOWER.upper()

_FILE = re.compile(r"[\w./-][^\s\[]{0,253}[^\s\[:] (?=\[?\d{4}[-/])")

# After the time. In capitals a level may stand bare; otherwise brackets or a separator must mark it.
_HEAD = re.compile(
    rf"""
    \]?[ ]{{0,8}}(?:[-|,:;][ ]{{1,8}})?
    (?:\[?(?P<pid>\d{{1,10}})\]?[ ]{{1,8}}(?:[-|][ ]{{1,8}})?)?
    (?:\[(?!(?i:{_LOWER})\])[^\]\n]{{1,128}}\][ ]{{1,8}}(?:[-|][ ]{{1,8}})?)?
    (?:(?!(?:{_UPPER})(?!\w))(?P<name>[^\s\[\]|]{{1,256}})[ ]{{1,40}}(?:[-|][ ]{{1,8}})?)?
    (?:
        [\[<(][ ]{{0,8}}(?P<boxed>(?i:{_LOWER}))[ ]{{0,8}}[\]>)]
      | (?P<bare>{_UPPER}|(?i:{_LOWER})(?=[ ]{{0,16}}[-|][ ]|:))(?!\w)
    )
    (?:/[\w:-]{{1,128}})?\]?
    (?:[ ]{{0,16}}[-|][ ]{{1,8}}|:[ ]{{0,16}}|[ ]{{1,16}}|(?=\n)|$)
    """,
    re.VERBOSE | re.ASCII,
)
# Of the logger, where it follows the level.
_LOGGER = re.compile(
    r"""
    (?P<module>[\w.<>]{1,256}):(?P<function>[\w.<>]{1,256}):(?P<line>\d{1,7})[ ]-[ ]
  | \[(?P<boxed>[A-Za-z_][\w.]{0,255})\]:?[ ]
  | in[ ](?P<flask>[A-Za-z_][\w.]{0,255}):[ ]
  | (?P<marked>[a-z_][\w.]{0,255}):[ ]
  | (?P<dotted>[A-Za-z_]\w{0,63}(?:\.\w{1,64}){1,20})(?:[ ]-)?[ ]
    """,
    re.VERBOSE | re.ASCII,
)
# oslo.log: request, user, project, domain and so on.
_CONTEXT = re.compile(r"\[(?P<request>req-[\w-]{1,64}|-)(?: [\w-]{1,64}){0,8} ?\] ?", re.ASCII)

_UNTIMED = re.compile(
    rf"(?:(?P<level>{_UPPER})(?::(?P<name>[^\s:][^:\n]{{0,255}}):|:[ ]{{1,16}}|[ ]{{1,8}}-[ ])"
    rf"|\[(?P<boxed>{_UPPER})\]:?[ ])",
    re.ASCII,
)
_START = re.compile(
    rb"(?:[\w./-][^\s\[]{0,253}[^\s\[:] )?\[?\d{4}[-/]\d\d[-/]\d\d[T ]\d\d:\d\d|(?:"
    + _UPPER.encode()
    + rb")(?::| {1,8}- )|\[(?:"
    + _UPPER.encode()
    + rb")\]:? "
)


class BasicDecoder:
    """Text lines with a level, of which the following lines (a traceback) are part.

    Args:
        zone: what times without an offset are in; `%(asctime)s` is local time.
    """

    name = "basic"

    def __init__(self, zone: dt.tzinfo = dt.UTC) -> None:
        self._zone = zone

    def starts(self, line: bytes) -> bool:
        """Whether the line begins with a time, or with a level in capitals and its separator."""
        return _START.match(line) is not None

    def decode(self, raw: bytes, record_ms: int) -> Event:
        """Decode one event; `event` is its message, and `exception` what its traceback tells.

        Raises:
            DecodeError: it has no level where one is expected.
        """
        text = raw.decode("utf-8", "replace")
        fields: dict[str, object] = {}
        start = 1 if text[:1] == "[" else 0
        found = timestamps.leading(text, self._zone, start)
        if found is None and (file := _FILE.match(text)) is not None:
            start = file.end() + (text[file.end()] == "[")
            found = timestamps.leading(text, self._zone, start)
            if found is not None:
                fields["file"] = file.group()[:-1]
        ms, end = found or (None, 0)
        match = _UNTIMED.match(text) if found is None else _HEAD.match(text, end)
        if match is None:
            raise DecodeError("no level where a text log has it")
        parts = match.groupdict()
        level = levels.canonical(parts["boxed"] or parts.get("bare") or parts.get("level"))
        if level is None:
            raise DecodeError("no level where a text log has it")
        fields["level"] = level
        time_ms, timed = timestamps.settle(ms, record_ms)
        if timed:
            fields["timestamp"] = timestamps.rfc3339(time_ms)
        if parts.get("pid"):
            fields["pid"] = int(parts["pid"])
        if parts["name"]:
            fields["logger"] = parts["name"]
        _message(fields, text, match.end())
        return Event(time_ms, fields, text, timed)


def _message(fields: dict[str, object], text: str, start: int) -> None:
    """Take logger, request and exception out of what follows the level."""
    if "logger" not in fields and (match := _LOGGER.match(text, start)) is not None:
        parts = match.groupdict()
        kind = match.lastgroup
        if kind == "line":
            fields["logger"], fields["function"] = parts["module"], parts["function"]
            fields["line"] = int(parts["line"])
        elif kind is not None:
            fields["logger"] = parts[kind]
        start = match.end()
    context = _CONTEXT.match(text, start)
    if context is not None:
        if context["request"] != "-":
            fields["request_id"] = context["request"]
        start = context.end()
    end = text.find("\n", start)
    if end >= 0:
        exception = stacktrace.parse(text[end:])
        if exception is not None:
            fields["exception"] = exception
            end = _header(text, end)
        else:
            end = -1
    fields["event"] = text[start:] if end < 0 else text[start:end]


def _header(text: str, end: int) -> int:
    """Return where the message ends: before the line of the first traceback's header."""
    return max(text.rfind("\n", 0, text.find(stacktrace.HEADER, end)), end)
