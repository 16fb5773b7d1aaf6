"""The detect stage on Kafka: `logs` in, `detections` out."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec
import structlog

from consumers.kafka.client import MAX_VALUE_BYTES, position_of
from consumers.kafka.lean import poll_lean
from consumers.kafka.words import WordWriter
from consumers.rules.gate import Gate
from pipeline.detection import Detection, Progress
from pipeline.event import Batch, Partition

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

    from consumers.kafka.dead_letters import DeadLetters
    from consumers.kafka.session import Records
    from consumers.rules.python_errors import PythonErrors
    from pipeline.detect.detect import Detect, Source
    from pipeline.detect.words import SourceEvent

__all__ = ["DetectStage", "as_batch"]

_POLL_MS = 200
# A fetch may bring hundreds of thousands of records. Taken a few at a time their memory is still warm when
# they are scanned: 0.7 µs an event to read instead of 1.9 (`benchmarks/detect.py`).
_POLL_RECORDS = 1000
_TICK_S = 1.0
# A partition's progress is told this often at the most; a batch may take less than a millisecond.
_PROGRESS_S = 0.1
_SLICE = 10_000
_log = structlog.get_logger("tocsin.detect")


class DetectStage:
    """See `consumers.kafka.session.Stage`."""

    def __init__(  # noqa: PLR0913 - settings, most of them by name
        self,
        detect: Detect,
        source: Source,
        topic: str,
        detections: str,
        clock_ms: Callable[[], int],
        dead_letters: DeadLetters | None = None,
        *,
        gate: Gate | None = None,
        python_errors: PythonErrors | None = None,
        chain_key: bytes | None = None,
    ) -> None:
        """Name the topics.

        Args:
            detect: the stage of the core.
            source: what is declared of the topic.
            topic: the topic of events.
            detections: the topic of detections.
            clock_ms: the wall clock.
            dead_letters: takes an event that detection fails on; without it the failure ends the stage.
            gate: what the batches of all that share `detect` go through, so that its rules change only
                between them.
            python_errors: tells of rules in Python that fail.
            chain_key: what to chain with what is written to the topic of events; None: it goes without.
        """
        self.name = f"detect-{topic}"
        self.topic = topic
        self._detect = detect
        self._source = source
        self._detections = detections
        self._clock_ms = clock_ms
        self._dead_letters = dead_letters
        self._gate = gate or Gate()
        self._python_errors = python_errors
        self._words = WordWriter(topic, detect.sources, chain_key)
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

    async def assigned(self, positions: Mapping[TopicPartition, int]) -> None:
        """Tell all correlators that these partitions are read from here on."""
        siblings = len(self._consumer.partitions_for_topic(self.topic) or ())
        source = msgspec.structs.replace(self._source, siblings=siblings)
        oldest = await self._consumer.beginning_offsets(list(positions))
        ends = await self._consumer.end_offsets(list(positions))
        for tp, committed in positions.items():
            self._owned.add(tp)
            position = committed
            if not oldest[tp] <= position <= ends[tp]:
                # The client finds out at its first fetch, and begins with the oldest record.
                position = oldest[tp]
                _log.warning(
                    "the committed offset is gone; reading begins with the oldest record",
                    topic=tp.topic,
                    partition=tp.partition,
                    committed=committed,
                    oldest=position,
                )
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
        async with self._gate.batch():
            sent = await self._detected(records)
        if sent:
            await asyncio.gather(*sent)
        # What is told of the progress comes after the detections it covers, in every partition.
        if sent or asyncio.get_running_loop().time() - self._told_s >= _PROGRESS_S:
            await self._tell()

    async def _detected(self, records: Records) -> list[asyncio.Future[Any]]:
        """Detect, note the progress, and return what is on its way."""
        now_ms = self._clock_ms()
        sent: list[asyncio.Future[Any]] = []
        for tp, rows in records.items():
            caught_up = await self._at_end(tp)
            for start in range(0, len(rows), _SLICE):
                taken = rows[start : start + _SLICE]
                batch = self._detect.account(as_batch(tp, taken, caught_up=caught_up), now_ms)
                for found in await self._examine(tp, batch, taken, now_ms):
                    if isinstance(found, Detection):
                        key = _key(found)
                        sent += [await self._send(key, value) for value in self._encoded(found)]
                    else:
                        self._progress[found.partition] = found
                # A long batch must not keep the heartbeat waiting.
                await asyncio.sleep(0)
        return sent

    async def tick(self) -> None:
        """Tell of progress that was held back, of partitions that fell silent, and of sources."""
        now_s = asyncio.get_running_loop().time()
        if now_s - self._told_s >= _PROGRESS_S:
            await self._tell()
        if now_s - self._ticked_s < _TICK_S:
            return
        self._ticked_s = now_s
        if self._python_errors is not None:
            self._python_errors.tell()
        now_ms = self._clock_ms()
        words: dict[int, list[SourceEvent]] = {}
        for tp in self._owned:
            partition = Partition(tp.topic, tp.partition)
            at_end = await self._at_end(tp)
            if at_end:
                self._detect.mark_caught_up(partition)
            if told := self._detect.tell(partition, now_ms, at_end=at_end):
                words[tp.partition] = told
        for idle in self._detect.tick(self._clock_ms()):
            if idle.partition.topic == self.topic:
                self._progress[idle.partition] = idle
        await self._tell()
        if words:
            await self._words.write(self._producer, words)

    async def finish(self) -> None:
        """Tell of progress that was held back."""
        await self._tell()

    def poll(self, consumer: AIOKafkaConsumer) -> Any:
        """Return an awaitable of the next records."""
        return poll_lean(consumer, _POLL_MS, _POLL_RECORDS)

    async def _at_end(self, tp: TopicPartition) -> bool:
        """Whether a partition has been read to its end. Markers of transactions count; no record is one."""
        highwater = self._consumer.highwater(tp)
        position = await position_of(self._consumer, tp)
        return highwater is not None and position is not None and position >= highwater

    async def _examine(
        self, tp: TopicPartition, batch: Batch, rows: Sequence[Any], now_ms: int
    ) -> list[Detection | Progress]:
        """Detect; put the records aside that it fails on, which halving finds in few calls."""
        before = msgspec.structs.replace(self._detect.counts, by_rule=dict(self._detect.counts.by_rule))
        try:
            return self._detect.process(batch, now_ms)
        except Exception as error:
            # Whatever one hostile record brings about, the others are worked on.
            if self._dead_letters is None:
                raise
            self._detect.counts = before
            failure = error
        if len(rows) > 1:
            half = len(rows) // 2
            first = await self._examine(tp, _part(batch, slice(half)), rows[:half], now_ms)
            return first + await self._examine(tp, _part(batch, slice(half, None)), rows[half:], now_ms)
        (row,) = rows
        await self._dead_letters.put(self._producer, tp, row, failure)
        before.events += 1
        before.bytes += len(row.value)
        # As if it had been empty, so that the progress passes over it.
        found = self._detect.process(msgspec.structs.replace(batch, values=[None]), now_ms)
        before.empty -= 1
        return found

    def _encoded(self, detection: Detection) -> Iterator[bytes]:
        """Yield a detection in as many records as it takes for each to be of a size that brokers take."""
        value = self._encoder.encode(detection)
        matches = detection.matches
        if len(value) <= MAX_VALUE_BYTES or len(matches) == 1:
            yield value
            return
        half = len(matches) // 2
        cut = matches[half].offset
        for part, samples in (
            (matches[:half], tuple(s for s in detection.samples if s[0] < cut)),
            (matches[half:], tuple(s for s in detection.samples if s[0] >= cut)),
        ):
            yield from self._encoded(msgspec.structs.replace(detection, matches=part, samples=samples))

    async def _send(self, key: bytes, value: bytes) -> asyncio.Future[Any]:
        return await self._producer.send(self._detections, value=value, key=key)  # type: ignore[no-any-return]  # aiokafka is untyped

    async def _tell(self) -> None:
        """Write the progress of each partition to every partition of the detections."""
        if not self._progress:
            return
        self._told_s = asyncio.get_running_loop().time()
        progress = [self._encoder.encode(p) for p in self._progress.values()]
        self._progress.clear()
        partitions = await self._producer.partitions_for(self._detections)
        sent = [
            await self._producer.send(self._detections, value=value, partition=partition)
            for partition in partitions
            for value in progress
        ]
        await asyncio.gather(*sent)


def _key(detection: Detection) -> bytes:
    return "\0".join((detection.target, *detection.group)).encode("utf-8", "replace")


def as_batch(tp: TopicPartition, rows: Sequence[Any], *, caught_up: bool) -> Batch:
    """Return the records of a partition as the core takes them, with what accounts of sources need.

    Args:
        tp: the partition.
        rows: its records (Any: aiokafka's, of Python or of C).
        caught_up: whether the partition has been read to its end.
    """
    headers = [r.headers for r in rows]
    return Batch(
        Partition(tp.topic, tp.partition),
        [r.offset for r in rows],
        [r.timestamp for r in rows],
        [r.value for r in rows],
        caught_up,
        [r.key for r in rows] if any(headers) else (),
        headers,
    )


def _part(batch: Batch, part: slice) -> Batch:
    """Return some of a batch's records, as far as they are examined."""
    return msgspec.structs.replace(
        batch,
        offsets=batch.offsets[part],
        times_ms=batch.times_ms[part],
        values=batch.values[part],
        keys=(),
        headers=(),
    )
