"""JSON of whatever a service logs: always valid, always bounded, never an exception.

Nearly every event is plain: texts and numbers, which orjson takes as they are. Anything else is copied first,
within limits; `objects` says what becomes of what. So orjson only ever sees values that no code of the
service's can change under it.
"""

from __future__ import annotations

from itertools import count, islice
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

import orjson

from producers.event.objects import Members, Pairs, digits, formed, safe_text, unprintable

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

__all__ = ["MIN_EVENT_BYTES", "Copy", "Encoded", "Encoder", "Limits", "in_utf8"]

# Escapes make at most six bytes of a character, so the smallest of the copies below always fits, beside what
# the event form adds itself.
MIN_EVENT_BYTES: Final = 32_768
# orjson and Python have limits of their own, which a copy must not reach.
_DEEPEST = 100
_CUT = "…"
# Characters of a text that is not worth counting.
_SHORT = 256
# Characters that a name keeps in any case, so that ours are always whole.
_NAME = 64

_OPTIONS = (
    orjson.OPT_PASSTHROUGH_SUBCLASS | orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_DATETIME
)
_NUMBERS = frozenset({bool, float, type(None), int})
_LEAST_INT, _GREATEST_INT = -(2**63), 2**64 - 1


Encoded: TypeAlias = "tuple[bytes, Collection[str], str]"
"""The JSON of an event, with the names and the texts that are in it, for whoever looks for secrets."""


