"""The correlate stage on Kafka: `detections` in, `alerts` out, windows in a changelog."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec

from consumers.kafka.changelog import Changelog
from pipeline.correlate.correlate import Correlate
from pipeline.detection import Detection, Progress
from pipeline.notify.route import Router, group_key

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

    from consumers.kafka.client import Client
    from consumers.kafka.dead_letters import DeadLetters
    from consumers.kafka.session import Records
    from consumers.kafka.topics import TopicNames
    from pipeline.alert import Alert

__all__ = ["ROUTE_HEADER", "CorrelateStage"]

ROUTE_HEADER = "route"
_POLL_MS = 200


class CorrelateStage:
    """See `consumers.kafka.session.Stage`.

    Attributes:
        shards: one for each partition of `detections` that is owned.
    """

    def __init__(
        self,
        make: Callable[[], Correlate],
        router: Router,
        client: Client,
        topics: TopicNames,
        dead_letters: DeadLetters,
    ) -> None:
        """Name the topics.

        Args:
            make: makes an empty shard.
            router: says which groups an alert belongs to, and so which partition it goes to.
            client: reads the changelog.
            topics: their names.
            dead_letters: takes what is no detection.
        """
        self.name = "correlate"
        self.topic = topics.detections
        self.shards: dict[int, Correlate] = {}
        self._make = make
        self._router = router
        self._client = client
        self._topics = topics
        self._dead_letters = dead_letters
        self._decoder = msgspec.json.Decoder(Detection | Progress)
        self._encoder = msgspec.json.Encoder()

    def begin(self, consumer: AIOKafkaConsumer, producer: AIOKafkaProducer) -> None:
        """Forget the session before: what it had not committed comes again."""
        del consumer
        self._producer = producer
        self.shards.clear()

    async def assigned(self, partitions: Collection[TopicPartition]) -> None:
        """Restore each partition's windows before its first record."""
        for tp in partitions:
            shard = self._make()
            shard.restore(await self._store(tp.partition).load())
            self.shards[tp.partition] = shard

    async def revoked(self, partitions: Collection[TopicPartition]) -> None:
        """Forget partitions."""
        for tp in partitions:
            self.shards.pop(tp.partition, None)

    async def handle(self, records: Records) -> None:
        """Correlate; write alerts, then the windows' changes: the offsets may be committed after both.

        If the process dies between, the same records give the same alerts again, and the windows know by
        source offset what they have counted.
        """
        alerts: list[Alert] = []
        for tp, rows in records.items():
            shard = self.shards[tp.partition]
            decoded = []
            for row in rows:
                try:
                    decoded.append(self._decoder.decode(row.value or b""))
                except msgspec.DecodeError as error:
                    await self._dead_letters.put(self._producer, tp, row, error)
            alerts += shard.process(decoded, rows[-1].offset)
        sent = [future for alert in alerts for future in await self._send(alert)]
        if sent:
            await asyncio.gather(*sent)
        for tp in records:
            await self._store(tp.partition).save(self.shards[tp.partition].changes())

    async def tick(self) -> None:
        """Nothing is due here: time comes with the records."""

    def poll(self, consumer: AIOKafkaConsumer) -> Any:
        """Return an awaitable of the next records."""
        return consumer.getmany(timeout_ms=_POLL_MS)

    def _store(self, partition: int) -> Changelog:
        return Changelog(self._client, self._producer, self._topics.windows, partition)

    async def _send(self, alert: Alert) -> list[asyncio.Future[Any]]:
        value = self._encoder.encode(alert)
        sent = []
        for route in self._router.dispatch(alert.labels):
            key, _ = group_key(route, alert.labels)
            headers = [(ROUTE_HEADER, route.path.encode())]
            sent.append(await self._producer.send(self._topics.alerts, value=value, key=key.encode(), headers=headers))
        return sent
