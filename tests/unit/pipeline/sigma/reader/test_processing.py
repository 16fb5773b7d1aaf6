"""Processing pipelines: what goes there and back unchanged, and what a pipeline's steps make of a rule."""

from __future__ import annotations

from textwrap import dedent

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sigma.processing.pipeline import ProcessingItem, ProcessingPipeline
from sigma.processing.transformations import PreprocessingTransformation

from pipeline.errors import RuleError
from pipeline.event import LogSource
from pipeline.sigma.form import (
    And,
    Correlation,
    Filter,
    Item,
    Node,
    Not,
    Null,
    Number,
    Or,
    Pattern,
    Rule,
    Text,
    TimePart,
    Wild,
)
from pipeline.sigma.reader.options import Options
from pipeline.sigma.reader.read import read
from pipeline.sigma.ruleset import RuleSet
from tests.unit.pipeline.sigma.rule_text import item_refusal, node_of, refusal, rule_of

ANY = Wild.ANY


def through(*steps: str, digest: str = "", placeholders: dict[str, tuple[str, ...]] | None = None) -> Options:
    """Options with a pipeline of these transformations, each in YAML's flow style."""
    text = "transformations:\n" + "".join(f"- {step}\n" for step in steps)
    return Options(placeholders or {}, ProcessingPipeline.from_yaml(text), digest)


NOTHING = Options(processing=ProcessingPipeline())
MAPPING = "{type: field_name_mapping, mapping: {f: g, two: [a, b]}}"


def test_pipeline_without_steps_changes_nothing_of_what_modifiers_made() -> None:
    detection = dedent(r"""
        texts:
          - f: ['', a, 'a*b?c\*d\\*', null, 5, -1.5, 9007199254740993, true]
          - f|contains|all: [a, 'b?']
          - f|startswith|cased: A
          - f|windash|contains|all: [' -a', '/b —c ―d']
          - f|base64offset|contains|all: [foo, bar]
          - f|wide|base64: cmd
          - f|utf16: é
          - f|re|i|s: '^a\\.(?P<n>\pL+)$'
          - f|re|endswith|m: 'a|b'
          - f|re|startswith: a*
          - keyword
        numbers:
          f|gt: 5
          g|hour: 3
          h|hour|gte: 4
          i|year|lt: 2026.5
        others:
          f|exists: false
          g|cidr: [10.0.0.0/8, 'fd00::/8']
          h|fieldref: i
          j|fieldref|contains|cased: k
          l|fieldref|startswith|all: [m, n]
          l2|fieldref|endswith: m
        negated:
          f|neq: x
          g|neq|contains|all: [x, y]
        keywords: [a, 5, 'b*']
        keywords_all: {'|re|all': [a, b]}
        filled: {'f|contains|all|expand': ['%p%', b], 'g|re|expand': 'a%p%', 'h|cased|expand|windash': '-%p%'}
        _hidden: {f: x}
        condition:
          - 1 of texts* AND not (numbers or Others2)
          - all of them or _hidden
        Others2: {f: x}
    """)
    placeholders = {"p": ("-x", "y*")}
    plain = rule_of(detection, Options(placeholders))
    there_and_back = rule_of(detection, Options(placeholders, ProcessingPipeline()))
    assert there_and_back == plain
    assert repr(there_and_back) == repr(plain)


def outcome(detection: str, options: Options) -> Rule | str:
    """Return the rule, or why there is none."""
    try:
        return rule_of(detection, options)
    except RuleError as error:
        return error.message


_VALUES = st.text("ab*?\\-/%", min_size=1, max_size=6) | st.integers(-5, 5) | st.booleans() | st.none()
_MODIFIERS = st.sampled_from(
    ["", "|contains", "|windash", "|cased|endswith", "|all", "|neq", "|contains|all|neq", "|re", "|fieldref"]
)


