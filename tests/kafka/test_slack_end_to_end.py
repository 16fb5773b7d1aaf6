"""From a log call in a service to a message on Slack, and what a restart repeats: nothing."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from consumers.clock import now_ms
from producers import KafkaHandler
from tests.chaos.workers import Installation, pause
from tests.fakes.slack import TOKEN, Channel, Failure, SlackFake

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import Kafka

REFUSED = 'tocsin_notifications_total{receiver="slack",result="refused"}'
SENT = 'tocsin_notifications_total{receiver="slack",result="sent"}'


def installed(kafka: Kafka, tmp_path: Path, slack: SlackFake, channel: str = "C0ALERTS") -> Installation:
    config = {"app_token": TOKEN, "app_url": slack.url, "channel": channel, "interval": "0s"}
    return Installation(
        kafka.bootstrap_servers,
        tmp_path,
        partitions=2,
        receivers=[{"name": "slack", "slack_configs": [config]}],
        route={"receiver": "slack"},
    )


async def log_errors(installation: Installation, count: int, first: int = 0) -> None:
    """Log as a service does that has our handler."""
    logger = logging.Logger("shop.payments")  # noqa: LOG001 - pytest's own handlers don't listen to it
    handler = KafkaHandler(
        service="payments", bootstrap_servers=installation.bootstrap_servers, topic=installation.topics.logs
    )
    logger.addHandler(handler)
    for n in range(first, first + count):
        logger.error("payment %d failed", n)
    await asyncio.to_thread(handler.flush)
    await asyncio.to_thread(handler.close)


async def shown(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await pause()


async def test_error_that_a_service_logs_is_told_on_slack(kafka: Kafka, tmp_path: Path) -> None:
    async with SlackFake() as slack, installed(kafka, tmp_path, slack) as installation:
        worker = await installation.start()
        await worker.ready()
        await log_errors(installation, 12)
        await shown(lambda: bool(slack.roots) and "12" in slack.render(slack.roots[0]))
        await worker.shows(lambda m: m.get(SENT, 0) >= 1)
    (message,) = slack.messages
    told = slack.render(message)
    assert "Errors Of A Service" in told
    assert "payments" in told
    assert "payment 11 failed" in told
    assert message.channel == "C0ALERTS"


async def test_restart_of_the_worker_repeats_no_message_and_goes_on_editing(
    kafka: Kafka, tmp_path: Path
) -> None:
    async with SlackFake() as slack, installed(kafka, tmp_path, slack) as installation:
        worker = await installation.start()
        await worker.ready()
        await log_errors(installation, 12)
        await worker.shows(lambda m: m.get(SENT, 0) >= 1)
        assert await worker.stop() == 0
        again = await installation.start()
        await again.ready()
        await log_errors(installation, 5, first=12)
        await shown(lambda: "17" in slack.render(slack.roots[0]))
        assert await again.stop() == 0
    assert len(slack.messages) == 1


async def test_message_under_way_at_the_stop_is_not_repeated_after_it(kafka: Kafka, tmp_path: Path) -> None:
    async with SlackFake() as slack, installed(kafka, tmp_path, slack) as installation:
        # Slack is busy, so that the worker is told to stop while it waits to try again.
        slack.fail(Failure(error="ratelimited", retry_after=2))
        worker = await installation.start()
        await worker.ready()
        await log_errors(installation, 12)
        await shown(lambda: not slack._failures)
        assert await worker.stop() == 0
        assert len(slack.messages) == 1
        again = await installation.start()
        await again.ready()
        await log_errors(installation, 1, first=12)
        await shown(lambda: "13" in slack.render(slack.roots[0]))
    assert len(slack.messages) == 1


async def test_permanent_error_is_shown_and_not_tried_for_ever(kafka: Kafka, tmp_path: Path) -> None:
    async with (
        SlackFake(channels=(Channel("C0ALERTS", "alerts"),)) as slack,
        installed(kafka, tmp_path, slack, "C0NOWHERE") as installation,
    ):
        worker = await installation.start()
        await worker.ready()
        await log_errors(installation, 12)
        await worker.shows(lambda m: m.get(REFUSED, 0) == 1)
        # Three flushes later it has been tried no second time.
        began = now_ms()
        metrics = await worker.shows(lambda _: now_ms() - began > 3_500)
        log = worker.log.read_text()
    assert metrics[REFUSED] == 1
    assert SENT not in metrics
    assert [method for method, _ in slack.calls] == ["chat.postMessage"]
    assert "channel_not_found" in log
    assert TOKEN not in log
