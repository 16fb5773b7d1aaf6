"""The Kafka that benchmarks share: a broker, a topic filled once, and one way to read it through."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import os
import socket
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from consumers.broker import Broker
from consumers.kafka.topics import TopicSpec, ensure_topics

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

__all__ = ["PARTITIONS", "Topic", "broker", "free_port"]

PARTITIONS = 4
# Three processes write to each partition in turn, as many records at a time as a handler sends of a busy
# service within its linger.
_SOURCES = 3
_RUN = 20
# Any: aiokafka's records, of Python or of C.
Poll = "Callable[[AIOKafkaConsumer], Awaitable[Mapping[TopicPartition, Sequence[Any]]]]"


@contextlib.asynccontextmanager
async def broker() -> AsyncIterator[str]:
    """Yield the address of a Kafka: the one that is named in the environment, or one of our own."""
    if given := os.environ.get("KAFKA_BOOTSTRAP_SERVERS"):
        yield given
        return
    with tempfile.TemporaryDirectory() as folder:
        one = Broker(Path(folder), java_options=("-Xmx1g",))
        await asyncio.to_thread(one.start)
        try:
            yield one.bootstrap_servers
        finally:
            await asyncio.to_thread(one.stop)


def free_port() -> int:
    """Return a port of loopback that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


class Topic:
    """A topic of `PARTITIONS` partitions that is written once and read through many times."""

    def __init__(self, servers: str, name: str) -> None:
        """Name it; `fill` makes it."""
        self._servers = servers
        self._name = name
        self._seqs: collections.Counter[bytes] = collections.Counter()
        self.events = 0

    async def fill(self, values: Sequence[bytes]) -> None:
        """Create the topic and write the values to its partitions in turn, with the headers of handlers."""
        await ensure_topics(
            self._servers, [TopicSpec(self._name, PARTITIONS, {"retention.ms": "-1"})], wait_s=20
        )
        producer = AIOKafkaProducer(
            bootstrap_servers=self._servers, compression_type="lz4", linger_ms=20, max_batch_size=262_144
        )
        await producer.start()
        try:
            now_ms = time.time_ns() // 1_000_000
            for i, value in enumerate(values):
                partition = i % PARTITIONS
                which = i // PARTITIONS // _RUN % _SOURCES
                source = b"%013d-%d%d" % (0, partition, which)
                await producer.send(
                    self._name,
                    value=value,
                    key=b"service-%d" % partition,
                    partition=partition,
                    timestamp_ms=now_ms + i // 1000,
                    headers=[("source", source), ("seq", b"%d" % self._seqs[source])],
                )
                self._seqs[source] += 1
            await producer.flush()
        finally:
            await producer.stop()
        self.events += len(values)

    async def read(self, poll: Poll, work: Callable[[TopicPartition, Sequence[Any]], object]) -> int:
        """Read all of it from the beginning with a new consumer.

        Args:
            poll: asks a consumer for records.
            work: is given what came of each partition.

        Returns:
            The number of events.
        """
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self._servers,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            max_partition_fetch_bytes=4 * 1024 * 1024,
            fetch_max_wait_ms=100,
        )
        await consumer.start()
        try:
            consumer.assign([TopicPartition(self._name, p) for p in range(PARTITIONS)])
            left = self.events
            async with asyncio.timeout(120):
                while left > 0:
                    for tp, rows in (await poll(consumer)).items():
                        work(tp, rows)
                        left -= len(rows)
        finally:
            await consumer.stop()
        return self.events
