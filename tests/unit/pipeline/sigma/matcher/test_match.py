"""What each modifier and type means, in both outcomes (semantics, section 1)."""

from __future__ import annotations

import inspect
from typing import cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import RuleError
from pipeline.event import Event
from pipeline.sigma.form import And, Exists, Item, Network, Node, Not, Number, Or, Text, Wild
from pipeline.sigma.matcher.match import DEEPEST, Matcher, compile_node, compile_rule
from pipeline.sigma.matcher.subject import Subject
from tests.unit.pipeline.sigma.oracle import events, holds, nodes, rule_of
from tests.unit.pipeline.sigma.rule_text import item_matches, matches

Fields = dict[str, object]

YES, NO = True, False


@pytest.mark.parametrize(
    ("item", "value", "outcome"),
    [
        # Equality, and case
        ("f: Abc", "aBC", YES),
        ("f: abc", "abcd", NO),
        ("f: 'Äß'", "äß", YES),
        ("f|cased: Abc", "Abc", YES),
        ("f|cased: Abc", "abc", NO),
        ("f: 'x\u212a'", "Xk", YES),
        # contains, startswith, endswith
        ("f|contains: b", "aBc", YES),
        ("f|contains: b", "ac", NO),
        ("f|contains: ''", "", YES),
        ("f|startswith: ab", "ABc", YES),
        ("f|startswith: ab", "cab", NO),
        ("f|endswith: bc", "aBC", YES),
        ("f|endswith: bc", "bca", NO),
        ("f|contains|cased: B", "aBc", YES),
        ("f|cased|contains: B", "abc", NO),
        ("f|startswith|cased: A", "Ab", YES),
        ("f|endswith|cased: B", "ab", NO),
        # Lists under a field
        ("f: [a, b]", "b", YES),
        ("f: [a, b]", "c", NO),
        ("f|contains|all: [a, b]", "xbxa", YES),
        ("f|contains|all: [a, b]", "xbx", NO),
        ("f|contains: [a, b]", "xb", YES),
        # Wildcards and escapes
        ("f: 'a*c'", "a\nbc", YES),
        ("f: 'a*c'", "ab", NO),
        ("f: 'a?c'", "aéc", YES),
        ("f: 'a?c'", "ac", NO),
        ("f: 'a?c'", "abbc", NO),
        ("f: '*'", "", YES),
        ("f: '*'", 5, YES),
        ("f: '*'", None, NO),
        ("f: '**'", "x", YES),
        ("f: '?'", "é", YES),
        ("f: '?*'", "", NO),
        ("f: 'ab*ba'", "aba", NO),
        ("f: 'ab*ba'", "abba", YES),
        ("f: 'ab*b*ba'", "abba", NO),
        ("f: 'a?*b?*b?'", "axby", NO),
        ("f: 'a?*b?*b?'", "axbybz", YES),
        ("f: 'a?*b?c'", "abc", NO),
        ("f: '*b?*c?*'", "cxbx", NO),
        ("f: '*b?*c?*'", "bxcx", YES),
        ("f: 'a?*?c'", "axyc", YES),
        ("f: '?a*a?'", "xay", NO),
        ("f: '?a*a?'", "xaay", YES),
        (r"f: 'a\*c'", "a*c", YES),
        (r"f: 'a\*c'", "abc", NO),
        (r"f: 'a\?c'", "a?c", YES),
        (r"f: 'a\\*'", "a\\xyz", YES),
        (r"f: 'a\\*'", "a*", NO),
        (r"f: 'a\\\*'", "a\\*", YES),
        (r"f: 'a\\\*'", "a\\x", NO),
        (r"f: 'a\b'", "a\\b", YES),
        (r"f: 'a\\b'", "a\\b", YES),
        (r"f: 'a\\\\b'", "a\\\\b", YES),
        (r"f: 'a\\\\b'", "a\\b", NO),
        ("f: 'a\\'", "a\\", YES),
        (r"f|contains: 'a*b'", "xaxbx", YES),
        ("f: 'a.c'", "abc", NO),
        ("f: '[a](b)+$'", "[a](b)+$", YES),
        ("f: 'a*(b'", "ax(b", YES),
        # Regular expressions: unanchored, case kept, not unescaped
        ("f|re: 'b+'", "abbc", YES),
        ("f|re: 'b+'", "aBc", NO),
        ("f|re|i: 'b+'", "aBc", YES),
        ("f|re|ignorecase: 'b+'", "aBc", YES),
        ("f|re: '^b'", "a\nb", NO),
        ("f|re|m: '^b'", "a\nb", YES),
        ("f|re|multiline: '^b'", "a\nb", YES),
        ("f|re: 'a.b'", "a\nb", NO),
        ("f|re|s: 'a.b'", "a\nb", YES),
        ("f|re|dotall: 'a.b'", "a\nb", YES),
        (r"f|re: '\d{3}\*'", "x123*", YES),
        (r"f|re: 'a$'", "a\n", NO),
        ("f|re|contains: 'b'", "abc", YES),
        ("f|re: '^4..$'", 404, YES),
        ("f|re: 'x'", "\udfff", NO),
        # Numbers and their texts
        ("f: 4625", 4625, YES),
        ("f: 4625", "4625", YES),
        ("f: 4625", 4625.0, YES),
        ("f: '4625'", 4625, YES),
        ("f: 4625", 46250, NO),
        ("f: 4625", "04625", NO),
        ("f: 1", True, NO),
        ("f: 0", False, NO),
        ("f: 1.5", 1.5, YES),
        ("f: -3", -3, YES),
        ("f|contains: '62'", 4625, YES),
        ("f|startswith: '5'", 503, YES),
        # Booleans
        ("f: true", True, YES),
        ("f: true", False, NO),
        ("f: true", "TRUE", YES),
        ("f: 'false'", False, YES),
        ("f: true", 1, NO),
        # Missing, null, empty
        ("f: ''", "", YES),
        ("f: ''", "x", NO),
        ("f: ''", None, NO),
        ("f: null", None, YES),
        ("f: null", "", NO),
        ("f: null", [], YES),
        ("f: null", ["a", None], YES),
        ("f: [null, x]", "x", YES),
        ("f|exists: true", None, YES),
        ("f|exists: true", "", YES),
        ("f|exists: true", {}, YES),
        ("f|exists: true", [], YES),
        ("f|exists: false", "x", NO),
        # Comparisons
        ("f|gt: 5", 6, YES),
        ("f|gt: 5", 5, NO),
        ("f|gte: 5", 5, YES),
        ("f|gte: 5", 4.9, NO),
        ("f|lt: 5", 4.9, YES),
        ("f|lt: 5", 5, NO),
        ("f|lte: 5.5", 5.5, YES),
        ("f|lte: 5.5", 6, NO),
        ("f|gt: 5", "6.0", YES),
        ("f|gt: 5", "1e3", YES),
        ("f|gt: 5", "six", NO),
        ("f|gt: 5", "6_0", NO),
        ("f|gt: 5", "nan", NO),
        ("f|lt: 5", "-inf", NO),
        ("f|gt: 5", "9" * 5000, NO),
        ("f|gt: 0", True, NO),
        ("f|lt: 5", None, NO),
        ("f|lt: 5", "", NO),
        ("f|gt: [5, 3]", 4, YES),
        # Networks
        ("f|cidr: 10.0.0.0/8", "10.1.2.3", YES),
        ("f|cidr: 10.0.0.0/8", "11.1.2.3", NO),
        ("f|cidr: ['10.0.0.0/8', '192.0.2.0/24']", "192.0.2.9", YES),
        ("f|cidr: 2001:db8::/32", "2001:DB8::1", YES),
        ("f|cidr: 2001:db8::/32", "2001:db9::1", NO),
        ("f|cidr: ::/0", "10.0.0.1", NO),
        ("f|cidr: 0.0.0.0/0", "::1", NO),
        ("f|cidr: 10.0.0.0/8", "10.1.2", NO),
        ("f|cidr: 10.0.0.0/8", "10.1.2.3 ", NO),
        ("f|cidr: 0.0.0.0/0", 167772161, NO),
        ("f|cidr: 10.0.0.0/8", "1" * 100_000, NO),
        # A list in the event: any element
        ("f: b", ["a", "B"], YES),
        ("f: c", ["a", "b"], NO),
        ("f: 5", ["a", 5], YES),
        ("f|gt: 5", [1, 9], YES),
        ("f|cidr: 10.0.0.0/8", ["x", "10.0.0.1"], YES),
        ("f|contains|all: [a, b]", ["a", "b"], YES),
        ("f: a", {"a": "a"}, NO),
    ],
)
def test_value_of_a_field(item: str, value: object, outcome: bool) -> None:
    assert item_matches(item, {"f": value}) is outcome


