"""Salvage: a batch that the client can't read must not stop what comes behind it.

Kafka takes header names that are no UTF-8; aiokafka's parser raises on them, on the same batch for ever.
A guarded consumer reads such a batch from its bytes again, with `?` for what is no text in those names: no
record is lost, and none hidden. A batch that can't be read even so, though its checksum is right, is passed
over and told. One whose checksum is wrong raises as ever: another fetch may bring it whole.

It hooks into two attributes of the one consumer: where fetched partitions are put, and what sends requests,
which is where their bytes are seen. Where aiokafka's inside looks different, nothing is replaced, and the
batch raises.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any

import structlog
from aiokafka import TopicPartition
from aiokafka.codec import gzip_decode, lz4_decode, snappy_decode, zstd_decode
from aiokafka.errors import UnsupportedCodecError
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.record.util import calc_crc32c, decode_varint

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from aiokafka import AIOKafkaConsumer

__all__ = ["guard"]

_log = structlog.get_logger("tocsin.kafka")
# Of a batch (https://kafka.apache.org/documentation/#recordbatch): base offset, length, epoch, magic,
# checksum, attributes, and more. Length and checksum are of all that comes behind each.
_LENGTH_AT, _LENGTH_END, _MAGIC_AT, _CRC_AT, _CRC_END, _RECORDS_AT = 8, 12, 16, 17, 21, 61
_MAGIC = 2
_CODEC_MASK = 0x07
_DECODE: dict[int, Callable[[bytes], bytes]] = {
    0: bytes,
    1: gzip_decode,
    2: snappy_decode,
    3: lz4_decode,
    4: zstd_decode,
}


def guard(consumer: AIOKafkaConsumer, count: Callable[[str], None] = lambda _: None) -> None:
    """Let a consumer read on where a batch can't be read.

    Args:
        consumer: started; nothing has been read yet.
        count: called with what became of each such batch: `mended` or `skipped`.
    """
    # Any: aiokafka's inside is not for us, and may change.
    fetcher: Any = getattr(consumer, "_fetcher", None)
    client: Any = getattr(consumer, "_client", None)
    if type(getattr(fetcher, "_records", None)) is not OrderedDict or not hasattr(client, "send"):
        return
    fetched = _Fetched(count)
    fetched.update(fetcher._records)  # noqa: SLF001 - the one place; see above
    fetcher._records = fetched  # noqa: SLF001 - the same
    send = client.send

    async def keep(node: Any, request: Any, **options: Any) -> Any:
        response = await send(node, request, **options)
        if isinstance(request, FetchRequest):
            # The fetcher goes through the answer before anything else runs.
            fetched.bytes = _bytes_of(response)
        return response

    client.send = keep


def _bytes_of(response: Any) -> dict[TopicPartition, bytes]:
    """Return what an answer brings of each partition."""
    try:
        parts = [(topic, part[0], part[-1]) for topic, parts in response.topics for part in parts]
    except (AttributeError, TypeError, ValueError, LookupError):
        return {}
    return {TopicPartition(topic, n): raw for topic, n, raw in parts if isinstance(raw, bytes)}


class _Fetched(OrderedDict[TopicPartition, Any]):
    """Fetched partitions, each read through `_readable`.

    Attributes:
        bytes: those of the last answer, by partition.
    """

    def __init__(self, count: Callable[[str], None]) -> None:
        super().__init__()
        self.bytes: dict[TopicPartition, bytes] = {}
        self._count = count
        self._told: set[TopicPartition] = set()

    def __setitem__(self, partition: TopicPartition, result: Any) -> None:
        raw = self.bytes.pop(partition, None)
        records: Any = getattr(result, "_partition_records", None)
        wanted = ("_records", "_records_iterator", "_unpack_records", "next_fetch_offset")
        if raw is not None and all(hasattr(records, name) for name in wanted):
            batches = _Batches(records._records)  # noqa: SLF001 - see above
            records._records = batches  # noqa: SLF001 - the same
            records._records_iterator = self._readable(partition, records, batches, raw)  # noqa: SLF001 - the same
        super().__setitem__(partition, result)

    def _readable(
        self, partition: TopicPartition, records: Any, batches: _Batches, raw: bytes
    ) -> Iterator[Any]:
        """Yield what aiokafka reads; mend or pass over what it can't."""
        patched: Any = None
        while True:
            try:
                yield from records._unpack_records()  # noqa: SLF001 - see above
            except Exception as error:
                batch = batches.last
                if batch is None or batch is patched or isinstance(error, UnsupportedCodecError):
                    raise
                found = _find(raw, batch.base_offset)
                # One that is readable by itself was not to blame.
                if found is None or _is_readable(found):
                    raise
                # What follows begins with this batch mended or with the next one, at `next_fetch_offset`.
                if (mended := _mended(found)) is not None:
                    self._tell_mended(partition, records.next_fetch_offset)
                    patched = batches.next = MemoryRecords(mended).next_batch()
                else:
                    self._tell_skipped(partition, records.next_fetch_offset, batch.next_offset, error)
                    records.next_fetch_offset = batch.next_offset
            else:
                return

    def _tell_mended(self, partition: TopicPartition, offset: int) -> None:
        self._count("mended")
        if partition in self._told:
            return
        self._told.add(partition)
        _log.warning(
            "a header name is no UTF-8; it is read with ? in it. Told once; the metrics count others",
            topic=partition.topic,
            partition=partition.partition,
            offset=offset,
        )

    def _tell_skipped(self, partition: TopicPartition, offset: int, end: int, error: Exception) -> None:
        self._count("skipped")
        _log.error(
            "records can't be read and are passed over",
            topic=partition.topic,
            partition=partition.partition,
            offset=offset,
            last_offset=end - 1,
            error=f"{type(error).__name__}: {error}"[:200],
        )


