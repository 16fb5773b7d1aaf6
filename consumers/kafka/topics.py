"""Topics: which ones Tocsin uses, with what settings, and how they come to be.

What is missing is created; what exists is compared and left alone, because another number of partitions
would send the keys of a running system to other partitions, and that is an operator's decision.

Records carry event time as their timestamps, and retention goes by timestamps: events that are older than
a topic's retention when they are produced are deleted within minutes. To replay old logs, raise it first.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, fields
from enum import Enum
from typing import TYPE_CHECKING, Any, Self

import structlog
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError, TopicAlreadyExistsError, UnknownTopicOrPartitionError, for_code

from consumers.kafka.refusal import refusal
from pipeline.errors import TocsinError

if TYPE_CHECKING:
    from collections.abc import Container, Mapping, Sequence

__all__ = [
    "TopicNames",
    "TopicOutcome",
    "TopicSpec",
    "TopicState",
    "describe",
    "ensure_topics",
    "topic_specs",
]

_HOUR_MS = 3_600_000
_DAY_MS = 24 * _HOUR_MS
_ANY_MS = 2**63 - 1

_REQUEST_TIMEOUT_MS = 10_000
_FIRST_PAUSE_S = 0.25
_LONGEST_PAUSE_S = 5.0

_COMMON = {
    "message.timestamp.type": "CreateTime",
    # Kafka refuses what is stamped more than an hour ahead. The logs of a host whose clock is wrong must
    # not be lost; the decoder sees to absurd times.
    "message.timestamp.after.max.ms": str(_ANY_MS),
    # A producer's largest request, 1 MiB, with room for what an alert or a dead letter adds to an event.
    "max.message.bytes": str(2 * 1024 * 1024),
}

# Readers take compacted topics in whole, so they must be short: small segments, compacted often.
_COMPACTED = {
    **_COMMON,
    "cleanup.policy": "compact",
    "segment.ms": str(_HOUR_MS),
    "segment.bytes": str(64 * 1024 * 1024),
    "min.cleanable.dirty.ratio": "0.1",
}

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicNames:
    """What the topics are called."""

    logs: str = "logs"
    detections: str = "detections"
    alerts: str = "alerts"
    dead_letters: str = "dead-letters"
    control: str = "control"
    windows: str = "windows"
    ledger: str = "ledger"

    @classmethod
    def prefixed(cls, prefix: str) -> Self:
        """Return the usual names, each behind a prefix, such as `tocsin.`."""
        return cls(**{field.name: f"{prefix}{field.default}" for field in fields(cls)})


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """A topic as it should be."""

    name: str
    partitions: int
    config: Mapping[str, str]


class TopicState(Enum):
    """What was found or done."""

    CREATED = "created"
    EXISTS = "exists"
    DIFFERS = "differs"


@dataclass(frozen=True, slots=True)
class TopicOutcome:
    """One topic after `ensure_topics`; `differences` says in words where it is not as specified."""

    spec: TopicSpec
    state: TopicState
    differences: tuple[str, ...] = ()


def topic_specs(names: TopicNames | None = None, partitions: int = 6) -> list[TopicSpec]:
    """Return the topics of one installation.

    Args:
        names: what they are called; the usual names unless given.
        partitions: of logs, detections, alerts and their changelogs: the most workers that share a stage.
    """
    names = names or TopicNames()
    return [
        TopicSpec(names.logs, partitions, _kept(1)),
        TopicSpec(names.detections, partitions, _kept(2)),
        TopicSpec(names.alerts, partitions, _kept(7)),
        TopicSpec(names.dead_letters, 1, _kept(14)),
        # One partition, which every notifier reads whole.
        TopicSpec(names.control, 1, _COMPACTED),
        # Partition for partition with the detections, so that whoever correlates some has their windows.
        TopicSpec(names.windows, partitions, _COMPACTED),
        # Partition for partition with the alerts, so that whoever notifies of some has their ledger.
        TopicSpec(names.ledger, partitions, _COMPACTED),
    ]


async def ensure_topics(
    bootstrap_servers: str,
    specs: Sequence[TopicSpec],
    *,
    replication_factor: int = 1,
    wait_s: float = 0,
    client_options: Mapping[str, Any] | None = None,  # Any: aiokafka's options are of all types
) -> list[TopicOutcome]:
    """Create the topics that are missing, compare those that exist.

    Args:
        bootstrap_servers: where Kafka is, as `host:port`, several separated by commas.
        specs: the topics.
        replication_factor: copies of each new topic; from 3 on, a write needs 2 of them.
        wait_s: how many seconds to wait for a Kafka that isn't up yet.
        client_options: what else aiokafka's clients are given, such as TLS and SASL.

    Returns:
        An outcome for each topic, in the order of `specs`.

    Raises:
        TocsinError: Kafka was not to be reached in time, or refused to create a topic.
    """
    if replication_factor >= 3:
        durable = {"min.insync.replicas": "2"}
        specs = [TopicSpec(spec.name, spec.partitions, {**spec.config, **durable}) for spec in specs]
    options = {**(client_options or {}), "bootstrap_servers": bootstrap_servers}
    admin = await _connect(options, bootstrap_servers, wait_s)
    try:
        created = await _create_missing(admin, specs, replication_factor)
        found = await _describe(admin, specs)
    except (KafkaError, TimeoutError) as error:
        raise TocsinError(f"Kafka at {bootstrap_servers}: {str(error) or type(error).__name__}") from error
    finally:
        await admin.close()
    return [_outcome(spec, created, *found[spec.name]) for spec in specs]


def describe(outcome: TopicOutcome) -> str:
    """Return the outcome as a line for a person."""
    line = f"{outcome.spec.name}: {outcome.state.value}"
    match outcome.state:
        case TopicState.CREATED:
            partitions = outcome.spec.partitions
            return f"{line} with {partitions} partition{'' if partitions == 1 else 's'}"
        case TopicState.DIFFERS:
            return f"{line}: {'; '.join(outcome.differences)}"
        case TopicState.EXISTS:
            return line


def _kept(days: int) -> dict[str, str]:
    """Return the settings of a topic whose records go after some days."""
    retention_ms = days * _DAY_MS
    return {
        **_COMMON,
        "cleanup.policy": "delete",
        "retention.ms": str(retention_ms),
        # Kafka deletes whole segments; a quarter of the time each keeps a quiet topic near its retention.
        "segment.ms": str(retention_ms // 4),
        # One record from the far future keeps its segment past any time, so size is limited as well.
        "retention.bytes": str(10 * 1024**3),
    }


async def _connect(options: Mapping[str, Any], bootstrap_servers: str, wait_s: float) -> AIOKafkaAdminClient:
    clock = asyncio.get_running_loop().time
    deadline = clock() + wait_s
    pause_s = _FIRST_PAUSE_S
    told = False
    while True:
        admin = AIOKafkaAdminClient(**options, request_timeout_ms=_REQUEST_TIMEOUT_MS)
        try:
            async with asyncio.timeout(_REQUEST_TIMEOUT_MS / 1000):
                await admin.start()
        except (KafkaError, OSError) as error:  # TimeoutError is an OSError
            await admin.close()
            if why := await refusal(options):
                raise TocsinError(f"Kafka at {bootstrap_servers}: {why}") from error
            left_s = deadline - clock()
            if left_s <= 0:
                waited = f" in {wait_s:g} s" if wait_s else ""
                raise TocsinError(f"Kafka at {bootstrap_servers} is not to be reached{waited}") from error
            if not told:
                _log.warning("waiting for Kafka", bootstrap_servers=bootstrap_servers, seconds=wait_s)
                told = True
            await asyncio.sleep(min(pause_s, left_s))
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
        except BaseException:
            await admin.close()
            raise
        else:
            return admin


async def _create_missing(
    admin: AIOKafkaAdminClient, specs: Sequence[TopicSpec], replication_factor: int
) -> set[str]:
    """Create topics; return the names of those that were not there."""
    existing = set(await admin.list_topics())
    missing = [
        NewTopic(spec.name, spec.partitions, replication_factor, topic_configs=dict(spec.config))
        for spec in specs
        if spec.name not in existing
    ]
    if not missing:
        return set()
    created = set()
    refused = []
    answer = (await admin.create_topics(missing)).to_object()
    for topic in answer["topic_errors"]:
        if topic["error_code"] == 0:
            created.add(topic["topic"])
        # Another process may have been quicker; then it is there, which is what we want.
        elif topic["error_code"] != TopicAlreadyExistsError.errno:
            reason = topic.get("error_message") or for_code(topic["error_code"]).__name__
            refused.append(f"{topic['topic']}: {reason}")
    if refused:
        raise TocsinError("Kafka refused to create " + "; ".join(refused))
    return created


async def _describe(
    admin: AIOKafkaAdminClient, specs: Sequence[TopicSpec]
) -> dict[str, tuple[int, Mapping[str, str]]]:
    """Return partitions and settings of each topic, once brokers know of it."""
    async with asyncio.timeout(_REQUEST_TIMEOUT_MS / 1000):
        while True:
            partitions = await _partitions(admin)
            settings = await _settings(admin, specs)
            if all(spec.name in partitions and spec.name in settings for spec in specs):
                return {spec.name: (partitions[spec.name], settings[spec.name]) for spec in specs}
            await asyncio.sleep(_FIRST_PAUSE_S)


async def _partitions(admin: AIOKafkaAdminClient) -> dict[str, int]:
    # All topics, since asking for one by name makes a broker that creates topics by itself create it.
    topics = await admin.describe_topics()
    return {
        topic["topic"]: len(topic["partitions"])
        for topic in topics
        if topic["error_code"] == 0 and all(partition["leader"] >= 0 for partition in topic["partitions"])
    }


async def _settings(admin: AIOKafkaAdminClient, specs: Sequence[TopicSpec]) -> dict[str, dict[str, str]]:
    """Return the settings of the topics that are known, of each those that its specification has."""
    wanted = [
        ConfigResource(ConfigResourceType.TOPIC, spec.name, configs=dict.fromkeys(spec.config))
        for spec in specs
    ]
    settings = {}
    for answer in await admin.describe_configs(wanted):
        for resource in answer.to_object()["resources"]:
            entries = {entry["config_names"]: entry["config_value"] for entry in resource["config_entries"]}
            if resource["error_code"] == 0:
                settings[resource["resource_name"]] = entries
            elif resource["error_code"] != UnknownTopicOrPartitionError.errno:
                raise for_code(resource["error_code"])(resource["error_message"])
    return settings


def _outcome(
    spec: TopicSpec, created: Container[str], partitions: int, config: Mapping[str, str]
) -> TopicOutcome:
    if spec.name in created:
        return TopicOutcome(spec, TopicState.CREATED)
    differences = [
        f"{name} is {config.get(name)}, wanted {wanted}"
        for name, wanted in spec.config.items()
        if config.get(name) != wanted
    ]
    if partitions != spec.partitions:
        differences.insert(0, f"has {partitions} partitions, wanted {spec.partitions}")
    state = TopicState.DIFFERS if differences else TopicState.EXISTS
    return TopicOutcome(spec, state, tuple(differences))
