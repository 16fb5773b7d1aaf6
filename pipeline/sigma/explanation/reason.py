"""Reasons: what stands in an event where a test looked, and why that is not what was asked for.

The words are for whoever writes rules: they name the mistakes that are made, such as a field in another
case, a number that is a text, a value that is only part of what must be equal.
"""

from __future__ import annotations

import difflib
import ipaddress
from itertools import islice
from typing import TYPE_CHECKING, Any, cast

import msgspec

from pipeline.event import Event
from pipeline.sigma.explanation.describe import printable, shown
from pipeline.sigma.form import (
    Compare,
    Exists,
    FieldRef,
    Item,
    Network,
    Null,
    Number,
    Pattern,
    Text,
    TimePart,
    Truth,
)
from pipeline.sigma.matcher.match import compile_node
from pipeline.sigma.matcher.subject import Subject, text_of
from pipeline.sigma.matcher.text import anywhere, regex_position, shape_of
from pipeline.sigma.matcher.time_part import part_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pipeline.sigma.form import Test

__all__ = ["MISSING", "Finder"]

_MAX_VALUES = 4
# Elements of a list that are asked one by one which of them it was.
_MAX_ASKED = 10_000
_MAX_NAMES = 2000
_MAX_DEPTH = 20
_MAX_COMPARED = 300
# Elements of a list whose names are looked at.
_EXAMPLES = 3
MISSING = "missing"
"""Stands for the values of a field that isn't there."""


class Finder:
    """Looks into one event; owns the names of its fields once they were asked for.

    Attributes:
        subject: the event.
    """

    def __init__(self, subject: Subject) -> None:
        self.subject = subject
        self._names: list[str] | None = None

    def found(self, item: Item, *, held: bool) -> tuple[tuple[str, ...], int]:
        """Return what an item's test looked at, as it can be shown, and how many values that leaves out.

        Args:
            item: the item.
            held: whether it is so; then what makes it so comes first.
        """
        field, test = item.field, item.test
        if field is None:
            return self._place_of(test) if held else (), 0
        values = self.subject.values(field)
        if not values:
            return (MISSING,), 0
        order = list(range(min(len(values), _MAX_VALUES)))
        if held and (first := _holding(values, test)) is not None:
            order = list(dict.fromkeys([first, *order]))[:_MAX_VALUES]
        return tuple(shown(values[i], _position(values[i], test)) for i in order), len(values) - len(order)

    def _place_of(self, test: Test) -> tuple[str, ...]:
        texts = self.subject.texts(None)
        test = _within(test)
        at = _holding(texts, test)
        return () if at is None else (shown(texts[at], _position(texts[at], test)),)

    def why(self, item: Item) -> str:
        """Return why an item is not so, or nothing if what was found says it all."""
        field, test = item.field, item.test
        if field is None:
            return _case_of(_within(test), self.subject.texts(None))
        values = self.subject.values(field)
        match test:
            case Null():
                return "it is there, and not null"
            case Exists(value=False):
                return "it is there"
            case _ if not values:
                return f"the field is missing{self._hint(field)}"
            case FieldRef(field=other):
                theirs = self.subject.values(other)
                if not theirs:
                    return f"the field {printable(other)} is missing{self._hint(other)}"
                return f"{printable(other)} is {_few(theirs)}"
            case _:
                return _why(test, values)

    def _hint(self, field: str) -> str:
        if self._names is None:
            self._names = list(islice(_names(self.subject.event.fields), _MAX_NAMES))
        close = _nearest(field, self._names)
        return f"; did you mean {shown(close)}?" if close else ""


# --- which value it was -------------------------------------------------------------------------------


def _holding(values: tuple[Any, ...], test: Test) -> int | None:  # Any: what an event may hold
    """Return the position of the first value that satisfies a test by itself."""
    if isinstance(test, Null | Exists | FieldRef):
        return None
    asked = compile_node(Item("f", test))
    for at, value in enumerate(values[:_MAX_ASKED]):
        if asked(Subject(Event(0, {"f": [value]}, ""))):
            return at
    return None


def _within(test: Test) -> Test:
    """Return the test of a field that a keyword's is of each text."""
    if isinstance(test, Text):
        return anywhere(test)
    if isinstance(test, Number | Truth):
        return anywhere(Text((str(text_of(test.value)),)))
    return test


def _position(value: object, test: Test) -> int:
    """Return where in a text a test has found something, near enough to show it."""
    if not isinstance(value, str):
        return 0
    if isinstance(test, Pattern):
        return regex_position(test.regex, value)
    if not isinstance(test, Text):
        return 0
    literal = next((part for part in test.parts if isinstance(part, str)), "")
    if (shape := shape_of(test)) is not None and shape[0] == "endswith":
        return len(value)
    return max(value.find(literal) if test.cased else value.lower().find(literal.lower()), 0)