@given(
    st.lists(st.tuples(_MODIFIERS, st.lists(_VALUES, min_size=1, max_size=3)), min_size=1, max_size=3),
    st.booleans(),
)
def test_whatever_is_read_is_the_same_there_and_back(
    lines: list[tuple[str, list[object]]], listed: bool
) -> None:
    items = {f"f{n}{modifiers}": values for n, (modifiers, values) in enumerate(lines)}
    search = [{key: value} for key, value in items.items()] if listed else items
    detection = f"s: {search!r}\ncondition: s\n".replace("None", "null")
    assert outcome(detection, NOTHING) == outcome(detection, Options())


X = Item("f", Text(("x",)))


def of(field: str, *values: str) -> Node:
    items = tuple(Item(field, Text((value,))) for value in values)
    return items[0] if len(items) == 1 else Or(items)


UPPER = "{type: case, method: upper}"
REGEX = "{type: regex, method: plain}"
REPLACE = "{type: replace_string, regex: a, replacement: b}"
HASHES = "{type: hashes_fields, valid_hash_algos: [MD5], field_prefix: File}"
HASH = "987B65CD9B9F4E9A1AFD8F8B48CF64A7"
EXTRACT = "{type: extract_fields, regex: '(?P<k>\\w+):(?P<n>\\d+)'}"
BOTH = Or((And((of("a", "x"), of("a", "y"))), And((of("b", "x"), of("b", "y")))))
ANYWHERE = Or((Item("message", Text((ANY, "x", ANY))), Item("message", Number(5))))
ANY_DASH = "[-/–—―]"  # noqa: RUF001 — the dashes of `windash`


@pytest.mark.parametrize(
    ("step", "item", "node"),
    [
        # Fields
        (MAPPING, "f: x\nother: x", And((of("g", "x"), of("other", "x")))),
        (MAPPING, "two: [x, y]", Or((of("a", "x", "y"), of("b", "x", "y")))),
        (MAPPING, "two|all: [x, y]", BOTH),
        (MAPPING, "two|neq: x", Not(Or((of("a", "x"), of("b", "x"))))),
        ("{type: field_name_prefix, prefix: win.}", "f: x", of("win.f", "x")),
        ("{type: field_name_suffix, suffix: .raw}", "f: x", of("f.raw", "x")),
        ("{type: field_name_mapping, mapping: {null: message}}", "[x, 5]", ANYWHERE),
        (f"{{type: nest, items: [{MAPPING}]}}", "f: x", of("g", "x")),
        # Values
        (REPLACE, "f|startswith: aa", Item("f", Text(("bb", ANY)))),
        (REPLACE, r"f: 'ca?\\*'", Item("f", Text(("cb", Wild.ONE, "\\", ANY)))),
        (UPPER, "f|cased|windash: -ab", Item("f", Text((Wild.DASH, "AB"), cased=True))),
        ("{type: map_string, mapping: {a: [x, y]}}", "f: [a, b]", of("f", "x", "y", "b")),
        ("{type: set_value, value: null}", "f|hour|gt: 5", Item("f", Null())),
        ("{type: convert_type, target_type: num}", "f: '5'", Item("f", Number(5))),
        (REGEX, "f: 'a.b*c?'", Item("f", Pattern(r"(?s)^(?:a\.b.*c.)$"))),
        (REGEX, "f|windash: -a", Item("f", Pattern(f"(?s)^(?:{ANY_DASH}a)$"))),
        ("{type: regex, method: ignore_case_flag}", "f: a", Item("f", Pattern("(?is)^(?:a)$"))),
        (HASHES, f"Hashes: MD5={HASH}", of("FileMD5", HASH)),
        (EXTRACT, "f: a:1", And((of("k", "a"), Item("n", Number(1))))),
        # What a step can't see goes through unchanged
        (REGEX, "f|re: 'a.b'", Item("f", Pattern("a.b"))),
        ("{type: convert_type, target_type: str}", "f|hour: 3", Item("f", TimePart("hour", "eq", 3))),
        (REPLACE, "f|base64offset|contains: foo", node_of("f|base64offset|contains: foo")),
        (REPLACE, "f|re|i: a", Item("f", Pattern("(?i)a"))),
    ],
)
def test_step_changes_fields_and_values(step: str, item: str, node: Node) -> None:
    assert node_of(item, through(step)) == node


