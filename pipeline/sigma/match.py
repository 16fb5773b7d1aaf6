"""The compiler: a rule's condition becomes one function over a `Subject`, made once, called often.

Each test has a small factory; the table at the end names them all. Text is folded by `str.lower` on both
sides; wildcards in the middle and regular expressions run in RE2, so no pattern takes more than linear time.
"""

from __future__ import annotations

import ipaddress
import operator
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

import re2

from pipeline.sigma.form import (
    And,
    Compare,
    Exists,
    FieldRef,
    Item,
    Network,
    Node,
    Not,
    Null,
    Number,
    Or,
    Pattern,
    Text,
    TimePart,
    Truth,
    Wild,
)
from pipeline.sigma.subject import Subject, text_of
from pipeline.sigma.time_part import time_part_predicate

if TYPE_CHECKING:
    from pipeline.sigma.form import Rule, Test

__all__ = ["Matcher", "anywhere", "compile_rule", "text_predicate"]

Matcher = Callable[[Subject], bool]

_OPERATORS: dict[str, Callable[[float, float], bool]] = {
    "lt": operator.lt,
    "lte": operator.le,
    "gt": operator.gt,
    "gte": operator.ge,
}
_NUMBER = re.compile(
    r"\s{0,9}[+-]?(?:\d{1,300}(?:\.\d{0,300})?|\.\d{1,300})(?:[eE][+-]?\d{1,3})?\s{0,9}", re.ASCII
)


def compile_rule(rule: Rule) -> Matcher:
    """Return a function that says whether an event satisfies the rule's detection.

    The log source is not looked at: whoever calls has chosen the rules that apply.
    """
    return _node(rule.condition)


def _node(node: Node) -> Matcher:
    match node:
        case Item():
            field, test = node.field, node.test
            return _keyword(test) if field is None else _TESTS[type(test)](field, test)
        case Not():
            inner = _node(node.item)
            return lambda s: not inner(s)
        case And():
            return _all(tuple(_node(i) for i in _flat(node, And)))
        case Or():
            return _any(_merged(_flat(node, Or)))


def _flat(node: And | Or, kind: type[And | Or]) -> list[Node]:
    """Return the members of a node with those of nested nodes of the same kind drawn in."""
    members: list[Node] = []
    stack: list[Node] = list(reversed(node.items))
    while stack:
        top = stack.pop()
        if isinstance(top, kind):
            stack.extend(reversed(top.items))
        else:
            members.append(top)
    return members


def _merged(nodes: list[Node]) -> tuple[Matcher, ...]:
    """Compile the members of an `Or`; those that look for a plain text in one place share one function."""
    matchers: list[Matcher] = []
    literals: dict[str | None, list[str]] = {}
    for node in nodes:
        if isinstance(node, Item) and (literal := _contained(node)) is not None:
            literals.setdefault(node.field, []).append(literal)
        else:
            matchers.append(_node(node))
    for field, needles in literals.items():
        matchers.append(_contains_any(field, tuple(dict.fromkeys(needles))))
    return tuple(matchers)


def _contained(item: Item) -> str | None:
    """Return the folded text that the item only has to contain, or None if it asks for more."""
    test = item.test
    if (
        isinstance(test, Text)
        and not test.cased
        and not any(isinstance(part, str) and "\0" in part for part in test.parts)
    ):
        parts = test.parts
        if item.field is None and len(parts) == 1 and isinstance(parts[0], str):
            return parts[0].lower()
        if len(parts) == 3 and parts[0] is parts[2] is Wild.ANY and isinstance(parts[1], str):
            return parts[1].lower()
    return None


def _contains_any(field: str | None, needles: tuple[str, ...]) -> Matcher:
    if field is None:
        return lambda s: _has_any(s.everything_folded(), needles)
    return lambda s: _has_any(s.folded(field), needles)


def _has_any(texts: tuple[str, ...], needles: tuple[str, ...]) -> bool:
    # Texts are joined, for one search of each needle; a NUL keeps them apart, and is in no needle.
    haystack = texts[0] if len(texts) == 1 else "\0".join(texts)
    for needle in needles:  # noqa: SIM110 - a plain loop costs a third of a generator
        if needle in haystack:
            return True
    return False


def _all(matchers: tuple[Matcher, ...]) -> Matcher:
    if len(matchers) == 1:
        return matchers[0]

    def all_of(s: Subject) -> bool:
        for matcher in matchers:  # noqa: SIM110 - a generator costs more than most tests
            if not matcher(s):
                return False
        return True

    return all_of


def _any(matchers: tuple[Matcher, ...]) -> Matcher:
    if len(matchers) == 1:
        return matchers[0]

    def any_of(s: Subject) -> bool:
        for matcher in matchers:  # noqa: SIM110 - as above
            if matcher(s):
                return True
        return False

    return any_of


# --- tests of a field ---------------------------------------------------------------------------------


def _text(field: str, test: Text) -> Matcher:
    holds = text_predicate(test)
    if test.cased:
        return lambda s: any(map(holds, s.texts(field)))
    return lambda s: any(map(holds, s.folded(field)))


