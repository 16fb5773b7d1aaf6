"""Workers as processes: one installation of Tocsin with topics, groups and files of its own.

Everything that waits, waits for a broker, a process or an HTTP answer; nothing sleeps.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Self
from uuid import uuid4

import msgspec
import yaml
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from consumers.kafka.topics import TopicNames, ensure_topics, topic_specs
from pipeline.alert import Alert
from pipeline.detection import Detection, Progress

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Mapping

__all__ = ["ROOT", "RULES", "Figures", "Installation", "Worker", "figures", "pause", "run_process", "say"]

ROOT = Path(__file__).parents[2]

RULES = """\
title: Storm
id: 3f0b2a9c-1d7e-4c53-9b52-6f0d8a1c2e01
name: any_error
status: test
logsource: {category: application}
detection:
  selection: {level: [error, critical]}
  condition: selection
level: low
---
title: Errors Of A Service
id: 3f0b2a9c-1d7e-4c53-9b52-6f0d8a1c2e02
name: errors_of_a_service
status: test
correlation:
  type: event_count
  rules: [any_error]
  group-by: [service]
  timespan: 1m
  condition: {gte: 10}
level: high
---
title: Order
id: 3f0b2a9c-1d7e-4c53-9b52-6f0d8a1c2e03
name: order
status: test
logsource: {category: application}
detection:
  keywords: ['order placed']
  condition: keywords
level: low
---
title: Many Orders
id: 3f0b2a9c-1d7e-4c53-9b52-6f0d8a1c2e04
name: many_orders
status: test
correlation:
  type: event_count
  rules: [order]
  group-by: [service]
  timespan: 10s
  condition: {gte: 50}
level: medium
---
title: Many Customers
id: 3f0b2a9c-1d7e-4c53-9b52-6f0d8a1c2e05
name: many_customers
status: test
correlation:
  type: value_count
  rules: [order]
  group-by: [product]
  timespan: 5s
  condition: {field: customer, gte: 100}
