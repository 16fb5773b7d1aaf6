"""Rules and events of every kind, drawn so that they often match, and the outcome, found the slow way."""

from __future__ import annotations

import ipaddress
import operator
from typing import TYPE_CHECKING, Any

import re2
from hypothesis import strategies as st

from pipeline.event import Event, LogSource
from pipeline.sigma.form import (
    About,
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
    Rule,
    Text,
    TimePart,
    Truth,
    Wild,
)
from pipeline.sigma.matcher.subject import Subject, text_of
from pipeline.sigma.matcher.time_part import part_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipeline.sigma.form import Test

Fields = dict[str, object]

# --- drawn -------------------------------------------------------------------------------------------

FRAGMENTS = ["a", "b", "A", "ab", "Ba", "é", "\u0130", "\u212a", "k", "\0", "\n", "-", "–", "5", "", "*"]  # noqa: RUF001 — look-alikes
NAMES = ["a", "b", "a.b", "b.a", "a.a", "a.b.a"]
fragments = st.lists(st.sampled_from(FRAGMENTS), max_size=3).map("".join)
parts = st.lists(fragments | st.sampled_from(list(Wild)), max_size=5).map(tuple)
numbers = st.sampled_from([0, 1, 5, -5, 5.0, 5.5, 10**30, 1_795_537_450])
networks = st.sampled_from(
    ["10.0.0.0/8", "10.1.0.0/16", "192.0.2.7/32", "0.0.0.0/0", "2001:db8::/32", "::/0"]
)
tests: st.SearchStrategy[Test] = st.one_of(
    st.builds(Text, parts, st.booleans()),
    st.builds(lambda t: Text((t,)), fragments),
    st.builds(lambda t, c: Text((Wild.ANY, t, Wild.ANY), c), fragments, st.booleans()),
    st.builds(lambda t, c: Text((t, Wild.ANY), c), fragments, st.booleans()),
    st.builds(lambda t, c: Text((Wild.ANY, t), c), fragments, st.booleans()),
    st.builds(Number, numbers),
    st.builds(Truth, st.booleans()),
    st.builds(Pattern, st.sampled_from(["a+b", "^a", "(?i)a.b", "b$", "é", "5"])),
)
field_tests: st.SearchStrategy[Test] = st.one_of(
    tests,
    st.builds(Null),
    st.builds(Exists, st.booleans()),
    st.builds(Network, networks),
    st.builds(Compare, st.sampled_from(["lt", "lte", "gt", "gte"]), numbers),
    st.builds(
        FieldRef,
        st.sampled_from(NAMES),
        st.sampled_from(["equals", "startswith", "endswith", "contains"]),
        st.booleans(),
    ),
    st.builds(TimePart, st.sampled_from(["minute", "hour", "year"]), st.sampled_from(["eq", "gte"]), numbers),
)
items = st.builds(Item, st.none(), tests) | st.builds(Item, st.sampled_from(NAMES), field_tests)
identifiers = st.sampled_from(["", "", "selection", "1 of filter_*"])
# Many alternatives of one field, as the compiler puts together and the explanation folds.
listed = st.builds(
    lambda field, tests, name: Or(tuple(Item(field, t) for t in tests), name),
    st.sampled_from(NAMES),
    st.lists(field_tests, min_size=1, max_size=20),
    identifiers,
)
nodes: st.SearchStrategy[Node] = st.recursive(
    items | listed,
    lambda inner: (
        st.builds(lambda n, name: And(tuple(n), name), st.lists(inner, min_size=1, max_size=4), identifiers)
        | st.builds(lambda n, name: Or(tuple(n), name), st.lists(inner, min_size=1, max_size=4), identifiers)
        | st.builds(Not, inner)
    ),
    max_leaves=6,
)
addresses = st.sampled_from(["10.1.2.3", "192.0.2.7", "2001:DB8::1", "10.1.2", "1.2.3.4 "])
times = st.sampled_from(["2026-11-24T05:05:00Z", "1795537450", 1_795_537_450])
scalars = fragments | fragments | addresses | times | numbers | st.booleans() | st.none()
objects = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=3),
    max_leaves=8,
)
fields = st.dictionaries(st.sampled_from(NAMES), objects, max_size=4)
events = st.builds(
    lambda f, text, structured: Event(0, f, text, structured=structured), fields, fragments, st.booleans()
)


def rule_of(condition: Node) -> Rule:
    return Rule(About("r", "", "R", ""), LogSource(), condition)


# --- decided the slow way ------------------------------------------------------------------------------


