"""Several documents in one file, and the actions by which they share."""

from __future__ import annotations

from textwrap import dedent

import pytest

from pipeline.errors import RuleError
from pipeline.event import LogSource
from pipeline.sigma.form import And, Correlation, Filter, Item, Rule, Text
from pipeline.sigma.reader.read import read, read_each

GLOBAL = """\
action: global
title: Shared
level: high
logsource:
  product: linux
  service: sshd
detection:
  s: {f: x}
  condition: s
"""


def rules_of(text: str) -> list[Rule]:
    rules = read(dedent(text), "r.yml")
    assert all(isinstance(rule, Rule) for rule in rules)
    return [rule for rule in rules if isinstance(rule, Rule)]


def error_of(text: str) -> str:
    with pytest.raises(RuleError) as raised:
        read(dedent(text), "r.yml")
    return str(raised.value)


def x(name: str, value: str = "x") -> And:
    return And((Item("f", Text((value,))),), name=name)


def test_global_document_is_under_those_that_follow_and_is_no_rule() -> None:
    one, two = rules_of(f"{GLOBAL}---\nname: one\n---\nname: two\nlevel: low\n")
    assert [(r.about.name, r.about.title, r.about.level) for r in (one, two)] == [
        ("one", "Shared", "high"),
        ("two", "Shared", "low"),
    ]
    assert (one.logsource, one.condition) == (LogSource("linux", "sshd", ""), x("s"))
    assert one.about.line == 11


def test_later_document_wins_at_every_depth() -> None:
    changed = "logsource: {service: cron}\ndetection:\n  s: {f: y}\n  t: [a]\n"
    (rule,) = rules_of(f"{GLOBAL}---\nname: one\n{changed}")
    assert rule.logsource == LogSource("linux", "cron", "")
    assert rule.condition == x("s", "y")


def test_list_replaces_a_list() -> None:
    shared = GLOBAL.replace("{f: x}", "[{f: x}, {f: z}]")
    (rule,) = rules_of(f"{shared}---\nname: one\ndetection: {{s: [{{f: y}}]}}\n")
    assert rule.condition == x("s", "y")


def test_next_global_document_takes_the_place_of_the_one_before() -> None:
    other = GLOBAL.replace("Shared", "Other").replace("level: high\n", "")
    one, two = rules_of(f"{GLOBAL}---\nname: one\n---\n{other}---\nname: two\n")
    assert (one.about.title, one.about.level) == ("Shared", "high")
    assert (two.about.title, two.about.level) == ("Other", "medium")


def test_reset_ends_what_is_shared() -> None:
    told = error_of(f"{GLOBAL}---\nname: one\n---\naction: reset\n---\nname: two\n")
    assert told.startswith("r.yml:15: neither `detection` nor `correlation` is here")


def test_repeat_is_over_the_document_before() -> None:
    one, two, three = rules_of(
        f"{GLOBAL}---\nname: one\n---\naction: repeat\nname: two\ndetection: {{s: {{f: y}}}}\n"
        "---\naction: repeat\nname: three\nlevel: low\n"
    )
    assert [r.about.name for r in (one, two, three)] == ["one", "two", "three"]
    assert [r.condition for r in (one, two, three)] == [x("s"), x("s", "y"), x("s", "y")]
    assert three.about.level == "low"


def test_rules_that_say_the_same_have_one_hash_however_they_are_written() -> None:
    (shared,) = rules_of(f"{GLOBAL}---\nname: one\n")
    (alone,) = rules_of(GLOBAL.replace("action: global", "name: one"))
    assert shared.about.hash == alone.about.hash


def test_correlations_and_filters_share_nothing() -> None:
    correlation = (
        "title: Many\ncorrelation: {type: event_count, rules: one, timespan: 5m, condition: {gte: 2}}\n"
    )
    filtered = "title: Not\nlogsource: {product: linux}\nfilter: {rules: any, t: {g: y}, condition: not t}\n"
    one, many, without, two = read(
        f"{GLOBAL}---\nname: one\n---\n{correlation}---\n{filtered}---\naction: repeat\nname: two\n", "r.yml"
    )
    assert isinstance(many, Correlation)
    assert many.about.level == "medium"
    assert isinstance(without, Filter)
    assert without.logsource == LogSource("linux", "", "")
    assert isinstance(two, Rule)
    assert (one.about.name, two.about.title, two.condition) == ("one", "Shared", x("s"))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (f"{GLOBAL}---\nname: one\nlevel: hihg\n", "r.yml:12: level: no such level: 'hihg'"),
        (f"{GLOBAL.replace('high', 'hihg')}---\nname: one\n", "r.yml:3: level: no such level: 'hihg'"),
        (
            f"{GLOBAL.replace('{f: x}', '{f|gt: x}')}---\nname: one\ndetection:\n  t: [a]\n",
            "r.yml:8: detection.s.f|gt: 'x' is of no type that |gt works on",
        ),
        (
            f"{GLOBAL}---\nname: one\ndetection:\n  t:\n    - g: y\n    - g|gt: x\n",
            "r.yml:15: detection.t[1].g|gt: 'x' is of no type",
        ),
        (f"{GLOBAL}---\nname: one\ndetection:\n  condition: t\n", "r.yml:13: detection.condition: no search"),
        ("action: globl\ntitle: T\n", "r.yml:1: action: no such action: 'globl'; did you mean 'global'?"),
        ("action:\n  - global\n", "r.yml:1: action: no such action: ['global']"),
        ("action: repeat\ntitle: T\n", "r.yml:1: action: there is no document before this one to repeat"),
        ("action: reset\ntitle: T\n", "r.yml:2: title: `action: reset` stands alone"),
        ("- a\n", "r.yml:1: a rule is a mapping with title, logsource and detection"),
        ("title: T\n5: x\n", "r.yml:1: the key 5 is no text here; put it into quotes"),
    ],
)
def test_error_stands_where_it_was_written(text: str, told: str) -> None:
    assert told in error_of(text)


def test_bad_global_document_is_one_error_and_those_after_stand_for_themselves() -> None:
    good = GLOBAL.replace("action: global", "name: one")
    error, rule = read_each(f"action: global\n5: x\n---\n{good}", "r.yml")
    assert isinstance(error, RuleError)
    assert isinstance(rule, Rule)


def test_aliases_that_stand_for_too_much_are_refused() -> None:
    names = "abcdefgh"
    lines = [
        f"{name}: &{name} [{', '.join([f'*{names[i - 1]}' if i else 'x'] * 9)}]"
        for i, name in enumerate(names)
    ]
    assert "YAML aliases expand to too many nodes" in error_of("\n".join(lines))
