"""Rules made at random: every kind of test, on names that decoders copy, make up or rename."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.event import LogSource
from pipeline.sigma.form import (
    About,
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
    Rule,
    Text,
    TimePart,
    Truth,
    Wild,
)

if TYPE_CHECKING:
    from random import Random

__all__ = ["made_rules"]

_FIELDS = (
    *("Image", "CommandLine", "ParentImage", "Provider_Name", "Execution_ProcessID", "EventID", "LogonId"),
    *("Computer", "Message", "ProcessId", "System.Channel", "EventData.Data", "TargetFilename", "Hashes"),
    *("event", "level", "logger", "host", "service", "user.name", "trace_id", "own", "own.Deep_Name", "a b"),
    *(
        "exception",
        "exception.type",
        "c-ip",
        "cs-method",
        "cs-user-agent",
        "user",
        "status",
        "pid",
        "outcome",
    ),
    *("naïve", "x/y", 'q"q', "timestamp", "attributes", "labels.env", "Q", "id.orig_h", "flag"),
)
_TEXTS = (
    *(
        "attack",
        "C:\\Windows\\System32\\cmd.exe",
        "\\\\server\\share",
        "/etc/passwd",
        "-enc ",
        "kelvin",
        "stark",
    ),
    *(
        "café",
        "ÀÉ",
        "ΟΔΟΣ",
        "и",
        "日本",
        "😀",
        "i\u0307x",
        "\u212b",
        "\u017ft",
        "\ufffd",
        "a\tb",
        "x\ny",
        "\0z",
        "\x7f",
    ),
    *(
        "404",
        "1e-05",
        "0.1",
        "-5",
        "error",
        "rr",
        "crit",
        "true",
        "failure",
        'say "hi"',
        "it's",
        "a",
        "",
        "é",
    ),
    *("100%", "{[(", "ttl=64", "\\", "\\n", "\\u0041", "${jndi:ldap://", "ß", "\u0130"),
)
_REGEXES = (
    *(
        r"(?i)power\s?shell",
        r"^ab+c\d{3,}$",
        r"(foo|bar)baz",
        r"[Kk]elvin|[sS]tark",
        r"\x41bc\.exe$",
        r"x*y?",
    ),
    *(r"\QC:\Win\E.*exe", r"(?P<n>cmd)\.exe(?i:\s+/C)", r"é+", r"^$", r".", r"a{2}b{0}c{1,}", r"(?s).+end$"),
    *(r"(?i)(?:task|mass)kill", r"err(or)?", r"\d+\.\d+", r"[[:alpha:]]+\\\\?[a-c]z", r"(?i)^k$", r"4\d{2}"),
)
_NUMBERS = (0, 1, 5, 404, 4625, 10**9, 2**53, 10**17, 10**22, 0.1, 404.5, 1e-05, -404, 16.0, 1e16)
_NETWORKS = ("10.0.0.0/8", "192.0.2.0/28", "2001:db8::/32", "::1/128")
_OPERATORS = ("lt", "lte", "gt", "gte")


def made_rules(random: Random, count: int) -> list[Rule]:
    """Return so many rules."""
    return [
        Rule(About(f"made-{n}", "", f"made {n}", ""), LogSource(), _node(random, 3)) for n in range(count)
    ]


def _node(random: Random, depth: int) -> Node:
    way = random.randrange(10)
    if depth == 0 or way < 5:
        return _item(random)
    if way == 9:
        return Not(_node(random, depth - 1))
    inner = tuple(_node(random, depth - 1) for _ in range(random.randint(1, 3)))
    return And(inner) if way < 8 else Or(inner)


def _item(random: Random) -> Item:
    if random.random() < 0.2:
        keyword = random.choice((_text, _text, _pattern, _number, _truth))
        return Item(None, keyword(random))
    return Item(random.choice(_FIELDS), random.choice(_TESTS)(random))


def _text(random: Random) -> Text:
    parts: list[str | Wild] = []
    for _ in range(random.choice((1, 1, 1, 2, 3))):
        if random.random() < 0.4:
            parts.append(random.choice(list(Wild)))
        parts.append(random.choice(_TEXTS))
    if random.random() < 0.5:
        parts.append(random.choice(list(Wild)))
    return Text(tuple(parts), cased=random.random() < 0.2)


def _pattern(random: Random) -> Pattern:
    return Pattern(random.choice(_REGEXES))


def _number(random: Random) -> Number:
    return Number(random.choice(_NUMBERS))


def _truth(random: Random) -> Truth:
    return Truth(random.choice((True, False)))


_TESTS = (
    *(_text, _text, _text, _text, _pattern, _pattern, _number, _truth),
    lambda _: Null(),
    lambda random: Exists(random.random() < 0.7),
    lambda random: Network(random.choice(_NETWORKS)),
    lambda random: Compare(random.choice(_OPERATORS), random.choice(_NUMBERS)),
    lambda random: FieldRef(
        random.choice(_FIELDS),
        random.choice(("equals", "startswith", "endswith", "contains")),
        cased=random.random() < 0.3,
    ),
    lambda random: TimePart(
        random.choice(("minute", "hour", "day", "week", "month", "year")),
        random.choice(("eq", *_OPERATORS)),
        random.choice((1, 3, 12, 2024)),
    ),
)
