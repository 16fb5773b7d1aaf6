"""References: one field's texts against another's, any with any.

Both may be lists, as long as an event can hold: pairs are never tried one by one. Equal texts are found by a
set, beginnings and ends by bisection; of texts to be contained, for which there is no such way, no more than
`MOST_CONTAINED` are looked for. (Sigma modifiers appendix 2.1.0, `fieldref`.)
"""

from __future__ import annotations

from bisect import bisect_right
from itertools import islice
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

__all__ = ["MOST_CONTAINED", "reference_predicate"]

MOST_CONTAINED = 1000
"""Distinct elements of the other field's list that are looked for; those behind them are not."""

_Texts = tuple[str, ...]


def reference_predicate(
    how: Literal["equals", "startswith", "endswith", "contains"],
) -> Callable[[_Texts, _Texts], bool]:
    """Return a predicate over the texts of a field and those of the field that it refers to."""
    return _PREDICATES[how]


def _equal(mine: _Texts, theirs: _Texts) -> bool:
    if len(mine) == 1:
        return mine[0] in theirs
    return not set(mine).isdisjoint(theirs)


def _begins(mine: _Texts, theirs: _Texts) -> bool:
    if not (mine and theirs):
        return False
    if len(theirs) == 1:
        return any(text.startswith(theirs[0]) for text in mine)
    return _one_begins(mine, _shortest(theirs))


def _ends(mine: _Texts, theirs: _Texts) -> bool:
    if not (mine and theirs):
        return False
    if len(theirs) == 1:
        return any(text.endswith(theirs[0]) for text in mine)
    return _one_begins((text[::-1] for text in mine), _shortest(text[::-1] for text in theirs))


def _shortest(beginnings: Iterable[str]) -> list[str]:
    """Return beginnings of which none begins another, sorted: those that are left out ask for more."""
    kept: list[str] = []
    for text in sorted(set(beginnings)):
        if not (kept and text.startswith(kept[-1])):
            kept.append(text)
    return kept


def _one_begins(texts: Iterable[str], beginnings: Sequence[str]) -> bool:
    # What begins a text stands right before it in their order, or is it: all between begin with it as well.
    for text in texts:
        at = bisect_right(beginnings, text) - 1
        if at >= 0 and text.startswith(beginnings[at]):
            return True
    return False


def _contained(mine: _Texts, theirs: _Texts) -> bool:
    if not mine:
        return False
    needles = list(islice(dict.fromkeys(theirs), MOST_CONTAINED))
    if len(mine) == 1:
        return any(needle in mine[0] for needle in needles)
    # Joined, each needle is one search. What stands between is a character that none of them holds.
    held = set().union(*needles)
    between = next(char for char in map(chr, range(0x110000)) if char not in held)
    whole = between.join(mine)
    return any(needle in whole for needle in needles)


_PREDICATES: dict[str, Callable[[_Texts, _Texts], bool]] = {
    "equals": _equal,
    "startswith": _begins,
    "endswith": _ends,
    "contains": _contained,
}
