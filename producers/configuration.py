"""One call that a service makes instead of `logging.basicConfig`."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from producers.handler import KafkaHandler
from producers.hooks import HOOKS, capture, check

if TYPE_CHECKING:
    from collections.abc import Collection
    from typing import Unpack

    from producers.options import HandlerOptions

__all__ = ["configure"]

# Of the one handler that is ours to replace.
_NAME = "tocsin"


def configure(
    *,
    level: int | str = logging.INFO,
    hooks: Collection[str] = HOOKS,
    **options: Unpack[HandlerOptions],
) -> KafkaHandler:
    """Send what the logging module and structlog log to Kafka, or with `path=` to a file.

    Other handlers of the root logger stay, and get what they got before: what the loggers let through for the
    recorder alone is kept from them. Calling it again replaces what the last call set up, except
    for structlog's loggers that have logged already: they keep the target they had.

    Args:
        level: least level to log, for both; with the recorder on, to send at once.
        hooks: what is logged though nobody logs it: `warnings`, and what nobody catches: `excepthook` (what
            ends the process, or one of multiprocessing), `threading` (what ends a thread), `unraisable` (what
            a finalizer raises). Tracebacks still go to standard error, too; warnings don't.
        options: those of `KafkaHandler`, `service` first of all.

    Returns:
        The handler, for its `flush`, `dropped` and `pending`.

    Raises:
        ValueError: as `KafkaHandler` does; a hook that there is not.
        OSError: likewise.
    """
    import structlog  # noqa: PLC0415 - only who configures structlog pays for it

    from producers.logger import EventRenderer, KafkaLoggerFactory  # noqa: PLC0415 - likewise

    check(hooks)
    handler = KafkaHandler(**options)
    root = logging.getLogger()
    root.setLevel(level)
    for other in root.handlers[:]:
        if isinstance(other, KafkaHandler) and other.name == _NAME:
            root.removeHandler(other)
            other.close()
    handler.name = _NAME
    _let_through(handler, root)
    root.addHandler(handler)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.StackInfoRenderer(),
            EventRenderer(handler.renderer),
        ],
        # It knows the standard levels only.
        wrapper_class=structlog.make_filtering_bound_logger(min(root.level // 10 * 10, logging.CRITICAL)),
        context_class=dict,
        logger_factory=KafkaLoggerFactory(handler),
        cache_logger_on_first_use=True,
    )
    capture(hooks, handler)
    return handler


def _let_through(handler: KafkaHandler, root: logging.Logger) -> None:
    """Have the loggers pass on what the recorder keeps, and no other handler see more than before."""
    for other in root.handlers:
        for former in [f for f in other.filters if isinstance(f, _NotRecorded)]:
            other.removeFilter(former)
    if handler.recorder is None:
        return
    handler.setLevel(root.level)
    if handler.level < root.level:
        for other in root.handlers:
            other.addFilter(_NotRecorded(root.level))
        root.setLevel(handler.level)


class _NotRecorded(logging.Filter):
    """Keeps from another handler what the root logger's level lets through for the recorder alone."""

    def __init__(self, level: int) -> None:
        super().__init__()
        self._level = level

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno >= self._level:
            return True
        # A logger with a level of its own has always let this through.
        logger = logging.root.manager.loggerDict.get(record.name)
        while isinstance(logger, logging.Logger) and logger is not logging.root:
            if logger.level:
                return True
            logger = logger.parent
        return False
