"""The web endpoints, asked over HTTP."""

from __future__ import annotations

import socket

import pytest
from aiohttp import ClientSession

from consumers.metrics import Metrics
from consumers.rules import SHIPPED, load_rules
from consumers.web import serve_web
from pipeline.correlate.correlate import Correlate
from pipeline.detect.detect import Detect, Source
from pipeline.errors import TocsinError
from pipeline.event import Batch, Partition


async def test_metrics_are_what_the_stages_count() -> None:
    rules = load_rules([SHIPPED])
    metrics = Metrics(lambda: 1_000_000)
    detect = Detect(rules, lateness_ms=30_000, idle_timeout_ms=60_000)
    correlate = Correlate(rules, resolve_timeout_ms=300_000)
    metrics.watch_detect(detect)
    metrics.watch_correlate(lambda: (correlate,))
    partition = Partition("logs", 0)
    opened = detect.open(partition, Source(), 0, 1_000_000)
    batch = Batch(partition, [0, 1, 2], [990_000] * 3, [b'{"level":"critical","event":"x"}', b"calm", None])
    correlate.process([opened, *detect.process(batch, 1_000_000)], 1)
    async with (
        serve_web("127.0.0.1", 0, metrics, lambda: None) as port,
        ClientSession() as session,
        session.get(f"http://127.0.0.1:{port}/metrics") as answer,
    ):
        text = await answer.text()
    assert "tocsin_events_total 2.0" in text
    assert "tocsin_empty_records_total 1.0" in text
    assert "tocsin_watermark_delay_seconds 40.0" in text
    assert "tocsin_alert_changes_total" in text


def test_metrics_show_what_became_of_sources() -> None:
    metrics = Metrics(lambda: 1_000_000)
    detect = Detect(load_rules([SHIPPED]), lateness_ms=1_000, idle_timeout_ms=60_000)
    metrics.watch_detect(detect)
    partition = Partition("logs", 0)
    detect.open(partition, Source(), 0, 1_000_000)
    numbers = (0, 5, 4, 5, 0)
    headers = [[("source", b"s1"), ("seq", b"%d" % n)] for n in numbers]
    detect.account(
        Batch(partition, range(5), [990_000] * 5, [b"{}"] * 5, keys=[b'a "shop"\n'] * 5, headers=headers),
        1_000_000,
    )
    detect.tell(partition, 1_001_000, at_end=True)
    late = Batch(
        partition, [5], [990_000], [b"{}"], keys=[b'a "shop"\n'], headers=[[*headers[0][:1], ("seq", b"1")]]
    )
    detect.account(late, 1_001_000)
    text = metrics.render().decode()
    assert r'tocsin_source_lost_records_total{service="a \"shop\"\n"} 3.0' in text
    assert "tocsin_source_duplicate_records_total 2.0" in text
    assert "tocsin_source_reordered_records_total 1.0" in text
    assert "tocsin_source_returned_records_total 1.0" in text
    assert "tocsin_source_words_dropped_total 0.0" in text
    assert "tocsin_sources 1.0" in text
    assert "tocsin_silent_services 0.0" in text


async def test_readiness_says_what_is_missing() -> None:
    waiting: list[str | None] = ["not yet in its group: detect"]
    async with (
        serve_web("127.0.0.1", 0, Metrics(lambda: 0), lambda: waiting[0]) as port,
        ClientSession() as session,
    ):
        async with session.get(f"http://127.0.0.1:{port}/readyz") as answer:
            assert (answer.status, await answer.text()) == (503, "not yet in its group: detect\n")
        waiting[0] = None
        async with session.get(f"http://127.0.0.1:{port}/readyz") as answer:
            assert answer.status == 200
        async with session.get(f"http://127.0.0.1:{port}/healthz") as answer:
            assert answer.status == 200


async def test_port_that_is_taken_is_an_error_that_names_it() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(TocsinError, match=rf"127.0.0.1:{port}.*--web-port"):
            async with serve_web("127.0.0.1", port, Metrics(lambda: 0), lambda: None):
                pass
