"""The options of a handler: their names, defaults, and what the environment says of them.

One flat set, since `logging.config.dictConfig` passes keyword arguments. What an option may be is checked
by the part that it is for.
"""

from __future__ import annotations

import difflib
import os
import pathlib
import socket
import sys
from typing import TYPE_CHECKING, Any, Final, TypedDict

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

__all__ = ["DEFAULTS", "HandlerOptions", "settle"]


class HandlerOptions(TypedDict, total=False):
    """The keyword arguments of `KafkaHandler`; each may be left out.

    Attributes:
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
        client_options: further arguments of `AIOKafkaProducer`, of any type, as they are there.
    """

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


DEFAULTS: Final[HandlerOptions] = {
    "bootstrap_servers": None,
    "topic": "logs",
    "path": None,
    "service": None,
    "environment": None,
    "host": None,
    "compression": "gzip",
    "capture_exceptions": True,
    "mask": True,
    "mask_keys": (),
    "queue_bytes": 16 * 1024 * 1024,
    "queue_records": 100_000,
    "max_event_bytes": 256 * 1024,
    "linger_ms": 5,
    "flush_timeout_s": 5,
    "client_options": None,
}


def settle(given: HandlerOptions) -> HandlerOptions:
    """Return all options, each as given, as the environment says, or as by default.

    Args:
        given: what the caller says; nothing of it is overruled.

    Raises:
        TypeError: an option that there is not.
        ValueError: options that contradict each other.
    """
    for name in given:
        if name not in DEFAULTS:
            near = difflib.get_close_matches(name, DEFAULTS, 1)
            meant = f"; is {near[0]} meant?" if near else f"; valid: {', '.join(DEFAULTS)}"
            raise TypeError(f"KafkaHandler has no option {name!r}{meant}")
    options: HandlerOptions = {**DEFAULTS, **given}
    if options["path"] is not None and options["bootstrap_servers"] is not None:
        raise ValueError("give either path or bootstrap_servers, not both")
    if options["mask_keys"] and not options["mask"]:
        raise ValueError("mask_keys has no effect with mask=False")
    environ = os.environ
    options["bootstrap_servers"] = (
        options["bootstrap_servers"] or environ.get("KAFKA_BOOTSTRAP_SERVERS") or "localhost:9092"
    )
    options["service"] = options["service"] or environ.get("TOCSIN_SERVICE") or _script_name()
    options["environment"] = options["environment"] or environ.get("TOCSIN_ENVIRONMENT") or ""
    options["host"] = options["host"] or socket.gethostname()
    return options


def _script_name() -> str:
    name = pathlib.PurePath(sys.argv[0]).stem if sys.argv else ""
    return name if name not in {"", "-c", "-m", "-"} else "python"
