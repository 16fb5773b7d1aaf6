"""The chain: a mark on each record that shows, to whoever has the key, what became of a topic's records.

A record's header `chain` holds how far back the record of the same source and key is that was sent before,
and a MAC over that, the record and its place. A number is given once and the MAC binds it, so the link by
number is as strong as one by hash (docs/decisions/0011-chain.md); and it does not need the other record at
hand. Links are made over what has arrived: what was dropped or refused is skipped, not missed.

    version (1 byte, 1) | key id (4) | step (1 to 8, big endian, as short as it goes) | MAC (16)
"""

from __future__ import annotations

import collections
import hashlib
import struct
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable

    from producers.kafka.queue import Record

__all__ = ["HEADER", "Chain", "Links", "make_chain", "usable_key"]

HEADER = "chain"
_MIN_KEY_BYTES = 16
_MAX_KEY_BYTES = 4_096
_BLOCK_BYTES = 64  # of SHA-256
_MAC_BYTES = 16
_ID_BYTES = 4
# A buffer names itself anew before it has more keys than this; what a spool brings are sources of their own.
_MAX_SERIES = 1_024
_MAX_SOURCES = 64
_PLACE = struct.Struct(">IQQq")


class _Hmac:
    """HMAC-SHA256 of one key, prepared: half the time of `hmac.digest`, and no key is kept."""

    def __init__(self, key: bytes) -> None:
        if len(key) > _BLOCK_BYTES:
            key = hashlib.sha256(key).digest()
        block = key.ljust(_BLOCK_BYTES, b"\0")
        self.inner = hashlib.sha256(bytes(b ^ 0x36 for b in block))
        self.outer = hashlib.sha256(bytes(b ^ 0x5C for b in block))

    def digest(self, message: bytes) -> bytes:
        """Return the MAC of a message."""
        inner, outer = self.inner.copy(), self.outer.copy()
        inner.update(message)
        outer.update(inner.digest())
        return outer.digest()


class _Series:
    """The records of one source and key.

    Attributes:
        inner: the inner hash, with what all their MACs begin with.
        last: the number of the last one that has arrived, None while that is not known.
    """

    __slots__ = ("inner", "last")

    def __init__(self, hmac: _Hmac, beginning: bytes) -> None:
        self.inner = hmac.inner.copy()
        self.inner.update(beginning)
        self.last: int | None = None


class Chain:
    """The chain of one topic: which record of each source and key arrived last.

    Used by the thread that delivers. It outlives that thread, as the sources that it knows do.
    """

    def __init__(self, key: bytes, topic: str) -> None:
        """Begin.

        Args:
            key: the secret, as `usable_key` returns it.
            topic: where the records go.
        """
        self._hmac = _Hmac(key)
        self._topic = _framed(topic.encode())
        self.key_id = self._hmac.digest(b"tocsin-chain-key-id")[:_ID_BYTES]
        """Names the key without telling it."""
        self._start = b"\x01" + self.key_id
        self._sources: collections.OrderedDict[bytes, dict[bytes, _Series]] = collections.OrderedDict()

    def __repr__(self) -> str:
        return f"<Chain with key {self.key_id.hex()}>"

    def links(self, partition: int) -> Links:
        """Begin a batch.

        Args:
            partition: where it goes.
        """
        return Links(self, partition)

    def arrived(self, records: Iterable[Record]) -> None:
        """Let what is sent from now on follow these records, of one partition and in order."""
        source = b""
        for record in records:
            series = self.series(record.source, record.event.key)
            if series.last is None or record.seq > series.last:
                series.last = record.seq
            if record.source != source:
                source = record.source
                self._sources.move_to_end(source)

    def series(self, source: bytes, key: bytes) -> _Series:
        """Return what is known of a source and key."""
        keys = self._sources.get(source)
        if keys is None:
            keys = self._sources[source] = {}
            if len(self._sources) > _MAX_SOURCES:
                # The one that has sent nothing for the longest time.
                self._sources.popitem(last=False)
        series = keys.get(key)
        if series is None:
            if len(keys) >= _MAX_SERIES:
                keys.clear()
            beginning = b"tocsin-chain-1" + self._topic + _framed(source) + _framed(key)
            series = keys[key] = _Series(self._hmac, beginning)
        return series

    def header(self, series: _Series, partition: int, record: Record, step: int) -> bytes:
        """Return the header of a record.

        Args:
            series: of its source and key.
            partition: where it goes.
            record: the record.
            step: how many numbers back the record before it is; one more than its own number if it is the
                first.
        """
        event = record.event
        inner, outer = series.inner.copy(), self._hmac.outer.copy()
        inner.update(_PLACE.pack(partition, record.seq, step, event.time_ms) + event.value)
        outer.update(inner.digest())
        link = b"\x01" if step == 1 else step.to_bytes((step.bit_length() + 7) // 8, "big")
        return self._start + link + outer.digest()[:_MAC_BYTES]


class Links:
    """Makes the headers of one batch: each record follows the one before it in the batch.

    Only what has arrived is followed by the next batch, so a batch that is sent again gets the same headers,
    and one that is refused breaks nothing.
    """

    __slots__ = ("_ahead", "_chain", "_partition")

    def __init__(self, chain: Chain, partition: int) -> None:
        self._chain = chain
        self._partition = partition
        self._ahead: dict[_Series, int] = {}

    def header(self, record: Record) -> tuple[str, bytes]:
        """Return the header of the batch's next record."""
        series = self._chain.series(record.source, record.event.key)
        seq = record.seq
        previous = self._ahead.get(series, series.last)
        if previous is None or previous >= seq:
            # Not known here, or sent before: only the record itself can tell.
            previous = record.previous
            if previous is None or previous >= seq:
                previous = -1
        self._ahead[series] = seq
        return HEADER, self._chain.header(series, self._partition, record, seq - previous)


def make_chain(key: bytes | str | None, key_file: str | os.PathLike[str] | None, topic: str) -> Chain:
    """Return the chain of a topic.

    Args:
        key: the secret.
        key_file: a file that holds it, if it is not given.
        topic: where the records go.

    Raises:
        ValueError: the key is too short or too long.
        OSError: the file can't be read.
    """
    if key is not None:
        return Chain(usable_key(key, "chain_key"), topic)
    path = Path(key_file or "")
    with path.open("rb") as file:
        return Chain(usable_key(file.read(_MAX_KEY_BYTES + 3), f"the key in {path}"), topic)


def usable_key(key: bytes | str, name: str) -> bytes:
    """Return a key without line breaks at its end: files and secrets of Kubernetes often have one.

    Args:
        key: the secret; text counts as UTF-8.
        name: what to call it.

    Raises:
        ValueError: it is too short, or so long that it hardly is a key.
    """
    # What the environment holds may be no text at all.
    raw = key.encode("utf-8", "surrogateescape") if isinstance(key, str) else bytes(key)
    raw = raw.rstrip(b"\r\n")
    if not _MIN_KEY_BYTES <= len(raw) <= _MAX_KEY_BYTES:
        raise ValueError(f"{name} must have {_MIN_KEY_BYTES} to {_MAX_KEY_BYTES:,} bytes, not {len(raw):,}")
    return raw


def _framed(part: bytes) -> bytes:
    return struct.pack(">I", len(part)) + part
