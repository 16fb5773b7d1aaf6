"""The Kafka client: how every consumer and producer of a worker is made, asked and stopped."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Any

import structlog
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from consumers.kafka.security import client_options

if TYPE_CHECKING:
    from aiokafka import TopicPartition

    from pipeline.config.model import Kafka

__all__ = ["MAX_VALUE_BYTES", "Client", "position_of", "stop_client"]

MAX_VALUE_BYTES = 1024 * 1024
"""What one record may hold that we can make smaller: half of what the topics take, compressed or not."""

# A dead letter may be larger than any record of ours; the broker has the last word on it, once compressed.
_MAX_REQUEST_BYTES = 8 * 1024 * 1024
_FETCH_BYTES = 4 * 1024 * 1024
_MOMENT_S = 0.1
_log = structlog.get_logger("tocsin.kafka")


class Client:
    """Makes consumers and producers with the options of the configuration.

    Attributes:
        options: what every client of aiokafka takes: where the brokers are, and how to speak to them.
        group: prefix of the consumer groups.
    """

    def __init__(self, kafka: Kafka) -> None:
        """Take the options over, of security those of the environment if there are no others.

        Raises:
            ConfigError: they can't be used.
        """
        self.group = kafka.group
        # Any: aiokafka's options are of all types.
        self.options: dict[str, Any] = client_options(kafka, os.environ)

    def consumer(self, stage: str) -> AIOKafkaConsumer:
        """Return a consumer of a stage's group, not started; it begins with the oldest record there is."""
        return AIOKafkaConsumer(
            **self.options,
            client_id=f"tocsin-{stage}",
            group_id=f"{self.group}-{stage}",
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
            max_partition_fetch_bytes=_FETCH_BYTES,
            fetch_max_wait_ms=100,
            # A topic that is created late, or grows, is noticed in half a minute.
            metadata_max_age_ms=30_000,
            max_poll_interval_ms=300_000,
            session_timeout_ms=10_000,
            heartbeat_interval_ms=2_000,
            # What is being handled when the group changes may take this long to be finished and committed.
            rebalance_timeout_ms=60_000,
        )

    def producer(self, stage: str) -> AIOKafkaProducer:
        """Return a producer, not started: idempotent, so that what it repeats the broker keeps once."""
        return AIOKafkaProducer(
            **self.options,
            client_id=f"tocsin-{stage}",
            enable_idempotence=True,
            compression_type="lz4",
            max_request_size=_MAX_REQUEST_BYTES,
            linger_ms=0,
        )


async def position_of(consumer: AIOKafkaConsumer, partition: TopicPartition) -> int | None:
    """Return the next offset that is read of an assigned partition, or None while that is being found out."""
    try:
        # It waits only where the committed offset turned out to be gone.
        async with asyncio.timeout(_MOMENT_S):
            return await consumer.position(partition)  # type: ignore[no-any-return]  # aiokafka is untyped
    except TimeoutError:
        return None


async def stop_client(client: Any, within_s: float) -> None:
    """Stop a client in order, or else cut it off: nothing of it may reach Kafka after a newer one has begun.

    Args:
        client: a consumer or a producer, started or not (Any: what they have in common has no type).
        within_s: how long it may take, in seconds.
    """
    # A task of its own: aiokafka lets the cancellation of its inner tasks out, which would be taken for ours.
    stopping = asyncio.create_task(client.stop())
    try:
        await asyncio.wait({stopping}, timeout=within_s)
    finally:
        stopping.cancel()
        outcomes = await asyncio.gather(stopping, return_exceptions=True)
    outcome: object = outcomes[0]
    if outcome is None:
        return
    _log.debug("a Kafka client did not stop cleanly", error=str(outcome) or type(outcome).__name__)
    sender = getattr(client, "_sender", None)
    if sender is not None and sender.sender_task is not None:
        sender.sender_task.cancel()
    await (client.client if isinstance(client, AIOKafkaProducer) else client._client).close()  # noqa: SLF001 — its own `stop` has given up
