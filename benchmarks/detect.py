"""The detect stage on Kafka against the floor of whoever parses first, and against one big expression.

All read the same topic on a real broker: `getmany` and `orjson.loads` of every event (the floor); the
worker's detect stage with every rule that ships, fed as the worker feeds it; the same keywords as one
case-insensitive `re`. Counted is the CPU time of this process an event.
"""

from __future__ import annotations

import asyncio
import os
import re
import sys
import time
from typing import TYPE_CHECKING, Any

import orjson

from benchmarks.events import application_events
from benchmarks.kafka import PARTITIONS, Topic, broker
from benchmarks.measure import interleave, table
from consumers.kafka.detect import as_batch
from consumers.kafka.lean import poll_lean
from consumers.rules import SHIPPED, load_rules
from pipeline.detect.detect import Detect, Source
from pipeline.event import Batch, LogSource, Partition
from pipeline.sigma.form import And, Item, Node, Not, Or, Text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from aiokafka import AIOKafkaConsumer, TopicPartition

    from pipeline.sigma.ruleset import RuleSet

__all__ = ["DECLARED", "run"]

DECLARED = Source("auto", (LogSource(category="application"), LogSource(category="webserver")))
_FLOOR = "getmany + orjson.loads (the floor)"
# As many records as the worker takes at a time.
_POLLED = 1000
_SEARCHED = 1000


def _keywords(rules: RuleSet) -> list[str]:
    """Return the texts that rules look for, as a user would put them into one expression."""

    def texts(node: Node) -> Iterator[str]:
        match node:
            case Item(test=Text(parts=parts)):
                yield max((p for p in parts if isinstance(p, str)), key=len, default="")
            case And(items) | Or(items):
                for item in items:
                    yield from texts(item)
            case Not() | Item():
                return

    return sorted({t for r in rules.rules.values() for t in texts(r.condition) if len(t) >= 4})


def _getmany(consumer: AIOKafkaConsumer) -> Any:
    return consumer.getmany(timeout_ms=500)


def _getmany_some(consumer: AIOKafkaConsumer) -> Any:
    return consumer.getmany(timeout_ms=500, max_records=_POLLED)


def _lean(consumer: AIOKafkaConsumer) -> Any:
    return poll_lean(consumer, 500, _POLLED)


def _parse(_: TopicPartition, rows: Sequence[Any]) -> None:
    for row in rows:
        orjson.loads(row.value)


def _count(_: TopicPartition, rows: Sequence[Any]) -> int:
    return len(rows)


def _stage(
    detect: Detect, topic: str, *, accounts: bool = True
) -> Callable[[TopicPartition, Sequence[Any]], None]:
    """Return what does the detect stage's work, with partitions opened anew and rules compiled before.

    Args:
        detect: the stage of the core.
        topic: what is read.
        accounts: whether accounts of sources are kept, as the worker always does.
    """
    for number in range(PARTITIONS):
        # Let go of first, so that the account of the reading before does not go on.
        detect.close(Partition(topic, number))
        detect.open(Partition(topic, number), DECLARED, 0, 0)

    def work(tp: TopicPartition, rows: Sequence[Any]) -> None:
        now_ms = time.time_ns() // 1_000_000
        if accounts:
            batch = detect.account(as_batch(tp, rows, caught_up=False), now_ms)
        else:
            offsets, times = [r.offset for r in rows], [r.timestamp for r in rows]
            batch = Batch(Partition(tp.topic, tp.partition), offsets, times, [r.value for r in rows])
        detect.process(batch, now_ms)

    return work


async def run(events: int = 200_000, rounds: int = 7) -> str:
    """Let the contenders take turns and return the table.

    Args:
        events: events on the topic.
        rounds: how often each one's turn comes.
    """
    rules = load_rules([SHIPPED])
    words = _keywords(rules)
    payload = application_events(events)
    detect = Detect(rules, lateness_ms=30_000, idle_timeout_ms=60_000)
    detect.applicable(DECLARED)
    name = f"bench-{os.getpid()}"
    async with broker() as servers:
        topic = Topic(servers, name)
        await topic.fill(payload)
        figures = await interleave(
            {
                _FLOOR: lambda: topic.read(_getmany, _parse),
                "the same, 1,000 records a call": lambda: topic.read(_getmany_some, _parse),
                "getmany, only counted": lambda: topic.read(_getmany, _count),
                "lean polling, only counted": lambda: topic.read(_lean, _count),
                "detect stage, all shipped rules": lambda: topic.read(_lean, _stage(detect, name)),
                "the same, without accounts of sources": lambda: topic.read(
                    _lean, _stage(detect, name, accounts=False)
                ),
                "detect stage, plain getmany": lambda: topic.read(_getmany, _stage(detect, name)),
            },
            rounds,
        )
    # Far too slow for all events: each round's search is timed on a few, and the round's reading added.
    expression = re.compile("|".join(map(re.escape, words)), re.IGNORECASE)
    few = [value.decode() for value in payload[:_SEARCHED]]
    searching: list[float] = []
    for reading_us in figures["getmany, only counted"]:
        began = time.process_time_ns()
        for text in few:
            expression.search(text)
        searching.append(reading_us + (time.process_time_ns() - began) / 1000 / len(few))
    figures["getmany + one re of the keywords"] = searching
    size = sum(map(len, payload)) / events
    head = f"{events:,} events of {size:.0f} bytes; {len(rules.rules)} detections, {len(words)} keywords"
    return f"{head}; {rounds} rounds\n{table(figures, _FLOOR)}"


if __name__ == "__main__":
    sys.stdout.write(asyncio.run(run()) + "\n")
