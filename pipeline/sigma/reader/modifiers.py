"""Modifiers: what each of them takes, what it gives, and what it can't stand beside. The table is at the end.

Applied from left to right, each to every value; `all` and `neq` are about the item as a whole and may stand
anywhere. What is not legal by the table is refused, by naming the two that don't go together, or the one and
the value. (Sigma modifiers appendix 2.1.0; semantics section 1.)
"""

from __future__ import annotations

import enum
import ipaddress
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Literal, cast

import msgspec
from msgspec.structs import replace

from pipeline.errors import RuleError, nearest
from pipeline.sigma.form import Compare, Exists, FieldRef, Network, Null, Number, TimePart, Truth, Wild
from pipeline.sigma.matcher.subject import text_of
from pipeline.sigma.reader.encodings import base64, base64_at_any_offset, utf16
from pipeline.sigma.reader.placeholders import dashed, with_placeholders
from pipeline.sigma.reader.values import Choice, Regex, Template, Value, joined, typed, written

if TYPE_CHECKING:
    from pipeline.sigma.reader.placeholders import Fillings

__all__ = ["MODIFIERS", "Chain", "Kind", "Modifier", "chain_of"]

_Side = Literal["contains", "startswith", "endswith"]
_Order = Literal["lt", "lte", "gt", "gte"]
_Part = Literal["minute", "hour", "day", "week", "month", "year"]


_Change = Callable[[Value], Value]


class Kind(enum.Flag):
    """What a value is on its way through the modifiers."""

    TEXT = enum.auto()
    """A text of the whole value."""
    NUMBER = enum.auto()
    TRUTH = enum.auto()
    NULL = enum.auto()
    SIDED = enum.auto()
    """A text that is found at some place in the value."""
    BYTES = enum.auto()
    """A text that was encoded as UTF-16."""
    CODED = enum.auto()
    """Base64."""
    OFFSETS = enum.auto()
    """The three forms that a text may have within a longer one's Base64."""
    REGEX = enum.auto()
    REFERENCE = enum.auto()
    PART = enum.auto()
    """A part of a point in time."""
    DONE = enum.auto()
    """Nothing more can be done to it."""


_LASTING = Kind.REGEX | Kind.REFERENCE
"""What stays what it is, whatever is done to it."""
_KINDS = {Template: Kind.TEXT, Number: Kind.NUMBER, Truth: Kind.TRUTH, Null: Kind.NULL}


class Modifier(msgspec.Struct, frozen=True):
    """A row of the table.

    Attributes:
        does: what it does to a value; None: it is about the item as a whole.
        takes: the kinds of value that it works on.
        gives: the kind that it makes of them; None leaves it.
        wants: what would be right where it does not fit, after "it takes".
        excludes: modifiers that it can't stand beside, in either order, and why.
        first: whether no other may stand before it.
        field: whether it needs a field, so that keywords can't have it.
        single: whether it takes one value, no list.
        again: whether it may stand more than once, for what it gives may be encoded anew.
        fills: whether it needs the placeholders' values, and so puts them in.
        alias: the same modifier's other name.
    """

    does: _Change | None
    takes: Kind
    gives: Kind | None
    wants: str
    excludes: tuple[tuple[str, ...], str] = ((), "")
    first: bool = False
    field: bool = False
    single: bool = False
    again: bool = False
    fills: bool = False
    alias: str = ""


