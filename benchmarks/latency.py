"""From a log call to Slack: the whole way over a real Kafka, a real worker process and the Slack API's fake.

A service logs at a steady rate; now and then a service of its own logs one critical error, which makes
a group of its own and so a message. Measured is the time from before the log call until the fake has
taken the message. `group_wait` is 0s.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import re
import statistics
import sys
import time

import producers
from benchmarks.kafka import broker
from benchmarks.worker import worker
from consumers.kafka.topics import TopicNames, ensure_topics, topic_specs
from tests.fakes.slack import Channel, SlackFake

__all__ = ["run"]

_CONFIG = """\
kafka: {{bootstrap_servers: "{servers}", group: "{prefix}", topic_prefix: "{prefix}."}}
sources: [{{kafka: logs, logsource: [{{category: application}}, {{category: webserver}}]}}]
rules: [shipped]
web: {{port: 0}}
route: {{receiver: slack, group_by: [alertname, service], group_wait: 0s, group_interval: 1m}}
receivers:
  - name: slack
    slack_configs: [{{app_token: "{token}", app_url: "{url}", channel: C1, interval: 0s}}]
"""
_PROBE = re.compile(r"probe-(\d+)")


class _Clocked(SlackFake):
    """The fake, noting when it took the message about each probe."""

    def __init__(self) -> None:
        super().__init__(
            channels=[Channel("C1", "alerts")], posts_per_s=1e6, burst=1_000_000, updates_per_min=10**6
        )
        self.taken: dict[int, float] = {}

    def note(self) -> int:
        """Look through the messages that have come since, and return how many probes are there."""
        now = time.monotonic()
        for message in self.messages[len(self.taken) :]:
            found = _PROBE.search(self.render(message))
            if found:
                self.taken.setdefault(int(found.group(1)), now)
        return len(self.taken)


async def run(rate: int = 5000, seconds: int = 30, probes: int = 200) -> str:
    """Run it and return a line with the percentiles.

    Args:
        rate: log calls a second.
        seconds: how long.
        probes: critical errors, evenly spread.
    """
    async with broker() as servers, _Clocked() as slack:
        prefix = f"latency-{os.getpid()}"
        await ensure_topics(servers, topic_specs(TopicNames.prefixed(f"{prefix}."), 3), wait_s=20)
        config = _CONFIG.format(servers=servers, prefix=prefix, token=slack.token, url=slack.url)
        async with worker(config):
            logged = await _log(servers, f"{prefix}.logs", slack, rate, seconds, probes)
    delays = sorted(slack.taken[n] - at for n, at in logged.items() if n in slack.taken)
    lost = len(logged) - len(delays)
    p99 = delays[min(int(len(delays) * 0.99), len(delays) - 1)] if delays else float("nan")
    middle = statistics.median(delays) if delays else float("nan")
    longest = delays[-1] if delays else float("nan")
    return (
        f"log call → Slack at {rate:,} events/s, group_wait 0s, {len(delays)} messages:"
        f" p50 {middle * 1000:.0f} ms, p99 {p99 * 1000:.0f} ms, max {longest * 1000:.0f} ms; {lost} missing"
    )


async def _log(
    servers: str, topic: str, slack: _Clocked, rate: int, seconds: int, probes: int
) -> dict[int, float]:
    handler = producers.KafkaHandler(bootstrap_servers=servers, topic=topic, service="steady")
    logger = logging.getLogger("benchmark.latency")
    logger.propagate = False
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    logged: dict[int, float] = {}
    loop = asyncio.get_running_loop()
    began = loop.time()
    sent, probed = 0, 0
    padding = "x" * 120
    while (now := loop.time() - began) < seconds:
        for _ in range(int(now * rate) - sent):
            logger.info("order accepted", extra={"order_id": sent, "note": padding})
            sent += 1
        # The first seconds warm everything up.
        if probed < probes and now > 3 + probed * (seconds - 5) / probes:
            logged[probed] = time.monotonic()
            logger.critical("the ledger is gone", extra={"service": f"probe-{probed}"})
            probed += 1
        slack.note()
        await asyncio.sleep(0.001)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(15):
            while slack.note() < len(logged):  # noqa: ASYNC110 — the fake tells nobody
                await asyncio.sleep(0.005)
    logger.removeHandler(handler)
    handler.close()
    return logged


if __name__ == "__main__":
    sys.stdout.write(asyncio.run(run()) + "\n")
