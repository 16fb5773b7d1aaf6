"""Rules and records for tests, drawn so that they often match, and written in every way there is."""

from __future__ import annotations

import json

import orjson
from hypothesis import strategies as st

from pipeline.decode.levels import LEVELS, SPELLINGS
from pipeline.decode.stacktrace import HEADER
from pipeline.event import LogSource
from pipeline.sigma.form import About, And, Item, Node, Not, Number, Or, Rule, Text, Truth, Wild
from pipeline.sigma.matcher.subject import text_of
from tests.differential.written import to_json

# --- raw bytes of an event, written in every way that a decoder reads as the same ---------------------


def json_text(value: object) -> st.SearchStrategy[str]:
    return st.builds(to_json, st.just(value), st.randoms(use_true_random=False))


@st.composite
def cased(draw: st.DrawFn, text: str) -> str:
    """Write a text in other case, with what only folding makes the same."""
    way = draw(st.integers(0, 5))
    match way:
        case 0:
            return text.upper()
        case 1:
            return text.lower()
        case 2:
            return text.replace("k", "\u212a").replace("K", "\u212a")
        case 3:
            return text.swapcase()
        case _:
            return text


@st.composite
def level_text(draw: st.DrawFn) -> str:
    """A level as somebody may spell it."""
    word = draw(st.sampled_from(sorted(SPELLINGS)))
    word = draw(st.sampled_from([word, word.upper(), word.title()]))
    before = draw(st.sampled_from(["", "", "", "SEVERITY_NUMBER_", " ", "\t", "\x1f"]))
    return before + word + draw(st.sampled_from(["", "", "", "2", " ", "\n", "x"]))


def line_of(message: str, level: str, status: int, value: str) -> st.SearchStrategy[str]:
    """Write a line of any text format."""
    upper = level.strip().upper()
    quoted = json.dumps(message)
    traceback = f'{HEADER}\n  File "x.py", line {status}, in f\nValueError: {value}\n'
    request = f'[24/Nov/2026:12:34:56 +0000] "GET /{message} HTTP/1.1" {status:03} 0{status} "-" {quoted}'
    return st.sampled_from(
        [
            f"2026-11-24 12:34:56,000 - {upper} - {message}",
            f"2026-11-24 12:34:56,000 - {level} - {message}",
            f"2026-11-24T12:34:56Z{upper} {message}",
            f"2026-11-24 12:34:56 [{level}] {message}",
            f"[2026-11-24 12:34:56,000: {upper}/MainProcess] {message}",
            f"2026-11-24 12:34:56.000 | {level}   | a.b:run:{status} - {message}",
            f"2026-11-24 12:34:56,000 - a.b - {upper} - {message}\n{traceback}",
            f"{upper}:a.b:{message}",
            f"[{upper}] {message}",
            f"<{status % 192}>Nov 24 12:34:56 h sshd[{status}]: {message}",
            f"<{status % 192}>1 2026-11-24T12:34:56Z h app 9 id [a@1 own={quoted}] {message}",
            f"Nov 24 12:34:56 h app[1]: {message}",
            f"192.0.2.7 - {value} {request}",
            f"[Tue Nov 24 12:34:56 2026] [{level.lower()}] [client 192.0.2.7] {message}",
            f"[Tue Nov 24 12:34:56.1 2026] [core:{level.lower()}] [pid 1:tid {status}] AH00126: {message}",
            f"ts=1795523696.5 level={level} msg={quoted} own={value} status={status}",
            f"ts=1795523696.5 lvl={json.dumps(level)} msg={quoted}",
            f"level={level}\u00a0msg={quoted}",
            f"{message}",
            f"{message}\n{value}\n",
        ]
    )


# --- generated rules and events -----------------------------------------------------------------------

FRAGMENTS = [
    *("error", "err", "crit", "fail", "failure", "kelvin", "\u212a", "\u0130", "i", "I", "\u0131", "é", "ß"),
    *(
        "/",
        '"',
        "'",
        "\\",
        "\\\\",
        "\\n",
        "\t",
        "\n",
        "\0",
        "\x7f",
        "\ud7ff",
        "😀",
        " ",
        "a b",
        "%2f",
        "{",
        "[",
        "(",
    ),
    *(
        "/etc/passwd",
        "../",
        "<script>",
        "-e",
        "e-0",
        "1e-05",
        "0.1",
        "100000.0",
        "404",
        "T12:",
        ".",
        "50",
        "+",
        "$",
    ),
]
NUMBERS = [
    0,
    1,
    5,
    17,
    50,
    60,
    404,
    4625,
    999_999_999,
    10**9,
    10**15 - 1,
    2**53,
    10**17,
    10**22,
    0.1,
    1.5,
    404.5,
]
NUMBERS += [1e-05, 100000.0, 1e16, 123456.789]
FIELDS = [
    "event",
    "level",
    "status",
    "own",
    "user.name",
    "exception",
    "exception.type",
    "exception.value",
    "severity",
]
KEYS = [
    *FIELDS,
    "user",
    "message",
    "msg",
    "log.level",
    "severityText",
    "severityNumber",
    "@timestamp",
    "body",
    "attributes",
]

