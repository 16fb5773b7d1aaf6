"""Every check of our own, on a rule where it speaks and on one where it is silent."""

from __future__ import annotations

import pytest

from pipeline.sigma.lint import CHECKS
from tests.unit.pipeline.sigma.lint.rules import HEAD, ID, SOURCE, filtering, item, of, rule

PLAIN = rule("s: {event: shop}\ncondition: s")
CORRELATION = f"""\
title: T
id: {ID}
correlation: {{type: event_count, rules: [one], timespan: 1m, condition: {{gte: 2}}}}
"""


def headed(line: str) -> str:
    return rule("s: {event: shop}\ncondition: s", head=f"{HEAD}{line}\n")


def sourced(source: str) -> str:
    return rule("s: {event: shop}\ncondition: s", source=f"logsource: {source}\n")


# check, rule, the path that it points at, part of what it says
SPEAKS: list[tuple[str, str, str, str]] = [
    ("no-id", PLAIN.replace(f"id: {ID}\n", ""), "", "random UUID"),
    ("no-level", PLAIN.replace("level: high\n", ""), "", "counts as `medium`"),
    ("no-level", CORRELATION, "", "counts as `medium`"),
    ("retired-status", headed("status: deprecated"), "status", "deprecated"),
    ("retired-status", headed("status: unsupported"), "status", "unsupported"),
    ("slash-date", headed("date: 2026/01/31"), "date", "'2026/01/31'"),
    ("slash-date", headed("modified: 2026/1/31"), "modified", "'2026/1/31'"),
    ("reference-no-url", headed("references: ['https://a.example', a book]"), "references[1]", "'a book'"),
    ("attack-tag", headed("tags: [attack.t105]"), "tags[0]", "'attack.t105' names no technique"),
    ("attack-tag", headed("tags: [attack.t1059.1]"), "tags[0]", "names no technique"),
    ("attack-tag", headed("tags: [attack.initial_access]"), "tags[0]", "'attack.initial-access'"),
    ("attack-tag", headed("tags: [attack.execution, attack.persistance]"), "tags[1]", "'attack.persistence'"),
    ("unknown-key", headed("falsepositive: [none]"), "falsepositive", "did you mean 'falsepositives'?"),
    ("unknown-key", headed("Status: test"), "Status", "did you mean 'status'?"),
    ("no-logsource", sourced("{category: ''}"), "logsource", "every source"),
    ("unknown-logsource", sourced("{category: proces_creation}"), "logsource.category", "'process_creation'"),
    ("unknown-logsource", sourced("{product: Windws}"), "logsource.product", "did you mean 'windows'?"),
    ("unknown-logsource", sourced("{service: sylog}"), "logsource.service", "did you mean 'syslog'?"),
    ("unused-identifier", rule("a: {event: x1}\nb: {event: y1}\ncondition: a"), "detection.b", "'b'"),
    (
        "unused-identifier",
        rule("a: {event: x1}\n_b: {event: y1}\ncondition: 1 of them"),
        "detection._b",
        "never uses '_b'; `them` and patterns leave out what begins with `_`",
    ),
    (
        "unquoted-value",
        item("user: [a, 1.10]"),
        "detection.s.user[1]",
        "1.10 is the number 1.1; write",
    ),
    ("unquoted-value", item("user|contains: 017"), "detection.s.user|contains", "017 is the number 15"),
    ("unquoted-value", item("user: 1:30"), "detection.s.user", "1:30 is the number 90"),
    ("unquoted-value", item("user: 0x1F"), "detection.s.user", "0x1F is the number 31"),
    ("unquoted-value", item("user: 1.0"), "detection.s.user", "1.0 is the number 1; "),
    ("unquoted-value", item("user: on"), "detection.s.user", "on is the truth value true; write 'on'"),
    ("unquoted-value", rule("k: [no, foo]\ncondition: k"), "detection.k[0]", "no is the truth value false"),
    ("unused-identifier", rule("s_1: {e: x1}\nf_1: {e: y1}\ncondition: all of s_*"), "detection.f_1", ""),
    ("unused-identifier", filtering("a: {e: x1}\nb: {e: y1}\ncondition: not a"), "filter.b", "'b'"),
    ("operator-name", rule("Any: {event: shop}\ncondition: Any"), "detection.Any", "'Any'"),
    ("filter-polarity", filtering("s: {user: x}\ncondition: s"), "filter.condition", "`not s`"),
    (
        "filter-polarity",
        filtering("s: {user: x}\nt: {user: y}\ncondition: s or t"),
        "filter.condition",
        "`not (s or t)`",
    ),
    (
        "filter-polarity",
        filtering("s: {user: x}\nt: {user: y}\ncondition: s and not t"),
        "filter.condition",
        "",
    ),
    (
        "matches-empty",
        rule("s: {event: x1}\nf: {user: y1}\ncondition: s or not f"),
        "detection.condition",
        "without any field",
    ),
    ("matches-empty", rule("f: {user: y1}\ncondition: not f"), "detection.condition", ""),
    ("no-witness", rule("s: {event: '*'}\ncondition: s"), "detection.condition", "every event"),
    (
        "timeframe",
        rule("s: {event: x1}\ntimeframe: 5m\ncondition: s"),
        "detection.timeframe",
        "write a correlation",
    ),
    ("field-case", item("Image: a\nimage: b"), "detection.s.image", "'Image'"),
    ("level-spelling", item("level: fatal"), "detection.s.level", "`critical`"),
    ("level-spelling", item("level: [error, ERR]"), "detection.s.level[1]", "`error`"),
    ("level-spelling", item("level|cased: ERROR"), "detection.s.level|cased", "`error`"),
    ("level-spelling", item("level|startswith: fatal"), "detection.s.level|startswith", "`critical`"),
    ("level-spelling", item("level: 50"), "detection.s.level", "`error`"),
    ("any-value", item("user: '*'"), "detection.s.user", "`user|exists: true`"),
    ("any-value", item("user|contains: ['**', a]"), "detection.s.user|contains[0]", ""),
    ("any-value", rule("k: ['*']\ncondition: k"), "detection.k[0]", "every event"),
    ("needless-wildcard", item("user|contains: '*foo'"), "detection.s.user|contains", "|contains"),
    ("needless-wildcard", item("user|startswith: 'foo*'"), "detection.s.user|startswith", "|startswith"),
    ("needless-wildcard", item("user|endswith: '*foo'"), "detection.s.user|endswith", "|endswith"),
    ("needless-wildcard", rule("k: ['*foo*']\ncondition: k"), "detection.k[0]", "found anywhere"),
    ("duplicate-value", item("user: [a, b, a]"), "detection.s.user[2]", "'a' stands in this list already"),
    ("duplicate-value", item("user: [Anna, anna]"), "detection.s.user[1]", "the same as 'Anna'"),
    ("duplicate-value", item("user: [5, '5']"), "detection.s.user[1]", "'5' is the same as 5"),
    ("duplicate-value", item("user|re: [a+b, a+b]"), "detection.s.user|re[1]", ""),
    (
        "covered-value",
        item("user|contains: [Foobar, foo]"),
        "detection.s.user|contains[0]",
        "'foo' matches all",
    ),
    ("covered-value", item("user|startswith: [foo, foobar]"), "detection.s.user|startswith[1]", ""),
    ("covered-value", item("user|endswith: [bar, foobar]"), "detection.s.user|endswith[1]", ""),
    ("covered-value", item("user: ['foo*', foobar]"), "detection.s.user[1]", "'foo*'"),
    ("covered-value", item("user|contains|all: [foo, foobar]"), "detection.s.user|contains|all[0]", ""),
    ("covered-value", item("user|contains: [a, ab, ac]"), "detection.s.user|contains[1]", "1 more"),
    ("covered-value", rule("k: [foo, foobar]\ncondition: k"), "detection.k[1]", ""),
    ("regex-everything", item("user|re: 'a*'"), "detection.s.user|re", "every text"),
    ("regex-everything", item("user|re: '.*'"), "detection.s.user|re", ""),
    ("regex-everything", item("user|re: ['a+', '(x|)']"), "detection.s.user|re[1]", ""),
    ("regex-ends", item("user|re: '.*a+.*'"), "detection.s.user|re", "'a+' means the same"),
    ("regex-ends", item(r"user|re: 'a+\\.*?'"), "detection.s.user|re", r"'a+\\\\' means the same"),
    ("regex-plain", item(r"user|re: 'a\.b'"), "detection.s.user|re", "`user|contains|cased: a.b`"),
    ("regex-plain", item("user|re|i: '^ab'"), "detection.s.user|re|i", "`user|startswith: ab`"),
    ("regex-plain", item("user|re: '(?i)ab$'"), "detection.s.user|re", "`user|endswith: ab`"),
    ("regex-plain", item("user|re: '^ab$'"), "detection.s.user|re", "`user|cased: ab`"),
    ("regex-plain", item("user|re: '.*ab.*'"), "detection.s.user|re", "`user|contains|cased: ab`"),
    ("regex-plain", item(r"user|re: 'a\*b'"), "detection.s.user|re", r"`user|contains|cased: a\*b`"),
    (
        "regex-no-literal",
        rule("s: {event|re: '[a-z]{9}[0-9]{9}'}\ncondition: s"),
        "detection.s.event|re",
        "holds no text",
    ),
    (
        "old-action",
        f"action: global\n{SOURCE}---\n{PLAIN.replace(SOURCE, '')}",
        "action",
        "write each rule out",
    ),
]

