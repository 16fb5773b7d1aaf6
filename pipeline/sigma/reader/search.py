"""Searches: what stands under a search identifier, as lines and blocks; and these as the rules' own form.

A mapping is a block of which all lines must match, a list of mappings one of which any must; a line tests a
field for any of its values, or with `all` for each. Plain texts in a list, or on their own, are keywords: a
line without a field. Between its reading and its resolution a search may go through a processing pipeline.
(Sigma rules specification 2.1.0, "Detection"; semantics section 1, "Structure" and "Keywords".)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from msgspec.structs import replace

from pipeline.errors import RuleError
from pipeline.sigma.form import And, Item, Node, Not, Number, Or, Pattern, Text, Truth
from pipeline.sigma.matcher.subject import text_of
from pipeline.sigma.matcher.text import LONGEST_PIECE, anywhere, text_predicate
from pipeline.sigma.reader.heading import fault
from pipeline.sigma.reader.modifiers import chain_of
from pipeline.sigma.reader.regexes import source_of
from pipeline.sigma.reader.values import Choice, Regex, Template, Value

if TYPE_CHECKING:
    from pipeline.document import Document, Key
    from pipeline.sigma.reader.placeholders import Fillings

__all__ = ["Block", "Line", "Search", "is_search", "named", "read_search", "resolved"]

Path = tuple["Key", ...]


class Line(msgspec.Struct, frozen=True):
    """A test of one field, or of the event as a whole.

    Attributes:
        field: the field's name; None: keywords.
        values: what it is tested for.
        every: whether all of the values must match, not one of them.
        negated: whether it matches where they don't.
        path: where it stands.
        listed: whether each value has a place of its own there.
    """

    field: str | None
    values: tuple[Value, ...]
    every: bool = False
    negated: bool = False
    path: tuple[str | int, ...] = ()
    listed: bool = False


class Block(msgspec.Struct, frozen=True):
    """Lines and blocks that belong together.

    Attributes:
        members: what they are; empty where a processing pipeline has dropped them.
        every: whether all of them must match, not one.
        negated: whether it matches where they don't.
    """

    members: tuple[Search, ...]
    every: bool
    negated: bool = False


Search = Line | Block


def is_search(kind: str, name: str, value: object) -> bool:
    """Return whether what stands under a name is a search.

    Args:
        kind: where it stands, `detection` or `filter`.
        name: the name.
        value: what stands under it.
    """
    if name == "timeframe":  # of counts, which are correlations now
        return isinstance(value, dict | list)
    return name != "condition" and not (kind == "filter" and name == "rules")


def read_search(document: Document, value: object, path: Path, fillings: Fillings) -> Search:
    """Read what stands under one search identifier.

    Args:
        document: where it stands.
        value: what stands there.
        path: the way to it.
        fillings: the values of placeholders, for the modifiers that can't wait for them.

    Raises:
        RuleError: it can't be used.
    """
    match value:
        case dict():
            return _mapping(document, value, path, fillings)
        case list() if any(isinstance(v, dict | list) for v in value):
            members = [_member(document, v, (*path, i), fillings) for i, v in enumerate(value)]
            return members[0] if len(members) == 1 else Block(tuple(members), every=False)
        case _:
            return _line(document, "", value, path, fillings)


def _member(document: Document, value: object, path: Path, fillings: Fillings) -> Search:
    if isinstance(value, list):
        raise fault(document, "a list within a list; write one list", *path)
    return read_search(document, value, path, fillings)


def _mapping(document: Document, value: dict[str, Any], path: Path, fillings: Fillings) -> Search:
    if not value:
        raise fault(document, "an empty mapping would match everything; name a field, or leave it out", *path)
    lines = [_line(document, key, inner, (*path, key), fillings) for key, inner in value.items()]
    return lines[0] if len(lines) == 1 else Block(tuple(lines), every=True)


def _line(document: Document, key: str, value: object, path: Path, fillings: Fillings) -> Line:
    field, *names = key.split("|")
    try:
        chain = chain_of(tuple(names), keyword=not field)
    except RuleError as error:
        raise fault(document, error.message, *path) from error
    listed = isinstance(value, list)
    written = value if isinstance(value, list) else [value]
    if not written:
        raise fault(document, "an empty list matches nothing", *path)
    if chain.single and len(written) > 1:
        raise fault(document, f"|{chain.single} takes one value, not a list of {len(written)}", *path)
    values = []
    for index, one in enumerate(written):
        try:
            values.append(chain.value_of(one, fillings))
        except RuleError as error:
            raise fault(document, error.message, *((*path, index) if listed else path)) from error
    return Line(field or None, tuple(values), chain.every, chain.negated, path, listed)


def resolved(document: Document, search: Search, fillings: Fillings) -> Node | None:
    """Return a search as the rules' own form, placeholders filled and regular expressions checked.

    Returns:
        The tree, or None if there is nothing in it any more.

    Raises:
        RuleError: a value can't be used.
    """
    if isinstance(search, Block):
        members = (resolved(document, member, fillings) for member in search.members)
        return _linked([m for m in members if m is not None], every=search.every, negated=search.negated)
    nodes = []
    for index, value in enumerate(search.values):
        try:
            nodes.append(_node(search.field, fillings.filled(value)))
        except RuleError as error:
            path = (*search.path, index) if search.listed else search.path
            raise fault(document, error.message, *path) from error
    return _linked(nodes, every=search.every, negated=search.negated)


def _linked(nodes: list[Node], *, every: bool, negated: bool) -> Node | None:
    if not nodes:
        return None
    node = nodes[0] if len(nodes) == 1 else And(tuple(nodes)) if every else Or(tuple(nodes))
    return Not(node) if negated else node


def _node(field: str | None, value: Value) -> Node:
    match value:
        case Choice():
            return Or(tuple(_node(field, v) for v in value.values))
        case Template():
            return Item(field, _text(field, value))
        case Regex():
            return Item(field, Pattern(source_of(value)))
        case Truth() if field is None:
            return Item(None, Text((str(text_of(value.value)),)))
        case _ if field is None and not isinstance(value, Number):
            raise RuleError("a keyword is a text, a number or a regular expression")
        case _:
            return Item(field, value)


def _text(field: str | None, value: Template) -> Text:
    test = Text(tuple(p for p in value.parts if not isinstance(p, msgspec.Struct)), value.cased)
    # The matcher has a limit that only a long text can pass: it is told here, where the place is known.
    if sum(len(p) for p in test.parts if isinstance(p, str)) + len(test.parts) > LONGEST_PIECE:
        text_predicate(test if field else anywhere(test))
    return test


def named(node: Node, identifier: str) -> Node:
    """Return a tree that bears the name of the search identifier that it stands under."""
    if isinstance(node, And | Or) and not node.name:
        return replace(node, name=identifier)
    return And((node,), name=identifier)
