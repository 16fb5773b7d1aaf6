"""Values ⇄ pySigma's types, for processing pipelines.

What pySigma has a type for goes through a pipeline as that, so that steps may look at it and change it; what
it has none for goes through closed. Regular expressions are RE2's, so pySigma must not compile them; a dash
of `windash` is a noncharacter within its strings.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, cast

from sigma.types import (
    CompareOperators,
    SigmaBool,
    SigmaCasedString,
    SigmaCIDRExpression,
    SigmaCompareExpression,
    SigmaExists,
    SigmaExpansion,
    SigmaFieldReference,
    SigmaNull,
    SigmaNumber,
    SigmaRegularExpression,
    SigmaRegularExpressionFlag,
    SigmaString,
    SigmaTimestampPart,
    SigmaType,
    SpecialChars,
)
from sigma.types import Placeholder as SigmaPlaceholder

from pipeline.errors import RuleError
from pipeline.sigma.form import Compare, Exists, FieldRef, Network, Null, Number, TimePart, Truth, Wild
from pipeline.sigma.reader.placeholders import check_count, dashed
from pipeline.sigma.reader.values import DASH, Choice, Placeholder, Regex, Template, joined

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sigma.types import SigmaStringPartType

    from pipeline.sigma.reader.values import Part, Value

__all__ = ["from_pysigma", "to_pysigma"]

_Callback = Callable[[SigmaPlaceholder], Iterator[str | SpecialChars | SigmaPlaceholder | SigmaString]]
_How = Literal["contains", "startswith", "endswith", "equals"]
_Order = Literal["lt", "lte", "gt", "gte"]
_TimePart = Literal["minute", "hour", "day", "week", "month", "year"]

_WILDCARDS = {Wild.ANY: SpecialChars.WILDCARD_MULTI, Wild.ONE: SpecialChars.WILDCARD_SINGLE}
_WILDCARDS_BACK = {theirs: ours for ours, theirs in _WILDCARDS.items()}
_OPERATORS: dict[_Order, CompareOperators] = {
    "lt": CompareOperators.LT,
    "lte": CompareOperators.LTE,
    "gt": CompareOperators.GT,
    "gte": CompareOperators.GTE,
}
_OPERATORS_BACK = {theirs: ours for ours, theirs in _OPERATORS.items()}
_FLAGS = {
    "i": SigmaRegularExpressionFlag.IGNORECASE,
    "m": SigmaRegularExpressionFlag.MULTILINE,
    "s": SigmaRegularExpressionFlag.DOTALL,
}
_HOW: dict[tuple[bool, bool], _How] = {
    (True, True): "contains",
    (True, False): "startswith",
    (False, True): "endswith",
    (False, False): "equals",
}
_ANY_DASH = "[-/–—―]"  # noqa: RUF001 — the dashes of `windash`


def to_pysigma(value: Value) -> SigmaType:
    """Return a value as pySigma's type."""
    return _THERE[type(value)](value)


def from_pysigma(value: SigmaType, *, cased: bool, as_written: bool = False, keyword: bool = False) -> Value:
    """Return a value of pySigma's types as one of ours.

    Args:
        value: what a pipeline has left.
        cased: whether case counts: the type of a reference can't say, that of a text may be lost on the way.
        as_written: whether a regular expression that isn't ours was written by someone, not made of a text.
        keyword: whether there is no field, so that a text is found anywhere.

    Raises:
        RuleError: there is no test for it here. No place yet.
    """
    match value:
        case SigmaExpansion():
            again = partial(from_pysigma, cased=cased, as_written=as_written, keyword=keyword)
            return Choice(tuple(map(again, value.values)))
        case SigmaFieldReference():
            return FieldRef(value.field, _HOW[value.starts_with, value.ends_with], cased)
        case SigmaRegularExpression():
            return _regex(value, as_written=as_written, keyword=keyword)
        case SigmaString():
            return Template(joined(_parts_back(value.s)), cased or isinstance(value, SigmaCasedString))
        case _:
            for kind, back in _BACK.items():
                if isinstance(value, kind):
                    return back(value)
    raise RuleError(f"the processing pipeline makes a {type(value).__name__} of a value: no test is for that")


# --- their types, with what they lack ---------------------------------------------------------------------


class _Dashed(SigmaPlaceholder):
    """A placeholder whose values `windash` is for as well."""


class _Closed(SigmaType):
    """A test that pySigma has no type for."""

    def __init__(self, value: Value) -> None:
        self.value = value


class _Open(SigmaString):
    """A text with placeholders."""

    def replace_placeholders(self, callback: _Callback) -> list[SigmaString]:
        """Return the text with each combination of what `callback` has for its placeholders."""
        return [_string(_Open, parts) for parts in _product(self.s, callback)]


class _Cased(SigmaCasedString):
    """A text whose case counts, also once its placeholders have been replaced."""

    def replace_placeholders(self, callback: _Callback) -> list[SigmaString]:
        """Return the text with each combination of what `callback` has for its placeholders."""
        return [_string(_Cased, parts) for parts in _product(self.s, callback)]


class _Regex(SigmaRegularExpression):
    """A regular expression for RE2."""

    def __init__(self, parts: list[SigmaStringPartType], flags: str, how: _How) -> None:
        self.regexp = _string(SigmaString, parts)
        self.flags = {_FLAGS[flag] for flag in flags}
        self.policy = None
        self.how = how

    def compile(self) -> None:
        """Do nothing: it is checked when all is in its place."""

    def replace_placeholders(self, callback: _Callback) -> list[SigmaRegularExpression]:
        """Return it with each combination of what `callback` has for its placeholders, as pieces of it."""
        flags = _flags(self)
        return [
            _Regex([p if isinstance(p, SigmaPlaceholder) else _plain(p) for p in parts], flags, self.how)
            for parts in _product(self.regexp.s, callback)
        ]


