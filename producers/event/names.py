"""The names an event's parts go by: ours, those of the Elastic Common Schema, OpenTelemetry's.

Whatever the names, an event is a head (time and level), a body (the message, what the caller logged, what we
add to it) and a tail (who logged it). The body is flat, so that limits and masking are the same for all.

ECS: https://www.elastic.co/docs/reference/ecs; the order is that of `spec/spec.json` in elastic/ecs-logging.
OpenTelemetry: "Logs Data Model" of the specification, and its semantic conventions for exceptions and code.
"""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING, Final, NamedTuple

import orjson

from producers.event.stack import stack_text

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    _Described = Mapping[str, object] | None

__all__ = ["NAMES", "Names", "Source", "names_of"]

# Ours in every dialect, so that an event means the same in each. So are `environment` and `host`, where the
# caller's word goes before ours.
_CANONICAL = frozenset({"timestamp", "level", "event", "logger", "service", "pid"})
_CALLERS_WIN = frozenset({"environment", "host"})
_ADDED = frozenset({"exception", "callsite", "truncated"})
_TRACE = frozenset({"trace_id", "span_id"})
# In this order: OpenTelemetry's ids stand beside the message.
_FIRST = ("trace_id", "span_id", "environment", "host")
# Of both other dialects, since whoever reads the one may know the other.
_RESERVED = _CANONICAL | {
    *("@timestamp", "ecs.version", "log.level", "log.logger", "message", "process.pid", "service.name"),
    *("Body", "SeverityNumber", "SeverityText", "SpanId", "Timestamp", "TraceId"),
}
# A text in JSON. Nothing in here is tried twice.
_TEXT = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'


class Source(NamedTuple):
    """Who logged. None where the caller says it, and the event has it elsewhere."""

    logger: str
    service: str
    environment: str | None
    host: str | None
    pid: int


class Names:
    """Our own names; the base of the other dialects.

    Attributes:
        message: the name of the message.
        environment: that of the environment, where the caller says it.
        host: likewise that of the host.
        special: names that need a look; the caller's fields stay as they are if none has one.
        reserved: names that no field of the caller's may have.
    """

    message = "event"
    environment = "environment"
    host = "host"
    special = _CANONICAL | _CALLERS_WIN | _ADDED
    reserved = _CANONICAL

    def head(self, second: int, iso: str, level: str) -> tuple[bytes, bytes]:
        """Return the beginning of the JSON: what comes before the six digits of microseconds, and after.

        Args:
            second: the time's second since the epoch.
            iso: the same in UTC, as ISO 8601 without an offset.
            level: one of the five of events.
        """
        del second
        return f'{{"timestamp":"{iso}.'.encode(), f'Z","level":"{level}",'.encode()

    def placed(self, fields: Mapping[str, object]) -> dict[str, object]:
        """Return the caller's fields under names that are free; one that is not gets an underscore."""
        placed: dict[str, object] = {}
        # Those first that take the place of ours, so that they are not cut.
        first = [name for name in _FIRST if name in fields]
        for name in dict.fromkeys([*first, *fields]):
            value = fields[name]
            own = self.own_name(name, value)
            while own in placed or (own is not name and own in fields):
                own += "_"
            placed[own] = value
        return placed

    def own_name(self, name: str, value: object) -> str:
        """Return the name of one of the caller's fields."""
        del value
        return name + "_" if name in self.reserved else name

    def added(
        self,
        exception: Mapping[str, object] | None,
        callsite: Mapping[str, object] | None,
        taken: Collection[str],
    ) -> dict[str, object]:
        """Return what we add ourselves, but for what the caller has said already."""
        added: dict[str, object] = {}
        if exception is not None and "exception" not in taken:
            added["exception"] = exception
        if callsite is not None and "callsite" not in taken:
            added["callsite"] = callsite
        return added

    def tail(self, source: Source) -> bytes:
        """Return the end of the JSON, from a comma on."""
        return b"," + orjson.dumps({n: v for n, v in source._asdict().items() if v is not None})[1:]

    def inner(self, body: bytes) -> bytes:
        """Return the inside of the JSON, between head and tail.

        Args:
            body: an object that begins with the message.
        """
        return body[1:-1]