level: medium
"""
"""Rules that normal traffic of the example service fires, and its errors."""


class Worker:
    """One worker process."""

    def __init__(self, process: asyncio.subprocess.Process, log: Path, port: asyncio.Future[int]) -> None:
        self.process = process
        self.log = log
        self._port = port

    async def url(self) -> str:
        """Where it serves."""
        return f"http://127.0.0.1:{await asyncio.shield(self._port)}"

    async def get(self, path: str) -> tuple[int, str]:
        """Return status and text of one of its pages."""
        url = f"{await self.url()}{path}"

        def fetch() -> tuple[int, str]:
            try:
                with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310 - our own
                    return answer.status, answer.read().decode()
            except urllib.error.HTTPError as error:
                with error:
                    return error.code, error.read().decode()

        try:
            return await asyncio.to_thread(fetch)
        except urllib.error.URLError as error:
            raise AssertionError(f"the worker is gone: {_end_of(self.log)}") from error

    async def metrics(self) -> dict[str, float]:
        """Return its metrics by name with labels."""
        _, text = await self.get("/metrics")
        lines = (line.rpartition(" ") for line in text.splitlines() if line and line[0] != "#")
        return {name: float(value) for name, _, value in lines}

    async def ready(self) -> None:
        """Wait until every stage has joined its group."""
        async with asyncio.timeout(60):
            while (await self.get("/readyz"))[0] != 200:
                await pause()

    async def shows(self, condition: Callable[[Mapping[str, float]], bool]) -> Mapping[str, float]:
        """Wait until its metrics satisfy a condition; return them."""
        async with asyncio.timeout(60):
            while not condition(metrics := await self.metrics()):
                await pause()
        return metrics

    async def logs(self, text: str) -> None:
        """Wait until its log says something."""
        async with asyncio.timeout(60):
            while text not in self.log.read_text():
                await pause()

    async def stop(self) -> int:
        """Ask it to end, and return its exit code."""
        self.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(40):
            return await self.process.wait()

    async def kill(self) -> None:
        """End it as a crash would."""
        self.process.kill()
        await self.process.wait()


class Installation:
    """Topics, groups and a configuration that no other has.

    Args:
        bootstrap_servers: where Kafka is.
        directory: for the configuration, rules and logs.
        partitions: of the shared topics.
        receivers: as in the configuration; without any, JSON lines to `told` in the directory.
        route: what to add to the route.
        rules: text of the rules, or None for those that ship.
        more: further top-level blocks of the configuration.
    """

    def __init__(
        self,
        bootstrap_servers: str,
        directory: Path,
        *,
        partitions: int = 4,
        receivers: list[dict[str, object]] | None = None,
        route: Mapping[str, object] | None = None,
        rules: str | None = RULES,
        more: Mapping[str, object] | None = None,
    ) -> None:
        self.name = uuid4().hex[:12]
        self.bootstrap_servers = bootstrap_servers
        self.directory = directory
        self.partitions = partitions
        self.topics = TopicNames.prefixed(f"{self.name}.")
        self.told = directory / "told.jsonl"
        self.config = directory / "tocsin.yml"
        self.workers: list[Worker] = []
        self._stack = contextlib.AsyncExitStack()
        directory.mkdir(parents=True, exist_ok=True)
        if rules is not None:
            (directory / "rules.yml").write_text(rules, "utf-8")
        config = {
            "kafka": {
                "bootstrap_servers": bootstrap_servers,
                "group": self.name,
                "topic_prefix": f"{self.name}.",
            },
            "sources": [
                {"kafka": "logs", "logsource": [{"category": "application"}, {"category": "webserver"}]}
            ],
            "rules": ["shipped" if rules is None else str(directory / "rules.yml")],
            "route": {
                "receiver": "told",
                "group_by": ["alertname", "service"],
                "group_wait": "0s",
                "group_interval": "1s",
                "repeat_interval": "4h",
                **(route or {}),
            },
            "receivers": receivers or [{"name": "told", "jsonl_configs": [{"path": str(self.told)}]}],
            **(more or {}),
        }
        self.config.write_text(yaml.safe_dump(config), "utf-8")

    async def __aenter__(self) -> Self:
        await self._stack.__aenter__()
        await ensure_topics(self.bootstrap_servers, topic_specs(self.topics, self.partitions))
        self._admin = AIOKafkaAdminClient(bootstrap_servers=self.bootstrap_servers)
        await self._admin.start()
        self._stack.push_async_callback(self._admin.close)
        self._alerts = AIOKafkaConsumer(
            bootstrap_servers=self.bootstrap_servers, auto_offset_reset="earliest"
        )
        await self._alerts.start()
        self._stack.push_async_callback(self._alerts.stop)
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._stack.__aexit__(None, None, None)

    async def start(self, *arguments: str, environment: Mapping[str, str] | None = None) -> Worker:
        """Start a worker; it is killed at the latest when the installation is left."""
        log = self.directory / f"worker-{len(self.workers)}.log"
        log.touch()
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "pipeline.consumer", "worker", "--web-port", "0", *arguments),
            cwd=ROOT,
            env={**os.environ, "TOCSIN_CONFIG": str(self.config), **(environment or {})},
            stdin=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        port: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        reading = asyncio.create_task(_read_log(process, log, port))
        worker = Worker(process, log, port)
        self.workers.append(worker)

        async def end() -> None:
            if process.returncode is None:
                await worker.kill()
            await reading

        self._stack.push_async_callback(end)
        return worker

    async def log_events(self, count: int, *arguments: str) -> None:
        """Let the example service log events through the handler, as fast as it can."""
        await run_process(
            *(sys.executable, "examples/service.py", "--count", str(count), "--rate", "0"),
            *("--bootstrap-servers", self.bootstrap_servers, "--topic", self.topics.logs, *arguments),
        )

    async def write(self, topic: str, value: bytes | None, **options: object) -> None:
        """Write one record."""
        async with AIOKafkaProducer(bootstrap_servers=self.bootstrap_servers) as producer:
            await producer.send_and_wait(topic, value, **options)

    async def ends(self, topic: str) -> dict[TopicPartition, int]:
        """Return where a topic's partitions end."""
        numbers = await self._alerts._client._wait_on_metadata(topic)
        return await self._alerts.end_offsets([TopicPartition(topic, n) for n in numbers])

    async def caught_up(self, group: str, topic: str, timeout_s: float = 120) -> None:
        """Wait until a group has committed everything that is in a topic now."""
        async with asyncio.timeout(timeout_s):
            ends = await self.ends(topic)
            while True:
                with contextlib.suppress(KafkaError):
                    committed = await self._admin.list_consumer_group_offsets(group)
                    if all(p in committed and committed[p].offset >= end for p, end in ends.items() if end):
                        return
                await pause()

    async def correlated(self, timeout_s: float = 120) -> None:
        """Wait until all events are detected, and all detections correlated."""
        await self.caught_up(f"{self.name}-detect-{self.topics.logs}", self.topics.logs, timeout_s)
        await self.caught_up(f"{self.name}-correlate", self.topics.detections, timeout_s)

    async def read(self, topic: str) -> list[bytes]:
        """Return the values of a topic, as far as it goes now."""
        ends = await self.ends(topic)
        self._alerts.assign(list(ends))
        await self._alerts.seek_to_beginning(*ends)
        values = []
        async with asyncio.timeout(60):
            while any([await self._alerts.position(p) < end for p, end in ends.items()]):
                for records in (await self._alerts.getmany(timeout_ms=200)).values():
                    values += [record.value for record in records]
        return values

    async def final_alerts(self) -> dict[str, Alert]:
        """Return the newest revision of each alert."""
        newest: dict[str, Alert] = {}
        for value in await self.read(self.topics.alerts):
            alert = msgspec.json.decode(value, type=Alert)
            if alert.id not in newest or alert.revision >= newest[alert.id].revision:
                newest[alert.id] = alert
        return newest

    async def detections(self) -> list[Detection | Progress]:
        """Return what is on the topic of detections."""
        return [
            msgspec.json.decode(v, type=Detection | Progress) for v in await self.read(self.topics.detections)
        ]


