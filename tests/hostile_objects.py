"""Objects that nobody should log: what a handler has to survive, and strategies that mix them with others."""

from __future__ import annotations

import array
import collections
import collections.abc
import ctypes
import dataclasses
import datetime as dt
import decimal
import enum
import os
import pathlib
import sys
import types
import uuid
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

import numpy as np
from hypothesis import strategies as st

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "Box",
    "RudeName",
    "RuderError",
    "boxed",
    "errors",
    "exc_infos",
    "keys",
    "names",
    "refuse",
    "texts",
    "values",
]


def refuse(*_: object, **__: object) -> NoReturn:
    raise RuntimeError("no")


class Rude:
    __repr__ = __str__ = __format__ = refuse  # type: ignore[assignment]  # on purpose, as all below


class RudeEverywhere:
    __repr__ = __str__ = __hash__ = __eq__ = __iter__ = __len__ = __bool__ = __int__ = refuse  # type: ignore[assignment]  # hostile
    __getattr__ = refuse


class Lost:
    """Loses itself in its own `repr`."""

    def __repr__(self) -> str:
        return f"<{self!r}>"


class NoText:
    def __repr__(self) -> str:
        return 5  # type: ignore[return-value]  # hostile


class OddText(str):
    __slots__ = ()
    __str__ = __repr__ = __len__ = __hash__ = __eq__ = __add__ = lower = encode = refuse  # type: ignore[assignment]  # hostile


class HashedText(str):
    """One that can be a name."""

    __slots__ = ()

    def __str__(self) -> str:
        return "timestamp"


class RudeName:
    """Can be a name, but bears no comparison."""

    __repr__ = __str__ = __eq__ = refuse  # type: ignore[assignment]  # hostile
    __hash__ = object.__hash__


class OddInt(int):
    __int__ = __str__ = __repr__ = __bool__ = refuse  # type: ignore[assignment]  # hostile


class OddFloat(float):
    __float__ = __str__ = __repr__ = refuse  # type: ignore[assignment]  # hostile


class OddDict(dict[Any, Any]):
    __iter__ = items = keys = values = __len__ = __getitem__ = __bool__ = refuse  # type: ignore[assignment]  # hostile


class OddList(list[Any]):
    __iter__ = __len__ = __getitem__ = __bool__ = refuse  # type: ignore[assignment]  # hostile


class OddTuple(tuple[Any, ...]):
    __slots__ = ()
    _fields = ("a", 5)
    __iter__ = __len__ = __getitem__ = refuse  # type: ignore[assignment]  # hostile


class OddSet(set[Any]):
    __iter__ = __len__ = refuse  # type: ignore[assignment]  # hostile


class OddMapping(collections.abc.Mapping[Any, Any]):
    __getitem__ = __iter__ = refuse  # type: ignore[assignment]  # hostile

    def __len__(self) -> int:
        return 0

    def items(self) -> Any:
        return 5


class Pretender:
    """As mocks are."""

    def __init__(self, kind: type) -> None:
        self._kind = kind

    @property
    def __class__(self) -> type:  # type: ignore[override]  # hostile
        return self._kind

    __repr__ = refuse


class Meta(type):
    __repr__ = __instancecheck__ = __subclasscheck__ = refuse  # type: ignore[assignment]  # hostile
    __name__ = __module__ = property(refuse)  # type: ignore[assignment]  # hostile


class OfMeta(metaclass=Meta):
    __repr__ = refuse


class Mutating:
    """Empties what it is in."""

    def __init__(self, container: Any) -> None:
        self._container = container

    def __repr__(self) -> str:
        self._container.clear()
        return "mutating"


class Liar(enum.Enum):
    ONE = 1

    @property
    def value(self) -> NoReturn:
        refuse()


class Nested(enum.Enum):
    INNER = types.MappingProxyType({"a": [Liar.ONE, 2**70]})


class Word(enum.StrEnum):
    A = "a"


