"""A subject: one event as the matcher sees it, with what several rules look up kept.

Fields are found by dotted names (a literal key with a dot wins); a list stands for each of its elements.
Numbers have the one text that they are compared by. (Semantics section 1, "Types" and "Keywords".)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pipeline.event import Event

__all__ = ["Subject", "leaves", "text_of"]

# What keywords must not find: decoders make `timestamp` up from any time, and `outcome` from a text's words.
_MADE_UP = frozenset({"timestamp"})
_MADE_UP_OF_TEXT = _MADE_UP | {"outcome"}


def text_of(value: object) -> str | None:
    """Return the text that a scalar is compared by, or None for null, lists and objects."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return repr(value)
    return None


def leaves(value: object) -> Iterator[str]:
    """Yield the text of every string and number within `value`, without recursion; never keys."""
    # Bounded by the event's own size: with a limit, padding would hide what comes after it.
    stack = [value]
    while stack:
        top = stack.pop()
        if isinstance(top, dict):
            stack.extend(top.values())
        elif isinstance(top, list):
            stack.extend(top)
        elif (text := text_of(top)) is not None:
            yield text


class Subject:
    """One event under examination; owns what was looked up in it, and lives no longer than that.

    Attributes:
        event: the event itself.
    """

    __slots__ = ("_everything", "_everything_folded", "_folded", "_values", "event")

    def __init__(self, event: Event) -> None:
        self.event = event
        self._values: dict[str, tuple[object, ...]] = {}
        self._folded: dict[str, tuple[str, ...]] = {}
        self._everything: tuple[str, ...] | None = None
        self._everything_folded: tuple[str, ...] | None = None

    def values(self, field: str) -> tuple[object, ...]:
        """Return what stands under `field`: nothing if it is missing, each element of a list."""
        found = self._values.get(field)
        if found is None:
            found = self._values[field] = tuple(_lookup(self.event.fields, field))
        return found

    def texts(self, field: str) -> tuple[str, ...]:
        """Return the texts under `field`, as written."""
        return tuple(t for v in self.values(field) if (t := text_of(v)) is not None)

    def folded(self, field: str) -> tuple[str, ...]:
        """Return the texts under `field`, in lower case."""
        found = self._folded.get(field)
        if found is None:
            found = self._folded[field] = tuple(t.lower() for t in self.texts(field))
        return found

    def everything(self) -> tuple[str, ...]:
        """Return all that keywords search, as written: every leaf, and the line of a text format."""
        if self._everything is None:
            event = self.event
            # The text of a JSON event holds its keys, which keywords must not find.
            whole = () if event.structured else (event.text,)
            made_up = _MADE_UP if event.structured else _MADE_UP_OF_TEXT
            told = [value for name, value in event.fields.items() if name not in made_up]
            self._everything = (*whole, *leaves(told))
        return self._everything

    def everything_folded(self) -> tuple[str, ...]:
        """Return the same in lower case."""
        if self._everything_folded is None:
            self._everything_folded = tuple(text.lower() for text in self.everything())
        return self._everything_folded


def _lookup(fields: Mapping[str, object], name: str) -> list[object]:
    if name in fields:
        return _spread(fields[name])
    # The longest literal prefix that leads somewhere: {"a.b": {"c": 1}} has a.b.c.
    end = name.rfind(".")
    while end > 0:
        head = name[:end]
        if head in fields and (found := _inside(fields[head], name[end + 1 :])):
            return found
        end = name.rfind(".", 0, end)
    return []


def _inside(value: object, name: str) -> list[object]:
    if isinstance(value, dict):
        return _lookup(value, name)
    if isinstance(value, list):
        return [found for element in value if isinstance(element, dict) for found in _lookup(element, name)]
    return []


def _spread(value: object) -> list[object]:
    # An empty list is present and has no value; as Sigma has no word for it, it counts as null.
    if isinstance(value, list):
        return value or [None]
    return [value]
