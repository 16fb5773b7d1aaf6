"""Three workers in one group, one stopped and one added midway: are the alerts those of one undisturbed run?

python -m tests.chaos.worker_group --events 200000 [--kill]

"""

from __future__ import annotations

import argparse
import asyncio
import datetime as dt
import json
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import NamedTuple

import msgspec

from consumers.broker import Broker
from pipeline.alert import Alert
from tests.chaos.workers import Figures, Installation, Worker, figures, pause, run_process, say

__all__ = [
    "Disturbance",
    "Outcome",
    "embedded_alerts",
    "kill_and_restart",
    "logged",
    "run_group",
    "stop_and_add",
]

Disturbance = Callable[[Installation, list[Worker]], Awaitable[list[Worker]]]
"""What happens to a group midway; returns the workers that are left."""


class Outcome(NamedTuple):
    """What one comparison found."""

    group: Figures
    embedded: Figures
    logging_s: float
    seconds: float
    events: int


async def embedded_alerts(installation: Installation, count: int, *arguments: str) -> Figures:
    """Return the figures of the alerts of `tocsin run` on the same events in a file."""
    events = installation.directory / "events.jsonl"
    told = installation.directory / "embedded.jsonl"
    code, output = await run_process(
        *(sys.executable, "examples/service.py", "--count", str(count), "--rate", "0"),
        *("--path", str(events), *arguments),
    )
    assert code == 0, output
    text = installation.config.read_text("utf-8").replace(str(installation.told), str(told))
    config = installation.directory / "embedded.yml"
    config.write_text(text, "utf-8")
    code, output = await run_process(
        *(sys.executable, "-m", "pipeline.consumer", "run", "--config", str(config), str(events))
    )
    assert code == 0, output
    found: dict[str, Alert] = {}
    for line in told.read_bytes().splitlines():
        for alert in msgspec.json.decode(line, type=_Told).alerts:
            if alert.id not in found or alert.revision > found[alert.id].revision:
                found[alert.id] = alert
    return figures(found.values())


class _Told(msgspec.Struct):
    alerts: list[Alert]


async def run_group(
    installation: Installation, count: int, disturb: Disturbance, tell: Callable[[str], None] = lambda _: None
) -> Outcome:
    """Log events to a group of three workers, and disturb it when a quarter of them is there.

    Args:
        installation: entered.
        count: how many events.
        disturb: does so; returns the workers that are left.
        tell: told of each step.
    """
    # Events carry their own times, so that both runs have the same; not so old that retention takes them.
    start = dt.datetime.now(dt.UTC) - dt.timedelta(seconds=count / 1000 + 60)
    arguments = ("--start-time", start.isoformat(), "--services", "8")
    workers = [await installation.start() for _ in range(3)]
    for worker in workers:
        await worker.ready()
    tell("three workers are ready")
    began = time.monotonic()
    logging = asyncio.create_task(installation.log_events(count, *arguments))
    await logged(installation, count // 4)
    left = await disturb(installation, workers)
    tell("the group was disturbed")
    await logging
    logging_s = time.monotonic() - began
    for worker in left:
        await worker.ready()
    await installation.correlated(timeout_s=300)
    seconds = time.monotonic() - began
    tell("everything is correlated")
    metrics = [await worker.metrics() for worker in left]
    return Outcome(
        figures((await installation.final_alerts()).values()),
        await embedded_alerts(installation, count, *arguments),
        logging_s,
        seconds,
        int(sum(m["tocsin_events_total"] for m in metrics)),
    )


async def stop_and_add(installation: Installation, workers: list[Worker]) -> list[Worker]:
    """Stop one worker, and add another."""
    first, second, third = workers
    assert await second.stop() == 0
    return [first, third, await installation.start()]


async def kill_and_restart(installation: Installation, workers: list[Worker]) -> list[Worker]:
    """Kill one worker, and start it again."""
    first, second, third = workers
    await second.kill()
    return [first, third, await installation.start()]


async def logged(installation: Installation, count: int) -> None:
    """Wait until so many events are in the topic."""
    async with asyncio.timeout(300):
        while sum((await installation.ends(installation.topics.logs)).values()) < count:
            await pause()


async def _main(events: int, disturb: Disturbance) -> int:
    with tempfile.TemporaryDirectory() as folder, Broker(Path(folder) / "kafka") as broker:
        async with Installation(
            broker.bootstrap_servers, Path(folder) / "tocsin", partitions=6
        ) as installation:
            outcome = await run_group(installation, events, disturb, say)
    same = outcome.group == outcome.embedded
    counted = sum(count for _, count, _, _ in outcome.group.values())
    say(
        json.dumps(
            {
                "events": events,
                "logging_s": round(outcome.logging_s, 1),
                "seconds": round(outcome.seconds, 1),
                "alerts": len(outcome.group),
                "events_in_alerts": counted,
                "events_read_by_the_workers_left": outcome.events,
                "equal_to_embedded": same,
            }
        )
    )
    if not same:
        for alert in sorted(outcome.group.keys() | outcome.embedded.keys()):
            if (a := outcome.group.get(alert)) != (b := outcome.embedded.get(alert)):
                say(f"{alert} group: {a} embedded: {b}")
    return 0 if same else 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=200_000)
    parser.add_argument("--kill", action="store_true", help="kill one worker instead of stopping it")
    given = parser.parse_args()
    sys.exit(asyncio.run(_main(given.events, kill_and_restart if given.kill else stop_and_add)))
