"""The flight recorder on a real broker: what an error takes along, and what the worker asks for."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import logging
import os
import sys
import threading
import time
from typing import TYPE_CHECKING

import orjson
import pytest
import structlog
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

import producers.kafka.control
from consumers.broker import Broker
from consumers.clock import now_ms
from consumers.kafka.control import Control
from pipeline.alert import Alert, moment
from pipeline.control import RecorderRequests
from producers import KafkaHandler
from producers.process import hush
from tests.chaos.workers import ROOT, Installation, pause

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from tests.conftest import Kafka, MakeTopic

# Neither is an error: nothing but the rule asks for what was kept.
RULES = """\
title: Provider Is Slow
id: 7d7a0a52-63f5-4e7f-9f0b-3e0d4a1c2e01
status: test
logsource: {category: application}
detection:
  keywords: ['the provider is slow']
  condition: keywords
level: high
---
title: Provider Answers
id: 7d7a0a52-63f5-4e7f-9f0b-3e0d4a1c2e02
status: test
logsource: {category: application}
detection:
  keywords: ['the provider answers']
  condition: keywords
level: medium
"""

# Does what it is told, a line each, so that its first words are the test's to choose.
SERVICE = """
import logging, sys, producers
servers, topic, control = sys.argv[1:]
handler = producers.configure(
    service="payments", level="INFO", bootstrap_servers=servers, topic=topic, flush_timeout_s=30,
    recorder=True, control_topic=control,
)
for line in sys.stdin:
    level, trace, text = line.rstrip("\\n").split("|")
    extra = {"trace_id": trace} if trace else {}
    logging.getLogger("payments").log(getattr(logging, level), text, extra=extra)
    print("done", flush=True)
