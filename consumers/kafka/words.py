"""Words on Kafka: what is known of sources, written to the partitions that it is about, where rules find it.

Who may not write there goes on without: then it stands in our own log. With the key of the chain the words
are chained as a handler's records are, each worker and partition being a source of its own, whose name
begins as no handler's does; so `tocsin verify-log` knows them from what somebody has slipped in.
"""

from __future__ import annotations

import asyncio
import secrets
from typing import TYPE_CHECKING

import msgspec
import structlog
from aiokafka.errors import KafkaError, UnknownTopicOrPartitionError

from pipeline.detect.words import OWN_SOURCE
from producers.event.renderer import RenderedEvent
from producers.kafka.chain import Chain
from producers.kafka.queue import Record

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from aiokafka import AIOKafkaProducer

    from pipeline.detect.words import SourceCounts, SourceEvent

__all__ = ["WordWriter"]

# Nothing else waits for words longer than this.
_WORDS_S = 5.0
_MAX_KEYS = 1_000
_log = structlog.get_logger("tocsin.detect")


class _Numbers(msgspec.Struct):
    """The numbers of one source and key.

    Attributes:
        next: the one that comes next.
        arrived: that of the last word that has arrived; -1 while none has.
    """

    next: int = 0
    arrived: int = -1


class _Source:
    """What a worker writes to one partition, as a source."""

    def __init__(self) -> None:
        self.name = OWN_SOURCE + secrets.token_urlsafe(11).encode()
        self.numbers: dict[bytes, _Numbers] = {}


class WordWriter:
    """Writes words to one topic."""

    def __init__(self, topic: str, counts: SourceCounts, chain_key: bytes | None = None) -> None:
        """Begin; a producer comes with the words.

        Args:
            topic: the topic.
            counts: what isn't written is counted here.
            chain_key: the key to chain the words with; None: they go without.
        """
        self._topic = topic
        self._counts = counts
        self._chain = Chain(chain_key, topic) if chain_key is not None else None
        self._sources: dict[int, _Source] = {}
        self._writable = True

    async def write(self, producer: AIOKafkaProducer, words: Mapping[int, Sequence[SourceEvent]]) -> None:
        """Write words, those of a partition one after the other.

        Args:
            producer: writes them.
            words: what is to be said, by partition.
        """
        until_s = asyncio.get_running_loop().time() + _WORDS_S
        await asyncio.gather(*(self._say(producer, *share, until_s) for share in words.items()))

    async def _say(
        self, producer: AIOKafkaProducer, partition: int, words: Sequence[SourceEvent], until_s: float
    ) -> None:
        for word in words:
            try:
                await self._send(producer, partition, word, until_s)
            except (KafkaError, TimeoutError) as error:
                self._counts.untold += 1
                if self._writable:
                    _log.warning(
                        "what is known of sources can't be written to their topic; it stands here instead",
                        topic=self._topic,
                        error=str(error) or type(error).__name__,
                    )
                self._writable = False
                _log.warning("a word on a source", text=word.text, topic=self._topic, partition=partition)
            else:
                self._writable = True

    async def _send(
        self, producer: AIOKafkaProducer, partition: int, word: SourceEvent, until_s: float
    ) -> None:
        """Write one word; it has arrived when this returns."""
        if asyncio.get_running_loop().time() >= until_s:
            # Once begun it would be written all the same.
            raise TimeoutError
        async with asyncio.timeout_at(until_s):
            await self._deliver(producer, partition, word)

    async def _deliver(self, producer: AIOKafkaProducer, partition: int, word: SourceEvent) -> None:
        if partition not in await producer.partitions_for(self._topic):
            raise UnknownTopicOrPartitionError
        headers: list[tuple[str, bytes]] = []
        numbers, seq = _Numbers(), 0
        if self._chain is not None:
            source = self._source_of(partition, word.key)
            numbers = source.numbers[word.key]
            seq, numbers.next = numbers.next, numbers.next + 1
            event = RenderedEvent(word.value, word.key, word.time_ms, "info")
            record = Record(event, source.name, seq, numbers.arrived)
            link = self._chain.links(partition).header(record)
            headers = [("source", source.name), ("seq", b"%d" % seq), link]
        await producer.send_and_wait(
            self._topic,
            word.value,
            word.key,
            partition=partition,
            timestamp_ms=word.time_ms,
            headers=headers,
        )
        numbers.arrived = seq

    def _source_of(self, partition: int, key: bytes) -> _Source:
        """Return the source of a partition, with numbers for a key; one that has too many keys is left."""
        source = self._sources.get(partition)
        if source is None or (key not in source.numbers and len(source.numbers) >= _MAX_KEYS):
            source = self._sources[partition] = _Source()
        source.numbers.setdefault(key, _Numbers())
        return source
