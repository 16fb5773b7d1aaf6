from __future__ import annotations

import asyncio
import socket
import sys
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest
import structlog
from aiokafka.admin import AIOKafkaAdminClient

from consumers.broker import Broker
from consumers.kafka.topics import TopicNames, TopicSpec, TopicState, describe, ensure_topics, topic_specs
from pipeline.errors import TocsinError

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Kafka, MakeTopic


@pytest.fixture
def names() -> TopicNames:
    return TopicNames.prefixed(f"{uuid4().hex[:12]}.")


async def test_topics_are_created_once_and_found_after(kafka: Kafka, names: TopicNames) -> None:
    specs = topic_specs(names)
    first = await ensure_topics(kafka.bootstrap_servers, specs)
    assert [describe(outcome) for outcome in first] == [
        f"{names.logs}: created with 6 partitions",
        f"{names.detections}: created with 6 partitions",
        f"{names.alerts}: created with 6 partitions",
        f"{names.dead_letters}: created with 1 partition",
        f"{names.control}: created with 1 partition",
        f"{names.windows}: created with 6 partitions",
        f"{names.ledger}: created with 6 partitions",
    ]
    second = await ensure_topics(kafka.bootstrap_servers, specs)
    assert [outcome.spec for outcome in second] == specs
    assert {outcome.state for outcome in second} == {TopicState.EXISTS}
    assert describe(second[0]) == f"{names.logs}: exists"


async def test_topic_that_differs_is_told_and_left_as_it_is(kafka: Kafka, make_topic: MakeTopic) -> None:
    topic = await make_topic(3, config={"retention.ms": "5000"})
    spec = TopicSpec(topic, 6, {"retention.ms": "86400000", "message.timestamp.type": "CreateTime"})
    for _ in range(2):
        (outcome,) = await ensure_topics(kafka.bootstrap_servers, [spec])
        assert outcome.state is TopicState.DIFFERS
        assert describe(outcome) == (
            f"{topic}: differs: has 3 partitions, wanted 6; retention.ms is 5000, wanted 86400000"
        )


async def test_several_processes_may_create_the_same_topics(kafka: Kafka, names: TopicNames) -> None:
    specs = topic_specs(names)
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(ensure_topics(kafka.bootstrap_servers, specs)) for _ in range(4)]
    for of_one_topic in zip(*(task.result() for task in tasks), strict=True):
        states = [outcome.state for outcome in of_one_topic]
        assert states.count(TopicState.CREATED) == 1
        assert states.count(TopicState.EXISTS) == 3


async def test_too_many_replicas_are_refused_with_kafkas_reason(kafka: Kafka, names: TopicNames) -> None:
    with pytest.raises(TocsinError, match=rf"refused to create {names.logs}: .*replication factor of 99"):
        await ensure_topics(kafka.bootstrap_servers, topic_specs(names), replication_factor=99)


async def test_looking_creates_nothing(kafka: Kafka, make_topic: MakeTopic) -> None:
    topic = await make_topic()
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap_servers)
    await admin.start()
    try:
        before = set(await admin.list_topics())
        await ensure_topics(kafka.bootstrap_servers, [TopicSpec(topic, 1, {})])
        assert set(await admin.list_topics()) - before == set()
    finally:
        await admin.close()


async def test_absent_kafka_is_waited_for_and_said_once(tmp_path: Path, jars: Path) -> None:
    broker = Broker(tmp_path, cache=jars)
    await asyncio.to_thread(broker.start)
    try:
        await asyncio.to_thread(broker.stop)
        with structlog.testing.capture_logs() as said:
            async with asyncio.TaskGroup() as group:
                specs = topic_specs()
                waiting = group.create_task(ensure_topics(broker.bootstrap_servers, specs, wait_s=60))
                await asyncio.to_thread(broker.start)
        assert {outcome.state for outcome in waiting.result()} == {TopicState.CREATED}
        assert [entry["event"] for entry in said] == ["waiting for Kafka"]
    finally:
        await asyncio.to_thread(broker.stop)


async def test_kafka_that_never_comes_is_named() -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{nobody.getsockname()[1]}"
        with pytest.raises(TocsinError, match=f"Kafka at {address} is not to be reached in 0.1 s"):
            await ensure_topics(address, topic_specs(), wait_s=0.1)


async def test_command_fails_where_a_topic_differs(kafka: Kafka, names: TopicNames, tmp_path: Path) -> None:
    prefix = names.logs.removesuffix("logs")
    config = tmp_path / "tocsin.yml"
    config.write_text(
        f"kafka: {{bootstrap_servers: '{kafka.bootstrap_servers}', topic_prefix: '{prefix}'}}\n"
        "route: {receiver: a}\nreceivers: [{name: a}]\n"
    )
    outcomes = []
    for partitions in ("2", "2", "3"):
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "pipeline.consumer", "topics"),
            *("--config", str(config), "--partitions", partitions),
            stdout=asyncio.subprocess.PIPE,
        )
        said, _ = await process.communicate()
        outcomes.append((process.returncode, b"has 2 partitions, wanted 3" in said))
    assert outcomes == [(0, False), (0, False), (1, True)]
