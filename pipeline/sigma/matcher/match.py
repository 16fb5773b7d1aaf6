"""The compiler: a rule's condition becomes one function over a `Subject`, made once, called often.

Each test has a small factory; the table at the end names them all. Text is folded by `str.lower` on both
sides. What the members of an `Or` ask of one field is asked at once, however many they are; no test takes
more than linear time in the size of the rule or of the event.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, cast

from pipeline.errors import RuleError
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
)
from pipeline.sigma.matcher.network import network_predicate
from pipeline.sigma.matcher.reference import reference_predicate
from pipeline.sigma.matcher.regex_literals import required_literals
from pipeline.sigma.matcher.subject import Subject, text_of
from pipeline.sigma.matcher.text import AnyOf, anywhere, regex_predicate, shape_of, text_predicate
from pipeline.sigma.matcher.time_part import time_part_predicate

if TYPE_CHECKING:
    from pipeline.sigma.form import Rule, Test

__all__ = ["DEEPEST", "Matcher", "anywhere", "compile_node", "compile_rule", "text_predicate"]

DEEPEST = 120
"""Conditions may nest as deep: each level is a call within a call. What the reader takes comes to 110."""

Matcher = Callable[[Subject], bool]

# With more, looking for them costs as much as the regular expression.
_MOST_LITERALS = 8
_OPERATORS: dict[str, Callable[[float, float], bool]] = {
    "lt": operator.lt,
    "lte": operator.le,
    "gt": operator.gt,
    "gte": operator.ge,
}
_NUMBERS_AND_TEXTS = frozenset({int, float, str})
_NUMBER = re.compile(
    r"\s{0,9}[+-]?(?:\d{1,300}(?:\.\d{0,300})?|\.\d{1,300})(?:[eE][+-]?\d{1,3})?\s{0,9}", re.ASCII
)


def compile_rule(rule: Rule) -> Matcher:
    """Return a function that says whether an event satisfies the rule's detection.

    The log source is not looked at: whoever calls has chosen the rules that apply.

    Raises:
        RuleError: the condition nests deeper than `DEEPEST`, or a text with `?` is too long.
    """
    try:
        return compile_node(rule.condition)
    except RuleError as error:
        about = rule.about
        raise RuleError(error.message, file=about.file, line=about.line, path="detection") from error


def compile_node(node: Node) -> Matcher:
    """Return a function that says whether an event satisfies a part of a condition.

    Raises:
        RuleError: as of `compile_rule`.
    """
    return _node(node, 0, {})


def _node(node: Node, depth: int, made: dict[tuple[int, int], Matcher]) -> Matcher:
    """Return the matcher of a node; `made`: those of the same condition by their nodes and depths."""
    if depth > DEEPEST:
        raise RuleError(f"the condition is nested too deeply; {DEEPEST} levels are possible")
    # An identifier that is named twice is one node below two others.
    if (matcher := made.get((id(node), depth))) is None:
        matcher = made[id(node), depth] = _made(node, depth, made)
    return matcher


def _made(node: Node, depth: int, made: dict[tuple[int, int], Matcher]) -> Matcher:
    match node:
        case Item():
            return _item(node)
        case Not():
            inner = _node(node.item, depth + 1, made)
            return lambda s: not inner(s)
        case And():
            # What is cheap to ask decides most events before what is dear has its turn.
            members = sorted(_flat(node, And), key=_cost)
            return _all(tuple(_node(i, depth + 1, made) for i in members))
        case Or():
            together, others = _together(_flat(node, Or))
            return _any((*together, *(_node(i, depth + 1, made) for i in others)))


def _item(item: Item) -> Matcher:
    field, test = item.field, item.test
    return _keyword(test) if field is None else _TESTS[type(test)](field, test)


def _flat(node: And | Or, kind: type[And | Or]) -> list[Node]:
    """Return the members of a node with those of nested nodes of the same kind drawn in, each once."""
    members: dict[int, Node] = {}
    stack: list[Node] = list(reversed(node.items))
    while stack:
        top = stack.pop()
        if isinstance(top, kind):
            stack.extend(reversed(top.items))
        else:
            members.setdefault(id(top), top)
    return list(members.values())


_KEYWORD_COST = 20
_COSTS: dict[type, int] = {Pattern: 10, Network: 4, FieldRef: 3, TimePart: 5, Compare: 2}


def _cost(node: Node) -> int:
    """Return roughly how much more a node costs to ask than one plain text of one field."""
    cost = 0
    waiting: list[Node] = [node]
    while waiting:
        match waiting.pop():
            case Item(field=None):
                cost += _KEYWORD_COST
            case Item(test=Text() as test) if shape_of(test) is None:
                cost += 2
            case Item(test=test):
                cost += _COSTS.get(type(test), 1)
            case Not(item=item):
                waiting.append(item)
            case And(items=items) | Or(items=items):
                waiting.extend(items)
    return cost


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


# --- what an Or asks of one field, at once ------------------------------------------------------------


def _together(nodes: list[Node]) -> tuple[list[Matcher], list[Node]]:
    """Return matchers for the members that can share one, and the members left."""
    texts: dict[tuple[str | None, bool], list[Text]] = {}
    numbers: dict[str, list[int | float]] = {}
    networks: dict[str, list[str]] = {}
    others: list[Node] = []
    for node in nodes:
        match node:
            case Item(field=field, test=Text() as test):
                texts.setdefault((field, test.cased), []).append(anywhere(test) if field is None else test)
            case Item(field=None, test=Number(value=value) | Truth(value=value)):
                texts.setdefault((None, False), []).append(anywhere(Text((str(text_of(value)),))))
            case Item(field=str(field), test=Number(value=value)):
                numbers.setdefault(field, []).append(value)
            case Item(field=str(field), test=Network(network=network)):
                networks.setdefault(field, []).append(network)
            case _:
                others.append(node)
    matchers = [_numbers(field, values) for field, values in numbers.items()]
    matchers += [m for (field, cased), tests in texts.items() for m in _texts(field, tests, cased=cased)]
    matchers += [_on_texts(field, network_predicate(wanted)) for field, wanted in networks.items()]
    return matchers, others


def _texts(field: str | None, tests: list[Text], *, cased: bool) -> list[Matcher]:
    """Return matchers for texts of which one is to be found under a field; the cheapest first."""
    by_shape: dict[str, list[str]] = {}
    matchers: list[Matcher] = []
    for test in tests:
        if (shape := shape_of(test)) is None:
            matchers.append(_on_texts(field, text_predicate(test), cased=cased))
        else:
            by_shape.setdefault(shape[0], []).append(shape[1])
    return [_OF_SHAPE[s](field, by_shape[s], cased) for s in _OF_SHAPE if s in by_shape] + matchers


def _on_texts(field: str | None, holds: Callable[[str], bool], *, cased: bool = True) -> Matcher:
    """Return a matcher that asks each text under a field, as written or folded."""

    def as_written(s: Subject) -> bool:
        for text in s.texts(field):  # noqa: SIM110 - a generator costs more than most tests
            if holds(text):
                return True
        return False

    def folded(s: Subject) -> bool:
        for text in s.folded(field):  # noqa: SIM110 - as above
            if holds(text):
                return True
        return False

    return as_written if cased else folded


def _equals(field: str | None, literals: list[str], cased: bool) -> Matcher:  # noqa: FBT001 - as in the table
    if len(literals) == 1:
        (literal,) = literals
        return (lambda s: literal in s.texts(field)) if cased else (lambda s: literal in s.folded(field))
    wanted = frozenset(literals)
    if cased:
        return lambda s: not wanted.isdisjoint(s.texts(field))
    return lambda s: not wanted.isdisjoint(s.folded(field))


def _begins(field: str | None, literals: list[str], cased: bool) -> Matcher:  # noqa: FBT001 - as above
    wanted = tuple(dict.fromkeys(literals))
    if cased:
        return _on_texts(field, lambda text: text.startswith(wanted))

    def begins(s: Subject) -> bool:
        for text in s.folded(field):  # noqa: SIM110 - a generator, or a call within, costs more than the test
            if text.startswith(wanted):
                return True
        return False

    return begins


def _ends(field: str | None, literals: list[str], cased: bool) -> Matcher:  # noqa: FBT001 - as above
    wanted = tuple(dict.fromkeys(literals))
    if cased:
        return _on_texts(field, lambda text: text.endswith(wanted))

    def ends(s: Subject) -> bool:
        for text in s.folded(field):  # noqa: SIM110 - as above
            if text.endswith(wanted):
                return True
        return False

    return ends


def _contains(field: str | None, literals: list[str], cased: bool) -> Matcher:  # noqa: FBT001 - as above
    if len(literals) == 1:
        (literal,) = literals
        if cased:
            return _on_texts(field, lambda text: literal in text)

        def contains(s: Subject) -> bool:
            for text in s.folded(field):  # noqa: SIM110 - as above
                if literal in text:
                    return True
            return False

        return contains
    # In texts that are joined by a NUL each needle is searched once; without a NUL it can't span two of them.
    plain = AnyOf(literal for literal in literals if literal and "\0" not in literal)
    others = AnyOf(literal for literal in literals if not literal or "\0" in literal)
    matchers: list[Matcher] = []
    if plain:
        matchers.append(
            (lambda s: plain.within("\0".join(s.texts(field))))
            if cased
            else (lambda s: plain.within(s.joined(field)))
        )
    if others:
        matchers.append(_on_texts(field, others.within, cased=cased))
    return _any(tuple(matchers))


_OF_SHAPE = {"equals": _equals, "startswith": _begins, "endswith": _ends, "contains": _contains}


def _numbers(field: str, values: list[int | float]) -> Matcher:
    wanted = frozenset((*values, *map(text_of, values)))

    def equal(s: Subject) -> bool:
        for value in s.values(field):  # noqa: SIM110 - as above
            # Neither is a boolean a number, nor can lists and objects be looked for in a set.
            if type(value) in _NUMBERS_AND_TEXTS and value in wanted:
                return True
        return False

    return equal


# --- tests of a field ---------------------------------------------------------------------------------


def _text(field: str, test: Text) -> Matcher:
    (matcher,) = _texts(field, [test], cased=test.cased)
    return matcher


def _pattern(field: str, test: Pattern) -> Matcher:
    holds = regex_predicate(test.regex)
    literals = required_literals(test.regex)
    if literals is None or len(literals) > _MOST_LITERALS:
        return _on_texts(field, holds)
    needed = AnyOf(literals)

    def found(s: Subject) -> bool:
        for text, folded in zip(s.texts(field), s.folded(field), strict=True):
            # Most texts are told by a literal already; what else folds to ASCII is RE2's to know.
            if text.isascii() and not needed.within(folded):
                continue
            if holds(text):
                return True
        return False

    return found


def _number(field: str, test: Number) -> Matcher:
    return _numbers(field, [test.value])


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
    return _on_texts(field, network_predicate([test.network]))


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
    other, holds = test.field, reference_predicate(test.how)
    if test.cased:
        return lambda s: holds(s.texts(field), s.texts(other))
    return lambda s: holds(s.folded(field), s.folded(other))


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
        case Number(value=value) | Truth(value=value):
            return _contains(None, [str(text_of(value))], False)  # noqa: FBT003 - not cased
        case Pattern():
            return _on_texts(None, regex_predicate(test.regex))
        case Text():
            # Anywhere: the text has wildcards around it, whether they were written or not.
            (matcher,) = _texts(None, [anywhere(test)], cased=test.cased)
            return matcher
        case _:
            raise TypeError(f"{type(test).__name__} is no test of a whole event")
