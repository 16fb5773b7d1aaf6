r"""Literals of regular expressions: texts of which one stands wherever the expression is found.

RE2's syntax is read into what each part can be: a few exact texts, or anything between a known beginning and
a known end. Whatever is not understood is taken for anything at all, or ends the reading: an expression
without literals is slow, one with wrong ones would be blind. (RE2, "Syntax"; the sets are those of Russ Cox,
"Regular Expression Matching with a Trigram Index", 2012.)
"""

from __future__ import annotations

import re
import string
from itertools import product
from typing import NamedTuple

from pipeline.sigma.matcher.rarity import worth

__all__ = ["required_literals"]

Texts = frozenset[str]

# Alternatives that are multiplied out, that are only listed, and how long one is followed.
_MULTIPLIED = 16
_LISTED = 64
_LONGEST = 64
_SMALL_CLASS = 4
_REPEATED = 4
_DEEPEST = 60
_PRINTABLE = frozenset(map(chr, range(0x20, 0x7F)))
_NOTHING: Texts = frozenset({""})


class _Piece(NamedTuple):
    """What a part of an expression can match.

    `exact`: all that it can be, or None. Else it begins with one of `head`, ends with one of `tail`, and has
    one of `best` in it (None: nothing is known). An exact piece has itself for all three.
    """

    exact: Texts | None
    head: Texts
    tail: Texts
    best: Texts | None


_ANYTHING = _Piece(None, _NOTHING, _NOTHING, None)


def required_literals(regex: str) -> frozenset[str] | None:
    """Return texts of printable ASCII in lower case, one of which is in every text that a regex is found in.

    That is to say, in the text in lower case, with `s` for LONG S and `k` for KELVIN SIGN.

    Args:
        regex: an expression that RE2 takes.

    Returns:
        The texts, none within another; or None where none can be told.
    """
    try:
        piece = _Reader(regex).read()
    except _UnknownError:
        return None
    best = piece.best
    if best is None or "" in best:
        return None
    return frozenset(t for t in best if not any(other != t and other in t for other in best))


# --- sets -----------------------------------------------------------------------------------------------


def _of(texts: Texts) -> _Piece:
    if len(texts) > _MULTIPLIED or any(len(t) > _LONGEST for t in texts):
        return _Piece(None, _NOTHING, _NOTHING, texts if len(texts) <= _LISTED else None)
    return _Piece(texts, texts, texts, texts)


def _joined(first: Texts, second: Texts) -> Texts | None:
    if len(first) * len(second) > _MULTIPLIED:
        return None
    return frozenset(a + b for a, b in product(first, second))


def _better(*sets: Texts | None) -> Texts | None:
    known = [s for s in sets if s is not None]
    return max(known, key=lambda s: (min(map(worth, s)), -len(s)), default=None)


def _then(first: _Piece, second: _Piece) -> _Piece:
    if first.exact is not None and second.exact is not None:
        exact = _joined(first.exact, second.exact)
        if exact is not None and all(len(t) <= _LONGEST for t in exact):
            return _Piece(exact, exact, exact, exact)
    middle = _joined(first.tail, second.head)
    head, tail = first.head, second.tail
    if first.exact is not None:
        head = _joined(first.exact, second.head) or head
    if second.exact is not None:
        tail = _joined(first.tail, second.exact) or tail
    return _Piece(
        None,
        frozenset(t[:_LONGEST] for t in head),
        frozenset(t[-_LONGEST:] for t in tail),
        _better(first.best, second.best, middle),
    )


def _either(first: _Piece, second: _Piece) -> _Piece:
    exact = None
    if first.exact is not None and second.exact is not None:
        exact = first.exact | second.exact
        if len(exact) <= _MULTIPLIED:
            return _Piece(exact, exact, exact, exact)
    head, tail = first.head | second.head, first.tail | second.tail
    best = first.best | second.best if first.best is not None and second.best is not None else None
    return _Piece(
        None,
        head if len(head) <= _MULTIPLIED else _NOTHING,
        tail if len(tail) <= _MULTIPLIED else _NOTHING,
        best if best is not None and len(best) <= _LISTED else None,
    )


def _times(piece: _Piece, least: int, most: int | None) -> _Piece:
    if least == 0:
        return _either(_of(_NOTHING), piece) if most == 1 else _of(_NOTHING) if most == 0 else _ANYTHING
    result = piece
    for _ in range(min(least, _REPEATED) - 1):
        result = _then(result, piece)
    if most == least <= _REPEATED:
        return result
    # More of the same may stand in between: it begins and ends as before.
    return result._replace(exact=None)


# --- reading --------------------------------------------------------------------------------------------


class _UnknownError(Exception):
    """The expression has something that this module does not read."""


_REPEAT = re.compile(r"\{(\d+)(,(\d*))?\}", re.ASCII)
_GROUP = re.compile(r"\?(?:P?<\w{1,100}>|[imsU]{0,8}(?:-[imsU]{0,8})?:)", re.ASCII)
_FLAGS = re.compile(r"\(\?[imsU]{0,8}(?:-[imsU]{0,8})?\)")
_CONTROL = frozenset("afnrtv")
_EMPTY = frozenset("AzbB")
_OCTAL = frozenset("01234567")
_HEX = re.compile(r"x(?:([0-9A-Fa-f]{2})|\{([0-9A-Fa-f]{1,6})\})")
_SEVERAL = re.compile(r"[dDsSwWC]|[pP](?:[A-Za-z]|\{\^?\w{1,64}\})", re.ASCII)
_NAMED_CLASS = re.compile(r"\[:\^?\w{1,16}:\]", re.ASCII)


