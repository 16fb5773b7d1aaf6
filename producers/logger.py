"""structlog without the logging module: the last processor, and the loggers behind it.

    structlog.configure(
        processors=[structlog.contextvars.merge_contextvars, EventRenderer(handler.renderer)],
        logger_factory=KafkaLoggerFactory(handler),
    )

`producers.configure` does this and the logging module's side in one call.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import structlog

from producers.event.renderer import RenderedEvent, Renderer, method_level
from producers.handler import KafkaHandler
from producers.process import MAX_RENDERING, within

if TYPE_CHECKING:
    from collections.abc import MutableMapping
    from typing import Unpack

    from producers.options import HandlerOptions

__all__ = ["EventRenderer", "KafkaLogger", "KafkaLoggerFactory"]


class KafkaLogger:
    """What structlog wraps: takes final events and leaves them with the handler's sink.

    Behind `EventRenderer` an event comes rendered. Behind another renderer it comes as text or bytes,
    which travel as they are but for secrets, as an event of the handler's service that happened now.
    """

    def __init__(self, handler: KafkaHandler, name: str = "") -> None:
        """Take the handler whose sink to use, and the name to log under."""
        self._handler = handler
        self.name = name

    def msg(self, event: RenderedEvent | str | bytes) -> None:
        """Log an event of level info."""
        self._write(event, "info")

    def debug(self, event: RenderedEvent | str | bytes) -> None:
        """Log an event of level debug."""
        self._write(event, "debug")

    def warning(self, event: RenderedEvent | str | bytes) -> None:
        """Log an event of level warning."""
        self._write(event, "warning")

    def error(self, event: RenderedEvent | str | bytes) -> None:
        """Log an event of level error."""
        self._write(event, "error")

    def critical(self, event: RenderedEvent | str | bytes) -> None:
        """Log an event of level critical."""
        self._write(event, "critical")

    log = info = msg
    warn = warning
    err = failure = exception = error
    fatal = critical

    def _write(self, event: RenderedEvent | str | bytes, level: str) -> None:
        if not isinstance(event, RenderedEvent):
            event = self._handler.renderer.foreign(event, level)
        self._handler.sink.write(event)

    def lose(self, level: str) -> None:
        """Count an event that could not be rendered."""
        self._handler.sink.lose(level)


class KafkaLoggerFactory:
    """Makes structlog's loggers, all of one handler."""

    def __init__(self, handler: KafkaHandler | None = None, **options: Unpack[HandlerOptions]) -> None:
        """Use a handler that is there, or make one for structlog alone.

        Args:
            handler: the handler whose sink to share; then there are no options.
            options: those of `KafkaHandler`.

        Raises:
            ValueError: as `KafkaHandler` does, or both were given.
        """
        if handler is not None and options:
            raise ValueError("give either a handler or its options, not both")
        self.handler = KafkaHandler(**options) if handler is None else handler

    def __call__(self, *args: object) -> KafkaLogger:
        """Return a logger; the first argument of `structlog.get_logger` is its name."""
        return KafkaLogger(self.handler, args[0] if args and isinstance(args[0], str) else "")


class EventRenderer:
    """The last processor: renders structlog's event dictionary into the event form."""

    def __init__(self, renderer: Renderer) -> None:
        """Take the renderer of the handler that the loggers belong to."""
        self._renderer = renderer

    def __call__(
        self,
        logger: Any,  # as structlog types what it wraps
        method: str,
        event_dict: MutableMapping[str, Any],  # likewise
    ) -> tuple[tuple[RenderedEvent], dict[str, object]]:
        """Return the rendered event as the one argument of the logger's method.

        Raises:
            structlog.DropEvent: an object logs while it is rendered and would do so for ever, or there is no
                memory; the logger counts it.
        """
        within.rendering += 1
        try:
            if within.rendering <= MAX_RENDERING:
                return (self._renderer.entry(getattr(logger, "name", ""), method, event_dict),), {}
            level = method_level(method)
        except Exception:  # noqa: BLE001 - out of memory, or no dictionary: no reason to raise
            level = "error"
        finally:
            within.rendering -= 1
        if isinstance(logger, KafkaLogger):
            logger.lose(level)
        raise structlog.DropEvent
