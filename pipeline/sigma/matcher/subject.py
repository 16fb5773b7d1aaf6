"""A subject: one event as the matcher sees it, with what several rules look up kept.

Fields are found by dotted names (a literal key with a dot wins); a list stands for each of its elements.
Numbers have the one text that they are compared by. Whatever the event holds, a look-up takes no recursion
and no more than a few steps for each of its keys. (Semantics section 1, "Types" and "Keywords".)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

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

    __slots__ = ("_folded", "_joined", "_texts", "_values", "event")

    def __init__(self, event: Event) -> None:
        self.event = event
        self._values: dict[str, tuple[object, ...]] = {}
        # By field; None is the whole event.
        self._texts: dict[str | None, tuple[str, ...]] = {}
        self._folded: dict[str | None, tuple[str, ...]] = {}
        self._joined: dict[str | None, str] = {}

    def values(self, field: str) -> tuple[object, ...]:
        """Return what stands under `field`: nothing if it is missing, each element of a list."""
        found = self._values.get(field)
        if found is None:
            found = self._values[field] = tuple(_lookup(self.event.fields, field))
        return found

    def texts(self, field: str | None) -> tuple[str, ...]:
        """Return the texts under `field`, as written; without a field, all that keywords search."""
        found = self._texts.get(field)
        if found is None:
            if field is None:
                found = tuple(self._told())
            elif type(value := self.event.fields.get(field)) is str:
                # Nearly every look-up: the long way costs three times as much.
                found = (value,)
            else:
                found = tuple([t for v in self.values(field) if (t := text_of(v)) is not None])
            self._texts[field] = found
        return found

    def folded(self, field: str | None) -> tuple[str, ...]:
        """Return the same in lower case."""
        found = self._folded.get(field)
        if found is None:
            texts = self.texts(field)
            found = (texts[0].lower(),) if len(texts) == 1 else tuple([t.lower() for t in texts])
            self._folded[field] = found
        return found

    def joined(self, field: str | None) -> str:
        """Return the texts in lower case as one, with a NUL between them: each needle is one search then."""
        found = self._joined.get(field)
        if found is None:
            texts = self.folded(field)
            found = self._joined[field] = texts[0] if len(texts) == 1 else "\0".join(texts)
        return found

    def _told(self) -> Iterator[str]:
        """Yield every leaf, and the line of a text format."""
        event = self.event
        if not event.structured:
            # The text of a JSON event holds its keys, which keywords must not find.
            yield event.text
        made_up = (_MADE_UP if event.structured else _MADE_UP_OF_TEXT) | event.declared
        yield from leaves([value for name, value in event.fields.items() if name not in made_up])


def _lookup(fields: Mapping[str, object], name: str) -> list[object]:
    if name in fields:
        return _spread(fields[name])
    # Most names are of other kinds of events: no key that the name begins with, nothing to look into.
    end = name.find(".")
    if end < 0 or (name[:end] not in fields and name.find(".", end + 1) < 0):
        return []
    return _nested(fields, name)


def _nested(fields: Mapping[str, object], name: str) -> list[object]:
    """Look a dotted name up in objects within objects.

    Of several ways the longest literal key that leads somewhere is gone: {"a.b": {"c": 1}} has a.b.c. What is
    left to look at stands on a stack, each with where its part of the name begins, and with how much had been
    found when it became an alternative: if there is more by then, a longer key has led there.
    """
    found: list[object] = []
    rests: dict[int, tuple[str, int]] = {}
    waiting: list[tuple[object, int, int]] = [(fields, 0, -1)]
    while waiting:
        value, start, before = waiting.pop()
        if before >= 0 and len(found) > before:
            continue
        if isinstance(value, list):
            waiting.extend((element, start, -1) for element in reversed(value) if isinstance(element, dict))
        elif isinstance(value, Mapping):
            if start not in rests:
                rests[start] = (name[start:], name.count(".", start))
            rest, dots = rests[start]
            if rest in value:
                found.extend(_spread(value[rest]))
            else:
                mark = len(found)
                # The last one put there is looked at first.
                heads = _heads(value, name, start, dots)
                waiting.extend((value[head], start + len(head) + 1, mark) for head in heads)
    return found


def _heads(value: Mapping[str, object], name: str, start: int, dots: int) -> list[str]:
    """Return the keys that a dotted name, from `start` on, begins with; the shortest first."""
    if len(value) < dots:
        # A name of a thousand parts must not cost its length for each of a million small objects.
        found = [k for k in value if k and name.startswith(k, start) and name.startswith(".", start + len(k))]
        return sorted(found, key=len)
    found = []
    end = name.find(".", start + 1)
    while end > 0:
        if (head := name[start:end]) in value:
            found.append(head)
        end = name.find(".", end + 1)
    return found


def _spread(value: object) -> list[object]:
    # An empty list is present and has no value; as Sigma has no word for it, it counts as null.
    if isinstance(value, list):
        return value or [None]
    return [value]
