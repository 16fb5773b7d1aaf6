"""Events: what a log record or a structlog entry becomes, in the form every stage understands.

Rendering never raises, whatever a service logs, and loses none of the caller's fields: one whose name
the event form needs for itself is kept under that name with an underscore behind it.
"""

from __future__ import annotations

import datetime as dt
import logging
import sys
import time
import uuid
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from producers.event.context import TRACING, add_trace, bound_values, caller, callsite_of, process
from producers.event.encoding import Encoder, Limits, in_utf8
from producers.event.exception import describe_exception, exception_of
from producers.event.masking import MASK
from producers.event.names import Source, names_of
from producers.event.objects import safe_text, text_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from producers.event.masking import Masking

__all__ = ["Capture", "RenderedEvent", "Renderer", "level_of", "method_level"]

# What the logging module itself puts on a record, in its order; all else came with `extra=`.
_IN_ORDER = list(logging.makeLogRecord({}).__dict__)
_LAST = len(_IN_ORDER) - 1
_STANDARD = frozenset(_IN_ORDER) | {"message", "asctime", "taskName"}
_LEVELS = {10: "debug", 20: "info", 30: "warning", 40: "error", 50: "critical"}
_METHOD_LEVELS = {
    "debug": "debug",
    "info": "info",
    "msg": "info",
    "warn": "warning",
    "warning": "warning",
    "err": "error",
    "error": "error",
    "exception": "error",
    "failure": "error",
    "critical": "critical",
    "fatal": "critical",
}
_GRAVE = frozenset({"error", "critical"})
# What structlog's processors put into an entry beside the message.
_OF_PROCESSORS = frozenset({"timestamp", "level", "logger", "exc_info", "stack"})
_NAME_LIMIT = 256
_STACK_LIMIT = 16_384
# A clock that was never set says less, and OpenTelemetry's number would begin with a zero.
_MIN_US = 1_000_000
_MAX_US = 253_402_300_799_999_999  # the last second of the year 9999, where datetime ends
# More than any dialect writes before the message.
_HEAD_BYTES = 128
# Loggers of which the end of the JSON is remembered.
_TAILS_KEPT = 1_024
_new = tuple.__new__


class RenderedEvent(NamedTuple):
    """One event, ready to travel.

    Attributes:
        value: the JSON, without a newline.
        key: the service's name: one service's events keep their order.
        time_ms: when it happened, milliseconds since the epoch.
        level: debug, info, warning, error or critical.
        trace: the trace that it belongs to; empty for not said.
    """

    value: bytes
    key: bytes
    time_ms: int
    level: str
    trace: str = ""


class Capture(NamedTuple):
    """What an event takes along unasked.

    Attributes:
        exceptions: of level error or above: the exception that is being handled, though the call didn't
            say `exc_info`.
        callsite: the line of code that logged it.
        locals: local variables of an exception's frames.
    """

    exceptions: bool = True
    callsite: bool = False
    locals: bool = False


