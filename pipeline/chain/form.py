"""The form of a chained record: what its headers claim, and whether the MAC bears them out.

The other half of `producers/kafka/chain.py`, written apart since neither side imports the other. It is
strict: a record that differs from what a handler writes in as little as the order of its headers is not
authentic.
(Decision: docs/decisions/0011-chain.md.)
"""

from __future__ import annotations

import enum
import hmac
import struct
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["ChainKeys", "Claim", "Flaw", "Place", "StoredRecord", "key_of"]

MIN_KEY_BYTES = 16
MAX_KEY_BYTES = 4_096
_NAMES = ["source", "seq", "chain"]
_MAC_BYTES = 16
_ID_BYTES = 4
_MAX_SEQ = 2**63 - 1
# A source has 16 bytes, a key up to 256 characters; what is not authentic may be of any size.
_MAX_CLAIMED_BYTES = 4_096
_NUMBERS = struct.Struct(">IQQq")


class StoredRecord(msgspec.Struct, frozen=True, gc=False):
    """A record as it lies in a partition.

    Attributes:
        offset: where.
        time_ms: its timestamp, milliseconds since the epoch.
        key: its key.
        value: its value.
        headers: names and values, in order.
        by_broker: whether the timestamp is the broker's (LogAppendTime), not the producer's.
    """

    offset: int
    time_ms: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]
    by_broker: bool = False


class Claim(msgspec.Struct, frozen=True, gc=False):
    """What a record says of its place among others; true only if the record is authentic.

    Attributes:
        source: the source.
        key: the key.
        seq: its number.
        previous: the number of the record before it, -1 if it is the first; None if it doesn't say.
        mac: its MAC; empty without a chain.
    """

    source: bytes
    key: bytes
    seq: int
    previous: int | None
    mac: bytes


class Flaw(enum.Enum):
    """Why a record is not authentic; the value says it to a person."""

    UNCHAINED = "no chain header"
    HEADERS = "its headers are not those that a handler writes"
    FORM = "its chain header has no known form"
    UNKNOWN_KEY = "chained with a key that was not given"
    BY_BROKER = "its timestamp is the broker's (LogAppendTime), so its MAC can't fit"
    MAC = "its MAC does not fit its content and place"


class Place:
    """Where records were written to: the topic's name then, and the partition."""

    def __init__(self, topic: str, partition: int) -> None:
        self.beginning = b"tocsin-chain-1" + _framed(topic.encode())
        self.partition = partition


class ChainKeys:
    """The keys to check with; there may be several since keys are changed, and producers have their own."""

    def __init__(self, keys: Iterable[bytes]) -> None:
        """Take the keys, each as `key_of` returns it.

        Raises:
            ValueError: there is none.
        """
        self._keys: dict[bytes, list[bytes]] = {}
        for key in dict.fromkeys(keys):
            self._keys.setdefault(_key_id(key), []).append(key)
        if not self._keys:
            raise ValueError("there is no key to check with")

    def __repr__(self) -> str:
        return f"<ChainKeys {', '.join(self.ids)}>"

    @property
    def ids(self) -> list[str]:
        """The names of the keys, which don't tell them."""
        return [key_id.hex() for key_id in self._keys]

    def read(self, record: StoredRecord, place: Place) -> tuple[Claim | None, Flaw | None]:
        """Read what a record claims, and check it.

        Args:
            record: the record.
            place: where it lies.

        Returns:
            What it claims, None if that can't be told; and why it isn't authentic, None if it is.
        """
        headers = record.headers
        if [name for name, _ in headers] != _NAMES:
            values = dict(headers)
            flaw = Flaw.HEADERS if "chain" in values else Flaw.UNCHAINED
            return _claim(record, values.get("source"), values.get("seq"), values.get("chain")), flaw
        source, seq, chain = (value for _, value in headers)
        claim = _claim(record, source, seq, chain)
        if claim is None or claim.previous is None or chain is None:
            return claim, Flaw.FORM
        keys = self._keys.get(chain[1 : 1 + _ID_BYTES])
        if keys is None:
            return claim, Flaw.UNKNOWN_KEY
        if record.by_broker:
            return claim, Flaw.BY_BROKER
        if record.value is None:
            return claim, Flaw.MAC
        numbers = _NUMBERS.pack(place.partition, claim.seq, claim.seq - claim.previous, record.time_ms)
        message = place.beginning + _framed(claim.source) + _framed(claim.key) + numbers + record.value
        for key in keys:
            if hmac.compare_digest(hmac.digest(key, message, "sha256")[:_MAC_BYTES], claim.mac):
                return claim, None
        return claim, Flaw.MAC


def key_of(secret: bytes) -> bytes:
    """Return the key that a secret stands for: without line breaks at its end, as the handler takes it.

    Args:
        secret: as it is in a file or in the environment.

    Raises:
        ValueError: it is too short, or so long that it hardly is a key.
    """
    key = secret.rstrip(b"\r\n")
    if not MIN_KEY_BYTES <= len(key) <= MAX_KEY_BYTES:
        raise ValueError(f"a key has {MIN_KEY_BYTES} to {MAX_KEY_BYTES:,} bytes, not {len(key):,}")
    return key


def chain_key_id(record: StoredRecord) -> str:
    """Return which key a record says that it was chained with; empty if it doesn't."""
    chain = dict(record.headers).get("chain") or b""
    return chain[1 : 1 + _ID_BYTES].hex()


def _claim(
    record: StoredRecord, source: bytes | None, seq: bytes | None, chain: bytes | None
) -> Claim | None:
    key = record.key
    if not source or not seq or key is None or len(source) + len(key) > _MAX_CLAIMED_BYTES:
        return None
    # As the handler writes it, so that a number has one form.
    if not seq.isdigit() or len(seq) > len(str(_MAX_SEQ)) or (seq[0] == ord("0") and len(seq) > 1):
        return None
    number = int(seq)
    chain = chain or b""
    step = chain[1 + _ID_BYTES : -_MAC_BYTES]
    previous = None
    if chain[:1] == b"\x01" and 1 <= len(step) <= 8 and step[0]:
        back = int.from_bytes(step, "big")
        if back <= number + 1:
            previous = number - back
    return Claim(source, key, number, previous, chain[-_MAC_BYTES:])


def _key_id(key: bytes) -> bytes:
    return hmac.digest(key, b"tocsin-chain-key-id", "sha256")[:_ID_BYTES]


def _framed(part: bytes) -> bytes:
    return struct.pack(">I", len(part)) + part