Figures = dict[str, tuple[str, int, str, str]]
"""By the alert's id: its name, count, first and last time."""


def figures(alerts: Iterable[Alert]) -> Figures:
    """Return what has to be the same however alerts came about."""
    return {a.id: (a.labels["alertname"], a.count, str(a.first_at), str(a.last_at)) for a in alerts}


async def run_process(*command: str, environment: Mapping[str, str] | None = None) -> tuple[int, str]:
    """Run a command of the project to its end; return exit code and output."""
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=ROOT,
        env={**os.environ, **(environment or {})},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(300):
            output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return process.returncode or 0, output.decode()


def say(line: str) -> None:
    """Tell whoever started a script."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


async def pause() -> None:
    """Let a tenth of a second pass between two looks at something that tells nobody when it changes."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(asyncio.Event().wait(), 0.1)


def _end_of(log: Path) -> str:
    return log.read_text()[-4000:]


async def _read_log(process: asyncio.subprocess.Process, log: Path, port: asyncio.Future[int]) -> None:
    """Copy a worker's log to its file, and find the port that it serves on."""
    assert process.stderr is not None
    with log.open("wb", buffering=0) as file:
        async for line in _lines(process.stderr):
            file.write(line)
            if not port.done() and b'"serving metrics"' in line:
                port.set_result(msgspec.json.decode(line)["port"])
    if not port.done():
        port.set_exception(RuntimeError(f"the worker ended: {_end_of(log)}"))
        port.exception()


async def _lines(stream: asyncio.StreamReader) -> AsyncIterator[bytes]:
    rest = b""
    while piece := await stream.read(65_536):
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            yield line + b"\n"
    if rest:
        yield rest
