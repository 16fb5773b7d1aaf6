"""The notify stage on Kafka: `alerts` in, messages out, groups and ledger in a changelog."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec

from consumers.kafka.changelog import Changelog
from consumers.kafka.correlate import ROUTE_HEADER
from pipeline.alert import Alert

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

    from consumers.delivery import Delivery
    from consumers.kafka.client import Client
    from consumers.kafka.dead_letters import DeadLetters
    from consumers.kafka.session import Records
    from consumers.kafka.topics import TopicNames
    from pipeline.notify.notify import Notify

__all__ = ["NotifyStage"]

_LONGEST_POLL_MS = 200


class NotifyStage:
    """See `consumers.kafka.session.Stage`."""

    def __init__(
        self,
        make: Callable[[], Notify],
        delivery: Delivery,
        client: Client,
        topics: TopicNames,
        dead_letters: DeadLetters,
        clock_ms: Callable[[], int],
    ) -> None:
        """Name the topics.

        Args:
            make: makes an empty shard.
            delivery: sends; it is told which shards there are.
            client: reads the changelog.
            topics: their names.
            dead_letters: takes what is no alert.
            clock_ms: the wall clock.
        """
        self.name = "notify"
        self.topic = topics.alerts
        self._make = make
        self._delivery = delivery
        self._shards = delivery.shards
        self._client = client
        self._topics = topics
        self._dead_letters = dead_letters
        self._clock_ms = clock_ms
        self._decoder = msgspec.json.Decoder(Alert)
        # Set when a message was sent or refused: the ledger should know before long.
        self._recorded = asyncio.Event()
        delivery.on_recorded = self._recorded.set

    def begin(self, consumer: AIOKafkaConsumer, producer: AIOKafkaProducer) -> None:
        """Forget the session before."""
        del consumer
        self._producer = producer
        self._shards.clear()

    async def assigned(self, partitions: Collection[TopicPartition]) -> None:
        """Restore each partition's groups before its first alert."""
        for tp in partitions:
            shard = self._make()
            shard.restore(await self._store(tp.partition).load(), self._clock_ms())
            self._shards[tp.partition] = shard

    async def revoked(self, partitions: Collection[TopicPartition]) -> None:
        """Keep what was sent since, and forget partitions."""
        await self._save()
        for tp in partitions:
            self._shards.pop(tp.partition, None)

    async def handle(self, records: Records) -> None:
        """Take alerts into their groups; the groups are kept before the offsets are committed."""
        now_ms = self._clock_ms()
        for tp, rows in records.items():
            shard = self._shards[tp.partition]
            for row in rows:
                try:
                    alert = self._decoder.decode(row.value or b"")
                except msgspec.DecodeError as error:
                    await self._dead_letters.put(self._producer, tp, row, error)
                    continue
                route = next((v.decode("utf-8", "replace") for k, v in row.headers if k == ROUTE_HEADER), None)
                shard.receive(alert, route, now_ms)
        self._flush(now_ms)
        await self._save()

    async def tick(self) -> None:
        """Flush what is due, and keep what was sent."""
        if self._flush(self._clock_ms()) or self._recorded.is_set():
            await self._save()

    async def poll(self, consumer: AIOKafkaConsumer) -> Any:
        """Wait for records, but no longer than until a group is due."""
        due = min((d for s in self._shards.values() if (d := s.due_ms()) is not None), default=None)
        wait_ms = _LONGEST_POLL_MS
        if due is not None:
            wait_ms = max(min(wait_ms, due - self._clock_ms()), 1)
        return await consumer.getmany(timeout_ms=wait_ms)

    def _flush(self, now_ms: int) -> bool:
        flushed = False
        for shard in self._shards.values():
            if intents := shard.flush(now_ms):
                self._delivery.submit(intents)
                flushed = True
        return flushed

    async def _save(self) -> None:
        self._recorded.clear()
        for partition, shard in self._shards.items():
            if changes := shard.changes():
                await self._store(partition).save(changes)

    def _store(self, partition: int) -> Changelog:
        return Changelog(self._client, self._producer, self._topics.ledger, partition)
