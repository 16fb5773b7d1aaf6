"""Fixtures of all tests: one real Kafka a session, and topics of one's own on it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Protocol
from uuid import uuid4

import hypothesis
import pytest
import structlog
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from consumers.broker import Broker, fetch_jars
from pipeline.errors import TocsinError
from producers import hooks

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping

JARS = Path(__file__).parents[1] / ".cache" / "kafka"

hypothesis.settings.register_profile("dev", deadline=None)
hypothesis.settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") == "true" else "dev")


class Kafka(Protocol):
    """What tests know of the broker: it may be one of the session's own or one that the user named."""

    @property
    def bootstrap_servers(self) -> str: ...


class NamedKafka:
    """The broker that KAFKA_BOOTSTRAP_SERVERS points to."""

    def __init__(self, bootstrap_servers: str) -> None:
        self.bootstrap_servers = bootstrap_servers


class MakeTopic(Protocol):
    """Creates a topic that no other test knows, and returns its name."""

    async def __call__(
        self, partitions: int = 1, name: str | None = None, config: Mapping[str, str] | None = None
    ) -> str: ...


@pytest.fixture(scope="session", autouse=True)
def cache_of_its_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Let no run find what another one has kept of the rules."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TOCSIN_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


def pytest_collection_finish(session: pytest.Session) -> None:
    """Fetch the broker's jars here, where no test's time limit runs."""
    used = {name for item in session.items for name in getattr(item, "fixturenames", ())}
    wanted = "jars" in used or ("kafka" in used and "KAFKA_BOOTSTRAP_SERVERS" not in os.environ)
    if wanted and not session.config.option.collectonly:
        # The fixture meets the same error, and fails the tests with it.
        with contextlib.suppress(TocsinError):
            fetch_jars(JARS)


@pytest.fixture(autouse=True)
def logs_as_before() -> Iterator[None]:
    """Undo what a command has set up for its own logs: it wrote to the test's streams, which are closed."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    aiokafka_level = logging.getLogger("aiokafka").level
    yield
    hooks.capture((), None)
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.getLogger("aiokafka").setLevel(aiokafka_level)


@pytest.fixture(scope="session")
def jars() -> Path:
    """The cache of Kafka's jars, for tests that start brokers of their own."""
    return JARS


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kafka]:
    """A real Kafka: the one that KAFKA_BOOTSTRAP_SERVERS names, or one started for this session."""
    if named := os.environ.get("KAFKA_BOOTSTRAP_SERVERS"):
        yield NamedKafka(named)
        return
    with Broker(tmp_path_factory.mktemp("kafka"), cache=JARS) as broker:
        yield broker


@pytest.fixture
async def make_topic(kafka: Kafka) -> AsyncIterator[MakeTopic]:
    """A factory of topics. They keep every record, however old its timestamp, and go with the test."""
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap_servers)
    await admin.start()
    made: list[str] = []

    async def make(
        partitions: int = 1, name: str | None = None, config: Mapping[str, str] | None = None
    ) -> str:
        # Not from `random`: pytest-randomly seeds it anew for each test, so names would come again.
        topic = f"{name or 'test'}-{uuid4().hex[:12]}"
        settings = {"retention.ms": "-1", **(config or {})}
        answer = await admin.create_topics([NewTopic(topic, partitions, 1, topic_configs=settings)])
        ((_, code, message),) = answer.topic_errors
        assert code == 0, f"can't create {topic}: {message}"
        made.append(topic)
        await known(admin, topic)
        return topic

    try:
        yield make
        if made:
            await admin.delete_topics(made)
    finally:
        await admin.close()


async def known(admin: AIOKafkaAdminClient, topic: str) -> None:
    """Wait until the broker knows of a topic: it answers a creation a moment earlier."""
    async with asyncio.timeout(30):
        while topic not in await admin.list_topics():
            continue
