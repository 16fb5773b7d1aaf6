"""Witnesses: which condition has which, and that names of fields stand in the bytes of every format."""

from __future__ import annotations

import json
from collections.abc import Mapping
from random import Random
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.decode import FORMATS, choose
from pipeline.decode.stacktrace import HEADER
from pipeline.detect.prefilter import Prefilter
from pipeline.errors import DecodeError
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
from pipeline.sigma.matcher.match import compile_rule
from pipeline.sigma.matcher.subject import Subject
from pipeline.sigma.witness.witness import MADE, witness, witness_of
from tests.differential.made_rules import made_rules
from tests.differential.values import wanted
from tests.differential.written import written
from tests.unit.pipeline.decode.test_witnesses import LINES
from tests.unit.pipeline.detect.drawn import rule_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipeline.sigma.form import About

ANY, ONE, DASH = Wild.ANY, Wild.ONE, Wild.DASH
RECORD_MS = 1_795_537_450_000

# --- which condition has one ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("node", "matching", "other"),
    [
        (Item("f", Exists(True)), b'{"f":null}', b'{"g":"x"}'),
        (Item("f", Exists(True)), b"ts=1 f", b"ts=1 g"),
        (Item("a.f", Compare("gt", 3)), b'{"a":{"f":4}}', b'{"a":4}'),
        (Item("f", Network("10.0.0.0/8")), b'{"f":"10.1.2.3"}', b'{"g":"10.1.2.3"}'),
        (
            Item("f", TimePart("hour", "gte", 3)),
            b'{"f":"2026-11-24T12:34:56Z"}',
            b'{"g":"2026-11-24T12:34:56Z"}',
        ),
        (Item("f", FieldRef("gg")), b'{"f":"x","gg":"x"}', b'{"h":"x"}'),
        (Item("event", FieldRef("gg")), b'{"event":"x","gg":"x"}', b'{"event":"x"}'),
        (Item("f", Truth(True)), b'{"f":true}', b'{"g":1}'),
        (Item("f", Number(5)), b'{"f":5}', b'{"g":5}'),
        (Item("f", Text((ANY,))), b'{"f":""}', b'{"g":""}'),
        (Item("f", Text(())), b"ts=1 f", b"ts=1 g"),
        (Item("f", Text(("x",))), b'{"f":"x"}', b'{"g":"x"}'),
        (Item("f", Pattern(r"^\d+$")), b'{"f":"1"}', b'{"g":"1"}'),
        (Item("f", Pattern(r"a*")), b"ts=1 f", b"ts=1 g"),
        (Item("f", Pattern("(?i)(foo|bar)baz")), b'{"f":"FOObaz"}', b'{"f":"foo baz"}'),
        (Item("f", Pattern("(?i)task")), '{"f":"ta\u017f\u212a"}'.encode(), b'{"f":"tack"}'),
        (Item(None, Pattern("b[ao]rn")), b'{"g":"born"}', b'{"g":"burn"}'),
        (Item(None, Pattern("err(or)?")), b'{"level":50}', b'{"level":30}'),
        (Item("level", Pattern("^cr")), b'{"level":"FATAL"}', b'{"level":"info"}'),
        (Item("f", Text((ANY, DASH, "enc ", ANY))), '{"f":"x \u2013enc y"}'.encode(), b'{"f":"x enc y"}'),
        (Item("f", Text((ANY, "и", ANY))), rb'{"f":"\u0418"}', b'{"g":1}'),
        (Item("f", Text(("日本",))), "日本".encode().join((b'{"f":"', b'"}')), '{"f":"日"}'.encode()),
        (Item("f", Text(("caf\ufffd",))), b"level=info f=caf\xff", b"level=info g=caff"),
        (Not(Item("f", Null())), b'{"f":1}', b'{"g":1}'),
        (Not(Item("f", Exists(False))), b'{"f":1}', b'{"g":1}'),
        (Not(Not(Item("f", Text(("attack",))))), b'{"f":"attack"}', b'{"f":"x"}'),
        (Not(Or((Item("g", Null()), Item("h", Text(("x",)))))), b'{"g":1}', b'{"h":1}'),
        (And((Not(Item("g", Text(("x",)))), Item("f", Text(("attack",))))), b'{"f":"attack"}', b'{"f":"x"}'),
        (
            Item("Image", Exists(True)),
            b'{"Event":{"System":{"EventID":1},"EventData":{"NewProcessName":"x"}}}',
            b"{}",
        ),
        (
            Item("Provider_Name", Exists(True)),
            b'{"Event":{"System":{"EventID":1,"Provider":{"@Name":"x"}}}}',
            b'{"name":"x"}',
        ),
        (Item("level", Text(("error",))), b'{"Event":{"System":{"EventID":1,"Level":2}}}', b'{"Level":3}'),
        (Item("level", Text(("error",))), b'{"Event":{"System":{"EventID":1,"Level":{"#text":"2"}}}}', b"{}"),
    ],
)
def test_what_matches_is_a_candidate_and_the_other_is_none(node: Node, matching: bytes, other: bytes) -> None:
    rule = rule_of("r", node)
    prefilter = Prefilter([rule])
    assert prefilter.always == ()
    assert compile_rule(rule)(Subject(choose("auto").decode(matching, RECORD_MS)))
    assert prefilter.candidates([matching, other]) == {0: frozenset({"r"})}


