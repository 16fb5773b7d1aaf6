"""The correlate stage on Kafka: `detections` in, `alerts` out, windows in a changelog."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec

from consumers.kafka.changelog import Changelog
from consumers.rules.gate import Gate
from pipeline.detection import Detection, Progress
from pipeline.errors import TocsinError
from pipeline.notify.route import Router, group_key

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

    from consumers.kafka.client import Client
    from consumers.kafka.control import Control
    from consumers.kafka.dead_letters import DeadLetters
    from consumers.kafka.session import Records
    from consumers.kafka.topics import TopicNames
    from pipeline.alert import Alert
    from pipeline.correlate.correlate import Correlate

__all__ = ["ROUTE_HEADER", "CorrelateStage"]

ROUTE_HEADER = "route"
_POLL_MS = 200
# Detections are work: the heartbeat gets its turn after so many.
_SLICE = 1_000


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
        sources: Collection[str],
        gate: Gate | None = None,
        control: Control | None = None,
    ) -> None:
        """Name the topics.

        Args:
            make: makes an empty shard with the rules that run at that moment.
            router: says which groups an alert belongs to, and so which partition it goes to.
            client: reads the changelog.
            topics: their names.
            dead_letters: takes what is no detection.
            sources: names of the topics that are read now; what an older configuration read holds nobody.
            gate: what the stage's batches go through, so that its shards' rules change only between them.
            control: asks services for what their recorders keep; None: nobody is asked.
        """
        self._sources = sources
        self._gate = gate or Gate()
        self._control = control
        self.name = "correlate"
        self.topic = topics.detections
        self.shards: dict[int, Correlate] = {}
        self._changelogs: dict[int, Changelog] = {}
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
        self._changelogs.clear()

    async def assigned(self, positions: Mapping[TopicPartition, int]) -> None:
        """Restore each partition's windows before its first record."""
        for tp in positions:
            self._changelogs[tp.partition] = Changelog(
                self._client, self._producer, self._topics.windows, tp.partition
            )
        await asyncio.gather(*(self._restore(tp.partition) for tp in positions))

    async def revoked(self, partitions: Collection[TopicPartition]) -> None:
        """Forget partitions."""
        for tp in partitions:
            self.shards.pop(tp.partition, None)
            self._changelogs.pop(tp.partition, None)

    async def handle(self, records: Records) -> None:
        """Correlate; write alerts, then the windows' changes: the offsets may be committed after both.

        If the process dies between, the same records give the same alerts again, and the windows know by
        source offset what they have counted.
        """
        async with self._gate.batch():
            alerts = [alert for tp, rows in records.items() for alert in await self._apply(tp, rows)]
            sent = [future for alert in alerts for future in await self._send(alert)]
            if sent:
                await asyncio.gather(*sent)
            for tp in records:
                await self._changelogs[tp.partition].save(self.shards[tp.partition].changes())
            # Last: what is asked here must neither hold up nor spoil what was found.
            if self._control is not None:
                await self._control.ask(self._producer, alerts)

    async def tick(self) -> None:
        """Nothing is due here: time comes with the records."""

    async def finish(self) -> None:
        """Nothing is under way between two calls of `handle`."""

    def poll(self, consumer: AIOKafkaConsumer) -> Any:
        """Return an awaitable of the next records."""
        return consumer.getmany(timeout_ms=_POLL_MS)

    async def _restore(self, partition: int) -> None:
        kept = await self._changelogs[partition].load()
        # Nothing waits from here on: the shard has the rules that it will be found with.
        shard = self._make()
        try:
            shard.restore(kept)
        except msgspec.DecodeError as error:
            raise TocsinError(f"{self._topics.windows}/{partition} holds something else: {error}") from error
        shard.expect(self._sources)
        self.shards[partition] = shard

    async def _apply(self, tp: TopicPartition, rows: Sequence[Any]) -> list[Alert]:
        """Take records of a partition into its windows, put those aside that can't be; return the alerts."""
        decoded: list[tuple[Any, Detection | Progress]] = []
        for row in rows:
            try:
                decoded.append((row, self._decoder.decode(row.value or b"")))
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                await self._dead_letters.put(self._producer, tp, row, error)
        size = _SLICE
        while True:
            alerts: list[Alert] = []
            done = 0
            try:
                while done < len(decoded):
                    batch = decoded[done : done + size]
                    position = batch[-1][0].offset
                    alerts += self.shards[tp.partition].process([record for _, record in batch], position)
                    done += len(batch)
                    await asyncio.sleep(0)
            except Exception as error:  # noqa: BLE001 — one hostile record must not stop the others
                failure = error
            else:
                return alerts
            # The shard may hold half of it: begin anew from what was kept, first to see which one it is.
            await self._restore(tp.partition)
            if size == 1:
                await self._dead_letters.put(self._producer, tp, decoded.pop(done)[0], failure)
            size = 1

    async def _send(self, alert: Alert) -> list[asyncio.Future[Any]]:
        value = self._encoder.encode(alert)
        sent = []
        for route in self._router.dispatch(alert.labels):
            key, _ = group_key(route, alert.labels)
            headers = [(ROUTE_HEADER, route.path.encode())]
            sent.append(
                await self._producer.send(self._topics.alerts, value=value, key=key.encode(), headers=headers)
            )
        return sent
