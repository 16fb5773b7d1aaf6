"""Statements: what a record says of its source, by headers and value; true only if whoever wrote it is."""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING

from pipeline.decode import FORMATS
from pipeline.detect.findings import MAX_VALUE_CHARS
from pipeline.detect.words import OWN_SOURCE
from pipeline.errors import DecodeError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pipeline.event import Batch

__all__ = ["began_ms", "is_goodbye", "stated", "times_by_key", "where"]

_MAX_HEADERS = 16
# A larger event is not decoded for what it says of its source.
_MAX_DECODED_BYTES = 65_536
# What the handler says as it ends.
_GOODBYE, _GOODBYE_LOGGER, _MAX_GOODBYE_BYTES = "logging ends", "producers", 4_096
_GOODBYE_BYTES = _GOODBYE.encode()
# The name of a source: four bytes of the second in which it began and eight random ones, in base64.
_SOURCE = re.compile(rb"[A-Za-z0-9_-]{16}")


def times_by_key(batch: Batch) -> dict[bytes | None, list[int]]:
    """Return the record times of each key, of the records that a service may have written."""
    by_key: dict[bytes | None, list[int]] = {}
    for time_ms, key, headers in zip(batch.times_ms, batch.keys, batch.headers, strict=True):
        if headers and not (headers[0][1] or b"").startswith(OWN_SOURCE):
            by_key.setdefault(key, []).append(time_ms)
    return by_key


def stated(headers: Sequence[tuple[str, bytes | None]]) -> tuple[bytes | None, bytes | None]:
    """Return source and number of headers in any order, None where they don't state them."""
    stated = dict(headers[:_MAX_HEADERS])
    return stated.get("source"), stated.get("seq")


def began_ms(source: bytes) -> int:
    """Return when a source began, as its name says; 0 where it doesn't."""
    if _SOURCE.fullmatch(source) is None:
        return 0
    return int.from_bytes(base64.urlsafe_b64decode(source)[:4]) * 1000


def is_goodbye(value: bytes | None) -> bool:
    """Whether a record is the word by which a handler ends."""
    if value is None or len(value) > _MAX_GOODBYE_BYTES or _GOODBYE_BYTES not in value:
        return False
    told = _decoded(value)
    return told.get("event") == _GOODBYE and told.get("logger") == _GOODBYE_LOGGER


def where(value: bytes | None) -> tuple[str, str]:
    """Return environment and host of an event, as far as it says them; empty for not said."""
    told = _decoded(value) if value and len(value) <= _MAX_DECODED_BYTES else {}
    return _text(told, "environment"), _text(told, "host")


def _decoded(value: bytes) -> Mapping[str, object]:
    """Return what an event says, whatever names it says it by; nothing if it isn't JSON."""
    try:
        return FORMATS["json"].decode(value, 0).fields
    except DecodeError:
        return {}


def _text(fields: Mapping[str, object], name: str) -> str:
    value = fields.get(name)
    return value[:MAX_VALUE_CHARS] if isinstance(value, str) else ""