def text_predicate(test: Text) -> Callable[[str], bool]:
    """Return a predicate over a text (already folded unless the test is cased)."""
    parts = test.parts if test.cased else tuple(p.lower() if isinstance(p, str) else p for p in test.parts)
    match parts:
        case ():
            return "".__eq__
        case (str(literal),):
            return literal.__eq__
        case (Wild.ANY,):
            return lambda _: True
        case (Wild.ANY, str(literal), Wild.ANY):
            return lambda text: literal in text
        case (str(literal), Wild.ANY):
            return lambda text: text.startswith(literal)
        case (Wild.ANY, str(literal)):
            return lambda text: text.endswith(literal)
        case _:
            regex = "".join(_WILD[p] if isinstance(p, Wild) else re2.escape(p) for p in parts)
            return _regex(f"(?s)^{regex}$").search


_WILD = {Wild.ANY: ".*", Wild.ONE: ".", Wild.DASH: "[-/–—―]"}  # noqa: RUF001 — the dashes of `windash`


class _Regex:
    """An RE2 pattern whose search says yes or no, for any text."""

    __slots__ = ("_pattern",)

    def __init__(self, pattern: Any) -> None:  # Any: re2 ships no types
        self._pattern = pattern

    def search(self, text: str) -> bool:
        # RE2 works on UTF-8; a lone surrogate has none, and no pattern can mean one.
        if not text.isascii():
            text = text.encode("utf-8", "replace").decode("utf-8")
        return self._pattern.search(text) is not None


def _regex(source: str) -> _Regex:
    options = re2.Options()
    options.log_errors = False
    # A `$` is the end of the text here, as in Python without MULTILINE, not before a last newline.
    return _Regex(re2.compile(source, options))


def _pattern(field: str, test: Pattern) -> Matcher:
    search = _regex(test.regex).search
    return lambda s: any(map(search, s.texts(field)))


def _number(field: str, test: Number) -> Matcher:
    holds = _number_predicate(test)
    return lambda s: any(map(holds, s.values(field)))


def _number_predicate(test: Number) -> Callable[[object], bool]:
    number, text = test.value, text_of(test.value)

    def equal(value: object) -> bool:
        if isinstance(value, str):
            return value == text
        return isinstance(value, int | float) and not isinstance(value, bool) and value == number

    return equal


def _truth(field: str, test: Truth) -> Matcher:
    wanted = text_of(test.value)
    return lambda s: wanted in s.folded(field)


def _null(field: str, _: Null) -> Matcher:
    def missing(s: Subject) -> bool:
        values = s.values(field)
        return not values or None in values

    return missing


def _exists(field: str, test: Exists) -> Matcher:
    wanted = test.value
    return lambda s: bool(s.values(field)) is wanted


def _network(field: str, test: Network) -> Matcher:
    network = ipaddress.ip_network(test.network)

    def inside(s: Subject) -> bool:
        return any(_address_in(text, network) for text in s.texts(field))

    return inside


def _address_in(text: str, network: ipaddress.IPv4Network | ipaddress.IPv6Network) -> bool:
    if len(text) > 64 or not (text[:1].isalnum() or text[:1] == ":"):
        return False
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    return address.version == network.version and address in network


def _compare(field: str, test: Compare) -> Matcher:
    holds, threshold = _OPERATORS[test.op], test.value

    def ordered(s: Subject) -> bool:
        for value in s.values(field):
            number = _as_number(value)
            if number is not None and holds(number, threshold):
                return True
        return False

    return ordered


def _as_number(value: object) -> int | float | None:
    if isinstance(value, str):
        return float(value) if _NUMBER.fullmatch(value) else None
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value
    return None


def _time_part(field: str, test: TimePart) -> Matcher:
    holds = time_part_predicate(test)
    return lambda s: any(map(holds, s.values(field)))


def _fieldref(field: str, test: FieldRef) -> Matcher:
    other, holds = test.field, _REFERENCES[test.how]
    if test.cased:
        return lambda s: any(holds(mine, theirs) for mine in s.texts(field) for theirs in s.texts(other))

    def refers(s: Subject) -> bool:
        return any(holds(mine, theirs) for mine in s.folded(field) for theirs in s.folded(other))

    return refers


_REFERENCES: dict[str, Callable[[str, str], bool]] = {
    "equals": str.__eq__,
    "startswith": str.startswith,
    "endswith": str.endswith,
    "contains": str.__contains__,
}

_TESTS = cast(
    "dict[type, Callable[[str, Test], Matcher]]",
    {
        Text: _text,
        Pattern: _pattern,
        Number: _number,
        Truth: _truth,
        Null: _null,
        Exists: _exists,
        Network: _network,
        Compare: _compare,
        FieldRef: _fieldref,
        TimePart: _time_part,
    },
)


# --- keywords -----------------------------------------------------------------------------------------


def _keyword(test: Test) -> Matcher:
    """Return a matcher that looks for a value anywhere in the event, but never in its keys."""
    match test:
        case Number():
            return _contains_any(None, (cast("str", text_of(test.value)),))
        case Truth():
            return _contains_any(None, (cast("str", text_of(test.value)),))
        case Pattern():
            search = _regex(test.regex).search
            return lambda s: any(map(search, s.everything()))
        case Text():
            # Anywhere: the text has wildcards around it, whether they were written or not.
            holds = text_predicate(anywhere(test))
            if test.cased:
                return lambda s: any(map(holds, s.everything()))
            return lambda s: any(map(holds, s.everything_folded()))
        case _:
            raise TypeError(f"{type(test).__name__} is no test of a whole event")


def anywhere(test: Text) -> Text:
    """Return a test for the same text with anything around it."""
    parts: list[str | Wild] = [Wild.ANY]
    for part in (*test.parts, Wild.ANY):
        if not (part is Wild.ANY and parts[-1] is Wild.ANY):
            parts.append(part)
    return Text(tuple(parts), test.cased)
