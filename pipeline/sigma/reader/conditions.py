"""Conditions: their text → a tree over what stands under the search identifiers.

From low to high: `or`, `and`, `not`, `1 of …`, parentheses. Words of the language count in any case, but
where an identifier may stand and one is called so, it is the identifier. (Sigma rules specification 2.1.0,
"Condition"; semantics section 1.)
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pipeline.errors import RuleError, nearest
from pipeline.sigma.form import And, Item, Node, Not, Or

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["DEEPEST", "LARGEST", "check_size", "matching", "parse"]

DEEPEST = 50
"""Parentheses and `not` within one another; nobody reads what is deeper."""

LARGEST = 100_000
"""Tests of a condition, those of an identifier counted each time that it is named."""

_MOST_COMPARED = 1_000_000
"""Names that the selectors of a condition are compared with."""

_TOKEN = re.compile(r"[()]|[^\s()]+")
_QUANTIFIERS = frozenset({"1", "any", "all"})
_END = ""


def parse(text: str, searches: Mapping[str, Node | None]) -> Node | None:
    """Return the tree of a condition.

    Args:
        text: the condition.
        searches: what stands under each search identifier; None where a processing pipeline has dropped all
            of it: it counts neither for nor against.

    Returns:
        The tree, or None if nothing of it is left.

    Raises:
        RuleError: it is no condition over these identifiers. No place yet.
    """
    if "|" in text:
        raise RuleError("Sigma has no pipes any more; write a correlation to count events")
    parser = _Parser(_TOKEN.findall(text), searches)
    node = parser.alternatives()
    parser.end()
    return node


def check_size(node: Node) -> None:
    """Raise when a tree is so large that evaluating it would stall whoever does.

    Raises:
        RuleError: it has more tests than `LARGEST`. No place yet.
    """
    count = _size(node, {})
    if count > LARGEST:
        raise RuleError(
            f"the condition comes to {count:,} tests; up to {LARGEST:,} are possible, so name what is large"
            " once, or make several rules"
        )


def _size(node: Node, known: dict[int, int]) -> int:
    """Return how many tests there are in a tree, each counted wherever it stands."""
    if id(node) not in known:
        match node:
            case Item():
                return 1
            case Not():
                known[id(node)] = _size(node.item, known)
            case And() | Or():
                known[id(node)] = sum(_size(item, known) for item in node.items)
    return known[id(node)]


def matching(pattern: str, identifiers: Sequence[str]) -> list[str]:
    """Return the identifiers that a selector's pattern means: `them`, or a name in which `*` is anything.

    Those that begin with an underscore are left out, unless the pattern begins so.
    """
    hidden = pattern.startswith("_")
    if pattern.lower() == "them":
        return [i for i in identifiers if not i.startswith("_")]
    return [i for i in identifiers if (hidden or not i.startswith("_")) and _fits(pattern, i)]


def _fits(pattern: str, identifier: str) -> bool:
    first, *rest = pattern.split("*")
    if not rest:
        return identifier == first
    *middle, last = rest
    if not identifier.startswith(first):
        return False
    at = len(first)
    for piece in middle:
        at = identifier.find(piece, at)
        if at < 0:
            return False
        at += len(piece)
    return len(identifier) - len(last) >= at and identifier.endswith(last)


class _Parser:
    """A descent over the tokens of one condition; owns how far it has come, and how deep."""

    def __init__(self, tokens: list[str], searches: Mapping[str, Node | None]) -> None:
        self._tokens = tokens
        self._searches = searches
        self._at = 0
        self._depth = 0
        self._selected: dict[str, Node | None] = {}
        self._negations: dict[int, Not] = {}

    def alternatives(self) -> Node | None:
        """Read what `or` binds, and all that binds closer."""
        nodes = [self._together()]
        while self._peek().lower() == "or":
            self._at += 1
            nodes.append(self._together())
        return _joined(Or, nodes)

    def end(self) -> None:
        """Raise when there is something left."""
        left = self._peek()
        if left == ")":
            raise RuleError("Unbalanced parentheses: there is a `)` too many")
        if left != _END:
            raise RuleError(f"there is no `and` or `or` {self._where()}")

    def _together(self) -> Node | None:
        nodes = [self._negated()]
        while self._peek().lower() == "and":
            self._at += 1
            nodes.append(self._negated())
        return _joined(And, nodes)

    def _negated(self) -> Node | None:
        before = self._depth
        while self._is_not():
            self._at += 1
            self._deeper()
        node = self._operand()
        for _ in range(self._depth - before):
            node = None if node is None else self._not(node)
        self._depth = before
        return node

    def _not(self, node: Node) -> Not:
        # One for each, so that what is said twice is seen to be the same.
        return self._negations.setdefault(id(node), Not(node))

    def _is_not(self) -> bool:
        if self._peek().lower() != "not":
            return False
        ends_here = self._peek(1) in {_END, ")"} or self._peek(1).lower() in {"and", "or"}
        return not (self._peek() in self._searches and ends_here)

    def _operand(self) -> Node | None:
        if self._peek() == "(":
            return self._parenthesis()
        if self._peek(1).lower() == "of":
            return self._selection()
        token = self._peek()
        if token in self._searches:
            self._at += 1
            return self._searches[token]
        if token in {_END, ")"} or token.lower() in {"and", "or", "not"}:
            raise RuleError(f"there is no search identifier {self._where()}")
        if "*" in token:
            raise RuleError(f"{token!r} may be several; write `1 of {token}` or `all of {token}`")
        hint = nearest(token, self._searches) if self._searches else "there is none"
        raise RuleError(f"no search identifier {token!r}; {hint}")

    def _parenthesis(self) -> Node | None:
        self._at += 1
        self._deeper()
        node = self.alternatives()
        if self._peek() == _END:
            raise RuleError("Unbalanced parentheses: a `)` is missing")
        if self._peek() != ")":
            raise RuleError(f"there is no `and` or `or` {self._where()}")
        self._at += 1
        self._depth -= 1
        return node

    def _selection(self) -> Node | None:
        quantifier, pattern = self._peek().lower(), self._peek(2)
        if quantifier not in _QUANTIFIERS:
            raise RuleError(f"there is `1 of`, `any of` and `all of`, but no `{self._peek()} of`")
        if pattern in {_END, "(", ")"}:
            raise RuleError(f"`{quantifier} of` what? `them`, or a name with `*` in it such as `selection_*`")
        self._at += 3
        name = f"{quantifier} of {pattern}"
        if name not in self._selected:
            self._selected[name] = self._selected_by(quantifier, pattern, name)
        return self._selected[name]

    def _selected_by(self, quantifier: str, pattern: str, name: str) -> Node | None:
        if (len(self._selected) + 1) * len(self._searches) > _MOST_COMPARED:
            raise RuleError("there are too many selectors for so many search identifiers; make several rules")
        found = matching(pattern, tuple(self._searches))
        if not found:
            among = [i for i in self._searches if not i.startswith("_")]
            hint = nearest(pattern, among) if among else "there is none to select from"
            raise RuleError(f"Selector {name!r} doesn't match any search identifier; {hint}")
        nodes = tuple(node for i in found if (node := self._searches[i]) is not None)
        if not nodes:
            return None
        return And(nodes, name=name) if quantifier == "all" else Or(nodes, name=name)

    def _deeper(self) -> None:
        self._depth += 1
        if self._depth > DEEPEST:
            raise RuleError(f"it is nested too deeply; {DEEPEST} levels are possible")

    def _peek(self, ahead: int = 0) -> str:
        at = self._at + ahead
        return self._tokens[at] if at < len(self._tokens) else _END

    def _where(self) -> str:
        before = f"after `{self._tokens[self._at - 1]}`" if self._at else "at the beginning"
        return f"{before} and before `{self._peek()}`" if self._peek() else before


def _joined(kind: type[And | Or], nodes: list[Node | None]) -> Node | None:
    # What is said twice counts once.
    left = tuple({id(node): node for node in nodes if node is not None}.values())
    if len(left) > 1:
        return kind(left)
    return left[0] if left else None
