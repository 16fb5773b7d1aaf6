"""Dead letters: records that can't be worked on, kept as they came, with where from and why."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import structlog

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
    """

    origin: str
    stage: str
    error: str
    reason: str
    key: bytes | None
    value: bytes


class DeadLetters:
    """Where a stage puts the records that it can't work on."""

    def __init__(self, topic: str, stage: str, metrics: Metrics) -> None:
        """Name the topic."""
        self._topic = topic
        self._stage = stage
        self._metrics = metrics

    async def put(self, producer: AIOKafkaProducer, partition: TopicPartition, record: Any, error: Exception) -> None:
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
        headers = [
            ("origin", origin.encode()),
            ("stage", self._stage.encode()),
            ("error", name.encode()),
            ("reason", str(error)[:_MAX_REASON].encode("utf-8", "replace")),
        ]
        await producer.send_and_wait(self._topic, value=record.value, key=record.key, headers=headers)
        self._metrics.dead_letter(self._stage, name)
        _log.error("record put aside", origin=origin, stage=self._stage, error=name, reason=str(error)[:_MAX_REASON])


async def read_dead_letters(consumer: AIOKafkaConsumer, partitions: list[TopicPartition]) -> list[DeadLetter]:
    """Return the dead letters there are.

    Args:
        consumer: started, without a group.
        partitions: the topic's partitions.
    """
    consumer.assign(partitions)
    ends = await consumer.end_offsets(partitions)
    await consumer.seek_to_beginning(*partitions)
    letters: list[DeadLetter] = []
    while any([await consumer.position(p) < ends[p] for p in partitions]):
        for records in (await consumer.getmany(timeout_ms=500)).values():
            for record in records:
                told = {k: v.decode("utf-8", "replace") for k, v in record.headers}
                letters.append(
                    DeadLetter(
                        told.get("origin", "?"),
                        told.get("stage", "?"),
                        told.get("error", "?"),
                        told.get("reason", "?"),
                        record.key,
                        record.value or b"",
                    )
                )
    return letters
