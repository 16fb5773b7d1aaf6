"""A rule as its author wrote it, beside what was read from it: what the checks look at.

The form that is evaluated no longer knows which modifier a value came from; the checks ask about exactly
that, and about the place. Only rules that could be read have items here: what they are has been validated.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from pipeline.sigma.form import Correlation, Filter, Rule, Text, Wild
from pipeline.sigma.reader.search import is_search
from pipeline.sigma.reader.values import parts_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipeline.document import Document, Key

__all__ = ["Draft", "Value", "Written"]

_WORD = re.compile(r"[^\s()|]+")
_PLAIN = frozenset({"contains", "startswith", "endswith", "all", "cased", "neq"})


@dataclass(frozen=True, slots=True)
class Value:
    """One value of an item, and where it stands."""

    value: object
    path: tuple[Key, ...]


@dataclass(frozen=True, slots=True)
class Written:
    """One item of a detection as it is written.

    Attributes:
        field: the field's name; empty for keywords.
        modifiers: as written, in their order.
        values: one, or those of a list.
        path: where the item stands.
        listed: whether the values are a list.
    """

    field: str
    modifiers: tuple[str, ...]
    values: tuple[Value, ...]
    path: tuple[Key, ...]
    listed: bool

    @property
    def is_text(self) -> bool:
        """Whether its texts are compared as they are, without being taken for something else before."""
        return _PLAIN.issuperset(self.modifiers)

    def text(self, written: str) -> Text:
        """Return what a text of the item means, keywords included."""
        parts = parts_of(written)
        if not self.field:
            parts = (Wild.ANY, *parts, Wild.ANY)
        if "contains" in self.modifiers or "endswith" in self.modifiers:
            parts = (Wild.ANY, *parts)
        if "contains" in self.modifiers or "startswith" in self.modifiers:
            parts = (*parts, Wild.ANY)
        return Text(parts, cased="cased" in self.modifiers)


@dataclass(frozen=True, slots=True)
class Draft:
    """One document of a rule file.

    Attributes:
        document: the document, which knows the places.
        data: its content, with what it shares with other documents.
        loaded: what was read from it; None if that was refused.
        body: the key of the detection: `detection`, or `filter`.
        items: all items of the detection.
    """

    document: Document
    data: dict[str, Any]  # Any: a YAML document's values
    loaded: Rule | Correlation | Filter | None
    body: str
    items: tuple[Written, ...]

    @classmethod
    def of(cls, document: Document, content: object, loaded: Rule | Correlation | Filter | None) -> Draft:
        """Return the draft of a document, given its content, a mapping, and what was read from it."""
        data = cast("dict[str, Any]", content)
        body = "filter" if isinstance(loaded, Filter) else "detection"
        items: tuple[Written, ...] = ()
        if isinstance(loaded, Rule | Filter):
            items = tuple(_items(data[body], (body,)))
        return cls(document, data, loaded, body, items)

    @property
    def identifiers(self) -> tuple[str, ...]:
        """The search identifiers of the detection, in their order."""
        if not isinstance(self.loaded, Rule | Filter):
            return ()
        return tuple(key for key, value in self.data[self.body].items() if is_search(self.body, key, value))

    @property
    def conditions(self) -> tuple[Value, ...]:
        """The conditions, each with its place."""
        if not isinstance(self.loaded, Rule | Filter):
            return ()
        return _values(self.data[self.body]["condition"], (self.body, "condition"))

    def words(self) -> list[str]:
        """Return the words of all conditions: identifiers, patterns, operators."""
        return [word for condition in self.conditions for word in _WORD.findall(str(condition.value))]

    def strings(self, key: str) -> list[Value]:
        """Return the texts of a list at the top of the document."""
        listed = self.data.get(key)
        if not isinstance(listed, list):
            return []
        return [Value(value, (key, i)) for i, value in enumerate(listed) if isinstance(value, str)]


def _items(value: object, path: tuple[Key, ...]) -> Iterator[Written]:
    if isinstance(value, dict):
        for key, inner in value.items():
            if len(path) > 1:
                field, *modifiers = key.split("|")
                listed = isinstance(inner, list)
                yield Written(field, tuple(modifiers), _values(inner, (*path, key)), (*path, key), listed)
            elif is_search(str(path[0]), key, inner):
                yield from _items(inner, (*path, key))
    elif isinstance(value, list) and any(isinstance(inner, dict | list) for inner in value):
        for index, inner in enumerate(value):
            yield from _items(inner, (*path, index))
    else:
        yield Written("", (), _values(value, path), path, isinstance(value, list))


def _values(value: object, path: tuple[Key, ...]) -> tuple[Value, ...]:
    if isinstance(value, list):
        return tuple(Value(inner, (*path, index)) for index, inner in enumerate(value))
    return (Value(value, path),)
