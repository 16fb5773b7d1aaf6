"""A storm of errors, and a Slack that takes one message a second: how many messages do people get?

python -m tests.chaos.storm --events 100000 --services 50

"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from consumers.broker import Broker
from tests.chaos.workers import Installation, pause, say
from tests.fakes.slack import TOKEN, Failure, SlackFake

__all__ = ["Outcome", "run_storm", "storm_installation"]

_COUNT = re.compile(r"([\d,]+) events since")


class Outcome(NamedTuple):
    """What one storm came to."""

    counts: list[int]
    messages_a_group: list[int]
    calls: int
    throttled: int
    abuse: int
    detected_s: float
    seconds: float


def storm_installation(bootstrap_servers: str, directory: Path, slack: SlackFake) -> Installation:
    """Return an installation that tells Slack, at first faster than Slack takes it."""
    config = {"app_token": TOKEN, "app_url": slack.url, "channel": "C0ALERTS", "interval": "700ms"}
    return Installation(
        bootstrap_servers,
        directory,
        receivers=[{"name": "slack", "slack_configs": [config]}],
        route={
            "receiver": "slack",
            "group_by": ["alertname", "service"],
            "group_wait": "1s",
            "group_interval": "2s",
        },
    )


async def run_storm(installation: Installation, slack: SlackFake, events: int, services: int) -> Outcome:
    """Log nothing but errors as fast as they go, and wait until Slack shows all of them.

    Args:
        installation: entered.
        slack: what it tells.
        events: how many errors; a multiple of `services`.
        services: how many services log them, in turn.
    """
    # Now and then Slack asks for patience for a reason of its own.
    slack.fail(*[Failure(error="ratelimited", retry_after=2)] * 2)
    # One notifies: how fast a channel is told is each process's own to keep.
    stages = ("--stage", "detect", "--stage", "correlate")
    workers = [await installation.start(*stages), await installation.start()]
    for worker in workers:
        await worker.ready()
    began = time.monotonic()
    await installation.log_events(events, "--errors", "--services", str(services))
    await installation.correlated()
    detected_s = time.monotonic() - began
    async with asyncio.timeout(60 + 6 * services):
        while len(slack.roots) < services or sum(_counts(slack)) < events:
            await pause()
    seconds = time.monotonic() - began
    for worker in workers:
        assert await worker.stop() == 0
    return Outcome(
        _counts(slack),
        [1 + len(slack.replies(root)) for root in slack.roots],
        len(slack.calls),
        slack.throttled,
        slack.abuse,
        detected_s,
        seconds,
    )


def _counts(slack: SlackFake) -> list[int]:
    """Return how many events each message tells of, as people read it now."""
    found = [_COUNT.search(slack.render(root)) for root in slack.roots]
    return [int(match[1].replace(",", "")) if match else 0 for match in found]


async def _main(events: int, services: int) -> int:
    with tempfile.TemporaryDirectory() as folder, Broker(Path(folder) / "kafka") as broker:
        async with (
            SlackFake() as slack,
            storm_installation(broker.bootstrap_servers, Path(folder) / "tocsin", slack) as installation,
        ):
            outcome = await run_storm(installation, slack, events, services)
    exact = outcome.counts == [events // services] * services
    say(
        json.dumps(
            {
                "events": events,
                "groups": len(outcome.counts),
                "most_messages_a_group": max(outcome.messages_a_group),
                "messages": sum(outcome.messages_a_group),
                "calls": outcome.calls,
                "throttled": outcome.throttled,
                "calls_before_retry_after_was_over": outcome.abuse,
                "counted_s": round(outcome.detected_s, 1),
                "all_told_s": round(outcome.seconds, 1),
                "counts_exact": exact,
            }
        )
    )
    return 0 if exact else 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--services", type=int, default=50)
    given = parser.parse_args()
    sys.exit(asyncio.run(_main(given.events, given.services)))
