"""Rule text: what is taken, and how what is not is told, with file, line and path."""

from __future__ import annotations

from textwrap import indent

import pytest

from pipeline.errors import RuleError
from pipeline.event import LogSource
from pipeline.sigma.form import And, Item, Not, Number, Or, Pattern, Rule, Test, Text, Wild
from pipeline.sigma.matcher.match import compile_rule
from pipeline.sigma.reader.options import Options
from pipeline.sigma.reader.read import read, read_each
from tests.unit.pipeline.sigma.rule_text import HEAD, item_refusal, node_of, rule_of

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
    assert rule.condition == Or((And((x,), name="a"), Not(And((y,), name="b"))))


def test_identifiers_and_selectors_keep_their_names() -> None:
    rule = rule_of("a1: {f: x, g: y}\na2: [x, y]\n_b: {'f|neq': x}\ncondition: all of a* and _b\n")
    f, g = Item("f", Text(("x",))), Item("g", Text(("y",)))
    a1 = And((f, g), name="a1")
    a2 = Or((Item(None, Text(("x",))), Item(None, Text(("y",)))), name="a2")
    assert rule.condition == And((And((a1, a2), name="all of a*"), And((Not(f),), name="_b")))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            f"{RULE}filter: {{}}\n",
            "r.yml:18: filter: it is either a detection or a filter; separate them by `---`",
        ),
        (
            "title: T\ncorrelation: {}\nfilter: {}\n",
            "r.yml:3: filter: it is either a correlation or a filter",
        ),
    ],
)
def test_document_is_of_one_kind(text: str, told: str) -> None:
    assert told in error_of(text)


def test_what_older_rules_say_is_taken() -> None:
    old = (
        RULE.replace("status: test", "status: deprecated")
        + "date: 2019/1/5\nmodified: 2020/12/31\nenrichment: [x]\nlicense: MIT\n"
        + "related:\n  - {id: 9eb8f6cd-9240-4bbf-8593-bf44d8eaff21, type: obsoletes}\n"
    )
    (rule,) = read(old.replace("  condition: s", "  timeframe: 5m\n  condition: 1 of them"), "r.yml")
    assert isinstance(rule, Rule)
    assert rule.about.status == "deprecated"
    x = And((Item("f", Text(("x",))),), name="s")
    assert rule.condition == Or((x,), name="1 of them")


def test_timeframe_with_fields_is_an_identifier_like_any_other() -> None:
    assert rule_of("timeframe: {f: x}\ncondition: timeframe\n").condition == And(
        (Item("f", Text(("x",))),), name="timeframe"
    )


def test_bad_document_does_not_hide_the_others() -> None:
    bad = RULE.replace("{f: x}", "{'f|gt': x}")
    other = RULE.replace("odd_thing", "other")
    first, second, third = read_each(f"{RULE}---\n{bad}---\n{other}", "r.yml")
    assert isinstance(first, Rule)
    assert isinstance(second, RuleError)
    assert str(second).startswith("r.yml:32: detection.s.f|gt: ")
    assert isinstance(third, Rule)
    assert third.about.name == "other"


def test_text_that_is_no_yaml_is_one_error_behind_what_could_be_read() -> None:
    first, second = read_each(f"{RULE}---\n: [\n---\n{RULE}", "r.yml")
    assert isinstance(first, Rule)
    assert isinstance(second, RuleError)
    assert "not valid YAML" in str(second)


# --- placeholders -----------------------------------------------------------------------------------------


def test_placeholder_becomes_each_of_its_values_with_their_wildcards() -> None:
    options = Options(placeholders={"a": ("x", "y*"), "b": ("1",)})
    assert node_of(r"f|expand: '%a%-%b%\*'", options) == Or(
        (Item("f", Text(("x-1*",))), Item("f", Text(("y", Wild.ANY, "-1*"))))
    )


