"""Checks of conditions: what they leave out, what they let through, and what they cost."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.event import Event
from pipeline.sigma.form import And, Filter, Item, Node, Not, Or, Rule
from pipeline.sigma.lint.finding import Check, Doubt
from pipeline.sigma.matcher.match import compile_rule
from pipeline.sigma.matcher.subject import Subject
from pipeline.sigma.reader.conditions import matching
from pipeline.sigma.witness.witness import witness

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipeline.sigma.lint.draft import Draft

__all__ = ["CHECKS"]

_OPERATORS = frozenset({"and", "or", "not", "of", "all", "any", "them", "1"})
_EMPTY = Event(0, {}, "", structured=True)


def _unused_identifier(draft: Draft) -> Iterator[Doubt]:
    words, identifiers = set(draft.words()), draft.identifiers
    used = set(words)
    for word in words:
        if "*" in word or word.lower() == "them":
            used.update(matching(word, identifiers))
    selects = any("*" in word or word.lower() == "them" for word in words)
    for name in identifiers:
        if name not in used:
            skipped = "; `them` and patterns leave out what begins with `_`"
            more = skipped if selects and name.startswith("_") else ""
            yield Doubt(f"the condition never uses {name!r}{more}", (draft.body, name))


def _operator_name(draft: Draft) -> Iterator[Doubt]:
    for name in draft.identifiers:
        if name.lower() in _OPERATORS:
            yield Doubt(f"a search identifier is called {name!r}, as an operator is", (draft.body, name))


def _filter_polarity(draft: Draft) -> Iterator[Doubt]:
    if isinstance(draft.loaded, Filter) and not _excludes(draft.loaded.condition):
        yield Doubt(
            "the rules then match nothing but what this filter selects; to leave that out write"
            f" `not {_bracketed(str(draft.conditions[0].value))}`",
            (draft.body, "condition"),
        )


def _bracketed(condition: str) -> str:
    condition = " ".join(condition.split())
    return f"({condition})" if " " in condition else condition


def _excludes(node: Node) -> bool:
    """Return whether a filter's condition says what must not be."""
    match node:
        case Item():
            return False
        case Not():
            return True
        case And():
            return all(map(_excludes, node.items))
        case Or():
            return any(map(_excludes, node.items))


def _matches_empty(draft: Draft) -> Iterator[Doubt]:
    if isinstance(draft.loaded, Rule) and compile_rule(draft.loaded)(Subject(_EMPTY)):
        message = "the condition holds for an event without any field, so for nearly every event"
        yield Doubt(message, (draft.body, "condition"))


def _no_witness(draft: Draft) -> Iterator[Doubt]:
    if isinstance(draft.loaded, Rule) and witness(draft.loaded.condition) is None:
        yield Doubt(
            "nothing to look for in the raw bytes: every event is examined", (draft.body, "condition")
        )


def _timeframe(draft: Draft) -> Iterator[Doubt]:
    if not isinstance(draft.loaded, Rule | Filter):
        return
    # One that is a mapping or a list is a search identifier.
    if "timeframe" in draft.data[draft.body] and "timeframe" not in draft.identifiers:
        message = "`timeframe` has no effect; write a correlation to count events"
        yield Doubt(message, (draft.body, "timeframe"))


CHECKS = (
    Check(
        "unused-identifier",
        "warning",
        "a search identifier that the condition never uses",
        "Its author meant it to count: a filter that is not named in the condition filters nothing.",
        "Name it in the condition, or take it out.",
        _unused_identifier,
    ),
    Check(
        "operator-name",
        "warning",
        "a search identifier that is called like an operator",
        "`not`, `all`, `of` and the others are read in any case of letters: what the condition means is a"
        " guess.",
        "Give it another name.",
        _operator_name,
    ),
    Check(
        "filter-polarity",
        "warning",
        "a filter whose condition has the wrong polarity",
        "A filter is joined to its rules by AND: `condition: selection` silences them for all but what it"
        " selects.",
        "Write `condition: not selection`.",
        _filter_polarity,
    ),
    Check(
        "matches-empty",
        "warning",
        "a condition that holds for an event without any field",
        "Whatever lacks the fields matches, that is nearly every event: mostly an `or not` that was to be"
        " `and not`, or a negation without anything beside it.",
        "Join what must be there by AND.",
        _matches_empty,
    ),
    Check(
        "no-witness",
        "info",
        "a rule that has no witness",
        "Without a text that must stand in the raw bytes, each event of its log source is parsed for it.",
        "Add a text to its AND: a word of the message, a program's name.",
        _no_witness,
    ),
    Check(
        "timeframe",
        "warning",
        "`timeframe` in a detection",
        "It belonged to conditions with a pipe, which Sigma no longer has; by itself it does nothing.",
        "Write a correlation with `timespan`.",
        _timeframe,
    ),
)
