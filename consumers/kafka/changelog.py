"""Changelogs: the state of one shard as a partition of a compacted topic.

What `save` was given last under a key is what `load` returns for it; an empty record removes the key. The
changelog has as many partitions as the shard's input, so that whoever owns the one finds the other.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from aiokafka import AIOKafkaConsumer, TopicPartition

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from aiokafka import AIOKafkaProducer

    from consumers.kafka.client import Client
    from consumers.store import Change

__all__ = ["Changelog"]

_LOAD_TIMEOUT_S = 60.0


class Changelog:
    """One partition of a changelog topic (a `Store`)."""

    def __init__(self, client: Client, producer: AIOKafkaProducer, topic: str, partition: int) -> None:
        """Name the partition; nothing is read yet."""
        self._client = client
        self._producer = producer
        self._partition = TopicPartition(topic, partition)

    async def load(self) -> Mapping[str, bytes]:
        """Read the partition to its end as it is now.

        Raises:
            KafkaError: it can't be read.
            TimeoutError: it takes more than a minute.
        """
        kept: dict[str, bytes] = {}
        consumer = AIOKafkaConsumer(**self._client.options, auto_offset_reset="earliest", enable_auto_commit=False)
        async with asyncio.timeout(_LOAD_TIMEOUT_S):
            await consumer.start()
            try:
                consumer.assign([self._partition])
                end = (await consumer.end_offsets([self._partition]))[self._partition]
                await consumer.seek_to_beginning(self._partition)
                while await consumer.position(self._partition) < end:
                    for records in (await consumer.getmany(timeout_ms=500)).values():
                        for record in records:
                            key = record.key.decode("utf-8", "surrogatepass")
                            if record.value:
                                kept[key] = record.value
                            else:
                                kept.pop(key, None)
            finally:
                await consumer.stop()
        return kept

    async def save(self, changes: Sequence[Change]) -> None:
        """Write changes and wait until the broker has them.

        Raises:
            KafkaError: it does not take them.
        """
        sent = [
            await self._producer.send(
                self._partition.topic,
                value=value,
                key=key.encode("utf-8", "surrogatepass"),
                partition=self._partition.partition,
            )
            for key, value in changes
        ]
        if sent:
            await asyncio.gather(*sent)