class _Flat(Names):
    """Dialects whose fields have other names, all texts and numbers."""

    _renamed: Mapping[str, str]
    _error: tuple[str, str, str]
    _code: tuple[str, str, str]

    def own_name(self, name: str, value: object) -> str:
        if type(value) is str:
            if type(name) is str and name == "exception":
                # A traceback that a processor of structlog's has made a text of.
                return self._error[2]
            if name in self._renamed:
                return self._renamed[name]
        return name + "_" if name in self.reserved else name

    def added(
        self,
        exception: Mapping[str, object] | None,
        callsite: Mapping[str, object] | None,
        taken: Collection[str],
    ) -> dict[str, object]:
        added: dict[str, object] = {}
        if exception is not None and "exception" not in taken:
            kind, value = exception.get("type"), exception["value"]
            # Without a type it is a traceback that somebody else has made a text of.
            told = (kind, value, stack_text(exception)) if kind is not None else (None, None, value)
            added.update((n, v) for n, v in zip(self._error, told, strict=True) if v is not None)
        if callsite is not None:
            added.update(zip(self._code, callsite.values(), strict=True))
        return {name: value for name, value in added.items() if name not in taken}


class _Ecs(_Flat):
    """The Elastic Common Schema, version 8.11, in dotted names."""

    message = "message"
    environment = "service.environment"
    host = "host.name"
    _renamed = {  # noqa: RUF012 - never changed
        "trace_id": "trace.id",
        "span_id": "span.id",
        "environment": environment,
        "host": host,
    }
    _error = ("error.type", "error.message", "error.stack_trace")
    _code = ("log.origin.file.name", "log.origin.file.line", "log.origin.function")
    # Elasticsearch refuses an event in which one of these is no object.
    _objects = frozenset({"ecs", "error", "host", "log", "process", "service", "span", "trace"})
    reserved = _RESERVED
    special = Names.special | _TRACE | reserved | _objects | set(_error) | set(_code) | set(_renamed.values())

    def head(self, second: int, iso: str, level: str) -> tuple[bytes, bytes]:
        del second
        return f'{{"@timestamp":"{iso}.'.encode(), f'Z","log.level":"{level}",'.encode()

    def own_name(self, name: str, value: object) -> str:
        own = super().own_name(name, value)
        return own + "_" if own in self._objects and type(value) is not dict else own

    def tail(self, source: Source) -> bytes:
        told: dict[str, object] = {
            "ecs.version": "8.11.0",
            "log.logger": source.logger,
            "service.name": source.service,
            "service.environment": source.environment,
            "host.name": source.host,
            "process.pid": source.pid,
        }
        return b"," + orjson.dumps({n: v for n, v in told.items() if v not in {None, ""}})[1:]


class _Otel(_Flat):
    """OpenTelemetry's log data model: the caller's fields are attributes."""

    message = "Body"
    environment = "deployment.environment.name"
    host = "host.name"
    _renamed = {  # noqa: RUF012 - never changed
        "trace_id": "TraceId",
        "span_id": "SpanId",
        "environment": environment,
        "host": host,
    }
    _error = ("exception.type", "exception.message", "exception.stacktrace")
    _code = ("code.file.path", "code.line.number", "code.function.name")
    _severities = {"debug": 5, "info": 9, "warning": 13, "error": 17, "critical": 21}  # noqa: RUF012 - as above
    reserved = _RESERVED
    special = Names.special | _TRACE | reserved | set(_error) | set(_code) | set(_renamed.values())
    # The message and the ids, which come first, then the attributes.
    _body = re.compile(rb'\{"Body":' + _TEXT + rb'(?:,"(?:TraceId|SpanId)":' + _TEXT + rb")*+")

    def head(self, second: int, iso: str, level: str) -> tuple[bytes, bytes]:
        del iso
        number = self._severities[level]
        return (
            f'{{"Timestamp":{second}'.encode(),
            f'000,"SeverityText":"{level}","SeverityNumber":{number},'.encode(),
        )

    def tail(self, source: Source) -> bytes:
        told: dict[str, object] = {
            "service.name": source.service,
            "deployment.environment.name": source.environment,
            "host.name": source.host,
            "process.pid": source.pid,
        }
        resource = {name: value for name, value in told.items() if value not in {None, ""}}
        end: dict[str, object] = {"InstrumentationScope": {"name": source.logger}} if source.logger else {}
        return b"," + orjson.dumps({**end, "Resource": resource})[1:]

    def inner(self, body: bytes) -> bytes:
        own = self._body.match(body)
        end = own.end() if own is not None else 1
        attributes = body[end + 1 :]
        return body[1:end] + b',"Attributes":{' + attributes if len(attributes) > 1 else body[1:end]


NAMES: Final[Mapping[str, Names]] = {"tocsin": Names(), "ecs": _Ecs(), "otel": _Otel()}
"""The dialects by their name in the options."""


def names_of(dialect: str) -> Names:
    """Return the names of a dialect.

    Raises:
        ValueError: there is none of that name.
    """
    names = NAMES.get(dialect)
    if names is None:
        near = difflib.get_close_matches(str(dialect), NAMES, 1)
        meant = f"; is {near[0]} meant?" if near else f"; valid: {', '.join(NAMES)}"
        raise ValueError(f"names {dialect!r} is unknown{meant}")
    return names
