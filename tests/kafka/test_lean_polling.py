"""Lean polling returns what `getmany` does, whatever the topic holds, and so does a guarded consumer."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from consumers.kafka.lean import poll_lean
from consumers.kafka.salvage import guard

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.conftest import Kafka, MakeTopic

    Poll = Callable[[AIOKafkaConsumer], Awaitable[Any]]

Row = tuple[int, int, int, bytes | None, bytes | None, tuple[tuple[str, bytes], ...]]


async def fill(kafka: Kafka, topic: str) -> None:
    """Write plain and compressed batches, empty values, headers, and transactions of both ends."""
    for compression in (None, "gzip", "lz4", "zstd", "snappy"):
        async with AIOKafkaProducer(
            bootstrap_servers=kafka.bootstrap_servers, compression_type=compression, enable_idempotence=True
        ) as producer:
            for n in range(300):
                await producer.send(
                    topic,
                    None if n % 50 == 49 else b"" if n % 50 == 48 else b"%d" % n * 20,
                    key=None if n % 3 and n % 50 != 49 else b"key %d" % n,
                    partition=n % 2,
                    timestamp_ms=1_700_000_000_000 + n,
                    headers=[("source", b"x" * 16), ("seq", b"%d" % n)] if n % 5 else [],
                )
    async with AIOKafkaProducer(
        bootstrap_servers=kafka.bootstrap_servers, transactional_id=topic, compression_type="lz4"
    ) as producer:
        for kept in (True, False, True, False):
            await producer.begin_transaction()
            for n in range(100):
                await producer.send(topic, b"%r %d" % (kept, n), partition=n % 2)
            await (producer.commit_transaction() if kept else producer.abort_transaction())


async def drain(kafka: Kafka, topic: str, poll: Poll, *, guarded: bool = False) -> list[Row]:
    async with AIOKafkaConsumer(
        bootstrap_servers=kafka.bootstrap_servers,
        isolation_level="read_committed",
        auto_offset_reset="earliest",
        max_partition_fetch_bytes=4_000,
    ) as consumer:
        if guarded:
            guard(consumer)
        partitions = [TopicPartition(topic, n) for n in range(2)]
        consumer.assign(partitions)
        ends = await consumer.end_offsets(partitions)
        await consumer.seek_to_beginning(*partitions)
        rows: list[Row] = []
        async with asyncio.timeout(60):
            while any([await consumer.position(p) < ends[p] for p in partitions]):
                for tp, records in (await poll(consumer)).items():
                    rows += [
                        (tp.partition, r.offset, r.timestamp, r.key, r.value, tuple(map(tuple, r.headers)))
                        for r in records
                    ]
        return sorted(rows, key=lambda row: row[:2])


@pytest.mark.parametrize("most", [None, 1, 7])
async def test_lean_polling_returns_what_getmany_does(
    kafka: Kafka, make_topic: MakeTopic, most: int | None
) -> None:
    topic = await make_topic(partitions=2)
    await fill(kafka, topic)
    plain = await drain(kafka, topic, lambda c: c.getmany(timeout_ms=100, max_records=most))
    lean = await drain(kafka, topic, lambda c: poll_lean(c, 100, most))
    guarded = await drain(kafka, topic, lambda c: poll_lean(c, 100, most), guarded=True)
    assert len(plain) == 5 * 300 + 200
    assert lean == plain
    assert guarded == plain
