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

__all__ = ["DEFAULTS", "SECURITY", "HandlerOptions", "Secret", "settle"]


class Secret(str):
    """A text that no traceback, log or `repr` of what holds it shows."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'[masked]'"


class _SecretBytes(bytes):
    __slots__ = ()

    def __repr__(self) -> str:
        return "b'[masked]'"


class HandlerOptions(TypedDict, total=False):
    """The keyword arguments of `KafkaHandler`; each may be left out.

    Attributes:
        bootstrap_servers: `host:port` of brokers; else `KAFKA_BOOTSTRAP_SERVERS`, else localhost:9092.
        topic: the topic; else `TOCSIN_TOPIC`, else `logs`.
        path: a file to append JSON lines to instead of using Kafka; `-` is standard output.
        service: the service's name; else `TOCSIN_SERVICE`, else the name of the script. A record's own
            `service` (from `extra=` or bound) goes before it.
        environment: `production` or the like; else `TOCSIN_ENVIRONMENT`.
        host: the machine's name; else what the system says.
        compression: gzip, None, or with the codecs installed lz4, zstd, snappy; auto is zstd with them and
            gzip without.
        names: the names of fields: `tocsin`, `ecs` (Elastic Common Schema) or `otel` (OpenTelemetry's log
            data model).
        capture_exceptions: whether a record of level ERROR or above that is logged in an `except` block
            takes the exception along, though the call doesn't say `exc_info`.
        capture_locals: whether frames of exceptions have the local variables, secrets masked.
        callsite: whether an event says which line of code logged it.
        mask: whether secrets are replaced before an event leaves the process.
        mask_keys: names of fields that are secret here, beside those that are everywhere.
        recorder: whether records below the handler's level are kept, and sent when an error occurs in the
            same trace (see `docs/flight-recorder.md`). The handler's level is INFO then, unless it is set.
        recorder_level: least level to keep: a number or a name of the logging module.
        recorder_bytes: most bytes that all that is kept takes.
        recorder_records: most records that are kept of one trace, task or thread.
        recorder_traces: most traces, tasks and threads of which records are kept.
        control_topic: the topic over which the worker may ask for what the recorder keeps; None: it may not.
        queue_bytes: most bytes of events that wait for the broker; when full, lower levels make room.
        queue_records: most events that wait for the broker.
        spool: a folder to keep events in while they wait for the broker, so that they outlive the process; it
            may be shared by many (see `docs/spool.md`). Else `TOCSIN_SPOOL`, else they wait in memory.
        spool_bytes: most bytes of this folder, over all who share it; instead of `queue_…`.
        spool_sync: when to wait for the disk: `never`, once in an `interval` of a second, or `always`.
        max_event_bytes: most bytes of one event; a larger one is cut.
        max_depth: most objects and lists within one another; what is deeper is cut.
        max_fields: most values of one event, those within others counted in.
        max_text: most characters of one text.
        linger_ms: how long an event waits for company, in milliseconds; ten times as long while they come
            thick.
        flush_timeout_s: most seconds to wait for the broker in `flush` and at exit.
        flush_on_sigterm: whether SIGTERM, where nobody else handles it, waits likewise before it ends the
            process; with Kafka only.
        security_protocol: PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL; unless given what the others below
            ask for, and encrypted. This and each of these else from the environment, see
            `producers.kafka.connection.VARIABLES`.
        sasl_mechanism: PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512; PLAIN unless given, where it is encrypted.
        sasl_username: who logs in.
        sasl_password: the password.
        sasl_password_file: a file that holds it; read anew for each connection.
        ssl_ca_file: whose certificates are trusted, as PEM; else those that the system trusts.
        ssl_cert_file: the service's own certificate, as PEM.
        ssl_key_file: its key, as PEM; unless it stands in the same file.
        ssl_key_password: decrypts the key.
        ssl_check_hostname: whether the broker's certificate must be for the name that it is reached by.
        client_options: further arguments of `AIOKafkaProducer`, of any type, as they are there. If they
            say anything of security, they say all of it.
        chain_key: a secret of at least 16 bytes: records are chained, so that `tocsin verify-log` finds
            changes; else `TOCSIN_CHAIN_KEY`.
        chain_key_file: a file that holds this secret; else `TOCSIN_CHAIN_KEY_FILE`.
    """

    bootstrap_servers: str | list[str] | None
    topic: str | None
    path: str | os.PathLike[str] | None
    service: str | None
    environment: str | None
    host: str | None
    compression: str | None
    names: str
    capture_exceptions: bool
    capture_locals: bool
    callsite: bool
    mask: bool
    mask_keys: Collection[str]
    recorder: bool
    recorder_level: int | str
    recorder_bytes: int
    recorder_records: int
    recorder_traces: int
    control_topic: str | None
    queue_bytes: int
    queue_records: int
    spool: str | os.PathLike[str] | None
    spool_bytes: int
    spool_sync: str
    max_event_bytes: int
    max_depth: int
    max_fields: int
    max_text: int
    linger_ms: float
    flush_timeout_s: float
    flush_on_sigterm: bool
    security_protocol: str | None
    sasl_mechanism: str | None
    sasl_username: str | None
    sasl_password: str | None
    sasl_password_file: str | os.PathLike[str] | None
    ssl_ca_file: str | os.PathLike[str] | None
    ssl_cert_file: str | os.PathLike[str] | None
    ssl_key_file: str | os.PathLike[str] | None
    ssl_key_password: str | None
    ssl_check_hostname: bool | None
    client_options: Mapping[str, Any] | None
    chain_key: bytes | str | None
    chain_key_file: str | os.PathLike[str] | None


DEFAULTS: Final[HandlerOptions] = {
    "bootstrap_servers": None,
    "topic": None,
    "path": None,
    "service": None,
    "environment": None,
    "host": None,
    "compression": "auto",
    "names": "tocsin",
    "capture_exceptions": True,
    "capture_locals": False,
    "callsite": False,
    "mask": True,
    "mask_keys": (),
    "recorder": False,
    "recorder_level": "DEBUG",
    "recorder_bytes": 4 * 1024 * 1024,
    "recorder_records": 200,
    "recorder_traces": 1_000,
    "control_topic": None,
    "queue_bytes": 16 * 1024 * 1024,
    "queue_records": 100_000,
    "spool": None,
    "spool_bytes": 256 * 1024 * 1024,
    "spool_sync": "interval",
    "max_event_bytes": 256 * 1024,
    "max_depth": 16,
    "max_fields": 1_000,
    "max_text": 32_768,
    "linger_ms": 5,
    "flush_timeout_s": 5,
    "flush_on_sigterm": True,
    "security_protocol": None,
    "sasl_mechanism": None,
    "sasl_username": None,
    "sasl_password": None,
    "sasl_password_file": None,
    "ssl_ca_file": None,
    "ssl_cert_file": None,
    "ssl_key_file": None,
    "ssl_key_password": None,
    "ssl_check_hostname": None,
    "client_options": None,
    "chain_key": None,
    "chain_key_file": None,
}

_TEXTS: Final = (
    "topic",
    "service",
    "environment",
    "host",
    "compression",
    "names",
    "spool_sync",
    "control_topic",
)

SECURITY: Final = tuple(name for name in DEFAULTS if name.startswith(("security_", "sasl_", "ssl_")))
"""Names of the options that say how the connection to Kafka is secured."""


def settle(given: HandlerOptions) -> HandlerOptions:
    """Return all options, each as given, as the environment says, or as by default.

    Args:
        given: what the caller says; nothing of it is overruled.

    Raises:
        TypeError: an option that there is not, or a text where a number or a truth value belongs.
        ValueError: options that contradict each other.
    """
    _check_form(given)
    options: HandlerOptions = {**DEFAULTS, **given}
    if options["path"] is not None and options["bootstrap_servers"] is not None:
        raise ValueError("give either path or bootstrap_servers, not both")
    _settle_security(options)
    if options["mask_keys"] and not options["mask"]:
        raise ValueError("mask_keys has no effect with mask=False")
    if options["control_topic"] and not options["recorder"]:
        raise ValueError("control_topic has no effect without recorder=True")
    if options["control_topic"] and options["path"] is not None:
        raise ValueError("control_topic has no effect with path")
    _settle_chain(options)
    _settle_spool(options)
    environ = os.environ
    options["bootstrap_servers"] = (
        options["bootstrap_servers"] or environ.get("KAFKA_BOOTSTRAP_SERVERS") or "localhost:9092"
    )
    options["topic"] = options["topic"] or environ.get("TOCSIN_TOPIC") or "logs"
    options["service"] = options["service"] or environ.get("TOCSIN_SERVICE") or _script_name()
    options["environment"] = options["environment"] or environ.get("TOCSIN_ENVIRONMENT") or ""
    options["host"] = options["host"] or socket.gethostname()
    return options


def _settle_chain(options: HandlerOptions) -> None:
    key, key_file = options["chain_key"], options["chain_key_file"]
    if key is not None and key_file is not None:
        raise ValueError("give either chain_key or chain_key_file, not both")
    if options["path"] is not None:
        if key is not None or key_file is not None:
            raise ValueError("a chain key has no effect with path")
        return
    if key is None and key_file is None:
        key = os.environ.get("TOCSIN_CHAIN_KEY") or None
        key_file = None if key else os.environ.get("TOCSIN_CHAIN_KEY_FILE") or None
    if key is not None:
        key = Secret(key) if isinstance(key, str) else _SecretBytes(key)
    options["chain_key"] = key
    options["chain_key_file"] = key_file


def _settle_spool(options: HandlerOptions) -> None:
    if options["path"] is None:
        options["spool"] = options["spool"] or os.environ.get("TOCSIN_SPOOL") or None
    elif options["spool"] is not None:
        raise ValueError("give either path or spool, not both")


def _settle_security(options: HandlerOptions) -> None:
    for name in SECURITY if options["path"] is not None else ():
        if options.get(name) is not None:
            raise ValueError(f"{name} is of the connection to Kafka; it has no effect with path")
    # From here on they stand in variables that a traceback may show.
    if isinstance(password := options["sasl_password"], str):
        options["sasl_password"] = Secret(password)
    if isinstance(password := options["ssl_key_password"], str):
        options["ssl_key_password"] = Secret(password)


def _check_form(given: HandlerOptions) -> None:
    for name in given:
        if name not in DEFAULTS:
            near = difflib.get_close_matches(name, DEFAULTS, 1)
            meant = f"; is {near[0]} meant?" if near else f"; valid: {', '.join(DEFAULTS)}"
            raise TypeError(f"KafkaHandler has no option {name!r}{meant}")
    for name, default in DEFAULTS.items():
        # What comes from an environment or a file is a text: "false" would be true.
        if isinstance(default, int) and isinstance(value := given.get(name, default), str | None):
            kind = "True or False" if isinstance(default, bool) else "a number"
            raise TypeError(f"{name} must be {kind}, not {value!r}")
    for name in _TEXTS:
        if not isinstance(text := given.get(name), str | None):
            raise TypeError(f"{name} must be a text, not {text!r}")


def _script_name() -> str:
    name = pathlib.PurePath(sys.argv[0]).stem if sys.argv else ""
    return name if name not in {"", "-c", "-m", "-"} else "python"
