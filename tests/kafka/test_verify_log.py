"""`tocsin verify-log` on real topics: written by real handlers, tampered with as one can."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic, RecordsToDelete
from aiokafka.errors import KafkaConnectionError
from aiokafka.record.util import calc_crc32c

from consumers.broker import Broker
from consumers.verify.command import VerifyOptions, verify_log
from pipeline.config.model import Kafka as KafkaConfig
from pipeline.errors import TocsinError
from producers import KafkaHandler
from tests.chaos.workers import run_process
from tests.conftest import JARS, known

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import Kafka, MakeTopic

KEY = "a key of thirty-two characters!!"

# Logs for two services, more at once than the buffer takes: some are dropped. Then forks.
SERVICE = """
import logging, os, sys, producers
handler = producers.KafkaHandler(
    service='s0', bootstrap_servers=sys.argv[1], topic=sys.argv[2], queue_records=50, flush_timeout_s=30)
log = logging.getLogger()
log.addHandler(handler)
log.setLevel(logging.INFO)
def work(name):
    for n in range(120):
        log.error('%s %d', name, n, extra={'service': f's{n % 2}'})
    handler.flush()
    for n in range(20):
        log.error('%s %d', name, n, extra={'service': 's1'})
    handler.flush()
work('parent')
child = os.fork()
work('child' if child == 0 else 'parent')
if child:
    os.waitpid(child, 0)
