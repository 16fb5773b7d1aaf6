"""Rules and events made to stall a matcher: each would take hours if it took more than linear time.

Sizes are given in bytes of the event, about; the outcome is known.
"""

from __future__ import annotations

import random
from itertools import cycle, islice
from typing import TYPE_CHECKING

import msgspec
import orjson

from pipeline.event import LogSource
from pipeline.sigma.form import (
    About,
    And,
    Compare,
    Exists,
    FieldRef,
    Item,
    Network,
    Node,
    Not,
    Number,
    Or,
    Pattern,
    Rule,
    Text,
    TimePart,
    Wild,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["REGEXES", "Pair", "pairs"]

ANY, ONE = Wild.ANY, Wild.ONE

REGEXES = (
    r"(a+)+$",
    r"(a|aa)+$",
    r"(a|a)*b",
    r"(.*)*x",
    r"(.*a){20}x",
    r"^(([a-z])+.)+[A-Z]([a-z])+$",
    r"(x+x+)+y",
    r"(?i)^(a?){50}a{50}b$",
    r"((a{0,9}){0,9}){0,9}b",
)
"""Regular expressions that a backtracking engine does not come back from."""


class Pair(msgspec.Struct, frozen=True):
    """A rule and an event.

    Attributes:
        name: what is tried.
        rule: the rule.
        raw: the event's bytes.
        matches: whether the one matches the other.
    """

    name: str
    rule: Rule
    raw: bytes
    matches: bool


def pairs(size: int) -> Iterator[Pair]:
    """Yield all pairs.

    Args:
        size: of an event, in bytes, about.
    """
    for makers in (_long_texts, _patterns, _wide_and_deep, _lists, _lookups, _references):
        for name, condition, event, matches in makers(size):
            raw = event if isinstance(event, bytes) else orjson.dumps(event)
            yield Pair(name, Rule(About("evil", "", name, ""), LogSource(), condition), raw, matches)


_Made = tuple[str, Node, object, bool]


def _long_texts(size: int) -> Iterator[_Made]:
    long = "a" * size
    yield "a text, contains", Item("f", Text((ANY, "a" * 50 + "b", ANY))), {"f": long}, False
    yield "a text, keyword", Item(None, Text(("needle",))), {"f": long, "g": "needle"}, True
    stars = (*islice(cycle([ANY, "a"]), 10_000), ANY)
    yield "5,000 stars, in vain", Item("f", Text((*stars, "c", ANY, "b"))), {"f": long + "b"}, False
    yield "5,000 stars", Item("f", Text((*stars, "b"))), {"f": long + "b"}, True
    pieces = tuple(islice(cycle([ANY, "a", ONE]), 1500))
    yield "500 stars and question marks", Item("f", Text((*pieces, ANY, "b"))), {"f": long}, False
    yield "999 question marks", Item("f", Text((ANY, "a", *[ONE] * 998, "b", ANY))), {"f": long}, False
    growing = "\u0130" * (size // 2)
    yield "a text that grows when folded", Item("f", Text((ANY, "i\u0307x", ANY))), {"f": growing}, False
    digits = "9" * size
    yield "a number of a million digits, as text", Item("f", Compare("gt", 5)), {"f": digits}, False
    yield "a number of a million digits", Item("f", Number(5)), b'{"f":%b}' % digits.encode(), False
    yield "a time of a million digits", Item("f", TimePart("hour", "eq", 5)), {"f": digits}, False
    yield "an address of a million digits", Item("f", Network("10.0.0.0/8")), {"f": digits}, False


def _patterns(size: int) -> Iterator[_Made]:
    long = {"f": "a" * size + "!"}
    for regex in REGEXES:
        yield f"regex {regex}", Item("f", Pattern(regex)), long, False
    # Too many states for an automaton: RE2 follows each of 900 threads.
    short = "".join(random.Random(1).choices("ab", k=size // 20))
    yield "regex a[ab]{900}x, a twentieth", Item("f", Pattern("a[ab]{900}x")), {"f": short}, False
    yield "100 regexes", Or(tuple(Item("f", Pattern(f"(a+)+{n}$")) for n in range(100))), long, False


def _wide_and_deep(size: int) -> Iterator[_Made]:
    levels = 10_000
    deep = b'{"a":' * levels + b'"x"' + b"}" * levels
    name = ".".join(["a"] * levels)
    # No JSON that the parser takes: it is matched as text.
    yield "10,000 levels", Item(name, Text(("x",))), deep, False
    levels = 1000
    deep = b'{"a":' * levels + b'"x"' + b"}" * levels
    yield "1,000 levels, a name of as many", Item(".".join(["a"] * levels), Text(("x",))), deep, True
    yield "1,000 levels, keyword", Item(None, Text(("x",))), deep, True
    keys = {f"key{n}": n for n in range(size // 20)}
    yield "100,000 keys", Item("key.none", Exists(value=True)), keys, False
    yield "100,000 keys, keyword", Item(None, Text(("none",))), keys, False


def _lists(size: int) -> Iterator[_Made]:
    many = {"f": ["xy"] * (size // 5)}
    needles = [f"needle{n:04}" for n in range(1000)]
    yield "1,000 equal to a list", Or(tuple(Item("f", Text((n,))) for n in needles)), many, False
    yield "1,000 contained in a list", Or(tuple(Item("f", Text((ANY, n, ANY))) for n in needles)), many, False
    ends = Or(tuple(Item("f", Text((ANY, n))) for n in needles[:100]))
    yield "100 ends of a list", ends, many, False
    yield "1,000 keywords in a list", Or(tuple(Item(None, Text((n,))) for n in needles)), many, False
    prose = {"f": "".join(islice(cycle("need the needles now, needless to say "), size))}
    yield (
        "1,000 contained in a text",
        Or(tuple(Item("f", Text((ANY, n, ANY))) for n in needles)),
        prose,
        False,
    )
    alike = [Item("f", Text((ANY, "a" * n + "b" + "a" * n, ANY))) for n in range(1, 300)]
    yield "300 that are all alike", Or(tuple(alike)), {"f": "a" * size}, False
    cased = Or(tuple(Item("f", Text((ANY, n, ANY), cased=True)) for n in needles))
    yield "1,000 contained in a list, cased", cased, many, False
    networks = Or(tuple(Item("f", Network(f"10.{n // 256}.{n % 256}.0/24")) for n in range(1000)))
    yield "1,000 networks and a list", networks, {"f": ["192.0.2.77"] * (size // 13)}, False
    yield "numbers in a list of texts", Item("f", Compare("lt", 5)), {"f": ["12345"] * (size // 8)}, False
    yield "regex and a list", Item("f", Pattern("(a+)+$")), many, False


def _lookups(size: int) -> Iterator[_Made]:
    parts = 1000
    name = ".".join(["a"] * parts)
    yield "a name of 1,000 parts, many ways", Item(name, Text(("x",))), _branching(size // 10), False
    yield (
        "a name of 1,000 parts, a million objects",
        Item(name, Text(("x",))),
        {"a": [{}] * (size // 3)},
        False,
    )
    some = [{"b": 1}] * (size // 8)
    yield "a name of 1,000 parts, small objects", Item(name, Text(("x",))), {"a": some}, False
    nobody = Not(Or(tuple(Item(f"{name}.{n}", Exists(value=True)) for n in range(50))))
    yield (
        "50 such names",
        And((nobody, Item("b", Exists(value=True)))),
        {"a": some[: size // 160], "b": 1},
        True,
    )


def _branching(objects: int) -> dict[str, object]:
    """Return objects within objects whose keys can be put together to one name in very many ways."""
    root: dict[str, object] = {}
    level = [root]
    left = objects
    while left > 0:
        below: list[dict[str, object]] = []
        for parent in level:
            for key in ("a", "a.a", "a.a.a"):
                child: dict[str, object] = {}
                parent[key] = child
                below.append(child)
            left -= 3
            if left <= 0:
                break
        level = below
    return root


def _references(size: int) -> Iterator[_Made]:
    count = size // 20
    mine = [f"m{n:07}" for n in range(count)]
    theirs = [f"t{n:07}" for n in range(count)]
    both = {"f": mine, "g": theirs}
    yield "two lists, equal", Item("f", FieldRef("g")), both, False
    yield "two lists, startswith", Item("f", FieldRef("g", "startswith")), both, False
    yield "two lists, endswith", Item("f", FieldRef("g", "endswith")), both, False
    yield "two lists, contains", Item("f", FieldRef("g", "contains")), both, False
    nested = {
        "f": ["a" * 500 + "b"] * (size // 1000),
        "g": ["a" * n + "c" for n in range(size // 1000 % 1000)],
    }
    yield "two lists that are all alike, startswith", Item("f", FieldRef("g", "startswith")), nested, False
