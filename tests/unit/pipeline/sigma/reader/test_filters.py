"""Filters: what is read of them, and which rules they become part of."""

from __future__ import annotations

import pytest
from sigma.processing.pipeline import ProcessingPipeline

from pipeline.errors import RuleError
from pipeline.event import LogSource
from pipeline.python_rule import rule as python_rule
from pipeline.sigma.form import And, Filter, Item, Not, Or, Rule, Text, Wild
from pipeline.sigma.matcher.match import compile_rule
from pipeline.sigma.matcher.subject import Subject
from pipeline.sigma.reader.options import Options
from pipeline.sigma.reader.read import read
from pipeline.sigma.ruleset import RuleSet
from tests.unit.pipeline.sigma.rule_text import event_of

ID = "9eb8f6cd-9240-4bbf-8593-bf44d8eaff20"
FILTER = """\
title: No Admins
name: no_admins
level: low
logsource:
  product: windows
filter:
  rules:
    - one
  admins:
    user|startswith: adm
  condition: not admins
"""


def rule(
    name: str, logsource: str = "{product: Windows, category: process_creation}", identity: str = ""
) -> str:
    head = f"id: {identity}\n" if identity else ""
    return (
        f"title: {name.title()}\nname: {name}\n{head}logsource: {logsource}\n"
        "detection:\n  admins: {f: x}\n  condition: admins\n"
    )


def correlation(name: str, rules: str) -> str:
    return (
        f"title: {name.title()}\nname: {name}\ncorrelation:\n  type: event_count\n  rules: {rules}\n"
        "  timespan: 5m\n  condition: {gte: 3}\n"
    )


def ruleset(*texts: str) -> RuleSet:
    return RuleSet(read("---\n".join(texts), "r.yml"))


def filter_of(text: str) -> Filter:
    (read_filter,) = read(text, "r.yml")
    assert isinstance(read_filter, Filter)
    return read_filter


def condition_of(rules: RuleSet, name: str) -> object:
    found = rules.rules[name]
    assert isinstance(found, Rule)
    return found.condition


ADMINS = And((Item("user", Text(("adm", Wild.ANY))),), name="admins")
NO_ADMINS = And((Not(ADMINS),), name="filter No Admins")
X = And((Item("f", Text(("x",))),), name="admins")


def test_filter_is_read() -> None:
    found = filter_of(FILTER)
    assert (found.about.name, found.about.title, found.about.level) == ("no_admins", "No Admins", "low")
    assert (found.logsource, found.rules) == (LogSource("windows"), ("one",))
    assert found.condition == Not(ADMINS)


@pytest.mark.parametrize(
    ("written", "rules"),
    [
        (" any", ()),
        (" ANY", ()),
        (" one", ("one",)),
        (f"\n    - {ID}\n    - two", (ID, "two")),
    ],
)
def test_rules_are_named_or_any(written: str, rules: tuple[str, ...]) -> None:
    assert filter_of(FILTER.replace("\n    - one", written)).rules == rules


def test_filter_may_select_among_its_identifiers() -> None:
    found = filter_of(FILTER.replace("condition: not admins", "_more: [y]\n  condition: not 1 of them"))
    assert found.condition == Not(Or((ADMINS,), name="1 of them"))


