"""Delivery: the background half of the Kafka sink, from the buffer to the broker, in order.

One chunk is on its way at a time, as one batch a partition; what the broker has not acknowledged is sent
again until it has, by the same idempotent producer while that lives, so without duplicates. A broker
that is away is tried for ever and spoken of twice: when it goes and when it is back.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import random
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from producers.kafka.connection import RefusedError, knock
from producers.process import hush, importing, say

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from aiokafka import AIOKafkaProducer

    from producers.kafka.chain import Chain
    from producers.kafka.connection import Security
    from producers.kafka.queue import Queue, Record

__all__ = ["Delivery", "KafkaTarget"]

_COMPRESSIONS = ("gzip", "lz4", "zstd", "snappy")
_BATCH_BYTES = 1_000_000  # the broker's default limit is 1,048,588
_CHUNK_BYTES = 400_000  # leaves room in one batch for what Kafka adds to small records
_SILENCE_S = 3.0
_CONNECT_S = 10.0
_GOODBYE_S = 1.0
_FIRST_PAUSE_S = 0.2
_LONGEST_PAUSE_S = 5.0
# Who is refused comes seldom: a login that fails may lock the user out, and is in the broker's log.
_REFUSED_PAUSE_S = 1.0
_LONGEST_REFUSED_PAUSE_S = 30.0
_TELL_EVERY_S = 1.0
# The buffer is looked at so often though nobody wakes us: a signal's exception may break a log call off
# between what it put in and the waking.
_LOOK_EVERY_S = 1.0
_MAX_KEYS = 1_024
# A batch costs the interpreter's lock about as long as a hundred records in it do. So while they come thick
# they wait for more company: so many in the last chunk make the wait so many times as long.
_THICK = 32
_THICK_LINGER = 10
# What the client raises for options that it can't make anything of.
_MISTAKES = (TypeError, ValueError, AttributeError)
# The broker's verdict on a batch that no second attempt changes: too large, or out of the topic's times.
_REFUSALS = frozenset(
    {"MessageSizeTooLargeError", "RecordListTooLargeError", "InvalidTimestampError", "InvalidRecordError"}
)


@dataclass(frozen=True)
class KafkaTarget:
    """Where and how to deliver.

    Attributes:
        bootstrap_servers: `host:port`, several with commas between.
        topic: the topic's name.
        compression: `gzip`, `lz4`, `zstd`, `snappy`, or None; `auto`: zstd where it is installed, else gzip.
        linger_ms: how long the first record waits for company; ten times as long while they come thick.
        client_options: further arguments of `AIOKafkaProducer`.
        security: how the connection is secured; None if `client_options` says it.
        chain: marks the records, so that changes to them show; None: they go without.

    Raises:
        ValueError: a codec that there is not, or that is not installed; less than no time.
    """

    bootstrap_servers: str
    topic: str
    compression: str | None
    linger_ms: float
    # As aiokafka types them; without a repr, since a password may be among them.
    client_options: Mapping[str, Any] = field(default_factory=dict, repr=False)
    security: Security | None = None
    chain: Chain | None = None

    def __post_init__(self) -> None:
        if self.linger_ms < 0:
            raise ValueError("linger_ms can't be negative")
        name = self.compression
        if name == "none":
            object.__setattr__(self, "compression", None)
        elif name == "auto":
            best = "gzip" if importlib.util.find_spec("cramjam") is None else "zstd"
            object.__setattr__(self, "compression", best)
        elif name is not None and name not in _COMPRESSIONS:
            raise ValueError(
                f"compression {name!r} is unknown; valid: auto, none, {', '.join(_COMPRESSIONS)}"
            )
        elif name not in {None, "gzip"} and importlib.util.find_spec("cramjam") is None:
            raise ValueError(f"compression {name!r} needs codecs that are not installed: tocsin[codecs]")


class _UnusableError(Exception):
    """Kafka is there, but not what is needed of it; says what."""


class Delivery:
    """Takes from one buffer and sends to one topic. Lives in one event loop, from `run` to its end."""

    def __init__(self, buffer: Queue, target: KafkaTarget, tell: Callable[[], bool]) -> None:
        """Prepare; nothing happens before `run`.

        Args:
            buffer: where the records are.
            target: where they go.
            tell: puts a word about dropped records into the buffer, if any were.
        """
        self._buffer = buffer
        self._target = target
        self._tell = tell
        self._told_at = -_TELL_EVERY_S
        self._woken = asyncio.Event()
        self._stopping = asyncio.Event()
        self._thick = False
        self._away = False
        self._locked_out = False
        self._told_locked_out = False
        self._refused = False
        self._failed = False
        self._producer: AIOKafkaProducer | None = None
        # What the producer has been made with; Any: as aiokafka types it.
        self._options: dict[str, Any] = {}
        self._partitions: list[int] = []
        self._partition_of: dict[bytes, int] = {}
        self.finished = False
        """Whether nothing more will be taken from the buffer."""

    def wake(self) -> None:
        """Say that there is something in the buffer."""
        self._woken.set()

    def stop(self) -> None:
        """Deliver what is in the buffer and end."""
        self._stopping.set()
        self._woken.set()

    async def run(self) -> None:
        """Deliver until stopped; cancelling it gives up what has not arrived."""
        try:
            while await self._filled():
                chunk = self._buffer.take(_CHUNK_BYTES)
                try:
                    if chunk.records:
                        await self._deliver(chunk.records)
                except BaseException:
                    self._buffer.abandon(chunk)
                    raise
                self._buffer.settle(chunk)
                self._thick = len(chunk.records) >= _THICK
                if self._buffer.empty or time.monotonic() - self._told_at >= _TELL_EVERY_S:
                    self._told_at = time.monotonic()
                    self._tell()
        finally:
            self.finished = True
            self._buffer.arm()
            await self._disconnect()

    async def _filled(self) -> bool:
        """Wait until there is something to take; False when it is time to end."""
        self._woken.clear()
        while self._buffer.arm():
            if self._stopping.is_set():
                # Said first, looked at after: a record put in between either is seen here or, put by
                # someone who saw the buffer armed, finds us finished and starts another delivery.
                self.finished = True
                if self._buffer.arm():
                    return False
                self.finished = False
                return True
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_EVERY_S):
                    await self._woken.wait()
            self._woken.clear()
        if not self._stopping.is_set() and self._buffer.pending_bytes < _CHUNK_BYTES:
            linger_s = self._target.linger_ms / 1000 * (_THICK_LINGER if self._thick else 1)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(linger_s):
                    await self._stopping.wait()
        return True

    async def _deliver(self, records: list[Record]) -> None:
        """Send until every record is acknowledged or refused for good."""
        pause_s = _FIRST_PAUSE_S
        while True:
            self._failed = self._locked_out = False
            try:
                records = await self._send(self._producer or await self._connect(), records)
            except Exception as error:  # noqa: BLE001 - whatever the client raises, delivery must go on
                self._gone(error)
            if not self._failed:
                self._back()
                return
            # A batch that failed leaves a gap in the producer's sequence, so the producer can't go on.
            await self._disconnect()
            if not records:
                return
            if self._locked_out:
                pause_s = max(pause_s, _REFUSED_PAUSE_S)
            await asyncio.sleep(random.uniform(pause_s / 2, pause_s))  # noqa: S311 - spreads a fleet's retries
            pause_s = min(pause_s * 2, _LONGEST_REFUSED_PAUSE_S if self._locked_out else _LONGEST_PAUSE_S)

    async def _connect(self) -> AIOKafkaProducer:
        # Here and not at the top: its 200 ms are the background thread's, not the service's start. With all
        # that is loaded on first use later, since a fork waits for this import alone.
        with importing:
            import encodings.idna  # noqa: F401, PLC0415 - for names of hosts

            from aiokafka import AIOKafkaProducer  # noqa: PLC0415 - as said
            from aiokafka.partitioner import DefaultPartitioner  # noqa: F401, PLC0415 - likewise

        hush("aiokafka")
        security = self._target.security
        self._options = {**self._target.client_options, **(security.client_options() if security else {})}
        if refusal := await self._refusal():
            raise refusal
        producer = self._producer = AIOKafkaProducer(
            bootstrap_servers=self._target.bootstrap_servers,
            compression_type=self._target.compression,
            enable_idempotence=True,
            max_batch_size=_BATCH_BYTES,
            request_timeout_ms=20_000,
            **self._options,
        )
        async with asyncio.timeout(_CONNECT_S):
            await producer.start()
        try:
            async with asyncio.timeout(_SILENCE_S):
                await producer.partitions_for(self._target.topic)
        except TimeoutError:
            raise _UnusableError(f"has no topic {self._target.topic!r}: `tocsin topics` creates it") from None
        return producer

    async def _refusal(self) -> RefusedError | None:
        """Find out whether the broker refuses us, or we it; None if not, or if it can't be found out.

        The client would not tell, and try again ten times a second.
        """
        if self._options.get("security_protocol", "PLAINTEXT") == "PLAINTEXT":
            return None
        try:
            async with asyncio.timeout(_CONNECT_S):
                await knock(self._target.bootstrap_servers, self._options)
        except RefusedError as refusal:
            return refusal
        except Exception:  # noqa: BLE001 - away, and whoever connects next will say how
            return None
        return None

    async def _disconnect(self) -> None:
        producer, self._producer = self._producer, None
        if producer is None:
            return
        try:
            async with asyncio.timeout(_GOODBYE_S):
                await producer.stop()
        except Exception:  # noqa: BLE001 - it has failed already or is leaving; what it held is sent again
            # Left alone, its sender would go on connecting for as long as a batch may take.
            if (sender := producer._sender.sender_task) is not None:  # noqa: SLF001 - its own `stop` has given up
                sender.cancel()
            await producer.client.close()

    async def _send(self, producer: AIOKafkaProducer, records: list[Record]) -> list[Record]:
        """Send each record once.

        Returns:
            Those that have not arrived, in order.

        Raises:
            Exception: whatever aiokafka raises before anything was sent.
        """
        partitions = sorted(await producer.partitions_for(self._target.topic))
        shares: dict[int, list[Record]] = {}
        for record in records:
            shares.setdefault(self._partition(record.event.key, partitions), []).append(record)
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._send_share(producer, *share)) for share in shares.items()]
            while (await asyncio.wait(tasks, timeout=_SILENCE_S))[1]:
                if refusal := await self._refusal():
                    # All that it holds has failed, and is sent again once we are let in.
                    producer._message_accumulator.fail_all(refusal)  # noqa: SLF001 - it has no other way to give up
                    break
                self._say_gone(f"is away (no acknowledgement for {_SILENCE_S:.0f} s)")
        return [record for task in tasks for record in task.result()]

    async def _send_share(
        self, producer: AIOKafkaProducer, partition: int, records: list[Record]
    ) -> list[Record]:
        """Send the records of one partition, nearly always as one batch; return what has not arrived."""
        chain = self._target.chain
        while records:
            batch = producer.create_batch()
            fitting = 0
            links = chain.links(partition) if chain else None
            for record in records:
                event = record.event
                headers = [("source", record.source), ("seq", b"%d" % record.seq)]
                if links is not None:
                    headers.append(links.header(record))
                appended = batch.append(
                    timestamp=event.time_ms, key=event.key, value=event.value, headers=headers
                )
                if appended is None:
                    break
                fitting += 1
            try:
                await (await producer.send_batch(batch, self._target.topic, partition=partition))
            except Exception as error:  # noqa: BLE001 - a verdict of the broker's, or of the client's on itself
                if type(error).__name__ not in _REFUSALS:
                    self._gone(error)
                    return records
                self._refuse(records[:fitting], error)
                return records[fitting:]
            if chain:
                chain.arrived(records[:fitting])
            records = records[fitting:]
        return []

    def _partition(self, key: bytes, partitions: list[int]) -> int:
        """Return the partition of a key: that of every Kafka client, so that one service has one."""
        if partitions != self._partitions or len(self._partition_of) >= _MAX_KEYS:
            self._partitions = partitions
            self._partition_of.clear()
        partition = self._partition_of.get(key)
        if partition is None:
            from aiokafka.partitioner import DefaultPartitioner  # noqa: PLC0415 - loaded by now

            partition = int(DefaultPartitioner()(key, partitions, partitions))
            self._partition_of[key] = partition
        return partition

    def _refuse(self, records: list[Record], error: Exception) -> None:
        self._failed = True
        for record in records:
            self._buffer.lose(record.event.level)
        if not self._refused:
            self._refused = True
            say(f"Kafka refuses log records ({type(error).__name__}); they are counted and dropped")

    def _gone(self, error: Exception) -> None:
        self._failed = True
        if isinstance(error, RefusedError):
            self._locked_out = True
            if not self._told_locked_out:
                self._away = self._told_locked_out = True
                servers, place = self._target.bootstrap_servers, self._buffer.place
                say(f"Kafka at {servers}: {error}; log records wait in {place}")
            return
        if isinstance(error, _UnusableError):
            self._say_gone(str(error))
            return
        why = f"{type(error).__name__}: {error}".rstrip(": ")
        # What is wrong with the options is no outage, and doesn't pass.
        self._say_gone(f"can't be used ({why})" if isinstance(error, _MISTAKES) else f"is away ({why})")

    def _say_gone(self, what: str) -> None:
        if not self._away:
            self._away = True
            servers, place = self._target.bootstrap_servers, self._buffer.place
            say(f"Kafka at {servers} {what}; log records wait in {place}")

    def _back(self) -> None:
        if self._away:
            self._away = self._told_locked_out = False
            say(f"Kafka at {self._target.bootstrap_servers} is back")
