"""Values: for a rule's condition, fields and texts that go as far as they can to satisfy it."""

from __future__ import annotations

import datetime as dt
import ipaddress
import re._constants as sre
import re._parser as sre_parser
from typing import TYPE_CHECKING, Any

from pipeline.sigma.form import (
    And,
    Compare,
    Exists,
    FieldRef,
    Item,
    Network,
    Node,
    Not,
    Null,
    Number,
    Or,
    Pattern,
    Text,
    TimePart,
    Truth,
    Wild,
)
from pipeline.sigma.matcher.subject import text_of
from pipeline.sigma.matcher.time_part import time_part_predicate

if TYPE_CHECKING:
    from random import Random

    from pipeline.sigma.form import Test

__all__ = ["Wanted", "flipped", "looking_alike", "sample", "wanted"]

_FILL = ("", "", "x", " ", "\\", "/", '"', "C:\\a b\\", "\n", "\t", "é", "\u212a", "1", "…", "\u0130")
_DASHES = "-/\u2013\u2014\u2015"
_MOST_REPEATS = 3


class Wanted:
    """What an event has to hold; owns its fields and its words."""

    def __init__(self) -> None:
        self.fields: dict[str, Any] = {}
        self.words: list[str] = []

    def add(self, field: str, value: object) -> None:
        """Set a field; where it has a value already, it gets both."""
        if field not in self.fields:
            self.fields[field] = value
        elif isinstance(known := self.fields[field], list):
            known.append(value)
        else:
            self.fields[field] = [known, value]


def wanted(node: Node, random: Random) -> Wanted:
    """Return what would satisfy a condition; of alternatives, one."""
    found = Wanted()
    _add(node, found, random)
    return found


def _add(node: Node, found: Wanted, random: Random) -> None:
    match node:
        case And():
            for inner in node.items:
                _add(inner, found, random)
        case Or():
            for inner in random.sample(node.items, k=min(len(node.items), random.choice((1, 1, 1, 2)))):
                _add(inner, found, random)
        case Not():
            _add_opposite(node.item, found, random)
        case Item(field=None):
            found.words.append(str(text_of(_value(node.test, random))))
        case Item(field=str(field)):
            _add_item(field, node.test, found, random)


def _add_item(field: str, test: Test, found: Wanted, random: Random) -> None:
    match test:
        case FieldRef():
            value = random.choice(("same", "Same", "é\\x", "", 7))
            found.add(field, value)
            found.add(test.field, value)
        case Null() | Exists(value=False):
            if random.random() < 0.3:
                found.add(field, None)
        case _:
            found.add(field, _value(test, random))


def _add_opposite(node: Node, found: Wanted, random: Random) -> None:
    match node:
        case Not():
            _add(node.item, found, random)
        case And() | Or():
            for inner in node.items:
                _add_opposite(inner, found, random)
        case Item(field=str(field), test=Null() | Exists(value=False)):
            found.add(field, random.choice(("x", "", 0)))
        case Item(field=str(field)) if random.random() < 0.2:
            found.add(field, random.choice(("other", 0, "", None)))
        case _:
            pass


def _value(test: Test, random: Random) -> object:
    match test:
        case Text(parts=parts, cased=cased):
            text = "".join(_part(part, random) for part in parts)
            return text if cased else looking_alike(flipped(text, random), random)
        case Number(value=value):
            return random.choice((value, value, text_of(value), float(value)))
        case Truth(value=value):
            return random.choice((value, str(value), str(value).lower()))
        case Pattern(regex=regex):
            return sample(regex, random)
        case Network(network=network):
            addresses = ipaddress.ip_network(network)
            return str(addresses[random.randrange(min(addresses.num_addresses, 1 << 62))])
        case Compare(op=op, value=value):
            near = value + {"lt": -1, "lte": 0, "gt": 1, "gte": 0}[op] * random.choice((1, 1, 10))
            return random.choice((near, text_of(near)))
        case TimePart():
            return _moment(test, random)
        case _:
            return random.choice(("x", "", 0, False, [], {"deep": 1}))


def _part(part: str | Wild, random: Random) -> str:
    match part:
        case str():
            return part
        case Wild.ANY:
            return random.choice(_FILL)
        case Wild.ONE:
            return random.choice("x9 -é\\")
        case _:
            return random.choice(_DASHES)


