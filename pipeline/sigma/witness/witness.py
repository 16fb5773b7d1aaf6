"""Witnesses: what must stand in an event's raw bytes whenever a rule matches it.

A witness is a set of alternatives, at least one of which is present in every event that the rule matches.
So an event without any of them needs no parsing. The witness may err towards too many events, never towards
too few; how values and names may be written is the business of `spelling`. (Design: "Detection, fast".)
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Protocol

import msgspec

from pipeline.decode.fields import CANONICAL, DERIVED
from pipeline.decode.levels import LEVELS
from pipeline.sigma.form import (
    And,
    Exists,
    FieldRef,
    Item,
    Node,
    Not,
    Null,
    Number,
    Or,
    Pattern,
    Rule,
    Text,
    Truth,
    Wild,
)
from pipeline.sigma.matcher.rarity import name_worth, worth
from pipeline.sigma.matcher.regex_literals import required_literals
from pipeline.sigma.matcher.subject import text_of
from pipeline.sigma.matcher.text import anywhere, regex_predicate, text_predicate
from pipeline.sigma.witness.spelling import (
    DASH,
    UNSPELLED,
    level_patterns,
    literal_patterns,
    name_patterns,
    number_patterns,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pipeline.sigma.form import About, Test

__all__ = ["MADE", "Needled", "Witness", "witness", "witness_of"]

# A literal of ASCII this good needs no help from what can be written in many ways.
_GOOD = 5.0
# As good as a literal of so many characters: levels stand where they are looked for.
_LEVEL_WORTH = 4.0
# What is shorter hits so often that reading every event costs no more.
_SHORTEST = 2
# Beyond this the alternatives of such characters cost more than they tell.
_ENOUGH_MIXED = 8.0

_ACCESS = (
    *("bytes", "c-ip", "cs-host", "cs-method", "cs-referer", "cs-uri-query", "cs-uri-stem", "cs-user-agent"),
    *("cs-username", "cs-version", "method", "protocol", "referer", "sc-bytes", "sc-status", "src_ip"),
    *("status", "url", "user", "user_agent"),
)
_TEXT = (
    *("auth_method", "error_code", "file", "function", "line", "msgid", "outcome", "program", "repeated"),
    *("request_id", "src_address", "src_host", "src_ip", "src_port", "tid", "user"),
)
MADE: frozenset[str] = frozenset({*CANONICAL, *_ACCESS, *_TEXT, "Data"})
"""Names that decoders give to what they find by its place or under any other name.