@pytest.mark.parametrize(
    "node",
    [
        Item("f", Null()),
        Item("f", Exists(False)),
        Not(Item("f", Text(("attack",)))),
        Not(And((Item("g", Null()), Item("h", Text(("attack",)))))),
        Not(Item(None, Text(("attack",)))),
        Or((Item("f", Text(("attack",))), Item("g", Null()))),
        Item("naïve", Exists(True)),
        Item("event", Exists(True)),
        Item("exception.type", Exists(True)),
        Item("timestamp", TimePart("hour", "gte", 3)),
        Item("c-ip", Network("10.0.0.0/8")),
        Item("status", Compare("gte", 500)),
        Item(None, Text(("a",))),
        Item(None, Pattern(r"\d")),
        And(()),
        Or(()),
    ],
)
def test_what_may_match_unseen_is_always_examined(node: Node) -> None:
    assert witness(node) is None


def test_rarer_member_is_looked_for() -> None:
    rare = Item("f", Text(("mimikatz",)))
    common = Item("g", Text((ANY, ".exe")))
    expected = witness(rare)
    assert expected is not None
    for node in (And((rare, common)), And((common, rare)), And((Item("h", Exists(True)), rare))):
        assert witness(node) == expected


def test_fewer_alternatives_are_preferred() -> None:
    one, many = Text(("sekurlsa",)), [Item("f", Text((f"kerberos{n}",))) for n in range(9)]
    assert witness(And((Or(tuple(many)), Item("f", one)))) == witness(Item("f", one))


class Told:
    """A rule that says what stands in the events it matches."""

    def __init__(self, about: About, *needles: str) -> None:
        self.about = about
        self.needles = needles


def test_needles_of_a_rule_are_its_witness() -> None:
    about = rule_of("r", Item("f", Null())).about
    prefilter = Prefilter([Told(about, "invoice", "Überweisung")])
    values = [
        b"an INVOICE",
        b"x",
        '{"f":"ÜBERWEISUNG"}'.encode(),
        rb'{"f":"\u00fcberweisung"}',
        rb'"\u0069nvoice"',
    ]
    assert prefilter.candidates(values).keys() == {0, 2, 3, 4}
    assert witness_of(Told(about)) is None
    assert witness_of(Told(about, "invoice", "x")) is None


# --- names stand in the bytes, but for those in `MADE` ------------------------------------------------------


def names(fields: object, prefix: str = "") -> Iterator[str]:
    """Yield the dotted name of whatever a rule can find."""
    match fields:
        case Mapping():
            for name, value in fields.items():
                yield prefix + name
                yield from names(value, f"{prefix}{name}.")
        case list():
            for value in fields:
                if isinstance(value, dict):
                    yield from names(value, prefix)