def _product(parts: list[SigmaStringPartType], callback: _Callback) -> Iterator[list[SigmaStringPartType]]:
    columns: list[list[list[SigmaStringPartType]]] = []
    for part in parts:
        if isinstance(part, SigmaPlaceholder):
            options = [o.s if isinstance(o, SigmaString) else [o] for o in callback(part)]
            if isinstance(part, _Dashed):
                options = [_parts_there(dashed(_parts_back(option))) for option in options]
            columns.append(options)
        else:
            columns.append([[part]])
    check_count(map(len, columns))
    return (list(itertools.chain.from_iterable(row)) for row in itertools.product(*columns))


def _string(kind: type[SigmaString], parts: list[SigmaStringPartType]) -> SigmaString:
    made = kind()
    made.s = parts
    made.original = made.to_plain()
    return made._merge_strs()  # noqa: SLF001 - neighbouring pieces are one in each of its strings


# --- there --------------------------------------------------------------------------------------------------


def _text_there(value: Template) -> SigmaString:
    # A plain string wherever that will do: pySigma's conditions compare types.
    kind = _Open if any(isinstance(part, Placeholder) for part in value.parts) else SigmaString
    return _string(_Cased if value.cased else kind, _parts_there(value.parts))


def _parts_there(parts: Sequence[Part]) -> list[SigmaStringPartType]:
    made: list[SigmaStringPartType] = []
    for part in parts:
        match part:
            case Placeholder():
                made.append(_Dashed(part.name) if part.dashed else SigmaPlaceholder(part.name))
            case Wild():
                made.append(_WILDCARDS.get(part, DASH))
            case _:
                made.append(part)
    return made


def _number_there(value: float) -> SigmaNumber:
    number = SigmaNumber(0)
    number.number = value  # its own reading makes a double of a large integer
    return number


def _reference_there(value: FieldRef) -> SigmaFieldReference:
    starts, ends = value.how in {"startswith", "contains"}, value.how in {"endswith", "contains"}
    return SigmaFieldReference(value.field, starts, ends)


_THERE: dict[type, Callable[[Any], SigmaType]] = {  # Any: of our values each has attributes of its own
    Template: _text_there,
    Regex: lambda v: _Regex(_parts_there(v.parts), v.flags, v.how),
    Choice: lambda v: SigmaExpansion([to_pysigma(one) for one in v.values]),
    Number: lambda v: _number_there(v.value),
    Compare: lambda v: SigmaCompareExpression(_number_there(v.value), _OPERATORS[v.op]),
    FieldRef: _reference_there,
    Network: lambda v: SigmaCIDRExpression(v.network),
    Truth: lambda v: SigmaBool(v.value),
    Exists: lambda v: SigmaExists(v.value),
    Null: lambda _: SigmaNull(),
    TimePart: _Closed,
}


# --- and back -----------------------------------------------------------------------------------------------


def _regex(value: SigmaRegularExpression, *, as_written: bool, keyword: bool) -> Regex:
    parts = joined(
        Placeholder(p.name) if isinstance(p, SigmaPlaceholder) else _plain(p).replace(DASH, _ANY_DASH)
        for p in value.regexp.s
    )
    if isinstance(value, _Regex):
        return Regex(parts, _flags(value), value.how)
    if as_written:
        return Regex(parts, _flags(value))
    # A pipeline has written a text as a regular expression: it is still about the whole value, or if it is a
    # keyword about some part of it.
    return Regex(parts, "".join(sorted({*_flags(value), "s"})), "contains" if keyword else "equals")


def _parts_back(parts: Sequence[SigmaStringPartType]) -> list[Part]:
    made: list[Part] = []
    for part in parts:
        match part:
            case SigmaPlaceholder():
                made.append(Placeholder(part.name, dashed=isinstance(part, _Dashed)))
            case SpecialChars():
                made.append(_WILDCARDS_BACK[part])
            case _:
                first, *others = part.split(DASH)
                made.append(first)
                for piece in others:
                    made += [Wild.DASH, piece]
    return made


def _plain(part: str | SpecialChars) -> str:
    """Return a part as it is written in a regular expression, where nothing is a wildcard."""
    if isinstance(part, str):
        return part
    return "*" if part is SpecialChars.WILDCARD_MULTI else "?"


def _flags(regex: SigmaRegularExpression) -> str:
    return "".join(sorted(flag for flag, theirs in _FLAGS.items() if theirs in regex.flags))


def _compare_back(value: SigmaCompareExpression) -> Compare | TimePart:
    if value.op not in _OPERATORS_BACK:
        raise RuleError(f"the processing pipeline compares by {value.op.name}: no test is for that")
    op = _OPERATORS_BACK[value.op]
    if isinstance(value.number, SigmaTimestampPart):
        return TimePart(_part_of(value.number), op, value.number.number)
    return Compare(op, value.number.number)


def _part_of(value: SigmaTimestampPart) -> _TimePart:
    return cast("_TimePart", value.timestamp_part.name.lower())


# First match first: a part of a time is a number as well.
_BACK: dict[type[SigmaType], Callable[[Any], Value]] = {  # Any: as above, of pySigma's types
    SigmaTimestampPart: lambda v: TimePart(_part_of(v), "eq", v.number),
    SigmaNumber: lambda v: Number(v.number),
    SigmaCompareExpression: _compare_back,
    SigmaCIDRExpression: lambda v: Network(str(v.network)),
    SigmaBool: lambda v: Truth(v.boolean),
    SigmaExists: lambda v: Exists(v.exists),
    SigmaNull: lambda _: Null(),
    _Closed: lambda v: cast("TimePart", v.value),
}
