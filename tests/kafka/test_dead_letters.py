"""Records that can't be worked on are put aside; the worker goes on with the others."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from aiokafka import AIOKafkaConsumer

from consumers.clock import now_ms
from consumers.kafka.client import Client
from consumers.kafka.dead_letters import DeadLetters, read_dead_letters
from consumers.kafka.detect import DetectStage
from consumers.kafka.session import run_stage
from consumers.metrics import Metrics
from consumers.rules import load_rules
from pipeline.config.model import Kafka as KafkaConfig
from pipeline.detect.detect import Detect, Source
from pipeline.detection import Detection, Match
from pipeline.event import LogSource, Partition
from tests.chaos.workers import Installation, run_process

if TYPE_CHECKING:
    from pathlib import Path

    from consumers.kafka.dead_letters import DeadLetter
    from pipeline.event import Batch
    from tests.conftest import Kafka


async def letters_of(installation: Installation) -> list[DeadLetter]:
    topic = installation.topics.dead_letters
    async with AIOKafkaConsumer(bootstrap_servers=installation.bootstrap_servers) as consumer:
        return await read_dead_letters(consumer, list(await installation.ends(topic)))


async def test_poison_in_every_topic_is_put_aside_and_the_worker_goes_on(
    kafka: Kafka, tmp_path: Path
) -> None:
    async with Installation(kafka.bootstrap_servers, tmp_path, partitions=1) as installation:
        topics = installation.topics
        worker = await installation.start()
        await worker.ready()
        alert = {"id": "a", "revision": 1, "labels": {}, "annotations": {}, "count": 1}
        no_zone = dict.fromkeys(("startsAt", "firstAt", "lastAt"), "2026-01-01T00:00:00")
        poison = [
            (topics.detections, b"no detection", b"k"),
            (topics.detections, None, b"tombstone"),
            (topics.detections, b'{"type":"\xff\xfe"}', b"k"),
            (topics.detections, b'{"type":"progress","other":' + b"[" * 100_000, b"k"),
            (topics.alerts, b"{}", None),
            (topics.alerts, json.dumps(alert | no_zone).encode(), b"k"),
        ]
        for topic, value, key in poison:
            await installation.write(topic, value, key=key)
        # What the correlate stage fails on though it is a detection: more values than the rule groups by.
        known = next(iter(load_rules([str(tmp_path / "rules.yml")]).targets.values()))
        matches = tuple(Match(n, now_ms()) for n in range(100))
        wrong = Detection(known.id, known.hash, "r", ("a", "b", "c"), Partition("elsewhere"), matches)
        await installation.write(topics.detections, msgspec.json.encode(wrong), key=b"k")
        await installation.log_events(200, "--errors", "--services", "2")
        await worker.shows(
            lambda m: m.get('tocsin_notifications_total{receiver="told",result="sent"}', 0) > 0
        )
        metrics = await worker.metrics()
        letters = await letters_of(installation)
        assert await worker.stop() == 0
        code, listed = await dead_letters(installation)
        code_again, _ = await dead_letters(installation, "--redrive")
        ends = await installation.ends(topics.alerts)

    found = {
        (letter.origin.split(".")[1].partition("/")[0], letter.stage, letter.error) for letter in letters
    }
    assert found == {
        ("detections", "correlate", "DecodeError"),
        ("detections", "correlate", "ValueError"),
        ("detections", "correlate", "UnicodeDecodeError"),
        ("detections", "correlate", "RecursionError"),
        ("alerts", "notify", "ValidationError"),
        ("alerts", "notify", "ValueError"),
    }
    assert len(letters) == 7
    assert sum(v for k, v in metrics.items() if k.startswith("tocsin_dead_letters_total")) == 7
    assert code == 0
    assert "7 dead letters" in listed
    assert all(letter.origin in listed for letter in letters)
    assert code_again == 0
    assert sum(ends.values()) > 2


async def dead_letters(installation: Installation, *arguments: str) -> tuple[int, str]:
    return await run_process(
        *(sys.executable, "-m", "pipeline.consumer", "dead-letters", *arguments),
        environment={"TOCSIN_CONFIG": str(installation.config)},
    )


class Fragile(Detect):
    """A detect stage with a bug."""

    def process(self, batch: Batch, now_ms: int) -> list[Any]:
        found = super().process(batch, now_ms)
        if any(value is not None and b"boom" in value for value in batch.values):
            raise RecursionError("too deep")
        return found


async def test_event_that_detection_fails_on_is_put_aside_and_the_others_are_counted_once(
    kafka: Kafka, tmp_path: Path
) -> None:
    count, bad = 1_000, {0, 1, 400, 999}
    async with Installation(kafka.bootstrap_servers, tmp_path, partitions=1) as installation:
        topics = installation.topics
        client = Client(KafkaConfig(bootstrap_servers=kafka.bootstrap_servers, group=installation.name))
        async with client.producer("test") as producer:
            for n in range(count):
                event = {"level": "error", "event": "boom" if n in bad else "fine", "service": "s"}
                await producer.send(topics.logs, json.dumps(event).encode())
        metrics = Metrics(now_ms)
        rules = load_rules([str(tmp_path / "rules.yml")])
        detect = Fragile(rules, lateness_ms=30_000, idle_timeout_ms=60_000)
        stage = DetectStage(
            detect,
            Source(logsources=(LogSource(category="application"),)),
            topics.logs,
            topics.detections,
            now_ms,
            DeadLetters(topics.dead_letters, "detect", metrics),
        )
        stop = asyncio.Event()
        running = asyncio.create_task(run_stage(stage, client, metrics, stop, on_ready=asyncio.Event()))
        await installation.caught_up(f"{installation.name}-{stage.name}", topics.logs)
        stop.set()
        await running
        letters = await letters_of(installation)
        detections = [d for d in await installation.detections() if isinstance(d, Detection)]
    assert {int(letter.origin.rpartition("/")[2]) for letter in letters} == bad
    assert {(letter.stage, letter.error, letter.reason) for letter in letters} == {
        ("detect", "RecursionError", "too deep")
    }
    offsets = [m.offset for d in detections for m in d.matches]
    assert offsets == [n for n in range(count) if n not in bad]
    assert (detect.counts.events, detect.counts.matches, detect.counts.empty) == (count, count - len(bad), 0)


async def test_detection_of_very_many_large_values_travels_in_several_records(
    kafka: Kafka, tmp_path: Path
) -> None:
    count = 4_000
    rules = """\
