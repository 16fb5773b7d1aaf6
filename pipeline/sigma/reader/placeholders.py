"""Placeholders: `%name%` in a text or a regular expression, and what is put there.

A placeholder is one only where the modifier `expand` is, and its first percent sign is not escaped. Its
values are alternatives, and may hold wildcards. One without any rejects the rule, for a rule with a hole in
it finds other things than its author meant. (Sigma rules specification 2.1.0, "Placeholders".)
"""

from __future__ import annotations

import itertools
import math
import re
from difflib import get_close_matches
from typing import TYPE_CHECKING, TypeVar

from msgspec.structs import replace

from pipeline.errors import RuleError
from pipeline.sigma.form import Wild
from pipeline.sigma.reader.values import PERCENT, Choice, Part, Placeholder, Regex, Template, joined, parts_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from pipeline.sigma.reader.values import Value

__all__ = ["MOST", "Fillings", "check_count", "dashed", "with_placeholders"]

MOST = 1000
"""Texts that one text may become: each stands in the rule from then on."""

_P = TypeVar("_P", Part, str | Placeholder)
_IN_TEXT = re.compile(rf"%(?P<name>[^%\\{PERCENT}]+)%")
# A backslash takes any meaning from what follows it.
_IN_REGEX = re.compile(r"\\.|%(?P<name>[^%\\]+)%", re.DOTALL)
_ESCAPED = re.compile(rf"{PERCENT}([^%\\{PERCENT}]+)%")
# A dash that begins a word: before it no character of a word, after it one.
_WINDASH = re.compile(r"(?<!\w)[-/–—―](?=\w)")  # noqa: RUF001 — the dashes of `windash`


def with_placeholders(value: Template | Regex) -> Template | Regex:
    r"""Return a text or a regular expression with each `%name%` in it a placeholder.

    Raises:
        RuleError: what looks like one is none, for its first percent sign is escaped. That is so in
            `C:\%user%`, where a directory was meant. No place yet.
    """
    if isinstance(value, Regex):
        found = (
            p for part in value.parts for p in (_found(part, _IN_REGEX) if isinstance(part, str) else (part,))
        )
        return replace(value, parts=tuple(found))
    parts: list[Part] = []
    for part in value.parts:
        parts.extend(_found(part, _IN_TEXT) if isinstance(part, str) else (part,))
    if not _has_any(parts):
        _refuse_escaped(parts)
    return replace(value, parts=tuple(p.replace(PERCENT, "%") if isinstance(p, str) else p for p in parts))


def _found(text: str, pattern: re.Pattern[str]) -> Iterator[str | Placeholder]:
    start = 0
    for found in pattern.finditer(text):
        if found["name"]:
            if found.start() > start:
                yield text[start : found.start()]
            yield Placeholder(found["name"])
            start = found.end()
    if start < len(text):
        yield text[start:]


def _refuse_escaped(parts: Iterable[Part]) -> None:
    for part in parts:
        if isinstance(part, str) and (found := _ESCAPED.search(part)):
            name = found[1]
            raise RuleError(
                rf"\%{name}% is no placeholder, for its first % is escaped; write \\%{name}% to mean a"
                rf" backslash and the placeholder, or \%{name}\% to mean the text"
            )


def dashed(parts: Iterable[Part]) -> tuple[Part, ...]:
    """Return the parts of a text with `Wild.DASH` where a dash begins a word, and marked placeholders."""
    made: list[Part] = []
    for part in parts:
        if isinstance(part, str):
            first, *others = _WINDASH.split(part)
            made.append(first)
            for piece in others:
                made += (Wild.DASH, piece)
        else:
            made.append(Placeholder(part.name, dashed=True) if isinstance(part, Placeholder) else part)
    return joined(made)


class Fillings:
    """The values of placeholders; owns the record of those that a rule has used.

    Attributes:
        used: name → values, of those that were asked for.
    """

    def __init__(self, values: Mapping[str, tuple[str, ...]]) -> None:
        self._values = values
        self.used: dict[str, tuple[str, ...]] = {}

    def filled(self, value: Value) -> Value:
        """Return a value without placeholders: itself, or a choice of what it may be.

        Raises:
            RuleError: a placeholder has no value, or all their values make too many texts. No place yet.
        """
        match value:
            case Choice():
                return Choice(tuple(map(self.filled, value.values)))
            case Template() if _has_any(value.parts):
                made = [Template(joined(parts), value.cased) for parts in _product(value.parts, self._parts)]
                return _choice(made)
            case Regex() if _has_any(value.parts):
                # What is put into a regular expression is a piece of one: who gives the value knows the rule.
                sources = [joined(parts) for parts in _product(value.parts, self._sources)]
                return _choice([Regex(source, value.flags, value.how) for source in sources])
            case _:
                return value

    def _parts(self, placeholder: Placeholder) -> list[tuple[Part, ...]]:
        found: list[tuple[Part, ...]] = [parts_of(text) for text in self._texts(placeholder.name)]
        return [dashed(parts) for parts in found] if placeholder.dashed else found

    def _sources(self, placeholder: Placeholder) -> list[tuple[str | Placeholder, ...]]:
        return [(text,) for text in self._texts(placeholder.name)]

    def _texts(self, name: str) -> tuple[str, ...]:
        texts = self._values.get(name, ())
        if not texts:
            close = get_close_matches(name, self._values, n=1)
            hint = f"is {close[0]!r} meant?" if close else "or leave out `expand`"
            raise RuleError(
                f"the placeholder %{name}% has no value; set `placeholders: {{{name}: [...]}}` in the"
                f" configuration, {hint}"
            )
        self.used[name] = texts
        return texts


def _has_any(parts: Sequence[Part]) -> bool:
    return any(isinstance(part, Placeholder) for part in parts)


def _choice(values: Sequence[Template | Regex]) -> Value:
    return values[0] if len(values) == 1 else Choice(tuple(values))


def _product(
    parts: Sequence[_P], options: Callable[[Placeholder], list[tuple[_P, ...]]]
) -> Iterator[Iterator[_P]]:
    """Yield the parts with each combination of the placeholders' options in their places."""
    columns = [options(part) if isinstance(part, Placeholder) else [(part,)] for part in parts]
    check_count(map(len, columns))
    return (itertools.chain.from_iterable(row) for row in itertools.product(*columns))


def check_count(columns: Iterable[int]) -> None:
    """Raise when placeholders with so many values each make too many texts of one."""
    count = math.prod(columns)
    if count > MOST:
        raise RuleError(f"its placeholders make {count:,} texts of this one; up to {MOST:,} are possible")
