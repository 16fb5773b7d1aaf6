"""Evidence: which log lines a message shows, and how each is written.

A line is shown as it was logged, masked, made inert and bounded. A JSON object is written as a person
would have logged it: time, level and message first, the rest as `key=value`.
"""

from __future__ import annotations

import itertools
import re
from typing import TYPE_CHECKING

import orjson

from consumers.receivers.mask import mask
from consumers.receivers.visible import visible

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pipeline.alert import Alert, Sample

__all__ = ["evidence", "written"]

# Enough for a traceback; what is cut off here is never looked at, however long a line is.
_READ_CHARACTERS = 8_192
_SHOWN_CHARACTERS = 1_500
_SHOWN_LINES = 12
_HEAD_LINES = 3
_CANDIDATES = 200

_DIGITS = re.compile(r"\d+")
_TIME_KEYS = ("timestamp", "@timestamp", "time", "ts")
_LEVEL_KEYS = ("level", "log.level", "severity", "severity_text", "levelname")
_TEXT_KEYS = ("event", "message", "msg", "body")
# What the message says of the alert as a whole, or nobody reads in a line.
_LEFT_OUT = frozenset({"environment", "host", "pid"})
# How Windows keeps its own books.
_OF_WINDOWS = frozenset(
    {
        *("Computer", "Correlation_ActivityID", "EventRecordID", "Execution_ProcessID", "Execution_ThreadID"),
        *("Keywords", "Level", "LogonGuid", "Opcode", "ParentProcessGuid", "ProcessGuid", "Provider_Guid"),
        *("Provider_Name", "Security_UserID", "Task", "TimeCreated_SystemTime", "UtcTime", "Version"),
    }
)


def evidence(alerts: Sequence[Alert], limit: int) -> tuple[str, ...]:
    """Choose and write the lines that tell most, in the order they happened.

    The newest line of each alert comes first, then the one before it, and so on. Lines that differ in
    digits only say the same, so they are taken only when there are no others.

    Args:
        alerts: whose samples to choose from.
        limit: lines at most.
    """
    alike: list[Sample] = []
    chosen: list[Sample] = []
    shapes: set[str] = set()
    texts: set[str] = set()
    for sample in itertools.islice(_newest_of_each(alerts), _CANDIDATES):
        text = sample.text[:_READ_CHARACTERS].strip()
        if not text or text in texts:
            continue
        texts.add(text)
        shape = _DIGITS.sub("0", text[:500])
        (alike if shape in shapes else chosen).append(sample)
        shapes.add(shape)
    chosen = (chosen + alike)[:limit]
    return tuple(written(sample.text) for sample in sorted(chosen, key=lambda s: (s.at, s.origin)))


def written(text: str) -> str:
    """Return one log line as it is shown: secrets masked, nothing active, bounded in lines and length."""
    text = text[:_READ_CHARACTERS].strip()
    text = visible(mask(_from_json(text) or text))
    lines = text.split("\n")
    if len(lines) > _SHOWN_LINES:
        # What failed stands at the end of a traceback, what was logged at its beginning.
        tail = lines[_HEAD_LINES + 1 - _SHOWN_LINES :]
        lines = [*lines[:_HEAD_LINES], f"… {len(lines) - _HEAD_LINES - len(tail)} lines …", *tail]
    text = "\n".join(lines)
    if len(text) > _SHOWN_CHARACTERS:
        text = text[: _SHOWN_CHARACTERS - 1] + "…"
    return text


def _newest_of_each(alerts: Sequence[Alert]) -> Iterator[Sample]:
    """Yield the newest sample of every alert, then the second newest of every alert, and so on."""
    columns = [
        sorted(alert.samples, key=lambda sample: (sample.at, sample.origin), reverse=True)
        for alert in alerts[:_CANDIDATES]
    ]
    for row in itertools.zip_longest(*columns):
        yield from (sample for sample in row if sample is not None)


def _from_json(text: str) -> str | None:
    """Return a JSON object as a line of log, or None when `text` is not one with a message."""
    if not text.startswith("{"):
        return None
    try:
        document = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    rest: dict[str, object] = dict(document)
    at, level, said = (_pop_text(rest, keys) for keys in (_TIME_KEYS, _LEVEL_KEYS, _TEXT_KEYS))
    left_out = _LEFT_OUT
    if not said and (number := rest.pop("EventID", None)) is not None:
        # Windows names its events by a number; what matters is in the fields that are its own.
        said = f"{_pop_text(rest, ('Channel', 'Provider_Name'))} {number}".strip()
        left_out = _LEFT_OUT | _OF_WINDOWS
    if not said:
        return None
    nothing = ("", None, "-")
    shown = {key: value for key, value in rest.items() if key not in left_out and value not in nothing}
    words = [at, level.upper(), said, *(f"{key}={_value(value)}" for key, value in shown.items())]
    return " ".join(word for word in words if word)


def _pop_text(fields: dict[str, object], keys: tuple[str, ...]) -> str:
    """Take the first of `keys` that holds text out of `fields`."""
    for key in keys:
        if isinstance(value := fields.get(key), str) and value:
            del fields[key]
            return value
    return ""


def _value(value: object) -> str:
    """Return a value as it stands after `key=`: in quotes where a blank would end it."""
    if isinstance(value, str) and value and not any(c.isspace() or c == '"' for c in value):
        return value
    if isinstance(value, dict) and isinstance(value.get("type"), str) and "value" in value:
        return _exception(value)
    return orjson.dumps(value).decode()


def _exception(exception: dict[str, object]) -> str:
    """Return an exception as its last line says it, and where it was raised."""
    text = f"{exception['type']}: {exception['value']}"
    frames = exception.get("frames")
    if isinstance(frames, list) and frames and isinstance(last := frames[-1], dict):
        text += f" ({last.get('file')}:{last.get('line')} in {last.get('function')})"
    return orjson.dumps(text).decode()
