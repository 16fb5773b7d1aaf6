"""The commands of docker-compose.yml, as processes: there is no Docker engine where the tests run."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import msgspec
import pytest
import yaml

from pipeline.duration import parse_duration
from tests.chaos.workers import ROOT, pause, run_process

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.conftest import Kafka

SERVICES: dict[str, dict[str, Any]] = yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))[
    "services"
]
_VARIABLE = re.compile(r"\$\{\w+(?::-([^}]*))?\}")
# What Compose waits where nothing is said.
_GRACE = "10s"


class Setup:
    """The compose file's services, with what they need from their containers."""

    def __init__(self, kafka: Kafka, directory: Path) -> None:
        self.prefix = f"{uuid4().hex[:12]}."
        self.told = directory / "told.jsonl"
        self.directory = directory
        self._kafka = kafka
        self._config = directory / "tocsin.yml"
        config = yaml.safe_load((ROOT / "deploy" / "tocsin.yml").read_text("utf-8"))
        config["kafka"] |= {"group": self.prefix, "topic_prefix": self.prefix}
        config["web"] |= {"host": "127.0.0.1", "port": 0}
        config["route"] |= {"receiver": "told", "group_wait": "1s"}
        config["receivers"].append({"name": "told", "jsonl_configs": [{"path": str(self.told)}]})
        self._config.write_text(yaml.safe_dump(config), "utf-8")

    def command(self, name: str) -> list[str]:
        program, *arguments = map(_filled, SERVICES[name]["command"])
        found = {"python": sys.executable, "tocsin": str(Path(sys.executable).with_name("tocsin"))}[program]
        return [found, *arguments]

    def environment(self, name: str) -> dict[str, str]:
        declared = {key: _filled(value) for key, value in SERVICES[name].get("environment", {}).items()}
        assert set(declared) >= {"KAFKA_BOOTSTRAP_SERVERS"}
        declared["KAFKA_BOOTSTRAP_SERVERS"] = self._kafka.bootstrap_servers
        if "TOCSIN_CONFIG" in declared:
            declared["TOCSIN_CONFIG"] = str(self._config)
        return declared

    async def start(self, name: str, *arguments: str, log: Path) -> asyncio.subprocess.Process:
        with log.open("wb") as output:
            return await asyncio.create_subprocess_exec(
                *self.command(name),
                *arguments,
                cwd=ROOT,
                env={**os.environ, **self.environment(name)},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )


def _filled(text: object) -> str:
    return _VARIABLE.sub(lambda match: match[1] or "", str(text))


@pytest.fixture
def setup(kafka: Kafka, tmp_path: Path) -> Setup:
    return Setup(kafka, tmp_path)


async def test_services_of_the_compose_file_work_together(setup: Setup) -> None:
    topics = [
        await run_process(*setup.command("topics"), environment=setup.environment("topics")) for _ in "12"
    ]
    assert [code for code, _ in topics] == [0, 0]
    assert "created with 6 partitions" in topics[0][1]
    assert "created" not in topics[1][1]
    assert topics[1][1].count("exists") == len(topics[1][1].splitlines())

    processes: dict[asyncio.subprocess.Process, str] = {}
    logs = []
    try:
        for number in range(3):
            logs.append(setup.directory / f"worker-{number}.log")
            processes[await setup.start("worker", log=logs[-1])] = "worker"
        logs.append(setup.directory / "service.log")
        arguments = ("--topic", f"{setup.prefix}logs")
        processes[await setup.start("service", *arguments, log=logs[-1])] = "service"
        async with asyncio.timeout(60):
            while not any(
                alert["labels"]["alertname"] == "Error Burst Of A Service" for alert in told(setup)
            ):
                assert all(process.returncode is None for process in processes), said(logs)
                await pause()
        for process in processes:
            process.send_signal(signal.SIGTERM)
        for process, name in processes.items():
            grace = parse_duration(SERVICES[name].get("stop_grace_period", _GRACE))
            async with asyncio.timeout(grace / 1000):
                assert await process.wait() == 0, said(logs)
    finally:
        for process in processes:
            if process.returncode is None:
                process.kill()
                await process.wait()
    assert "Traceback" not in said(logs)


def told(setup: Setup) -> list[Mapping[str, Any]]:
    lines = setup.told.read_bytes().splitlines() if setup.told.exists() else []
    return [alert for line in lines for alert in msgspec.json.decode(line)["alerts"]]


def said(logs: list[Path]) -> str:
    return "\n".join(log.read_text() for log in logs)