"""


async def read(kafka: Kafka, topic: str, count: int) -> list[dict[str, object]]:
    """Return the first records of a topic, once there are so many."""
    consumer = AIOKafkaConsumer(
        topic, bootstrap_servers=kafka.bootstrap_servers, auto_offset_reset="earliest", group_id=None
    )
    received: list[dict[str, object]] = []
    async with consumer, asyncio.timeout(30):
        while len(received) < count:
            for records in (await consumer.getmany(timeout_ms=1_000)).values():
                received += [orjson.loads(record.value) for record in records]
    return received


async def until(condition: object) -> None:
    async with asyncio.timeout(30):
        while not condition():  # type: ignore[operator]  # a lambda of the test's
            await pause()


async def ask(kafka: Kafka, topic: str, value: bytes | None = None, **fields: object) -> None:
    request = {"kind": "recorder", "service": "shop", "at": dt.datetime.now(dt.UTC).isoformat(), **fields}
    async with AIOKafkaProducer(bootstrap_servers=kafka.bootstrap_servers) as producer:
        await producer.send_and_wait(topic, value or orjson.dumps(request), key=b"recorder/shop")


class Recording:
    """A logger whose handler records, and the topics that it writes to and listens on."""

    def __init__(self, kafka: Kafka, topic: str, control: str | None = None) -> None:
        self.logger = logging.Logger("shop.web", logging.DEBUG)  # noqa: LOG001 - pytest's own don't listen to it
        self.handler = KafkaHandler(
            service="shop",
            bootstrap_servers=kafka.bootstrap_servers,
            topic=topic,
            recorder=True,
            control_topic=control,
            flush_timeout_s=30,
        )
        self.logger.addHandler(self.handler)
        # Of other tests in this process: a handler that could not deliver may go on trying.
        self._others = set(threading.enumerate())

    @property
    def threads(self) -> int:
        living = set(threading.enumerate()) - self._others
        return sum(thread.name == "tocsin-kafka" and thread.is_alive() for thread in living)


@pytest.fixture
def recordings() -> Iterator[list[Recording]]:
    """Takes recordings, and closes their handlers."""
    made: list[Recording] = []
    yield made
    for recording in made:
        recording.handler.close()


async def test_error_sends_what_was_kept_of_its_trace_first_and_nothing_of_others(
    kafka: Kafka, make_topic: MakeTopic, recordings: list[Recording]
) -> None:
    topic = await make_topic()
    recordings.append(recording := Recording(kafka, topic))
    log = recording.logger
    for n in range(3):
        log.debug("mine %d", n, extra={"trace_id": "a"})
        log.debug("other %d", n, extra={"trace_id": "b"})
    log.error("failed", extra={"trace_id": "a"})
    log.info("last", extra={"trace_id": "b"})
    await asyncio.to_thread(recording.handler.flush)
    received = await read(kafka, topic, 5)
    assert [r["event"] for r in received] == ["mine 0", "mine 1", "mine 2", "failed", "last"]
    assert [r.get("recorded") for r in received] == [True, True, True, None, None]
    assert (recording.handler.pending, recording.handler.dropped) == (0, {})


async def test_error_of_a_task_or_thread_sends_what_that_one_kept(
    kafka: Kafka, make_topic: MakeTopic, recordings: list[Recording]
) -> None:
    topic = await make_topic()
    recordings.append(recording := Recording(kafka, topic))
    log = recording.logger
    both = asyncio.Barrier(2)

    async def task(name: str) -> None:
        log.debug("task %s", name)
        await both.wait()
        if name == "b":
            log.error("task %s failed", name)

    def thread(name: str, ready: threading.Barrier) -> None:
        log.debug("thread %s", name)
        ready.wait(10)
        if name == "b":
            log.error("thread %s failed", name)

    await asyncio.gather(task("a"), task("b"))
    ready = threading.Barrier(2)
    await asyncio.gather(*(asyncio.to_thread(thread, name, ready) for name in "ab"))
    log.info("last")
    await asyncio.to_thread(recording.handler.flush)
    received = [r["event"] for r in await read(kafka, topic, 5)]
    assert received == ["task b", "task b failed", "thread b", "thread b failed", "last"]


async def test_requests_are_answered_from_the_first_kept_record_on_and_not_before_there_is_one(
    kafka: Kafka, make_topic: MakeTopic, recordings: list[Recording]
) -> None:
    topic, control = await make_topic(), await make_topic()
    recordings.append(recording := Recording(kafka, topic, control))
    assert recording.threads == 0
    # Before anybody listens: what led to it may be the first that a service logs.
    await ask(kafka, control, traces=["a"])
    recording.logger.debug("mine", extra={"trace_id": "a"})
    recording.logger.debug("other", extra={"trace_id": "b"})
    assert recording.threads == 1
    assert [r["event"] for r in await read(kafka, topic, 1)] == ["mine"]
    # What is no request for us keeps nobody from hearing the next one.
    for value in (b"\xff", b"[]", b'{"kind":"silence"}', b'{"kind":"recorder"}'):
        await ask(kafka, control, value)
    await ask(kafka, control, service="bank")
    await ask(kafka, control, at="2023-11-14T22:13:20Z")
    await ask(kafka, control)
    assert [r["event"] for r in await read(kafka, topic, 2)] == ["mine", "other"]


async def test_listening_ends_with_the_handler_and_begins_anew_with_it(
    kafka: Kafka, make_topic: MakeTopic, recordings: list[Recording], capfd: pytest.CaptureFixture[str]
) -> None:
    topic, control = await make_topic(), await make_topic()
    recordings.append(recording := Recording(kafka, topic, control))
    for name in ("one", "two"):
        recording.logger.debug(name, extra={"trace_id": name})
        await ask(kafka, control, traces=[name])
        await until(lambda: recording.handler.recorder.held == 0)  # type: ignore[union-attr]  # it records
        began = time.monotonic()
        await asyncio.to_thread(recording.handler.close)
        assert (recording.threads, time.monotonic() - began < 3) == (0, True)
    assert [r["event"] for r in await read(kafka, topic, 2)] == ["one", "two"]
    assert capfd.readouterr() == ("", "")


async def test_service_hears_requests_over_a_topic_that_is_created_later(
    kafka: Kafka, make_topic: MakeTopic, recordings: list[Recording], capfd: pytest.CaptureFixture[str]
) -> None:
    topic = await make_topic()
    recordings.append(recording := Recording(kafka, topic, f"{topic}-control"))
    recording.logger.debug("kept")
    recording.logger.info("sent")
    await asyncio.to_thread(recording.handler.flush)
    assert recording.handler.pending == 0
    await make_named(kafka, f"{topic}-control")
    await ask(kafka, f"{topic}-control")
    assert [r["event"] for r in await read(kafka, topic, 2)] == ["sent", "kept"]
    assert capfd.readouterr() == ("", "")


async def test_who_listens_goes_on_trying_when_the_broker_has_gone_and_says_nothing(
    tmp_path: Path,
    jars: Path,
    recordings: list[Recording],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(producers.kafka.control, "_SILENCE_MS", 1_000)
    monkeypatch.setattr(producers.kafka.control, "_FETCH_WAIT_MS", 200)
    with Broker(tmp_path / "kafka", cache=jars) as broker:
        await make_named(broker, "logs")
        await make_named(broker, "control")
        recordings.append(recording := Recording(broker, "logs", "control"))
        attempts: list[str] = []

        def connecting(client: str) -> None:
            attempts.append(client)
            hush(client)

        monkeypatch.setattr(producers.kafka.control, "hush", connecting)
        recording.logger.debug("kept", extra={"trace_id": "a"})
        await ask(broker, "control", traces=["a"])
        await until(lambda: recording.handler.recorder.held == 0)  # type: ignore[union-attr]  # it records
        await asyncio.to_thread(recording.handler.flush)
        await asyncio.to_thread(broker.kill)
        # It gave up the connection, and whoever can't make another tries again.
        await until(lambda: len(attempts) > 2)
        await asyncio.to_thread(recording.handler.close)
    assert capfd.readouterr() == ("", "")


async def make_named(kafka: Kafka, topic: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap_servers)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(topic, 2, 1)])
    finally:
        await admin.close()


# --- with a worker ------------------------------------------------------------------------------------


class Service:
    """A process that logs what it is told to."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def log(self, level: str, text: str, trace: str = "") -> None:
        """Have it log one record; it is logged when this returns."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{level}|{trace}|{text}\n".encode())
        async with asyncio.timeout(30):
            assert await self._process.stdout.readline() == b"done\n"


@contextlib.asynccontextmanager
async def service(installation: Installation) -> AsyncIterator[Service]:
    topics = installation.topics
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "error", "-c", SERVICE),
        *(installation.bootstrap_servers, topics.logs, topics.control),
        cwd=ROOT,
        env=os.environ,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield Service(process)
        assert process.stdin is not None
        process.stdin.close()
        async with asyncio.timeout(60):
            _, errors = await process.communicate()
        assert (process.returncode, errors) == (0, b"")
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def logged(installation: Installation, count: int) -> list[str]:
    """Return what is on the topic of logs, once there is so much."""
    async with asyncio.timeout(60):
        while len(values := await installation.read(installation.topics.logs)) < count:
            await pause()
    return [str(orjson.loads(value)["event"]) for value in values]


async def test_rule_that_fires_brings_what_the_service_kept_of_the_events_trace(
    kafka: Kafka, tmp_path: Path
) -> None:
    async with Installation(kafka.bootstrap_servers, tmp_path, partitions=1, rules=RULES) as installation:
        worker = await installation.start()
        await worker.ready()
        async with service(installation) as payments:
            for n in range(3):
                await payments.log("DEBUG", f"mine {n}", "a")
                await payments.log("DEBUG", f"other {n}", "b")
            await payments.log("DEBUG", "no trace's")
            # Not grave enough to ask for anything.
            await payments.log("INFO", "the provider answers", "b")
            await payments.log("INFO", "the provider is slow", "a")
            received = await logged(installation, 5)
            assert received[:2] == ["the provider answers", "the provider is slow"]
            assert received[2:] == ["mine 0", "mine 1", "mine 2"]
            # An alert whose events name no trace brings all that there is.
            (request,) = await installation.read(installation.topics.control)
            assert orjson.loads(request)["traces"] == ["a"]
        assert await worker.stop() == 0
        log = worker.log.read_text()
    assert '"event": "asked a service for what its recorders keep"' in log
    assert "Traceback" not in log


async def test_rule_that_fires_on_events_without_a_trace_brings_all_that_the_service_kept(
    kafka: Kafka, tmp_path: Path
) -> None:
    async with Installation(kafka.bootstrap_servers, tmp_path, partitions=1, rules=RULES) as installation:
        worker = await installation.start()
        await worker.ready()
        async with service(installation) as payments:
            await payments.log("DEBUG", "of a trace", "a")
            await payments.log("DEBUG", "of the thread")
            await payments.log("INFO", "the provider is slow")
            received = await logged(installation, 3)
            assert received == ["the provider is slow", "of a trace", "of the thread"]


async def test_request_that_kafka_does_not_take_holds_nothing_up_and_is_said_once(
    kafka: Kafka, make_topic: MakeTopic
) -> None:
    now = now_ms()
    at = moment(now)
    labels = {"alertname": "A", "severity": "critical", "service": "shop"}
    alerts = [Alert(f"{n}", 1, {**labels, "service": f"s{n}"}, {}, at, 1, at, at) for n in range(3)]
    control = Control(RecorderRequests("high"), f"{await make_topic()}-not", lambda: now)
    async with AIOKafkaProducer(bootstrap_servers=kafka.bootstrap_servers) as producer:
        with structlog.testing.capture_logs() as logs:
            began = time.monotonic()
            for alert in alerts:
                await control.ask(producer, [alert])
            assert time.monotonic() - began < 3
    assert [(entry["log_level"], entry["event"]) for entry in logs] == [
        ("warning", "services can't be asked for what their recorders keep")
    ]
