"""From a log call that names a channel to that channel: at once, calm in a storm, no further than listed."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

import structlog

import producers
from producers import EventRenderer, KafkaHandler, KafkaLoggerFactory
from tests.chaos.workers import Installation, pause
from tests.fakes.slack import TOKEN, Channel, SlackFake

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import Kafka

CHANNELS = (
    Channel("C0ALERTS", "alerts"),
    Channel("C0DEPLOY", "deployments"),
    Channel("C0PAY", "payments"),
    Channel("C0BOARD", "board"),
)
HOSTILE = "<!channel> <https://evil.example|click> @here *bold* `x` ``` & password=hunter2"


def installed(kafka: Kafka, tmp_path: Path, slack: SlackFake) -> Installation:
    bot = {"app_token": TOKEN, "app_url": slack.url, "channel": "C0ALERTS", "interval": "0s"}
    by_label = {"channel_label": "notify", "channels": ["#deployments", "payments"], "send_resolved": False}
    return Installation(
        kafka.bootstrap_servers,
        tmp_path,
        partitions=1,
        rules=None,
        receivers=[
            {"name": "alerts", "slack_configs": [bot]},
            {"name": "told", "slack_configs": [{**bot, **by_label}]},
        ],
        route={
            "receiver": "alerts",
            "routes": [{"receiver": "told", "matchers": ['notify!=""'], "group_by": ["notify"]}],
        },
    )


async def shown(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await pause()


def texts_in(slack: SlackFake, channel: str) -> list[str]:
    return [slack.render(message) for message in slack.roots if message.channel == channel]


async def test_channel_that_a_log_call_names_is_told_and_no_other_than_listed(
    kafka: Kafka, tmp_path: Path
) -> None:
    async with SlackFake(channels=CHANNELS) as slack, installed(kafka, tmp_path, slack) as installation:
        worker = await installation.start()
        await worker.ready()
        options = {"bootstrap_servers": installation.bootstrap_servers, "topic": installation.topics.logs}
        handler = KafkaHandler(service="web", **options)  # type: ignore[arg-type]  # two texts
        logger = logging.Logger("deploy")  # noqa: LOG001 - pytest's own handlers don't listen to it
        logger.addHandler(handler)
        logger.info("deploy finished", extra={"notify": "#deployments", "version": "1.2.4"})
        logger.warning(HOSTILE, extra={"notify": "#board"})
        log = structlog.wrap_logger(
            KafkaLoggerFactory(handler)("shop"), processors=[EventRenderer(handler.renderer)]
        )
        log.info("refunds paused", notify="#payments", service="shop")
        await shown(lambda: len(slack.roots) == 3)
        logging.getLogger().addHandler(handler)
        producers.notify("deploy of 1.2.5 begins", channel="deployments", by="ci")
        logging.getLogger().removeHandler(handler)
        await shown(lambda: any(slack.replies(root) for root in slack.roots))
        await asyncio.to_thread(handler.close)
    (deployed,) = [m for m in slack.roots if m.channel == "C0DEPLOY"]
    first_said = deployed.edits[0][0] if deployed.edits else deployed.text
    assert first_said.startswith("⚪ deploy finished · web: Logged · ")
    (reply,) = slack.replies(deployed)
    assert "deploy of 1.2.5 begins · web" in slack.render(reply)
    assert "by=ci" in slack.render(reply)
    (paid,) = texts_in(slack, "C0PAY")
    assert "refunds paused · shop" in paid
    assert texts_in(slack, "C0BOARD") == []
    (unlisted,) = [m for m in slack.roots if m.channel == "C0ALERTS"]
    told = slack.render(unlisted)
    assert "#board" in told
    assert "<!channel> <https://evil.example|click> @here *bold*" in told
    assert "hunter2" not in told
    assert slack.mentions(unlisted) == []


async def test_storm_of_texts_is_one_message_and_few_replies_that_name_some(
    kafka: Kafka, tmp_path: Path
) -> None:
    async with SlackFake(channels=CHANNELS) as slack, installed(kafka, tmp_path, slack) as installation:
        worker = await installation.start()
        await worker.ready()
        handler = KafkaHandler(
            service="shop", bootstrap_servers=installation.bootstrap_servers, topic=installation.topics.logs
        )
        logger = logging.Logger("shop")  # noqa: LOG001 - likewise
        logger.addHandler(handler)
        for n in range(1_000):
            logger.info("order %d lost", n, extra={"notify": "#payments"})
        await asyncio.to_thread(handler.close)
        await shown(
            lambda: bool(slack.roots) and "1,000 events in 1,000 alerts" in slack.render(slack.roots[0])
        )
    (root,) = slack.roots
    assert root.channel == "C0PAY"
    assert "and 990 more" in slack.render(root)
    assert len(slack.replies(root)) <= 2
    assert all("order" in slack.render(reply) for reply in slack.replies(root))
