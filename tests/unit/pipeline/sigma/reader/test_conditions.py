"""Conditions: how they bind, what they select, and how what is none is told (semantics, section 1)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import RuleError
from pipeline.sigma.form import And, Item, Node, Not, Or, Text
from pipeline.sigma.matcher.match import compile_rule
from pipeline.sigma.reader.conditions import DEEPEST, matching, parse
from tests.unit.pipeline.sigma.rule_text import refusal, rule_of


def item(name: str) -> Item:
    return Item(name, Text((name,)))


A, B, C = item("a"), item("b"), item("c")
ABC: dict[str, Node | None] = {"a": A, "b": B, "c": C}


@pytest.mark.parametrize(
    ("text", "node"),
    [
        ("a", A),
        ("a and b", And((A, B))),
        ("a or b or c", Or((A, B, C))),
        ("a or b and c", Or((A, And((B, C))))),
        ("a and b or c", Or((And((A, B)), C))),
        ("not a and b", And((Not(A), B))),
        ("not (a and b)", Not(And((A, B)))),
        ("not not a", Not(Not(A))),
        ("(a or b) and c", And((Or((A, B)), C))),
        ("((a))", A),
        ("(a)and(not(b))", And((A, Not(B)))),
        ("a AND NOT b Or c", Or((And((A, Not(B))), C))),
        ("a\n  and\tb\n", And((A, B))),
        ("1 of them", Or((A, B, C), name="1 of them")),
        ("any of them", Or((A, B, C), name="any of them")),
        ("All Of Them", And((A, B, C), name="all of Them")),
        ("1 of a*", Or((A,), name="1 of a*")),
        ("all of *", And((A, B, C), name="all of *")),
        ("1 of c", Or((C,), name="1 of c")),
        ("not 1 of a* and b", And((Not(Or((A,), name="1 of a*")), B))),
        ("a and (1 of b* or c)", And((A, Or((Or((B,), name="1 of b*"), C))))),
    ],
)
def test_operators_bind_as_they_should(text: str, node: Node) -> None:
    assert parse(text, ABC) == node


@pytest.mark.parametrize(
    ("name", "text", "node"),
    [
        ("not", "not", item("not")),
        ("not", "not not", Not(item("not"))),
        ("not", "a and not", And((A, item("not")))),
        ("not", "(not) or a", Or((item("not"), A))),
        ("not", "not a", Not(A)),
        ("and", "a and and", And((A, item("and")))),
        ("and", "and and and", item("and")),
        ("or", "not or or a", Or((Not(item("or")), A))),
        ("of", "of and a", And((item("of"), A))),
        ("all", "all or a", Or((item("all"), A))),
        ("all", "all of a", And((A,), name="all of a")),
        ("1", "1 and a", And((item("1"), A))),
        ("them", "them", item("them")),
        ("AND", "a and AND", And((A, item("AND")))),
        ("notepad", "notepad and a", And((item("notepad"), A))),
        ("or-b.c", "or-b.c or a", Or((item("or-b.c"), A))),
        ("sél", "not sél", Not(item("sél"))),
    ],
)
def test_identifier_may_be_called_like_a_word_of_the_language(name: str, text: str, node: Node) -> None:
    assert parse(text, {"a": A, name: item(name)}) == node


@pytest.mark.parametrize(
    ("pattern", "identifiers"),
    [
        ("them", ["sel_a", "sel_b", "x_sel"]),
        ("sel_*", ["sel_a", "sel_b"]),
        ("*_sel", ["x_sel"]),
        ("*sel*", ["sel_a", "sel_b", "x_sel"]),
        ("s*_*b", ["sel_b"]),
        ("*e*e*", []),
        ("sel_a", ["sel_a"]),
        ("_*", ["_sel"]),
        ("*", ["sel_a", "sel_b", "x_sel"]),
        ("SEL*", []),
        ("sel_a*a", []),
        ("s.l*", []),
    ],
)
def test_selector_takes_star_anywhere_and_leaves_what_is_hidden(pattern: str, identifiers: list[str]) -> None:
    assert matching(pattern, ["sel_a", "sel_b", "x_sel", "_sel"]) == identifiers


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a | count() > 5", "Sigma has no pipes any more; write a correlation"),
        ("(a", "Unbalanced parentheses: a `)` is missing"),
        ("a)", "Unbalanced parentheses: there is a `)` too many"),
        ("(a b)", "there is no `and` or `or` after `a` and before `b`"),
        ("a b", "there is no `and` or `or` after `a` and before `b`"),
        ("a and", "there is no search identifier after `and`"),
        ("and a", "there is no search identifier at the beginning and before `and`"),
        ("a or or b", "there is no search identifier after `or` and before `or`"),
        ("()", "there is no search identifier after `(` and before `)`"),
        ("not", "there is no search identifier after `not`"),
        ("2 of them", "there is `1 of`, `any of` and `all of`, but no `2 of`"),
        ("a or b of them", "but no `b of`"),
        ("1 of", "`1 of` what? `them`, or a name with `*` in it"),
        ("all of (a)", "`all of` what?"),
        ("1 of x*", "Selector '1 of x*' doesn't match any search identifier; "),
        ("1 of _*", "Selector '1 of _*' doesn't match"),
        ("a*", "'a*' may be several; write `1 of a*` or `all of a*`"),
        ("A", "no search identifier 'A'"),
        ("selektion", "no search identifier 'selektion'; did you mean 'selection'?"),
    ],
)
def test_what_is_no_condition_is_told(text: str, told: str) -> None:
    with pytest.raises(RuleError) as raised:
        parse(text, {**ABC, "selection": C})
    assert told in str(raised.value)


def test_selector_without_anything_to_select_is_told() -> None:
    with pytest.raises(RuleError, match=r"'1 of them' doesn't match .* there is none to select from"):
        parse("1 of them", {"_a": A})


@pytest.mark.parametrize("text", ["(" * 10_000 + "a" + ")" * 10_000, "(" * 10_000, "not " * 10_000 + "a"])
def test_hostile_depth_is_an_error_and_no_crash(text: str) -> None:
    with pytest.raises(RuleError, match="it is nested too deeply; 50 levels are possible"):
        parse(text, ABC)


def test_depth_counts_what_is_open_and_not_what_is_long() -> None:
    assert parse("(" * DEEPEST + "a" + ")" * DEEPEST, ABC) == A
    many: dict[str, Node | None] = {f"i{n}": item(f"i{n}") for n in range(10_000)}
    node = parse(" or ".join(f"(not {name})" for name in many), many)
    assert isinstance(node, Or)
    assert len(node.items) == 10_000


@pytest.mark.parametrize(
    ("text", "node"),
    [
        ("a and a", A),
        ("a or b or a", Or((A, B))),
        ("not a or not a", Not(A)),
        ("1 of b* or (1 of b*)", Or((B,), name="1 of b*")),
    ],
)
def test_what_is_said_twice_counts_once(text: str, node: Node) -> None:
    assert parse(text, ABC) == node


def test_what_is_said_twice_of_a_large_identifier_is_compiled_once() -> None:
    values = ", ".join(f"v{n}" for n in range(2000))
    rule = rule_of(f"sel: {{f|contains|all: [{values}]}}\ncondition: {' and '.join(['sel'] * 2000)}\n")
    assert rule.condition == rule_of(f"sel: {{f|contains|all: [{values}]}}\ncondition: sel\n").condition


def test_a_condition_that_comes_to_too_many_tests_is_refused() -> None:
    values = ", ".join(f"v{n}" for n in range(2000))
    others = "\n".join(f"o{n}: {{g: {n}}}" for n in range(51))
    condition = " and ".join(f"(sel or o{n})" for n in range(51))
    told = refusal(f"sel: {{f: [{values}]}}\n{others}\ncondition: {condition}\n")
    assert told == (
        "r.yml:57: detection.condition: the condition comes to 102,051 tests; up to 100,000 are possible, so"
        " name what is large once, or make several rules"
    )


def test_too_many_selectors_for_the_identifiers_are_refused() -> None:
    many: dict[str, Node | None] = {f"i{n}": item(f"i{n}") for n in range(2000)}
    with pytest.raises(RuleError, match="there are too many selectors for so many search identifiers"):
        parse(" or ".join(f"1 of {name}*" for name in many), many)


@pytest.mark.parametrize(
    "identifiers", ["s: {f: x}\nt: {f: y}", "s:\n- {f: [x, y], g: z}\n- {h: u}\nt: {f: y}"]
)
def test_the_deepest_condition_that_is_read_can_be_compiled(identifiers: str) -> None:
    condition = "s or t and (" * DEEPEST + "s or not t" + ")" * DEEPEST
    with pytest.raises(RuleError, match="nested too deeply"):
        rule_of(f"{identifiers}\ncondition: {condition}\n")
    condition = "s or t and (" * (DEEPEST - 1) + "s or t and not s" + ")" * (DEEPEST - 1)
    compile_rule(rule_of(f"{identifiers}\ncondition: [{condition}, t]\n"))


def test_what_a_pipeline_has_dropped_counts_neither_way() -> None:
    searches = {**ABC, "a": None}
    assert parse("a and b", searches) == B
    assert parse("not a or c", searches) == C
    assert parse("not (a and a)", searches) is None
    assert parse("1 of *", searches) == Or((B, C), name="1 of *")
    assert parse("1 of a*", searches) is None


def test_error_stands_at_its_condition() -> None:
    told = refusal("s: {f: x}\ncondition:\n  - s\n  - s and\n")
    assert told == "r.yml:8: detection.condition[1]: there is no search identifier after `and`"


_CONDITIONS = st.recursive(
    st.sampled_from("abc"),
    lambda inner: st.one_of(
        st.tuples(st.just("not"), inner), st.tuples(st.sampled_from(["and", "or"]), inner, inner)
    ),
    max_leaves=12,
)


def _written(tree: object, parent: int = 0) -> str:
    match tree:
        case ("not", inner):
            return f"not {_written(inner, 3)}"
        case (str(word), left, right):
            level = {"or": 1, "and": 2}[word]
            text = f"{_written(left, level)} {word} {_written(right, level + 1)}"
            return f"({text})" if level < parent else text
        case _:
            return str(tree)


def _value(tree: object, truths: dict[str, bool]) -> bool:
    match tree:
        case ("not", inner):
            return not _value(inner, truths)
        case ("and", left, right):
            return _value(left, truths) and _value(right, truths)
        case ("or", left, right):
            return _value(left, truths) or _value(right, truths)
        case _:
            return truths[str(tree)]


def _holds(node: Node | None, truths: dict[str, bool]) -> bool:
    match node:
        case And():
            return all(_holds(n, truths) for n in node.items)
        case Or():
            return any(_holds(n, truths) for n in node.items)
        case Not():
            return not _holds(node.item, truths)
        case Item():
            return truths[str(node.field)]
        case None:
            raise AssertionError


@given(_CONDITIONS, st.tuples(st.booleans(), st.booleans(), st.booleans()))
def test_condition_means_what_its_operators_mean(tree: object, values: tuple[bool, bool, bool]) -> None:
    truths = dict(zip("abc", values, strict=True))
    assert _holds(parse(_written(tree), ABC), truths) is _value(tree, truths)
