"""Events: what a log record or a structlog entry becomes, in the form every stage understands.

Rendering never raises, whatever a service logs, and loses none of the caller's fields: one whose name
the event form needs for itself is kept under that name with an underscore behind it.
"""

from __future__ import annotations

import datetime as dt
import logging
import os
import sys
import time
from typing import TYPE_CHECKING, NamedTuple

from producers.event.encoding import MIN_EVENT_BYTES, encode, safe_text
from producers.event.exception import describe_exception, exception_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from producers.event.masking import Masking

__all__ = ["RenderedEvent", "Renderer", "level_of", "method_level"]

# What the logging module itself puts on a record; all else came with `extra=`.
_STANDARD = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}
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
# What `_render` says itself.
_OWN = frozenset({"timestamp", "level", "event", "logger", "service", "environment", "host", "pid"})
_CALLERS_WIN = frozenset({"environment", "host"})
_NAME_LIMIT = 256
_STACK_LIMIT = 16_384
_MAX_SECONDS = 253_402_300_799  # the last second of the year 9999, where datetime ends


class RenderedEvent(NamedTuple):
    """One event, ready to travel.

    Attributes:
        value: the JSON, without a newline.
        key: the service's name: one service's events keep their order.
        time_ms: when it happened, milliseconds since the epoch.
        level: debug, info, warning, error or critical.
    """

    value: bytes
    key: bytes
    time_ms: int
    level: str