@pytest.mark.parametrize(
    ("item", "outcome"),
    [
        ("f: a", NO),
        ("f: ''", NO),
        ("f: '*'", NO),
        ("f: null", YES),
        ("f|exists: false", YES),
        ("f|exists: true", NO),
        ("f|lt: 5", NO),
        ("f|re: '.*'", NO),
        ("f|fieldref: g", NO),
    ],
)
def test_missing_field(item: str, outcome: bool) -> None:
    assert item_matches(item, {"g": "a"}) is outcome


@pytest.mark.parametrize(
    ("fields", "outcome"),
    [
        ({"a": {"b": {"c": "x"}}}, YES),
        ({"a": {"b.c": "x"}}, YES),
        ({"a.b": {"c": "x"}}, YES),
        ({"a.b.c": "x", "a": {"b": {"c": "y"}}}, YES),
        ({"a.b.c": "y", "a": {"b": {"c": "x"}}}, NO),
        ({"a": {"z": 1}, "a.b": {"c": "x"}}, YES),
        ({"a.b": {"z": 1}, "a": {"b": {"c": "x"}}}, YES),
        ({"a": [{"b": {"c": "y"}}, {"b": {"c": "x"}}]}, YES),
        ({"a": [1, "x", None]}, NO),
        ({"a": "x"}, NO),
        ({"c": "x"}, NO),
    ],
)
def test_dotted_name_finds_nested_objects_and_a_literal_key_wins(fields: Fields, outcome: bool) -> None:
    assert item_matches("a.b.c: x", fields) is outcome


