"""Requests: what the worker asks of a service over the topic `control`, heard in the delivering thread.

Who listens has no group and commits nothing: every process of a service hears every request. What is no
request of ours, too old or too much is passed over without a word; so is a Kafka that is away, of which the
delivery speaks. Listening never holds the delivery up and ends with it.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import inspect
import random
import time
from typing import TYPE_CHECKING, NamedTuple

import orjson

from producers.kafka.connection import knock
from producers.process import hush, importing

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from aiokafka import AIOKafkaConsumer

    from producers.kafka.delivery import KafkaTarget

__all__ = ["ControlListener", "Request", "request_of"]

_MAX_AGE_S = 60.0
_MAX_BYTES = 65_536
_MAX_TRACES = 100
_LONGEST_NAME = 256
# All of a service's records at once, no more often than this.
_ALL_EVERY_S = 10.0
_CONNECT_S = 10.0
_GOODBYE_S = 0.5
_POLL_RECORDS = 100
# An answer comes at once when there is something; this only spares an idle service questions.
_FETCH_WAIT_MS = 5_000
# Fetches come back that often, empty or not: after this long without one Kafka is away.
_SILENCE_MS = 30_000
_FIRST_PAUSE_S = 1.0
# Shorter than a request lives, so that none is missed.
_LONGEST_PAUSE_S = 20.0


class Request(NamedTuple):
    """What is asked for.

    Attributes:
        service: of which service.
        traces: of which traces; None for all that is kept.
        at_s: when it was asked, seconds since the epoch.
    """

    service: str
    traces: frozenset[str] | None
    at_s: float


def request_of(value: bytes | None) -> Request | None:
    """Return the request that a record's value is; None if it is none that a recorder can answer."""
    if value is None or len(value) > _MAX_BYTES:
        return None
    try:
        told = orjson.loads(value)
        if not isinstance(told, dict) or told.get("kind") != "recorder":
            return None
        at = dt.datetime.fromisoformat(told["at"])
        if at.tzinfo is None:
            return None
        at_s = at.timestamp()
    except (ValueError, KeyError, TypeError, OverflowError):
        return None
    service, traces = told.get("service"), told.get("traces")
    if not isinstance(service, str) or not service or len(service) > _LONGEST_NAME:
        return None
    if traces is None:
        return Request(service, None, at_s)
    if not isinstance(traces, list):
        return None
    named = (trace for trace in traces[:_MAX_TRACES] if isinstance(trace, str))
    return Request(service, frozenset(named), at_s)


class ControlListener:
    """Hears requests and has them answered, for as long as `run` runs."""

    def __init__(
        self, target: KafkaTarget, topic: str, answer: Callable[[str, Collection[str] | None], int]
    ) -> None:
        """Prepare; nothing is connected before `run`.

        Args:
            target: where Kafka is, and how to speak to it.
            topic: the topic that requests come over.
            answer: sends what is kept of a service, and of some traces or of all; says how many records.
        """
        self._target = target
        self._topic = topic
        self._answer = answer
        # By service, since a process may log for several; those only that it has records of.
        self._all_at: dict[str, float] = {}

    async def run(self) -> None:
        """Listen until cancelled."""
        pause_s = _FIRST_PAUSE_S
        while True:
            began = time.monotonic()
            try:
                await self._listen()
            except Exception:  # noqa: BLE001 - whatever the client raises, the delivery says what a person must know
                if time.monotonic() - began > _LONGEST_PAUSE_S:
                    pause_s = _FIRST_PAUSE_S
            await asyncio.sleep(random.uniform(pause_s / 2, pause_s))  # noqa: S311 - spreads a fleet's retries
            pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)

    def hear(self, value: bytes | None, now_s: float) -> None:
        """Answer one record of the topic, if it is a request.

        Args:
            value: the record's value.
            now_s: the present, seconds since the epoch.
        """
        request = request_of(value)
        # Nor from the future: one that never grows old would be answered by every process that begins.
        if request is None or abs(now_s - request.at_s) > _MAX_AGE_S:
            return
        service, traces, _ = request
        now = time.monotonic()
        if traces is None and now - self._all_at.get(service, -_ALL_EVERY_S) < _ALL_EVERY_S:
            return
        if self._answer(service, traces) and traces is None:
            self._all_at[service] = now

    async def _listen(self) -> None:
        """Hear records until something breaks."""
        with importing:
            from aiokafka import AIOKafkaConsumer  # noqa: PLC0415 - not before it is needed: it costs start-up time

        hush("aiokafka")
        security = self._target.security
        given = {**self._target.client_options, **(security.client_options() if security else {})}
        if given.get("security_protocol", "PLAINTEXT") != "PLAINTEXT":
            async with asyncio.timeout(_CONNECT_S):
                # Who is refused would try again ten times a second, without a word.
                await knock(self._target.bootstrap_servers, given)
        consumer = AIOKafkaConsumer(
            self._topic,
            **{
                # What a producer is told besides is nothing for us.
                **{n: v for n, v in given.items() if n in inspect.signature(AIOKafkaConsumer).parameters},
                "bootstrap_servers": self._target.bootstrap_servers,
                "enable_auto_commit": False,
                "auto_offset_reset": "latest",
                "fetch_max_wait_ms": _FETCH_WAIT_MS,
            },
        )
        try:
            async with asyncio.timeout(_CONNECT_S):
                await consumer.start()
                await _look_back(consumer)
            heard_ms = _now_ms()
            while _now_ms() - heard_ms < _SILENCE_MS:
                fetched = await consumer.getmany(timeout_ms=_FETCH_WAIT_MS, max_records=_POLL_RECORDS)
                for records in fetched.values():
                    for record in records:
                        self.hear(record.value, time.time_ns() / 1e9)
                answers = (consumer.last_poll_timestamp(p) for p in consumer.assignment())
                heard_ms = max(heard_ms, *(answer or 0 for answer in answers))
        finally:
            await _stop(consumer)


async def _look_back(consumer: AIOKafkaConsumer) -> None:
    """Begin with what was asked while we were on our way: a service's first event may fire a rule."""
    partitions = consumer.assignment()
    # Or else a fetch from the end is on its way at once, which nothing ends before it comes back empty.
    consumer.pause(*partitions)
    since_ms = _now_ms() - int(_MAX_AGE_S * 1000)
    for partition, place in (await consumer.offsets_for_times(dict.fromkeys(partitions, since_ms))).items():
        if place is not None:
            consumer.seek(partition, place.offset)
    consumer.resume(*partitions)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


async def _stop(consumer: AIOKafkaConsumer) -> None:
    # A task of its own: aiokafka lets the cancellation of its inner tasks out, which would be taken for ours.
    stopping = asyncio.create_task(consumer.stop())
    try:
        await asyncio.wait({stopping}, timeout=_GOODBYE_S)
    finally:
        stopping.cancel()
        outcomes = await asyncio.gather(stopping, return_exceptions=True)
    if outcomes[0] is not None:
        await consumer._client.close()  # noqa: SLF001 - its own `stop` has given up
