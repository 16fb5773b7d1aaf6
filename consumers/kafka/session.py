"""Sessions: one stage's life on Kafka, from joining the group to leaving it.

A stage handles records of the partitions it owns and commits what came out of them before their offsets.
Handling and rebalancing never overlap: partitions are given away only with everything of theirs committed.
A broken session is begun anew from what was committed, which every stage can take.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import structlog
from aiokafka import ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import CommitFailedError, IllegalStateError, KafkaError, RebalanceInProgressError

if TYPE_CHECKING:
    from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

    from consumers.kafka.client import Client
    from consumers.metrics import Metrics

__all__ = ["Records", "Stage", "run_stage"]

# Any: aiokafka's records, of Python or of C; `offset`, `timestamp`, `key`, `value`, `headers`.
Records = Mapping[TopicPartition, Sequence[Any]]
_log = structlog.get_logger("tocsin.kafka")
_FIRST_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 15.0
_COMMIT_S = 1.0
_STOP_S = 20.0


class Stage(Protocol):
    """What a session runs. Every method may raise KafkaError: the session then begins anew."""

    name: str
    topic: str

    def begin(self, consumer: AIOKafkaConsumer, producer: AIOKafkaProducer) -> None:
        """Start from nothing, with these clients."""
        ...

    async def assigned(self, partitions: Collection[TopicPartition]) -> None:
        """Take partitions over."""
        ...

    async def revoked(self, partitions: Collection[TopicPartition]) -> None:
        """Let go of partitions; all of theirs has been committed."""
        ...

    async def handle(self, records: Records) -> None:
        """Work on records of owned partitions; what comes out is durable when this returns."""
        ...

    async def tick(self) -> None:
        """Do what is due; called several times a second."""
        ...

    def poll(self, consumer: AIOKafkaConsumer) -> Any:
        """Return an awaitable of the next records."""
        ...


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka is untyped
    def __init__(self, session: _Session) -> None:
        self._session = session

    async def on_partitions_revoked(self, revoked: Collection[TopicPartition]) -> None:
        await self._session.give_away(revoked)

    async def on_partitions_assigned(self, assigned: Collection[TopicPartition]) -> None:
        await self._session.take_over(assigned)


class _Session:
    """One consumer, one producer, one stage. Owns the lock between handling and rebalancing."""

    def __init__(self, stage: Stage, consumer: AIOKafkaConsumer, producer: AIOKafkaProducer) -> None:
        self._stage = stage
        self._consumer = consumer
        self._lock = asyncio.Lock()
        # Next offsets: of what is to be committed, and of all that was handled.
        self._handled: dict[TopicPartition, int] = {}
        self._reached: dict[TopicPartition, int] = {}
        self._committed_s = 0.0
        self._failed: BaseException | None = None
        stage.begin(consumer, producer)

    async def take_over(self, partitions: Collection[TopicPartition]) -> None:
        async with self._lock:
            try:
                await self._stage.assigned(partitions)
            except (KafkaError, TimeoutError) as error:
                # Raised here it would be lost in aiokafka's coordinator.
                self._failed = error

    async def give_away(self, partitions: Collection[TopicPartition]) -> None:
        async with self._lock:
            with contextlib.suppress(KafkaError):  # it is no longer ours; the next owner repeats it
                await self.commit()
            await self._stage.revoked(partitions)
            for partition in partitions:
                self._handled.pop(partition, None)
                self._reached.pop(partition, None)

    async def step(self) -> None:
        records = await self._stage.poll(self._consumer)
        if self._failed is not None:
            raise self._failed
        async with self._lock:
            owned = self._consumer.assignment()
            records = {p: r for p, r in records.items() if p in owned and r}
            if records:
                await self._stage.handle(records)
                self._handled.update((p, r[-1].offset + 1) for p, r in records.items())
                self._reached.update(self._handled)
            await self._stage.tick()
            if self._handled and asyncio.get_running_loop().time() - self._committed_s >= _COMMIT_S:
                await self.commit()

    async def commit(self) -> None:
        handled = {p: o for p, o in self._handled.items() if p in self._consumer.assignment()}
        self._committed_s = asyncio.get_running_loop().time()
        if not handled:
            return
        try:
            await self._consumer.commit(handled)
        except (CommitFailedError, RebalanceInProgressError, IllegalStateError):
            # The group is changing hands: whoever gets the partition repeats what was not committed.
            return
        for partition, offset in handled.items():
            if self._handled.get(partition) == offset:
                del self._handled[partition]

    async def close(self) -> None:
        async with self._lock:
            await self.commit()

    def show_lag(self, metrics: Metrics) -> None:
        lag: dict[int, int] = {}
        for partition in self._consumer.assignment():
            highwater = self._consumer.highwater(partition)
            if highwater is not None and partition in self._reached:
                lag[partition.partition] = max(highwater - self._reached[partition], 0)
        metrics.lag[self._stage.topic] = lag


async def run_stage(
    stage: Stage, client: Client, metrics: Metrics, stop: asyncio.Event, *, on_ready: asyncio.Event
) -> None:
    """Run a stage until `stop` is set; then finish what is in flight, commit, and leave the group.

    Args:
        stage: what to run.
        client: how to reach Kafka.
        metrics: where the lag is shown.
        stop: ends the stage.
        on_ready: set once the stage has joined its group.
    """
    pause_s = _FIRST_PAUSE_S
    told = False
    while not stop.is_set():
        consumer, producer = client.consumer(stage.name), client.producer(stage.name)
        session = _Session(stage, consumer, producer)
        try:
            await producer.start()
            await consumer.start()
            consumer.subscribe([stage.topic], listener=_Listener(session))
            while not stop.is_set():
                await session.step()
                if consumer.assignment() and not on_ready.is_set():
                    on_ready.set()
                if told and consumer.assignment():
                    _log.info("Kafka is back", stage=stage.name)
                    told, pause_s = False, _FIRST_PAUSE_S
                session.show_lag(metrics)
            async with asyncio.timeout(_STOP_S):
                await session.close()
        except (KafkaError, TimeoutError) as error:
            if not told:
                _log.warning(
                    "Kafka can't be reached or has failed; trying again until it answers",
                    stage=stage.name,
                    bootstrap_servers=client.options["bootstrap_servers"],
                    error=str(error) or type(error).__name__,
                )
                told = True
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
        finally:
            await _stop(consumer, producer)


async def _stop(consumer: AIOKafkaConsumer, producer: AIOKafkaProducer) -> None:
    for client in (consumer, producer):
        try:
            async with asyncio.timeout(_STOP_S):
                await client.stop()
        except (KafkaError, TimeoutError) as error:
            _log.warning("a Kafka client did not stop cleanly", error=str(error) or type(error).__name__)