class Point(NamedTuple):
    x: object
    y: object


@dataclasses.dataclass
class Made:
    value: object
    hidden: object = dataclasses.field(default=None, repr=False)
    klass: Any = dataclasses.field(default=Rude, compare=False)


@dataclasses.dataclass(slots=True)
class Unfinished:
    value: object
    later: int = dataclasses.field(init=False)


class FakeDataclass:
    __dataclass_fields__ = 5


class OddZone(dt.tzinfo):
    utcoffset = dst = tzname = refuse  # type: ignore[assignment]  # hostile


class OddPath(os.PathLike[str]):
    __fspath__ = __str__ = refuse  # type: ignore[assignment]  # hostile


class RudeError(Exception):
    __str__ = __repr__ = refuse  # type: ignore[assignment]  # hostile


class RuderError(ValueError, metaclass=type("OddMeta", (type,), {"__module__": property(refuse)})):  # type: ignore[misc]  # hostile
    __cause__ = __context__ = __traceback__ = __notes__ = property(refuse)  # type: ignore[assignment]  # hostile


def mutating(kind: type, values: list[Any]) -> object:
    made = kind(enumerate(values)) if kind is dict else kind(values)
    if kind is dict:
        made[len(values)] = Mutating(made)
        made["last"] = 1
    else:
        made.append(Mutating(made))
        made.extend(values)
    return made


def cyclic(kind: str) -> object:
    made: Any = {"a": 1} if kind == "dict" else [1]
    if kind == "dict":
        made["self"] = made
    elif kind == "dataclass":
        made = Made(1)
        made.value = made
    else:
        made.append((made,))
    return made


def deep(depth: int) -> object:
    made: object = "bottom"
    for n in range(depth):
        made = [made] if n % 2 else {"in": made}
    return made


def _noted(error: BaseException, note: object) -> BaseException:
    error.__notes__ = note  # type: ignore[assignment]  # hostile
    return error


def _caused(error: BaseException, cause: BaseException) -> BaseException:
    error.__cause__, cause.__context__ = cause, error
    return error