def test_values_of_a_placeholder_are_alternatives_even_where_all_must_match() -> None:
    options = Options(placeholders={"a": ("x", "y")})
    x, y, z = (Item("f", Text((Wild.ANY, v, Wild.ANY))) for v in "xyz")
    assert node_of("f|contains|all|expand: ['%a%', z]", options) == And((Or((x, y)), z))
    assert node_of("f|neq|expand|contains: '%a%'", options) == Not(Or((x, y)))


def test_percent_signs_without_expand_are_themselves() -> None:
    assert node_of("f: '%a%'") == Item("f", Text(("%a%",)))
    assert node_of("f|expand: '100% or 5'") == Item("f", Text(("100% or 5",)))
    assert node_of("f|expand: '%%'") == Item("f", Text(("%%",)))


@pytest.mark.parametrize(
    ("item", "test"),
    [
        (r"f|expand: '\%a%b%'", Text(("%ax",))),
        (r"f|expand: '\\%b%'", Text(("\\x",))),
        (r"f|expand: 'c:\\%b%\*\d'", Text((r"c:\x*\d",))),
        (r"f|expand: '100\%'", Text(("100%",))),
        (r"f|expand: '\%b\%'", Text(("%b%",))),
        (r"f|expand|windash: '\%b\% -c'", Text(("%b% ", Wild.DASH, "c"))),
        (r"f|windash|expand: '-%b%'", Text(("-x",))),
        (r"f: '\%b%'", Text((r"\%b%",))),
        (r"f|re|expand: '\%b%\\%b%'", Pattern(r"\%b%\\x")),
    ],
)
def test_percent_signs_may_be_escaped_where_placeholders_are(item: str, test: Test) -> None:
    assert node_of(item, Options(placeholders={"b": ("x",)})) == Item("f", test)


@pytest.mark.parametrize(
    ("item", "placeholders", "told"),
    [
        ("f|expand: '%a%'", {}, "f|expand: the placeholder %a% has no value; set `placeholders: {a: [...]}`"),
        ("f|expand: '%usrs%'", {"users": ("x",)}, "is 'users' meant?"),
        ("f|expand: [x, '%a%']", {"a": ()}, "f|expand[1]: the placeholder %a% has no value"),
        ("f|expand: '%a%%a%'", {"a": tuple("x" * n for n in range(32))}, "make 1,024 texts of this one"),
        ("f|expand|cidr: '%a%'", {"a": ("10.0.0.1/8",)}, "10.0.0.1/8 has host bits set"),
        ("f|re|expand: 'a%a%'", {"a": ("(",)}, "the regular expression 'a(' can't be matched"),
    ],
)
def test_placeholder_that_can_not_be_filled_rejects_the_rule(
    item: str, placeholders: dict[str, tuple[str, ...]], told: str
) -> None:
    assert told in item_refusal(item, Options(placeholders=placeholders))


