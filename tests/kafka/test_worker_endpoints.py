"""What a running worker serves, and how it leaves."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tests.chaos.workers import Installation

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tests.conftest import Kafka


async def test_worker_is_ready_when_it_has_joined_and_shows_what_it_does(
    kafka: Kafka, tmp_path: Path
) -> None:
    async with Installation(kafka.bootstrap_servers, tmp_path, partitions=2) as installation:
        worker = await installation.start()
        assert await worker.get("/healthz") == (200, "ok\n")
        await worker.ready()
        await installation.log_events(1_000, "--errors", "--services", "4")
        await installation.correlated()
        sent = 'tocsin_notifications_total{receiver="told",result="sent"}'
        metrics = await worker.shows(
            lambda m: (
                m.get(sent, 0) >= 4
                and all(value == 0 for name, value in m.items() if name.startswith("tocsin_lag_records"))
            )
        )
    assert metrics["tocsin_events_total"] == 1_000
    assert metrics["tocsin_bytes_total"] > 100_000
    assert sum(v for k, v in metrics.items() if k.startswith("tocsin_matches_total")) == 1_000
    assert metrics["tocsin_alert_changes_total"] >= 4
    assert metrics["tocsin_groups"] == 4
    assert metrics["tocsin_end_to_end_latency_seconds_count"] == 4
    assert metrics["tocsin_outbox_waiting"] == 0
    # The partitions of the three topics that it reads.
    assert sum(k.startswith("tocsin_lag_records") for k in metrics) == 6


async def test_worker_beyond_the_number_of_partitions_is_ready_too(kafka: Kafka, tmp_path: Path) -> None:
    async with Installation(kafka.bootstrap_servers, tmp_path, partitions=1) as installation:
        for worker in [await installation.start("--stage", "correlate") for _ in range(2)]:
            await worker.ready()


async def test_worker_that_is_stopped_leaves_its_groups_at_once(kafka: Kafka, tmp_path: Path) -> None:
    async with Installation(kafka.bootstrap_servers, tmp_path, partitions=2) as installation:
        staying = await installation.start()
        leaving = await installation.start()
        for worker in (staying, leaving):
            await worker.ready()
            # Of the two partitions of each of three topics it has one.
            await worker.shows(lambda m: partitions(m) == 3)
        # A dead member would be missed after the session timeout of 10 s only.
        async with asyncio.timeout(8):
            assert await leaving.stop() == 0
            await staying.shows(lambda m: partitions(m) == 6)
        await installation.log_events(200, "--errors")
        await installation.correlated(timeout_s=30)
        assert (await staying.metrics())["tocsin_events_total"] == 200


def partitions(metrics: Mapping[str, float]) -> int:
    """Return how many partitions a worker reads."""
    return sum(name.startswith("tocsin_lag_records") for name in metrics)
