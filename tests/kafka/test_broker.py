from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from consumers.broker import Broker
from pipeline.errors import TocsinError

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Kafka, MakeTopic


async def read(kafka: Kafka, topic: str, count: int, **options: object) -> list[bytes]:
    consumer = AIOKafkaConsumer(
        topic, bootstrap_servers=kafka.bootstrap_servers, auto_offset_reset="earliest", **options
    )
    async with consumer:
        return [(await consumer.getone()).value for _ in range(count)]


@pytest.mark.parametrize("compression", [None, "gzip", "snappy", "lz4", "zstd"])
async def test_records_come_back_in_every_compression(
    kafka: Kafka, make_topic: MakeTopic, compression: str | None
) -> None:
    topic = await make_topic()
    values = [b"%d" % n * 100 for n in range(50)]
    async with AIOKafkaProducer(
        bootstrap_servers=kafka.bootstrap_servers, compression_type=compression, enable_idempotence=True
    ) as producer:
        for value in values:
            await producer.send(topic, value)
    assert await read(kafka, topic, 50) == values


async def test_aborted_transaction_is_not_read(kafka: Kafka, make_topic: MakeTopic) -> None:
    topic = await make_topic()
    async with AIOKafkaProducer(
        bootstrap_servers=kafka.bootstrap_servers, transactional_id=f"{topic}-0"
    ) as producer:
        await producer.begin_transaction()
        await producer.send_and_wait(topic, b"aborted")
        await producer.abort_transaction()
        async with producer.transaction():
            await producer.send_and_wait(topic, b"committed")
    assert await read(kafka, topic, 1, isolation_level="read_committed") == [b"committed"]


async def test_group_reads_on_where_it_committed(kafka: Kafka, make_topic: MakeTopic) -> None:
    topic = await make_topic()
    async with AIOKafkaProducer(bootstrap_servers=kafka.bootstrap_servers) as producer:
        for value in (b"first", b"second"):
            await producer.send_and_wait(topic, value)
    for expected in (b"first", b"second"):
        async with AIOKafkaConsumer(
            topic,
            bootstrap_servers=kafka.bootstrap_servers,
            group_id=topic,
            auto_offset_reset="earliest",
            enable_auto_commit=False,
            max_poll_records=1,
        ) as consumer:
            record = await consumer.getone()
            assert record.value == expected
            await consumer.commit({TopicPartition(topic, 0): record.offset + 1})


async def test_killed_broker_comes_back_on_its_port_with_its_records(tmp_path: Path, jars: Path) -> None:
    broker = Broker(tmp_path, cache=jars)
    with broker:
        address = broker.bootstrap_servers
        admin = AIOKafkaAdminClient(bootstrap_servers=address)
        await admin.start()
        try:
            await admin.create_topics([NewTopic("kept", 1, 1)])
        finally:
            await admin.close()
        async with AIOKafkaProducer(bootstrap_servers=address) as producer:
            await producer.send_and_wait("kept", b"before")
        broker.kill()
        assert broker.pid is None
        broker.start()
        assert broker.bootstrap_servers == address
        assert await read(broker, "kept", 1) == [b"before"]
    assert broker.pid is None


def test_broker_that_can_not_start_shows_why(tmp_path: Path, jars: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "meta.properties").write_text("version=1\ncluster.id=elsewhere\nnode.id=7\n")
    broker = Broker(tmp_path, cache=jars)
    with pytest.raises(TocsinError, match=r"(?s)ended at its start.*node\.?\s?id.*7"):
        broker.start()
    assert broker.pid is None


def test_two_brokers_do_not_share_a_directory(tmp_path: Path, jars: Path) -> None:
    with Broker(tmp_path, cache=jars), pytest.raises(TocsinError, match="another broker runs on"):
        Broker(tmp_path, cache=jars).start()
    with Broker(tmp_path, cache=jars) as third:
        assert third.pid is not None


def test_taken_port_is_named(tmp_path: Path, jars: Path) -> None:
    with Broker(tmp_path / "first", cache=jars) as first:
        port = int(first.bootstrap_servers.partition(":")[2])
        with pytest.raises(TocsinError, match=f"port {port} is taken"):
            Broker(tmp_path / "second", cache=jars, port=port).start()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_serve_prints_the_address_and_stops_on_a_signal(
    tmp_path: Path, jars: Path, number: signal.Signals
) -> None:
    code = "import sys, pathlib, consumers.broker as b; sys.exit(b.serve(pathlib.Path(sys.argv[1]), 0))"
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "TOCSIN_CACHE": str(jars.parent)},
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("Kafka serves on 127.0.0.1:")
        process.send_signal(number)
        assert process.wait(30) == 0
    log = (tmp_path / "broker.log").read_text()
    assert "shut down completed" in log or "shutdown completed" in log
