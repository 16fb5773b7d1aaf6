r"""Values: what stands in a rule's YAML, with its type; and a text as its parts.

In a text `*` and `?` are wildcards, and a backslash takes this meaning from them; before another backslash it
stands for one, before anything else for itself. So `\\*` is a backslash and a wildcard, `\\\*` a backslash
and a star. (Sigma specification 2.1.0, "Escaping"; semantics section 1.)

Values here are tests of the rules' own form, or become such once placeholders have been filled.
"""

from __future__ import annotations

import datetime as dt
import math
import re
from typing import TYPE_CHECKING, Literal, TypeVar

import msgspec

from pipeline.errors import RuleError
from pipeline.sigma.form import (
    Compare,
    Exists,
    FieldRef,
    Network,
    Null,
    Number,
    TimePart,
    Truth,
    Wild,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "DASH",
    "PERCENT",
    "Choice",
    "Part",
    "Placeholder",
    "Regex",
    "Template",
    "Value",
    "joined",
    "parts_of",
    "typed",
    "written",
]

DASH = "\U0010fffe"
"""Stands for `Wild.DASH` within a pipeline's strings: a noncharacter, which no text of a rule may hold."""

PERCENT = "\U0010ffff"
"""Stands for an escaped percent sign, where the modifier `expand` is and until it is applied: likewise."""

_SPECIAL = re.compile(r"\\[*?\\]|[*?]")
_SPECIAL_OR_PERCENT = re.compile(r"\\[*?\\%]|[*?]")
_SIGNS: dict[str, str | Wild] = {"*": Wild.ANY, "?": Wild.ONE, r"\%": PERCENT}


class Placeholder(msgspec.Struct, frozen=True):
    """What the configuration fills in.

    Attributes:
        name: what stands between the percent signs.
        dashed: whether `windash` is for its values as well.
    """

    name: str
    dashed: bool = False


Part = str | Wild | Placeholder
_P = TypeVar("_P", str | Wild, str | Placeholder, Part)


class Template(msgspec.Struct, frozen=True):
    """A text, in which placeholders may stand still.

    Attributes:
        parts: its literal pieces, wildcards and placeholders.
        cased: whether case counts.
        encoded: whether each character is a byte of an encoding.
    """

    parts: tuple[Part, ...]
    cased: bool = False
    encoded: bool = False


class Regex(msgspec.Struct, frozen=True):
    """A regular expression, in which placeholders may stand still.

    Attributes:
        parts: its text; nothing in it is a wildcard or an escape of Sigma's.
        flags: some of `ims`.
        how: where in the value it must be found; a regular expression is unanchored of itself.
    """

    parts: tuple[str | Placeholder, ...]
    flags: str = ""
    how: Literal["contains", "startswith", "endswith", "equals"] = "contains"


class Choice(msgspec.Struct, frozen=True):
    """Values of which one must match, whether or not `all` is there."""

    values: tuple[Value, ...]


Value = Template | Regex | Choice | Number | Truth | Null | Exists | Network | Compare | FieldRef | TimePart


def typed(value: object, *, percent: bool = False) -> Template | Number | Truth | Null:
    """Return a scalar of YAML as a value.

    Args:
        value: the scalar.
        percent: as of `parts_of`.

    Raises:
        RuleError: no rule can test for it; the error has no place yet.
    """
    match value:
        case str():
            if DASH in value or PERCENT in value:
                raise RuleError("U+10FFFE and U+10FFFF are no characters of a text")
            return Template(parts_of(value, percent=percent))
        case bool():
            return Truth(value)
        case int() | float():
            return Number(_number(value))
        case None:
            return Null()
        case dt.date():
            raise RuleError(f"Unsupported type: a date; put {value.isoformat()} into quotes to mean the text")
        case dict():
            raise RuleError("Unsupported type: a mapping; a nested field is written as `outer.inner`")
        case list():
            raise RuleError("a list within a list; write one list")
        case _:
            kind = type(value).__name__
            raise RuleError(f"Unsupported type: {kind}; a value is a text, a number, true, false or null")


def _number(value: float) -> int | float:
    try:
        whole = float(value).is_integer()
        finite = math.isfinite(value)
    except OverflowError:  # no event can hold an integer beyond a double's range
        whole = finite = False
    if not finite:
        raise RuleError("Invalid number: it is infinite, or none")
    return int(value) if whole else value


def written(value: object) -> str:
    """Return a scalar of YAML as people know it, for errors."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    return repr(value)


def parts_of(text: str, *, percent: bool = False) -> tuple[str | Wild, ...]:
    """Return the literal pieces and wildcards of a text.

    Args:
        text: as written.
        percent: whether percent signs may be escaped too, since there may be placeholders; `PERCENT` stands
            for those that are.
    """
    parts: list[str | Wild] = []
    start = 0
    for special in (_SPECIAL_OR_PERCENT if percent else _SPECIAL).finditer(text):
        parts.append(text[start : special.start()])
        sign = special.group()
        parts.append(_SIGNS.get(sign) or sign[1])
        start = special.end()
    if not start:
        return (text,) if text else ()
    parts.append(text[start:])
    return joined(parts)


def joined(parts: Iterable[_P]) -> tuple[_P, ...]:
    """Return the same parts with neighbouring pieces of text made one, and neighbouring `*`."""
    made: list[_P] = []
    for part in parts:
        last = made[-1] if made else None
        if isinstance(part, str) and isinstance(last, str):
            made[-1] = last + part
        elif part and not (part is Wild.ANY and last is Wild.ANY):
            made.append(part)
    return tuple(made)