title: Any
id: 3f0b2a9c-1d7e-4c53-9b52-6f0d8a1c2e08
name: any
status: test
logsource: {category: application}
detection: {selection: {level: error}, condition: selection}
level: low
---
title: Values
id: 3f0b2a9c-1d7e-4c53-9b52-6f0d8a1c2e09
status: test
correlation:
  type: value_count
  rules: [any]
  group-by: [service]
  timespan: 1h
  condition: {field: value, gte: 3000}
level: low
"""
    async with Installation(kafka.bootstrap_servers, tmp_path, partitions=1, rules=rules) as installation:
        topics = installation.topics
        # Control characters are JSON's largest: 6 bytes each.
        client = Client(KafkaConfig(bootstrap_servers=kafka.bootstrap_servers, group=installation.name))
        async with client.producer("test") as producer:
            for n in range(count):
                event = {"level": "error", "service": "s", "event": "e", "value": f"{n:08}" + "\x01" * 248}
                await producer.send(topics.logs, json.dumps(event).encode())
        worker = await installation.start()
        await worker.ready()
        await installation.correlated()
        (alert,) = (await installation.final_alerts()).values()
        assert await worker.stop() == 0
        # The windows were kept, though no record could hold them.
        again = await installation.start()
        await again.ready()
        detections = [d for d in await installation.detections() if isinstance(d, Detection)]
    assert len(detections) > 5
    assert [m.offset for d in detections for m in d.matches] == list(range(count))
    assert alert.count == count


@pytest.mark.parametrize("size", [3 * 1024 * 1024])
async def test_record_too_large_to_be_kept_whole_is_cut_and_says_so(
    kafka: Kafka, tmp_path: Path, size: int
) -> None:
    async with Installation(kafka.bootstrap_servers, tmp_path, partitions=1) as installation:
        client = Client(KafkaConfig(bootstrap_servers=kafka.bootstrap_servers))
        letters = DeadLetters(installation.topics.dead_letters, "detect", Metrics(now_ms))
        value = msgspec.json.encode([n * 7_919 % 1_000_003 for n in range(size // 7)])

        class Record:
            offset, key = 7, b"key"

        Record.value = value  # type: ignore[attr-defined]  # a record's value
        (partition,) = await installation.ends(installation.topics.logs)
        async with client.producer("test") as producer:
            await letters.put(producer, partition, Record, ValueError("large"))
        (letter,) = await letters_of(installation)
    assert letter.size_bytes == len(value)
    assert value.startswith(letter.value)
    assert not letter.whole
    assert (letter.key, letter.reason) == (b"key", "large")