SILENT: list[tuple[str, str]] = [
    ("no-id", PLAIN),
    ("no-level", PLAIN),
    ("no-level", filtering("s: {user: x}\ncondition: not s").replace("level: high\n", "")),
    ("retired-status", headed("status: test")),
    ("slash-date", headed("date: 2026-01-31")),
    ("reference-no-url", headed("references: ['https://a.example/b']")),
    (
        "attack-tag",
        headed("tags: [attack.t1059, attack.t1059.001, attack.g0007, attack.s0002, attack.ds0009]"),
    ),
    (
        "attack-tag",
        headed("tags: [attack.ta0002, attack.initial-access, attack.a-new-tactic, cve.2021-44228]"),
    ),
    ("unknown-key", headed("simulation: x\nregression_tests_path: y")),
    ("no-logsource", PLAIN),
    ("unknown-logsource", sourced("{product: Windows, service: sysmon}")),
    ("unknown-logsource", sourced("{product: shop, category: till, service: refunds}")),
    ("unused-identifier", rule("a: {event: x1}\nb: {event: y1}\ncondition: [a, b]")),
    ("unused-identifier", rule("a: {event: x1}\nb: {event: y1}\ncondition: 1 of THEM")),
    ("unused-identifier", rule("s_1: {event: x1}\n_s_2: {event: y1}\ncondition: 1 of s_* or 1 of _s*")),
    ("operator-name", rule("anything: {event: shop}\ncondition: anything")),
    ("filter-polarity", filtering("s: {user: x}\ncondition: not s")),
    ("filter-polarity", filtering("s: {user: x}\nt: {user: y}\ncondition: not s and not 1 of t*")),
    ("filter-polarity", filtering("s: {user: x}\nt: {user: y}\ncondition: not (s and not t)")),
    ("filter-polarity", filtering("s: {user|neq: x}\ncondition: s")),
    ("filter-polarity", PLAIN),
    ("matches-empty", rule("s: {event: x1}\nf: {user: y1}\ncondition: s and not f")),
    ("matches-empty", filtering("s: {user: x}\ncondition: not s")),
    ("no-witness", PLAIN),
    ("timeframe", rule("timeframe: {event: x1}\ncondition: timeframe")),
    ("field-case", item("Image: a\nImage|contains: b")),
    ("level-spelling", item("level: [error, Critical, custom]")),
    ("level-spelling", item("level|contains: crit")),
    ("level-spelling", item("level|re: fatal")),
    ("level-spelling", item("severity: fatal")),
    ("any-value", item("user: 'a*'")),
    ("any-value", item(r"user: '\*'")),
    ("any-value", item("user|re: '*'").replace("'*'", "'a'")),
    ("unquoted-value", item("user: [1.5, -17, 'on', '017', TRUE, false, null, ~, '']")),
    ("unquoted-value", item("user|gte: 0x1F")),
    ("unquoted-value", item("user|exists: yes")),
    ("needless-wildcard", item("user: '*foo*'")),
    ("needless-wildcard", item("user|contains: '**'")),
    ("needless-wildcard", item("user|startswith: '*foo'")),
    ("needless-wildcard", item("user|endswith: 'foo*'")),
    ("needless-wildcard", item("user|contains: 'f*o'")),
    ("needless-wildcard", item(r"user|contains: 'foo\*'")),
    ("needless-wildcard", item("user|re: 'foo.*'")),
    ("duplicate-value", item("user|cased: [Anna, anna]")),
    ("duplicate-value", item("user|re: [A+, a+]")),
    ("duplicate-value", item("user|base64: [A, a]")),
    ("covered-value", item("user|contains: [foo, bar]")),
    ("covered-value", item("user: [foo, foobar]")),
    ("covered-value", item("user|startswith: [foo, barfoo]")),
    ("covered-value", item("user: ['foo*', '*foobar']")),
    ("covered-value", item("user|contains|cased: [foo, Foobar]")),
    ("covered-value", item("user|base64offset|contains: [foo, foobar]")),
    ("regex-everything", item("user|re: 'a+'")),
    ("regex-everything", item("user|re: '^$'")),
    ("regex-ends", item(r"user|re: 'a+\.*'")),
    ("regex-ends", item("user|re: '^.*a+'")),
    ("regex-ends", item("user|re: '.*'")),
    ("regex-plain", item("user|re: 'a.b'")),
    ("regex-plain", item(r"user|re: '\d'")),
    ("regex-plain", item("user|re|m: '^ab'")),
    ("regex-no-literal", item("user|re: '[a-z]{9}[0-9]{9}'")),
    ("regex-no-literal", rule("s: {event|re: 'invalid user [a-z]+'}\ncondition: s")),
    ("old-action", PLAIN),
]


@pytest.mark.parametrize(("check", "text", "path", "said"), SPEAKS)
def test_check_finds_what_it_is_for_at_its_place(check: str, text: str, path: str, said: str) -> None:
    (finding,) = of(check, text)
    assert finding.path == path
    assert said in finding.message
    assert finding.severity == CHECKS[check].severity
    assert finding.line > 0
    assert finding.column > 0


@pytest.mark.parametrize(("check", "text"), SILENT)
def test_check_is_silent_on_what_is_right(check: str, text: str) -> None:
    assert of(check, text) == []
    assert of("load", text) == []


def test_each_check_of_one_rule_is_tested_in_both_outcomes() -> None:
    own = {check.id for check in CHECKS.values() if check.look is not None} | {"old-action"}
    assert {case[0] for case in SPEAKS} == own
    assert {case[0] for case in SILENT} == own


def test_a_plain_rule_has_no_findings_at_all() -> None:
    assert [f.check for check in CHECKS for f in of(check, PLAIN)] == []
