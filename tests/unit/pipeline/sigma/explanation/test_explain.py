from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings

from pipeline.event import Event
from pipeline.sigma.explanation.explain import Explained, Group, Leaf, Part, explain
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
    Test,
    Text,
    TimePart,
    Truth,
    Wild,
)
from pipeline.sigma.matcher.match import compile_rule
from pipeline.sigma.matcher.subject import Subject
from tests.unit.pipeline.sigma.oracle import events, nodes, rule_of

Fields = dict[str, object]
ANY = Wild.ANY


def told(node: Node, fields: Fields, text: str | None = None) -> Explained:
    return explain(rule_of(node), Event(0, fields, text or "", structured=text is None))


def leaf(field: str | None, test: Test, fields: Fields, text: str | None = None) -> Leaf:
    found = told(Item(field, test), fields, text).condition
    assert isinstance(found, Leaf)
    return found


# --- the truth of it -------------------------------------------------------------------------------------


def truth(part: Part) -> bool:
    """The truth of a part from that of its members, of which none may be missing."""
    if isinstance(part, Leaf):
        return part.held
    members = [truth(member) for member in part.members]
    assert all(a is m.held for a, m in zip(members, part.members, strict=True))
    members += [True] * part.left_held + [False] * (part.left - part.left_held)
    match part.kind:
        case "all":
            return all(members)
        case "any":
            return any(members)
        case "not":
            return not members[0]


@settings(max_examples=500)
@given(nodes, events)
def test_an_explanation_says_what_the_compiled_rule_says(node: Node, event: Event) -> None:
    explained = explain(rule_of(node), event)
    assert explained.matched is compile_rule(rule_of(node))(Subject(event))
    assert explained.condition.held is explained.matched
    assert truth(explained.condition) is explained.matched
    assert bool(explained.reasons) is not explained.matched
    assert all(reason.isprintable() for reason in explained.reasons)


def decisive(part: Part) -> bool | None:
    """The truth of a part from its decisive leaves alone; None where nothing of it decides."""
    if not part.decides:
        return None
    if isinstance(part, Leaf):
        return part.held
    members = [m for member in part.members if (m := decisive(member)) is not None]
    if part.kind == "not":
        return not members[0]
    return all(members) if part.kind == "all" else any(members)


@settings(max_examples=300)
@given(nodes, events)
def test_what_decides_is_enough_for_the_outcome(node: Node, event: Event) -> None:
    explained = explain(rule_of(node), event)
    assert decisive(explained.condition) is explained.matched


# --- what decides ----------------------------------------------------------------------------------------

YES, NO = Item("y", Text(("y",))), Item("n", Text(("n",)))
EVENT: Fields = {"y": "y", "n": "x"}


@pytest.mark.parametrize(
    ("node", "decides"),
    [
        (And((YES, NO)), [False, True]),
        (And((YES, YES)), [True, True]),
        (Or((YES, NO)), [True, False]),
        (Or((NO, NO)), [True, True]),
    ],
)
def test_parts_decide_that_the_outcome_hangs_on(node: Node, decides: list[bool]) -> None:
    group = told(node, EVENT).condition
    assert isinstance(group, Group)
    assert [member.decides for member in group.members] == decides


def test_nothing_decides_within_what_does_not() -> None:
    group = told(And((Or((YES, NO)), NO)), EVENT).condition
    assert isinstance(group, Group)
    within = group.members[0]
    assert isinstance(within, Group)
    assert [member.decides for member in within.members] == [False, False]


# --- the tree --------------------------------------------------------------------------------------------


def test_identifiers_are_named_and_nameless_groups_of_one_kind_are_one() -> None:
    node = And((And((YES, And((NO, YES)))), And((YES,), "selection"), Not(Or((NO,), "1 of filter_*"))))
    group = told(node, EVENT).condition
    assert isinstance(group, Group)
    assert (group.kind, group.name, len(group.members)) == ("all", "", 5)
    selection, excluded = group.members[3:]
    assert isinstance(selection, Group)
    assert selection.name == "selection"
    assert isinstance(excluded, Group)
    assert (excluded.kind, excluded.held) == ("not", True)
    (inner,) = excluded.members
    assert isinstance(inner, Group)
    assert (inner.kind, inner.name, inner.held) == ("any", "1 of filter_*", False)


def listed(count: int, *more: str, kind: type[And | Or] = Or) -> Group:
    node = kind(tuple(Item("f", Text((ANY, t, ANY))) for t in (*(f"needle{n}" for n in range(count)), *more)))
    group = told(node, {"f": "hay, hay2"}).condition
    assert isinstance(group, Group)
    return group


