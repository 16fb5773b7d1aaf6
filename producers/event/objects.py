"""What an object becomes that JSON has no form for: the one table of it, whatever way an event takes.

Here code of the service's own may run (`__repr__`, properties, iterators), and raise anything. It runs here,
in Python, and never inside orjson: that reads lists and dictionaries by address, so that one which changes
meanwhile, or an enum whose `value` raises, would end the process. (docs/objects.md shows the table.)
"""

from __future__ import annotations

import collections
import datetime as dt
import enum
import numbers
import os
import sys
import uuid
from collections.abc import ItemsView, KeysView, Mapping, ValuesView
from itertools import islice
from typing import TYPE_CHECKING, Any

import orjson

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["Members", "Pairs", "digits", "formed", "plain_text", "safe_text", "text_of", "unprintable"]

_TEXT_LIMIT = 2_048
_AS_STR = (numbers.Number, os.PathLike, uuid.UUID, dt.timedelta)
_BYTES = (bytes, bytearray, memoryview)
# What is iterated without the service's code, of these and of what is derived from them.
_COLLECTIONS = (set, frozenset, collections.deque, KeysView, ValuesView, ItemsView)


class Pairs(list[tuple[object, object]]):
    """Names and values of what becomes an object."""


class Members(list[object]):
    """Values of what becomes an array."""


def formed(value: object, most: int) -> object:
    """Return an object in a form nearer to JSON.

    That is a text, a number, None, `Pairs`, `Members`, or the value of an enum, which may need forming again.
    All but the last are of exactly these types.

    Args:
        value: any object but an exact str, int, float, bool or None.
        most: most members to take out of a container. It is a snapshot, taken in one step.

    Raises:
        Exception: whatever the object's own code raises.
    """
    # Not `isinstance`, which believes an object that calls itself something else.
    kind = type(value)
    if issubclass(kind, enum.Enum):
        return value.value  # type: ignore[attr-defined]  # mypy doesn't follow `kind`
    for base, form in _FORMS:
        if issubclass(kind, base):
            return form(value, most)
    # Whoever made such an object has loaded these; they are not worth loading for us.
    numpy = sys.modules.get("numpy")
    if numpy is not None and issubclass(kind, (numpy.ndarray, numpy.generic)):
        return _numpy(value, most)
    if issubclass(kind, _AS_STR):
        return safe_text(value, convert=str)
    dataclasses = sys.modules.get("dataclasses")
    if dataclasses is not None and dataclasses.is_dataclass(kind):
        return _dataclass(value, dataclasses.fields(value))
    return safe_text(value)


def safe_text(value: object, limit: int = _TEXT_LIMIT, convert: Callable[[object], str] = repr) -> str:
    """Return the text of an object, cut after `limit` characters.

    Args:
        value: any object, its `__repr__` and `__str__` not trusted.
        limit: most characters to keep.
        convert: `repr` or `str`.
    """
    try:
        text = plain_text(convert(value))
    except Exception:  # noqa: BLE001 - the object's own code runs here and may raise anything
        return unprintable(value)
    return text if len(text) <= limit else text[:limit] + "…"


def digits(number: int) -> str:
    """Return a number of any size as text; Python writes no more than some thousand decimal digits."""
    try:
        return str(number)
    except ValueError:
        return f"{number:#x}"


def plain_text(text: str) -> str:
    """Return a text of a class of its own as a mere text, whatever its `__str__` says."""
    return text if type(text) is str else str.__str__(text)


def text_of(value: object) -> str | None:
    """Return a text as a mere one, and None for all that only calls itself a text."""
    return str.__str__(value) if issubclass(type(value), str) else None


def unprintable(value: object) -> str:
    """Return what stands for an object whose own code raises."""
    # By way of `type`: a metaclass may raise as well.
    name: object = type.__dict__["__name__"].__get__(type(value))
    return f"<unprintable {name}>"


def _bytes(value: bytes | bytearray | memoryview, _: int) -> str:
    if isinstance(value, memoryview):
        value = value.tobytes() if value.nbytes <= _TEXT_LIMIT else value.cast("B")
    text = bytes(value[:_TEXT_LIMIT]).decode("utf-8", "backslashreplace")
    return text if len(value) <= _TEXT_LIMIT else text + "…"


def _tuple(value: tuple[object, ...], most: int) -> Pairs | Members:
    members = tuple.__iter__(value)
    names = getattr(type(value), "_fields", None)
    if type(names) is tuple and len(names) == tuple.__len__(value):
        return Pairs(islice(zip(names, members, strict=True), most))
    return Members(islice(members, most))


def _moment(value: dt.datetime | dt.date | dt.time, _: int) -> str:
    text = plain_text(value.isoformat())
    return text[:-6] + "Z" if text.endswith("+00:00") else text


def _dataclass(value: object, fields: Iterable[Any]) -> Pairs:
    """Return the fields that the class's `repr` shows; what is left out there is not meant to be seen."""
    pairs = Pairs()
    for field in fields:
        if field.repr:
            try:
                pairs.append((field.name, getattr(value, field.name)))
            except AttributeError:
                pairs.append((field.name, "<unset>"))
            except Exception:  # noqa: BLE001 - a property, which may raise anything
                pairs.append((field.name, "<unprintable>"))
    return pairs


def _numpy(value: Any, most: int) -> object:  # Any: of a library that need not be there
    if value.size >= most:
        return safe_text(value)
    try:
        # Single and half precision come out as short as they were put in.
        shown: object = orjson.loads(orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY))
    except TypeError:
        shown = (value.astype(str) if value.dtype.kind in "mM" else value).tolist()
    if type(shown) is list:
        return Members(shown)
    # Numbers that Python has none for remain what they were.
    return safe_text(value, convert=str) if type(shown) is type(value) else shown


def _pairs(items: Callable[[Any], Iterable[tuple[object, object]]]) -> Callable[[Any, int], Pairs]:
    return lambda value, most: Pairs(islice(items(value), most))


def _members(of: Callable[[Any], Iterable[object]]) -> Callable[[Any, int], Members]:
    return lambda value, most: Members(islice(of(value), most))


# The first that fits. What is derived from a built-in class counts as that, whatever it overrides.
# Any: each takes what its class says.
_FORMS: tuple[tuple[Any, Callable[[Any, int], object]], ...] = (
    (dict, _pairs(dict.items)),
    (list, _members(list.__iter__)),
    (tuple, _tuple),
    (str, lambda value, _: str.__str__(value)),
    (int, lambda value, _: int.__int__(value)),
    (float, lambda value, _: float.__float__(value)),
    (_BYTES, _bytes),
    (_COLLECTIONS, _members(iter)),
    ((dt.datetime, dt.date, dt.time), _moment),
    (Mapping, _pairs(lambda value: value.items())),
)
