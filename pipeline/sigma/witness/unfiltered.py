"""Why a rule has no witness, in words: what in its condition can't be looked for in raw bytes.

It follows the way that `witness` goes: of what must all hold one part with a witness would do, of
alternatives each needs one.
"""

from __future__ import annotations

from pipeline.sigma.explanation.describe import describe
from pipeline.sigma.form import (
    And,
    Compare,
    Exists,
    Item,
    Network,
    Node,
    Not,
    Null,
    Or,
    Pattern,
    Text,
    TimePart,
)
from pipeline.sigma.witness.witness import witness

__all__ = ["why_unfiltered"]

_KINDS: dict[type, str] = {
    Compare: "a comparison of numbers",
    Exists: "a field that must be there or not",
    Network: "a network",
    Null: "a field that may be missing",
    Pattern: "a regular expression without a literal",
    TimePart: "a part of a time",
}


def why_unfiltered(node: Node) -> str:
    """Return what leaves a condition without a witness; empty if it has one."""
    return "" if witness(node) is not None else _why(node, negated=False)


def _why(node: Node, *, negated: bool) -> str:
    match node:
        case Item(test=test):
            if negated:
                return f"only negations: not {describe(node)}"
            kind = _KINDS.get(type(test)) or (
                "no literal that is long enough" if isinstance(test, Text) else ""
            )
            return f"{kind or 'a value that may be written in any way'}: {describe(node)}"
        case Not():
            return _why(node.item, negated=not negated)
        case And() | Or():
            return _group(node, negated=negated)


def _group(node: And | Or, *, negated: bool) -> str:
    if isinstance(node, And) is not negated:
        # One witness would do, and nobody has any: what is asked for says more than what is ruled out.
        asked = [item for item in node.items if isinstance(item, Not) is negated]
        return _why((asked or list(node.items))[0], negated=negated) if node.items else "no test at all"
    bare = [item for item in node.items if witness(item, negated=negated) is None]
    return _why(bare[0], negated=negated) if bare else "no test at all"
