"""The notify stage on Kafka: `alerts` in, messages out, groups and ledger in a changelog."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec

from consumers.kafka.changelog import Changelog
from consumers.kafka.correlate import ROUTE_HEADER
from pipeline.alert import Alert

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

    from consumers.delivery import Delivery
    from consumers.kafka.client import Client
    from consumers.kafka.dead_letters import DeadLetters
    from consumers.kafka.session import Records
    from consumers.kafka.topics import TopicNames
    from pipeline.notify.notify import Notify

__all__ = ["NotifyStage"]

_LONGEST_POLL_MS = 200
# Groups change hands no sooner than what is being sent has arrived, within reason.
_IN_FLIGHT_S = 8.0


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
        self._changelogs: dict[int, Changelog] = {}
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
        self._changelogs.clear()

    async def assigned(self, positions: Mapping[TopicPartition, int]) -> None:
        """Restore each partition's groups before its first alert."""
        for tp in positions:
            self._changelogs[tp.partition] = Changelog(
                self._client, self._producer, self._topics.ledger, tp.partition
            )
        await asyncio.gather(*(self._restore(tp.partition) for tp in positions))

    async def revoked(self, partitions: Collection[TopicPartition]) -> None:
        """Keep what was sent, what is being sent now included, and forget partitions."""
        async with self._delivery.paused(_IN_FLIGHT_S):
            await self._save()
            for tp in partitions:
                self._shards.pop(tp.partition, None)
                self._changelogs.pop(tp.partition, None)

    async def handle(self, records: Records) -> None:
        """Take alerts into their groups; the groups are kept before the offsets are committed."""
        now_ms = self._clock_ms()
        for tp, rows in records.items():
            shard = self._shards[tp.partition]
            for row in rows:
                route = next(
                    (v.decode("utf-8", "replace") for k, v in row.headers if k == ROUTE_HEADER and v), None
                )
                try:
                    alert = self._decoder.decode(row.value or b"")
                    _check(alert)
                    shard.receive(alert, route, now_ms)
                except Exception as error:  # noqa: BLE001 — one hostile record must not stop the others
                    await self._dead_letters.put(self._producer, tp, row, error)
            await asyncio.sleep(0)
        self._flush(now_ms)
        await self._save()

    async def tick(self) -> None:
        """Flush what is due, and keep what was sent."""
        if self._flush(self._clock_ms()) or self._recorded.is_set():
            await self._save()

    async def finish(self) -> None:
        """Let what is being sent arrive, send no more, and keep what was sent."""
        await self._delivery.hold(_IN_FLIGHT_S)
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
                await self._changelogs[partition].save(changes)

    async def _restore(self, partition: int) -> None:
        shard = self._make()
        shard.restore(await self._changelogs[partition].load(), self._clock_ms())
        self._shards[partition] = shard


def _check(alert: Alert) -> None:
    """Refuse what is an alert by its form only.

    Raises:
        ValueError: a time of it has no zone, so that it is no moment.
    """
    times = [alert.starts_at, alert.ends_at, alert.first_at, alert.last_at, *(s.at for s in alert.samples)]
    if any(at is not None and at.tzinfo is None for at in times):
        raise ValueError("a time without a zone")
