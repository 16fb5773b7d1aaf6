"""Checks of field names, and of the one field whose values the decoders write: `level`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.decode.levels import LEVELS, canonical
from pipeline.sigma.form import Wild
from pipeline.sigma.lint.finding import Check, Doubt
from pipeline.sigma.matcher.text import text_predicate

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipeline.sigma.lint.draft import Draft, Written

__all__ = ["CHECKS"]


def _field_case(draft: Draft) -> Iterator[Doubt]:
    seen: dict[str, str] = {}
    told: set[str] = set()
    for item in draft.items:
        first = seen.setdefault(item.field.lower(), item.field)
        if first != item.field and item.field not in told:
            told.add(item.field)
            yield Doubt(f"the field {item.field!r} is called {first!r} elsewhere in the rule", item.path)


def _level_spelling(draft: Draft) -> Iterator[Doubt]:
    for item in draft.items:
        if item.field != "level" or not item.is_text:
            continue
        for value in item.values:
            if (word := _written_level(item, value.value)) is not None:
                message = (
                    f"no event has the level {value.value!r}: decoders write `{word}`; so should the rule"
                )
                yield Doubt(message, value.path)


def _written_level(item: Written, value: object) -> str | None:
    """Return the canonical level that a value means, if it can match none of them."""
    if not isinstance(value, str):
        return canonical(value)
    test = item.text(value)
    if any(map(text_predicate(test), LEVELS)):
        return None
    return canonical("".join(part for part in test.parts if not isinstance(part, Wild)))


CHECKS = (
    Check(
        "field-case",
        "warning",
        "two spellings of one field's name, different in case",
        "Names of fields respect case: one of the two is probably never there.",
        "Write the name as the events have it.",
        _field_case,
    ),
    Check(
        "level-spelling",
        "warning",
        "a level that decoders write otherwise",
        "Decoders bring every spelling of a level to one of debug, info, notice, warning, error, critical:"
        " `fatal` or `ERR` never stands in the field `level`.",
        "Write the word that the message names.",
        _level_spelling,
    ),
)
