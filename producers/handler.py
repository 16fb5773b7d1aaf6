"""The handler: what a service adds to its logging configuration.

A log call renders the record and leaves it with a sink; it never raises and never waits for a broker.
So the handler needs no lock of its own, and has none: a flush that waits would otherwise hold up every
log call of every thread.
"""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

from producers.event.masking import Masking
from producers.event.renderer import Renderer, level_of
from producers.options import settle
from producers.process import MAX_RENDERING, within

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Unpack

    from producers.options import HandlerOptions
    from producers.sink import Sink

__all__ = ["KafkaHandler"]


class KafkaHandler(logging.Handler):
    """Sends log records as JSON events to Kafka, or to a file.

    Usable by hand, and from `logging.config.dictConfig` with `class: producers.KafkaHandler`. A formatter
    that is set has no effect: the event form is fixed, and the caller's own fields travel with `extra=`.
    """

    def __init__(self, level: int | str = logging.NOTSET, **options: Unpack[HandlerOptions]) -> None:
        """Set up; nothing is connected before the first record.

        Args:
            level: least level to handle.
            options: see `HandlerOptions`.

        Raises:
            TypeError: an option that there is not.
            ValueError: options that contradict each other or are out of range; a codec that is not there.
            OSError: the file can't be opened.
        """
        super().__init__(level)
        settled = settle(options)
        self.renderer = _renderer(settled)
        self.sink = _sink(settled, self.renderer)

    @property
    def dropped(self) -> Mapping[str, int]:
        """Records lost so far, by level."""
        return self.sink.dropped

    @property
    def pending(self) -> int:
        """Records that have not arrived yet."""
        return self.sink.pending

    def createLock(self) -> None:  # noqa: N802 - the name is logging's
        """Create no lock; see the module's rule."""
        self.lock = None

    def handle(self, record: logging.LogRecord) -> bool:
        """Filter and emit a record, as in the base class but for the lock."""
        passed: bool | logging.LogRecord = self.filter(record)
        if not passed:
            return False
        # Since Python 3.12 a filter may return another record.
        self.emit(passed if isinstance(passed, logging.LogRecord) else record)
        return True

    def emit(self, record: logging.LogRecord) -> None:
        """Render a record and leave it with the sink."""
        within.rendering += 1
        try:
            if within.feeds_back(record.name, record.levelno):
                return
            if within.rendering > MAX_RENDERING:
                # An object that logs while it is rendered may do so for ever.
                self.sink.lose(level_of(record.levelno))
                return
            self.sink.write(self.renderer.record(record))
        except Exception:  # noqa: BLE001 - out of memory, or a record that isn't one: no reason to raise
            self.sink.lose("error")
        finally:
            within.rendering -= 1

    def flush(self, timeout_s: float | None = None) -> None:
        """Wait until what has been logged by now has arrived; `pending` tells whether it did.

        Args:
            timeout_s: most seconds to wait; None for the handler's `flush_timeout_s`.
        """
        self.sink.flush(timeout_s)

    def close(self) -> None:
        """Flush in limited time, say on standard error what didn't arrive, and let go of everything."""
        self.sink.close()
        super().close()


def _renderer(options: HandlerOptions) -> Renderer:
    return Renderer(
        service=options["service"] or "",
        environment=options["environment"] or "",
        host=options["host"] or "",
        capture_exceptions=options["capture_exceptions"],
        max_event_bytes=options["max_event_bytes"],
        masking=Masking(options["mask_keys"]) if options["mask"] else None,
    )


def _sink(options: HandlerOptions, renderer: Renderer) -> Sink:
    path = options["path"]
    if path is not None:
        from producers.file import FileSink  # noqa: PLC0415 - a service needs one of the two

        return FileSink(os.fspath(path), renderer.notice)
    from producers.kafka.delivery import KafkaTarget  # noqa: PLC0415 - asyncio is a third of our start
    from producers.kafka.sink import KafkaSink  # noqa: PLC0415 - likewise

    servers = options["bootstrap_servers"]
    return KafkaSink(
        KafkaTarget(
            servers if isinstance(servers, str) else ",".join(servers or ()),
            options["topic"],
            options["compression"],
            options["linger_ms"],
            options["client_options"] or {},
        ),
        renderer.notice,
        queue_bytes=options["queue_bytes"],
        queue_records=options["queue_records"],
        flush_timeout_s=options["flush_timeout_s"],
    )
