"""Our own form of a Sigma rule: small, typed, resolved; what the compiler and the prefilter work on.

A detection is a tree of `And`, `Or`, `Not` over `Item`s; an item tests one field, or (with no field) the
whole event as keywords do. Every modifier has been applied by the reader: what remains is one of a few
tests. (Sigma specification 2.1.0; semantics section 1.)
"""

from __future__ import annotations

import enum
from typing import Literal

import msgspec

from pipeline.event import LogSource

__all__ = [
    "LEVELS",
    "About",
    "And",
    "Compare",
    "Correlation",
    "CorrelationType",
    "Exists",
    "FieldRef",
    "Filter",
    "Item",
    "Network",
    "Node",
    "Not",
    "Null",
    "Number",
    "Or",
    "Pattern",
    "Rule",
    "Test",
    "Text",
    "TimePart",
    "Truth",
    "Wild",
]

LEVELS = ("informational", "low", "medium", "high", "critical")
"""How grave a rule's match is (Sigma specification 2.1.0, "Level")."""


class Wild(enum.Enum):
    """What stands for other characters within a text."""

    ANY = 1
    """Any characters, or none (`*`)."""
    ONE = 2
    """Exactly one character (`?`)."""
    DASH = 3
    """One of the five dashes that Windows programs take before an option (the modifier `windash`)."""


class Text(msgspec.Struct, frozen=True, tag=True):
    """The value's text, with wildcards; case is ignored unless `cased`."""

    parts: tuple[str | Wild, ...]
    cased: bool = False


class Number(msgspec.Struct, frozen=True, tag=True):
    """Equal to a number, or to its text."""

    value: int | float


class Truth(msgspec.Struct, frozen=True, tag=True):
    """A boolean, or its text."""

    value: bool


class Null(msgspec.Struct, frozen=True, tag=True):
    """Missing, or null."""


class Exists(msgspec.Struct, frozen=True, tag=True):
    """Present (null and empty count) or not."""

    value: bool


class Pattern(msgspec.Struct, frozen=True, tag=True):
    """A regular expression found anywhere in the value (RE2's syntax, flags written into it)."""

    regex: str


class Network(msgspec.Struct, frozen=True, tag=True):
    """An address within a network, written as `10.0.0.0/8` or `fd00::/8`."""

    network: str


class Compare(msgspec.Struct, frozen=True, tag=True):
    """A number's order."""

    op: Literal["lt", "lte", "gt", "gte"]
    value: int | float


class FieldRef(msgspec.Struct, frozen=True, tag=True):
    """Equal to another field's value (or beginning, ending with it, containing it)."""

    field: str
    how: Literal["equals", "startswith", "endswith", "contains"] = "equals"
    cased: bool = False


class TimePart(msgspec.Struct, frozen=True, tag=True):
    """A part of a point in time, in UTC, compared with a number; `week` is ISO 8601's."""

    part: Literal["minute", "hour", "day", "week", "month", "year"]
    op: Literal["eq", "lt", "lte", "gt", "gte"]
    value: int | float


Test = Text | Number | Truth | Null | Exists | Pattern | Network | Compare | FieldRef | TimePart


class Item(msgspec.Struct, frozen=True, tag=True):
    """One test of one field; without a field, of the event as a whole (keywords)."""

    field: str | None
    test: Test


class And(msgspec.Struct, frozen=True, tag=True):
    """All of them. `name` is the search identifier that it stands for in the rule, for people; or empty."""

    items: tuple[Node, ...]
    name: str = ""


class Or(msgspec.Struct, frozen=True, tag=True):
    """At least one of them. `name`: as of `And`."""

    items: tuple[Node, ...]
    name: str = ""


class Not(msgspec.Struct, frozen=True, tag=True):
    """Not this."""

    item: Node


Node = And | Or | Not | Item


class About(msgspec.Struct, frozen=True):
    """What a rule says about itself.

    Attributes:
        id: the rule's UUID, or its name where it has none.
        name: the machine-readable name, or empty.
        title: one line for people.
        hash: of the rule's content; another content is another rule to open windows and alerts.
        level: `informational`, `low`, `medium`, `high`, `critical`; `medium` where it says nothing.
        status: `stable`, `test`, `experimental`, … or empty.
        description: what it finds.
        tags: ATT&CK and other tags as written.
        references: links.
        falsepositives: what else may cause it.
        file: where it was read from.
        line: where its document begins.
    """

    id: str
    name: str
    title: str
    hash: str
    level: str = "medium"
    status: str = ""
    description: str = ""
    tags: tuple[str, ...] = ()
    references: tuple[str, ...] = ()
    falsepositives: tuple[str, ...] = ()
    file: str = ""
    line: int = 0


class Rule(msgspec.Struct, frozen=True):
    """A detection.

    Attributes:
        about: what it says about itself.
        logsource: of the events that it is asked about.
        condition: what it finds in them.
        written: the log source in its text, where a processing pipeline has changed it; else empty.
        group_by: the fields that group its events and are labels of its alerts (`group-by`, a key of our
            own); empty for what all plain rules are grouped by.
    """

    about: About
    logsource: LogSource
    condition: Node
    written: LogSource = LogSource()
    group_by: tuple[str, ...] = ()


class Filter(msgspec.Struct, frozen=True):
    """A filter: a condition that rules must satisfy as well (Sigma filters specification 2.1.0).

    Attributes:
        about: as of every rule.
        logsource: must contain that of the rules it applies to.
        rules: ids or names of these rules; empty means any.
        condition: what is added to their condition, by `and`.
        written: as of `Rule`.
    """

    about: About
    logsource: LogSource
    rules: tuple[str, ...]
    condition: Node
    written: LogSource = LogSource()


class CorrelationType(enum.Enum):
    """The correlations that can be counted so far (Sigma correlation rules specification 2.1.0)."""

    EVENT_COUNT = "event_count"
    VALUE_COUNT = "value_count"


class Correlation(msgspec.Struct, frozen=True):
    """A correlation over rules.

    Attributes:
        about: as of every rule.
        type: what is counted.
        rules: ids of the rules it counts.
        group_by: the fields that make a group.
        timespan_ms: the window's length in milliseconds.
        bounds: (operator, threshold) pairs that must all hold.
        fields: what `value_count` counts the distinct values of; several make tuples.
        aliases: alias → rule id → the field that stands for it there.
        generate: whether the rules it counts raise alerts of their own as well.
    """

    about: About
    type: CorrelationType
    rules: tuple[str, ...]
    group_by: tuple[str, ...]
    timespan_ms: int
    bounds: tuple[tuple[str, float], ...]
    fields: tuple[str, ...] = ()
    aliases: dict[str, dict[str, str]] = {}
    generate: bool = False