def test_a_long_list_is_folded_to_what_held() -> None:
    group = listed(300, "hay")
    assert group.held
    assert [(m.held, m.test) for m in group.members if isinstance(m, Leaf)] == [
        (False, "f contains 'needle0'"),
        (False, "f contains 'needle1'"),
        (False, "f contains 'needle2'"),
        (True, "f contains 'hay'"),
    ]
    assert (group.left, group.left_held) == (297, 0)


def test_a_long_list_of_which_none_held_is_folded_to_a_few() -> None:
    group = listed(300)
    assert (group.held, len(group.members), group.left, group.left_held) == (False, 3, 297, 0)


def test_a_long_list_that_must_all_hold_is_folded_to_what_did_not() -> None:
    group = listed(1, *["hay"] * 50, kind=And)
    assert (group.held, [m.held for m in group.members]) == (False, [False, True, True, True])
    assert (group.left, group.left_held) == (47, 47)


def test_a_short_list_is_shown_whole() -> None:
    group = listed(7, "hay")
    assert (len(group.members), group.left) == (8, 0)


# --- what was found --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "found", "left"),
    [
        ("Whoami", ("'Whoami'",), 0),
        (5, ("5",), 0),
        (None, ("null",), 0),
        ([], ("null",), 0),
        ({"a": 1}, ("an object of 1",), 0),
        (["a", 1, None], ("'a'", "1", "null"), 0),
        (list("abcdefgh"), ("'a'", "'b'", "'c'", "'d'"), 4),
        ([*"abcdefgh", "needle"], ("'needle'", "'a'", "'b'", "'c'"), 5),
    ],
)
def test_values_of_the_field_are_shown_and_what_held_comes_first(
    value: object, found: tuple[str, ...], left: int
) -> None:
    shown = leaf("f", Text((ANY, "needle", ANY)), {"f": value})
    assert (shown.found, shown.left) == (found, left)


@pytest.mark.parametrize(
    "test",
    [
        Text((ANY, "NEEDLE", ANY)),
        Pattern("need+le"),
        Text(("x", ANY, "needle", ANY)),
        Text((ANY, "needle", Wild.ONE, ANY)),
    ],
)
def test_a_long_value_is_shown_around_the_match(test: Test) -> None:
    shown = leaf("f", test, {"f": "x" + "é" * 5000 + "needle" + "y" * 5000})
    assert shown.held
    # Of several pieces the first is shown.
    assert ("needle" in shown.found[0]) is not (isinstance(test, Text) and test.parts[0] == "x")
    assert len(shown.found[0]) < 160


def test_a_keyword_tells_where_it_stands() -> None:
    fields: Fields = {"a": {"b": ["no", "an ATTACK!"]}}
    assert leaf(None, Text(("attack",)), fields).found == ("'an ATTACK!'",)
    assert leaf(None, Text(("attach",)), fields).found == ()
    assert leaf(None, Number(40), {"a": 1404}).found == ("'1404'",)
    assert leaf(None, Pattern("A+T"), fields).found == ("'an ATTACK!'",)
    assert leaf(None, Text(("failed",)), {}, "login failed").found == ("'login failed'",)


# --- why not ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("test", "value", "why"),
    [
        (Text(("CMD.EXE",), cased=True), "cmd.exe", "is 'cmd.exe' — cased"),
        (Text((ANY, "B"), cased=True), ["a", "ab"], "is 'ab' — cased"),
        (Text(("x",)), " X ", "only the blanks around it differ"),
        (Text(("x",)), "a x b", "it is in there, but is not all of it"),
        (Text(("x", ANY)), "ax", "it is in there, but not first"),
        (Text((ANY, "x")), "xa", "it is in there, but not last"),
        (Text((ANY, "x", ANY)), "y", ""),
        (Text(("x",)), "y", ""),
        (Text(("x",)), None, "it is null"),
        (Text(("x",)), {"a": "x"}, "it is an object: its parts have dotted names"),
        (Text(("x",)), {}, "it is an empty object"),
        (Text(("x",)), [["x"]], "it is a list within a list, and no test looks into that"),
        (Pattern("x"), "X", "is 'X' — case counts in a regular expression without |i"),
        (Pattern("x"), "y", ""),
        (Number(5), "five", "it is text, not a number"),
        (Number(5), "05", "as a text it is written in another way"),
        (Number(1), True, "it is true or false, not a number"),
        (Number(5), 6, ""),
        (Compare("gt", 5), "six", "it is text, not a number"),
        (Compare("gt", 5), "4", ""),
        (Compare("gt", 0), True, "it is true or false, not a number"),
        (Network("10.0.0.0/8"), "host", "it is no IP address"),
        (Network("10.0.0.0/8"), "192.0.2.1", ""),
        (Null(), "x", "it is there, and not null"),
        (Exists(value=False), None, "it is there"),
        (TimePart("hour", "gte", 20), "2026-11-24T12:00:00Z", "the hour is 12 (UTC)"),
        (TimePart("hour", "gte", 20), "noon", "it is no time"),
        (FieldRef("g"), "x", "g is 'y'"),
        (FieldRef("h"), "x", "h is 1, 2, 3, 4 and 1 more"),
        (FieldRef("G"), "x", "the field G is missing; did you mean 'g'?"),
        (Truth(value=True), "yes", ""),
    ],
)
def test_why_a_value_does_not_do(test: Test, value: object, why: str) -> None:
    shown = leaf("f", test, {"f": value, "g": "y", "h": [1, 2, 3, 4, 5]})
    assert (shown.held, shown.why) == (False, why)


