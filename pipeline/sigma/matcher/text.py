"""Texts: what a rule's text, with its wildcards, asks of a text of the event; and many such asked at once.

The rule: no pattern takes more than linear time, whoever wrote it. Between two `*` stands a piece of fixed
length, and the first place where it fits is as good as any later one: a text with any number of stars is
searched once, from left to right. Pieces with a `?` and regular expressions run in RE2; where there are many
literals to look for, RE2 looks for all of them at once. (Semantics section 1, "Values and escapes".)
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Literal

import re2

from pipeline.errors import RuleError
from pipeline.sigma.form import Text, Wild

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = [
    "LONGEST_PIECE",
    "AnyOf",
    "Shape",
    "anywhere",
    "regex_position",
    "regex_predicate",
    "shape_of",
    "text_predicate",
]

LONGEST_PIECE = 1000
"""Characters between two `*` where there is a `?` among them: RE2's programs must end somewhere."""

Shape = tuple[Literal["equals", "startswith", "endswith", "contains"], str]
"""How a text without wildcards within is compared, and the text."""

_Parts = tuple["str | Wild", ...]

_SURROGATE = re.compile("[\ud800-\udfff]")
_WILD = {Wild.ONE: ".", Wild.DASH: "[-/–—―]"}  # noqa: RUF001 — the dashes of `windash`
# Measured: a call of RE2 costs 1 µs, and 1.5 ns a character however many needles; `in` 0.3 ns a needle.
_FEWEST_FOR_RE2 = 8
_WORTH_RE2 = 5000
# With more it runs out of memory for its automaton, and becomes a thousand times as slow.
_MOST_FOR_RE2 = 4000


def anywhere(test: Text) -> Text:
    """Return a test for the same text with anything around it."""
    return Text(_simplified((Wild.ANY, *test.parts, Wild.ANY)), test.cased)


def shape_of(test: Text) -> Shape | None:
    """Return the shape of a text, folded unless it is cased; None if there are wildcards within."""
    shape: Shape
    match _simplified(test.parts):
        case ():
            shape = "equals", ""
        case (str(literal),):
            shape = "equals", literal
        case (Wild.ANY,):
            shape = "contains", ""
        case (Wild.ANY, str(literal), Wild.ANY):
            shape = "contains", literal
        case (str(literal), Wild.ANY):
            shape = "startswith", literal
        case (Wild.ANY, str(literal)):
            shape = "endswith", literal
        case _:
            return None
    return shape if test.cased else (shape[0], shape[1].lower())


def text_predicate(test: Text) -> Callable[[str], bool]:
    """Return a predicate over a text (already folded unless the test is cased).

    Raises:
        RuleError: a piece with `?` is longer than `LONGEST_PIECE`.
    """
    match shape_of(test):
        case ("equals", literal):
            return literal.__eq__
        case ("startswith", literal):
            return lambda text: text.startswith(literal)
        case ("endswith", literal):
            return lambda text: text.endswith(literal)
        case ("contains", literal):
            return lambda text: literal in text
        case _:
            return _pieces_in_order(_pieces(test))


def _simplified(parts: Iterable[str | Wild]) -> _Parts:
    """Return the same parts with neighbouring texts joined, and neighbouring stars, and no empty text."""
    simple: list[str | Wild] = []
    for part in parts:
        last = simple[-1] if simple else ""
        if isinstance(part, str) and isinstance(last, str) and simple:
            simple[-1] = last + part
        elif part and not (part is Wild.ANY and last is Wild.ANY):
            simple.append(part)
    return tuple(simple)


# --- wildcards within --------------------------------------------------------------------------------


def _pieces(test: Text) -> list[_Parts]:
    """Return what stands before, between and after the stars of a text."""
    pieces: list[list[str | Wild]] = [[]]
    for part in _simplified(test.parts):
        if part is Wild.ANY:
            pieces.append([])
        else:
            pieces[-1].append(part.lower() if isinstance(part, str) and not test.cased else part)
    return [tuple(piece) for piece in pieces]


def _pieces_in_order(pieces: list[_Parts]) -> Callable[[str], bool]:
    literals = ["".join(p for p in piece if isinstance(p, str)) for piece in pieces]
    if all(isinstance(part, str) for piece in pieces for part in piece):
        return _literals_in_order(literals)
    longest = max((p for piece in pieces for p in piece if isinstance(p, str)), key=len, default="")
    if len(pieces) == 1:
        search = _regex(rf"\A{_source(pieces[0])}\z").search
        return lambda text: longest in text and search(_utf8(text)) is not None
    begins = _regex(rf"\A{_source(pieces[0])}").search
    inner = [_regex(_source(piece)).search for piece in pieces[1:-1]]
    ends = _regex(rf"{_source(pieces[-1])}\z").search

    def holds(text: str) -> bool:
        # Most texts are told by a literal already, at a fiftieth of the cost.
        if longest not in text:
            return False
        data = _utf8(text)
        found = begins(data)
        for search in inner:
            if found is None:
                return False
            found = search(data, found.end())
        return found is not None and ends(data, found.end()) is not None

    return holds