# --- why not ------------------------------------------------------------------------------------------


def _why(test: Test, values: tuple[Any, ...]) -> str:  # Any: as above
    if len(values) > 1:
        return _case_of(test, _texts(values))
    (value,) = values
    if value is None:
        return "it is null"
    if isinstance(value, dict):
        return "it is an object: its parts have dotted names" if value else "it is an empty object"
    if isinstance(value, list):
        return "it is a list within a list, and no test looks into that"
    told = _TOLD.get(type(test))
    return told(test, value) if told else ""


def _of_text(test: Text, value: object) -> str:
    return _case_of(test, _texts((value,))) or _near(test, str(text_of(value)))


def _of_pattern(test: Pattern, value: object) -> str:
    return _case_of(test, _texts((value,)))


def _of_number(test: Number | Compare, value: object) -> str:
    if isinstance(value, bool):
        return "it is true or false, not a number"
    if not isinstance(value, str):
        return ""
    if not _is_number(value):
        return "it is text, not a number"
    equal = isinstance(test, Number) and float(value) == test.value
    return "as a text it is written in another way" if equal else ""


def _of_network(_: Network, value: object) -> str:
    try:
        ipaddress.ip_address(value if isinstance(value, str) else "")
    except ValueError:
        return "it is no IP address"
    return ""


def _of_time(test: TimePart, value: object) -> str:
    number = part_of(test.part, value)
    return "it is no time" if number is None else f"the {test.part} is {number} (UTC)"


_TOLD = cast(
    "dict[type, Callable[[Test, object], str]]",
    {
        Text: _of_text,
        Pattern: _of_pattern,
        Number: _of_number,
        Compare: _of_number,
        Network: _of_network,
        TimePart: _of_time,
    },
)


def _texts(values: tuple[Any, ...]) -> tuple[str, ...]:  # Any: as above
    return tuple(t for v in values[:_MAX_ASKED] if (t := text_of(v)) is not None)


def _case_of(test: Test, texts: tuple[str, ...]) -> str:
    """Return that only the case differs, if that is so."""
    if isinstance(test, Text) and test.cased:
        other: Test = msgspec.structs.replace(test, cased=False)
    elif isinstance(test, Pattern):
        other = Pattern(f"(?i){test.regex}")
    else:
        return ""
    at = _holding(texts, other)
    if at is None:
        return ""
    told = "cased" if isinstance(test, Text) else "case counts in a regular expression without |i"
    return f"is {shown(texts[at], _position(texts[at], other))} — {told}"


def _near(test: Text, text: str) -> str:
    """Return what else a plain text would have matched."""
    shape = shape_of(test)
    if shape is None:
        return ""
    how, literal = shape
    folded = text if test.cased else text.lower()
    if how == "equals" and literal and folded.strip() == literal.strip():
        return "only the blanks around it differ"
    if how == "contains" or not literal or literal not in folded:
        return ""
    where = {"equals": "but is not all of it", "startswith": "but not first", "endswith": "but not last"}
    return f"it is in there, {where[how]}"


def _is_number(text: str) -> bool:
    return _holding((text,), Compare("gte", float("-inf"))) is not None


def _few(values: tuple[Any, ...]) -> str:  # Any: as above
    more = len(values) - _MAX_VALUES
    told = ", ".join(shown(value) for value in values[:_MAX_VALUES])
    return f"{told} and {more:,} more" if more > 0 else told


# --- names of fields ----------------------------------------------------------------------------------


def _names(fields: object) -> Iterator[str]:
    """Yield the dotted names of all that an event holds, the outer ones first."""
    level: list[tuple[str, object]] = [("", fields)]
    for _ in range(_MAX_DEPTH):
        below: list[tuple[str, object]] = []
        for prefix, value in level:
            inner = value if isinstance(value, list) else [value]
            for element in islice((e for e in inner if isinstance(e, dict)), _EXAMPLES):
                for key, part in element.items():
                    yield prefix + key
                    if isinstance(part, dict | list):
                        below.append((f"{prefix}{key}.", part))
        level = below


def _nearest(field: str, names: list[str]) -> str | None:
    """Return the name that was most likely meant: in another case, elsewhere in the event, or misspelt."""
    wanted, last = field.lower(), field.lower().rpartition(".")[2]
    for name in names:
        if name.lower() == wanted:
            return name
    for name in names:
        if name.lower().rpartition(".")[2] == last:
            return name
    if len(field) > _MAX_COMPARED:
        return None
    short = {n.lower(): n for n in names[:_MAX_COMPARED] if len(n) <= _MAX_COMPARED // 3}
    close = difflib.get_close_matches(wanted, short, n=1, cutoff=0.75)
    return short[close[0]] if close else None