class Limits(NamedTuple):
    """How much of an event is sent.

    Attributes:
        max_event_bytes: most bytes of JSON.
        max_depth: most objects and arrays within one another, in one of the caller's fields.
        max_fields: most values, those within others counted in.
        max_text: most characters of one text, and of a name that has more than 64.
    """

    max_event_bytes: int = 256 * 1024
    max_depth: int = 16
    max_fields: int = 1_000
    max_text: int = 32_768

    def check(self) -> None:
        """Refuse limits that no event could keep.

        Raises:
            ValueError: one is out of range.
        """
        for name, least in (("max_event_bytes", MIN_EVENT_BYTES), ("max_fields", 10), ("max_text", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, not {getattr(self, name)}")
        if not 0 <= self.max_depth <= _DEEPEST:
            raise ValueError(f"max_depth must be 0 to {_DEEPEST}, not {self.max_depth}")


class Encoder:
    """Makes JSON objects within limits."""

    def __init__(self, limits: Limits, reserved: frozenset[str] = frozenset()) -> None:
        """Take the limits.

        Args:
            limits: how much to encode.
            reserved: names that no name may become that is no text.
        """
        self._limits = limits
        self._reserved = reserved
        self._max_text = limits.max_text
        self._max_fields = limits.max_fields
        self._max_name = max(limits.max_text, _NAME)

    def encode(self, fields: dict[str, object], own: Mapping[str, object] | None, room: int) -> Encoded:
        """Return the fields as one JSON object without newlines.

        What is beyond the limits is cut, last fields first, and the object then says `"truncated": true`.

        Args:
            fields: what the event says, the most important first; at least one. It is not changed.
            own: what we add ourselves; bounded by its making, so that only the limit of bytes is for it.
            room: most bytes to return.
        """
        names: Collection[str] = fields
        encoded, texts, plain = b"", "", True
        for value in fields.values():
            kind = type(value)
            if kind is str:
                texts += value  # type: ignore[operator]  # mypy doesn't follow `kind`
            elif kind not in _NUMBERS:
                plain = False
                break
        if plain and len(texts) <= self._max_text and len(fields) <= self._max_fields:
            try:
                encoded = orjson.dumps(fields, None, _OPTIONS)
            except TypeError:
                # A lone surrogate, a number of more than 64 bits, a name that is no text.
                plain = False
            else:
                plain = len(encoded) <= self._max_name or max(map(len, fields)) <= self._max_name
        else:
            plain = False
        if not plain:
            copy = Copy(self._limits, self._reserved)
            encoded = orjson.dumps(copy.fields(fields), None, _OPTIONS)
            names, texts = copy.names, "".join(copy.texts)
        if own:
            added = _trusted(own)
            encoded = encoded[:-1] + b"," + added[1:]
            texts += added.decode()
        if len(encoded) > room:
            encoded = _shrunk(encoded, room)
        return encoded, names, texts

    def again(self, fields: dict[str, object], room: int) -> bytes:
        """Return JSON of what was JSON, no larger than it may be.

        Args:
            fields: as `orjson.loads` gives them, perhaps changed since.
            room: most bytes to return.
        """
        encoded = _trusted(fields)
        return encoded if len(encoded) <= room else _shrunk(encoded, room)


class Copy:
    """A copy of fields that orjson takes, bounded in depth, number of values and length of texts.

    Attributes:
        names: those of all that it has copied.
        texts: likewise all texts.
    """

    def __init__(self, limits: Limits, reserved: frozenset[str] = frozenset()) -> None:
        """Set the limits, and the names that no name of a field may become.

        That of bytes counts characters here: it keeps the work within bounds, and is not exact.
        """
        self._reserved = reserved
        self._max_text = limits.max_text
        self._max_fields = limits.max_fields
        self._max_depth = limits.max_depth
        self._short = min(limits.max_text, _SHORT)
        self._room = limits.max_event_bytes
        self._left = 0
        self._cut = False
        self.names: set[str] = set()
        self.texts: list[str] = []

    def fields(self, fields: Mapping[str, object]) -> dict[str, object]:
        """Return a copy of an event's fields; it says so if something had to be cut.

        Each field has its place, however much there is in those before it.
        """
        self._left = self._max_fields - len(fields)
        self._cut = self._left < 0
        copy: dict[str, object] = {}
        for name, value in islice(fields.items(), self._max_fields):
            try:
                shown = self._value(value, 0)
            except Exception:  # noqa: BLE001 - no stack or no memory left
                shown = self._text(unprintable(value))
            if type(name) is str:
                copy[self._name(name, copy)] = shown
            else:
                copy[self._name(name, self._reserved | copy.keys())] = shown
        if self._cut:
            # Said before, by a copy that this is a copy of; else somebody's own.
            if copy.get("truncated", True) is not True:
                copy[_unused("truncated_", copy)] = copy["truncated"]
            copy["truncated"] = True
        self.names.update(copy)
        return copy

    def _value(self, value: Any, depth: int) -> object:  # Any: a union that `kind` is to tell apart
        kind = type(value)
        if kind is str:
            if len(value) > self._short or not value.isascii():
                value = self._text(value)
            self.texts.append(value)
            return value
        if kind in _NUMBERS and (kind is not int or _LEAST_INT <= value <= _GREATEST_INT):
            return value
        most = self._left + 1 if self._left > 0 else 1
        # Taken out in one step, in which no other thread can change the container.
        if kind is dict:
            return self._object(list(islice(value.items(), most)), depth)
        if kind is list:
            return self._array(value[:most], depth)
        return self._formed(value, depth, most)

    def _formed(self, value: object, depth: int, most: int) -> object:
        """Return what becomes of any other object."""
        if type(value) is int:
            return self._value(safe_text(value, convert=digits), depth)  # type: ignore[arg-type]  # it is an int
        try:
            shown = formed(value, most)
        except Exception:  # noqa: BLE001 - the object's own code runs in there
            return self._text(unprintable(value))
        if type(shown) is Pairs:
            return self._object(shown, depth)
        if type(shown) is Members:
            return self._array(shown, depth)
        # A text or a number, or what an enum's member stands for, maybe another one.
        return self._value(shown, depth + 1) if depth < _DEEPEST else self._end()

    def _object(self, pairs: list[tuple[object, object]], depth: int) -> object:
        if depth >= self._max_depth:
            return self._end()
        copy: dict[str, object] = {}
        for name, value in pairs:
            if self._left <= 0:
                copy[_CUT] = self._end()
                break
            self._left -= 1
            # Nearly every name is good as it is.
            if type(name) is not str or len(name) > self._short or not name.isascii() or name in copy:
                copy[self._name(name, copy)] = self._value(value, depth + 1)
            else:
                copy[name] = self._value(value, depth + 1)
        self.names.update(copy)
        return copy

    def _array(self, members: list[object], depth: int) -> object:
        if depth >= self._max_depth:
            return self._end()
        copy: list[object] = []
        for value in members:
            if self._left <= 0:
                copy.append(self._end())
                break
            self._left -= 1
            copy.append(self._value(value, depth + 1))
        if len(copy) == 2 and type(copy[0]) is str:
            # A name and its value, as libraries for HTTP list headers.
            self.names.add(copy[0])
        return copy

    def _name(self, name: object, taken: Collection[str]) -> str:
        """Return a name as text, which none of those taken is."""
        if type(name) is not str:
            name = self._name_of(name)
        text = self._text(name, least=_NAME)
        return text if text not in taken else _unused(text + "_", taken)

    def _name_of(self, value: object) -> str:
        """Return the text of what is no text: as it would be shown, if that is one."""
        if value is None or type(value) is bool:
            return str(orjson.dumps(value), "ascii")
        try:
            shown = formed(value, 0) if type(value) not in _NUMBERS else None
        except Exception:  # noqa: BLE001 - as in `_value`
            return unprintable(value)
        return shown if type(shown) is str else safe_text(value, convert=str)

    def _text(self, text: str, least: int = 0) -> str:
        limit = max(self._max_text, least)
        if len(text) > limit or len(text) > self._room:
            limit = min(limit, max(self._room, _SHORT))
            if len(text) > limit:
                self._cut = True
                text = text[:limit] + _CUT
        self._room -= len(text)
        return text if text.isascii() else in_utf8(text)

    def _end(self) -> str:
        self._cut = True
        return _CUT


def in_utf8(text: str) -> str:
    """Return a text that UTF-8 can hold: one without lone surrogates."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "backslashreplace").decode()
    return text


def _unused(name: str, taken: Collection[str]) -> str:
    """Return a name that is free, made of one with an underscore behind it."""
    if name not in taken:
        return name
    return next(f"{name}{n}_" for n in count(len(taken)) if f"{name}{n}_" not in taken)


def _trusted(fields: Mapping[str, object]) -> bytes:
    """Return JSON of what is bounded already."""
    try:
        return orjson.dumps(fields, None, _OPTIONS)
    except TypeError:
        return orjson.dumps(Copy(_UNBOUNDED).fields(fields), None, _OPTIONS)


_UNBOUNDED = Limits(2**62, _DEEPEST, 2**62, 2**62)
# Characters of a text and values of an event, ever fewer until it fits.
_SMALLER = ((8_192, 500), (512, 100), (64, 20))


def _shrunk(encoded: bytes, room: int) -> bytes:
    fields: dict[str, object] = orjson.loads(encoded)
    for max_text, max_fields in _SMALLER:
        copy = Copy(Limits(room, _DEEPEST, max_fields, max_text)).fields(fields)
        copy["truncated"] = True
        encoded = orjson.dumps(copy, None, _OPTIONS)
        if len(encoded) <= room:
            break
    return encoded