texts = st.lists(st.sampled_from(FRAGMENTS), min_size=1, max_size=3).map("".join)
numbers = st.sampled_from(NUMBERS).flatmap(lambda n: st.sampled_from([n, -n]))
scalars = texts.flatmap(cased) | level_text() | numbers | st.booleans() | st.none()
values = (
    scalars
    | st.lists(scalars, max_size=2)
    | st.dictionaries(st.sampled_from(["name", "type", "value"]), scalars)
)
parts = st.lists(texts | st.sampled_from(list(Wild)), max_size=3).map(tuple)
written_levels = st.sampled_from([*LEVELS, "err", "fatal", "weird"])
tests = st.one_of(
    st.builds(Text, parts, st.booleans()),
    st.builds(lambda p: Text((Wild.ANY, p, Wild.ANY)), texts),
    st.builds(lambda w: Text((w,)), written_levels),
    st.builds(Number, numbers),
    st.builds(Truth, st.booleans()),
)
items = st.builds(Item, st.sampled_from([None, *FIELDS]), tests)
nodes: st.SearchStrategy[Node] = st.recursive(
    items,
    lambda inner: (
        st.builds(lambda n: And(tuple(n)), st.lists(inner, min_size=1, max_size=3))
        | st.builds(lambda n: Or(tuple(n)), st.lists(inner, min_size=1, max_size=3))
        | st.builds(Not, inner)
    ),
    max_leaves=4,
)


def rule_of(identity: str, condition: Node) -> Rule:
    return Rule(About(identity, "", identity, ""), LogSource(), condition)


@st.composite
def satisfying(draw: st.DrawFn, node: Node) -> tuple[dict[str, object], list[str]]:
    """Draw fields, and texts for anywhere, that go some way to satisfy a condition."""
    fields: dict[str, object] = {}
    anywhere: list[str] = []
    match node:
        case And():
            for inner in node.items:
                more, words = draw(satisfying(inner))
                fields |= more
                anywhere += words
        case Or():
            return draw(satisfying(draw(st.sampled_from(node.items))))
        case Item(field=field, test=Text(parts=pieces) as test):
            text = "".join(p if isinstance(p, str) else "x" for p in pieces)
            text = text if test.cased else draw(cased(text))
            if field is None:
                anywhere.append(text)
            else:
                fields[field] = text
        case Item(field=field, test=Number(value=value)):
            if field is None:
                anywhere.append(str(text_of(value)))
            else:
                fields[field] = draw(st.sampled_from([value, str(text_of(value))]))
        case Item(field=str(field), test=Truth(value=value)):
            fields[field] = value
    return fields, anywhere


@st.composite
def record(draw: st.DrawFn, condition: Node) -> bytes:
    """Draw a record of any format that may match a condition."""
    fields, anywhere = draw(satisfying(condition))
    message = "".join(anywhere) or draw(texts)
    if draw(st.booleans()):
        event = {
            "event": message,
            **draw(st.dictionaries(st.sampled_from(KEYS), values, max_size=2)),
            **fields,
        }
        return draw(json_text(event)).encode("utf-8")
    told = " ".join([message, *(str(v) for v in fields.values())])
    level = fields.get("level")
    status = fields.get("status")
    line = line_of(
        told,
        level if isinstance(level, str) else draw(level_text()),
        abs(status) % 1000
        if isinstance(status, int)
        else draw(st.sampled_from([0, 3, 7, 11, 12, 34, 404, 191])),
        draw(texts),
    )
    return draw(line).encode("utf-8", "replace")


@st.composite
def record_of_a_level(draw: st.DrawFn) -> bytes:
    level = draw(level_text())
    event = {draw(st.sampled_from(["level", "severity", "log.level", "severityText", "lvl"])): level}
    numbered = [{"level": n} for n in range(70)] + [{"severityNumber": n, "body": "b"} for n in range(30)]
    lines = draw(line_of("m", level, draw(st.integers(0, 191)), "v"))
    return draw(
        st.sampled_from([lines.encode(), orjson.dumps(event), orjson.dumps(draw(st.sampled_from(numbered)))])
    )
