"""No rule and no event stalls a worker: whatever is more than linear here would not end within hours."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from pipeline.decode import choose
from pipeline.detect.prefilter import Prefilter
from pipeline.errors import RuleError
from pipeline.event import Event
from pipeline.sigma.explanation.explain import explain
from pipeline.sigma.form import Item, Text, Wild
from pipeline.sigma.matcher.match import compile_rule
from pipeline.sigma.matcher.subject import Subject
from pipeline.sigma.matcher.text import LONGEST_PIECE, text_predicate
from tests.evil.pairs import pairs
from tests.unit.pipeline.sigma.oracle import rule_of as rule
from tests.unit.pipeline.sigma.rule_text import rule_of

if TYPE_CHECKING:
    from tests.evil.pairs import Pair

RECORD_MS = 1_795_537_450_000
PAIRS = list(pairs(1_000_000))


@pytest.mark.timeout(20)
@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair.name)
def test_evil_event_is_told_from_the_rule_in_linear_time(pair: Pair) -> None:
    event = choose("auto").decode(pair.raw, RECORD_MS)
    assert compile_rule(pair.rule)(Subject(event)) is pair.matches
    prefilter = Prefilter([pair.rule])
    candidate = bool(prefilter.candidates([pair.raw])) or bool(prefilter.always)
    assert candidate or not pair.matches


@pytest.mark.timeout(20)
@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair.name)
def test_evil_event_is_explained_in_linear_time(pair: Pair) -> None:
    event = choose("auto").decode(pair.raw, RECORD_MS)
    assert explain(pair.rule, event).matched is pair.matches


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "regex",
    ["((a{0,100}){0,100}){0,100}", "(a{1000}){1000}", r"(a)\1", "(?=a)b", "(?<!a)b", "a{1001}", "(?P>x)"],
)
def test_regex_that_linear_time_does_not_suffice_for_is_refused(regex: str) -> None:
    with pytest.raises(RuleError, match="can't be matched in linear time"):
        rule_of(f"s:\n  f|re: '{regex}'\ncondition: s\n")


def test_a_piece_with_a_question_mark_has_a_limit() -> None:
    longest = ("a", *[Wild.ONE] * (LONGEST_PIECE - 1))
    assert text_predicate(Text(longest))("a" + "b" * (LONGEST_PIECE - 1))
    with pytest.raises(RuleError, match="1,001 characters with `\\?` among them; up to 1,000"):
        text_predicate(Text((*longest, "b")))
    # Without a question mark, and between stars, there is none.
    assert text_predicate(Text((Wild.ANY, "a" * 10_000, Wild.ANY, "b")))("a" * 10_000 + "xb")
    assert text_predicate(Text((*longest, Wild.ANY, *longest)))("a" + "b" * 999 + "x" + "a" + "b" * 999)


def test_the_limit_is_told_with_the_rules_place() -> None:
    detection = f"s:\n  f: 'a{'?' * 1000}b'\ncondition: s\n"
    with pytest.raises(RuleError) as raised:
        rule_of(detection)
    assert (raised.value.file, raised.value.line, raised.value.path) == ("r.yml", 6, "detection.s.f")


def test_the_limit_is_told_by_the_compiler_of_what_was_not_read() -> None:
    long = Item("f", Text(("a", *[Wild.ONE] * LONGEST_PIECE)))
    with pytest.raises(RuleError) as raised:
        compile_rule(replace(rule_of("s: {f: x}\ncondition: s\n"), condition=long))
    assert (raised.value.file, raised.value.line, raised.value.path) == ("r.yml", 1, "detection")


# --- look-ups: steps are counted -------------------------------------------------------------------------

STEPS: Counter[str] = Counter()


class Counted(dict[str, object]):
    """An object that counts what is asked of it."""

    def __contains__(self, key: object) -> bool:
        STEPS["asked"] += 1
        return super().__contains__(key)

    def __iter__(self) -> object:  # type: ignore[override]  # it is an iterator all the same
        STEPS["asked"] += len(self)
        return super().__iter__()


def many_ways(depth: int) -> Counted:
    """Return objects of which a.a.a… is led to by every way to part it: 3^(depth/3) of them."""
    if depth <= 0:
        return Counted()
    return Counted({".".join("a" * n): many_ways(depth - n) for n in (1, 2, 3)})


@pytest.mark.parametrize("depth", [6, 9, 12])
def test_each_object_is_looked_at_once_however_many_ways_lead_there(depth: int) -> None:
    tree = many_ways(depth)
    objects = count(tree)
    for parts in (depth, depth + 1, 1000):
        STEPS.clear()
        assert Subject(Event(0, tree, "")).values(".".join("a" * parts) + ".z") == ()
        # One question for the whole rest, and one for each key or for each dot, whichever are fewer.
        assert 0 < STEPS["asked"] <= 4 * objects


def count(value: object) -> int:
    return 1 + sum(map(count, value.values())) if isinstance(value, dict) else 0


def test_a_long_name_costs_a_small_object_no_more_than_its_keys() -> None:
    STEPS.clear()
    elements = [Counted({"b": 1, "c": 2}) for _ in range(1000)]
    assert Subject(Event(0, {"a": elements}, "")).values(".".join(["a"] * 1000)) == ()
    assert STEPS["asked"] == 3 * len(elements)


def test_names_of_a_thousand_parts_are_found_without_recursion() -> None:
    inner: object = "x"
    for _ in range(5000):
        inner = {"a": inner}
    assert isinstance(inner, dict)
    subject = Subject(Event(0, inner, ""))
    assert subject.values(".".join(["a"] * 5000)) == ("x",)
    assert subject.texts(".".join(["a"] * 4999)) == ()


def test_the_first_of_many_ways_that_leads_somewhere_counts() -> None:
    fields: dict[str, object] = {"a.a": [{"z": 1}, {"a": "far"}, {"a": "too"}], "a": {"a": {"a": "near"}}}
    assert Subject(Event(0, fields, "")).values("a.a.a") == ("far", "too")


@pytest.mark.timeout(20)
def test_an_explanation_of_a_huge_event_is_short() -> None:
    fields: dict[str, object] = {f"k{n}" * 50: {"v": "x" * 1000} for n in range(20_000)}
    fields["f"] = ["y" * 100_000] * 1000
    told = explain(rule(Item("F", Text(("z",)))), Event(0, fields, ""))
    assert len(repr(told)) < 1000
    told = explain(rule(Item("f", Text((Wild.ANY, "z", Wild.ANY)))), Event(0, fields, ""))
    assert len(repr(told)) < 1500