class Chain(msgspec.Struct, frozen=True):
    """The modifiers of one item, which go together.

    Attributes:
        steps: (name, modifier) of those that change each value.
        every: whether all values must match, not one of them.
        negated: whether the item matches where they don't.
        raw: whether a text is taken as it stands, without wildcards and escapes.
        percent: whether percent signs may be escaped.
        single: the name of a modifier that takes one value only, or empty.
    """

    steps: tuple[tuple[str, Modifier], ...] = ()
    every: bool = False
    negated: bool = False
    raw: bool = False
    percent: bool = False
    single: str = ""

    def value_of(self, value: object, fillings: Fillings) -> Value:
        """Return what a value of YAML means after these modifiers.

        Args:
            value: the scalar as written.
            fillings: what stands for placeholders, where a modifier can't wait for it.

        Raises:
            RuleError: a modifier does not fit the value. No place yet.
        """
        made: Value = typed(value, percent=self.percent)
        if self.raw and isinstance(value, str):
            made = Template((value,))
        kind, giver = _KINDS[type(made)], ""
        for name, modifier in self.steps:
            if not kind & modifier.takes:
                if giver:
                    raise RuleError(f"|{name} can't follow |{giver}: it takes {modifier.wants}")
                raise RuleError(
                    f"{written(value)} is of no type that |{name} works on: it takes {modifier.wants}"
                )
            if modifier.fills:
                made = fillings.filled(made)
            if modifier.does is not None:
                made = _each(modifier.does, made)
            if kind is Kind.NUMBER and isinstance(made, Template):
                kind = Kind.TEXT
            if modifier.gives is not None and not kind & _LASTING:
                kind, giver = modifier.gives, name
        return made


_NONE = Chain()


@cache
def chain_of(names: tuple[str, ...], *, keyword: bool) -> Chain:
    """Return the modifiers that these names stand for.

    Args:
        names: as written, in their order.
        keyword: whether there is no field.

    Raises:
        RuleError: one is not known, or they don't go together. No place yet.
    """
    if not names:
        return _NONE
    steps = [(name, _known(name)) for name in names]
    _check_order(steps)
    _check_pairs(steps)
    for name, modifier in steps:
        if keyword and modifier.field:
            raise RuleError(f"a keyword is a text, a number or a regular expression: |{name} needs a field")
    whole = {modifier.alias or name for name, modifier in steps}
    return Chain(
        steps=tuple((name, modifier) for name, modifier in steps if modifier.does is not None),
        every="all" in whole,
        negated="neq" in whole,
        raw="re" in whole,
        percent="expand" in whole,
        single=next((name for name, modifier in steps if modifier.single), ""),
    )


def _known(name: str) -> Modifier:
    if name not in MODIFIERS:
        raise RuleError(f"modifier {name!r} is not known here; {nearest(name, MODIFIERS)}")
    return MODIFIERS[name]


def _check_order(steps: list[tuple[str, Modifier]]) -> None:
    seen: dict[str, str] = {}
    before = ""
    for name, modifier in steps:
        own = modifier.alias or name
        if own in seen and not modifier.again:
            same = name if seen[own] == name else f"{name}, which is |{seen[own]},"
            raise RuleError(f"|{same} stands here twice")
        seen[own] = name
        if modifier.first and before:
            raise RuleError(f"|{name} can't follow |{before}: it takes {modifier.wants}")
        if modifier.does is not None:
            before = name


def _check_pairs(steps: list[tuple[str, Modifier]]) -> None:
    for name, modifier in steps:
        excluded, why = modifier.excludes
        for other, other_modifier in steps:
            if other != name and ("*" in excluded or (other_modifier.alias or other) in excluded):
                raise RuleError(f"|{name} and |{other} don't go together: {why}")


def _each(does: _Change, value: Value) -> Value:
    return Choice(tuple(_each(does, v) for v in value.values)) if isinstance(value, Choice) else does(value)


# --- what they do. The table has made sure of the types. ------------------------------------------------


def _at(side: _Side) -> _Change:
    def at(value: Value) -> Value:
        match value:
            case Regex() | FieldRef():
                return replace(value, how=side)
            case Number():
                return at(_text_of(value))
            case Template():
                before = () if side == "startswith" else (Wild.ANY,)
                after = () if side == "endswith" else (Wild.ANY,)
                return replace(value, parts=joined((*before, *value.parts, *after)))
            case _:
                return value

    return at


def _text_of(number: Number) -> Template:
    return Template((str(text_of(number.value)),))


def _cased(value: Value) -> Value:
    return replace(_text_of(value) if isinstance(value, Number) else value, cased=True)


def _windash(value: Value) -> Value:
    template = cast("Template", value)
    return replace(template, parts=dashed(template.parts))


