"""Changes: what each modifier does to a value.

Each works on the types that its row of the table takes (`modifiers.MODIFIERS`), which has made sure of them;
what else may be wrong with a value is told here, without a place yet. (Sigma modifiers appendix 2.1.0.)
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from typing import Literal, cast

from msgspec.structs import replace

from pipeline.errors import RuleError
from pipeline.sigma.form import Compare, Exists, FieldRef, Network, Number, TimePart, Truth, Wild
from pipeline.sigma.matcher.subject import text_of
from pipeline.sigma.reader import encodings
from pipeline.sigma.reader.placeholders import dashed, with_placeholders
from pipeline.sigma.reader.values import Choice, Regex, Template, Value, joined

__all__ = [
    "Change",
    "at",
    "base64",
    "base64offset",
    "cased",
    "cidr",
    "compare",
    "each",
    "exists",
    "expand",
    "fieldref",
    "flag",
    "re",
    "time_part",
    "utf16",
    "windash",
]

Change = Callable[[Value], Value]
"""Makes another value of one."""

_Side = Literal["contains", "startswith", "endswith"]
_Order = Literal["lt", "lte", "gt", "gte"]
_Part = Literal["minute", "hour", "day", "week", "month", "year"]


def each(does: Change, value: Value) -> Value:
    """Return a value after a change, which is made to each of a choice."""
    return Choice(tuple(each(does, v) for v in value.values)) if isinstance(value, Choice) else does(value)


def at(side: _Side) -> Change:
    """Look at one place in the value: for a text, a regular expression, or what a reference leads to."""

    def change(value: Value) -> Value:
        match value:
            case Regex() | FieldRef():
                return replace(value, how=side)
            case Number():
                return change(_text_of(value))
            case Template():
                before = () if side == "startswith" else (Wild.ANY,)
                after = () if side == "endswith" else (Wild.ANY,)
                return replace(value, parts=joined((*before, *value.parts, *after)))
            case _:
                return value

    return change


def _text_of(number: Number) -> Template:
    return Template((str(text_of(number.value)),))


def cased(value: Value) -> Value:
    """Respect case."""
    return replace(_text_of(value) if isinstance(value, Number) else value, cased=True)


def windash(value: Value) -> Value:
    """Take any of the dashes where one begins a word."""
    template = cast("Template", value)
    return replace(template, parts=dashed(template.parts))


def expand(value: Value) -> Value:
    """Find the placeholders."""
    return with_placeholders(value) if isinstance(value, Template | Regex) else value


def utf16(codec: str, *, marked: bool = False) -> Change:
    """Encode as UTF-16; `marked`: with a byte order mark."""
    return lambda value: encodings.utf16(cast("Template", value), codec, marked=marked)


def base64(value: Value) -> Value:
    """Encode as Base64."""
    return encodings.base64(cast("Template", value))


def base64offset(value: Value) -> Value:
    """Encode as Base64 of which no one knows where in a longer text it begins."""
    return encodings.base64_at_any_offset(cast("Template", value))


def re(value: Value) -> Value:
    """Take a text as a regular expression."""
    return Regex(tuple(map(str, cast("Template", value).parts)))


def flag(letter: str) -> Change:
    """Set a flag of a regular expression."""

    def change(value: Value) -> Value:
        regex = cast("Regex", value)
        return replace(regex, flags="".join(sorted(regex.flags + letter)))

    return change


def compare(op: _Order) -> Change:
    """Compare with a number, or by one with a part of a time."""

    def change(value: Value) -> Value:
        if isinstance(value, TimePart):
            return replace(value, op=op)
        return Compare(op, cast("Number", value).value)

    return change


def time_part(part: _Part) -> Change:
    """Look at a part of a point in time."""
    return lambda value: TimePart(part, "eq", cast("Number", value).value)


def exists(value: Value) -> Value:
    """Look at presence alone."""
    return Exists(cast("Truth", value).value)


def cidr(value: Value) -> Value:
    """Take an address within a network.

    Raises:
        RuleError: it is none.
    """
    network = _without_wildcards(value, "Networks")
    try:
        return Network(str(ipaddress.ip_network(network)))
    except ValueError as error:
        hint = "10.0.0.0/8 and fd00::/8 are networks"
        if "host bits" in str(error):
            hint = f"its network is {ipaddress.ip_network(network, strict=False)}"
        raise RuleError(f"Invalid CIDR expression: {error}; {hint}") from error


def fieldref(value: Value) -> Value:
    """Take another field's value.

    Raises:
        RuleError: what is there is no field's name.
    """
    field = _without_wildcards(value, "Field references")
    if not field:
        raise RuleError("Field references must not be empty; name the other field")
    return FieldRef(field, cased=cast("Template", value).cased)


def _without_wildcards(value: Value, what: str) -> str:
    parts = cast("Template", value).parts
    if any(isinstance(part, Wild) for part in parts):
        raise RuleError(f"{what} must not contain wildcards; \\* and \\? are the characters themselves")
    return "".join(map(str, parts))
