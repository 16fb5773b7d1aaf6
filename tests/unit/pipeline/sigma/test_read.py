"""Rule text: what is taken, and how what is not is told, with file, line and path."""

from __future__ import annotations

from textwrap import indent

import pytest

from pipeline.errors import RuleError
from pipeline.event import LogSource
from pipeline.sigma.form import And, Item, Not, Or, Rule, Text
from pipeline.sigma.read import MODIFIERS, read
from tests.unit.pipeline.sigma.rule_text import HEAD, rule_of

RULE = """\
title: Odd Thing
id: 9eb8f6cd-9240-4bbf-8593-bf44d8eaff20
name: odd_thing
status: test
description: >-
  Something   odd
  happened.
references: [https://example.com/]
tags: [attack.t1110]
logsource:
  product: linux
  service: sshd
detection:
  s: {f: x}
  condition: s
falsepositives: [None]
level: high
"""


def error_of(text: str) -> str:
    with pytest.raises(RuleError) as raised:
        read(text, "r.yml")
    return str(raised.value)


def test_rule_says_who_it_is() -> None:
    (rule,) = read(RULE, "r.yml")
    about = rule.about
    assert (about.id, about.name, about.title) == (
        "9eb8f6cd-9240-4bbf-8593-bf44d8eaff20",
        "odd_thing",
        "Odd Thing",
    )
    assert (about.level, about.status, about.description) == ("high", "test", "Something odd happened.")
    assert (about.tags, about.references, about.falsepositives) == (
        ("attack.t1110",),
        ("https://example.com/",),
        ("None",),
    )
    assert (about.file, about.line) == ("r.yml", 1)
    assert isinstance(rule, Rule)
    assert rule.logsource == LogSource("linux", "sshd", "")


def test_rule_without_id_is_called_by_its_name_or_by_title_and_content() -> None:
    (named,) = read(RULE.replace("id: 9eb8f6cd-9240-4bbf-8593-bf44d8eaff20\n", ""), "r.yml")
    assert named.about.id == "odd_thing"
    bare = rule_of("s: {f: x}\ncondition: s\n").about
    assert bare.id == f"T-{bare.hash}"
    assert bare.level == "medium"


def test_hash_is_of_what_a_rule_finds_and_not_of_what_it_says() -> None:
    (before,) = read(RULE, "r.yml")
    (reworded,) = read(RULE.replace("Odd Thing", "Odder Thing"), "r.yml")
    (changed,) = read(RULE.replace("{f: x}", "{f: y}"), "r.yml")
    (moved,) = read(RULE.replace("service: sshd", "service: cron"), "r.yml")
    assert before.about.hash == reworded.about.hash
    assert len({before.about.hash, changed.about.hash, moved.about.hash}) == 3


def test_documents_are_read_in_their_order_and_empty_ones_passed_over() -> None:
    text = f"---\n{RULE}---\n---\n{RULE.replace('odd_thing', 'other').replace('9eb8', '9eb9')}"
    assert [(r.about.name, r.about.line) for r in read(text, "r.yml")] == [("odd_thing", 2), ("other", 21)]


def test_conditions_of_a_list_are_alternatives() -> None:
    rule = rule_of("a: {f: x}\nb: {f: y}\ncondition: [a, not b]\n")
    x, y = Item("f", Text(("x",))), Item("f", Text(("y",)))
    assert rule.condition == Or((x, Not(y)))


def test_and_binds_closer_than_or() -> None:
    rule = rule_of("a: {f: x}\ncondition: a or a and not a\n")
    x = Item("f", Text(("x",)))
    assert rule.condition == Or((x, And((x, Not(x)))))


@pytest.mark.parametrize("modifier", sorted(MODIFIERS))
def test_every_modifier_is_read(modifier: str) -> None:
    values = {"cidr": "10.0.0.0/8", "exists": "true", "lt": "5", "lte": "5", "gt": "5", "gte": "5"}
    name = f"re|{modifier}" if modifier in {"i", "ignorecase", "m", "multiline", "s", "dotall"} else modifier
    assert rule_of(f"s: {{'f|{name}': {values.get(modifier, 'x')}}}\ncondition: s\n")


S = "s: {f: x}\n"


