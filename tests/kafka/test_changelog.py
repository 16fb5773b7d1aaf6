from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError

from consumers.kafka.changelog import Changelog
from consumers.kafka.client import MAX_VALUE_BYTES, Client
from pipeline.config.model import Kafka as KafkaConfig
from pipeline.errors import TocsinError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from tests.conftest import Kafka, MakeTopic

    Open = Callable[[], Changelog]


@pytest.fixture
async def topic(make_topic: MakeTopic) -> str:
    return await make_topic(partitions=2, config={"max.message.bytes": str(2 * 1024 * 1024)})


@pytest.fixture
async def opened(kafka: Kafka, topic: str) -> AsyncIterator[Open]:
    """Opens the changelog of partition 1, each time as another worker would."""
    client = Client(KafkaConfig(bootstrap_servers=kafka.bootstrap_servers))
    async with client.producer("test") as producer:
        yield lambda: Changelog(client, producer, topic, 1)


async def test_last_value_of_each_key_is_found_again(opened: Open) -> None:
    changelog = opened()
    assert await changelog.load() == {}
    await changelog.save([("a", b"1"), ("rule\0007:s\udc80rvice", b"2"), ("gone", b"3")])
    await changelog.save([("a", b"4"), ("gone", None)])
    assert await opened().load() == {"a": b"4", "rule\0007:s\udc80rvice": b"2"}


async def test_value_larger_than_a_record_is_kept_in_parts(opened: Open, kafka: Kafka, topic: str) -> None:
    large = [bytes([n]) * (5 * MAX_VALUE_BYTES // 2) for n in range(4)]
    changelog = opened()
    for value in large:
        await changelog.save([("windows", value), ("small", b"s")])
        assert await opened().load() == {"windows": value, "small": b"s"}
    # Another worker goes on with it, lets it shrink, and removes it.
    changelog = opened()
    await changelog.load()
    await changelog.save([("windows", b"little")])
    assert await opened().load() == {"windows": b"little", "small": b"s"}
    await changelog.save([("windows", large[0])])
    await changelog.save([("windows", None)])
    assert await opened().load() == {"small": b"s"}
    assert await left_over(kafka, topic) == {b"small"}


async def test_death_amid_the_parts_leaves_the_value_before(opened: Open) -> None:
    before, after = b"b" * 2 * MAX_VALUE_BYTES, b"a" * 3 * MAX_VALUE_BYTES
    changelog = opened()
    await changelog.save([("windows", before)])
    send, sent = changelog._send, 0

    async def dying(*arguments: object) -> object:
        nonlocal sent
        sent += 1
        if sent > 2:
            raise KafkaError("dead")
        return await send(*arguments)  # type: ignore[arg-type]  # passed on as they came

    changelog._send = dying  # type: ignore[method-assign, assignment]  # dies midway
    with pytest.raises(KafkaError, match="dead"):
        await changelog.save([("windows", after)])
    await changelog._producer.flush()
    survivor = opened()
    assert await survivor.load() == {"windows": before}
    await survivor.save([("windows", after)])
    assert await opened().load() == {"windows": after}


async def test_changelog_with_too_few_partitions_is_named(opened: Open, kafka: Kafka, topic: str) -> None:
    client = Client(KafkaConfig(bootstrap_servers=kafka.bootstrap_servers))
    async with client.producer("test") as producer:
        with pytest.raises(KafkaError, match=f"{topic} has but 2 partitions"):
            await Changelog(client, producer, topic, 2).load()


async def left_over(kafka: Kafka, topic: str) -> set[bytes]:
    """Return the keys that compaction would keep."""
    partition = TopicPartition(topic, 1)
    async with AIOKafkaConsumer(
        bootstrap_servers=kafka.bootstrap_servers, auto_offset_reset="earliest"
    ) as consumer:
        consumer.assign([partition])
        end = (await consumer.end_offsets([partition]))[partition]
        values: dict[bytes, bytes | None] = {}
        while await consumer.position(partition) < end:
            for records in (await consumer.getmany(timeout_ms=200)).values():
                values.update((record.key, record.value) for record in records)
    return {key for key, value in values.items() if value}


async def test_header_that_is_no_count_of_parts_is_told_with_its_topic(
    opened: Open, kafka: Kafka, topic: str
) -> None:
    changelog = opened()
    async with AIOKafkaProducer(bootstrap_servers=kafka.bootstrap_servers) as producer:
        headers = [("parts", b"one/of two")]
        await producer.send_and_wait(topic, b"x", key=b"a", partition=1, headers=headers)
    with pytest.raises(TocsinError, match=f"{topic}/1 holds something else: a header b'one/of two'"):
        await changelog.load()