def test_hash_is_of_what_a_filter_does_and_not_of_the_rules_it_is_for() -> None:
    hashes = [
        filter_of(FILTER.replace(old, new)).about.hash
        for old, new in [
            ("", ""),
            ("- one", "- two"),
            ("No Admins", "Nobody"),
            ("adm", "root"),
            ("not admins", "admins"),
            ("product: windows", "product: linux"),
        ]
    ]
    assert hashes[0] == hashes[1] == hashes[2]
    assert len({hashes[0], *hashes[3:]}) == 4


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("logsource:\n  product: windows\n", "", "r.yml:4: filter: a filter needs a logsource"),
        ("product:", "prodct:", "r.yml:4: logsource: "),
        ("  rules:\n    - one\n", "", "r.yml:6: filter: a filter needs `rules`"),
        ("- one", "- 5", "r.yml:8: filter.rules[0]: a rule is named by its id or name, not by 5"),
        ("\n    - one", " []", "r.yml:7: filter.rules: a filter for no rule; name them or write `any`"),
        ("\n    - one", " {one: two}", "r.yml:7: filter.rules: `rules` are ids or names in a list, or `any`"),
        ("\n    - one", "", "r.yml:7: filter.rules: `rules` are ids or names in a list, or `any`; not None"),
        ("  condition: not admins\n", "", "r.yml:6: filter: the filter has no `condition`"),
        ("condition: not admins", "condition: [not admins]", "r.yml:11: filter.condition: a filter has one"),
        ("condition: not admins", "condition: not adminz", "did you mean 'admins'?"),
        ("startswith: adm", "gt: adm", "r.yml:10: filter.admins.user|gt: 'adm' is of no type"),
        ("level: low", "level: lwo", "r.yml:3: level: no such level"),
        ("title: No Admins\n", "", "r.yml:1: title: a rule needs a title"),
    ],
)
def test_filter_that_is_none_is_refused_with_its_place(old: str, new: str, told: str) -> None:
    assert old in FILTER
    with pytest.raises(RuleError) as raised:
        read(FILTER.replace(old, new), "r.yml")
    assert told in str(raised.value)


def test_filter_is_a_mapping() -> None:
    with pytest.raises(RuleError, match=r"r\.yml:2: filter: a filter is a mapping"):
        read("title: T\nfilter: [a]\nlogsource: {product: x}\n", "r.yml")


# --- in a set -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reference", ["one", ID])
def test_filter_becomes_part_of_the_rules_it_names(reference: str) -> None:
    rules = ruleset(FILTER.replace("- one", f"- {reference}"), rule("one", identity=ID), rule("two"))
    assert condition_of(rules, ID) == And((X, NO_ADMINS))
    assert condition_of(rules, "two") == X
    assert rules.filters == {"no_admins": filter_of(FILTER.replace("- one", f"- {reference}"))}
    assert set(rules.targets) == {ID, "two"}


def test_filtered_rule_matches_what_both_match() -> None:
    (found,) = ruleset(FILTER, rule("one")).rules.values()
    assert isinstance(found, Rule)
    matches = compile_rule(found)
    assert matches(Subject(event_of({"f": "x", "user": "bob"})))
    assert matches(Subject(event_of({"f": "x"})))
    assert not matches(Subject(event_of({"f": "x", "user": "Administrator"})))
    assert not matches(Subject(event_of({"f": "y", "user": "bob"})))


def test_filter_for_any_is_for_those_whose_log_source_it_contains() -> None:
    rules = ruleset(
        FILTER.replace("\n    - one", " any"),
        rule("inside"),
        rule("same", "{product: WINDOWS}"),
        rule("other", "{product: linux}"),
        rule("wider", "{category: process_creation}"),
        correlation("many", "[inside]"),
    )
    filtered = {name for name in rules.rules if condition_of(rules, name) != X}
    assert filtered == {"inside", "same"}


def test_filters_of_one_rule_all_apply_at_one_depth() -> None:
    filters = [
        FILTER.replace("no_admins", f"f{n}").replace("adm", str(n)).replace("\n    - one", " any")
        for n in range(150)
    ]
    rules = ruleset(rule("one"), *filters)
    found = condition_of(rules, "one")
    assert isinstance(found, And)
    assert found.items[0] == X
    assert len(found.items) == 151
    one = rules.rules["one"]
    assert isinstance(one, Rule)
    assert compile_rule(one)(Subject(event_of({"f": "x", "user": "a"})))
    assert not compile_rule(one)(Subject(event_of({"f": "x", "user": "149a"})))


