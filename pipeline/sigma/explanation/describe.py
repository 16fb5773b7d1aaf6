r"""Descriptions: a test as a person would say it, and what an event holds, so that it can only be looked at.

`CommandLine contains 'whoami'`, `the hour of timestamp ≥ 3`, `anywhere: /fail(ed|ure)/i`. Texts of rules and
events are cut, and what is not printable in them is escaped: a control character becomes its picture (`␛`),
any other its number (`\u202e`), so that no log line acts on a terminal or reads as another.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pipeline.sigma.form import (
    Compare,
    Exists,
    FieldRef,
    Item,
    Network,
    Null,
    Number,
    Pattern,
    Text,
    TimePart,
    Truth,
    Wild,
)
from pipeline.sigma.matcher.subject import text_of
from pipeline.sigma.matcher.text import anywhere, shape_of

if TYPE_CHECKING:
    from pipeline.sigma.form import Test

__all__ = ["MAX_SHOWN", "describe", "printable", "quoted", "shown"]

MAX_SHOWN = 120
"""Characters that are shown of one value; what is left out is marked by `…`."""

_MAX_NAME = 80
_SIGNS = {"lt": "<", "lte": "≤", "gt": ">", "gte": "≥", "eq": "is"}
_COMPARED = {"equals": "is", "startswith": "starts with", "endswith": "ends with", "contains": "contains"}
_FLAGS = re.compile(r"\(\?([a-zA-Z]{1,8})\)")


def describe(item: Item) -> str:
    """Return what an item asks for."""
    name = printable(item.field, _MAX_NAME) if item.field is not None else None
    test = item.test
    if name is None:
        return f"anywhere: {_keyword(test)}"
    match test:
        case TimePart():
            return f"the {test.part} of {name} {_SIGNS[test.op]} {_number(test.value)}"
        case Text(parts=parts) if parts and set(parts) == {Wild.ANY}:
            return f"{name} is any text"
        case Text():
            return f"{name} {_text(test)}"
        case _:
            return f"{name} {_test(test)}"


def _test(test: Test) -> str:
    match test:
        case Number(value=value):
            return f"is {_number(value)}"
        case Truth(value=value):
            return f"is {text_of(value)}"
        case Null():
            return "is null or missing"
        case Exists(value=value):
            return "is there" if value else "is missing"
        case Pattern():
            return f"matches {_regex(test)}"
        case Network(network=network):
            return f"is in {network}"
        case Compare(op=op, value=value):
            return f"{_SIGNS[op]} {_number(value)}"
        case FieldRef(field=field, how=how):
            return f"{_COMPARED[how]} the value of {printable(field, _MAX_NAME)}{_cased(test)}"
        case _:
            raise TypeError(f"{type(test).__name__} has no description")


def _keyword(test: Test) -> str:
    match test:
        case Text():
            inner = anywhere(test).parts[1:-1]
            return f"{quoted(_written(inner))}{_cased(test)}{_dashes(test)}"
        case Number(value=value) | Truth(value=value):
            return str(text_of(value))
        case Pattern():
            return _regex(test)
        case _:
            raise TypeError(f"{type(test).__name__} is no test of a whole event")


def _text(test: Text) -> str:
    parts = test.parts
    begins, ends = parts[:1] == (Wild.ANY,), parts[-1:] == (Wild.ANY,)
    inner = parts[begins : len(parts) - ends]
    if Wild.ANY in inner or Wild.ONE in inner:
        how, text = "is like", quoted(_written(parts, escaped=True))
    else:
        shape = shape_of(Text(tuple("-" if part is Wild.DASH else part for part in parts), cased=True))
        how = _COMPARED[shape[0]] if shape else "is like"
        text = quoted(_written(inner))
    return f"{how} {text}{_cased(test)}{_dashes(test)}"


def _written(parts: tuple[str | Wild, ...], *, escaped: bool = False) -> str:
    """Return a text as it stands in a rule, at least as far as people need it."""
    signs = {Wild.ANY: "*", Wild.ONE: "?", Wild.DASH: "-"}
    texts: list[str] = []
    for part in parts:
        if isinstance(part, Wild):
            texts.append(signs[part])
        else:
            texts.append(re.sub(r"[*?]", r"\\\g<0>", part) if escaped else part)
    return "".join(texts)


def _cased(test: Text | FieldRef) -> str:
    return " (cased)" if test.cased else ""


def _dashes(test: Text) -> str:
    return " (any dash)" if Wild.DASH in test.parts else ""


def _regex(test: Pattern) -> str:
    flags = _FLAGS.match(test.regex)
    source = test.regex[flags.end() :] if flags else test.regex
    return f"/{printable(source, MAX_SHOWN)}/{flags[1] if flags else ''}"


def _number(value: float) -> str:
    return printable(str(text_of(value)), _MAX_NAME)


# --- what an event holds ------------------------------------------------------------------------------


def printable(text: str, limit: int = MAX_SHOWN, around: int = 0) -> str:
    """Return a text that only shows itself.

    Args:
        text: anything.
        limit: how many characters of it to show.
        around: a position in it that is to be seen.
    """
    start = 0
    if len(text) > limit:
        start = min(max(around - limit // 3, 0), len(text) - limit)
    cut = text[start : start + limit]
    if not cut.isprintable():
        cut = "".join(c if c.isprintable() else _escaped(c) for c in cut)
    return ("…" if start else "") + cut + ("…" if start + limit < len(text) else "")


def _escaped(char: str) -> str:
    code = ord(char)
    if code < 0x20:
        return chr(0x2400 + code)
    if code == 0x7F:
        return "␡"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def quoted(text: str, around: int = 0) -> str:
    """Return a text as `printable` does, in quotes, with how much there is where it was cut."""
    quote = '"' if "'" in text and '"' not in text else "'"
    size = f" ({len(text):,} characters)" if len(text) > MAX_SHOWN else ""
    return f"{quote}{printable(text, MAX_SHOWN, around)}{quote}{size}"


def shown(value: object, around: int = 0) -> str:
    """Return any value of an event for people to see: texts in quotes, objects and lists by their size."""
    if isinstance(value, str):
        return quoted(value, around)
    if value is None:
        return "null"
    if isinstance(value, dict):
        return f"an object of {len(value):,}"
    if isinstance(value, list):
        return f"a list of {len(value):,}"
    return _number(value) if isinstance(value, int | float) else type(value).__name__