def _literals_in_order(literals: list[str]) -> Callable[[str], bool]:
    first, *middle, last = literals

    def holds(text: str) -> bool:
        if not (text.startswith(first) and text.endswith(last)):
            return False
        at, end = len(first), len(text) - len(last)
        for literal in middle:
            at = text.find(literal, at, end)
            if at < 0:
                return False
            at += len(literal)
        return at <= end

    return holds


def _source(piece: _Parts) -> str:
    length = sum(len(part) if isinstance(part, str) else 1 for part in piece)
    if length > LONGEST_PIECE:
        raise RuleError(
            f"a text of {length:,} characters with `?` among them; up to {LONGEST_PIECE:,} are possible"
            " between two `*`"
        )
    return "".join(re2.escape(_utf8(p).decode()) if isinstance(p, str) else _WILD[p] for p in piece)


# --- RE2 ----------------------------------------------------------------------------------------------


def regex_predicate(source: str) -> Callable[[str], bool]:
    """Return a predicate: whether a regular expression is found anywhere in a text, as it is written."""
    search = _regex(source, dot_is_any=False).search
    return lambda text: search(_utf8(text)) is not None


def regex_position(source: str, text: str) -> int:
    """Return where a regular expression is first found in a text, in characters; 0 if it isn't."""
    data = _utf8(text)
    match = _regex(source, dot_is_any=False).search(data)
    return len(data[: match.start()].decode("utf-8", "replace")) if match else 0


def _regex(source: str, *, dot_is_any: bool = True) -> Any:  # Any: re2 ships no types
    options = re2.Options()
    options.log_errors = False
    options.dot_nl = dot_is_any
    # Nobody asks for groups; without them RE2 never needs its slower engines.
    options.never_capture = True
    # A `$` is the end of the text here, as in Python without MULTILINE, not before a last newline.
    return re2.compile(source, options)


def _utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        # A lone surrogate has no UTF-8: it counts as what the decoders put for bytes that are none.
        return _SURROGATE.sub("\ufffd", text).encode()


class AnyOf:
    """Literals of which one is to be found in a text; owns the automaton, made when it is first worth it.

    Args:
        needles: the literals.
    """

    __slots__ = ("_alone", "_few", "_needles", "_of_ascii", "_searches")

    def __init__(self, needles: Iterable[str]) -> None:
        self._needles = tuple(dict.fromkeys(needles))
        ascii_only = [needle for needle in self._needles if needle.isascii()]
        # Most texts are ASCII, where lists of emoji and look-alikes have nothing to find.
        self._of_ascii = AnyOf(ascii_only) if len(ascii_only) < len(self._needles) else None
        self._few = len(self._needles) < _FEWEST_FOR_RE2
        self._searches: list[Callable[[bytes], object]] | None = None
        self._alone: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self._needles)

    def within(self, text: str) -> bool:
        """Return whether one of them stands in the text."""
        if self._of_ascii is not None and text.isascii():
            return self._of_ascii.within(text)
        needles = self._needles
        if not self._few and len(needles) * len(text) > _WORTH_RE2:
            return self._within_long(text)
        for needle in needles:  # noqa: SIM110 - a plain loop costs a third of a generator
            if needle in text:
                return True
        return False

    def _within_long(self, text: str) -> bool:
        if self._searches is None:
            self._searches, self._alone = self._compiled()
        if any(needle in text for needle in self._alone):
            return True
        data = text.encode("utf-8", "surrogatepass")
        return any(search(data) is not None for search in self._searches)

    def _compiled(self) -> tuple[list[Callable[[bytes], object]], tuple[str, ...]]:
        """Return searches for as many needles at a time as RE2 has room for, and the needles left."""
        alone: list[str] = []
        groups: list[list[str]] = [[]]
        room = _MOST_FOR_RE2
        for needle in self._needles:
            if len(needle) > _MOST_FOR_RE2 // 4 or _SURROGATE.search(needle):
                alone.append(needle)
                continue
            if len(needle) > room:
                groups.append([])
                room = _MOST_FOR_RE2
            room -= len(needle)
            groups[-1].append(needle)
        return [_regex("|".join(map(re2.escape, g))).search for g in groups if g], tuple(alone)