"""


class Stored(NamedTuple):
    """A record as it can be written again."""

    partition: int
    time_ms: int
    key: bytes
    value: bytes
    headers: tuple[tuple[str, bytes], ...]


class Verified(NamedTuple):
    code: int
    report: dict[str, Any]

    def findings(self) -> list[tuple[str, int, int]]:
        return [(f["kind"], f["partition"], f["offset"]) for f in self.report["findings"]]


class Topic:
    """A topic that is read, written and verified."""

    def __init__(self, kafka: Kafka, name: str, key_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.kafka, self.name, self.key_file = kafka, name, key_file
        self._capsys = capsys

    async def verify(self, **options: object) -> Verified:
        where = KafkaConfig(bootstrap_servers=self.kafka.bootstrap_servers)
        told: dict[str, Any] = {"key_files": [str(self.key_file)], "form": "json", **options}
        self._capsys.readouterr()
        code = await verify_log(where, VerifyOptions(self.name, **told))
        return Verified(code, json.loads(self._capsys.readouterr().out))

    async def read(self) -> list[Stored]:
        consumer = AIOKafkaConsumer(bootstrap_servers=self.kafka.bootstrap_servers)
        stored = []
        async with consumer, asyncio.timeout(30):
            numbers = (await self._describe())["partitions"]
            partitions = [TopicPartition(self.name, p["partition"]) for p in numbers]
            consumer.assign(partitions)
            await consumer.seek_to_beginning()
            ends = await consumer.end_offsets(partitions)
            while any([await consumer.position(p) < ends[p] for p in partitions]):
                for records in (await consumer.getmany(timeout_ms=500)).values():
                    stored += [Stored(r.partition, r.timestamp, r.key, r.value, r.headers) for r in records]
        return sorted(stored, key=lambda r: r.partition)

    async def _describe(self) -> dict[str, Any]:
        async with Admin(self.kafka) as admin:
            (told,) = await admin.describe_topics([self.name])
            return dict(told)

    async def rewrite(self, records: list[Stored]) -> None:
        """Put other records in the place of what the topic holds, as whoever may create topics can."""
        partitions = len((await self._describe())["partitions"])
        async with Admin(self.kafka) as admin, asyncio.timeout(30):
            await admin.delete_topics([self.name])
            while self.name in await admin.list_topics():
                continue
            settings = {"retention.ms": "-1"}
            while True:
                topic = NewTopic(self.name, partitions, 1, topic_configs=settings)
                ((_, code, _),) = (await admin.create_topics([topic])).topic_errors
                if code == 0:
                    break
            await known(admin, self.name)
        await self.write(records)

    async def write(self, records: list[Stored]) -> None:
        async with AIOKafkaProducer(bootstrap_servers=self.kafka.bootstrap_servers) as producer:
            for r in records:
                sent = await producer.send(
                    self.name,
                    value=r.value,
                    key=r.key,
                    partition=r.partition,
                    timestamp_ms=r.time_ms,
                    headers=list(r.headers),
                )
            await sent


class Admin:
    """An admin client for a while."""

    def __init__(self, kafka: Kafka) -> None:
        self._admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap_servers)

    async def __aenter__(self) -> AIOKafkaAdminClient:
        await self._admin.start()
        return self._admin

    async def __aexit__(self, *_: object) -> None:
        await self._admin.close()


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    file = tmp_path / "chain.key"
    file.write_text(KEY + "\n")
    return file


@pytest.fixture
def logger() -> Iterator[logging.Logger]:
    """A logger that stands alone, so that pytest's own handlers don't listen to it."""
    logger = logging.Logger("shop.web", logging.DEBUG)  # noqa: LOG001 - as said
    yield logger
    for handler in logger.handlers:
        handler.close()


async def test_processes_with_forks_and_drops_leave_a_clean_topic_and_changes_to_it_are_pointed_at(
    kafka: Kafka, make_topic: MakeTopic, key_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = await make_topic(partitions=2)
    environment = {"TOCSIN_CHAIN_KEY_FILE": str(key_file)}
    command = (sys.executable, "-W", "error", "-c", SERVICE, kafka.bootstrap_servers, name)
    for code, output in await asyncio.gather(*(run_process(*command, environment=environment) for _ in "ab")):
        assert (code, output) == (0, "")
    topic = Topic(kafka, name, key_file, capsys)

    code, report = await topic.verify()
    assert (code, report["suspicious"], report["counts"].keys() <= {"repeated"}) == (0, 0, True)
    partitions = report["partitions"]
    records = await topic.read()
    assert sum(p["authentic"] for p in partitions) == len(records)
    # Two processes and a child each, two services.
    assert sum(p["series"] for p in partitions) == 8
    assert sum(p["dropped"] for p in partitions) > 0

    # Services may share a partition: take the place of one record after the other from behind.
    first = [r for r in records if r.partition == records[0].partition]
    others = [r for r in records if r.partition != records[0].partition]
    number = first[0].partition
    source = dict(first[0].headers)["source"]
    own = [n for n, r in enumerate(first) if r.headers[0][1] == source and r.key == first[0].key]
    copied, moved, removed, altered = own[1], own[4], own[8], own[12]
    first[altered] = first[altered]._replace(value=first[altered].value.replace(b'"error"', b'"debug"'))
    first.insert(altered + 1, first[altered]._replace(headers=()))
    first.append(first[copied])
    gone = first.pop(removed)
    first.insert(own[6], first.pop(moved))
    await topic.rewrite([*first, *others])
    code, report = await topic.verify()
    assert code == 1
    follower = next(
        n for n, r in enumerate(first) if n >= removed and (r.headers or [("", b"")])[0][1] == source
        and r.key == gone.key
    )  # fmt: skip
    found = [(f["kind"], f["partition"], f["offset"]) for f in report["findings"]]
    assert [f for f in found if f[0] != "repeated"] == [
        ("moved", number, own[6]),
        ("removed", number, follower),
        ("altered", number, altered - 1),
        ("unchained", number, altered),
        ("moved", number, len(first) - 1),
    ]

    command = (sys.executable, "-m", "pipeline.consumer", "verify-log", name)
    servers = ("--bootstrap-servers", kafka.bootstrap_servers)
    code, output = await run_process(*command, *servers, environment=environment)
    assert code == 1
    assert f"{name}/{number}/{altered - 1}: altered: its MAC does not fit" in output
    assert "5 findings that no handler leaves: " in output
    code, output = await run_process(*command, *servers, "--key-file", str(key_file.parent / "none"))
    assert (code, output.count("\n")) == (2, 1)
    assert "none: can't be read: No such file or directory" in output


async def test_topic_cut_at_the_beginning_is_clean_and_one_cut_at_the_end_is_told_by_its_marks(
    kafka: Kafka,
    make_topic: MakeTopic,
    key_file: Path,
    logger: logging.Logger,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    name = await make_topic()
    topic = Topic(kafka, name, key_file, capsys)
    marks = str(tmp_path / "marks.json")
    handler = KafkaHandler(
        service="shop",
        bootstrap_servers=kafka.bootstrap_servers,
        topic=name,
        chain_key=KEY,
        flush_timeout_s=30,
    )
    logger.addHandler(handler)
    for n in range(20):
        logger.info("event %d", n)
    # What begins anew after a close goes on with the same chain.
    await asyncio.to_thread(handler.close)
    for n in range(20, 40):
        logger.info("event %d", n)
    await asyncio.to_thread(handler.flush)
    assert await topic.verify(marks=marks) == (0, (await topic.verify()).report)
    assert [dict(r.headers)["chain"][5:-16] for r in await topic.read()] == [b"\x01"] * 40

    async with Admin(kafka) as admin:
        await admin.delete_records({TopicPartition(name, 0): RecordsToDelete(before_offset=25)})
    code, report = await topic.verify(marks=marks)
    assert [(f["kind"], f["offset"], f["last"]) for f in report["findings"]] == [("beginning", 25, 24)]
    assert (code, report["partitions"][0]["start"]) == (0, 25)
    assert (await topic.verify(since="1h")).code == 0
    assert (await topic.verify(since="2099-01-01T00:00:00Z")).report["partitions"][0]["records"] == 0

    await topic.rewrite((await topic.read())[:10])
    assert (await topic.verify()).findings() == [("removed", 0, 0)]
    code, report = await topic.verify(marks=marks)
    assert [(f["kind"], f["offset"]) for f in report["findings"]] == [("removed", 0), ("cut", 10)]
    assert KEY not in (tmp_path / "marks.json").read_text()


async def test_records_of_a_copied_topic_are_those_of_the_other(
    kafka: Kafka,
    make_topic: MakeTopic,
    key_file: Path,
    logger: logging.Logger,
    capsys: pytest.CaptureFixture[str],
) -> None:
    original = Topic(kafka, await make_topic(), key_file, capsys)
    copy = Topic(kafka, await make_topic(), key_file, capsys)
    handler = KafkaHandler(
        service="shop",
        bootstrap_servers=kafka.bootstrap_servers,
        topic=original.name,
        chain_key_file=key_file,
        flush_timeout_s=30,
    )
    logger.addHandler(handler)
    for n in range(10):
        logger.info("event %d", n)
    await asyncio.to_thread(handler.flush)
    await copy.write(await original.read())
    code, report = await copy.verify()
    assert (code, report["counts"]) == (1, {"altered": 10})
    assert (await copy.verify(written_to=original.name)).code == 0
    # Others write there too.
    await original.write([Stored(0, 0, b"k", b"no chain", ())])
    assert (await original.verify()).findings() == [("unchained", 0, 10)]
    assert (await original.verify(allow_unchained=True)).code == 0
    wrong = key_file.with_name("wrong")
    wrong.write_text("x" * 16)
    code, report = await original.verify(key_files=[str(wrong)])
    assert (code, report["findings"][0]["kind"], report["findings"][0]["count"]) == (1, "unknown-key", 10)


async def test_refused_record_is_a_drop_and_breaks_no_chain(
    kafka: Kafka,
    make_topic: MakeTopic,
    key_file: Path,
    logger: logging.Logger,
    capsys: pytest.CaptureFixture[str],
) -> None:
    topic = Topic(kafka, await make_topic(config={"max.message.bytes": "2000"}), key_file, capsys)
    handler = KafkaHandler(
        service="shop",
        bootstrap_servers=kafka.bootstrap_servers,
        topic=topic.name,
        compression=None,
        chain_key=KEY,
        flush_timeout_s=30,
    )
    logger.addHandler(handler)
    for text in "small", "x" * 5_000, "small", "small":
        logger.error(text)
        await asyncio.to_thread(handler.flush)
    code, report = await topic.verify()
    assert (code, report["findings"], report["partitions"][0]["dropped"]) == (0, [], 1)


async def test_timestamps_that_the_broker_has_replaced_are_told_once(
    kafka: Kafka,
    make_topic: MakeTopic,
    key_file: Path,
    logger: logging.Logger,
    capsys: pytest.CaptureFixture[str],
) -> None:
    name = await make_topic(config={"message.timestamp.type": "LogAppendTime"})
    handler = KafkaHandler(
        service="shop",
        bootstrap_servers=kafka.bootstrap_servers,
        topic=name,
        chain_key=KEY,
        flush_timeout_s=30,
    )
    logger.addHandler(handler)
    for n in range(5):
        logger.info("event %d", n)
    await asyncio.to_thread(handler.flush)
    (finding,) = (await Topic(kafka, name, key_file, capsys).verify()).report["findings"]
    assert (finding["kind"], finding["offset"], finding["count"]) == ("altered", 0, 5)
    assert "LogAppendTime" in finding["what"]


async def test_batch_whose_acknowledgement_is_lost_is_there_twice_and_alike(
    kafka: Kafka,
    make_topic: MakeTopic,
    key_file: Path,
    logger: logging.Logger,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    send_batch, sent = AIOKafkaProducer.send_batch, []

    async def losing(self: AIOKafkaProducer, *batch: object, **where: object) -> object:
        arriving = await send_batch(self, *batch, **where)
        sent.append(arriving)
        if len(sent) == 2:
            await arriving
            raise KafkaConnectionError
        return arriving

    monkeypatch.setattr(AIOKafkaProducer, "send_batch", losing)
    topic = Topic(kafka, await make_topic(), key_file, capsys)
    handler = KafkaHandler(
        service="shop",
        bootstrap_servers=kafka.bootstrap_servers,
        topic=topic.name,
        chain_key=KEY,
        flush_timeout_s=30,
    )
    logger.addHandler(handler)
    for n in range(3):
        logger.info("event %d", n)
        await asyncio.to_thread(handler.flush)
    records = await topic.read()
    assert records[1] == records[2]
    code, report = await topic.verify()
    assert (code, [(f["kind"], f["offset"]) for f in report["findings"]]) == (0, [("repeated", 2)])
    assert len(records) == 4


async def test_records_that_a_killed_process_left_in_a_spool_are_links_of_their_chain(
    kafka: Kafka,
    make_topic: MakeTopic,
    key_file: Path,
    logger: logging.Logger,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    topic = Topic(kafka, await make_topic(), key_file, capsys)
    spool = str(tmp_path / "spool")
    # Some arrive, and are sent again by who finds the spool, or not; the rest waits where nobody listens.
    killed = (
        "import logging, os, signal, sys, producers\n"
        "def log(servers, count):\n"
        "    handler = producers.KafkaHandler(service='shop', bootstrap_servers=servers, topic=sys.argv[2],\n"
        "        spool=sys.argv[3], flush_timeout_s=30)\n"
        "    logging.getLogger().handlers[:] = [handler]\n"
        "    for n in range(count): logging.error('event %d', n)\n"
        "    return handler\n"
        "log(sys.argv[1], 20).flush()\n"
        "log('127.0.0.1:1', 30)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    environment = {"TOCSIN_CHAIN_KEY_FILE": str(key_file)}
    command = (sys.executable, "-c", killed, kafka.bootstrap_servers, topic.name, spool)
    await run_process(*command, environment=environment)
    handler = KafkaHandler(
        service="shop",
        bootstrap_servers=kafka.bootstrap_servers,
        topic=topic.name,
        chain_key_file=key_file,
        spool=spool,
        flush_timeout_s=30,
    )
    logger.addHandler(handler)
    logger.info("the next process")
    async with asyncio.timeout(60):
        while len({(r.key, r.headers[:2]) for r in await topic.read()}) < 51:
            await asyncio.to_thread(handler.flush, 0.5)
    code, report = await topic.verify()
    assert (code, report["suspicious"]) == (0, 0)
    # Without the first of the 30 that waited, the one behind it tells.
    records = await topic.read()
    at = next(n for n, r in enumerate(records) if b'"event 0"' in r.value and n >= 20)
    await topic.rewrite([*records[:at], *records[at + 1 :]])
    assert ("removed", 0, at) in (await topic.verify()).findings()


async def test_topic_that_is_not_there_is_an_error_and_not_made(
    kafka: Kafka, make_topic: MakeTopic, key_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    topic = Topic(kafka, f"{await make_topic()}-not", key_file, capsys)
    with pytest.raises(TocsinError, match="has no topic"):
        await topic.verify()


@pytest.mark.timeout(180)
async def test_byte_changed_on_the_disk_of_a_broker_is_pointed_at_and_its_outage_is_not(
    tmp_path: Path, key_file: Path, logger: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    with Broker(tmp_path / "broker", cache=JARS) as broker:
        async with Admin(broker) as admin:
            await admin.create_topics([NewTopic("logs", 1, 1)])
            await known(admin, "logs")
        handler = KafkaHandler(
            service="shop",
            bootstrap_servers=broker.bootstrap_servers,
            compression=None,
            chain_key_file=key_file,
            flush_timeout_s=90,
        )
        logger.addHandler(handler)
        for n in range(1_000):
            logger.info("event %d", n)
        await asyncio.to_thread(handler.flush)
        await asyncio.to_thread(broker.stop)
        for n in range(1_000, 2_000):
            logger.info("event %d", n)
        (segment,) = (tmp_path / "broker" / "data" / "logs-0").glob("*.log")
        segment.write_bytes(segment.read_bytes().replace(b'"event 234"', b'"event 666"'))
        await asyncio.to_thread(broker.start)
        await asyncio.to_thread(handler.close)
        code, report = await Topic(broker, "logs", key_file, capsys).verify()
    (finding,) = [f for f in report["findings"] if f["kind"] != "repeated"]
    assert (code, finding["kind"], finding["offset"]) == (1, "altered", 234)
    assert report["partitions"][0]["authentic"] >= 1_999


async def test_header_with_a_name_that_is_no_text_is_told_as_such(
    kafka: Kafka, make_topic: MakeTopic, key_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = await make_topic()
    async with AIOKafkaProducer(bootstrap_servers=kafka.bootstrap_servers) as producer:
        batch = producer.create_batch()
        batch.append(timestamp=1, key=b"k", value=b"v", headers=[("\xff\xff", b"")])
        batch.close()
        build = batch._build

        def built() -> bytearray:
            raw = bytearray(build()).replace("\xff\xff".encode(), b"\xff" * 4)
            # The batch's checksum, over all that comes behind it.
            raw[17:21] = calc_crc32c(memoryview(raw)[21:]).to_bytes(4, "big")
            return raw

        batch._build = built
        await (await producer.send_batch(batch, name, partition=0))
    with pytest.raises(TocsinError, match=r"a header whose name is no text.*: b'\\xff\\xff\\xff\\xff'$"):
        await Topic(kafka, name, key_file, capsys).verify()
