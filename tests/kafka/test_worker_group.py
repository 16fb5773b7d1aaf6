"""A group of workers that is disturbed raises the alerts of one undisturbed run, each event counted once."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from consumers.broker import Broker
from tests.chaos.worker_group import kill_and_restart, run_group, stop_and_add
from tests.chaos.workers import Installation

if TYPE_CHECKING:
    from pathlib import Path

    from tests.chaos.workers import Worker
    from tests.conftest import Kafka

EVENTS = 20_000


async def test_group_that_loses_and_gains_a_worker_raises_the_alerts_of_an_undisturbed_run(
    kafka: Kafka, tmp_path: Path
) -> None:
    async with Installation(kafka.bootstrap_servers, tmp_path) as installation:
        outcome = await run_group(installation, EVENTS, stop_and_add)
        logs = [worker.log.read_text() for worker in installation.workers]
    assert len(outcome.embedded) > 10
    assert outcome.group == outcome.embedded
    assert not any("Traceback" in log or '"level": "error"' in log for log in logs)


async def test_worker_and_broker_that_are_killed_and_come_back_cost_no_event_and_count_none_twice(
    tmp_path: Path, jars: Path
) -> None:
    with Broker(tmp_path / "kafka", cache=jars) as broker:

        async def disaster(installation: Installation, workers: list[Worker]) -> list[Worker]:
            left = await kill_and_restart(installation, workers)
            await asyncio.to_thread(broker.kill)
            await asyncio.to_thread(broker.start)
            return left

        async with Installation(broker.bootstrap_servers, tmp_path / "tocsin") as installation:
            outcome = await run_group(installation, EVENTS, disaster)
    assert len(outcome.embedded) > 10
    assert outcome.group == outcome.embedded


async def test_worker_tells_once_that_kafka_is_away_and_goes_on_or_ends_in_time(
    tmp_path: Path, jars: Path
) -> None:
    with Broker(tmp_path / "kafka", cache=jars) as broker:
        async with Installation(broker.bootstrap_servers, tmp_path / "tocsin") as installation:
            staying = await installation.start("--stage", "correlate")
            leaving = await installation.start()
            for worker in (staying, leaving):
                await worker.ready()
            await asyncio.to_thread(broker.kill)
            async with asyncio.timeout(25):
                assert await leaving.stop() == 0
            await staying.logs("Kafka can't be reached")
            await asyncio.to_thread(broker.start)
            await staying.logs("Kafka is back")
            assert staying.log.read_text().count("Kafka can't be reached") == 1
            assert await staying.stop() == 0
