"""The tables of docs/objects.md: what becomes of objects and exceptions, as the handler really renders them.

python -m tests.objects

prints them anew. Each row is an expression; nothing stands in a table that was not rendered.
"""

from __future__ import annotations

import array
import collections
import ctypes
import dataclasses
import datetime as dt
import decimal
import enum
import fractions
import pathlib
import re
import sys
import types
import uuid
from typing import Any, NamedTuple, NoReturn

import numpy as np
import orjson

from producers.event.encoding import Limits
from producers.event.masking import Masking
from producers.event.renderer import Capture, Renderer

__all__ = ["TABLES", "tables"]

_ADDRESS = re.compile(r"0x[0-9a-f]{6,}\b")
_FRAMES = re.compile(r'"file":"[^"]*","line":\d+')


class Colour(enum.Enum):
    RED = "red"


class Level(enum.IntFlag):
    READ = 1
    WRITE = 2


class Point(NamedTuple):
    x: int
    y: int


@dataclasses.dataclass
class Order:
    number: int
    colour: Colour = Colour.RED
    card: str = dataclasses.field(default="4111", repr=False)


@dataclasses.dataclass(slots=True)
class Unfinished:
    number: int = dataclasses.field(init=False)


class Customer:
    """As pydantic, attrs and all other classes are: known by its `repr`."""

    def __repr__(self) -> str:
        return "Customer(name='Ada')"


class Rude:
    def __repr__(self) -> str:
        raise RuntimeError

    __str__ = __repr__


class Loud(str):
    """A text of a class of its own."""

    __slots__ = ()

    def __str__(self) -> str:
        return "never asked"


class Refusing(enum.Enum):
    ONE = 1

    @property
    def value(self) -> NoReturn:
        raise RuntimeError


class NoZone(dt.tzinfo):
    def utcoffset(self, _: object) -> NoReturn:
        raise RuntimeError


class RudeError(Exception):
    __module__ = "shop"

    def __str__(self) -> str:
        raise RuntimeError


def cycle() -> list[object]:
    made: list[object] = [1]
    made.append(made)
    return made


def raised(error: BaseException, cause: BaseException | None = None) -> BaseException:
    try:
        raise error from cause  # noqa: TRY301 - a traceback is what the table needs
    except BaseException as caught:  # noqa: BLE001 - whatever the table shows
        return caught


def noted(error: BaseException, note: str) -> BaseException:
    error.add_note(note)
    return error


def while_handling() -> BaseException:
    try:
        try:
            {}["k"]  # type: ignore[index]  # that is the point
        except KeyError:
            int("x")
    except ValueError as error:
        return error
    raise AssertionError


def with_locals() -> BaseException:
    try:
        _pay(17, "hunter2")
    except ValueError as error:
        return error
    raise AssertionError


def _pay(order: int, password: str) -> None:
    raise ValueError(f"no order {order}")