def test_rule_named_twice_by_a_filter_is_filtered_once() -> None:
    rules = ruleset(FILTER.replace("- one", f"- one\n    - {ID}"), rule("one", identity=ID))
    assert condition_of(rules, ID) == And((X, NO_ADMINS))


def test_hash_of_a_rule_changes_with_its_filters_and_that_of_correlations_too() -> None:
    texts = rule("one"), correlation("many", "[one]")
    without = ruleset(*texts)
    one = ruleset(*texts, FILTER)
    same = ruleset(*texts, FILTER.replace("No Admins", "Nobody"))
    other = ruleset(*texts, FILTER.replace("adm", "root"))
    for hashes in (
        [r.rules["one"].about.hash for r in (without, one, same, other)],
        [r.targets["many"].hash for r in (without, one, same, other)],
    ):
        assert hashes[1] == hashes[2]
        assert len(set(hashes)) == 3


def test_order_in_which_filters_are_loaded_changes_nothing() -> None:
    filters = [FILTER.replace("no_admins", name).replace("adm", name) for name in ("a", "b", "c")]
    one = ruleset(rule("one"), *filters)
    other = ruleset(*reversed(filters), rule("one"))
    assert one.rules["one"].about.hash == other.rules["one"].about.hash
    assert condition_of(one, "one") == condition_of(other, "one")


def test_filter_is_for_rules_by_the_log_source_that_is_written() -> None:
    text = "transformations:\n- {type: change_logsource, product: other, service: x}\n"
    options = Options(processing=ProcessingPipeline.from_yaml(text))
    rules = RuleSet(
        read("---\n".join([FILTER.replace("\n    - one", " any"), rule("one")]), "r.yml", options)
    )
    found = rules.rules["one"]
    assert isinstance(found, Rule)
    assert found.logsource == LogSource("other", "x")
    assert found.written == LogSource("Windows", "", "process_creation")
    assert found.condition == And((X, NO_ADMINS))
    assert filter_of(FILTER).written == LogSource()


def test_filter_for_any_leaves_rules_in_python_alone() -> None:
    @python_rule("in_python", "In Python", logsource={"product": "windows"})
    def found(_: object) -> bool:
        return True

    rules = RuleSet([found, *read(FILTER.replace("\n    - one", " any"), "r.yml")])
    assert rules.rules["in_python"] is found
    assert set(rules.targets) == {"in_python"}
    with pytest.raises(RuleError, match="'in_python' is a rule in Python"):
        RuleSet([found, *read(FILTER.replace("- one", "- in_python"), "r.yml")])


@pytest.mark.parametrize(
    ("texts", "told"),
    [
        ((FILTER, rule("onee")), "r.yml:1: filter.rules[0]: no rule 'one'; did you mean 'onee'?"),
        ((FILTER,), "filter.rules[0]: no rule 'one'; there is none"),
        (
            (FILTER, rule("two"), correlation("one", "[two]")),
            "'one' is a correlation; a filter is for detections",
        ),
        ((FILTER.replace("- one", "- no_admins"), rule("one")), "'no_admins' is a filter; a filter is for"),
        ((FILTER, rule("one"), FILTER), "'no_admins' is the id or name of a rule in r.yml:1 already"),
        ((rule("no_admins"), FILTER), "'no_admins' is the id or name of a rule in r.yml:1 already"),
        (
            (FILTER, rule("one", "{product: linux, service: sshd}")),
            "(product: linux, service: sshd) is not contained in the filter's (product: windows)",
        ),
        ((FILTER, rule("one", "{category: x}")), "is not contained in the filter's"),
        ((FILTER, rule("one"), correlation("many", "[no_admins]")), "'no_admins' is a filter, which finds"),
        ((FILTER, rule("one"), correlation("many", "[no_admin]")), "no rule 'no_admin'; valid: many, one"),
    ],
)
def test_filter_that_does_not_fit_its_rules_is_refused(texts: tuple[str, ...], told: str) -> None:
    with pytest.raises(RuleError) as raised:
        ruleset(*texts)
    assert told in str(raised.value)
