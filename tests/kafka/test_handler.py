"""The handler against a real broker: order, numbers, codecs, exits, forks, outages."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import orjson
import pytest
import structlog
from aiokafka import AIOKafkaConsumer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from consumers.broker import Broker
from producers import EventRenderer, KafkaHandler, KafkaLoggerFactory
from tests.conftest import JARS, known

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Kafka, MakeTopic

ROOT = Path(__file__).parents[2]


class Received(NamedTuple):
    fields: dict[str, object]
    key: bytes
    time_ms: int
    partition: int
    source: bytes
    seq: int


async def read(kafka: Kafka, topic: str, count: int) -> list[Received]:
    consumer = AIOKafkaConsumer(
        topic, bootstrap_servers=kafka.bootstrap_servers, auto_offset_reset="earliest", group_id=None
    )
    received = []
    async with consumer, asyncio.timeout(30):
        while len(received) < count:
            for records in (await consumer.getmany(timeout_ms=1_000)).values():
                for record in records:
                    headers = dict(record.headers)
                    received.append(
                        Received(
                            orjson.loads(record.value),
                            record.key,
                            record.timestamp,
                            record.partition,
                            headers["source"],
                            int(headers["seq"]),
                        )
                    )
    return received


@pytest.fixture
def logger() -> Iterator[logging.Logger]:
    """A logger that stands alone, so that pytest's own handlers don't listen to it."""
    logger = logging.Logger("shop.web", logging.DEBUG)  # noqa: LOG001 - as said
    yield logger
    for handler in logger.handlers:
        handler.close()


async def test_record_travels_with_key_time_source_and_number(
    kafka: Kafka, make_topic: MakeTopic, logger: logging.Logger
) -> None:
    topic = await make_topic()
    handler = KafkaHandler(service="shop", bootstrap_servers=kafka.bootstrap_servers, topic=topic)
    logger.addHandler(handler)
    before = time.time_ns() // 1_000_000
    for n in range(3):
        logger.warning("event %d", n, extra={"n": n})
    await asyncio.to_thread(handler.flush)
    assert handler.pending == 0
    received = await read(kafka, topic, 3)
    assert [(r.fields["event"], r.fields["n"], r.seq) for r in received] == [
        ("event 0", 0, 0),
        ("event 1", 1, 1),
        ("event 2", 2, 2),
    ]
    assert {(r.key, len(r.source)) for r in received} == {(b"shop", 16)}
    assert all(before <= r.time_ms <= before + 30_000 for r in received)


@pytest.mark.parametrize("compression", [None, "gzip", "lz4", "zstd", "snappy"])
async def test_services_keep_their_order_in_every_compression(
    kafka: Kafka, make_topic: MakeTopic, logger: logging.Logger, compression: str | None
) -> None:
    topic = await make_topic(partitions=3)
    handler = KafkaHandler(
        bootstrap_servers=kafka.bootstrap_servers,
        topic=topic,
        compression=compression,
        flush_timeout_s=30,
    )
    logger.addHandler(handler)
    for n in range(5_000):
        logger.info("event", extra={"service": f"s{n % 7}", "n": n})
    await asyncio.to_thread(handler.flush)
    received = await read(kafka, topic, 5_000)
    for service in {r.key for r in received}:
        own = [r for r in received if r.key == service]
        assert [r.seq for r in own] == list(range(len(own)))
        assert [r.fields["n"] for r in own] == sorted(r.fields["n"] for r in own)  # type: ignore[type-var]  # a JSON value
        assert len({r.partition for r in own}) == 1
    assert len(received) == 5_000
    assert handler.dropped == {}


async def test_structlog_goes_there_without_the_logging_module(kafka: Kafka, make_topic: MakeTopic) -> None:
    topic = await make_topic()
    factory = KafkaLoggerFactory(service="shop", bootstrap_servers=kafka.bootstrap_servers, topic=topic)
    log = structlog.wrap_logger(
        factory("shop.web"),
        processors=[EventRenderer(factory.handler.renderer)],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
    )
    log.error("failed", order=7)
    await asyncio.to_thread(factory.handler.close)
    (received,) = await read(kafka, topic, 1)
    assert (received.fields["level"], received.fields["order"]) == ("error", 7)


async def test_drops_are_told_on_the_topic_once_there_is_room(
    kafka: Kafka, make_topic: MakeTopic, logger: logging.Logger
) -> None:
    topic = await make_topic()
    handler = KafkaHandler(
        service="shop", bootstrap_servers=kafka.bootstrap_servers, topic=topic, queue_records=10
    )
    logger.addHandler(handler)
    for n in range(1_000):
        logger.error("event %d", n)
    dropped = handler.dropped["error"]
    assert dropped >= 900
    logger.removeHandler(handler)
    await asyncio.to_thread(handler.close)
    received = await read(kafka, topic, 1_000 - dropped + 1)
    told = received[-1]
    assert told.fields["event"] == f"{dropped} records were dropped"
    assert (told.fields["level"], told.fields["dropped"]) == ("warning", dropped)
    # The numbers of the dropped are used up: the gap shows.
    assert told.seq == 1_000


async def test_closed_handler_begins_anew_with_the_next_record(
    kafka: Kafka, make_topic: MakeTopic, logger: logging.Logger
) -> None:
    topic = await make_topic()
    handler = KafkaHandler(service="shop", bootstrap_servers=kafka.bootstrap_servers, topic=topic)
    logger.addHandler(handler)
    for n in range(3):
        logger.info("event %d", n)
        await asyncio.to_thread(handler.close)
    assert [r.seq for r in await read(kafka, topic, 3)] == [0, 1, 2]


async def test_refused_records_are_counted_and_the_next_ones_arrive(
    kafka: Kafka, make_topic: MakeTopic, logger: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    topic = await make_topic(config={"max.message.bytes": "2000"})
    handler = KafkaHandler(
        service="shop", bootstrap_servers=kafka.bootstrap_servers, topic=topic, compression=None
    )
    logger.addHandler(handler)
    logger.error("x" * 5_000)
    await asyncio.to_thread(handler.flush)
    logger.info("small")
    await asyncio.to_thread(handler.flush)
    told, small = sorted(await read(kafka, topic, 2), key=lambda r: str(r.fields["event"]))
    assert (told.fields["dropped_by_level"], small.fields["event"]) == ({"error": 1}, "small")
    assert handler.dropped == {"error": 1}
    assert capsys.readouterr().err == (
        "tocsin: Kafka refuses log records (MessageSizeTooLargeError); they are counted and dropped\n"
    )


async def test_topic_that_is_not_there_yet_is_waited_for_and_named(
    kafka: Kafka, make_topic: MakeTopic, logger: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    there = await make_topic()
    handler = KafkaHandler(
        service="s", bootstrap_servers=kafka.bootstrap_servers, topic=f"{there}-not", flush_timeout_s=1
    )
    logger.addHandler(handler)
    logger.info("hello")
    await asyncio.to_thread(handler.flush)
    assert handler.pending == 1
    said = ""
    async with asyncio.timeout(20):
        while not said:
            await asyncio.to_thread(handler.flush, 0.1)
            said = capsys.readouterr().err
    assert said == (
        f"tocsin: Kafka at {kafka.bootstrap_servers} has no topic '{there}-not': `tocsin topics` creates it;"
        " log records wait in memory\n"
    )


def script(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=ROOT,
        env={**os.environ, "TOCSIN_SERVICE": "script"},
    )


async def test_script_that_ends_at_once_loses_nothing(kafka: Kafka, make_topic: MakeTopic) -> None:
    topic = await make_topic()
    # A name, not an address: it has to be resolved while the interpreter is ending already.
    server = kafka.bootstrap_servers.replace("127.0.0.1", "localhost")
    code = (
        "import logging, sys, producers\n"
        "logging.getLogger().addHandler("
        "producers.KafkaHandler(bootstrap_servers=sys.argv[1], topic=sys.argv[2], flush_timeout_s=30))\n"
        "for n in range(100): logging.error('last words %d', n)\n"
    )
    done = await asyncio.to_thread(script, code, server, topic)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert [r.seq for r in await read(kafka, topic, 100)] == list(range(100))


async def test_parent_and_forked_children_deliver_side_by_side(kafka: Kafka, make_topic: MakeTopic) -> None:
    topic = await make_topic()
    code = """