@pytest.mark.parametrize("name", [".", "a.", ".a", "a..b", ""])
def test_odd_dots_find_their_literal_key_only(name: str) -> None:
    assert item_matches(f"{name or 'e'}|exists: true", {name or "e": 1})
    assert not item_matches(f"{name or 'e'}|exists: true", {"a": {"c": 1}} if name != "e" else {})


@pytest.mark.parametrize(
    ("item", "fields", "outcome"),
    [
        ("f|fieldref: g", {"f": "Ab", "g": "aB"}, YES),
        ("f|fieldref: g", {"f": "a", "g": "b"}, NO),
        ("f|fieldref: g", {"f": 5, "g": "5"}, YES),
        ("f|fieldref: g", {"f": "a", "g": ["b", "a"]}, YES),
        ("f|fieldref: g.h", {"f": "a", "g": {"h": "a"}}, YES),
        ("f|fieldref: [g, h]", {"f": "a", "g": "x", "h": "a"}, YES),
        ("f|fieldref: g", {"f": None, "g": None}, NO),
        ("f|fieldref|startswith: g", {"f": "abc", "g": "AB"}, YES),
        ("f|fieldref|startswith: g", {"f": "abc", "g": "bc"}, NO),
        ("f|fieldref|endswith: g", {"f": "abc", "g": "bc"}, YES),
        ("f|fieldref|contains: g", {"f": "abc", "g": "b"}, YES),
        ("f|fieldref|contains: g", {"f": "b", "g": "abc"}, NO),
        ("f|fieldref: g", {"f": "a*", "g": "ab"}, NO),
    ],
)
def test_field_compared_with_another(item: str, fields: Fields, outcome: bool) -> None:
    assert item_matches(item, fields) is outcome


