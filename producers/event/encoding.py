"""JSON of whatever a service logs: always valid, always bounded, never an exception.

Nearly every event is plain and takes orjson's fast path. What orjson refuses (lone surrogates, huge
integers, cycles, keys that are no strings) and what is too large is copied, bounded, and encoded again.
"""

from __future__ import annotations

import datetime as dt
import enum
import numbers
import os
import uuid
from typing import TYPE_CHECKING

import orjson

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    _Members = list[object] | tuple[object, ...] | set[object] | frozenset[object]
    _Container = dict[object, object] | _Members | enum.Enum

__all__ = ["MIN_EVENT_BYTES", "encode", "safe_text"]

# Escapes make at most six bytes of a character, so the smallest of the copies below always fits.
MIN_EVENT_BYTES = 32_768

_OPTIONS = orjson.OPT_UTC_Z
_TEXT_LIMIT = 2_048
_MAX_DEPTH = 16
# Characters a string keeps and values an event keeps: first for what orjson refused, then ever smaller
# until the event fits.
_ODD = (1_000_000_000, 10_000)
_OVERSIZE = ((8_192, 500), (512, 100), (64, 20))
_INT_RANGE = range(-(2**63), 2**64)
_AS_STR = (numbers.Number, os.PathLike, dt.date, dt.time, uuid.UUID)


def safe_text(value: object, limit: int = _TEXT_LIMIT, convert: Callable[[object], str] = repr) -> str:
    """Return the text of an object, cut after `limit` characters.

    Args:
        value: any object, its `__repr__` and `__str__` not trusted.
        limit: most characters to keep.
        convert: `repr` or `str`.
    """
    try:
        text = convert(value)
    except Exception:  # noqa: BLE001 - the object's own code runs here and may raise anything
        return f"<unprintable {type(value).__name__}>"
    return text if len(text) <= limit else text[:limit] + "…"


def encode(fields: Mapping[str, object], max_bytes: int) -> bytes:
    """Return the fields as one JSON object without newlines.

    What doesn't fit is cut, last fields first, and the object then says `"truncated": true`.

    Args:
        fields: what the event says, the most important first.
        max_bytes: most bytes to return; at least `MIN_EVENT_BYTES`.
    """
    try:
        encoded = orjson.dumps(fields, default=_stand_in, option=_OPTIONS)
    except Exception:  # noqa: BLE001 - a property of the service's own object may run in there
        encoded = orjson.dumps(_Copy(*_ODD).fields(fields), option=_OPTIONS)
    if len(encoded) <= max_bytes:
        return encoded
    for limit in _OVERSIZE:
        encoded = orjson.dumps({**_Copy(*limit).fields(fields), "truncated": True}, option=_OPTIONS)
        if len(encoded) <= max_bytes:
            break
    return encoded


def _stand_in(value: object) -> object:
    """Return what takes the place of an object that JSON has no form for."""
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value[:_TEXT_LIMIT]).decode("utf-8", "backslashreplace")
    if isinstance(value, set | frozenset):
        return list(value)
    return safe_text(value, convert=str if isinstance(value, _AS_STR) else repr)


class _Copy:
    """A copy that orjson takes, bounded in depth, number of values and length of strings."""

    def __init__(self, text_limit: int, values: int) -> None:
        self._text_limit = text_limit
        self._left = values

    def fields(self, fields: Mapping[str, object]) -> dict[str, object]:
        """Return a copy of an event's fields; one that resists doesn't take the others with it."""
        copy: dict[str, object] = {}
        for key, value in fields.items():
            if self._left <= 0:
                break
            try:
                copy[self._key(key)] = self._value(value, 0)
            except Exception:  # noqa: BLE001 - a container's own iterator may raise anything
                copy[self._key(key)] = f"<unprintable {type(value).__name__}>"
        return copy

    def _key(self, key: object) -> str:
        return self._text(key if isinstance(key, str) else safe_text(key, convert=str))

    def _text(self, text: str) -> str:
        if len(text) > self._text_limit:
            text = text[: self._text_limit] + "…"
        return text.encode("utf-8", "backslashreplace").decode()

    def _value(self, value: object, depth: int) -> object:
        self._left -= 1
        match value:
            case None | bool() | float():
                return value
            case str():
                return self._text(value)
            case int():
                return int(value) if value in _INT_RANGE else self._text(safe_text(value, convert=str))
            case dict() | list() | tuple() | set() | frozenset() | enum.Enum():
                return self._nested(value, depth + 1) if depth < _MAX_DEPTH else "…"
            case _:
                return self._text(str(_stand_in(value)))

    def _nested(self, value: _Container, depth: int) -> object:
        match value:
            case dict():
                return dict(self._items(value, depth))
            case enum.Enum():
                return self._value(value.value, depth)
            case _:
                return list(self._members(value, depth))

    def _items(self, mapping: dict[object, object], depth: int) -> Iterator[tuple[str, object]]:
        for key, value in mapping.items():
            if self._left <= 0:
                return
            yield self._key(key), self._value(value, depth)

    def _members(self, members: _Members, depth: int) -> Iterator[object]:
        for member in members:
            if self._left <= 0:
                return
            yield self._value(member, depth)
