"""Explanations: why a rule matches an event, or why not, part by part.

Every part is evaluated by what the compiler makes of it, and none is passed over, so the whole is true
exactly when the compiled rule is. A part *decides* if the outcome would not be forced without it: in a whole
that failed the decisive parts are those to blame. Long lists are folded, values cut and escaped.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec

from pipeline.sigma.explanation.describe import describe, printable
from pipeline.sigma.explanation.reason import MISSING, Finder
from pipeline.sigma.form import And, Item, Node, Not, Or
from pipeline.sigma.matcher.match import compile_node, compile_rule
from pipeline.sigma.matcher.subject import Subject

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pipeline.event import Event
    from pipeline.sigma.form import Rule

__all__ = ["Explained", "Group", "Leaf", "Part", "explain"]

_MAX_MEMBERS = 8
# Of a folded list, so that one sees what the others are like.
_EXAMPLES = 3
_MAX_REASONS = 5


class Leaf(msgspec.Struct, frozen=True, tag="test"):
    """One test of one field, or of the whole event.

    Attributes:
        test: what it asks for, in words.
        held: whether it is so.
        decides: whether that decides about the rule.
        field: the field's name; None for keywords.
        found: the values of the field, as they can be shown; `missing` if there is none. Of keywords, where.
        left: how many more values there are.
        why: why it isn't so, where more can be said than what was found.
    """

    test: str
    held: bool
    decides: bool
    field: str | None
    found: tuple[str, ...]
    left: int = 0
    why: str = ""


class Group(msgspec.Struct, frozen=True, tag="group"):
    """Parts, and what is asked of them together.

    Attributes:
        kind: `all` of them, `any` of them, `not` the only one.
        name: the search identifier or selector that it stands for; or empty.
        held: whether it is so.
        decides: whether that decides about the rule.
        members: the parts that are shown.
        left: how many more there are.
        left_held: how many of these are so.
    """

    kind: Literal["all", "any", "not"]
    name: str
    held: bool
    decides: bool
    members: tuple[Part, ...]
    left: int = 0
    left_held: int = 0


Part = Leaf | Group


class Explained(msgspec.Struct, frozen=True):
    """A rule's condition and an event.

    Attributes:
        matched: whether the rule matches; as the compiled rule says.
        reasons: what decides where it does not, in words; the first few.
        condition: all of it.
    """

    matched: bool
    reasons: tuple[str, ...]
    condition: Part


def explain(rule: Rule, event: Event) -> Explained:
    """Explain what an event is to a rule; log sources are not looked at.

    Raises:
        RuleError: the rule can't be compiled.
    """
    compile_rule(rule)
    finder = Finder(Subject(event))
    outcome = _evaluated(rule.condition, finder.subject)
    condition = _part(outcome, finder, decides=True)
    reasons = () if outcome.held else tuple(dict.fromkeys(_reasons(condition, negated=False)))[:_MAX_REASONS]
    return Explained(outcome.held, reasons, condition)


class _Outcome(msgspec.Struct, frozen=True):
    """A node, and whether it is so; members likewise."""

    node: Node
    held: bool
    members: tuple[_Outcome, ...] = ()


def _evaluated(node: Node, subject: Subject) -> _Outcome:
    match node:
        case Item():
            return _Outcome(node, compile_node(node)(subject))
        case Not():
            inner = _evaluated(node.item, subject)
            return _Outcome(node, not inner.held, (inner,))
        case And() | Or():
            flat = _flat(node)
            if len(flat) > _MAX_MEMBERS and all(isinstance(member, Item) for member in flat):
                # Of thousands that all fail, or all hold, each by itself would take as many times as long.
                whole = compile_node(node)(subject)
                if whole is isinstance(node, And):
                    return _Outcome(node, whole, tuple(_Outcome(member, whole) for member in flat))
            members = tuple(_evaluated(member, subject) for member in flat)
            held = [member.held for member in members]
            return _Outcome(node, all(held) if isinstance(node, And) else any(held), members)


def _flat(node: And | Or) -> list[Node]:
    """Return the members, with those of nameless ones of the same kind drawn in."""
    members: list[Node] = []
    stack: list[Node] = list(reversed(node.items))
    while stack:
        top = stack.pop()
        if isinstance(top, And | Or) and isinstance(top, type(node)) and not top.name:
            stack.extend(reversed(top.items))
        else:
            members.append(top)
    return members


def _part(outcome: _Outcome, finder: Finder, *, decides: bool) -> Part:
    node, held = outcome.node, outcome.held
    match node:
        case Item():
            found, left = finder.found(node, held=held)
            why = "" if held else finder.why(node)
            name = None if node.field is None else printable(node.field)
            return Leaf(describe(node), held, decides, name, found, left, why)
        case Not():
            return Group("not", "", held, decides, (_part(outcome.members[0], finder, decides=decides),))
        case And() | Or():
            kind: Literal["all", "any"] = "all" if isinstance(node, And) else "any"
            # An `And` fails by those that fail, an `Or` holds by those that hold; else all of them decide.
            every = held is (kind == "all")
            chosen = _chosen(outcome.members, kind)
            members = tuple(
                _part(member, finder, decides=decides and (every or member.held is held)) for member in chosen
            )
            left = len(outcome.members) - len(chosen)
            left_held = sum(m.held for m in outcome.members) - sum(m.held for m in chosen)
            return Group(kind, printable(node.name), held, decides, members, left, left_held)


def _chosen(members: tuple[_Outcome, ...], kind: Literal["all", "any"]) -> list[_Outcome]:
    """Return the members to show of a long list: those that stand out, and a few of the others."""
    if len(members) <= _MAX_MEMBERS:
        return list(members)
    telling = [i for i, m in enumerate(members) if m.held is (kind == "any")][:_MAX_MEMBERS]
    others = [i for i, m in enumerate(members) if m.held is not (kind == "any")][:_EXAMPLES]
    return [members[i] for i in sorted({*telling, *others})]


def _reasons(part: Part, *, negated: bool) -> Iterable[str]:
    """Yield what decides, in the order of the condition, where the whole does not hold."""
    if not part.decides:
        return
    if isinstance(part, Leaf):
        yield _reason(part)
    elif part.kind == "not":
        yield from _reasons(part.members[0], negated=not negated)
    elif negated and part.name:
        leaves = list(_leaves(part))
        more = f", and {len(leaves) - 1:,} more" if len(leaves) > 1 else ""
        yield f"{part.name} holds, and must not: {leaves[0].test if leaves else 'nothing is asked'}{more}"
    elif part.kind == "any" and not part.held and len(part.members) + part.left > _EXAMPLES:
        count = len(part.members) + part.left
        yield f"none of the {count:,} {'of ' + part.name if part.name else 'alternatives'} holds" + _one(part)
    else:
        for member in part.members:
            yield from _reasons(member, negated=negated)


def _leaves(part: Part) -> Iterable[Leaf]:
    """Yield the tests that decide within a part."""
    if isinstance(part, Group):
        for member in part.members:
            yield from _leaves(member)
    elif part.decides:
        yield part


def _reason(leaf: Leaf) -> str:
    if leaf.held:
        return f"{leaf.test}, and must not"
    if leaf.found == (MISSING,):
        return f"{leaf.field}: {leaf.why or leaf.test}"
    told = leaf.why or f"found {', '.join(leaf.found)}" if leaf.found or leaf.why else "not found"
    return f"not so: {leaf.test} — {told}"


def _one(group: Group) -> str:
    """Return what was found instead, if it is one thing for all of a group."""
    leaves = [member for member in group.members if isinstance(member, Leaf)]
    found = {leaf.found for leaf in leaves}
    if len(leaves) < len(group.members) or len(found) != 1:
        return ""
    (values,) = found
    fields = {leaf.field for leaf in leaves}
    if len(fields) != 1 or not values:
        return ""
    return f": {leaves[0].field} is {', '.join(values)}"
