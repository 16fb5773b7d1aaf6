"""What an event has from where it was logged: bound values, the trace, the line of code, the process.

Nothing is imported for it. What a service has not loaded itself it doesn't use.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any, Final

from producers.event.objects import safe_text

if TYPE_CHECKING:
    import logging
    from types import FrameType

__all__ = ["TRACING", "add_trace", "bound_values", "caller", "callsite_of", "process"]

TRACING: Final = "opentelemetry.trace"
"""The module that a service has loaded if it traces."""

_TEXT_LIMIT = 1_024
# Modules whose frames are between the service's own and us.
_BETWEEN = ("structlog.", "producers.")
_MOST_BETWEEN = 64


class _Process:
    """This process.

    Attributes:
        pid: its number. Asking the system each time would take a tenth of a log call's microseconds.
    """

    pid = os.getpid()

    def renew(self) -> None:
        """Learn of having been forked."""
        self.pid = os.getpid()


process = _Process()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=process.renew)


def bound_values() -> dict[str, object]:
    """Return structlog's context variables, if anything has loaded structlog."""
    contextvars = sys.modules.get("structlog.contextvars")
    return contextvars.get_contextvars() if contextvars is not None else {}


def add_trace(fields: dict[str, object]) -> None:
    """Add the ids of OpenTelemetry's current span, unless the fields name a trace themselves.

    Args:
        fields: what is logged; `trace_id` (32 digits) and `span_id` (16) are added to them.
    """
    # Any: of a library that need not be there.
    trace: Any = sys.modules.get(TRACING)
    if trace is None or "trace_id" in fields or "span_id" in fields:
        return
    try:
        context = trace.get_current_span().get_span_context()
        if context.is_valid:
            fields["trace_id"], fields["span_id"] = f"{context.trace_id:032x}", f"{context.span_id:016x}"
    except Exception:  # noqa: BLE001 - being imported at this moment, or a span of the service's own
        return


def callsite_of(record: logging.LogRecord) -> dict[str, object]:
    """Return where a record of the logging module was logged, in the form of an exception's frame."""
    return _frame(record.pathname, record.lineno, record.funcName)


def caller() -> dict[str, object]:
    """Return where structlog was called, in the same form; walks up from here."""
    frame = _calling_frame()
    for _ in range(_MOST_BETWEEN):
        if frame is None or not _is_between(frame):
            break
        frame = frame.f_back
    if frame is None:
        return _frame("", 0, "")
    return _frame(frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_name)


def _calling_frame() -> FrameType | None:
    """Return the frame to begin at: structlog's asynchronous methods log in another thread."""
    contextvars: Any = sys.modules.get("structlog.contextvars")
    calling = getattr(contextvars, "_ASYNC_CALLING_STACK", None)
    found: FrameType | None = calling.get(None) if calling is not None else None
    return found if found is not None else sys._getframe(2)  # noqa: SLF001 - no public way is half as fast


def _is_between(frame: FrameType) -> bool:
    name = frame.f_globals.get("__name__")
    return type(name) is str and name.startswith(_BETWEEN)


def _frame(file: object, line: object, function: object) -> dict[str, object]:
    return {
        "file": file if type(file) is str else safe_text(file, _TEXT_LIMIT, str),
        "line": line if type(line) is int else 0,
        "function": function if type(function) is str else safe_text(function, _TEXT_LIMIT, str),
    }