def _expand(value: Value) -> Value:
    return with_placeholders(value) if isinstance(value, Template | Regex) else value


def _utf16(codec: str, *, marked: bool = False) -> _Change:
    return lambda value: utf16(cast("Template", value), codec, marked=marked)


def _base64(value: Value) -> Value:
    return base64(cast("Template", value))


def _base64offset(value: Value) -> Value:
    return base64_at_any_offset(cast("Template", value))


def _re(value: Value) -> Value:
    return Regex(tuple(map(str, cast("Template", value).parts)))


def _flag(flag: str) -> _Change:
    def flagged(value: Value) -> Value:
        regex = cast("Regex", value)
        return replace(regex, flags="".join(sorted(regex.flags + flag)))

    return flagged


def _compare(op: _Order) -> _Change:
    def compared(value: Value) -> Value:
        if isinstance(value, TimePart):
            return replace(value, op=op)
        return Compare(op, cast("Number", value).value)

    return compared


def _time_part(part: _Part) -> _Change:
    return lambda value: TimePart(part, "eq", cast("Number", value).value)


def _exists(value: Value) -> Value:
    return Exists(cast("Truth", value).value)


def _cidr(value: Value) -> Value:
    network = _without_wildcards(value, "Networks")
    try:
        return Network(str(ipaddress.ip_network(network)))
    except ValueError as error:
        hint = "10.0.0.0/8 and fd00::/8 are networks"
        if "host bits" in str(error):
            hint = f"its network is {ipaddress.ip_network(network, strict=False)}"
        raise RuleError(f"Invalid CIDR expression: {error}; {hint}") from error


def _fieldref(value: Value) -> Value:
    field = _without_wildcards(value, "Field references")
    if not field:
        raise RuleError("Field references must not be empty; name the other field")
    return FieldRef(field, cased=cast("Template", value).cased)


def _without_wildcards(value: Value, what: str) -> str:
    parts = cast("Template", value).parts
    if any(isinstance(part, Wild) for part in parts):
        raise RuleError(f"{what} must not contain wildcards; \\* and \\? are the characters themselves")
    return "".join(map(str, parts))


# --- the table --------------------------------------------------------------------------------------------

_ANYTHING = ~Kind(0)
_TEXT = Kind.TEXT | Kind.NUMBER
_CODABLE = Kind.TEXT | Kind.CODED
_FOUND = _TEXT | Kind.BYTES | Kind.CODED | Kind.REGEX | Kind.REFERENCE
_CASED = _TEXT | Kind.SIDED | Kind.BYTES | Kind.CODED | Kind.OFFSETS | Kind.REFERENCE

_A_TEXT = "a text in quotes, or a regular expression or reference made of one"
_AT_AN_END = f"{_A_TEXT}; after |base64offset there may be |contains"
_PLAIN = "a text in quotes, before it is looked for at some place in the value"
_RAW = "a text in quotes, before anything else changes it"
_AFTER_RE = "a regular expression, so it follows |re"
_A_NETWORK = "a network such as 10.0.0.0/8"
_A_NUMBER = "a number, without quotes"
_NUMBER_OR_PART = "a number, without quotes; or it follows a part of a time such as |hour"
_TRUTH = "true or false, without quotes"

_ALONE = (("*",), "it looks at presence alone")
_ONE_PLACE = (("contains", "startswith", "endswith"), "a value is looked for at one place; write two items")
_ONE_SPELLING = (
    ("base64", "base64offset", "utf16le", "utf16be", "utf16"),
    "what is encoded has one spelling; list those that are meant",
)
_CASE_KEPT = (("re",), "a regular expression respects case, unless |i follows it")
_A_NAME = (("expand", "windash"), "a field's name is taken as it stands")
_AN_ADDRESS = (("cased", "windash"), "an address is compared as a number")

