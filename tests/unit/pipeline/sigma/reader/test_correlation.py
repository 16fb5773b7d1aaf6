from __future__ import annotations

import pytest

from pipeline.errors import RuleError
from pipeline.sigma.form import Correlation, CorrelationType
from pipeline.sigma.reader.read import read

TEXT = """\
title: Many
name: many
correlation:
  type: event_count
  rules:
    - one
  group-by:
    - user
  timespan: 5m
  condition:
    gte: 10
"""


def correlation_of(*changes: tuple[str, str]) -> Correlation:
    text = TEXT
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    (rule,) = read(text, "r.yml")
    assert isinstance(rule, Correlation)
    return rule


def error_of(*changes: tuple[str, str]) -> str:
    with pytest.raises(RuleError) as raised:
        correlation_of(*changes)
    return str(raised.value)


def test_event_count_is_read() -> None:
    rule = correlation_of()
    assert rule.type is CorrelationType.EVENT_COUNT
    assert (rule.rules, rule.group_by, rule.timespan_ms) == (("one",), ("user",), 300_000)
    assert (rule.bounds, rule.fields, rule.aliases, rule.generate) == ((("gte", 10),), (), {}, False)
    assert rule.about.id == "many"


@pytest.mark.parametrize(("field", "fields"), [("ip", ("ip",)), ("[ip, port]", ("ip", "port"))])
def test_value_count_counts_a_field_or_tuples(field: str, fields: tuple[str, ...]) -> None:
    rule = correlation_of(("event_count", "value_count"), ("gte: 10", f"gte: 10\n    field: {field}"))
    assert rule.type is CorrelationType.VALUE_COUNT
    assert rule.fields == fields


@pytest.mark.parametrize(
    ("written", "bounds"),
    [
        ("gt: 10", (("gt", 10),)),
        ("eq: 10", (("eq", 10),)),
        ("neq: 10", (("neq", 10),)),
        ("lt: 2.5", (("lt", 2.5),)),
        ("gt: 100\n    lte: 200", (("gt", 100), ("lte", 200))),
    ],
)
def test_thresholds_may_be_ranges_and_fractions(written: str, bounds: tuple[tuple[str, float], ...]) -> None:
    assert correlation_of(("gte: 10", written)).bounds == bounds


@pytest.mark.parametrize(
    ("span", "ms"),
    [
        ("30s", 30_000),
        ("2h", 7_200_000),
        ("1d", 86_400_000),
        ("1w", 604_800_000),
        ("1M", 2_629_746_000),
        ("10y", 315_569_520_000),
    ],
)
def test_timespan_has_sigmas_units(span: str, ms: int) -> None:
    assert correlation_of(("5m", span)).timespan_ms == ms


def test_aliases_and_generate_are_read() -> None:
    rule = correlation_of(("gte: 10", "gte: 10\n  generate: true\n  aliases:\n    user:\n      one: login"))
    assert rule.aliases == {"user": {"one": "login"}}
    assert rule.generate


def test_group_by_may_be_missing_or_a_single_name() -> None:
    assert correlation_of(("  group-by:\n    - user\n", "")).group_by == ()
    assert correlation_of(("\n    - user", " user")).group_by == ("user",)