@pytest.mark.parametrize(
    ("item", "fields", "outcome"),
    [
        ("- Attack", {"event": "an ATTACK!"}, YES),
        ("- attack", {"event": "peace", "deep": [{"x": {"y": "attack"}}]}, YES),
        ("- attack", {"attack": "peace"}, NO),
        ("- attack", {"a": {"attack": 1}}, NO),
        ("- attack", {"a": "att", "b": "ack"}, NO),
        ("[x, y]", {"f": "y"}, YES),
        ("[x, y]", {"f": "z"}, NO),
        ("'|all': [x, y]", {"f": "x", "g": "y"}, YES),
        ("'|all': [x, y]", {"f": "x"}, NO),
        ("'|re': 'a[0-9]+b'", {"f": "xa12b"}, YES),
        ("'|re': 'a[0-9]+b'", {"f": "A12B"}, NO),
        ("'|re|i': 'a[0-9]+b'", {"f": "A12B"}, YES),
        ("'|re|all': [a, b]", {"f": "a", "g": "b"}, YES),
        ("'|re|all': [a, b]", {"f": "a"}, NO),
        ("'|cased': Attack", {"f": "an Attack"}, YES),
        ("'|cased': Attack", {"f": "an attack"}, NO),
        ("- 4625", {"f": 4625}, YES),
        ("- 4625", {"f": "id=4625;"}, YES),
        ("- 4625", {"4625": "x"}, NO),
        ("- 1.5", {"f": 1.5}, YES),
        ("- true", {"f": True}, YES),
        ("- 'a*c'", {"f": "xabcx"}, YES),
        ("- 'a*c'", {"f": "xabx"}, NO),
        ("- 'a*c'", {"f": "a\0c"}, YES),
        ("- 'a?c'", {"f": "xabcx"}, YES),
        (r"- 'a\*c'", {"f": "xa*cx"}, YES),
        (r"- 'a\*c'", {"f": "xabcx"}, NO),
        ('- "x\\0y"', {"f": "x", "g": "y"}, NO),
        ('- "x\\0y"', {"f": "x\0y"}, YES),
        ('"|contains": "x\\0y"', {"f": "x", "g": "y"}, NO),
        # Maps and keywords in one list
        ("- kettle\n- f: a\n  g: b", {"h": "kettle"}, YES),
        ("- kettle\n- f: a\n  g: b", {"f": "a", "g": "b"}, YES),
        ("- kettle\n- f: a\n  g: b", {"f": "a"}, NO),
    ],
)
def test_keywords_search_every_value_and_no_key(item: str, fields: Fields, outcome: bool) -> None:
    assert item_matches(item, fields) is outcome


def test_contained_text_with_a_nul_is_not_found_across_the_elements_of_a_list() -> None:
    assert not item_matches('f|contains: ["x\\0y", q]', {"f": ["x", "y"]})
    assert item_matches('f|contains: ["x\\0y", q]', {"f": ["a", "x\0y"]})


def test_keywords_search_the_line_of_a_text_format() -> None:
    assert item_matches("- 'not in a field'", {"event": "x"}, text="what is NOT IN A FIELD x")
    assert not item_matches("- elsewhere", {"event": "x"}, text="x")


def test_keywords_do_not_find_what_a_decoder_made_up() -> None:
    made_up: Fields = {"event": "Failed", "outcome": "failure", "timestamp": "2026-11-24T00:00:00.404Z"}
    assert not item_matches("- failure", made_up, text="Failed")
    assert not item_matches("- 404", made_up, text="Failed")
    assert item_matches("- failure", {"outcome": "failure"})


def test_keyword_after_any_amount_of_padding_is_found() -> None:
    padding: Fields = {f"p{n}": [n] * 10 for n in range(3000)}
    assert item_matches("- attack", {"a": "attack", **padding, "z": "attack"})
    assert item_matches("- attack", {"a": "attack", **padding})
    assert item_matches("- attack", {**padding, "z": "attack"})


def test_deep_nesting_is_searched_without_recursion() -> None:
    deep: object = "attack"
    for _ in range(5000):
        deep = [{"k": deep}]
    assert item_matches("- attack", {"f": deep})
    assert not item_matches("f.k: attack", {"f": deep})


ITEMS = "a: {f: x}\nb: {f: y}\nc: {g: z}\n_d: {h: w}\n"