def assert_names_stand(format_name: str, raw: bytes) -> int:
    event = FORMATS[format_name].decode(raw, RECORD_MS)
    asked = [rule_of(name, Item(name, Exists(True))) for name in sorted(set(names(event.fields)))]
    prefilter = Prefilter(asked)
    subject = Subject(event)
    present = {rule.about.id for rule in asked if compile_rule(rule)(subject)}
    assert present <= {*prefilter.always, *prefilter.candidates([raw]).get(0, ())}
    return len(present - set(prefilter.always))


WINDOWS = [
    json.dumps(event)
    for event in (
        {
            "Event": {
                "#attributes": {"xmlns": "x"},
                "System": {
                    "Provider": {"#attributes": {"Name": "P", "Guid": "g"}},
                    "EventID": 4688,
                    "Level": 0,
                    "TimeCreated": {"#attributes": {"SystemTime": "2026-11-24T12:34:56Z"}},
                    "Execution": {"#attributes": {"ProcessID": 4, "ThreadID": 8}},
                    "Channel": "Security",
                    "Computer": "c",
                },
                "EventData": {
                    "NewProcessName": "a",
                    "ParentProcessName": "b",
                    "SubjectLogonId": "0x1",
                    "Threat Name": "t",
                },
            }
        },
        {
            "Event": {
                "System": {
                    "Provider": "P",
                    "EventID": {"#text": 5, "@Qualifiers": 1},
                    "Security": {"@UserID": "S"},
                },
                "UserData": {"W": {"a_b": {"@c": 1, "#text": "d"}}},
                "RenderingInfo": {"Message": "m"},
            }
        },
        {
            "Event": {
                "System": {"EventID": 1},
                "EventData": {"Data": [{"Name": "Image", "#text": "x"}, {"@Name": "Own", "_": "y"}, "z"]},
            }
        },
        {
            "winlog": {
                "event_id": 1,
                "channel": "c",
                "provider_name": "p",
                "provider_guid": "g",
                "computer_name": "n",
                "record_id": 7,
                "activity_id": "i",
                "task": "t",
                "event_data": {"param1": "x"},
                "process": {"pid": 4},
            },
            "message": "m",
            "host": {"name": "h"},
        },
        {
            "EventID": 1,
            "SourceName": "Microsoft-Windows-X",
            "Hostname": "h",
            "RecordNumber": 7,
            "ProviderGuid": "g",
            "Task": 1,
            "ExecutionProcessID": 4,
            "StringInserts": ["a"],
            "Severity": "ERROR",
            "Message": "m",
            "EventTime": "2026-11-24 12:34:56",
        },
    )
]


@pytest.mark.parametrize(("name", "line"), [*LINES, *(("windows", line) for line in WINDOWS)])
def test_names_stand_in_the_raw_bytes(name: str, line: str) -> None:
    assert_names_stand(name, line.encode())


def test_windows_names_have_witnesses() -> None:
    assert all(assert_names_stand("windows", line.encode()) > 3 for line in WINDOWS[:1])


@settings(deadline=None, max_examples=300)
@given(st.integers(0, 2**32))
def test_names_of_any_event_stand_in_the_raw_bytes(seed: int) -> None:
    random = Random(seed)
    raw = written(wanted(And(tuple(r.condition for r in made_rules(random, 4))), random), random)
    for decoder in FORMATS.values():
        try:
            decoder.decode(raw, RECORD_MS)
        except DecodeError:
            continue
        assert_names_stand(decoder.name, raw)


@pytest.mark.parametrize("name", sorted(MADE))
def test_made_name_is_really_made_by_some_decoder(name: str) -> None:
    lines = [*LINES, *(("windows", line) for line in WINDOWS), *MORE]
    assert any(name in set(names(FORMATS[f].decode(line.encode(), RECORD_MS).fields)) for f, line in lines)


MORE = [
    (
        "json",
        '{"trace.id":"t","spanId":"s","deployment.environment":"e","logger_name":"l","hostname":"h","body":"b"}',
    ),
    ("syslog", "Nov 24 12:34:56 h sshd[1]: Failed password for x from name.example port 22 ssh2"),
    (
        "basic",
        f'2026-11-24 12:34:56,000 - a.b - ERROR - m\n{HEADER}\n  File "x.py", line 1, in f\nKeyError: v',
    ),
]
