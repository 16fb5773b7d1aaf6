"""Changelogs: the state of one shard as a partition of a compacted topic.

What `save` was given last under a key is what `load` returns for it; an empty record removes the key. The
changelog has as many partitions as the shard's input, so that whoever owns the one finds the other.

A value that is too large for one record is kept in parts, which compaction keeps apart by keys of their own.
New parts never overwrite those that count: the record under the key itself says which do, and comes after
them. So a process may die between any two records, and a whole value is found.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from consumers.kafka.client import MAX_VALUE_BYTES, stop_client
from consumers.kafka.salvage import guard
from pipeline.errors import TocsinError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from aiokafka import AIOKafkaProducer

    from consumers.kafka.client import Client
    from consumers.store import Change

__all__ = ["Changelog"]

_LOAD_TIMEOUT_S = 60.0
_STOP_S = 5.0
_PARTS_HEADER = "parts"
# No UTF-8 begins with it, so no key of a stage does.
_PART_MARK = b"\xff"


class _Parts(NamedTuple):
    """Where a large value is: `slot` is 0 or 1, and the other one is free."""

    slot: int
    pieces: int

    def keys(self, key: bytes) -> list[bytes]:
        return [b"%b%d/%d/%b" % (_PART_MARK, self.slot, number, key) for number in range(self.pieces)]


class Changelog:
    """One partition of a changelog topic (a `Store`)."""

    def __init__(self, client: Client, producer: AIOKafkaProducer, topic: str, partition: int) -> None:
        """Name the partition; nothing is read yet."""
        self._client = client
        self._producer = producer
        self._partition = TopicPartition(topic, partition)
        self._parts: dict[bytes, _Parts] = {}

    async def load(self) -> Mapping[str, bytes]:
        """Read the partition to its end as it is now.

        Raises:
            KafkaError: it can't be read, there is no such partition, or a part of a value is gone.
            TimeoutError: it takes more than a minute.
        """
        async with asyncio.timeout(_LOAD_TIMEOUT_S):
            there = await self._producer.partitions_for(self._partition.topic)
            if self._partition.partition not in there:
                raise KafkaError(f"{self._partition.topic} has but {len(there)} partitions")
            records, self._parts = await self._read()
        kept: dict[str, bytes] = {}
        for key, value in records.items():
            if key.startswith(_PART_MARK):
                continue
            parts = self._parts.get(key)
            pieces = [value] if parts is None else [records.get(part, b"") for part in parts.keys(key)]
            if not all(pieces):
                raise KafkaError(f"{self._partition} lacks a part of {key!r}")
            kept[key.decode("utf-8", "surrogatepass")] = b"".join(pieces)
        return kept

    async def save(self, changes: Sequence[Change]) -> None:
        """Write changes and wait until the broker has them.

        Raises:
            KafkaError: it does not take them.
        """
        sent: list[asyncio.Future[object]] = []
        for name, value in changes:
            key = name.encode("utf-8", "surrogatepass")
            before = self._parts.pop(key, None)
            if value is not None and len(value) > MAX_VALUE_BYTES:
                pieces = [value[i : i + MAX_VALUE_BYTES] for i in range(0, len(value), MAX_VALUE_BYTES)]
                parts = self._parts[key] = _Parts(1 - before.slot if before else 0, len(pieces))
                for part, piece in zip(parts.keys(key), pieces, strict=True):
                    sent.append(await self._send(part, piece))
                told = b"%d/%d" % parts
                sent.append(await self._send(key, told, [(_PARTS_HEADER, told)]))
            else:
                sent.append(await self._send(key, value))
            if before is not None:
                sent += [await self._send(part, None) for part in before.keys(key)]
        if sent:
            await asyncio.gather(*sent)

    async def _send(
        self, key: bytes, value: bytes | None, headers: Sequence[tuple[str, bytes]] = ()
    ) -> asyncio.Future[object]:
        topic, partition = self._partition
        future: asyncio.Future[object] = await self._producer.send(
            topic, value=value, key=key, partition=partition, headers=list(headers)
        )
        return future

    def _told(self, parts: bytes) -> _Parts:
        slot, _, count = parts.partition(b"/")
        try:
            return _Parts(int(slot), int(count))
        except ValueError as error:
            topic = f"{self._partition.topic}/{self._partition.partition}"
            raise TocsinError(f"{topic} holds something else: a header {parts[:40]!r}") from error

    async def _read(self) -> tuple[dict[bytes, bytes], dict[bytes, _Parts]]:
        records: dict[bytes, bytes] = {}
        parts: dict[bytes, _Parts] = {}
        consumer = AIOKafkaConsumer(
            **self._client.options, auto_offset_reset="earliest", enable_auto_commit=False
        )
        try:
            await consumer.start()
            guard(consumer)
            consumer.assign([self._partition])
            end = (await consumer.end_offsets([self._partition]))[self._partition]
            while await consumer.position(self._partition) < end:
                for batch in (await consumer.getmany(timeout_ms=500)).values():
                    for record in batch:
                        key = record.key or b""
                        parts.pop(key, None)
                        if not record.value:
                            records.pop(key, None)
                            continue
                        records[key] = record.value
                        if told := dict(record.headers).get(_PARTS_HEADER):
                            parts[key] = self._told(told)
        finally:
            await stop_client(consumer, _STOP_S)
        return records, parts