def test_references_are_mapped_and_keep_their_case() -> None:
    mapped = node_of("f|fieldref|cased|endswith: two", through(MAPPING))
    assert mapped == Or(tuple(node_of(f"g|fieldref|cased|endswith: {name}") for name in "ab"))


def test_conditions_of_a_step_see_types_and_values() -> None:
    at = "detection_item_conditions"
    five = "{type: contains_detection_item, field: e, value: five}"
    steps = (
        f"{{type: set_value, value: seen, {at}: [{{type: match_string, pattern: '^a', cond: any}}]}}",
        f"{{type: set_value, value: wild, {at}: [{{type: contains_wildcard, cond: any}}]}}",
        f"{{type: set_value, value: none, {at}: [{{type: is_null, cond: any}}]}}",
        f"{{type: field_name_suffix, suffix: '2', rule_conditions: [{five}]}}",
    )
    seen = node_of("a: abc\nb: b*\nc: null\nd: 5\ne: five", through(*steps))
    expected = (of("a2", "seen"), of("b2", "wild"), of("c2", "none"), Item("d2", Number(5)), of("e2", "five"))
    assert seen == And(expected)


def test_added_condition_is_there_without_a_name_of_its_own() -> None:
    rule = rule_of(
        "s: {f: x}\ncondition: [s, not s]\n",
        through(
            "{type: add_condition, conditions: {index: [a, b], 'h|re': x+, 't|hour|gte': 3}}",
            "{type: add_condition, conditions: {z: y}, negated: true}",
        ),
    )
    s = And((X,), name="s")
    added = And((of("index", "a", "b"), Item("h", Pattern("x+")), node_of("t|hour|gte: 3")))
    z = Not(of("z", "y"))
    assert rule.condition == Or((And((z, And((added, s)))), And((z, And((added, Not(s)))))))


DROP = "{type: drop_detection_item, field_name_conditions: [{type: include_fields, fields: [f]}]}"


@pytest.mark.parametrize(
    ("condition", "node"),
    [
        ("s and t", And((of("g", "y"),), name="t")),
        ("not s and not t", Not(And((of("g", "y"),), name="t"))),
        ("1 of *", Or((And((of("g", "y"),), name="t"),), name="1 of *")),
    ],
)
def test_dropped_item_counts_neither_for_nor_against(condition: str, node: Node) -> None:
    rule = rule_of(f"s: {{f|neq: x}}\nt: {{f: x, g: y}}\ncondition: {condition}\n", through(DROP))
    assert rule.condition == node


def test_log_source_is_that_of_the_processed_rule() -> None:
    when = "rule_conditions: [{type: logsource, category: application}]"
    step = f"{{type: change_logsource, product: linux, service: sshd, {when}}}"
    rule = rule_of("s: {f: x}\ncondition: s\n", through(step))
    assert rule.logsource == LogSource("linux", "sshd", "")


def test_heading_is_there_for_the_conditions_of_a_step() -> None:
    when = "rule_conditions: [{type: rule_attribute, attribute: title, value: T}]"
    step = f"{{type: field_name_prefix, prefix: p., {when}}}"
    assert node_of("f: x", through(step)) == of("p.f", "x")


# --- placeholders -------------------------------------------------------------------------------------------

VALUES = "{type: value_placeholders, include: [p]}"


def with_values(**placeholders: tuple[str, ...]) -> Options:
    pipeline = ProcessingPipeline.from_yaml(f"vars: {{p: [x, 'y*']}}\ntransformations: [{VALUES}]")
    return Options(placeholders, pipeline)


