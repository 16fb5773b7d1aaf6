"""Events: where one came from, when it happened, and what it says.

Raw records travel through detection as columns (`Batch`), because most are dropped unparsed; only a
record that a rule may want becomes an `Event`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

__all__ = ["Batch", "Event", "LogSource", "Origin", "Partition"]


class Partition(msgspec.Struct, frozen=True, array_like=True, order=True):
    """One ordered stream of a source: a Kafka topic's partition, or a file (number 0).

    Attributes:
        topic: the topic's name, a file's path, or `-` for standard input.
        number: the partition's number.
    """

    topic: str
    number: int = 0

    def __str__(self) -> str:
        return f"{self.topic}/{self.number}"


class Origin(msgspec.Struct, frozen=True, array_like=True, order=True):
    """The place of one event: `topic/partition/offset`; for files the offset is in bytes."""

    topic: str
    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.topic}/{self.partition}/{self.offset}"


class LogSource(msgspec.Struct, frozen=True):
    """What kind of log a source holds, in Sigma's terms (specification 2.1.0, "Log source").

    An empty part is unknown (of a source) or any (of a rule).
    """

    product: str = ""
    service: str = ""
    category: str = ""


class Event(msgspec.Struct, frozen=True):
    """One decoded log event.

    Attributes:
        time_ms: when it happened, milliseconds since the epoch, UTC.
        fields: what it says. Values are what JSON knows: nested objects and lists included.
            Always there when known: `timestamp`, `level`, `event` (the message), `logger`, `service`,
            `environment`, `host`, `pid`, `trace_id`, `span_id`, `exception`; the original names
            (ECS, OpenTelemetry, …) stay beside them.
        text: the event as it was written, for keyword search and for people.
        timed: whether `time_ms` is the event's own time; False when the record's had to serve.
        structured: whether `text` is JSON: then keywords search the values in `fields` only, as the
            keys in the text are no part of the message.
        logsources: what kinds of log the event says it is of; empty means it doesn't say: the source's count.
        declared: names of fields whose values the source declares, not the event: keywords don't search them.
    """

    time_ms: int
    fields: Mapping[str, object]
    text: str
    timed: bool = True
    structured: bool = False
    logsources: tuple[LogSource, ...] = ()
    declared: frozenset[str] = frozenset()


class Batch(msgspec.Struct, frozen=True):
    """Raw records of one partition in offset order, as columns of equal length.

    Attributes:
        partition: where they are from.
        offsets: each record's offset.
        times_ms: each record's timestamp (Kafka's; for files the time it was read).
        values: the bytes as they came.
        caught_up: whether the source had nothing after the last of them.
        keys: each record's key; empty where there are none, or nobody asks.
        headers: each record's headers, as name and value; likewise.
        repeated: offsets of records that were read before: they are passed over.
    """

    partition: Partition
    offsets: Sequence[int]
    times_ms: Sequence[int]
    values: Sequence[bytes | None]
    caught_up: bool = False
    keys: Sequence[bytes | None] = ()
    headers: Sequence[Sequence[tuple[str, bytes | None]]] = ()
    repeated: frozenset[int] = frozenset()
