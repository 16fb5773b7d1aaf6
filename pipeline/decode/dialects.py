"""Dialects: the names that others use for the fields every event shares, and their adoption.

ECS, OpenTelemetry's log data model, pino and bunyan, python-json-logger, logrus and zap, Google and Docker
each name the same things differently. `adopt` adds the canonical names; the original ones stay. Where ECS has
an object under a canonical name (`service: {name: …}`), the object moves to dotted names (`service.name`), by
which rules find it as before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.decode import levels, stacktrace, timestamps
from pipeline.decode.fields import CANONICAL

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterator, Mapping

__all__ = ["FOREIGN", "adopt"]

# Canonical name → where else it may stand, first found first. A dot also means nesting.
_SOURCES: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("event", ("message", "msg", "Body", "body", "textPayload", "log")),
    ("logger", ("log.logger", "logger_name", "loggerName", "InstrumentationScope.name", "scope.name")),
    ("service", ("service.name",)),
    (
        "environment",
        ("service.environment", "deployment.environment.name", "deployment.environment"),
    ),
    ("host", ("host.name", "host.hostname", "hostname")),
    ("pid", ("process.pid", "process")),
    ("trace_id", ("trace.id", "TraceId", "traceId")),
    ("span_id", ("span.id", "SpanId", "spanId")),
)
_LEVELS = ("log.level", "SeverityText", "severityText", "severity", "levelname", "lvl")
_NUMBERS = ("SeverityNumber", "severityNumber")
_TIMES = (
    "@timestamp",
    "Timestamp",
    "timeUnixNano",
    "time",
    "ts",
    "asctime",
    "observedTimeUnixNano",
    "ObservedTimestamp",
)
_ERRORS = (  # type, message, stack
    ("error.type", "error.message", "error.stack_trace"),
    ("exception.type", "exception.message", "exception.stacktrace"),
    ("err.type", "err.message", "err.stack"),
    ("exc_type", "exc_value", "exc_info"),
)
# What tells OpenTelemetry's model from an event that has `attributes` of its own.
_OTEL = frozenset(
    {
        "InstrumentationScope",
        "ObservedTimestamp",
        "Resource",
        "SeverityNumber",
        "SeverityText",
        "Timestamp",
        "observedTimeUnixNano",
        "severityNumber",
        "severityText",
        "timeUnixNano",
    }
)
_ATTRIBUTES = (
    "Attributes",
    "attributes",
    "Resource.attributes",
    "Resource",
    "resource.attributes",
    "resource",
)
_MAX_DEPTH = 32

_HEADS = frozenset(
    name.partition(".")[0]
    for names in (*(s for _, s in _SOURCES), _LEVELS, _NUMBERS, _TIMES, *_ERRORS)
    for name in names
)
FOREIGN: frozenset[str] = (
    _HEADS - CANONICAL
    | {name for names in (*(s for _, s in _SOURCES), _LEVELS, *_ERRORS) for name in names if "." in name}
    | _OTEL
)
"""Top-level names that make `adopt` necessary; an event with none of them has only canonical ones."""


def adopt(fields: dict[str, object], zone: dt.tzinfo, record_ms: int) -> tuple[int, bool]:
    """Add the canonical names to an event of any dialect, and say when it happened.

    Args:
        fields: the event, changed in place.
        zone: what times without an offset are in.
        record_ms: the record's own time, milliseconds since the epoch.

    Returns:
        The event's time in milliseconds since the epoch, and whether it is the event's own.
    """
    if not _OTEL.isdisjoint(fields):
        _promote(fields)
    for name, sources in _SOURCES:
        present = fields.get(name)
        if present is None or (type(present) is dict and name != "pid"):
            for source in sources:
                value = _plain(_find(fields, source))
                if type(value) is str or (name == "pid" and type(value) is int):
                    if type(present) is dict:
                        _dot(fields, name, present)
                    fields[name] = value
                    break
    _adopt_name(fields)
    _adopt_level(fields)
    _adopt_exception(fields)
    return _adopt_time(fields, zone, record_ms)


def _find(fields: Mapping[str, object], name: str) -> object:
    """Return the value of a dotted name; at each step a literal key with the dots in it wins."""
    value = fields.get(name)
    if value is None and "." in name:
        head, _, rest = name.partition(".")
        inner = fields.get(head)
        if type(inner) is dict:
            return _find(inner, rest)
    return value


def _dot(fields: dict[str, object], name: str, inner: dict[str, object]) -> None:
    """Set the leaves of an object as dotted names of the event."""
    waiting = [(f"{name}.{key}", value, 1) for key, value in inner.items()]
    while waiting:
        path, value, depth = waiting.pop()
        if type(value) is dict and value and depth < _MAX_DEPTH:
            waiting.extend((f"{path}.{key}", deeper, depth + 1) for key, deeper in value.items())
        else:
            fields.setdefault(path, value)


def _adopt_name(fields: dict[str, object]) -> None:
    # `name` is a logger's only beside what those libraries write; elsewhere it is anybody's name.
    if "logger" not in fields and type(name := fields.get("name")) is str:
        numbered = type(fields.get("level")) is int and "msg" in fields
        if numbered or "levelname" in fields or "asctime" in fields:
            fields["logger"] = name


def _adopt_level(fields: dict[str, object]) -> None:
    present = fields.get("level")
    level = levels.canonical(present)
    if level is None:
        written = [value for source in _LEVELS if type(value := _find(fields, source)) is str]
        known = [found for value in written if (found := levels.canonical(value))]
        known += [found for source in _NUMBERS if (found := levels.of_otel_number(fields.get(source)))]
        if known:
            level = known[0]
        elif present is None and written:
            level = written[0]
    if level is not None:
        fields["level"] = level


def _adopt_exception(fields: dict[str, object]) -> None:
    if fields.get("exception") is not None:
        return
    for kind_at, message_at, stack_at in _ERRORS:
        kind, message, stack = (_find(fields, source) for source in (kind_at, message_at, stack_at))
        parsed = stacktrace.parse(stack) if type(stack) is str else None
        if type(kind) is str or parsed is not None:
            told = parsed or {"type": "", "value": "", "frames": []}
            if type(kind) is str:
                told["type"] = kind
            if type(message) is str:
                told["value"] = message
            fields["exception"] = told
            return


def _adopt_time(fields: dict[str, object], zone: dt.tzinfo, record_ms: int) -> tuple[int, bool]:
    present = fields.get("timestamp")
    found = timestamps.of_value(present, zone)
    for source in _TIMES:
        if found is not None:
            break
        found = timestamps.of_value(fields.get(source), zone)
    time_ms, timed = timestamps.settle(found, record_ms)
    if timed and present is None:
        fields["timestamp"] = timestamps.rfc3339(time_ms)
    return time_ms, timed


def _promote(fields: dict[str, object]) -> None:
    """Give OpenTelemetry's attributes, the event's before the resource's, the rank of fields."""
    for source in _ATTRIBUTES:
        for name, value in list(_attributes(_find(fields, source))):
            # A bare name that has a meaning of its own at the top must not gain it from below.
            if "." in name or (name not in CANONICAL and name not in _HEADS):
                fields.setdefault(name, value)