@pytest.mark.parametrize(
    ("detection", "told"),
    [
        # Conditions. A detection begins on line 5.
        (S, "r.yml:4: detection: the detection has no `condition`"),
        (f"{S}condition: t", "r.yml:6: detection.condition: no search identifier 't'; valid: s"),
        ("selection: {f: x}\ncondition: selektion", "did you mean 'selection'?"),
        (f"{S}condition: 2 of them", "there is `1 of`, `any of` and `all of`, but no `2 of`"),
        (f"{S}_t: {{f: x}}\ncondition: 1 of *t", "detection.condition: Selector '1 of *t' doesn't match"),
        (f"{S}condition: 1 of t*", "r.yml:6: detection.condition: Selector '1 of t*' doesn't match"),
        (f"{S}condition: s | count() > 5", "r.yml:6: detection.condition: Sigma has no pipes any more"),
        (f"{S}condition: (s", "r.yml:6: detection.condition: Unbalanced parentheses"),
        (f"{S}condition: s and", "r.yml:6: detection.condition: "),
        (f"{S}condition: ''", "r.yml:6: detection.condition: a condition is a text"),
        (f"{S}condition:", "r.yml:6: detection.condition: a condition is a text"),
        (f"{S}condition: 5", "r.yml:6: detection.condition: a condition is a text"),
        (f"{S}condition: []", "r.yml:6: detection.condition: the condition is empty"),
        (f"{S}condition:\n  - s\n  - t", "r.yml:8: detection.condition[1]: no search identifier 't'"),
        (f"{S}condition: [s, 5]", "r.yml:6: detection.condition[1]: a condition is a text"),
        ("condition: s", "no search identifier 's'; there is none"),
        # Modifiers
        (
            "s:\n  f|containz: x\ncondition: s",
            "r.yml:6: detection.s.f|containz: modifier 'containz' is not known here; did you mean",
        ),
        ("s: {'f|windash': x}\ncondition: s", "modifier 'windash' is not known here"),
        (
            "s:\n  - g: x\n  - f|startswith: 5\ncondition: s",
            "r.yml:7: detection.s[1].f|startswith: 5 is of no type that |startswith works on",
        ),
        ("s: {'f|gt: abc}\ncondition: s", "r.yml:"),
        ("s: {'f|gt': abc}\ncondition: s", "'abc' is of no type that |gt works on"),
        ("s: {'f|exists': 'yes'}\ncondition: s", "'yes' is of no type that |exists works on"),
        ("s: {'f|i': x}\ncondition: s", "'x' is of no type that |i works on"),
        ("s: {'f|cidr': 10.0.0.0/99}\ncondition: s", "r.yml:5: detection.s.f|cidr: Invalid CIDR expression"),
        (
            "s: {'f|fieldref': 'g*'}\ncondition: s",
            "detection.s.f|fieldref: Field references must not contain",
        ),
        # Regular expressions
        (
            "s:\n  f|re:\n    - ok\n    - '(?=a)b'\ncondition: s",
            "r.yml:8: detection.s.f|re[1]: the regular expression '(?=a)b' can't be matched in linear",
        ),
        ("s: {'f|re': '(a)\\1'}\ncondition: s", "invalid escape sequence"),
        ("s: {'|re': '(a'}\ncondition: s", "detection.s.|re: the regular expression '(a' can't be"),
        ("s: {'f|re': 'a{1000}{1000}'}\ncondition: s", "can't be matched in linear time (RE2)"),
        ("s: {'f|contains|re': a}\ncondition: s", "detection.s.f|contains|re: "),
        ("s: {'f|re|startswith': a}\ncondition: s", "anchor a regular expression with ^ and $ instead"),
        # Values
        ("s: {f: []}\ncondition: s", "detection.s.f: an empty list matches nothing"),
        ("s: []\ncondition: s", "detection.s: an empty list matches nothing"),
        ("s: {}\ncondition: s", "r.yml:4: detection: Detection is empty"),
        ("s: {f: {g: x}}\ncondition: s", "r.yml:5: detection.s.f: Unsupported type"),
        ("s: {f: 2026-01-01}\ncondition: s", "r.yml:5: detection.s.f: Unsupported type"),
        ("s: {f: .nan}\ncondition: s", "r.yml:5: detection.s.f: Invalid number"),
        ("s: [null]\ncondition: s", "r.yml:5: detection.s[0]: a keyword is a text, a number or"),
        (
            "s: {'|cidr': 10.0.0.0/8}\ncondition: s",
            "r.yml:5: detection.s.|cidr: a keyword is a text, a number or",
        ),
        ("s: {'|gt': 5}\ncondition: s", "r.yml:5: detection.s.|gt: a keyword is a text, a number or"),
        ("s: {5: x}\ncondition: s", "r.yml:5: detection.s: the key 5 is no text here; put it into quotes"),
        ("s: {on: x}\ncondition: s", "the key True is no text here"),
        # YAML
        ("s:\n  f: x\n  f: y\ncondition: s", "r.yml:7: detection.s.f: this key stands here twice"),
        ("s: [\ncondition: s", "r.yml:"),
    ],
)
def test_error_in_a_detection_names_its_place(detection: str, told: str) -> None:
    assert told in error_of(HEAD + indent(detection, "  "))


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("title: Odd Thing\n", "", "r.yml:1: title: a rule needs a title"),
        ("title: Odd Thing", "title: 5", "r.yml:1: title: a rule needs a title"),
        ("level: high", "level: hihg", "r.yml:17: level: no such level: 'hihg'; did you mean 'high'?"),
        ("level: high", "level: [high]", "r.yml:17: level: no such level: ['high']"),
        ("id: 9eb8f6cd-9240-4bbf-8593-bf44d8eaff20", "id: 5", "r.yml:2: id: the id is no text: 5"),
        ("9eb8f6cd-9240-4bbf-8593-bf44d8eaff20", "xyz", "r.yml:2: id: the id is no UUID: 'xyz'"),
        ("name: odd_thing", "name: 5", "r.yml:3: name: the name is no text: 5"),
        ("status: test", "status: tset", "r.yml:4: status: "),
        ("references: [https://example.com/]", "references: x", "r.yml:8: references: "),
        ("tags: [attack.t1110]", "tags: x", "r.yml:9: tags: "),
        ("  product: linux\n  service: sshd\n", "  prodct: linux\n", "r.yml:10: logsource: "),
        ("logsource:\n  product: linux\n  service: sshd\n", "", "Sigma rule must have a log source"),
        ("  product: linux\n", "  product: 5\n", "r.yml:10: logsource: "),
        ("detection:", "detections:", "is 'detections' meant to be 'detection'?"),
        (RULE, "- a\n- b\n", "r.yml:1: a rule is a mapping with title, logsource and detection"),
        (RULE, "{}", "neither `detection` nor `correlation` is here"),
        ("  s: {f: x}\n  condition: s\n", "  - s\n", "r.yml:13: detection: a detection is a mapping"),
    ],
)
def test_error_in_the_rest_names_its_place(old: str, new: str, told: str) -> None:
    assert told in error_of(RULE.replace(old, new))