@pytest.mark.parametrize(
    ("field", "meant"),
    [
        ("commandline", "CommandLine"),
        ("CommandLin", "CommandLine"),
        ("command_line", "process.command_line"),
        ("process.Command_Line", "process.command_line"),
        ("winlog.event_data.Image", "proc.Image"),
        ("process.comand_line", "process.command_line"),
        ("entirely.different", None),
        ("x" * 5000, None),
    ],
)
def test_a_missing_field_has_a_near_name(field: str, meant: str | None) -> None:
    fields: Fields = {
        "CommandLine": "x",
        "process": {"command_line": "x", "list": [{"z": 1}]},
        "proc": {"Image": "x"},
    }
    hint = f"; did you mean {meant!r}?" if meant else ""
    shown = leaf(field, Text(("x",)), fields)
    assert (shown.why, shown.found) == (f"the field is missing{hint}", ("missing",))


def test_a_keyword_that_differs_in_case_only_says_so() -> None:
    assert leaf(None, Text(("Attack",), cased=True), {"a": "attack"}).why == "is 'attack' — cased"
    assert leaf(None, Pattern("Attack"), {"a": "attack"}).why.startswith("is 'attack' — case counts")


# --- reasons ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("node", "reasons"),
    [
        (YES, ()),
        (NO, ("not so: n is 'n' — found 'x'",)),
        (Not(YES), ("y is 'y', and must not",)),
        (Not(Or((YES, NO), "filter")), ("filter holds, and must not: y is 'y'",)),
        (
            Not(And((YES, Item("y", Exists(value=True))), "filter")),
            ("filter holds, and must not: y is 'y', and 1 more",),
        ),
        (
            And((NO, Item("z", Text(("z",))), Item("z", Number(5)))),
            ("not so: n is 'n' — found 'x'", "z: the field is missing"),
        ),
        (
            Or(tuple(Item("n", Text((f"v{i}",))) for i in range(20)), "selection"),
            ("none of the 20 of selection holds: n is 'x'",),
        ),
        (
            Or((*(Item("n", Text((f"v{i}",))) for i in range(20)), Not(YES))),
            ("none of the 21 alternatives holds: n is 'x'",),
        ),
        (
            Or((*(Item("n", Text((f"v{i}",))) for i in range(3)), Not(YES))),
            ("none of the 4 alternatives holds",),
        ),
        (
            And(tuple(Item("n", Text((f"v{i}",))) for i in range(20))),
            tuple(f"not so: n is 'v{i}' — found 'x'" for i in range(5)),
        ),
        (Item(None, Text(("attack",))), ("not so: anywhere: 'attack' — not found",)),
    ],
)
def test_reasons_name_what_keeps_the_rule_from_matching(node: Node, reasons: tuple[str, ...]) -> None:
    assert told(node, EVENT).reasons == reasons


def test_hostile_values_are_escaped_wherever_they_are_told() -> None:
    evil = "\x1b[2J\u202e" + "x" * 1000
    fields: Fields = {evil: evil, "f": evil, "g": [evil, evil]}
    node = And(
        (
            Item("f", Text(("y",))),
            Item("g", FieldRef("f", "contains", cased=True)),
            Item(evil.upper(), Text(("x",))),
        )
    )
    written = msgspec.json.encode(told(node, fields)).decode()
    assert written.isprintable()
    assert len(written) < 3000


def test_a_rule_that_can_not_be_compiled_is_not_explained() -> None:
    node: Node = YES
    for _ in range(200):
        node = Not(node)
    with pytest.raises(Exception, match="nested too deeply"):
        told(node, EVENT)