class _Batches:
    """A fetched partition's batches, as aiokafka takes them.

    Attributes:
        last: the batch that was taken last.
        next: what comes before the others.
    """

    def __init__(self, records: Any) -> None:
        self._records = records
        self.last: Any = None
        self.next: Any = None

    def has_next(self) -> bool:
        return self.next is not None or bool(self._records.has_next())

    def next_batch(self) -> Any:
        self.last, self.next = self.next or self._records.next_batch(), None
        return self.last


def _find(raw: bytes, base_offset: int) -> bytes | None:
    """Return the bytes of a batch that is whole, by its checksum; None: there is none."""
    pos = 0
    while pos + _RECORDS_AT <= len(raw):
        end = pos + _LENGTH_END + int.from_bytes(raw[pos + _LENGTH_AT : pos + _LENGTH_END], "big")
        if int.from_bytes(raw[pos : pos + _LENGTH_AT], "big") == base_offset:
            batch = raw[pos:end]
            sound = batch[_MAGIC_AT] == _MAGIC and _crc(batch) == batch[_CRC_AT:_CRC_END]
            return batch if sound else None
        pos = end
    return None


def _crc(batch: bytes | bytearray) -> bytes:
    crc: int = calc_crc32c(batch[_CRC_END:])
    return crc.to_bytes(4, "big")


def _is_readable(batch: bytes) -> bool:
    try:
        batches: Any = MemoryRecords(batch)
        for _ in batches.next_batch():
            pass
    except Exception:  # noqa: BLE001 - whatever the parser raises
        return False
    return True


def _mended(batch: bytes) -> bytes | None:
    """Return a batch with `?` for what is not ASCII in header names that are no UTF-8, not compressed.

    None: it can't be read even so.
    """
    head = bytearray(batch[:_RECORDS_AT])
    try:
        records = bytearray(_DECODE[head[_CRC_END + 1] & _CODEC_MASK](batch[_RECORDS_AT:]))
        pos = 0
        while pos < len(records):
            pos = _mend_record(records, pos)
    except Exception:  # noqa: BLE001 - whatever hostile bytes bring about
        return None
    head[_CRC_END + 1] &= ~_CODEC_MASK
    head[_LENGTH_AT:_LENGTH_END] = (_RECORDS_AT - _LENGTH_END + len(records)).to_bytes(4, "big")
    mended = head + records
    mended[_CRC_AT:_CRC_END] = _crc(mended)
    return bytes(mended) if _is_readable(bytes(mended)) else None


def _mend_record(records: bytearray, pos: int) -> int:
    """Mend the header names of the record that begins at `pos`; return where the next one does.

    Raises:
        ValueError: the record has no length.
        IndexError: it ends too early.
    """
    length, pos = decode_varint(records, pos)
    end = pos + length
    if length <= 0:
        raise ValueError("a record without a length")
    # Its attributes are one byte; its times and offsets count from the batch's.
    _, pos = decode_varint(records, pos + 1)
    _, pos = decode_varint(records, pos)
    for _ in ("key", "value"):
        size, pos = decode_varint(records, pos)
        pos += max(size, 0)
    count, pos = decode_varint(records, pos)
    for _ in range(count):
        size, pos = decode_varint(records, pos)
        name = records[pos : pos + size]
        try:
            name.decode()
        except UnicodeDecodeError:
            records[pos : pos + size] = bytes(byte if byte < 0x80 else ord("?") for byte in name)
        pos += max(size, 0)
        size, pos = decode_varint(records, pos)
        pos += max(size, 0)
    return int(end)