def test_hash_changes_with_the_values_that_a_rule_uses_and_no_others() -> None:
    detection = "s: {'f|expand': '%a%'}\ncondition: s\n"
    one = Options(placeholders={"a": ("x",), "b": ("y",)})
    same = Options(placeholders={"a": ("x",), "b": ("z",)})
    other = Options(placeholders={"a": ("x", "y")})
    hashes = [rule_of(detection, options).about.hash for options in (one, same, other)]
    assert hashes[0] == hashes[1] != hashes[2]
    plain = "s: {f: '%a%'}\ncondition: s\n"
    assert rule_of(plain, one).about.hash == rule_of(plain).about.hash
    assert rule_of(detection, other).about.id == f"T-{hashes[2]}"


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
        (
            "s:\n  - g: x\n  - f|startswith: true\ncondition: s",
            "r.yml:7: detection.s[1].f|startswith: true is of no type that |startswith works on",
        ),
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
        # Values
        ("s: {f: []}\ncondition: s", "detection.s.f: an empty list matches nothing"),
        ("s: []\ncondition: s", "detection.s: an empty list matches nothing"),
        ("s: {}\ncondition: s", "r.yml:5: detection.s: an empty mapping would match everything"),
        ("s: {f: {g: x}}\ncondition: s", "r.yml:5: detection.s.f: Unsupported type"),
        ("s: {f: 2026-01-01}\ncondition: s", "r.yml:5: detection.s.f: Unsupported type"),
        ("s: {f: .nan}\ncondition: s", "r.yml:5: detection.s.f: Invalid number"),
        ("s: [null]\ncondition: s", "r.yml:5: detection.s[0]: a keyword is a text, a number or"),
        (
            "s: {'|cidr': 10.0.0.0/8}\ncondition: s",
            "r.yml:5: detection.s.|cidr: a keyword is a text, a number or",
        ),
        ("s: {'|gt': 5}\ncondition: s", "r.yml:5: detection.s.|gt: a keyword is a text, a number or"),
        ("s: [[x]]\ncondition: s", "r.yml:5: detection.s[0]: a list within a list; write one list"),
        ("s: {f: [x, [y]]}\ncondition: s", "r.yml:5: detection.s.f[1]: a list within a list"),
        ("s: {f: !!binary aGk=}\ncondition: s", "r.yml:5: detection.s.f: Unsupported type: bytes"),
        (f"s: {{f: 1{'0' * 400}}}\ncondition: s", "r.yml:5: detection.s.f: Invalid number"),
        ('s: {f: "a\\U0010FFFE"}\ncondition: s', "r.yml:5: detection.s.f: U+10FFFE and U+10FFFF are no"),
        ("s:\n  f|exists: [true, false]\ncondition: s", "r.yml:6: detection.s.f|exists: |exists takes one"),
        ("s: {5: x}\ncondition: s", "r.yml:5: detection.s: the key 5 is no text here; put it into quotes"),
        ("s: {on: x}\ncondition: s", "the key True is no text here"),
        # YAML
        ("s:\n  f: x\n  f: y\ncondition: s", "r.yml:7: detection.s.f: this key stands here twice"),
        ("s: [\ncondition: s", "r.yml:7: not valid YAML"),
        ("s: &x {f: *x}\ncondition: s", "r.yml:1: Recursive YAML structure is not supported"),
        (f"s: {'{f: ' * 70}x{'}' * 70}\ncondition: s", "nested too deeply; 60 levels are possible"),
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


HUGE = "0x" + "f" * 5000


@pytest.mark.parametrize(
    ("old", "new", "path"),
    [
        ("level: high", f"level: {HUGE}", "level"),
        ("id: 9eb8f6cd-9240-4bbf-8593-bf44d8eaff20", f"id: {HUGE}", "id"),
        ("name: odd_thing", f"name: {HUGE}", "name"),
        ("status: test", f"status: {HUGE}", "status"),
        ("[attack.t1110]", f"[{HUGE}]", "tags[0]"),
        ("product: linux", f"product: {HUGE}", "logsource.product"),
        ("{f: x}", f"{{f: {HUGE}}}", "detection.s.f"),
        ("{f: x}", f"{{f: {1 << 1024}}}", "detection.s.f"),
        ("{f: x}", f"{{f: -{(1 << 1024) - 1}}}", "detection.s.f"),
        ("{f: x}", f"{{? {HUGE} : x}}", "detection.s"),
    ],
)
def test_a_number_beyond_all_that_events_hold_is_refused_at_its_place(old: str, new: str, path: str) -> None:
    assert old in RULE
    told = error_of(RULE.replace(old, new))
    assert f": {path}: Invalid number: no event holds one as large" in told