def test_hash_changes_with_the_correlation() -> None:
    assert correlation_of().about.hash != correlation_of(("gte: 10", "gte: 11")).about.hash


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        (
            "event_count",
            "event_cuont",
            "r.yml:4: correlation.type: no such correlation type here: 'event_cuont'; did you",
        ),
        (
            "event_count",
            "temporal",
            "no such correlation type here: 'temporal'; valid: event_count, value_count",
        ),
        (
            "  type: event_count\n",
            "",
            "r.yml:3: correlation: a correlation needs a type: event_count, value_count",
        ),
        (
            "  rules:\n    - one\n",
            "",
            "r.yml:3: correlation.rules: a correlation needs the rules that it counts",
        ),
        ("\n    - one", " []", "r.yml:5: correlation.rules: a correlation needs the rules that it counts"),
        ("- one", "- 5", "r.yml:6: correlation.rules[0]: a rule is named by its id or name, not by 5"),
        (
            "group-by",
            "groupby",
            "r.yml:7: correlation.groupby: no such key: 'groupby'; did you mean 'group-by'?",
        ),
        ("  timespan: 5m\n", "", "correlation: Sigma correlation rule without timespan"),
        ("5m", "5x", "r.yml:9: correlation.timespan: Timespan '5x' is invalid"),
        ("5m", "0m", "r.yml:9: correlation.timespan: Timespan '0m' must be greater than zero"),
        ("\n    gte: 10", " a and b", "r.yml:10: correlation.condition: a count needs a condition such as"),
        ("\n    gte: 10", " {}", "r.yml:10: correlation.condition: a count needs a threshold"),
        (
            "gte",
            "gtee",
            "r.yml:11: correlation.condition.gtee: no such operator: 'gtee'; did you mean 'gte'?",
        ),
        ("10", "ten", "r.yml:11: correlation.condition.gte: a threshold is a number, not 'ten'"),
        ("10", "true", "r.yml:11: correlation.condition.gte: a threshold is a number, not True"),
        ("10", ".nan", "a threshold is a number, not nan"),
        ("10", "10\n    field: ip", "correlation.condition.field: event_count counts events"),
        ("event_count", "value_count", "r.yml:10: correlation.condition: value_count needs `field`"),
        (
            "10",
            "10\n    field: 7",
            "r.yml:12: correlation.condition.field: `field` is a field's name or a list",
        ),
        ("10", "10\n  generate: maybe", "correlation.generate: "),
        ("10", "10\n  aliases: [x]", "r.yml:12: correlation.aliases: `aliases` map a name to the field"),
        ("10", "10\n  aliases: {a: b}", "r.yml:12: correlation.aliases.a: an alias maps rules to fields"),
        ("10", "10\n  aliases: {a: {}}", "r.yml:12: correlation.aliases.a: an alias maps rules to fields"),
        ("10", "10\n  aliases: {a: {b: 5}}", "r.yml:12: correlation.aliases.a.b: a field's name is a text"),
        ("10", "10\n  aliases: {a: {b: ' '}}", "r.yml:12: correlation.aliases.a.b: a field's name is a text"),
        ("\n    - one", " 5", "r.yml:5: correlation.rules: a correlation needs the rules that it counts"),
        (
            "- user",
            "- null",
            "r.yml:8: correlation.group-by[0]: a group is made of fields' names, not",
        ),
        ("- user", "- [x]", "r.yml:8: correlation.group-by[0]: a group is made of fields' names"),
        ("- user", "- x\n    - 5", "r.yml:9: correlation.group-by[1]: a group is made of fields' names"),
        ("- user", "- ''", "r.yml:8: correlation.group-by[0]: a group is made of fields' names, not of ''"),
        ("\n    - user", " ''", "r.yml:7: correlation.group-by: a group is made of fields' names"),
        ("\n    - user", " {a: b}", "r.yml:7: correlation.group-by: `group-by` is a field's name or a list"),
        ("5m", "9" * 21 + "d", "r.yml:9: correlation.timespan: a timespan of more than ten years"),
        ("5m", "9" * 5000 + "d", "r.yml:9: correlation.timespan: a timespan of more than ten years"),
        ("5m", "3653d", "r.yml:9: correlation.timespan: a timespan of more than ten years"),
        ("5m", "{a: b}", "r.yml:9: correlation.timespan: Timespan "),
        ("10", "1" * 400, "r.yml:11: correlation.condition.gte: Invalid number: no event holds one as large"),
        ("10", "10\n    field: ['']", "r.yml:12: correlation.condition.field: `field` is a field's name"),
        ("title: Many\n", "", "r.yml:1: title: a rule needs a title"),
        ("title: Many", "title: Many\ndate: yesterday", "r.yml:2: date: "),
    ],
)
def test_error_names_its_place(old: str, new: str, told: str) -> None:
    assert told in error_of((old, new))


def test_correlation_is_a_mapping() -> None:
    with pytest.raises(RuleError, match=r"r.yml:2: correlation: a correlation is a mapping"):
        read("title: T\ncorrelation: [a]\n", "r.yml")
