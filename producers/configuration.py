"""One call that a service makes instead of `logging.basicConfig`."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from producers.handler import KafkaHandler

if TYPE_CHECKING:
    from typing import Unpack

    from producers.options import HandlerOptions

__all__ = ["configure"]

# Of the one handler that is ours to replace.
_NAME = "tocsin"


def configure(*, level: int | str = logging.INFO, **options: Unpack[HandlerOptions]) -> KafkaHandler:
    """Send what the logging module and structlog log to Kafka, or with `path=` to a file.

    Other handlers of the root logger stay. Calling it again replaces what the last call set up, except
    for structlog's loggers that have logged already: they keep the target they had.

    Args:
        level: least level to log, for both.
        options: those of `KafkaHandler`, `service` first of all.

    Returns:
        The handler, for its `flush`, `dropped` and `pending`.

    Raises:
        ValueError: as `KafkaHandler` does.
        OSError: likewise.
    """
    import structlog  # noqa: PLC0415 - only who configures structlog pays for it

    from producers.logger import EventRenderer, KafkaLoggerFactory  # noqa: PLC0415 - likewise

    handler = KafkaHandler(**options)
    root = logging.getLogger()
    for other in root.handlers[:]:
        if isinstance(other, KafkaHandler) and other.name == _NAME:
            root.removeHandler(other)
            other.close()
    handler.name = _NAME
    root.addHandler(handler)
    root.setLevel(level)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.StackInfoRenderer(),
            EventRenderer(handler.renderer),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(root.level),
        context_class=dict,
        logger_factory=KafkaLoggerFactory(handler),
        cache_logger_on_first_use=True,
    )
    return handler
