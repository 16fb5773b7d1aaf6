"""What happens to a service that logs: to its broker, its memory, its process."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from uuid import uuid4

from benchmarks.kafka import free_port
from consumers.kafka.topics import TopicSpec, ensure_topics
from tests.accounts.received import balance, receive
from tests.accounts.service import Counters

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from consumers.broker import Broker
    from tests.accounts.received import Account

__all__ = ["SCENARIOS", "Scenario", "killed_with_spool", "terminated"]

_ROOT = Path(__file__).parents[2]
_LOST = re.compile(rb"tocsin: (\d+) log records (?:were|came while)")


class Served(Protocol):
    """A broker that runs, whoever started it."""

    @property
    def bootstrap_servers(self) -> str: ...


class Scenario(Protocol):
    """Runs services against a broker, does something to them, and returns the account."""

    # Any: some need a broker that they can stop, others take whichever runs.
    async def __call__(self, broker: Any, folder: Path) -> Account: ...


class _Run:
    """One topic, one folder, and the services that log there."""

    def __init__(self, broker: Served, folder: Path) -> None:
        self.broker = broker
        self.folder = folder
        self.topic = f"account-{uuid4().hex[:8]}"
        self.lost = 0
        Counters.create(folder / "counters")

    async def ready(self) -> None:
        await ensure_topics(
            self.broker.bootstrap_servers, [TopicSpec(self.topic, 2, {"retention.ms": "-1"})], wait_s=30
        )

    async def start(self, *arguments: str, **options: object) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.accounts.service", "--servers", self.broker.bootstrap_servers),
            *("--topic", self.topic, "--folder", str(self.folder), "--options", json.dumps(options)),
            *arguments,
            cwd=_ROOT,
            stderr=asyncio.subprocess.PIPE,
        )

    async def end(self, process: asyncio.subprocess.Process) -> None:
        """Wait for a service's end, and note what it said that it could not deliver."""
        async with asyncio.timeout(180):
            _, said = await process.communicate()
        if b"Traceback" in said:
            raise RuntimeError(said.decode("utf-8", "replace"))
        if process.returncode:
            # Else it has reported.
            self.lost += sum(map(int, _LOST.findall(said)))

    async def logged(self, at_least: int, since: int = 0) -> None:
        """Wait until so many log calls have returned, in slots from this one on."""
        async with asyncio.timeout(120):
            while self._counted(since) < at_least:  # noqa: ASYNC110 - another process counts
                await asyncio.sleep(0.01)

    def _counted(self, since: int) -> int:
        counts = Counters.read(self.folder / "counters")
        return sum(count for slot, count in counts.items() if slot >= since)

    async def account(self, why: str) -> Account:
        seen = await receive(self.broker.bootstrap_servers, self.topic)
        return balance(why, self.folder, seen, lost=self.lost)


async def _away_at_the_start(broker: Broker, folder: Path) -> Account:
    run = _Run(broker, folder)
    await run.ready()
    await asyncio.to_thread(broker.stop)
    process = await run.start("--rate", "500", "--seconds", "65")
    await asyncio.sleep(60)
    await asyncio.to_thread(broker.start)
    await run.end(process)
    return await run.account("broker away for 60 s at the start")


async def _away_in_the_middle(broker: Broker, folder: Path) -> Account:
    run = _Run(broker, folder)
    await run.ready()
    process = await run.start("--rate", "500", "--seconds", "70")
    await run.logged(2_000)
    await asyncio.to_thread(broker.stop)
    await asyncio.sleep(60)
    await asyncio.to_thread(broker.start)
    await run.end(process)
    return await run.account("broker away for 60 s in the middle")


async def _killed_broker(broker: Broker, folder: Path) -> Account:
    run = _Run(broker, folder)
    await run.ready()
    process = await run.start("--rate", "2000", "--seconds", "40")
    for n in range(3):
        await run.logged(5_000 + n * 20_000)
        broker.kill()
        await asyncio.to_thread(broker.start)
    await run.end(process)
    return await run.account("broker killed and restarted, three times")


