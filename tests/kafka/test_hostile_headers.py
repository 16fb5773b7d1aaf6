"""A batch that the Kafka client can't read stops nothing: not the worker, nor what reads its other topics."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import cramjam
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.codec import gzip_encode, lz4_encode, snappy_encode, zstd_encode
from aiokafka.errors import CorruptRecordException
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.util import calc_crc32c

from consumers.kafka.changelog import Changelog
from consumers.kafka.client import Client
from consumers.kafka.dead_letters import read_dead_letters
from consumers.kafka.lean import poll_lean
from consumers.kafka.salvage import guard
from pipeline.config.model import Kafka as KafkaConfig
from tests.chaos.workers import Installation

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from tests.conftest import Kafka, MakeTopic

    Encode = Callable[[bytes], bytes]

BAD = b"\xff\xfe"
CODECS: list[tuple[int, Encode]] = [
    (0, bytes),
    (1, gzip_encode),
    (2, snappy_encode),
    (3, lz4_encode),
    (4, zstd_encode),
]


def wrong_checksum(data: bytes) -> bytes:
    """Compress so that brokers, who don't look at a frame's checksum, take what other readers don't."""
    compressor = cramjam.lz4.Compressor(content_checksum=True, block_linked=False)
    compressor.compress(data)
    encoded = bytes(compressor.finish())
    return encoded[:-1] + bytes([encoded[-1] ^ 0xFF])


def hostile(values: Sequence[bytes], bad: Sequence[int], codec: int = 0, encode: Encode = bytes) -> bytes:
    """Return a batch in which some records have a header whose name is no text; its name is in values too."""
    builder = DefaultRecordBatchBuilder(
        magic=2,
        compression_type=0,
        is_transactional=0,
        producer_id=-1,
        producer_epoch=-1,
        base_sequence=-1,
        batch_size=2**20,
    )
    for n, value in enumerate(values):
        name = "b@d!" if n in bad else "name"
        builder.append(n, 1_700_000_000_000, b"key" + BAD, value, [("a", b"1"), (name, None), ("z", BAD)])
    plain = bytes(builder.build())
    raw = bytearray(plain[:61] + encode(plain[61:].replace(b"b@d!", b"b" + BAD + b"!")))
    raw[8:12] = (len(raw) - 12).to_bytes(4, "big")
    raw[22] |= codec
    raw[17:21] = calc_crc32c(memoryview(raw)[21:]).to_bytes(4, "big")
    return bytes(raw)


async def write(bootstrap_servers: str, topic: str, *batches: bytes) -> None:
    async with AIOKafkaProducer(bootstrap_servers=bootstrap_servers) as producer:
        for raw in batches:
            batch = producer.create_batch()
            for _ in range(int.from_bytes(raw[57:61], "big")):
                batch.append(timestamp=1, key=b"", value=b"", headers=[])
            batch.close()
            batch._build = lambda raw=raw: bytearray(raw)
            await (await producer.send_batch(batch, topic, partition=0))


Rows = list[tuple[int, bytes, tuple[str, ...]]]


async def read(
    kafka: Kafka,
    topic: str,
    poll: Callable[[AIOKafkaConsumer], Any],
    counted: list[str],
    *,
    guarded: bool = True,
) -> Rows:
    rows: Rows = []
    partition = TopicPartition(topic, 0)
    async with AIOKafkaConsumer(
        bootstrap_servers=kafka.bootstrap_servers, isolation_level="read_committed"
    ) as consumer:
        if guarded:
            guard(consumer, counted.append)
        consumer.assign([partition])
        consumer.seek(partition, 0)
        end = (await consumer.end_offsets([partition]))[partition]
        async with asyncio.timeout(30):
            while await consumer.position(partition) < end:
                for records in (await poll(consumer)).values():
                    rows += [(r.offset, r.value, tuple(k for k, _ in r.headers)) for r in records]
    return rows


@pytest.mark.parametrize("most", [None, 1, 7])
@pytest.mark.parametrize("lean", [True, False])
async def test_records_around_a_header_name_that_is_no_text_are_read_and_so_is_its_own(
    kafka: Kafka, make_topic: MakeTopic, most: int | None, *, lean: bool
) -> None:
    def poll(consumer: AIOKafkaConsumer) -> Any:
        if lean:
            return poll_lean(consumer, 200, most)
        return consumer.getmany(timeout_ms=200, max_records=most)

    topic = await make_topic()
    values = [b"b" + BAD + b"! %d" % n for n in range(5)]
    batches = [hostile(values, bad, *codec) for codec in CODECS for bad in ([], [0], [1, 2], [4])]
    await write(kafka.bootstrap_servers, topic, *batches)
    with pytest.raises(UnicodeDecodeError):
        await read(kafka, topic, poll, [], guarded=False)
    counted: list[str] = []
    rows = await read(kafka, topic, poll, counted)
    per_codec = [("name", "b??!")[n in bad] for bad in ([], [0], [1, 2], [4]) for n in range(5)]
    names = per_codec * len(CODECS)
    assert rows == [(n, values[n % 5], ("a", names[n], "z")) for n in range(100)]
    assert counted == ["mended"] * 15


