"""What arrived on a topic, against what was logged."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, NamedTuple

import orjson
from aiokafka import AIOKafkaConsumer, TopicPartition

from tests.accounts.service import Counters

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Account", "Received", "balance", "receive"]


class Received(NamedTuple):
    """All of a topic.

    Attributes:
        numbers: slot → the numbers of its events that arrived.
        twice: records that arrived with a source and a number that had been there.
        unordered: records that came before one of a lower number of the same source.
        gaps: numbers that are missing between those of their source.
        told: how many dropped records the notices speak of.
        sources: how many sources there are.
    """

    numbers: dict[int, set[int]]
    twice: int
    unordered: int
    gaps: int
    told: int
    sources: int


class Account(NamedTuple):
    """What became of what was logged.

    Attributes:
        logged: log calls that returned, and those under way when a process was killed that had logged.
        received: of these, how many arrived at least once.
        dropped: how many the handlers counted as dropped.
        seen: the rest of what was seen on the topic.
        why: what this is an account of.
    """

    why: str
    logged: int
    received: int
    dropped: int
    seen: Received

    @property
    def balanced(self) -> bool:
        """Whether nothing is unaccounted for, and each source's records came in order."""
        return self.logged == self.received + self.dropped and not self.seen.unordered


async def receive(servers: str, topic: str) -> Received:
    """Read a topic to its end as of now."""
    numbers: dict[int, set[int]] = defaultdict(set)
    seqs: dict[tuple[bytes, bytes], list[int]] = defaultdict(list)
    told = 0
    consumer = AIOKafkaConsumer(bootstrap_servers=servers, auto_offset_reset="earliest")
    async with consumer, asyncio.timeout(120):
        parts = [TopicPartition(topic, p) for p in consumer.partitions_for_topic(topic) or {0}]
        consumer.assign(parts)
        ends = await consumer.end_offsets(parts)
        while any([await consumer.position(p) < ends[p] for p in parts]):
            for records in (await consumer.getmany(timeout_ms=500)).values():
                for record in records:
                    headers = dict(record.headers)
                    seqs[headers["source"], record.key].append(int(headers["seq"]))
                    fields = orjson.loads(record.value)
                    if "slot" in fields:
                        numbers[fields["slot"]].add(fields["n"])
                    else:
                        told += fields.get("dropped", 0)
    twice = sum(count - 1 for own in seqs.values() for count in Counter(own).values())
    unordered = sum(_unordered(own) for own in seqs.values())
    gaps = sum(max(own) + 1 - len(set(own)) for own in seqs.values())
    return Received(dict(numbers), twice, unordered, gaps, told, len(seqs))


def _unordered(seqs: list[int]) -> int:
    first = list(dict.fromkeys(seqs))
    return sum(later < earlier for earlier, later in itertools.pairwise(first))


def balance(why: str, folder: Path, seen: Received, *, lost: int = 0) -> Account:
    """Hold what arrived against the counters and reports of a folder.

    Args:
        why: what this is an account of.
        folder: where the service counted.
        seen: what arrived.
        lost: what the service said on standard error that it could not deliver, where it could not report.
    """
    counted = Counters.read(folder / "counters")
    logged = received = 0
    for slot in counted.keys() | seen.numbers.keys():
        arrived = seen.numbers.get(slot, set())
        # The one that was under way.
        logged += max(counted.get(slot, 0), max(arrived, default=-1) + 1)
        received += len(arrived)
    reports = [json.loads(path.read_text()) for path in folder.glob("report-*.json")]
    return Account(why, logged, received, sum(sum(r.values()) for r in reports) + lost, seen)