@pytest.mark.parametrize(
    ("item", "node"),
    [
        ("f|expand: 'a%p%'", Or((of("f", "ax"), Item("f", Text(("ay", ANY)))))),
        ("f|cased|expand: 'a%p%'", Or(tuple(Item("f", Text(t, cased=True)) for t in (("ax",), ("ay", ANY))))),
        ("f|all|expand: ['%p%', b]", And((Or((X, Item("f", Text(("y", ANY))))), of("f", "b")))),
        ("f|neq|all|expand: ['%p%', b]", Not(And((Or((X, Item("f", Text(("y", ANY))))), of("f", "b"))))),
        ("f|re|i|expand: 'a%p%b'", Or((Item("f", Pattern("(?i)axb")), Item("f", Pattern("(?i)ay*b"))))),
        ("f|expand: '%p%%q%'", Or((of("f", "x1"), Item("f", Text(("y", ANY, "1")))))),
    ],
)
def test_placeholders_of_the_pipeline_come_first(item: str, node: Node) -> None:
    assert node_of(item, with_values(p=("never",), q=("1",))) == node


def test_windash_is_for_values_from_the_pipeline_too() -> None:
    pipeline = ProcessingPipeline.from_yaml(f"vars: {{p: [-x]}}\ntransformations: [{VALUES}]")
    found = node_of("f|expand|windash: 'a %p%'", Options(processing=pipeline))
    assert found == Item("f", Text(("a ", Wild.DASH, "x")))


def test_placeholder_that_nobody_fills_rejects_the_rule() -> None:
    told = item_refusal("f|expand:\n  - '%q%'", with_values())
    assert told.startswith("r.yml:6: detection.s.f|expand: the placeholder %q% has no value")


# --- refused ------------------------------------------------------------------------------------------------


class _Stumbles(PreprocessingTransformation):
    def apply(self, rule: object) -> None:
        raise ZeroDivisionError


@pytest.mark.parametrize(
    ("steps", "told"),
    [
        (["{type: rule_failure, message: no way}"], "the processing pipeline refuses the rule: no way"),
        (
            ["{type: strict_field_mapping_failure}"],
            "refuses the rule: The following fields are not mapped: f",
        ),
        (
            ["{type: set_value, value: 5}", "{type: value_placeholders}", DROP],
            "has dropped all that the condition asks for",
        ),
    ],
)
def test_rule_that_a_pipeline_refuses_is_refused(steps: list[str], told: str) -> None:
    error = item_refusal("f: x", through(*steps))
    assert error.startswith("r.yml:4: detection: ")
    assert told in error


def test_step_that_stumbles_refuses_the_rule_and_no_more() -> None:
    pipeline = ProcessingPipeline([ProcessingItem(_Stumbles())])
    told = item_refusal("f: x", Options(processing=pipeline))
    assert told == "r.yml:4: detection: the processing pipeline refuses the rule: ZeroDivisionError"


def test_what_no_test_is_for_is_refused() -> None:
    told = item_refusal(
        "f|expand: '%x%'", through("{type: query_expression_placeholders, expression: '{id}'}")
    )
    assert "makes a SigmaQueryExpression of a value: no test is for that" in told


def test_pipeline_that_leaves_no_value_refuses_the_rule() -> None:
    told = item_refusal("f: x", through("{type: map_string, mapping: {x: []}}"))
    assert "the processing pipeline leaves no value for the field 'f'" in told


def test_regular_expression_of_a_pipeline_is_checked() -> None:
    step = f"{{type: add_condition, conditions: {{'g|re': {'a' * 10_001}}}}}"
    assert "a regular expression of 10,001 characters" in item_refusal("f: x", through(step))


def test_keyword_that_a_pipeline_makes_of_no_text_is_refused() -> None:
    told = item_refusal("[x]", through("{type: set_value, value: null}"))
    assert "detection.s: a keyword is a text, a number or a regular expression" in told


