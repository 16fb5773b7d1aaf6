"""The detect stage on Kafka: `logs` in, `detections` out."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec

from consumers.kafka.lean import poll_lean
from pipeline.detection import Detection, Progress
from pipeline.event import Batch, Partition

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

    from consumers.kafka.session import Records
    from pipeline.detect.detect import Detect, Source

__all__ = ["DetectStage"]

_POLL_MS = 200
_TICK_S = 1.0
# A partition's progress is told this often at the most; a batch may take less than a millisecond.
_PROGRESS_S = 0.1
_SLICE = 10_000


class DetectStage:
    """See `consumers.kafka.session.Stage`."""

    def __init__(
        self, detect: Detect, source: Source, topic: str, detections: str, clock_ms: Callable[[], int]
    ) -> None:
        """Name the topics.

        Args:
            detect: the stage of the core.
            source: what is declared of the topic.
            topic: the topic of events.
            detections: the topic of detections.
            clock_ms: the wall clock.
        """
        self.name = f"detect-{topic}"
        self.topic = topic
        self._detect = detect
        self._source = source
        self._detections = detections
        self._clock_ms = clock_ms
        self._encoder = msgspec.json.Encoder()
        self._owned: set[TopicPartition] = set()
        self._progress: dict[Partition, Progress] = {}
        self._ticked_s = 0.0
        self._told_s = 0.0

    def begin(self, consumer: AIOKafkaConsumer, producer: AIOKafkaProducer) -> None:
        """Forget the session before."""
        self._consumer = consumer
        self._producer = producer
        for partition in self._owned:
            self._detect.close(Partition(partition.topic, partition.partition))
        self._owned.clear()
        self._progress.clear()

    async def assigned(self, partitions: Collection[TopicPartition]) -> None:
        """Tell all correlators that these partitions are read from here on."""
        siblings = len(self._consumer.partitions_for_topic(self.topic) or ())
        source = msgspec.structs.replace(self._source, siblings=siblings)
        for tp in partitions:
            self._owned.add(tp)
            position = await self._consumer.committed(tp) or 0
            partition = Partition(tp.topic, tp.partition)
            self._progress[partition] = self._detect.open(partition, source, position, self._clock_ms())
        await self._tell()

    async def revoked(self, partitions: Collection[TopicPartition]) -> None:
        """Forget partitions."""
        for tp in partitions:
            self._owned.discard(tp)
            self._progress.pop(Partition(tp.topic, tp.partition), None)
            self._detect.close(Partition(tp.topic, tp.partition))

    async def handle(self, records: Records) -> None:
        """Detect, and write what was found."""
        now_ms = self._clock_ms()
        sent = []
        for tp, rows in records.items():
            highwater = self._consumer.highwater(tp)
            caught_up = highwater is not None and rows[-1].offset + 1 >= highwater
            for start in range(0, len(rows), _SLICE):
                batch = _batch(tp, rows[start : start + _SLICE], caught_up=caught_up)
                for found in self._detect.process(batch, now_ms):
                    if isinstance(found, Detection):
                        sent.append(await self._send(found))
                    else:
                        self._progress[found.partition] = found
                # A long batch must not keep the heartbeat waiting.
                await asyncio.sleep(0)
        if sent:
            await asyncio.gather(*sent)
        # What is told of the progress comes after the detections it covers, in every partition.
        if sent or asyncio.get_running_loop().time() - self._told_s >= _PROGRESS_S:
            await self._tell()

    async def tick(self) -> None:
        """Tell of progress that was held back, and of partitions that fell silent."""
        now_s = asyncio.get_running_loop().time()
        if self._progress and now_s - self._told_s >= _PROGRESS_S:
            await self._tell()
        if now_s - self._ticked_s < _TICK_S:
            return
        self._ticked_s = now_s
        for tp in self._owned:
            highwater = self._consumer.highwater(tp)
            if highwater is not None and await self._consumer.position(tp) >= highwater:
                self._detect.mark_caught_up(Partition(tp.topic, tp.partition))
        for idle in self._detect.tick(self._clock_ms()):
            if idle.partition.topic == self.topic:
                self._progress[idle.partition] = idle
        if self._progress:
            await self._tell()

    def poll(self, consumer: AIOKafkaConsumer) -> Any:
        """Return an awaitable of the next records."""
        return poll_lean(consumer, _POLL_MS)

    async def _send(self, detection: Detection) -> asyncio.Future[Any]:
        key = "\0".join((detection.target, *detection.group)).encode("utf-8", "replace")
        return await self._producer.send(self._detections, value=self._encoder.encode(detection), key=key)  # type: ignore[no-any-return]  # aiokafka is untyped

    async def _tell(self) -> None:
        """Write the progress of each partition to every partition of the detections."""
        self._told_s = asyncio.get_running_loop().time()
        progress = [self._encoder.encode(p) for p in self._progress.values()]
        self._progress.clear()
        partitions = await self._producer.partitions_for(self._detections)
        sent = [
            await self._producer.send(self._detections, value=value, partition=partition)
            for partition in partitions
            for value in progress
        ]
        if sent:
            await asyncio.gather(*sent)


def _batch(tp: TopicPartition, rows: Sequence[Any], *, caught_up: bool) -> Batch:
    return Batch(
        Partition(tp.topic, tp.partition),
        [r.offset for r in rows],
        [r.timestamp for r in rows],
        [r.value for r in rows],
        caught_up,
    )
