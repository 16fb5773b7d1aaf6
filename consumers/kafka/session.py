"""Sessions: one stage's life on Kafka, from joining the group to leaving it.

A stage handles records of the partitions it owns and commits what came out of them before their offsets.
Handling and rebalancing never overlap: partitions are given away only with everything of theirs committed.
A broken session is begun anew from what was committed, which every stage can take.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import structlog
from aiokafka import ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import (
    CommitFailedError,
    IllegalStateError,
    KafkaConnectionError,
    KafkaError,
    KafkaTimeoutError,
    RebalanceInProgressError,
)

from consumers.clock import now_ms
from consumers.kafka.client import position_of, stop_client
from consumers.kafka.refusal import refusal
from consumers.kafka.salvage import guard

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

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
_ANSWER_S = 15.0
# Fetches come back several times a second, empty or not: after this long without one Kafka is away.
_SILENCE_MS = 10_000
# A session is sound when it has lasted so long: one that joins and breaks at once is the same trouble still.
_SOUND_S = 2.0
# Both, one after the other, have to fit into the 30 s that orchestrators give a process.
_FINISH_S = 10.0
_STOP_S = 5.0


class Stage(Protocol):
    """What a session runs. Every method may raise KafkaError: the session then begins anew."""

    name: str
    topic: str

    def begin(self, consumer: AIOKafkaConsumer, producer: AIOKafkaProducer) -> None:
        """Start from nothing, with these clients."""
        ...

    async def assigned(self, positions: Mapping[TopicPartition, int]) -> None:
        """Take partitions over, each with the offset at which reading begins, before the first record."""
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

    async def finish(self) -> None:
        """Bring to an end what is under way: the last call before offsets are committed for good."""
        ...

    def poll(self, consumer: AIOKafkaConsumer) -> Any:
        """Return an awaitable of the next records."""
        ...


class _Listener(ConsumerRebalanceListener):
    def __init__(self, session: _Session) -> None:
        self._session = session

    async def on_partitions_revoked(self, revoked: Collection[TopicPartition]) -> None:
        del revoked  # aiokafka rebalances eagerly: always all
        await self._session.give_away()

    async def on_partitions_assigned(self, assigned: Collection[TopicPartition]) -> None:
        # Nothing is restored here: aiokafka sends no heartbeats until this returns. The next step does it.
        del assigned
        self._session.joined = True


class _Session:
    """One consumer, one producer, one stage. Owns the lock between handling and rebalancing.

    Attributes:
        joined: whether the group has told which partitions are ours, be it none.
    """

    def __init__(
        self, stage: Stage, consumer: AIOKafkaConsumer, producer: AIOKafkaProducer, metrics: Metrics
    ) -> None:
        self.joined = False
        self._stage = stage
        self._consumer = consumer
        self._metrics = metrics
        self._lock = asyncio.Lock()
        # How often partitions were given away: what was fetched before may be someone else's now.
        self._epoch = 0
        self._owned: set[TopicPartition] = set()
        # Next offsets of what was handled and not committed yet.
        self._handled: dict[TopicPartition, int] = {}
        self._committed_s = 0.0
        self._heard_ms = now_ms()
        self._failed: Exception | None = None
        stage.begin(consumer, producer)

    async def give_away(self) -> None:
        """Commit and let go of all partitions; the group is about to hand them out anew."""
        async with self._lock:
            self._epoch += 1
            self.joined = False
            try:
                # Where that fails, whoever comes next repeats it.
                with contextlib.suppress(KafkaError, TimeoutError):
                    await self._commit()
                await self._stage.revoked(tuple(self._owned))
            except Exception as error:  # noqa: BLE001 — raised here it would end in aiokafka's log; `step` raises it
                self._failed = error
            self._owned.clear()
            self._handled.clear()

    async def step(self, stopping: asyncio.Task[None]) -> None:
        """Take the next records through the stage, and do what is due."""
        records, epoch = await self._next(stopping)
        if self._failed is not None:
            raise self._failed
        async with self._lock:
            if epoch != self._epoch:
                # Given away while we waited for the lock. Whoever has them now begins at what was committed.
                records = {}
            if records or self.joined:
                await self._take_over(records)
            self._check_silence(heard=bool(records))
            if records:
                await self._stage.handle(records)
                self._handled.update((p, rows[-1].offset + 1) for p, rows in records.items())
            await self._stage.tick()
            if self._handled and asyncio.get_running_loop().time() - self._committed_s >= _COMMIT_S:
                await self._commit()
            await self._show_lag()

    async def close(self) -> None:
        """Finish what is under way, and commit."""
        async with self._lock:
            await self._stage.finish()
            await self._commit()

    async def _next(self, stopping: asyncio.Task[None]) -> tuple[Records, int]:
        """Poll. While the group is changing hands that may take long, so stopping ends it."""
        polling = asyncio.create_task(self._poll())
        try:
            await asyncio.wait({polling, stopping}, return_when=asyncio.FIRST_COMPLETED)
            return polling.result() if polling.done() else ({}, self._epoch)
        finally:
            if polling.cancel():
                await asyncio.gather(polling, return_exceptions=True)

    async def _poll(self) -> tuple[Records, int]:
        records = await self._stage.poll(self._consumer)
        # Nothing else has run since the records were taken: the epoch is theirs.
        return {p: rows for p, rows in records.items() if rows}, self._epoch

    async def _take_over(self, records: Records) -> None:
        coming = self._consumer.assignment() - self._owned
        if coming:
            async with asyncio.timeout(_ANSWER_S):
                # From here on each partition has a position, so that asking for it never waits.
                positions = {p: await self._consumer.position(p) for p in coming}
            # What has been fetched is behind the client's position, but ahead of ours.
            positions.update((p, rows[0].offset) for p, rows in records.items() if p in coming)
            await self._stage.assigned(positions)
            self._owned |= coming
            self._heard_ms = now_ms()

    async def _commit(self) -> None:
        self._committed_s = asyncio.get_running_loop().time()
        if not self._handled:
            return
        try:
            # aiokafka itself would try for ever.
            async with asyncio.timeout(_ANSWER_S):
                await self._consumer.commit(self._handled)
        except (CommitFailedError, RebalanceInProgressError, IllegalStateError):
            # The group is changing hands: whoever gets the partition repeats what was not committed.
            return
        self._handled.clear()

    async def _show_lag(self) -> None:
        lag: dict[int, int] = {}
        for partition in self._owned:
            highwater = self._consumer.highwater(partition)
            position = await position_of(self._consumer, partition)
            if highwater is not None and position is not None:
                lag[partition.partition] = max(highwater - position, 0)
        self._metrics.lag[self._stage.topic] = lag

    def _check_silence(self, *, heard: bool) -> None:
        """Raise if Kafka has not answered a fetch for long: aiokafka would wait for ever without a word."""
        if heard or not self._owned:
            self._heard_ms = now_ms()
        answers = [self._consumer.last_poll_timestamp(p) for p in self._owned]
        self._heard_ms = max([self._heard_ms, *(a for a in answers if a)])
        if now_ms() - self._heard_ms > _SILENCE_MS:
            raise KafkaConnectionError(f"no answer for {_SILENCE_MS // 1000} s")


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
    told: set[str] = set()
    while not stop.is_set():
        consumer, producer = client.consumer(stage.name), client.producer(stage.name)
        session = _Session(stage, consumer, producer, metrics)
        try:
            async with _ended_by(stop) as stopping:
                await producer.start()
                await consumer.start()
                guard(consumer, functools.partial(metrics.unreadable, stage.name))
                consumer.subscribe([stage.topic], listener=_Listener(session))
                began_s = asyncio.get_running_loop().time()
                while not stop.is_set():
                    await session.step(stopping)
                    if session.joined:
                        on_ready.set()
                    if session.joined and asyncio.get_running_loop().time() - began_s >= _SOUND_S:
                        if told:
                            _log.info("Kafka is back", stage=stage.name)
                            told.clear()
                        pause_s = _FIRST_PAUSE_S
                await session.close()
        except (KafkaError, TimeoutError) as error:
            if (why := await refusal(client.options)) is not None:
                # A login that fails may lock the user out, and is in the broker's log.
                pause_s = _LONGEST_PAUSE_S
            if (kind := why or _kind(error)) not in told:
                _log.warning(
                    "Kafka can't be reached or has failed; trying again until it answers",
                    stage=stage.name,
                    bootstrap_servers=client.options["bootstrap_servers"],
                    error=why or str(error) or type(error).__name__,
                )
                told.add(kind)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
        finally:
            metrics.lag.pop(stage.topic, None)
            await asyncio.gather(stop_client(consumer, _STOP_S), stop_client(producer, _STOP_S))


@contextlib.asynccontextmanager
async def _ended_by(stop: asyncio.Event) -> AsyncIterator[asyncio.Task[None]]:
    """Limit how long the body may go on once `stop` is set; yield a task that is done from then on.

    Raises:
        TimeoutError: the body took longer.
    """
    async with asyncio.timeout(None) as limit:

        async def watch() -> None:
            await stop.wait()
            limit.reschedule(asyncio.get_running_loop().time() + _FINISH_S)

        watching = asyncio.create_task(watch())
        try:
            yield watching
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)


def _kind(error: Exception) -> str:
    """Return what makes an error another one to people: that Kafka is away shows in several."""
    away = isinstance(error, TimeoutError | KafkaTimeoutError) or getattr(error, "retriable", False)
    return "away" if away else type(error).__name__
