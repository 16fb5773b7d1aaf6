"""Witnesses: what must stand in an event's raw bytes whenever a rule matches it.

A witness is a set of alternatives, at least one of which is present in every event that the rule matches.
So an event without any of them needs no parsing. The witness may err towards too many events, never towards
too few; how values may be written is the business of `spelling`. (Design: "Detection, fast".)
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec

from pipeline.decode.fields import DERIVED
from pipeline.decode.levels import LEVELS
from pipeline.sigma.form import And, Item, Node, Not, Number, Or, Text
from pipeline.sigma.match import anywhere, text_predicate
from pipeline.sigma.spelling import level_patterns, literal_patterns, number_patterns
from pipeline.sigma.subject import text_of

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Witness", "witness"]

# A literal shorter than this hits so often that reading every event costs no more.
_SHORTEST = 2
# As good as a literal of so many characters: levels stand where they are looked for.
_LEVEL_WORTH = 4


class Witness(msgspec.Struct, frozen=True):
    """Alternatives, as Hyperscan patterns, and how good they are.

    Attributes:
        patterns: regular expressions over bytes, case ignored; one of them is present.
        shortest: length of the shortest literal among them, in characters: the longer the rarer.
    """

    patterns: frozenset[str]
    shortest: int


def witness(node: Node) -> Witness | None:
    """Return the best witness of a condition, or None if it has none and must always be examined."""
    match node:
        case Item():
            return _item(node)
        case Not():
            return None
        case And():
            found = [w for i in node.items if (w := witness(i)) is not None]
            return max(found, key=lambda w: (w.shortest, -len(w.patterns)), default=None)
        case Or():
            return _union(witness(i) for i in node.items)


def _union(members: Iterable[Witness | None]) -> Witness | None:
    patterns: set[str] = set()
    lengths: list[int] = []
    for member in members:
        if member is None:
            return None
        patterns |= member.patterns
        lengths.append(member.shortest)
    return Witness(frozenset(patterns), min(lengths)) if lengths else None


def _item(item: Item) -> Witness | None:
    match item:
        case Item(field=None, test=Text() as test):
            # A level is searched by its canonical word, which need not be the one that was written.
            return _union((_text(test), *_levels(anywhere(test))))
        case Item(field=None, test=Number(value=value)):
            return _literal(str(text_of(value)))
        case Item(field="level", test=Text() as test):
            return _level(test)
        case Item(field=str(field), test=Text() as test) if field not in DERIVED or field == "exception":
            # A decoder's exception is an object; a text under that name was there before.
            return _text(test)
        case Item(field=str(field), test=Number(value=value)) if field.partition(".")[0] not in DERIVED:
            return Witness(number_patterns(value), len(str(int(abs(value)))))
        case _:
            return None


def _level(test: Text) -> Witness | None:
    """A canonical level is found by its spellings, any other level by its text."""
    known = _levels(test)
    if test.parts in {(name,) for name in LEVELS}:
        return _union(known)
    return _union((_text(test), *known))


def _levels(test: Text) -> list[Witness]:
    holds = text_predicate(test)
    return [Witness(level_patterns(name), _LEVEL_WORTH) for name in LEVELS if holds(name)]


def _text(test: Text) -> Witness | None:
    runs: list[str] = []
    for part in test.parts:
        if isinstance(part, str):
            # What may be written in more than one way ends a run: control characters, non-ASCII.
            runs.extend(re.split(r"[^\x20-\x7e]+", part))
    return _literal(max(runs, key=len, default=""))


def _literal(text: str) -> Witness | None:
    return Witness(literal_patterns(text), len(text)) if len(text) >= _SHORTEST else None