def level_of(levelno: int) -> str:
    """Return the name of the standard level at or below a number of the logging module."""
    return _LEVELS.get(levelno) or _LEVELS[min(max(levelno // 10 * 10, 10), 50)]


def method_level(method: str) -> str:
    """Return the level that a method of structlog's loggers logs at."""
    return _METHOD_LEVELS.get(method, "info")


class Renderer:
    """Renders events of one service. Holds no state that changes, so threads share it freely."""

    def __init__(
        self,
        *,
        service: str,
        environment: str,
        host: str,
        capture_exceptions: bool,
        max_event_bytes: int,
        masking: Masking | None = None,
    ) -> None:
        """State what every event has in common.

        Args:
            service: the service's name, unless an event brings its own.
            environment: where the service runs (`production`, …); empty for not said.
            host: the machine's name.
            capture_exceptions: whether an event of level error or above takes along the exception that
                is being handled, though the call didn't say `exc_info`.
            max_event_bytes: most bytes of one event's JSON; larger ones are cut.
            masking: what is a secret; None to send everything as it is.

        Raises:
            ValueError: an event of that few bytes could not say what it is.
        """
        if max_event_bytes < MIN_EVENT_BYTES:
            raise ValueError(f"max_event_bytes must be at least {MIN_EVENT_BYTES}, not {max_event_bytes}")
        self._service = service
        self._environment = environment
        self._host = host
        self._capture_exceptions = capture_exceptions
        self._max_event_bytes = max_event_bytes
        self._masking = masking
        self.key = _key_of(service)

    def record(self, record: logging.LogRecord) -> RenderedEvent:
        """Render a record of the logging module."""
        fields = _bound_context()
        for name, value in record.__dict__.items():
            if name not in _STANDARD:
                fields[name] = value
        event = _message(record, fields)
        level = level_of(record.levelno)
        exc_info: object = record.exc_info
        if exc_info is None and record.exc_text:
            # QueueHandler has turned the exception into text already.
            fields.setdefault("exception", {"value": safe_text(record.exc_text, _STACK_LIMIT, str)})
        else:
            self._add_exception(fields, exc_info, level)
        if record.stack_info:
            fields["stack_info"] = safe_text(record.stack_info, _STACK_LIMIT, str)
        return self._render(record.created, level, event, record.name, fields)

    def entry(self, logger: str, method: str, entry: Mapping[str, object]) -> RenderedEvent:
        """Render an entry of structlog.

        Args:
            logger: the logger's name; may be empty.
            method: the name of the method that was called; the level, unless the entry says it.
            entry: the event dictionary after the processors.
        """
        fields = dict(entry)
        level = method_level(method)
        stated = fields.pop("level", None)
        if isinstance(stated, str):
            level = _METHOD_LEVELS.get(stated.lower(), level)
        event = fields.pop("event", "")
        name = fields.pop("logger", None)
        self._add_exception(fields, fields.pop("exc_info", None), level)
        stack = fields.pop("stack", None)
        if stack is not None:
            fields.setdefault("stack_info", safe_text(stack, _STACK_LIMIT, str))
        seconds = time.time_ns() / 1e9
        if "timestamp" in fields:
            own = _seconds_of(fields["timestamp"])
            if own is not None:
                seconds = own
                del fields["timestamp"]
        text = event if isinstance(event, str) else safe_text(event, convert=str)
        return self._render(seconds, level, text, name if isinstance(name, str) else logger, fields)

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
        return self._render(time.time_ns() / 1e9, "warning", message, "producers", fields)

    def _add_exception(self, fields: dict[str, object], exc_info: object, level: str) -> None:
        if exc_info is None and self._capture_exceptions and level in _GRAVE:
            exc_info = True
        error = exception_of(exc_info)
        if error is not None:
            fields.setdefault("exception", describe_exception(error))

    def _render(
        self, seconds: float, level: str, event: str, logger: str, fields: dict[str, object]
    ) -> RenderedEvent:
        if not 0 <= seconds <= _MAX_SECONDS:  # NaN as well
            seconds = time.time_ns() / 1e9
        moment = dt.datetime.fromtimestamp(seconds, dt.UTC)
        key, service = self.key, fields.pop("service", None)
        if isinstance(service, str) and service:
            key = _key_of(service)
        else:
            service = self._service
        rendered: dict[str, object] = {
            "timestamp": moment.isoformat(timespec="microseconds")[:-6] + "Z",
            "level": level,
            "event": event,
            "logger": logger,
            "service": service,
            "environment": self._environment,
            "host": self._host,
            "pid": os.getpid(),
        }
        if _OWN.isdisjoint(fields):
            rendered.update(fields)
        else:
            for name, value in fields.items():
                if name not in rendered or name in _CALLERS_WIN:
                    rendered[name] = value
                else:
                    rendered[name + "_"] = value
        encoded = encode(rendered, self._max_event_bytes)
        masking = self._masking
        if masking is not None and masking.suspects(fields, event, encoded):
            encoded = encode(masking.masked(encoded), self._max_event_bytes)
        return RenderedEvent(encoded, key, int(seconds * 1000), level)


def _key_of(service: str) -> bytes:
    return service[:_NAME_LIMIT].encode("utf-8", "backslashreplace")


def _bound_context() -> dict[str, object]:
    """Return structlog's context variables, if anything has loaded structlog."""
    contextvars = sys.modules.get("structlog.contextvars")
    return contextvars.get_contextvars() if contextvars is not None else {}


def _message(record: logging.LogRecord, fields: dict[str, object]) -> str:
    """Return a record's message; what comes with it goes into the fields."""
    if isinstance(record.msg, dict) and not record.args:
        # structlog over the logging module (`ProcessorFormatter.wrap_for_formatter`), or its like.
        fields.pop("_logger", None)
        fields.pop("_name", None)
        fields.update((k, v) for k, v in record.msg.items() if k not in {"level", "logger", "timestamp"})
        event = fields.pop("event", "")
        return event if isinstance(event, str) else safe_text(event, convert=str)
    try:
        return record.getMessage()
    except Exception:  # noqa: BLE001 - wrong arguments, or an argument whose __str__ raises anything
        fields["args"] = safe_text(record.args)
        return safe_text(record.msg, _STACK_LIMIT, str)


def _seconds_of(timestamp: object) -> float | None:
    """Return seconds since the epoch of what a processor put into `timestamp`, or None."""
    try:
        match timestamp:
            case bool():
                return None
            case int() | float():
                return float(timestamp)
            case dt.datetime():
                return timestamp.timestamp()
            case str():
                return dt.datetime.fromisoformat(timestamp).timestamp()
            case _:
                return None
    except (ValueError, OverflowError, OSError):
        return None
