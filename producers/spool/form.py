"""The form of a segment on disk: a header, records one after the other, and zeros up to the end.

Nothing in a segment is believed without its checksum, and the next record is only ever looked for where a
header that has been checked says: what a record contains can't pass for another one.

    segment: magic (8 bytes) | version (1) | label length (1) | source (16) | label | crc32 of all before (4)
    record:  crc32 of the header (4) | crc32 of key and value (4) | value length (4) | key length (4) |
             level (1) | zeros (3) | seq (8) | previous seq of this source and key or -1 (8) | time (8) |
             key | value
"""

from __future__ import annotations

import struct
from typing import NamedTuple
from zlib import crc32

from producers.event.renderer import RenderedEvent
from producers.kafka.queue import LEVELS, Record

__all__ = [
    "MAX_LABEL_BYTES",
    "RECORD_HEADER_BYTES",
    "SEGMENT_HEADER_BYTES",
    "SOURCE_BYTES",
    "Header",
    "Parsed",
    "Survey",
    "pack_header",
    "pack_record",
    "parse",
    "read_header",
    "survey",
]

SEGMENT_HEADER_BYTES = 512
RECORD_HEADER_BYTES = 44
SOURCE_BYTES = 16
MAX_LABEL_BYTES = 255

_MAGIC = b"TOCSPOOL"
_VERSION = 1
_START = struct.Struct("<8sBB16s")
_CHECK = struct.Struct("<I")
# Of a record what comes behind the header's own checksum, and both together.
_REST = struct.Struct("<IIIB3xqqq")
_HEADER = struct.Struct("<IIIIB3xqqq")


class Header(NamedTuple):
    """What a segment says of itself.

    Attributes:
        source: of all its records.
        label: what they are for; records for something else are not ours to send.
    """

    source: bytes
    label: bytes


class Parsed(NamedTuple):
    """What a piece of a segment holds.

    Attributes:
        records: those that are whole, in order.
        counts: how many these are, by level.
        damaged: how many have a header but not the key and value that it speaks of, by level.
        end: where the next record begins.
        missing: how many bytes this piece needs at least so that there is progress; 0 when there is some.
        broken: whether there is no header where one has to be.
    """

    records: list[Record]
    counts: list[int]
    damaged: list[int]
    end: int
    missing: int
    broken: bool


class Survey(NamedTuple):
    """What a segment holds that nobody writes to any more.

    Attributes:
        end: where its records end.
        counts: how many there are, by level.
        damaged: whether there is something behind them that can't be read.
    """

    end: int
    counts: list[int]
    damaged: bool


def pack_header(header: Header) -> bytes:
    """Return the first bytes of a segment."""
    start = _START.pack(_MAGIC, _VERSION, len(header.label), header.source) + header.label
    return start + _CHECK.pack(crc32(start))


def read_header(data: bytes) -> Header | None:
    """Return what the first bytes of a segment say, or None when they aren't such."""
    if len(data) < _START.size:
        return None
    magic, version, label_bytes, source = _START.unpack_from(data)
    end = _START.size + label_bytes
    if (magic, version) != (_MAGIC, _VERSION) or len(data) < end + _CHECK.size:
        return None
    if _CHECK.unpack_from(data, end) != (crc32(data[:end]),):
        return None
    return Header(source, data[_START.size : end])


def pack_record(event: RenderedEvent, rank: int, seq: int, previous: int) -> bytes:
    """Return a record as it stands in a segment.

    Args:
        event: the event.
        rank: its level's place among `LEVELS`.
        seq: its number among those of its source and key.
        previous: the number of the one before it, or -1.
    """
    value, key = event.value, event.key
    rest = _REST.pack(crc32(value, crc32(key)), len(value), len(key), rank, seq, previous, event.time_ms)
    return b"".join((_CHECK.pack(crc32(rest)), rest, key, value))


def parse(data: bytes, source: bytes) -> Parsed:
    """Read records off a piece of a segment that begins with one.

    Args:
        data: the piece; the last record in it may be cut.
        source: the segment's.
    """
    records: list[Record] = []
    counts, damaged = [0] * len(LEVELS), [0] * len(LEVELS)
    view = memoryview(data)
    at, size = 0, len(data)
    missing = 0
    broken = False
    while at < size:
        if size - at < RECORD_HEADER_BYTES:
            missing = RECORD_HEADER_BYTES
            break
        check, body, value_bytes, key_bytes, rank, seq, previous, time_ms = _HEADER.unpack_from(data, at)
        key_at = at + RECORD_HEADER_BYTES
        if crc32(view[at + _CHECK.size : key_at]) != check or rank >= len(LEVELS):
            broken = True
            break
        value_at = key_at + key_bytes
        end = value_at + value_bytes
        if end > size:
            missing = end - at
            break
        if crc32(view[key_at:end]) == body:
            event = RenderedEvent(data[value_at:end], data[key_at:value_at], time_ms, LEVELS[rank])
            records.append(Record(event, source, seq, previous))
            counts[rank] += 1
        else:
            damaged[rank] += 1
        at = end
    return Parsed(records, counts, damaged, at, 0 if at else missing, broken)


def survey(data: bytes, start: int, *, last: bool) -> Survey:
    """Go through a segment that nobody writes to any more.

    A record that its process was killed in the midst of is not counted: its log call never returned.

    Args:
        data: the whole segment.
        start: where to begin: at a record.
        last: whether it is the last of its journal, where such a torn record may be.
    """
    counts = [0] * len(LEVELS)
    view = memoryview(data)
    at, size = start, len(data)
    newest = None
    cut = False
    while size - at >= RECORD_HEADER_BYTES:
        check, body, value_bytes, key_bytes, rank, *_ = _HEADER.unpack_from(data, at)
        key_at = at + RECORD_HEADER_BYTES
        if crc32(view[at + _CHECK.size : key_at]) != check or rank >= len(LEVELS):
            break
        counts[rank] += 1
        end = key_at + key_bytes + value_bytes
        if end > size:
            # The file has been cut: counted, but nothing to read.
            cut = True
            break
        newest = (at, rank, key_at, body)
        at = end
    if last and newest is not None and data.count(0, at) == size - at:
        begin, rank, key_at, body = newest
        if crc32(view[key_at:at]) != body:
            at = begin
            counts[rank] -= 1
            return Survey(at, counts, damaged=False)
    # A header that was torn off is at most so long.
    torn_bytes = RECORD_HEADER_BYTES if last else 0
    damaged = cut or data.count(0, at + torn_bytes) < size - at - torn_bytes
    return Survey(at, counts, damaged)