def level_of(levelno: int) -> str:
    """Return the name of the standard level at or below a number of the logging module."""
    return _LEVELS.get(levelno) or _LEVELS[min(max(levelno // 10 * 10, 10), 50)]


def method_level(method: str) -> str:
    """Return the level that a method of structlog's loggers logs at."""
    return _METHOD_LEVELS.get(method, "info")


class Renderer:
    """Renders events of one service. What changes are memories alone, which threads share freely."""

    def __init__(
        self,
        *,
        service: str,
        environment: str,
        host: str,
        names: str = "tocsin",
        limits: Limits = Limits(),  # noqa: B008 - a tuple
        capture: Capture = Capture(),  # noqa: B008 - likewise
        masking: Masking | None = None,
    ) -> None:
        """State what every event has in common.

        Args:
            service: the service's name, unless an event brings its own.
            environment: where the service runs (`production`, …); empty for not said.
            host: the machine's name.
            names: the dialect: tocsin, ecs or otel.
            limits: how much of an event is sent.
            capture: what an event takes along unasked.
            masking: what is a secret; None to send everything as it is.

        Raises:
            ValueError: a dialect that there is not; a limit that is out of range.
        """
        limits.check()
        self._names = names_of(names)
        self._encoder = Encoder(limits, self._names.special)
        self._max_event_bytes = limits.max_event_bytes
        self._service = _short(service)
        self._environment = _short(environment)
        self._host = _short(host)
        self._capture = capture
        self._masking = masking
        # Of the second of the last event: what its JSON begins with, by level.
        self._heads: tuple[int, dict[str, tuple[bytes, bytes]]] = (-1, {})
        self._tails: dict[str, bytes] = {}
        self._pid = process.pid
        self.key = _key_of(service)

    def record(self, record: logging.LogRecord) -> RenderedEvent:
        """Render a record of the logging module."""
        fields = bound_values()
        attributes = record.__dict__
        # Its own come first: if the last of them is in its place, none before it is missing.
        names: Iterator[str] = islice(attributes, _LAST, None)
        if next(names, None) != _IN_ORDER[_LAST]:
            names = iter(attributes)
        for name in names:
            if name not in _STANDARD:
                fields[name] = attributes[name]
        if "color_message" in fields and record.name.startswith("uvicorn"):
            # The message once more, with the codes of a terminal.
            del fields["color_message"]
        event = _message(record, fields)
        level = _LEVELS.get(record.levelno) or level_of(record.levelno)
        exception: Mapping[str, object] | None = None
        if record.exc_info is None and record.exc_text:
            # QueueHandler has turned the exception into text already.
            exception = {"value": safe_text(record.exc_text, _STACK_LIMIT, str)}
        elif record.exc_info is not None or level in _GRAVE:
            exception = self._exception(record.exc_info, level)
        if record.stack_info:
            fields.setdefault("stack_info", safe_text(record.stack_info, _STACK_LIMIT, str))
        callsite = callsite_of(record) if self._capture.callsite else None
        created = record.created * 1e6
        time_us = round(created) if _MIN_US <= created <= _MAX_US else _now_us()  # NaN as well
        return self._render(time_us, level, event, record.name, fields, exception, callsite)

    def entry(self, logger: str, method: str, entry: Mapping[str, object]) -> RenderedEvent:
        """Render an entry of structlog.

        Args:
            logger: the logger's name; may be empty.
            method: the name of the method that was called; the level, unless the entry says it.
            entry: the event dictionary after the processors.
        """
        fields = dict(entry)
        level = _METHOD_LEVELS.get(method, "info")
        exc_info: object = None
        time_us = -1
        if not _OF_PROCESSORS.isdisjoint(fields):
            # A word of a processor's; anything else is the caller's own, and stays.
            stated = fields.get("level")
            if type(stated) is str and stated.lower() in _METHOD_LEVELS:
                level = _METHOD_LEVELS[stated.lower()]
                del fields["level"]
            if type(fields.get("logger")) is str:
                logger = str(fields.pop("logger"))
            exc_info = fields.pop("exc_info", None)
            stack = fields.pop("stack", None)
            if stack is not None:
                fields.setdefault("stack_info", safe_text(stack, _STACK_LIMIT, str))
            time_us = _microseconds_of(fields.get("timestamp"))
            if time_us >= 0:
                del fields["timestamp"]
        event = fields.pop("event", "")
        if type(event) is not str:
            event = safe_text(event, _STACK_LIMIT, str)
        exception = None
        if exc_info is not None or level in _GRAVE:
            exception = self._exception(exc_info, level)
        callsite = caller() if self._capture.callsite else None
        return self._render(
            time_us if time_us >= 0 else _now_us(), level, event, logger, fields, exception, callsite
        )

    def foreign(self, event: str | bytes, level: str) -> RenderedEvent:
        """Return an event that another renderer rendered; it travels as it is, but for its secrets."""
        value = event.encode("utf-8", "backslashreplace") if isinstance(event, str) else bytes(event)
        if self._masking is not None:
            value = self._masking.document(value)
        return RenderedEvent(value, self.key, time.time_ns() // 1_000_000, level)

    def notice(self, dropped: Mapping[str, int]) -> RenderedEvent:
        """Render the event that says how many were dropped, by level."""
        total = sum(dropped.values())
        fields: dict[str, object] = {"dropped": total, "dropped_by_level": dict(dropped)}
        message = f"{total} records were dropped"
        return self._render(_now_us(), "warning", message, "producers", fields, None, None)

    def goodbye(self) -> RenderedEvent:
        """Render the event that says that no more will come; the worker knows it by logger and text."""
        return self._render(_now_us(), "debug", "logging ends", "producers", {}, None, None)

    def _exception(self, exc_info: object, level: str) -> Mapping[str, object] | None:
        if exc_info is None and self._capture.exceptions and level in _GRAVE:
            exc_info = True
        error = exception_of(exc_info)
        if error is None:
            return None
        return describe_exception(error, self._conceals if self._capture.locals else None)

    def _conceals(self, name: str) -> str | None:
        return MASK if self._masking is not None and self._masking.is_secret(name) else None

    def _render(
        self,
        time_us: int,
        level: str,
        event: str,
        logger: str,
        fields: dict[str, object],
        exception: Mapping[str, object] | None,
        callsite: Mapping[str, object] | None,
    ) -> RenderedEvent:
        if type(logger) is not str:
            logger = safe_text(logger, _NAME_LIMIT, str)
        if TRACING in sys.modules:
            add_trace(fields)
        names = self._names
        trace = fields.get("trace_id", "")
        key, service = self.key, None
        if names.special.isdisjoint(fields):
            body = {names.message: event, **fields}
            tail = self._tails.get(logger) if self._pid == process.pid else None
            if tail is None:
                tail = self._tail(logger)
        else:
            # What is no text, or none that says anything, is a field like others.
            service = text_of(fields.get("service")) or None
            if service is not None:
                key = _key_of(service)
                del fields["service"]
            body = {names.message: event, **names.placed(fields)}
            tail = names.tail(self._source(logger, service, body))
        own = None
        if exception is not None or callsite is not None:
            own = names.added(exception, callsite, body)
        second, micros = divmod(time_us, 1_000_000)
        known, heads = self._heads
        if second != known:
            iso = dt.datetime.fromtimestamp(second, dt.UTC).isoformat()[:-6]
            heads = {each: names.head(second, iso, each) for each in _LEVELS.values()}
            # At once, so that no other thread takes the heads of another second.
            self._heads = (second, heads)
        before, after = heads[level]
        room = self._max_event_bytes - _HEAD_BYTES - len(tail)
        encoded, words, texts = self._encoder.encode(body, own, room)
        masking = self._masking
        if masking is not None and masking.suspects(words, texts):
            encoded = self._encoder.again(masking.masked(encoded), room)
        if type(trace) is not str:
            shown = isinstance(trace, int | uuid.UUID)
            trace = text_of(trace) or (safe_text(trace, _NAME_LIMIT, str) if shown else "")
        value = b"%b%06d%b%b%b" % (before, micros, after, names.inner(encoded), tail)
        # In half the time that the class itself takes.
        return _new(RenderedEvent, (value, key, time_us // 1000, level, trace))

    def _tail(self, logger: str) -> bytes:
        """Return the end of the JSON of events of this service, and remember it."""
        if self._pid != process.pid or len(self._tails) >= _TAILS_KEPT:
            # A new one: another thread may be about to look into the old one.
            self._pid, self._tails = process.pid, {}
        tail = self._names.tail(self._source(logger, None, {}))
        self._tails[logger] = tail
        return tail

    def _source(self, logger: object, service: str | None, body: Mapping[str, object]) -> Source:
        return Source(
            _short(logger),
            self._service if service is None else _short(service),
            None if self._names.environment in body else self._environment,
            None if self._names.host in body else self._host,
            process.pid,
        )


def _key_of(service: str) -> bytes:
    return service[:_NAME_LIMIT].encode("utf-8", "backslashreplace")


def _short(name: object) -> str:
    """Return a name as text that is not too long for what each event has."""
    return in_utf8(safe_text(name, _NAME_LIMIT, str))


def _now_us() -> int:
    return time.time_ns() // 1000


def _message(record: logging.LogRecord, fields: dict[str, object]) -> str:
    """Return a record's message; what comes with it goes into the fields."""
    try:
        if type(record.msg) is not dict or record.args:
            return record.getMessage()
        # structlog over the logging module (`ProcessorFormatter.wrap_for_formatter`), or its like.
        fields.pop("_logger", None)
        fields.pop("_name", None)
        fields.update((k, v) for k, v in record.msg.items() if k not in {"level", "logger", "timestamp"})
        event = fields.pop("event", "")
        return event if type(event) is str else safe_text(event, _STACK_LIMIT, str)
    except Exception:  # noqa: BLE001 - wrong arguments, or an argument whose __str__ raises anything
        fields["args_" if "args" in fields else "args"] = safe_text(record.args)
        return safe_text(record.msg, _STACK_LIMIT, str)


def _microseconds_of(timestamp: object) -> int:
    """Return microseconds since the epoch of what a processor put into `timestamp`, or -1."""
    try:
        match timestamp:
            case bool() | None:
                return -1
            case int() | float():
                seconds = float(timestamp)
            case dt.datetime():
                seconds = timestamp.timestamp()
            case str():
                seconds = dt.datetime.fromisoformat(timestamp).timestamp()
            case _:
                return -1
        time_us = round(seconds * 1e6)
    except Exception:  # noqa: BLE001 - no time, or a time zone of the service's own
        return -1
    return time_us if _MIN_US <= time_us <= _MAX_US else -1