async def test_batch_that_can_not_be_unpacked_is_passed_over_and_counted(
    kafka: Kafka, make_topic: MakeTopic
) -> None:
    topic = await make_topic()
    good = hostile([b"good"] * 3, [])
    await write(kafka.bootstrap_servers, topic, good, hostile([b"x"] * 3, [1], 3, wrong_checksum), good)
    await write(kafka.bootstrap_servers, topic, hostile([b"x"] * 3, [], 3, wrong_checksum))
    counted: list[str] = []
    rows = await read(kafka, topic, lambda c: poll_lean(c, 200), counted)
    assert [offset for offset, *_ in rows] == [0, 1, 2, 6, 7, 8]
    assert counted == ["skipped"] * 2


async def test_worker_goes_on_behind_hostile_header_names_in_every_topic(
    kafka: Kafka, tmp_path: Path
) -> None:
    async with Installation(kafka.bootstrap_servers, tmp_path, partitions=1) as installation:
        topics = installation.topics
        worker = await installation.start()
        await worker.ready()
        event = json.dumps({"level": "error", "event": "boom", "service": "s"}).encode()
        for topic, value in ((topics.logs, event), (topics.detections, b"none"), (topics.alerts, b"none")):
            await write(kafka.bootstrap_servers, topic, hostile([value] * 3, [1]))
        await installation.log_events(200, "--errors", "--services", "2")
        metrics = await worker.shows(
            lambda m: (
                m.get('tocsin_notifications_total{receiver="told",result="sent"}', 0) > 0
                and sum(v for k, v in m.items() if k.startswith("tocsin_dead_letters_total")) == 6
            )
        )
        log = worker.log.read_text()
        assert await worker.stop() == 0
    mended = {k: v for k, v in metrics.items() if k.startswith("tocsin_unreadable_batches_total")}
    assert sorted(mended.values()) == [1, 1, 1]
    assert all('result="mended"' in name for name in mended)
    assert metrics["tocsin_events_total"] >= 203
    assert log.count("a header name is no UTF-8") == 3


async def test_hostile_header_name_in_a_changelog_keeps_no_state_from_being_restored(
    kafka: Kafka, make_topic: MakeTopic
) -> None:
    topic = await make_topic()
    client = Client(KafkaConfig(bootstrap_servers=kafka.bootstrap_servers))
    async with client.producer("test") as producer:
        changelog = Changelog(client, producer, topic, 0)
        await changelog.save([("before", b"1")])
        await write(kafka.bootstrap_servers, topic, hostile([b""] * 2, [0]))
        await changelog.save([("after", b"2")])
        assert await changelog.load() == {"before": b"1", "after": b"2"}


async def test_hostile_header_name_among_dead_letters_does_not_hide_them(
    kafka: Kafka, make_topic: MakeTopic
) -> None:
    topic = await make_topic()
    await write(kafka.bootstrap_servers, topic, hostile([b"one", b"two", b"three"], [1]))
    async with AIOKafkaConsumer(bootstrap_servers=kafka.bootstrap_servers) as consumer:
        letters = await read_dead_letters(consumer, [TopicPartition(topic, 0)])
    assert [letter.value for letter in letters] == [b"one", b"two", b"three"]


async def test_batch_whose_checksum_is_wrong_is_not_passed_over(kafka: Kafka, make_topic: MakeTopic) -> None:
    topic = await make_topic()
    await write(kafka.bootstrap_servers, topic, hostile([b"v"] * 3, []))
    partition = TopicPartition(topic, 0)
    counted: list[str] = []
    async with AIOKafkaConsumer(bootstrap_servers=kafka.bootstrap_servers) as consumer:
        send = consumer._client.send

        async def spoilt(node: Any, request: Any) -> Any:
            response = await send(node, request)
            if type(request).__name__ == "FetchRequest":
                for _, parts in response.topics:
                    parts[:] = [(*p[:-1], p[-1][:-1] + b"!" if p[-1] else p[-1]) for p in parts]
            return response

        consumer._client.send = spoilt
        guard(consumer, counted.append)
        consumer.assign([partition])
        consumer.seek(partition, 0)
        async with asyncio.timeout(30):
            with pytest.raises(CorruptRecordException):
                await consumer.getone()
        assert await consumer.position(partition) == 0
    assert counted == []


def test_client_that_looks_different_inside_is_left_alone() -> None:
    class Other:
        _fetcher = object()

    guard(Other())
    guard(object())