# Heading → expressions.
TABLES: dict[str, tuple[str, ...]] = {
    "Texts and bytes": (
        "'Grüße'",
        "'lone surrogate \\udc80'",
        "Loud('a text of a class of its own')",
        "b'caf\\xc3\\xa9 \\xff'",
        "bytearray(b'abc')",
        "memoryview(b'abc')",
        "array.array('i', [1, 2])",
    ),
    "Numbers": (
        "True",
        "17",
        "2**63",
        "2**64",
        "0.1",
        "float('nan')",
        "float('inf')",
        "decimal.Decimal('1.20')",
        "fractions.Fraction(1, 3)",
        "1+2j",
        "ctypes.c_int(5)",
    ),
    "Times": (
        "dt.datetime(2026, 11, 24, 17, 30, tzinfo=dt.UTC)",
        "dt.datetime(2026, 11, 24, 17, 30, tzinfo=dt.timezone(dt.timedelta(hours=1)))",
        "dt.datetime(2026, 11, 24, 17, 30)",
        "dt.datetime(2026, 11, 24, 17, 30, tzinfo=NoZone())",
        "dt.date(2026, 11, 24)",
        "dt.time(17, 30, 0, 5)",
        "dt.timedelta(days=1, seconds=3)",
    ),
    "Containers": (
        "[1, 'a', None]",
        "(1, 2)",
        "Point(1, 2)",
        "{'sku': 'a', 'n': 2}",
        "collections.OrderedDict(a=1)",
        "collections.Counter('aab')",
        "types.MappingProxyType({'a': 1})",
        "{'s'}",
        "frozenset({1})",
        "collections.deque([1, 2])",
        "{'a': 1}.keys()",
        "range(3)",
        "(n for n in range(3))",
        "cycle()",
    ),
    "Names of fields": (
        "{1: 'a', None: 'b', False: 'c', 2.5: 'd'}",
        "{1: 'a', '1': 'b'}",
        "{b'k': 1, Colour.RED: 2, dt.date(2026, 11, 24): 3}",
        "{('x', 1): 2}",
    ),
    "Objects": (
        "Customer()",
        "Order(17)",
        "Unfinished()",
        "Colour.RED",
        "Level.READ | Level.WRITE",
        "uuid.UUID(int=5)",
        "pathlib.PurePosixPath('/srv/shop')",
        "types.SimpleNamespace(a=1)",
        "ValueError('no order')",
        "ValueError",
        "len",
        "lambda: 1",
        "object()",
    ),
    "numpy": (
        "np.int64(5)",
        "np.float32(0.1)",
        "np.bool_(True)",
        "np.datetime64('2026-11-24')",
        "np.array([[1, 2], [3, 4]])",
        "np.array(['a', None], dtype=object)",
        "np.zeros(5000)",
    ),
    "What resists": (
        "Rude()",
        "[1, Rude()]",
        "{'a': Rude(), 'b': 2}",
        "Refusing.ONE",
        "object.__new__(uuid.UUID)",
    ),
}
_EXCEPTIONS: tuple[str, ...] = (
    "raised(ValueError('no order'))",
    "ValueError('never raised')",
    "raised(ValueError('no order'), KeyError(17))",
    "while_handling()",
    "raised(ExceptionGroup('two', [ValueError('a'), OSError('b')]))",
    "noted(ValueError('no order'), 'while paying')",
    "raised(RudeError())",
    "with_locals()",
)
_LIMITS: tuple[tuple[str, str, Limits], ...] = (
    ("max_depth=2", "[[['deep']]]", Limits(max_depth=2)),
    ("max_fields=10", "list(range(9))", Limits(max_fields=10)),
    ("max_fields=10", "dict.fromkeys('abcdefghi')", Limits(max_fields=10)),
    ("max_text=5", "'abcdefgh'", Limits(max_text=5)),
)

_SCOPE: dict[str, object] = {
    **globals(),
    **{m.__name__: m for m in (array, collections, ctypes, decimal, fractions, pathlib, types, uuid)},
    "np": np,
}


def tables() -> dict[str, str]:
    """Return the tables by their headings, in Markdown."""
    made = {
        heading: _table(("logged", "becomes"), [(code, _shown(code)) for code in rows])
        for heading, rows in TABLES.items()
    }
    made["Limits"] = _table(
        ("option", "logged", "the event has"),
        [(option, code, _limited(code, limits)) for option, code, limits in _LIMITS],
    )
    made["Exceptions"] = _table(
        ("logged with", "`exception` becomes"), [(code, _described(code)) for code in _EXCEPTIONS]
    )
    return made


def _renderer(limits: Limits = Limits(), *, variables: bool = False) -> Renderer:  # noqa: B008 - a tuple
    return Renderer(
        service="shop",
        environment="",
        host="vm",
        limits=limits,
        capture=Capture(locals=variables),
        masking=Masking(),
    )


def _shown(code: str) -> str:
    event = _renderer().entry("a", "info", {"event": "x", "value": _value(code)}).value
    return _json(orjson.loads(event)["value"])


def _limited(code: str, limits: Limits) -> str:
    event = orjson.loads(_renderer(limits).entry("a", "info", {"event": "x", "value": _value(code)}).value)
    return _json({name: event[name] for name in ("value", "truncated") if name in event})


def _described(code: str) -> str:
    by = _renderer(variables="locals" in code)
    event = by.entry("a", "error", {"event": "x", "exc_info": _value(code)}).value
    return _FRAMES.sub('"file":"…","line":7', _json(orjson.loads(event)["exception"]))


def _value(code: str) -> Any:  # Any: whatever a service may log
    return eval(code, _SCOPE)  # noqa: S307 - of our own table


def _json(value: object) -> str:
    text = _ADDRESS.sub("0x…", orjson.dumps(value).decode())
    # A cycle is cut at the usual depth, which is more than a table needs.
    return re.sub(r"(\[1,){4,}.*?\]{4,}", "[1,[1,[1,…]]]", text)


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    lines += [f"| {' | '.join(_code(cell) for cell in row)} |" for row in rows]
    return "\n".join(lines)


def _code(text: str) -> str:
    return f"`{text.replace('|', chr(92) + '|')}`"


if __name__ == "__main__":
    sys.stdout.write("\n\n".join(f"## {heading}\n\n{table}" for heading, table in tables().items()) + "\n")
