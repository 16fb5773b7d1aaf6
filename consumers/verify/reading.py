"""Reading a topic from a point to where it ends as of now.

It reads what the workers read, committed records, but does not believe checksums: whoever can change a log
can make those fit, and a batch whose checksum doesn't is to be pointed at like any other.
"""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING, Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from consumers.clock import timer_ns
from consumers.kafka.client import Client
from consumers.kafka.lean import poll_lean
from pipeline.chain.form import StoredRecord
from pipeline.errors import TocsinError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from pipeline.chain.partition import Mark, PartitionCheck
    from pipeline.chain.topic import TopicCheck
    from pipeline.config.model import Kafka

__all__ = ["TopicReader", "reading"]

_SILENCE_NS = 30 * 1_000_000_000
_POLL_MS = 500
# So that the bar moves; a fetch may hold a hundred thousand.
_MOST_AT_ONCE = 5_000
_FETCH_BYTES = 4 * 1024 * 1024


@contextlib.asynccontextmanager
async def reading(kafka: Kafka, topic: str) -> AsyncIterator[TopicReader]:
    """Yield a reader of a topic.

    Args:
        kafka: where Kafka is.
        topic: the topic; it is not created.

    Raises:
        TocsinError: there is no such topic.
        KafkaError: Kafka can't be reached.
    """
    options = Client(kafka).options
    # The consumer would create the topic by asking for it.
    admin = AIOKafkaAdminClient(**options)
    try:
        await admin.start()
        topics = await admin.describe_topics([topic])
    finally:
        await admin.close()
    numbers = sorted(p["partition"] for told in topics if not told["error_code"] for p in told["partitions"])
    if not numbers:
        raise TocsinError(f"Kafka at {kafka.bootstrap_servers} has no topic {topic!r}")
    consumer = AIOKafkaConsumer(
        **options,
        client_id="tocsin-verify-log",
        enable_auto_commit=False,
        auto_offset_reset="none",
        isolation_level="read_committed",
        check_crcs=False,
        max_partition_fetch_bytes=_FETCH_BYTES,
    )
    try:
        await consumer.start()
        yield TopicReader(consumer, topic, numbers)
    finally:
        await consumer.stop()


class TopicReader:
    """Reads a topic once."""

    def __init__(self, consumer: AIOKafkaConsumer, topic: str, numbers: Sequence[int]) -> None:
        """Take a consumer over.

        Args:
            consumer: started, without a group.
            topic: the topic.
            numbers: its partitions.
        """
        self._consumer = consumer
        self._partitions = [TopicPartition(topic, n) for n in numbers]
        self._checks: dict[TopicPartition, PartitionCheck] = {}
        self._ends: dict[TopicPartition, int] = {}

    async def read(self, check: TopicCheck, since_ms: int | None, known: Mapping[int, Mark]) -> None:
        """Have all records checked that there are by now.

        Args:
            check: what checks them.
            since_ms: begin with records of this time, milliseconds since the epoch; None: with the oldest.
            known: what an earlier check saw last, by partition; it is read again.

        Raises:
            TocsinError: nothing comes any more; a partition is gone; a record can't be read.
            OffsetOutOfRangeError: what was to be read has been deleted meanwhile.
            KafkaError: Kafka can't be reached.
        """
        if gone := known.keys() - {p.partition for p in self._partitions}:
            raise TocsinError(f"the topic has lost a partition that an earlier check read: {min(gone)}")
        await self._begin(check, since_ms, known)
        first = {partition: one.start for partition, one in self._checks.items()}
        bar = Progress(
            TextColumn("reading"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[found]} found"),
            TimeElapsedColumn(),
            console=Console(stderr=True),
            transient=True,
            disable=not sys.stderr.isatty(),
        )
        with bar:
            task = bar.add_task("reading", total=sum(self._ends[p] - first[p] for p in first), found=0)
            waiting = await self._unfinished(list(first))
            heard_ns = timer_ns()
            while waiting:
                batches = await self._poll()
                for partition, records in batches.items():
                    self._check(partition, records)
                still = await self._unfinished(waiting)
                if batches or len(still) < len(waiting):
                    heard_ns = timer_ns()
                elif timer_ns() - heard_ns > _SILENCE_NS:
                    one = still[0]
                    at = self._checks[one].end
                    raise TocsinError(f"partition {one.partition} brings nothing behind offset {at}")
                waiting = still
                done = sum(self._checks[p].end - first[p] for p in first)
                bar.update(task, completed=done, found=check.suspicious)

    async def _poll(self) -> Mapping[TopicPartition, Sequence[Any]]:
        """Return the next records (Any: aiokafka's, of Python or of C)."""
        try:
            return await poll_lean(self._consumer, _POLL_MS, _MOST_AT_ONCE)
        except UnicodeDecodeError as error:
            # The client gives up on the batch as a whole.
            raise TocsinError(
                f"a record has a header whose name is no text, which no handler writes: {error.object!r:.60}"
            ) from error

    async def _begin(self, check: TopicCheck, since_ms: int | None, known: Mapping[int, Mark]) -> None:
        consumer, partitions = self._consumer, self._partitions
        consumer.assign(partitions)
        oldest = await consumer.beginning_offsets(partitions)
        ends = await consumer.end_offsets(partitions)
        times = {} if since_ms is None else dict.fromkeys(partitions, since_ms)
        found = await consumer.offsets_for_times(times) if times else {}
        for partition in partitions:
            start, end = oldest[partition], ends[partition]
            if since_ms is not None:
                later = found.get(partition)
                start = max(start, later.offset if later is not None else end)
            mark = known.get(partition.partition)
            if mark is not None:
                start = max(oldest[partition], min(start, mark.offset))
            consumer.seek(partition, start)
            self._ends[partition] = max(start, end)
            self._checks[partition] = check.partition(
                partition.partition, start=start, whole=start == 0, known=mark
            )

    def _check(self, partition: TopicPartition, records: Sequence[Any]) -> None:
        """Check some records (Any: aiokafka's, of Python or of C)."""
        check, end = self._checks[partition], self._ends[partition]
        for record in records:
            if record.offset >= end:
                # Written since we began.
                return
            check.record(
                StoredRecord(
                    record.offset,
                    record.timestamp,
                    record.key,
                    record.value,
                    record.headers,
                    record.timestamp_type == 1,
                )
            )

    async def _unfinished(self, partitions: Sequence[TopicPartition]) -> list[TopicPartition]:
        """Finish those that have been read; return the others."""
        left = []
        for partition in partitions:
            end = self._ends[partition]
            # Not the last record's offset: marks of transactions may stand behind it.
            if await self._consumer.position(partition) < end:
                left.append(partition)
            else:
                self._checks[partition].finish(end)
                self._consumer.pause(partition)
        return left