def _moment(test: TimePart, random: Random) -> object:
    holds = time_part_predicate(test)
    start = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
    text = ""
    for _ in range(200):
        moment = start + dt.timedelta(minutes=random.randrange(60 * 24 * 365 * 10))
        text = moment.isoformat()
        if holds(text):
            break
    return random.choice((text, text.replace("T", " ")))


def flipped(text: str, random: Random) -> str:
    """Return a text in other case."""
    way = random.randrange(5)
    if way == 0:
        return "".join(c.upper() if random.random() < 0.5 else c.lower() for c in text)
    return (text, text.upper(), text.lower(), text.swapcase(), text)[way]


def looking_alike(text: str, random: Random) -> str:
    """Return a text with characters that folding makes, or does not make, the same."""
    way = random.randrange(12)
    pairs = (("k", "\u212a"), ("K", "\u212a"), ("i\u0307", "\u0130"), ("s", "\u017f"), ("å", "\u212b"))
    return text.replace(*pairs[way]) if way < len(pairs) else text


def sample(regex: str, random: Random) -> str:
    """Return a text that a regular expression is likely to be found in."""
    try:
        # RE2's named classes are no nested sets.
        parsed = sre_parser.parse(regex.replace("[[:alpha:]]", "[a-zA-Z]"))
    except Exception:  # noqa: BLE001 — RE2 knows what Python doesn't; then any text will do
        return random.choice(_FILL)
    text = _sampled(parsed, {}, random)
    return flipped(text, random) if parsed.state.flags & sre.SRE_FLAG_IGNORECASE else text


def _sampled(parsed: Any, groups: dict[int, str], random: Random) -> str:  # Any: Python's own tree
    written: list[str] = []
    for kind, what in parsed:
        if kind is sre.LITERAL:
            written.append(chr(what))
        elif kind is sre.ANY:
            written.append(random.choice("x é\\1"))
        elif kind is sre.NOT_LITERAL:
            written.append("x" if what != ord("x") else "y")
        elif kind is sre.IN:
            written.append(_member(what, random))
        elif kind in (sre.MAX_REPEAT, sre.MIN_REPEAT):
            least, most, inner = what
            times = random.randint(least, min(int(most), least + _MOST_REPEATS))
            written.extend(_sampled(inner, groups, random) for _ in range(times))
        elif kind is sre.SUBPATTERN:
            written.append(_sampled(what[3], groups, random))
        elif kind is sre.BRANCH:
            written.append(_sampled(random.choice(what[1]), groups, random))
    return "".join(written)


_CLASSES = {
    sre.CATEGORY_DIGIT: "0459",
    sre.CATEGORY_SPACE: " \t",
    sre.CATEGORY_WORD: "aZ_3",
    sre.CATEGORY_NOT_DIGIT: "x-é",
    sre.CATEGORY_NOT_SPACE: "x9/",
    sre.CATEGORY_NOT_WORD: " -.",
}


def _member(members: Any, random: Random) -> str:  # Any: Python's own tree
    if members[0][0] is sre.NEGATE:
        allowed = [c for c in "xyZ09 -_/\\é.:\t" if not any(_is_in(ord(c), m) for m in members[1:])]
        return random.choice(allowed or ["\u2603"])
    kind, what = random.choice(members)
    if kind is sre.RANGE:
        return chr(random.randint(*what))
    return chr(what) if kind is sre.LITERAL else random.choice(_CLASSES.get(what, "x"))


def _is_in(code: int, member: Any) -> bool:  # Any: Python's own tree
    kind, what = member
    if kind is sre.RANGE:
        return what[0] <= code <= what[1]
    if kind is sre.LITERAL:
        return code == what
    char = chr(code)
    is_in = {
        sre.CATEGORY_DIGIT: char.isdigit(),
        sre.CATEGORY_SPACE: char.isspace(),
        sre.CATEGORY_WORD: char.isalnum() or char == "_",
    }
    opposite = {
        sre.CATEGORY_NOT_DIGIT: sre.CATEGORY_DIGIT,
        sre.CATEGORY_NOT_SPACE: sre.CATEGORY_SPACE,
        sre.CATEGORY_NOT_WORD: sre.CATEGORY_WORD,
    }
    return not is_in[opposite[what]] if what in opposite else is_in.get(what, False)