def _attributes(value: object) -> Iterator[tuple[str, object]]:
    """Yield attributes of either form: a map, or OTLP's list of `{key, value: {stringValue: …}}`."""
    if type(value) is dict:
        yield from ((name, inner) for name, inner in value.items() if name != "attributes")
    elif type(value) is list:
        for entry in value:
            if type(entry) is dict and type(key := entry.get("key")) is str:
                yield key, _plain(entry.get("value"))


def _plain(value: object, depth: int = 0) -> object:
    """Return what an OTLP AnyValue holds; any other value is returned as it is."""
    if type(value) is not dict or len(value) != 1 or depth == _MAX_DEPTH:
        return value
    ((kind, inner),) = value.items()
    match kind:
        case "stringValue" | "boolValue" | "doubleValue" | "bytesValue":
            return inner
        case "intValue":
            # 64-bit integers are strings in protobuf's JSON.
            digits = type(inner) is str and inner.isascii() and inner.isdecimal() and len(inner) < 20
            return int(inner) if digits else inner
        case "arrayValue" if type(inner) is dict and type(items := inner.get("values")) is list:
            return [_plain(item, depth + 1) for item in items]
        case "kvlistValue" if type(inner) is dict and type(items := inner.get("values")) is list:
            return {
                key: _plain(item.get("value"), depth + 1)
                for item in items
                if type(item) is dict and type(key := item.get("key")) is str
            }
        case _:
            return value