async def _full_queue(broker: Served, folder: Path) -> Account:
    run = _Run(broker, folder)
    await run.ready()
    await run.end(await run.start("--count", "100000", "--threads", "2", queue_records=1_000))
    return await run.account("queue full: 1,000 records, no pause between calls")


async def terminated(broker: Served, folder: Path, rounds: int = 10) -> Account:
    """End a service by SIGTERM while its threads log."""
    run = _Run(broker, folder)
    await run.ready()
    for n in range(rounds):
        process = await run.start(
            *("--threads", "2", "--seconds", "30", "--rate", "10000", "--slots-from", str(2 * n))
        )
        await run.logged(2_000, since=2 * n)
        process.send_signal(signal.SIGTERM)
        await run.end(process)
    return await run.account(f"SIGTERM under load, {rounds} times")


async def killed_with_spool(broker: Served, folder: Path, rounds: int = 10) -> Account:
    """Kill a service that has a spool while its threads log, then start another one."""
    run = _Run(broker, folder)
    await run.ready()
    spool = str(folder / "spool")
    for n in range(rounds):
        process = await run.start(
            *("--threads", "4", "--seconds", "30", "--rate", "10000", "--slots-from", str(4 * n)), spool=spool
        )
        await run.logged(2_000, since=4 * n)
        process.kill()
        await process.wait()
    # The next one to start brings what they left.
    await run.end(await run.start("--count", "10", "--slots-from", str(4 * rounds), spool=spool))
    return await run.account(f"SIGKILL with a spool under load, {rounds} times")


async def _forks(broker: Served, folder: Path) -> Account:
    run = _Run(broker, folder)
    await run.ready()
    await run.end(await run.start("--forks", "50", "--count", "2000"))
    return await run.account("50 forks under load")


async def _threads(broker: Served, folder: Path) -> Account:
    run = _Run(broker, folder)
    await run.ready()
    await run.end(await run.start("--threads", "64", "--count", "1000"))
    return await run.account("64 threads")


@contextlib.asynccontextmanager
async def _gunicorn(run: _Run, port: int, *arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gunicorn", "tests.accounts.web_app:application", "--workers", "4"),
        *("--bind", f"127.0.0.1:{port}", "--log-level", "warning", *arguments),
        cwd=_ROOT,
        stderr=asyncio.subprocess.PIPE,
        env={
            **os.environ,
            "KAFKA_BOOTSTRAP_SERVERS": run.broker.bootstrap_servers,
            "ACCOUNT_FOLDER": str(run.folder),
            "ACCOUNT_TOPIC": run.topic,
            "ACCOUNT_OPTIONS": "{}",
        },
    )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        await run.end(process)


async def _request(port: int) -> None:
    async with asyncio.timeout(30):
        while True:
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                break
            except OSError:
                await asyncio.sleep(0.05)
        writer.write(b"GET / HTTP/1.0\r\n\r\n")
        await reader.read()
        writer.close()


async def _web_workers(broker: Broker, folder: Path, *arguments: str) -> _Run:
    run = _Run(broker, folder)
    await run.ready()
    port = free_port()
    async with _gunicorn(run, port, *arguments):
        await _request(port)
        for _ in range(100):
            await asyncio.gather(*(_request(port) for _ in range(20)))
    return run


async def _gunicorn_workers(broker: Broker, folder: Path) -> Account:
    run = await _web_workers(broker, folder)
    return await run.account("gunicorn, 4 workers, 10,005 events")


async def _preloaded_workers(broker: Broker, folder: Path) -> Account:
    run = await _web_workers(broker, folder, "--preload")
    return await run.account("gunicorn --preload, 4 workers")


SCENARIOS: dict[str, Scenario] = {
    "away-at-start": _away_at_the_start,
    "away-in-the-middle": _away_in_the_middle,
    "killed-broker": _killed_broker,
    "full-queue": _full_queue,
    "sigterm": terminated,
    "sigkill": killed_with_spool,
    "forks": _forks,
    "gunicorn": _gunicorn_workers,
    "gunicorn-preload": _preloaded_workers,
    "threads": _threads,
}
"""By the name that the command line takes."""
