"""Dead letters: records that can't be worked on, kept as they came, with where from and why."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import structlog
from aiokafka.errors import MessageSizeTooLargeError

from consumers.kafka.client import MAX_VALUE_BYTES
from consumers.kafka.salvage import guard

if TYPE_CHECKING:
    from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

    from consumers.metrics import Metrics

__all__ = ["DeadLetter", "DeadLetters", "read_dead_letters"]

_log = structlog.get_logger("tocsin.dead_letters")
_MAX_REASON = 500


class DeadLetter(msgspec.Struct, frozen=True):
    """One dead letter.

    Attributes:
        origin: `topic/partition/offset` of the record.
        stage: which stage could not work on it.
        error: the class of the error.
        reason: what was wrong.
        key: the record's key.
        value: the record's bytes.
        size_bytes: how many bytes the record had; more than are here when it was too large to be kept whole.
    """

    origin: str
    stage: str
    error: str
    reason: str
    key: bytes | None
    value: bytes
    size_bytes: int

    @property
    def whole(self) -> bool:
        """Whether all of the record is here, so that it can be driven again."""
        return self.size_bytes == len(self.value)


class DeadLetters:
    """Where a stage puts the records that it can't work on."""

    def __init__(self, topic: str, stage: str, metrics: Metrics) -> None:
        """Name the topic."""
        self._topic = topic
        self._stage = stage
        self._metrics = metrics

    async def put(
        self, producer: AIOKafkaProducer, partition: TopicPartition, record: Any, error: Exception
    ) -> None:
        """Write one; durable when this returns.

        Args:
            producer: the stage's.
            partition: where the record is from.
            record: the record (Any: aiokafka's, of Python or of C).
            error: why.

        Raises:
            KafkaError: the broker does not take it.
        """
        origin = f"{partition.topic}/{partition.partition}/{record.offset}"
        name = type(error).__name__
        reason = str(error)[:_MAX_REASON]
        value = record.value or b""
        headers = [
            ("origin", origin.encode()),
            ("stage", self._stage.encode()),
            ("error", name.encode()),
            ("reason", reason.encode("utf-8", "replace")),
            ("size", b"%d" % len(value)),
        ]
        try:
            await producer.send_and_wait(self._topic, value=value, key=record.key, headers=headers)
        except MessageSizeTooLargeError:
            # Its own topic took it in another compression, or beside fewer headers.
            key = record.key if record.key and len(record.key) <= MAX_VALUE_BYTES // 2 else None
            cut = value[: MAX_VALUE_BYTES // 2]
            await producer.send_and_wait(self._topic, value=cut, key=key, headers=headers)
        self._metrics.dead_letter(self._stage, name)
        _log.error("record put aside", origin=origin, stage=self._stage, error=name, reason=reason)


async def read_dead_letters(consumer: AIOKafkaConsumer, partitions: list[TopicPartition]) -> list[DeadLetter]:
    """Return the dead letters there are.

    Args:
        consumer: started, without a group.
        partitions: the topic's partitions.
    """
    guard(consumer)
    consumer.assign(partitions)
    ends = await consumer.end_offsets(partitions)
    # Not by seek_to_beginning: a reset to the end that is under way would win over it.
    for partition, oldest in (await consumer.beginning_offsets(partitions)).items():
        consumer.seek(partition, oldest)
    letters: list[DeadLetter] = []
    while any([await consumer.position(p) < ends[p] for p in partitions]):
        for records in (await consumer.getmany(timeout_ms=500)).values():
            for record in records:
                told = {k: (v or b"").decode("utf-8", "replace") for k, v in record.headers}
                value = record.value or b""
                size = told.get("size", "")
                letters.append(
                    DeadLetter(
                        told.get("origin", "?"),
                        told.get("stage", "?"),
                        told.get("error", "?"),
                        told.get("reason", "?"),
                        record.key,
                        value,
                        int(size) if size.isascii() and size.isdigit() else len(value),
                    )
                )
    return letters