import logging, multiprocessing, os, sys, producers
logging.getLogger().addHandler(
    producers.KafkaHandler(bootstrap_servers=sys.argv[1], topic=sys.argv[2], flush_timeout_s=30))
def work(name):
    for n in range(50):
        logging.error('%s %d', name, n)
work('parent')
logging.getLogger().handlers[0].flush()
children = [multiprocessing.get_context('fork').Process(target=work, args=(f'child-{n}',)) for n in range(2)]
for child in children:
    child.start()
work('parent')
for child in children:
    child.join()
bare = os.fork()
if bare == 0:
    work('bare')
    sys.exit(0)
os.waitpid(bare, 0)
work('parent')
"""
    done = await asyncio.to_thread(script, code, kafka.bootstrap_servers, topic)
    assert (done.returncode, done.stderr) == (0, "")
    received = await read(kafka, topic, 300)
    counts = {}
    for source in {r.source for r in received}:
        own = [r for r in received if r.source == source]
        assert [r.seq for r in own] == list(range(len(own)))
        counts[str(own[0].fields["event"]).split()[0]] = len(own)
    assert counts == {"parent": 150, "child-0": 50, "child-1": 50, "bare": 50}


async def test_child_forked_while_the_client_is_being_imported_delivers(
    kafka: Kafka, make_topic: MakeTopic
) -> None:
    topic = await make_topic()
    code = """