class _Reader:
    """Reads one expression, from left to right."""

    def __init__(self, regex: str) -> None:
        self._text = regex
        self._at = 0
        self._depth = 0

    def read(self) -> _Piece:
        piece = self._alternatives()
        if self._at < len(self._text):
            raise _UnknownError
        return piece

    def _peek(self) -> str:
        return self._text[self._at : self._at + 1]

    def _take(self) -> str:
        char = self._peek()
        if not char:
            raise _UnknownError
        self._at += 1
        return char

    def _match(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        match = pattern.match(self._text, self._at)
        if match is not None:
            self._at = match.end()
        return match

    def _alternatives(self) -> _Piece:
        piece = self._sequence()
        while self._peek() == "|":
            self._at += 1
            piece = _either(piece, self._sequence())
        return piece

    def _sequence(self) -> _Piece:
        pieces: list[_Piece] = []
        while (char := self._peek()) and char not in "|)":
            if self._text.startswith("\\Q", self._at):
                pieces.extend(self._quoted())
            elif self._match(_FLAGS) is None:  # flags change no letter, case aside
                pieces.append(self._atom())
            while (times := self._repetition()) is not None:
                # Flags and an empty quotation are nothing: what stands before them is repeated.
                if not pieces:
                    raise _UnknownError
                pieces[-1] = _times(pieces[-1], *times)
        piece = _of(_NOTHING)
        for part in pieces:
            piece = _then(piece, part)
        return piece

    def _quoted(self) -> list[_Piece]:
        self._at += 2
        end = self._text.find("\\E", self._at)
        quoted = self._text[self._at :] if end < 0 else self._text[self._at : end]
        self._at = len(self._text) if end < 0 else end + 2
        return [_literal(char) for char in quoted]

    def _repetition(self) -> tuple[int, int | None] | None:
        char = self._peek()
        if char and char in "*+?":
            self._at += 1
            times: tuple[int, int | None] = {"*": (0, None), "+": (1, None), "?": (0, 1)}[char]
        elif (match := self._match(_REPEAT)) is not None:
            if re.search(r"(?<!\d)0\d", match.group()):
                raise _UnknownError  # a number is not written so, and these are no repetition
            least = int(match[1])
            most = least if match[2] is None else int(match[3]) if match[3] else None
            times = (least, most)
        else:
            return None
        if self._peek() == "?":
            self._at += 1
        return times

    def _atom(self) -> _Piece:
        char = self._take()
        match char:
            case "^" | "$":
                return _of(_NOTHING)
            case ".":
                return _ANYTHING
            case "(":
                return self._group()
            case "[":
                return self._class()
            case "\\":
                return self._escape()
            case "*" | "+" | "?":
                raise _UnknownError
            case _:
                return _literal(char)

    def _group(self) -> _Piece:
        if self._peek() == "?" and self._match(_GROUP) is None:
            raise _UnknownError
        self._depth += 1
        if self._depth > _DEEPEST:
            raise _UnknownError
        piece = self._alternatives()
        self._depth -= 1
        if self._take() != ")":
            raise _UnknownError
        return piece

    def _escape(self) -> _Piece:
        if self._match(_SEVERAL) is not None:
            return _ANYTHING
        if self._peek() in _EMPTY:
            self._at += 1
            return _of(_NOTHING)
        return _literal(self._escaped())

    def _escaped(self) -> str:
        """Read the rest of an escape that stands for one character."""
        if (code := self._match(_HEX)) is not None:
            number = int(code[1] or code[2], 16)
            # Beyond ASCII, any character will do: none is looked for.
            return chr(number) if number < 0x80 else "\ufffd"
        char = self._take()
        if char in _OCTAL:
            return self._octal(char)
        if char in _CONTROL:
            return "\n"
        if char in string.punctuation or char == " ":
            return char
        raise _UnknownError

    def _octal(self, first: str) -> str:
        digits = first
        while len(digits) < 3 and self._peek() and self._peek() in _OCTAL:
            digits += self._take()
        if first != "0" and len(digits) < 2:
            # RE2 has no back references.
            raise _UnknownError
        number = int(digits, 8)
        return chr(number) if number < 0x80 else "\ufffd"

    def _class(self) -> _Piece:
        """Read a class: the few characters that it stands for, or anything."""
        negated = self._peek() == "^"
        self._at += negated
        members: set[str] = set()
        known = not negated
        first = True
        while (char := self._take()) != "]" or first:
            first = False
            if char == "[" and self._peek() == ":":
                self._at -= 1
                if self._match(_NAMED_CLASS) is None:
                    raise _UnknownError
                known = False
                continue
            if char == "\\":
                if self._match(_SEVERAL) is not None:
                    known = False
                    continue
                char = self._escaped()
            last = self._upper() or char
            if last < char:
                raise _UnknownError
            if len(members) <= 2 * _SMALL_CLASS and ord(last) - ord(char) <= _SMALL_CLASS:
                members.update(map(chr, range(ord(char), ord(last) + 1)))
            else:
                known = False
        lowered = frozenset(m.lower() for m in members)
        if not known or not members or not members <= _PRINTABLE or len(lowered) > _SMALL_CLASS:
            return _ANYTHING
        return _of(lowered)

    def _upper(self) -> str:
        """Return the upper end of a range within a class, or an empty text where there is none."""
        if self._peek() != "-" or self._text[self._at + 1 : self._at + 2] in ("]", ""):
            return ""
        self._at += 1
        char = self._take()
        if char == "[":
            raise _UnknownError
        return self._escaped() if char == "\\" else char


def _literal(char: str) -> _Piece:
    return _of(frozenset({char.lower()})) if char in _PRINTABLE else _ANYTHING