texts = st.text(st.characters(codec=None), max_size=30)
# Of the event's own parts in all dialects, of secrets, and of what the logging module and structlog use.
NAMES = """
    level event timestamp logger service environment host pid exception stack exc_info callsite truncated
    trace_id span_id stack_info msg log error message @timestamp log.level Body TraceId Attributes
    error.type exception.message trace.id _logger recorded args name password token card
"""
names = st.one_of(texts, st.sampled_from(NAMES.split()))
atoms: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-(2**80), 2**80),
    st.floats(),
    texts,
    st.sampled_from(
        ["password=hunter2", "x" * 50_000, "\x00" * 50_000, "é" * 40_000, "\udc80" * 300, "\n\r\u2028"]
    ),
    st.binary(max_size=50),
    st.datetimes(timezones=st.none() | st.timezones()),
    st.dates(),
    st.times(),
    st.timedeltas(),
    st.decimals(),
    st.fractions(),
    st.complex_numbers(),
    st.uuids(),
)
EVIL: tuple[Callable[[], object], ...] = (
    Rude,
    RudeEverywhere,
    Lost,
    NoText,
    OfMeta,
    FakeDataclass,
    OddMapping,
    OddPath,
    object,
    lambda: OddText("password=x"),
    lambda: HashedText("level"),
    lambda: OddInt(5),
    lambda: OddFloat(0.5),
    lambda: OddDict(a=1),
    lambda: OddList([1]),
    lambda: OddTuple((1, 2)),
    lambda: OddSet({1}),
    lambda: Pretender(str),
    lambda: Pretender(dict),
    lambda: Pretender(int),
    lambda: Pretender(dt.datetime),
    lambda: Pretender(BaseException),
    lambda: Pretender(bytes),
    lambda: Pretender(tuple),
    lambda: OfMeta,
    lambda: Meta,
    lambda: Rude,
    lambda: Liar.ONE,
    lambda: Nested.INNER,
    lambda: Word.A,
    lambda: Unfinished(1),
    lambda: object.__new__(uuid.UUID),
    lambda: dt.datetime(2024, 1, 1, tzinfo=OddZone()),
    lambda: RudeError("x"),
    lambda: RuderError("x"),
    lambda: ValueError(Rude()),
    lambda: sys,
    lambda: len,
    lambda: 10**5000,
    lambda: array.array("d", [1.5]),
    lambda: ctypes.c_double(1),
    lambda: memoryview(b"ab"),
    lambda: memoryview(np.zeros((70, 70)))[::2],
    lambda: (n for n in "ab"),
    lambda: range(10**9),
    lambda: slice(1),
    {"a": 1}.items,
    lambda: types.SimpleNamespace(a=Rude()),
    lambda: pathlib.PurePosixPath("/a"),
    lambda: np.float32(0.1),
    lambda: np.datetime64("NaT"),
    lambda: np.array([[1, 2]]),
    lambda: np.zeros(5000),
    lambda: np.array([Rude(), None]),
    lambda: np.array(["a\udc80"]),
    lambda: np.longdouble(1),
    lambda: np.ma.masked,
    lambda: decimal.Decimal("sNaN"),
    lambda: collections.deque([1], 3),
    lambda: collections.ChainMap({"a": 1}),
    lambda: cyclic("dict"),
    lambda: cyclic("list"),
    lambda: cyclic("dataclass"),
    lambda: deep(30),
    lambda: deep(2000),
    lambda: mutating(list, ["a"] * 50),
    lambda: mutating(dict, ["a"] * 50),
    lambda: ["x" * 3000] * 300,
    lambda: {"k" * 500 + str(n): n for n in range(2000)},
)
"""Each makes an object anew."""
# By their numbers: hypothesis itself would ask them for their names.
evil: st.SearchStrategy[Any] = st.integers(0, len(EVIL) - 1).map(lambda n: EVIL[n]())
keys = st.one_of(
    names,
    st.integers(),
    st.none(),
    st.booleans(),
    st.tuples(texts),
    st.binary(max_size=5),
    st.just(HashedText("level")),
    st.builds(RudeName),
)
values = st.recursive(
    st.one_of(atoms, evil),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.tuples(inner, inner),
        st.dictionaries(keys, inner, max_size=4),
        st.builds(Point, inner, inner),
        st.builds(Made, inner, inner),
        st.builds(collections.OrderedDict, st.dictionaries(names, inner, max_size=3)),
        st.builds(types.MappingProxyType, st.dictionaries(names, inner, max_size=3)),
        st.builds(collections.deque, st.lists(inner, max_size=3)),
    ),
    max_leaves=8,
)
errors = st.one_of(
    st.builds(RudeError),
    st.builds(RuderError),
    st.builds(lambda: KeyError(Rude())),
    st.builds(lambda: OSError(2, "x" * 9_000)),
    st.builds(ValueError, values),
    st.builds(_noted, st.builds(ValueError, texts), values),
    st.builds(_caused, st.builds(ValueError, texts), st.builds(OSError, texts)),
    st.builds(
        lambda members: ExceptionGroup("g", members), st.lists(st.builds(ValueError, values), min_size=1)
    ),
)
exc_infos = st.one_of(
    st.none(),
    st.booleans(),
    errors,
    st.builds(lambda error: (type(error), error, error.__traceback__), st.builds(ValueError, texts)),
    st.sampled_from([(None, None, None), (1, 2), (), "yes", 1]),
)


class Box:
    """Holds what was drawn, since hypothesis asks everything for its `repr`."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __repr__(self) -> str:
        try:
            return f"Box({self.value!r})"[:2_000]
        except Exception:  # noqa: BLE001 - that is what it is for
            return f"Box(a {type.__dict__['__name__'].__get__(type(self.value))})"


def boxed(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Box]:
    return strategy.map(Box)