def test_the_largest_number_that_events_hold_is_read() -> None:
    assert node_of(f"f: {(1 << 1024) - (1 << 971)}") == Item("f", Number((1 << 1024) - (1 << 971)))


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("product: linux", "product: !!set {a}", "r.yml:11: logsource.product: Unsupported type: set;"),
        ("product: linux", "product: !!binary YQ==", "r.yml:11: logsource.product: Unsupported type: bytes;"),
        ("status: test", "status: !!omap [a: 1]", "r.yml:4: status[0]: Unsupported type: tuple;"),
        ("product: linux", "product: 2024-01-31", "r.yml:11: logsource.product: a date; put 2024-01-31 into"),
        ("{f: x}", "{f: 2024-01-31}", "r.yml:14: detection.s.f: Unsupported type: a date; put 2024-01-31"),
        ("id: 9eb8f6cd-9240-4bbf-8593-bf44d8eaff20", "id: ''", "r.yml:2: id: the id is no UUID: ''"),
        ("status: test", "related: [{type: derived}]", "r.yml:4: related: Sigma related must have an id"),
        ("status: test", "related: [{id: x, type: derived}]", "r.yml:4: related: Sigma related identifier"),
        ("[attack.t1110]", "[attack]", "r.yml:9: tags: Sigma tag must start with namespace"),
        ("[attack.t1110]", "[5]", "r.yml:9: tags: Sigma rule tags must be a list of strings"),
    ],
)
def test_what_is_odd_in_a_heading_is_told_at_its_line(old: str, new: str, told: str) -> None:
    assert old in RULE
    assert error_of(RULE.replace(old, new)).startswith(told)


def test_dates_may_stand_where_dates_are_and_under_keys_of_ones_own() -> None:
    dates = "date: 2024-01-31\nmodified: 2024-02-01\nreviewed: 2024-03-01\n"
    assert read(RULE + dates, "r.yml")[0].about == read(RULE, "r.yml")[0].about


@pytest.mark.parametrize(
    ("bad", "line"),
    [("date: 2024-99-01", 19), ("custom: !!int x", 19), ("a: 1\na: 2", 20), ("custom: !mine x", 19)],
)
def test_a_document_with_a_value_that_is_none_does_not_hide_the_others(bad: str, line: int) -> None:
    other = RULE.replace("9eb8", "9eb9").replace("odd_thing", "other")
    first, error, last = read_each(f"{RULE}---\n{bad}\n{RULE}---\n{other}", "r.yml")
    assert isinstance(first, Rule)
    assert isinstance(error, RuleError)
    assert error.line == line
    assert isinstance(last, Rule)
    assert last.about.name == "other"


@pytest.mark.parametrize("action", ["global", "repeat", "reset"])
def test_what_may_lean_on_a_broken_document_is_not_read(action: str) -> None:
    (error,) = read_each(f"action: {action}\ndate: 2024-99-01\n---\n{RULE}", "r.yml")
    assert isinstance(error, RuleError)


def test_a_broken_document_is_not_skipped_by_one_that_repeats_it() -> None:
    _, broken, repeated = read_each(
        f"{RULE}---\ndate: 2024-99-01\n---\naction: repeat\nlevel: low\n", "r.yml"
    )
    assert isinstance(broken, RuleError)
    assert isinstance(repeated, RuleError)
    assert "there is no document before this one to repeat" in str(repeated)


@pytest.mark.parametrize("item", ["f: VALUE", "f|contains: ['a', VALUE]", "[VALUE]", "f|windash: VALUE"])
def test_a_text_that_the_matcher_cannot_take_is_refused_at_its_place(item: str) -> None:
    sign = "-" if "windash" in item else "?"
    told = item_refusal(item.replace("VALUE", f"'{sign}{'a' * 1000}'"))
    assert told.startswith("r.yml:6: detection.s")
    assert "characters with `?` among them; up to 1,000 are possible" in told


def test_a_long_text_without_such_wildcards_is_read() -> None:
    compile_rule(rule_of(f"s: {{f|contains: '{'a' * 5000}*b'}}\ncondition: s\n"))