Every other name of a decoded event, or one of `_ALIASES` for it, stands in the raw bytes.
"""

_ALIASES: dict[str, tuple[str, ...]] = {
    "Computer": ("computer_name", "ComputerName", "Hostname", "MachineName"),
    "Correlation_ActivityID": ("activity_id",),
    "EventID": ("event_id",),
    "EventRecordID": ("record_id", "RecordNumber", "RecordID"),
    "Execution_ProcessID": ("ExecutionProcessID",),
    "Image": ("NewProcessName",),
    "LogonId": ("SubjectLogonId",),
    "ParentImage": ("ParentProcessName",),
    "ProcessId": ("Execution_ProcessID", "ExecutionProcessID"),
    "Provider_Guid": ("ProviderGuid",),
    "Provider_Name": ("Provider", "ProviderName", "SourceName"),
}
"""Last part of a name → the other names under which Windows events have it (`decode.windows_event`)."""


class Needled(Protocol):
    """A rule that says itself what stands in the events that it matches."""

    @property
    def about(self) -> About:
        """What the rule says about itself."""
        ...

    @property
    def needles(self) -> tuple[str, ...]:
        """Texts of which one stands, in whatever case, in the bytes of every event that matches; or none.

        As written: not as a decoder makes a value of `decode.fields.DERIVED` up.
        """
        ...


class Witness(msgspec.Struct, frozen=True):
    """Alternatives, as Hyperscan patterns, and how good they are.

    Attributes:
        patterns: regular expressions over bytes, case ignored; one of them is present.
        worth: how rare the commonest of them is, see `rarity`.
    """

    patterns: frozenset[str]
    worth: float


def witness_of(rule: Rule | Needled) -> Witness | None:
    """Return the best witness of a rule, or None if it has none and must always be examined."""
    if isinstance(rule, Rule):
        return witness(rule.condition)
    return _any(_keyword(Text((needle,))) for needle in rule.needles)


def witness(node: Node, *, negated: bool = False) -> Witness | None:
    """Return the best witness of a condition (of its opposite if `negated`), or None if it has none."""
    match node:
        case Item():
            return _absent(node) if negated else _item(node)
        case Not():
            return witness(node.item, negated=not negated)
        case And():
            members = (witness(i, negated=negated) for i in node.items)
            return _any(members) if negated else _best(members)
        case Or():
            members = (witness(i, negated=negated) for i in node.items)
            return _best(members) if negated else _any(members)


def _best(members: Iterable[Witness | None]) -> Witness | None:
    found = [member for member in members if member is not None]
    return max(found, key=lambda w: (w.worth, -len(w.patterns)), default=None)


def _any(members: Iterable[Witness | None]) -> Witness | None:
    patterns: set[str] = set()
    least: list[float] = []
    for member in members:
        if member is None:
            return None
        patterns |= member.patterns
        least.append(member.worth)
    return Witness(frozenset(patterns), min(least)) if least else None


# --- items ----------------------------------------------------------------------------------------------


def _item(item: Item) -> Witness | None:
    field, test = item.field, item.test
    if field is None:
        return _keyword(test)
    if field == "level":
        return _level(test)
    if isinstance(test, Null) or (isinstance(test, Exists) and not test.value):
        return None
    return _best((_value(field, test), _name(field, flag=_takes_nothing(test)), _referred(test)))


def _absent(item: Item) -> Witness | None:
    """Return the witness of an item that does not hold: something is there that else need not be."""
    match item:
        case Item(field=str(field), test=Null() | Exists(value=False)):
            return _name(field, flag=True)
        case _:
            return None


def _value(field: str, test: Test) -> Witness | None:
    """Return the witness of a value under a name, if values are copied to it as they are."""
    head = field.partition(".")[0]
    match test:
        # A decoder's exception is an object of texts; a text under that name was there before.
        case Text() if field not in DERIVED or field == "exception":
            return _text(test)
        case Pattern() if field not in DERIVED or field == "exception":
            return _pattern(test)
        case Truth() if field not in DERIVED:
            return _literal(str(text_of(test.value)))
        case Number() if head not in DERIVED:
            digits = str(int(abs(test.value)))
            return Witness(number_patterns(test.value), len(digits) - 0.5)
        case _:
            return None


def _name(field: str, *, flag: bool) -> Witness | None:
    """Return the witness of a field that is present, whatever it holds."""
    if field in MADE or field.partition(".")[0] == "exception":
        return None
    head, _, last = field.rpartition(".")
    if last in MADE and head in _BLOCKS:
        return None
    patterns = name_patterns(field, flag=flag, aliases=_ALIASES.get(last, ()))
    return None if patterns is None else Witness(patterns, name_worth(last))


# Where one of Windows' names is taken, a dotted name is made.
_BLOCKS = frozenset({"Event", "EventData", "System", "UserData"})


def _referred(test: Test) -> Witness | None:
    return _name(test.field, flag=True) if isinstance(test, FieldRef) else None


def _takes_nothing(test: Test) -> bool:
    """Say whether an empty value, which need not be written, satisfies a test."""
    match test:
        case Text():
            return text_predicate(test)("")
        case Pattern():
            return regex_predicate(test.regex)("")
        case _:
            return isinstance(test, Exists | FieldRef)


def _keyword(test: Test) -> Witness | None:
    match test:
        case Text():
            # A level is searched by its canonical word, which need not be the one that was written.
            return _any((_text(test), *_levels(text_predicate(anywhere(test)))))
        case Pattern():
            return _any((_pattern(test), *_levels(regex_predicate(test.regex))))
        case Number(value=value) | Truth(value=value):
            return _literal(str(text_of(value)))
        case _:
            return None


def _level(test: Test) -> Witness | None:
    """A canonical level is found by its spellings, any other level by its text."""
    match test:
        case Text(parts=parts):
            known = _levels(text_predicate(test))
            return _any(known) if parts in {(name,) for name in LEVELS} else _any((_text(test), *known))
        case Pattern():
            return _any((_pattern(test), *_levels(regex_predicate(test.regex))))
        case _:
            return None


def _levels(holds: Callable[[str], bool]) -> list[Witness]:
    return [Witness(level_patterns(name), _LEVEL_WORTH) for name in LEVELS if holds(name)]


# --- texts ----------------------------------------------------------------------------------------------


def _text(test: Text) -> Witness | None:
    """Return the best run of characters between wildcards and what can't be spelled."""
    whole = "".join(_spelled(part) for part in test.parts)
    runs = [run for run in UNSPELLED.split(whole) if run]
    plain = _best(_literal(run) for mixed in runs for run in _FOREIGN.split(mixed))
    if plain is not None and plain.worth >= _GOOD:
        return plain
    return _best((plain, *(_mixed(run) for run in runs if _FOREIGN.search(run))))


def _spelled(part: str | Wild) -> str:
    if isinstance(part, str):
        return part.lower().replace(DASH, _BREAK)
    return DASH if part is Wild.DASH else _BREAK


_BREAK = "\n"
# What is written in several ways: a dash that stands for five, and all beyond ASCII.
_FOREIGN = re.compile(f"[{DASH}\x80-\U0010ffff]+")


def _mixed(run: str) -> Witness | None:
    """Return the witness of a run's beginning, as much of it as tells something."""
    value, length = 0.0, 0
    while length < len(run) and value < _ENOUGH_MIXED:
        value += _foreign_worth(run[length])
        length += 1
    text = run[:length]
    return Witness(literal_patterns(text), value) if value >= _SHORTEST else None


def _foreign_worth(char: str) -> float:
    if char == DASH:
        return 0.5
    return 1.0 if char.isascii() else 2.0 if char < "\U00010000" else _GOOD


def _pattern(test: Pattern) -> Witness | None:
    literals = required_literals(test.regex)
    return None if literals is None else _any(_literal(text) for text in sorted(literals))


def _literal(text: str) -> Witness | None:
    return Witness(literal_patterns(text), worth(text)) if len(text) >= _SHORTEST else None
