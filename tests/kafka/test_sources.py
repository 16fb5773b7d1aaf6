"""What the worker makes of `source` and `seq`: losses, repetitions, silence, from a handler to an alert."""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
import sys
from typing import TYPE_CHECKING, Any

import msgspec
import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from consumers.clock import now_ms
from consumers.kafka.client import Client
from consumers.kafka.dead_letters import DeadLetters
from consumers.kafka.detect import DetectStage
from consumers.kafka.session import run_stage
from consumers.kafka.words import WordWriter
from consumers.metrics import Metrics
from consumers.rules import SHIPPED, load_rules
from consumers.verify.command import VerifyOptions, verify_log
from pipeline.alert import Alert
from pipeline.config.model import Kafka as KafkaConfig
from pipeline.detect.detect import Detect, Source
from pipeline.detect.words import SourceCounts, SourceEvent
from pipeline.detection import Detection
from pipeline.event import LogSource
from producers import KafkaHandler
from tests.chaos.workers import ROOT, Installation, pause

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pytest
    from aiokafka import AIOKafkaProducer

    from pipeline.event import Batch
    from tests.conftest import Kafka, MakeTopic

REPEATED = "tocsin_source_duplicate_records_total"
CHAIN_KEY = b"a key of thirty-two characters!!"
APPLICATION = {"kafka": "logs", "logsource": {"category": "application"}}


class Told(msgspec.Struct):
    alerts: list[Alert]


async def told_of(installation: Installation, title: str, where: Callable[[Alert], bool] = bool) -> Alert:
    """Wait until a receiver was told of an alert; return it."""
    async with asyncio.timeout(60):
        while True:
            lines = installation.told.read_bytes().splitlines() if installation.told.exists() else []
            for line in lines:
                for alert in msgspec.json.decode(line, type=Told).alerts:
                    if alert.labels["alertname"] == title and where(alert):
                        return alert
            await pause()


def handler_of(installation: Installation, service: str, **options: Any) -> KafkaHandler:
    return KafkaHandler(
        service=service,
        bootstrap_servers=installation.bootstrap_servers,
        topic=installation.topics.logs,
        **options,
    )


async def send(
    producer: AIOKafkaProducer, topic: str, number: int, event: str = "failed", source: bytes = b"s1"
) -> None:
    """Send an error as a handler does."""
    value = json.dumps({"level": "error", "event": event, "service": "orders"}).encode()
    headers = [("source", source), ("seq", b"%d" % number)]
    await producer.send_and_wait(topic, value, b"orders", headers=headers)


async def test_records_that_found_no_room_are_told_with_their_number(kafka: Kafka, tmp_path: Path) -> None:
    async with Installation(
        kafka.bootstrap_servers, tmp_path, partitions=2, rules=None, more={"lateness": "1s"}
    ) as installation:
        worker = await installation.start()
        await worker.ready()
        handler = handler_of(installation, "orders", queue_records=10, host="web-1")
        logger = logging.Logger("orders")  # noqa: LOG001 - pytest's own handlers don't listen to it
        logger.addHandler(handler)
        for n in range(1_000):
            logger.info("event %d", n)
        await asyncio.to_thread(handler.close)
        lost = sum(handler.dropped.values())
        alert = await told_of(installation, "Records Of A Service Were Lost")
        metrics = await worker.metrics()
        assert await worker.stop() == 0
    assert lost >= 900
    assert f"{lost} records of orders were lost" in alert.samples[0].text
    assert (alert.labels["service"], alert.labels["host"]) == ("orders", "web-1")
    assert metrics['tocsin_source_lost_records_total{service="orders"}'] == lost
    assert metrics[REPEATED] == 0


async def test_records_that_are_sent_twice_are_counted_once(kafka: Kafka, tmp_path: Path) -> None:
    async with Installation(kafka.bootstrap_servers, tmp_path, partitions=1) as installation:
        worker = await installation.start()
        await worker.ready()
        client = Client(KafkaConfig(bootstrap_servers=kafka.bootstrap_servers))
        async with client.producer("test") as producer:
            for _ in range(2):
                for n in range(9):
                    await send(producer, installation.topics.logs, n)
            await worker.shows(lambda m: m[REPEATED] == 9)
            assert await installation.final_alerts() == {}
            # The tenth of ten that the rule wants.
            await send(producer, installation.topics.logs, 9)
        alert = await told_of(installation, "Errors Of A Service")
        metrics = await worker.metrics()
    assert alert.count == 10
    assert metrics["tocsin_events_total"] == 10
    assert metrics["tocsin_empty_records_total"] == 0


SERVICE = """
import logging, pathlib, sys, time, producers, producers.kafka.sink
servers, topic, service, end = sys.argv[1:]
producers.kafka.sink._SETTLED_S = 0.5
logger = logging.getLogger(service)
logger.setLevel(logging.INFO)
logger.addHandler(producers.KafkaHandler(service=service, bootstrap_servers=servers, topic=topic))
now = time.time()
for ago in range(60, 0, -1):
    # It has been there for a minute.
    record = logger.makeRecord(service, logging.INFO, "", 0, "all is well", (), None)
    record.created = now - ago
    logger.handle(record)
while not pathlib.Path(end).exists():
    logger.info("all is well")
    time.sleep(0.1)
"""


