"""Modifiers: what each of them takes, what it gives, and what it can't stand beside. The table is at the end.

Applied from left to right, each to every value; `all` and `neq` are about the item as a whole and may stand
anywhere. What is not legal by the table is refused, by naming the two that don't go together, or the one and
the value. (Sigma modifiers appendix 2.1.0; semantics section 1.)
"""

from __future__ import annotations

import enum
from functools import lru_cache
from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace

from pipeline.errors import RuleError, nearest
from pipeline.sigma.form import Null, Number, Truth
from pipeline.sigma.reader import changes
from pipeline.sigma.reader.values import Template, Value, typed, written

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pipeline.sigma.reader.placeholders import Fillings

__all__ = ["MODIFIERS", "Chain", "Kind", "Modifier", "chain_of", "flags_of"]

_MOST = 20
"""Modifiers of one item. There are about as many that can stand together; nobody reads half of them."""
_MOST_ENCODINGS = 4
"""Encodings of encodings: each makes a text up to three times as long."""


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
        encodes: whether it encodes.
        again: whether it may stand more than once, for what it gives may be encoded anew.
        fills: whether it needs the placeholders' values, and so puts them in.
        alias: the same modifier's other name.
    """

    does: changes.Change | None
    takes: Kind
    gives: Kind | None
    wants: str
    excludes: tuple[tuple[str, ...], str] = ((), "")
    first: bool = False
    field: bool = False
    single: bool = False
    encodes: bool = False
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
                made = changes.each(modifier.does, made)
            if kind is Kind.NUMBER and isinstance(made, Template):
                if isinstance(value, float):
                    raise RuleError(
                        f"|{name} looks at a text, and {value!r} may have been written otherwise, as 1.0 and"
                        " 1.00 are one number; put it into quotes"
                    )
                kind = Kind.TEXT
            if modifier.gives is not None and not kind & _LASTING:
                kind, giver = modifier.gives, name
        return made


_NONE = Chain()


@lru_cache(1024)
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
    if len(names) > _MOST:
        raise RuleError(f"{len(names):,} modifiers; up to {_MOST} are possible")
    steps = [(name, _known(name)) for name in names]
    if sum(modifier.encodes for _, modifier in steps) > _MOST_ENCODINGS:
        raise RuleError(f"encoded more than {_MOST_ENCODINGS} times; no one hides a text so deeply")
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


# --- the table --------------------------------------------------------------------------------------------

_ANYTHING = ~Kind(0)
_TEXT = Kind.TEXT | Kind.NUMBER
_CODABLE = Kind.TEXT | Kind.CODED
_FOUND = _TEXT | Kind.BYTES | Kind.CODED | Kind.REGEX | Kind.REFERENCE
_EXPANDED = Kind.TEXT | Kind.SIDED | Kind.REGEX
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


def _encoding(does: changes.Change, takes: Kind, gives: Kind, *, again: bool = True) -> Modifier:
    """Return a row for a modifier that encodes."""
    return Modifier(does, takes, gives, _PLAIN, encodes=True, again=again, fills=True)


# Each: what it does, takes, gives (None: the same), what would be right, what it excludes.
MODIFIERS: dict[str, Modifier] = {
    "all": Modifier(None, _ANYTHING, None, ""),
    "neq": Modifier(None, _ANYTHING, None, ""),
    "exists": Modifier(changes.exists, Kind.TRUTH, Kind.DONE, _TRUTH, _ALONE, field=True, single=True),
    # where in the value
    "contains": Modifier(changes.at("contains"), _FOUND | Kind.OFFSETS, Kind.SIDED, _A_TEXT, _ONE_PLACE),
    "startswith": Modifier(changes.at("startswith"), _FOUND, Kind.SIDED, _AT_AN_END, _ONE_PLACE, field=True),
    "endswith": Modifier(changes.at("endswith"), _FOUND, Kind.SIDED, _AT_AN_END, _ONE_PLACE, field=True),
    # texts
    "cased": Modifier(changes.cased, _CASED, None, "a text", _CASE_KEPT),
    "windash": Modifier(changes.windash, Kind.TEXT | Kind.SIDED, None, "a text", _ONE_SPELLING),
    "expand": Modifier(
        changes.expand, Kind.TEXT | Kind.SIDED | Kind.REGEX, None, "a text that is not encoded yet"
    ),
    # encodings
    "utf16le": Modifier(
        changes.utf16("utf-16-le"), _CODABLE, Kind.BYTES, _PLAIN, encodes=True, again=True, fills=True
    ),
    "utf16be": Modifier(
        changes.utf16("utf-16-be"), _CODABLE, Kind.BYTES, _PLAIN, encodes=True, again=True, fills=True
    ),
    "utf16": Modifier(
        changes.utf16("utf-16-le", marked=True),
        _CODABLE,
        Kind.BYTES,
        _PLAIN,
        encodes=True,
        again=True,
        fills=True,
    ),
    "base64": Modifier(
        changes.base64, _CODABLE | Kind.BYTES, Kind.CODED, _PLAIN, encodes=True, again=True, fills=True
    ),
    "base64offset": Modifier(
        changes.base64offset, _CODABLE | Kind.BYTES, Kind.OFFSETS, _PLAIN, encodes=True, fills=True
    ),
    # regular expressions
    "re": Modifier(changes.re, Kind.TEXT, Kind.REGEX, _RAW, first=True),
    "i": Modifier(changes.flag("i"), Kind.REGEX, None, _AFTER_RE),
    "m": Modifier(changes.flag("m"), Kind.REGEX, None, _AFTER_RE),
    "s": Modifier(changes.flag("s"), Kind.REGEX, None, _AFTER_RE),
    # numbers, and parts of a time in UTC
    "lt": Modifier(changes.compare("lt"), Kind.NUMBER | Kind.PART, Kind.DONE, _NUMBER_OR_PART, field=True),
    "lte": Modifier(changes.compare("lte"), Kind.NUMBER | Kind.PART, Kind.DONE, _NUMBER_OR_PART, field=True),
    "gt": Modifier(changes.compare("gt"), Kind.NUMBER | Kind.PART, Kind.DONE, _NUMBER_OR_PART, field=True),
    "gte": Modifier(changes.compare("gte"), Kind.NUMBER | Kind.PART, Kind.DONE, _NUMBER_OR_PART, field=True),
    "minute": Modifier(changes.time_part("minute"), Kind.NUMBER, Kind.PART, _A_NUMBER, field=True),
    "hour": Modifier(changes.time_part("hour"), Kind.NUMBER, Kind.PART, _A_NUMBER, field=True),
    "day": Modifier(changes.time_part("day"), Kind.NUMBER, Kind.PART, _A_NUMBER, field=True),
    "week": Modifier(changes.time_part("week"), Kind.NUMBER, Kind.PART, _A_NUMBER, field=True),
    "month": Modifier(changes.time_part("month"), Kind.NUMBER, Kind.PART, _A_NUMBER, field=True),
    "year": Modifier(changes.time_part("year"), Kind.NUMBER, Kind.PART, _A_NUMBER, field=True),
    # others
    "cidr": Modifier(changes.cidr, Kind.TEXT, Kind.DONE, _A_NETWORK, _AN_ADDRESS, field=True, fills=True),
    "fieldref": Modifier(changes.fieldref, Kind.TEXT, Kind.REFERENCE, _PLAIN, _A_NAME, field=True),
}
"""Every modifier there is, by name."""

for _alias, _name in {"wide": "utf16le", "ignorecase": "i", "multiline": "m", "dotall": "s"}.items():
    MODIFIERS[_alias] = replace(MODIFIERS[_name], alias=_name)


def flags_of(names: Iterable[str]) -> str:
    """Return the flags of a regular expression that these modifiers set, each as its letter, in order."""
    known = {MODIFIERS[name].alias or name for name in names if name in MODIFIERS}
    return "".join(sorted(known & {"i", "m", "s"}))