import logging, os, sys, producers
logging.getLogger().addHandler(
    producers.KafkaHandler(bootstrap_servers=sys.argv[1], topic=sys.argv[2], flush_timeout_s=10))
logging.error('starts the thread, which begins to import')
while 'aiokafka' not in sys.modules:
    pass
child = os.fork()
logging.error('after the fork')
if child:
    os.waitpid(child, 0)
"""
    done = await asyncio.to_thread(script, code, kafka.bootstrap_servers, topic)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(await read(kafka, topic, 3)) == 3


async def test_example_service_told_to_stop_delivers_what_it_logged(
    kafka: Kafka, make_topic: MakeTopic
) -> None:
    topic = await make_topic()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "examples/service.py", "--bootstrap-servers", kafka.bootstrap_servers),
        *("--topic", topic, "--rate", "500"),
        cwd=ROOT,
        stderr=asyncio.subprocess.PIPE,
    )
    await read(kafka, topic, 200)
    process.send_signal(signal.SIGTERM)
    async with asyncio.timeout(30):
        _, errors = await process.communicate()
    assert (process.returncode, errors) == (0, b"")
    received = await read(kafka, topic, 200)
    for key in {r.key for r in received}:
        assert [r.seq for r in received if r.key == key][:20] == list(
            range(min(20, sum(r.key == key for r in received)))
        )


async def create(kafka: Kafka, topic: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap_servers)
    await admin.start()
    await admin.create_topics([NewTopic(topic, 1, 1)])
    await known(admin, topic)
    await admin.close()


@pytest.mark.timeout(180)
async def test_broker_that_crashes_and_returns_has_every_record_once_and_in_order(
    tmp_path: Path, logger: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    with Broker(tmp_path, cache=JARS) as broker:
        await create(broker, "logs")
        handler = KafkaHandler(service="shop", bootstrap_servers=broker.bootstrap_servers, flush_timeout_s=90)
        logger.addHandler(handler)
        for n in range(2_000):
            logger.info("event %d", n)
        # Most of these are in the buffer or on their way.
        broker.kill()
        for n in range(2_000, 5_000):
            logger.info("event %d", n)
        said = ""
        async with asyncio.timeout(30):
            while "is away" not in said:
                await asyncio.to_thread(handler.flush, 0.2)
                said += capsys.readouterr().err
        await asyncio.to_thread(broker.start)
        await asyncio.to_thread(handler.flush)
        received = await read(broker, "logs", 5_000)
        await asyncio.to_thread(handler.close)
    assert [r.seq for r in received] == list(range(5_000))
    assert handler.dropped == {}
    away, back = (said + capsys.readouterr().err).splitlines()
    assert away.startswith(f"tocsin: Kafka at {broker.bootstrap_servers} is away (")
    assert back == f"tocsin: Kafka at {broker.bootstrap_servers} is back"


async def test_events_that_come_thick_wait_for_more_company(
    kafka: Kafka, make_topic: MakeTopic, logger: logging.Logger
) -> None:
    topic = await make_topic()
    handler = KafkaHandler(
        service="shop",
        bootstrap_servers=kafka.bootstrap_servers,
        topic=topic,
        linger_ms=300,
        flush_timeout_s=30,
        flush_on_sigterm=False,
    )
    logger.addHandler(handler)
    logger.info("alone")
    await asyncio.to_thread(handler.flush)
    for n in range(40):
        logger.info("event %d", n)
    await asyncio.to_thread(handler.flush)
    logger.info("behind them")
    await asyncio.to_thread(handler.flush, 1.2)
    assert handler.pending == 1
    await asyncio.to_thread(handler.flush)
    assert handler.pending == 0