@pytest.mark.parametrize(
    ("condition", "fields", "outcome"),
    [
        ("a", {"f": "x"}, YES),
        ("not a", {"f": "x"}, NO),
        ("not a", {}, YES),
        ("not not a", {"f": "x"}, YES),
        ("a or b and c", {"f": "x"}, YES),
        ("a or b and c", {"f": "y"}, NO),
        ("(a or b) and c", {"f": "x"}, NO),
        ("(a or b) and c", {"f": "x", "g": "z"}, YES),
        ("not a and c", {"f": "y", "g": "z"}, YES),
        ("not (a and c)", {"f": "x"}, YES),
        ("not a or c", {"f": "x", "g": "z"}, YES),
        ("not 1 of a*", {"f": "x"}, NO),
        ("1 of them", {"g": "z"}, YES),
        ("any of them", {"g": "z"}, YES),
        ("1 of them", {"h": "w"}, NO),
        ("1 of _*", {"h": "w"}, YES),
        ("all of them", {"f": ["x", "y"], "g": "z"}, YES),
        ("all of them", {"f": ["x", "y"]}, NO),
        ("all of a*", {"f": "x"}, YES),
        ("1 of *", {"g": "z"}, YES),
        ("a OR b AND c", {"f": "x"}, YES),
        ("a AND NOT c", {"f": "x"}, YES),
        ("a And Not c", {"f": "x", "g": "z"}, NO),
        ("ALL OF THEM", {"f": ["x", "y"], "g": "z"}, YES),
        ("Any Of Them", {}, NO),
        ("[a, c]", {"g": "z"}, YES),
        ("[a, c]", {"h": "w"}, NO),
    ],
)
def test_condition(condition: str, fields: Fields, outcome: bool) -> None:
    assert matches(f"{ITEMS}condition: {condition}\n", fields) is outcome


def test_search_identifier_may_look_like_an_operator_in_capitals() -> None:
    assert matches("AND: {f: x}\nOf: {f: x}\ncondition: Of\n", {"f": "x"})


@pytest.mark.parametrize(
    ("item", "fields", "outcome"),
    [
        ("f: x\ng: y", {"f": "x", "g": "y"}, YES),
        ("f: x\ng: y", {"f": "x"}, NO),
        ("- f: x\n- g: y", {"g": "y"}, YES),
        ("- f: x\n- g: y", {}, NO),
        ("- f: x\n  g: y\n- h: z", {"f": "x"}, NO),
    ],
)
def test_map_is_and_and_list_of_maps_is_or(item: str, fields: Fields, outcome: bool) -> None:
    assert item_matches(item, fields) is outcome


def plain(pattern: str, text: str) -> bool:
    """Whether a text of the alphabet below fits, decided the slow way."""
    if not pattern:
        return not text
    if pattern[0] == "*":
        return plain(pattern[1:], text) or (bool(text) and plain(pattern, text[1:]))
    return bool(text) and pattern[0] in ("?", text[0]) and plain(pattern[1:], text[1:])


@given(st.text("ab*?", max_size=8), st.text("abAB", max_size=8))
def test_wildcards_agree_with_a_plain_definition(pattern: str, text: str) -> None:
    assert item_matches(f"f: '{pattern}'", {"f": text}) is plain(pattern, text.lower())


# --- what is put together means the same ----------------------------------------------------------------


@settings(max_examples=1000)
@given(nodes, events)
def test_a_compiled_rule_agrees_with_the_slow_way(node: Node, event: Event) -> None:
    assert compile_rule(rule_of(node))(Subject(event)) is holds(node, event)


def either(*tests: Text | Number | Network, field: str | None = "f") -> Or:
    return Or(tuple(Item(field, test) for test in tests))


ANY = Wild.ANY
SHAPES = either(
    *(Text((t,)) for t in ("one", "Two")),
    *(Text((ANY, t)) for t in ("\\end", "\\LAST")),
    *(Text((t, ANY)) for t in ("be", "GIN")),
    *(Text((ANY, t, ANY)) for t in ("mid", "DLE", "x\0y")),
    Text(("p", ANY, "q", Wild.ONE)),
    Text(("Cased",), cased=True),
    Text((ANY, "CasedEnd"), cased=True),
    Text(("CasedBegin", ANY), cased=True),
    Text((ANY, "CasedInner", ANY), cased=True),
    Text((ANY, "CasedNul\0", ANY), cased=True),
    Number(5),
    Number(7.5),
    Network("10.0.0.0/8"),
    Network("192.0.2.0/24"),
)


