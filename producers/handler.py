"""The handler: what a service adds to its logging configuration.

A log call renders the record and leaves it with a sink; it never raises and never waits for a broker.
So the handler needs no lock of its own, and has none: a flush that waits would otherwise hold up every
log call of every thread.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import pathlib
import socket
import sys
from typing import TYPE_CHECKING, Any, TypedDict

from producers.encoding import MIN_EVENT_BYTES
from producers.event import Renderer, level_of
from producers.masking import Masking
from producers.process import MAX_RENDERING, within

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from producers.sink import Sink

__all__ = ["HandlerOptions", "KafkaHandler"]

_COMPRESSIONS = ("gzip", "lz4", "zstd", "snappy")


class HandlerOptions(TypedDict, total=False):
    """The keyword arguments of `KafkaHandler`, for those who pass them on."""

    bootstrap_servers: str | list[str] | None
    topic: str
    path: str | os.PathLike[str] | None
    service: str | None
    environment: str | None
    host: str | None
    compression: str | None
    capture_exceptions: bool
    mask: bool
    mask_keys: Collection[str]
    queue_bytes: int
    queue_records: int
    max_event_bytes: int
    linger_ms: float
    flush_timeout_s: float
    client_options: Mapping[str, Any] | None


class KafkaHandler(logging.Handler):
    """Sends log records as JSON events to Kafka, or to a file.

    Usable by hand, and from `logging.config.dictConfig` with `class: producers.KafkaHandler`. A formatter
    that is set has no effect: the event form is fixed, and the caller's own fields travel with `extra=`.
    """

    def __init__(  # noqa: PLR0913 - dictConfig passes keyword arguments, one an option
        self,
        level: int | str = logging.NOTSET,
        *,
        bootstrap_servers: str | list[str] | None = None,
        topic: str = "logs",
        path: str | os.PathLike[str] | None = None,
        service: str | None = None,
        environment: str | None = None,
        host: str | None = None,
        compression: str | None = "gzip",
        capture_exceptions: bool = True,
        mask: bool = True,
        mask_keys: Collection[str] = (),
        queue_bytes: int = 16 * 1024 * 1024,
        queue_records: int = 100_000,
        max_event_bytes: int = 256 * 1024,
        linger_ms: float = 5,
        flush_timeout_s: float = 5,
        client_options: Mapping[str, Any] | None = None,
    ) -> None:
        """Set up; nothing is connected before the first record.

        Args:
            level: least level to handle.
            bootstrap_servers: `host:port` of brokers; else `KAFKA_BOOTSTRAP_SERVERS`, else localhost:9092.
            topic: the topic.
            path: a file to append JSON lines to instead of using Kafka; `-` is standard output.
            service: the service's name; else `TOCSIN_SERVICE`, else the name of the script. A record's own
                `service` (from `extra=` or bound) goes before it.
            environment: `production` or the like; else `TOCSIN_ENVIRONMENT`.
            host: the machine's name; else what the system says.
            compression: gzip, None, or with the codecs installed lz4, zstd, snappy.
            capture_exceptions: whether a record of level ERROR or above that is logged in an `except` block
                takes the exception along, though the call doesn't say `exc_info`.
            mask: whether secrets are replaced before an event leaves the process.
            mask_keys: names of fields that are secret here, beside those that are everywhere.
            queue_bytes: most bytes of events that wait for the broker; when full, lower levels make room.
            queue_records: most events that wait for the broker.
            max_event_bytes: most bytes of one event; a larger one is cut.
            linger_ms: how long an event waits for company, in milliseconds.
            flush_timeout_s: most seconds to wait for the broker in `flush` and at exit.
            client_options: further arguments of `AIOKafkaProducer`: `security_protocol`, `ssl_context`,
                `sasl_mechanism` and so on (any type, as they are there).

        Raises:
            ValueError: options that contradict each other or are out of range; a codec that is not there.
            OSError: the file can't be opened.
        """
        super().__init__(level)
        if path is not None and bootstrap_servers is not None:
            raise ValueError("give either path or bootstrap_servers, not both")
        _check_positive(queue_bytes=queue_bytes, queue_records=queue_records)
        if max_event_bytes < MIN_EVENT_BYTES:
            raise ValueError(f"max_event_bytes must be at least {MIN_EVENT_BYTES}, not {max_event_bytes}")
        if linger_ms < 0 or flush_timeout_s < 0:
            raise ValueError("linger_ms and flush_timeout_s can't be negative")
        if mask_keys and not mask:
            raise ValueError("mask_keys has no effect with mask=False")
        self.renderer = Renderer(
            service=service or os.environ.get("TOCSIN_SERVICE") or _script_name(),
            environment=environment or os.environ.get("TOCSIN_ENVIRONMENT") or "",
            host=host or socket.gethostname(),
            capture_exceptions=capture_exceptions,
            max_event_bytes=max_event_bytes,
            masking=Masking(mask_keys) if mask else None,
        )
        self.sink: Sink
        if path is not None:
            from producers.file import FileSink  # noqa: PLC0415 - a service needs one of the two

            self.sink = FileSink(os.fspath(path), self.renderer.notice)
        else:
            from producers.delivery import KafkaTarget  # noqa: PLC0415 - asyncio is a third of our start
            from producers.kafka import KafkaSink  # noqa: PLC0415 - likewise

            self.sink = KafkaSink(
                KafkaTarget(
                    _servers(bootstrap_servers),
                    topic,
                    _checked_compression(compression),
                    linger_ms,
                    client_options or {},
                ),
                self.renderer.notice,
                queue_bytes=queue_bytes,
                queue_records=queue_records,
                flush_timeout_s=flush_timeout_s,
            )

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


def _servers(given: str | list[str] | None) -> str:
    if isinstance(given, list):
        return ",".join(given)
    return given or os.environ.get("KAFKA_BOOTSTRAP_SERVERS") or "localhost:9092"


def _script_name() -> str:
    name = pathlib.PurePath(sys.argv[0]).stem if sys.argv else ""
    return name if name not in {"", "-c", "-m", "-"} else "python"


def _check_positive(**options: int) -> None:
    for name, value in options.items():
        if value < 1:
            raise ValueError(f"{name} must be at least 1, not {value}")


def _checked_compression(name: str | None) -> str | None:
    if name is None or name == "none":
        return None
    if name not in _COMPRESSIONS:
        raise ValueError(f"compression {name!r} is unknown; valid: none, {', '.join(_COMPRESSIONS)}")
    if name != "gzip" and importlib.util.find_spec("cramjam") is None:
        raise ValueError(f"compression {name!r} needs codecs that are not installed: tocsin[codecs]")
    return name