def test_condition_is_checked_as_it_was_written() -> None:
    options = through("{type: add_condition, conditions: {g: y}}")
    told = refusal("s: {f: x}\ncondition: s and t\n", options)
    assert told == "r.yml:6: detection.condition: no search identifier 't'; valid: s"


# --- hashes, filters, correlations --------------------------------------------------------------------------


def test_hash_changes_with_the_pipeline_and_its_digest_alone() -> None:
    detection = "s: {f: x}\ncondition: s\n"
    plain, one, same, two = (
        rule_of(detection, options).about
        for options in (
            Options(processing_digest="a"),
            through(MAPPING, digest="a"),
            through(MAPPING, digest="a"),
            through(MAPPING, digest="b"),
        )
    )
    assert plain == rule_of(detection).about
    assert one == same
    assert len({plain.hash, one.hash, two.hash}) == 3
    assert one.id == f"T-{one.hash}"


FILTER = """\
title: F
logsource: {category: application}
filter:
  rules: any
  s: {f: x, two: y}
  condition: not s
"""


def test_filters_go_through_the_pipeline_as_rules_do() -> None:
    step = "{type: change_logsource, product: linux}"
    options = through(MAPPING, step)
    (found,) = read(FILTER, "f.yml", options)
    assert isinstance(found, Filter)
    assert found.condition == Not(And((of("g", "x"), Or((of("a", "y"), of("b", "y")))), name="s"))
    assert found.logsource == LogSource("linux", "", "")
    rule = rule_of("s: {z: 1}\ncondition: s\n", options)
    (filtered,) = RuleSet([rule, found]).rules.values()
    assert filtered.about.hash != rule.about.hash


CORRELATION = """\
title: C
correlation:
  type: value_count
  rules: one
  group-by: [f, alias, two]
  timespan: 5m
  aliases: {alias: {one: f}}
  condition: {gte: 2, lt: 9, field: [f, h]}
"""


def correlation_of(options: Options) -> Correlation:
    (found,) = read(CORRELATION, "c.yml", options)
    assert isinstance(found, Correlation)
    return found


def test_fields_of_correlations_are_mapped_as_those_of_rules_are() -> None:
    found = correlation_of(through(MAPPING, digest="x"))
    assert (found.group_by, found.fields) == (("g", "alias", "a", "b"), ("g", "h"))
    assert found.aliases == {"alias": {"one": "g"}}
    assert found.bounds == (("gte", 2), ("lt", 9))
    assert found.about.hash != correlation_of(Options()).about.hash


def test_correlation_that_a_pipeline_can_not_map_is_refused() -> None:
    with pytest.raises(RuleError, match=r"c\.yml:2: correlation: the processing pipeline refuses the rule: "):
        correlation_of(through("{type: field_name_mapping, mapping: {h: [a, b]}}"))


@pytest.mark.parametrize(
    "modifiers", ["cased", "cased|contains", "base64", "base64offset|contains", "expand|cased"]
)
def test_a_step_that_replaces_nothing_leaves_case_as_it_was(modifiers: str) -> None:
    step = "{type: replace_string, regex: zzz, replacement: y}"
    placeholders = {"p": ("aB", "Cd")}
    value = "'%p%'" if "expand" in modifiers else "Grüße"
    item = f"f|{modifiers}: {value}"
    assert node_of(item, through(step, placeholders=placeholders)) == node_of(item, Options(placeholders))


def test_a_text_that_is_replaced_still_respects_case() -> None:
    step = "{type: replace_string, regex: A, replacement: B}"
    assert node_of("f|cased: xA", through(step)) == Item("f", Text(("xB",), cased=True))
    assert node_of("f: xA", through(step)) == Item("f", Text(("xB",)))


def test_keyword_that_becomes_a_regular_expression_is_still_found_anywhere() -> None:
    step = "{type: regex, method: plain}"
    assert node_of("[foo]", through(step)) == Item(None, Pattern("(?s)foo"))
    assert node_of("f: foo", through(step)) == Item("f", Pattern("(?s)^(?:foo)$"))