@pytest.mark.parametrize(
    ("value", "outcome"),
    [
        *((v, YES) for v in ("ONE", "two", "a\\END", "x\\last", "Best", "ginger", "a mid b", "fiDDLEr")),
        *((v, YES) for v in ("aX\0Yb", "p..q.", "Cased", "xCasedEnd", "CasedBeginx", "xCasedInnerx")),
        *((v, YES) for v in ("xCasedNul\0", 5, 5.0, "5", 7.5, "7.5", "10.9.9.9", "192.0.2.0", ["z", "two"])),
        *(
            (v, NO)
            for v in ("once", "two ", "a\\endx", "xbe", "mi", "p..q", "cased", "xcasedend", "casedbeginx")
        ),
        *(
            (v, NO)
            for v in ("xcasedinnerx", 6, True, "5.0", "07.5", "11.9.9.9", "192.0.3.0", None, {}, [], "")
        ),
        (["x", "y"], NO),
        (["m", "id"], NO),
        (["xCased", "Innerx"], NO),
        (["CasedNul", ""], NO),
        ([["two"]], NO),
        ([{"f": "two"}], NO),
    ],
)
def test_alternatives_of_one_field_are_asked_at_once(value: object, outcome: bool) -> None:
    assert compile_node(SHAPES)(Subject(Event(0, {"f": value}, ""))) is outcome
    assert any(compile_node(i)(Subject(Event(0, {"f": value}, ""))) for i in SHAPES.items) is outcome


def test_alternatives_of_other_fields_stay_apart() -> None:
    node = Or((Item("f", Text(("a",))), Item("g", Text(("b",))), Item("f", Text(("c",)))))
    assert not compile_node(node)(Subject(Event(0, {"f": "b", "g": "a"}, "")))
    assert compile_node(node)(Subject(Event(0, {"f": "x", "g": "b"}, "")))


@pytest.mark.parametrize("literal", ["", "x"])
def test_missing_field_contains_nothing_not_even_an_empty_text(literal: str) -> None:
    node = either(*(Text((ANY, text, ANY)) for text in (literal, "y" * 5)))
    assert not compile_node(node)(Subject(Event(0, {}, "")))
    assert compile_node(node)(Subject(Event(0, {"f": literal}, "")))


def test_keywords_of_every_kind_are_asked_at_once() -> None:
    node = Or(
        (*either(Text(("Red",)), Text(("Blue",), cased=True), Number(5), field=None).items, either(Number(9)))
    )
    for found in ({"a": "a red b"}, {"a": "Blue"}, {"a": 15}, {"f": 9}):
        assert compile_node(node)(Subject(Event(0, found, "", structured=True)))
    for missed in ({"a": "blue"}, {"a": 9}, {"5": "x"}):
        assert not compile_node(node)(Subject(Event(0, missed, "", structured=True)))


def test_a_condition_may_nest_so_deep_and_no_deeper() -> None:
    node: Node = Item("f", Text(("x",)))
    for _ in range(DEEPEST):
        node = Not(node)
    assert compile_rule(rule_of(node))(Subject(Event(0, {"f": "x"}, "")))
    with pytest.raises(RuleError, match=f"nested too deeply; {DEEPEST} levels"):
        compile_rule(rule_of(Not(node)))


def _within(matcher: Matcher) -> tuple[Matcher, ...]:
    """The matchers that one asks in turn."""
    return cast("tuple[Matcher, ...]", inspect.getclosurevars(matcher).nonlocals["matchers"])


def test_an_identifier_below_several_others_is_compiled_once() -> None:
    large = Or(tuple(Item(f"f{n}", Exists(value=True)) for n in range(9)))
    first, second = (Item("f", Text((text,))) for text in ("x", "y"))
    both = _within(compile_node(Or((And((large, first)), And((large, second))))))
    assert len({id(m) for matcher in both for m in _within(matcher)}) == 3


def test_what_an_and_says_twice_is_asked_once() -> None:
    first, second = (Item("f", Text((text,))) for text in ("x", "y"))
    assert len(_within(compile_node(And((first, second, And((first, second)), first))))) == 2


def test_alternatives_within_alternatives_are_no_nesting() -> None:
    node: Node = Item("f", Text(("x",)))
    for n in range(3000):
        node = Or((node, Item("f", Text((f"y{n}",)))))
    assert compile_rule(rule_of(And((node,))))(Subject(Event(0, {"f": "x"}, "")))