def holds(node: Node, event: Event) -> bool:
    match node:
        case And():
            return all(holds(n, event) for n in node.items)
        case Or():
            return any(holds(n, event) for n in node.items)
        case Not():
            return not holds(node.item, event)
        case Item(field=None, test=test):
            return any(_anywhere(test, text) for text in Subject(event).texts(None))
        case Item(field=field, test=test):
            return _field(test, look_up(event.fields, str(field)), event)


def _anywhere(test: Test, text: str) -> bool:
    if isinstance(test, Number | Truth):
        return str(text_of(test.value)) in text.lower()
    if isinstance(test, Text):
        test = Text((Wild.ANY, *test.parts, Wild.ANY), test.cased)
    return _one(test, text)


def _field(test: Test, values: list[object], event: Event) -> bool:
    match test:
        case Null():
            return not values or None in values
        case Exists(value=value):
            return bool(values) is value
        case FieldRef(field=other, how=how, cased=cased):
            mine, theirs = _texts(values, cased), _texts(look_up(event.fields, other), cased)
            compare = {"equals": str.__eq__, "contains": str.__contains__}.get(how) or getattr(str, how)
            return any(compare(m, t) for m in mine for t in theirs)
        case _:
            return any(_one(test, value) for value in values)


def _texts(values: list[object], cased: bool) -> list[str]:
    texts = [t for v in values if (t := text_of(v)) is not None]
    return texts if cased else [t.lower() for t in texts]


def _one(test: Test, value: object) -> bool:
    """Whether one value satisfies a test; what it can't be compared with satisfies none."""
    try:
        return _DECIDED[type(test)](test, value, text_of(value))
    except (ValueError, TypeError):
        return False


def _text(test: Text, _: object, text: str | None) -> bool:
    if text is None:
        return False
    cased = test.cased
    signs = [c for p in test.parts for c in ((p if cased else p.lower()) if isinstance(p, str) else [p])]
    return _fits(signs, text if cased else text.lower())


def _number(test: Number, value: object, text: str) -> bool:
    return value == text_of(test.value) if isinstance(value, str) else _numeric(value) == test.value


def _compare(test: Compare, value: object, text: str) -> bool:
    number = float(text) if isinstance(value, str) else _numeric(value)
    return bool(_ORDER[test.op](number, test.value))


def _time(test: TimePart, value: object, _: object) -> bool:
    return bool(_ORDER[test.op](part_of(test.part, value), test.value))


def _numeric(value: object) -> int | float:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value
    raise ValueError(value)


_ORDER: dict[str, Callable[[Any, Any], bool]] = {
    "eq": operator.eq,
    "lt": operator.lt,
    "lte": operator.le,
    "gt": operator.gt,
    "gte": operator.ge,
}
# Each raises for a value that is of no type to be compared, as for a text that is None.
_DECIDED: dict[type, Callable[[Any, Any, Any], bool]] = {
    Text: _text,
    Number: _number,
    Truth: lambda test, _, text: text.lower() == text_of(test.value) if text is not None else False,
    Pattern: lambda test, _, text: re2.search(test.regex, text) is not None if text is not None else False,
    Network: lambda test, _, text: ipaddress.ip_address(text) in ipaddress.ip_network(test.network),
    Compare: _compare,
    TimePart: _time,
}


def _fits(signs: list[str | Wild], text: str) -> bool:
    """Whether a text fits characters and wildcards: which of them can be reached after each character."""
    ends = {0}
    for sign in signs:
        if sign is Wild.ANY:
            ends = set(range(min(ends), len(text) + 1)) if ends else set()
        else:
            ends = {e + 1 for e in ends if e < len(text) and _is(sign, text[e])}
    return len(text) in ends


def _is(sign: str | Wild, char: str) -> bool:
    if sign is Wild.ONE:
        return True
    return char in "-/–—―" if sign is Wild.DASH else char == sign  # noqa: RUF001 — the dashes of `windash`


def look_up(fields: Fields | object, name: str) -> list[object]:
    """Look a dotted name up by trying every way, the longest key first."""
    if isinstance(fields, list):
        return [found for e in fields if isinstance(e, dict) for found in look_up(e, name)]
    if not isinstance(fields, dict):
        return []
    if name in fields:
        value = fields[name]
        return (value or [None]) if isinstance(value, list) else [value]
    for end in range(len(name) - 1, 0, -1):
        if name[end] == "." and (found := look_up(fields.get(name[:end]), name[end + 1 :])):
            return found
    return []
