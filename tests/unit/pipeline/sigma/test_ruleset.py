from __future__ import annotations

from textwrap import dedent

import pytest

from pipeline.errors import RuleError
from pipeline.sigma.form import CorrelationType
from pipeline.sigma.reader.read import read
from pipeline.sigma.ruleset import RuleSet

ID = "9eb8f6cd-9240-4bbf-8593-bf44d8eaff20"


def rule(name: str, *, identity: str = "", value: str = "x") -> str:
    head = f"id: {identity}\n" if identity else ""
    return (
        f"title: {name.title()}\nname: {name}\n{head}logsource: {{category: application}}\n"
        f"detection:\n  s: {{f: {value}}}\n  condition: s\n"
    )


def correlation(name: str, rules: str, more: str = "") -> str:
    return (
        f"title: {name.title()}\nname: {name}\ncorrelation:\n  type: event_count\n  rules: {rules}\n"
        f"  group-by: [user, host]\n  timespan: 5m\n  condition: {{gte: 3}}\n{more}"
    )


def ruleset(*texts: str) -> RuleSet:
    return RuleSet(read("---\n".join(texts), "r.yml"))


def error_of(*texts: str) -> str:
    with pytest.raises(RuleError) as raised:
        ruleset(*texts)
    return str(raised.value)


def test_plain_rule_alerts_from_its_first_event_for_each_service() -> None:
    rules = ruleset(rule("one"))
    target = rules.targets["one"]
    assert (target.rules, target.group_by, target.lookup) == (("one",), ("service",), {"one": ("service",)})
    assert (target.bounds, target.timespan_ms, target.optional) == ((("gte", 1.0),), 0, True)
    assert target.count is CorrelationType.EVENT_COUNT
    assert target.hash == rules.rules["one"].about.hash
    assert rules.longest_timespan_ms == 0


def test_plain_rules_group_by_what_is_asked_for() -> None:
    rules = RuleSet(read(rule("one"), "r.yml"), group_by=("host", "user"))
    assert rules.targets["one"].lookup == {"one": ("host", "user")}


def test_counted_rule_raises_nothing_of_its_own_unless_generate() -> None:
    assert set(ruleset(rule("one"), correlation("many", "[one]")).targets) == {"many"}
    both = ruleset(rule("one"), correlation("many", "[one]", "  generate: true\n"))
    assert set(both.targets) == {"one", "many"}


def test_rule_counted_twice_is_silent_if_either_wants_it_so() -> None:
    rules = ruleset(
        rule("one"), correlation("loud", "[one]", "  generate: true\n"), correlation("calm", "[one]")
    )
    assert set(rules.targets) == {"loud", "calm"}
    assert [t.id for t in rules.feeds()["one"]] == ["loud", "calm"]


def test_reference_is_an_id_or_a_name_in_any_order_of_files() -> None:
    rules = ruleset(correlation("many", f"[{ID}, two]"), rule("one", identity=ID), rule("two"))
    target = rules.targets["many"]
    assert target.rules == (ID, "two")
    assert not target.optional
    assert rules.longest_timespan_ms == 300_000
    assert {r: [t.id for t in targets] for r, targets in rules.feeds().items()} == {
        ID: ["many"],
        "two": ["many"],
    }


def test_rule_named_twice_by_a_correlation_feeds_it_once() -> None:
    rules = ruleset(correlation("many", f"[{ID}, one]"), rule("one", identity=ID))
    assert rules.targets["many"].rules == (ID,)


def test_alias_says_which_field_stands_for_the_group_in_which_rule() -> None:
    # The alias names by its name the rule that the list names by its id.
    more = "  aliases:\n    user:\n      one: login\n"
    rules = ruleset(rule("one", identity=ID), rule("two"), correlation("many", f"[{ID}, two]", more))
    assert rules.targets["many"].lookup == {ID: ("login", "host"), "two": ("user", "host")}


def test_hash_of_a_correlation_changes_with_the_rules_it_counts() -> None:
    before, same, after = (
        ruleset(rule("one", value=value), correlation("many", "[one]")).targets["many"].hash
        for value in "xxy"
    )
    assert before == same
    assert before != after


@pytest.mark.parametrize(
    ("texts", "told"),
    [
        ((rule("one"), rule("one")), "r.yml:8: 'one' is the id or name of a rule in r.yml:1 already"),
        ((rule("one", identity=ID), rule("two", identity=ID)), f"'{ID}' is the id or name of a rule"),
        ((rule("one"), correlation("one", "[one]")), "r.yml:8: 'one' is the id or name of a rule in r.yml:1"),
        (
            (rule("login_failed"), correlation("many", "[login_faild]")),
            "r.yml:8: correlation.rules[0]: no rule 'login_faild'; did you mean 'login_failed'?",
        ),
        (
            (rule("one"), correlation("many", "[one]"), correlation("more", "[one, many]")),
            "correlation.rules[1]: 'many' is itself a correlation",
        ),
        ((correlation("many", "[many]"),), "'many' is itself a correlation"),
        (
            (rule("one"), correlation("many", "[one]", "  aliases:\n    user:\n      onee: login\n")),
            "correlation.aliases.user: no rule 'onee'; did you mean 'one'?",
        ),
    ],
)
def test_set_that_does_not_fit_together_is_refused(texts: tuple[str, ...], told: str) -> None:
    assert told in error_of(*texts)


def test_no_rules_are_a_set() -> None:
    rules = RuleSet([])
    assert (rules.targets, rules.feeds(), rules.longest_timespan_ms) == ({}, {}, 0)


def test_rule_without_any_name_is_found_by_nothing_and_alerts() -> None:
    text = dedent("""\
        title: Bare
        logsource: {category: application}
        detection:
          s: {f: x}
          condition: s
        """)
    (target,) = ruleset(text).targets.values()
    assert target.id.startswith("Bare-")


def test_reference_by_title_is_told_the_id_and_many_rules_are_not_listed() -> None:
    rule = (
        "title: T{0}\nname: rule{0}\nlogsource: {{category: a}}\ndetection: {{s: {{f: v}}, condition: s}}\n"
    )
    rules = "---\n".join(rule.format(i) for i in range(60))
    named = (
        "---\ntitle: F\nlogsource: {category: a}\nfilter: {rules: [REFERENCE], s: {f: w}, condition: not s}\n"
    )
    with pytest.raises(RuleError, match="'T7' is a title; refer to the rule by its id or name: rule7"):
        RuleSet(read(rules + named.replace("REFERENCE", "T7"), "r.yml"))
    with pytest.raises(RuleError, match="no rule 'zzz'; none of the 60 there are is like it"):
        RuleSet(read(rules + named.replace("REFERENCE", "zzz"), "r.yml"))