async def test_service_that_is_killed_is_told_as_silent_and_one_that_ends_in_order_is_not(
    kafka: Kafka, tmp_path: Path
) -> None:
    more = {"sources": [{**APPLICATION, "silence": "4s"}]}
    async with Installation(
        kafka.bootstrap_servers, tmp_path, partitions=1, rules=None, more=more
    ) as installation:
        worker = await installation.start()
        await worker.ready()

        async def run(service: str) -> asyncio.subprocess.Process:
            return await asyncio.create_subprocess_exec(
                *(sys.executable, "-c", SERVICE, kafka.bootstrap_servers, installation.topics.logs),
                *(service, str(tmp_path / f"{service}.end")),
                cwd=ROOT,
            )

        orders, mail = await run("orders"), await run("mail")
        try:
            await worker.shows(lambda m: m["tocsin_sources"] == 2 and m["tocsin_events_total"] > 150)
            (tmp_path / "mail.end").touch()
            assert await mail.wait() == 0
        finally:
            for service in (orders, mail):
                if service.returncode is None:
                    service.kill()
                    await service.wait()
        silent = await told_of(installation, "Service Fell Silent")
        await worker.shows(lambda m: m["tocsin_silent_services"] == 1)
        orders = await run("orders")
        try:
            await told_of(installation, "Silent Service Is Back")
            await worker.shows(lambda m: m["tocsin_silent_services"] == 0)
        finally:
            orders.kill()
            await orders.wait()
        told = installation.told.read_text()
    assert silent.labels["service"] == "orders"
    assert "orders fell silent" in silent.samples[0].text
    assert "mail" not in told


async def test_handler_that_closes_says_goodbye_once_for_what_it_has_said(
    kafka: Kafka, make_topic: MakeTopic, monkeypatch: pytest.MonkeyPatch
) -> None:
    topic = await make_topic()
    handler = KafkaHandler(service="orders", bootstrap_servers=kafka.bootstrap_servers, topic=topic)
    logger = logging.Logger("orders")  # noqa: LOG001 - pytest's own handlers don't listen to it
    logger.addHandler(handler)
    logger.info("a short life has nothing to announce")
    await asyncio.to_thread(handler.close)
    monkeypatch.setattr("producers.kafka.sink._SETTLED_S", 0)
    for n in range(2):
        logger.info("event %d", n)
        await asyncio.to_thread(handler.close)
        await asyncio.to_thread(handler.close)
    consumer = AIOKafkaConsumer(
        topic, bootstrap_servers=kafka.bootstrap_servers, auto_offset_reset="earliest"
    )
    records: list[Any] = []
    async with consumer, asyncio.timeout(30):
        end = (await consumer.end_offsets(list(consumer.assignment())))[TopicPartition(topic, 0)]
        while len(records) < end:
            for rows in (await consumer.getmany(timeout_ms=200)).values():
                records += rows
    said = [json.loads(r.value) for r in records]
    assert [s["event"] for s in said] == [
        "a short life has nothing to announce",
        "event 0",
        "logging ends",
        "event 1",
        "logging ends",
    ]
    assert (said[2]["level"], said[2]["logger"], said[2]["service"]) == ("debug", "producers", "orders")
    assert [dict(r.headers)["seq"] for r in records] == [b"0", b"1", b"2", b"3", b"4"]


class Fragile(Detect):
    """A detect stage with a bug."""

    def process(self, batch: Batch, now_ms: int) -> list[Any]:
        found = super().process(batch, now_ms)
        if any(
            v is not None and b"boom" in v
            for o, v in zip(batch.offsets, batch.values, strict=True)
            if o not in batch.repeated
        ):
            raise RecursionError("too deep")
        return found


def stage_of(installation: Installation, detect: Detect) -> DetectStage:
    return DetectStage(
        detect,
        Source(logsources=(LogSource(category="application"),)),
        installation.topics.logs,
        installation.topics.detections,
        now_ms,
        DeadLetters(installation.topics.dead_letters, "detect", Metrics(now_ms)),
    )


async def test_batch_that_is_examined_again_for_its_poison_is_no_repetition(
    kafka: Kafka, tmp_path: Path
) -> None:
    async with Installation(kafka.bootstrap_servers, tmp_path, partitions=1) as installation:
        topics = installation.topics
        client = Client(KafkaConfig(bootstrap_servers=kafka.bootstrap_servers, group=installation.name))
        async with client.producer("test") as producer:
            for n in (0, 1, 2, 1, 3, 3, 2, 4):
                await send(producer, topics.logs, n, "boom" if n == 2 else "failed")
        detect = Fragile(
            load_rules([str(tmp_path / "rules.yml")]), lateness_ms=30_000, idle_timeout_ms=60_000
        )
        stop = asyncio.Event()
        stage = stage_of(installation, detect)
        running = asyncio.create_task(
            run_stage(stage, client, Metrics(now_ms), stop, on_ready=asyncio.Event())
        )
        await installation.caught_up(f"{installation.name}-{stage.name}", topics.logs)
        stop.set()
        await running
        detections = [d for d in await installation.detections() if isinstance(d, Detection)]
    assert [m.offset for d in detections for m in d.matches] == [0, 1, 4, 7]
    assert detect.sources.repeated == 3
    assert (detect.counts.events, detect.counts.matches, detect.counts.empty) == (5, 4, 0)