# Each: what it does, takes, gives (None: the same), what would be right, what it excludes.
MODIFIERS: dict[str, Modifier] = {
    "all": Modifier(None, _ANYTHING, None, ""),
    "neq": Modifier(None, _ANYTHING, None, ""),
    "exists": Modifier(_exists, Kind.TRUTH, Kind.DONE, _TRUTH, _ALONE, field=True, single=True),
    # where in the value
    "contains": Modifier(_at("contains"), _FOUND | Kind.OFFSETS, Kind.SIDED, _A_TEXT, _ONE_PLACE),
    "startswith": Modifier(_at("startswith"), _FOUND, Kind.SIDED, _AT_AN_END, _ONE_PLACE, field=True),
    "endswith": Modifier(_at("endswith"), _FOUND, Kind.SIDED, _AT_AN_END, _ONE_PLACE, field=True),
    # texts
    "cased": Modifier(_cased, _CASED, None, "a text", _CASE_KEPT),
    "windash": Modifier(_windash, Kind.TEXT | Kind.SIDED, None, "a text", _ONE_SPELLING),
    "expand": Modifier(_expand, Kind.TEXT | Kind.SIDED | Kind.REGEX, None, "a text that is not encoded yet"),
    # encodings
    "utf16le": Modifier(_utf16("utf-16-le"), _CODABLE, Kind.BYTES, _PLAIN, again=True, fills=True),
    "utf16be": Modifier(_utf16("utf-16-be"), _CODABLE, Kind.BYTES, _PLAIN, again=True, fills=True),
    "utf16": Modifier(_utf16("utf-16-le", marked=True), _CODABLE, Kind.BYTES, _PLAIN, again=True, fills=True),
    "base64": Modifier(_base64, _CODABLE | Kind.BYTES, Kind.CODED, _PLAIN, again=True, fills=True),
    "base64offset": Modifier(_base64offset, _CODABLE | Kind.BYTES, Kind.OFFSETS, _PLAIN, fills=True),
    # regular expressions
    "re": Modifier(_re, Kind.TEXT, Kind.REGEX, _RAW, first=True),
    "i": Modifier(_flag("i"), Kind.REGEX, None, _AFTER_RE),
    "m": Modifier(_flag("m"), Kind.REGEX, None, _AFTER_RE),
    "s": Modifier(_flag("s"), Kind.REGEX, None, _AFTER_RE),
    # numbers, and parts of a time in UTC
    "lt": Modifier(_compare("lt"), Kind.NUMBER | Kind.PART, Kind.DONE, _NUMBER_OR_PART, field=True),
    "lte": Modifier(_compare("lte"), Kind.NUMBER | Kind.PART, Kind.DONE, _NUMBER_OR_PART, field=True),
    "gt": Modifier(_compare("gt"), Kind.NUMBER | Kind.PART, Kind.DONE, _NUMBER_OR_PART, field=True),
    "gte": Modifier(_compare("gte"), Kind.NUMBER | Kind.PART, Kind.DONE, _NUMBER_OR_PART, field=True),
    "minute": Modifier(_time_part("minute"), Kind.NUMBER, Kind.PART, _A_NUMBER, field=True),
    "hour": Modifier(_time_part("hour"), Kind.NUMBER, Kind.PART, _A_NUMBER, field=True),
    "day": Modifier(_time_part("day"), Kind.NUMBER, Kind.PART, _A_NUMBER, field=True),
    "week": Modifier(_time_part("week"), Kind.NUMBER, Kind.PART, _A_NUMBER, field=True),
    "month": Modifier(_time_part("month"), Kind.NUMBER, Kind.PART, _A_NUMBER, field=True),
    "year": Modifier(_time_part("year"), Kind.NUMBER, Kind.PART, _A_NUMBER, field=True),
    # others
    "cidr": Modifier(_cidr, Kind.TEXT, Kind.DONE, _A_NETWORK, _AN_ADDRESS, field=True, fills=True),
    "fieldref": Modifier(_fieldref, Kind.TEXT, Kind.REFERENCE, _PLAIN, _A_NAME, field=True),
}
"""Every modifier there is, by name."""

for _alias, _name in {"wide": "utf16le", "ignorecase": "i", "multiline": "m", "dotall": "s"}.items():
    MODIFIERS[_alias] = replace(MODIFIERS[_name], alias=_name)
