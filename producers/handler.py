"""The handler: what a service adds to its logging configuration.

A log call renders the record and leaves it with a sink; it never raises and never waits for a broker.
So the handler needs no lock of its own, and has none: a flush that waits would otherwise hold up every
log call of every thread.
"""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

from producers.children import children
from producers.event.encoding import Limits
from producers.event.masking import Masking
from producers.event.renderer import Capture, Renderer, level_of
from producers.options import settle
from producers.process import MAX_RENDERING, configures_logging, require_main_interpreter, within

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Unpack

    from producers.kafka.chain import Chain
    from producers.kafka.queue import Queue
    from producers.options import HandlerOptions
    from producers.recorder import Recorder
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
            OSError: the file can't be opened, or that of the chain's key; the spool's folder can't be used.
        """
        require_main_interpreter()
        settled = settle(options)
        renderer = _renderer(settled)
        sink = _sink(settled, renderer)
        self.recorder = _recorder(settled, sink) if settled["recorder"] else None
        self.renderer = renderer
        self.sink = self.recorder or sink
        children.watch()
        # Last: from here on the logging module knows us, and flushes and closes us at its end.
        super().__init__(level)
        if self.recorder is not None:
            self.setLevel(self.level)

    @property
    def dropped(self) -> Mapping[str, int]:
        """Records lost so far, by level."""
        return self.sink.dropped

    @property
    def pending(self) -> int:
        """Records that have not arrived yet."""
        return self.sink.pending

    def setLevel(self, level: int | str) -> None:  # noqa: N802 - the name is logging's
        """Say which records to handle; with a recorder, which to send at once: it keeps those below."""
        super().setLevel(level)
        if self.recorder is not None:
            self.level = self.recorder.set_level(self.level)

    def createLock(self) -> None:  # noqa: N802 - the name is logging's
        """Create no lock; see the module's rule."""
        self.lock = None

    def handle(self, record: logging.LogRecord) -> bool:
        """Filter and emit a record, as in the base class but for the lock."""
        if self.filters:
            passed: bool | logging.LogRecord = self.filter(record)
            if not passed:
                return False
            if isinstance(passed, logging.LogRecord):
                # Since Python 3.12 a filter may return another record.
                record = passed
        self.emit(record)
        return True

    def emit(self, record: logging.LogRecord) -> None:
        """Render a record and leave it with the sink."""
        rendering = within.rendering
        within.rendering = rendering + 1
        try:
            if within.background and within.feeds_back(record.name, record.levelno):
                return
            if rendering >= MAX_RENDERING:
                # An object that logs while it is rendered may do so for ever.
                self.sink.lose(level_of(record.levelno))
                return
            self.sink.write(self.renderer.record(record))
        except Exception:  # noqa: BLE001 - out of memory, or a record that isn't one: no reason to raise
            self.sink.lose("error")
        finally:
            within.rendering = rendering

    def flush(self, timeout_s: float | None = None) -> None:
        """Wait until what has been logged by now has arrived; `pending` tells whether it did.

        Args:
            timeout_s: most seconds to wait; None for the handler's `flush_timeout_s`. Within
                `logging.config.dictConfig`, which flushes and closes all handlers, it does not wait.
        """
        if not configures_logging():
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
        names=options["names"],
        limits=Limits(
            options["max_event_bytes"], options["max_depth"], options["max_fields"], options["max_text"]
        ),
        capture=Capture(options["capture_exceptions"], options["callsite"], options["capture_locals"]),
        masking=Masking(options["mask_keys"]) if options["mask"] else None,
    )


def _recorder(options: HandlerOptions, sink: Sink) -> Recorder:
    from producers.recorder import Recorder  # noqa: PLC0415 - only who records pays for it

    level = options["recorder_level"]
    least = logging.getLevelNamesMapping().get(level) if isinstance(level, str) else level
    if least is None:
        raise ValueError(f"recorder_level {level!r} is unknown; valid: DEBUG, INFO, WARNING, or a number")
    recorder = Recorder(
        sink,
        least=least,
        max_bytes=options["recorder_bytes"],
        max_records=options["recorder_records"],
        max_rings=options["recorder_traces"],
    )
    topic = options["control_topic"]
    if topic:
        from producers.kafka.sink import KafkaSink  # noqa: PLC0415 - loaded by now

        if isinstance(sink, KafkaSink):
            sink.listen(topic, recorder.answer)
            recorder.begin = sink.begin
    return recorder


def _sink(options: HandlerOptions, renderer: Renderer) -> Sink:
    path = options["path"]
    if path is not None:
        from producers.file import FileSink  # noqa: PLC0415 - a service needs one of the two

        return FileSink(os.fspath(path), renderer.notice)
    from producers.kafka.connection import secure  # noqa: PLC0415 - it loads asyncio's ssl, see the next
    from producers.kafka.delivery import KafkaTarget  # noqa: PLC0415 - asyncio is a third of our start
    from producers.kafka.sink import KafkaSink  # noqa: PLC0415 - likewise

    servers = options["bootstrap_servers"]
    return KafkaSink(
        KafkaTarget(
            servers if isinstance(servers, str) else ",".join(servers or ()),
            options["topic"] or "",
            options["compression"],
            options["linger_ms"],
            options["client_options"] or {},
            secure(options, os.environ),
            _chain(options),
        ),
        renderer.notice,
        _queue(options),
        flush_timeout_s=options["flush_timeout_s"],
        flush_on_sigterm=options["flush_on_sigterm"],
        goodbye=renderer.goodbye,
    )


def _queue(options: HandlerOptions) -> Queue:
    folder = options["spool"]
    if folder is None:
        from producers.kafka.buffer import Buffer  # noqa: PLC0415 - a service needs one of the two

        return Buffer(options["queue_bytes"], options["queue_records"])
    from producers.spool.spool import Spool  # noqa: PLC0415 - likewise

    return Spool(
        os.fspath(folder),
        options["topic"] or "",
        max_bytes=options["spool_bytes"],
        sync=options["spool_sync"],
        max_event_bytes=options["max_event_bytes"],
    )


def _chain(options: HandlerOptions) -> Chain | None:
    key, key_file = options["chain_key"], options["chain_key_file"]
    if key is None and key_file is None:
        return None
    from producers.kafka.chain import make_chain  # noqa: PLC0415 - only who chains pays for it

    return make_chain(key, key_file, options["topic"] or "")