async def test_topic_that_does_not_take_what_is_known_of_sources_stops_nothing(
    kafka: Kafka, tmp_path: Path
) -> None:
    async with Installation(kafka.bootstrap_servers, tmp_path, partitions=1) as installation:
        topics = installation.topics
        client = Client(KafkaConfig(bootstrap_servers=kafka.bootstrap_servers, group=installation.name))
        detect = Detect(load_rules([SHIPPED]), lateness_ms=1_000, idle_timeout_ms=60_000)
        stop = asyncio.Event()
        stage = stage_of(installation, detect)
        async with client.producer("test") as producer:
            for n in (0, 5):
                await send(producer, topics.logs, n)
            # From here on it refuses every record that has more than a few bytes.
            admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap_servers)
            await admin.start()
            await admin.alter_configs(
                [ConfigResource(ConfigResourceType.TOPIC, topics.logs, configs={"max.message.bytes": "220"})]
            )
            await admin.close()
            with structlog.testing.capture_logs() as logs:
                running = asyncio.create_task(
                    run_stage(stage, client, Metrics(now_ms), stop, on_ready=asyncio.Event())
                )
                async with asyncio.timeout(30):
                    while not detect.sources.untold:
                        await pause()
                await send(producer, topics.logs, 6, "x")
                await installation.caught_up(f"{installation.name}-{stage.name}", topics.logs)
                stop.set()
                await running
    assert detect.sources.lost == {"orders": 4}
    assert [entry.get("text") for entry in logs if entry["log_level"] == "warning"] == [
        None,
        "4 records of orders were lost",
    ]


async def verified(kafka: Kafka, topic: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    """Verify a topic; return the report, where nothing was found."""
    key_file = tmp_path / "chain.key"
    key_file.write_bytes(CHAIN_KEY)
    config = KafkaConfig(bootstrap_servers=kafka.bootstrap_servers)
    capsys.readouterr()
    code = await verify_log(config, VerifyOptions(topic, [str(key_file)], form="json"))
    report = json.loads(capsys.readouterr().out)
    assert (code, report["findings"]) == (0, [])
    return report


async def test_words_of_a_worker_that_has_the_key_are_chained_and_in_no_account(
    kafka: Kafka, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with Installation(
        kafka.bootstrap_servers, tmp_path, partitions=2, rules=None, more={"lateness": "1s"}
    ) as installation:
        worker = await installation.start(environment={"TOCSIN_CHAIN_KEY": CHAIN_KEY.decode()})
        await worker.ready()
        handler = handler_of(installation, "orders", queue_records=10, chain_key=CHAIN_KEY)
        logger = logging.Logger("orders")  # noqa: LOG001 - pytest's own handlers don't listen to it
        logger.addHandler(handler)
        for n in range(1_000):
            logger.info("event %d", n)
        await asyncio.to_thread(handler.close)
        await told_of(installation, "Records Of A Service Were Lost")
        metrics = await worker.metrics()
        assert await worker.stop() == 0
        report = await verified(kafka, installation.topics.logs, tmp_path, capsys)
    assert [p["series"] for p in report["partitions"] if p["records"]] == [2]
    assert metrics["tocsin_sources"] == 1


async def test_word_that_was_refused_leaves_no_gap_in_the_chain(
    kafka: Kafka, make_topic: MakeTopic, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    topic = await make_topic(partitions=2)
    counts = SourceCounts()
    writer = WordWriter(topic, counts, CHAIN_KEY)
    word = SourceEvent(b"orders", b'{"event":"a word"}', "a word", now_ms())
    long = SourceEvent(b"orders", secrets.token_hex(2_000_000).encode(), "too long", now_ms())
    config = KafkaConfig(bootstrap_servers=kafka.bootstrap_servers)
    async with Client(config).producer("test") as producer:
        await writer.write(producer, {0: [word, word], 1: [word]})
        with structlog.testing.capture_logs():
            await writer.write(producer, {0: [word, long], 7: [word]})
    # Of the next session, as this one's producer can't go on in that partition.
    async with Client(config).producer("test") as producer:
        await writer.write(producer, {0: [word, word], 1: [word]})
    assert counts.untold == 2
    report = await verified(kafka, topic, tmp_path, capsys)
    assert [(p["authentic"], p["dropped"], p["series"]) for p in report["partitions"]] == [
        (5, 1, 1),
        (2, 0, 1),
    ]
