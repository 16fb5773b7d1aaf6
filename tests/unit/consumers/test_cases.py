from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from consumers.cases import Outcome, run_cases
from consumers.rules import load_rules
from pipeline.errors import ConfigError, RuleError

if TYPE_CHECKING:
    from pathlib import Path

RULES = """\
title: Error
name: error
logsource: {category: application}
detection: {s: {level: error}, condition: s}
---
title: Many Errors
name: many
correlation:
  type: event_count
  rules: [error]
  group-by: [service]
  timespan: 1m
  condition: {gte: 3}
"""
CASES = """\
cases:
  - name: three errors fire
    events:
      - json: {level: error, service: shop}
        repeat: 3
    alerts: 1
    groups: [[shop]]
"""


def cases_of(file: Path) -> list[Outcome]:
    return list(run_cases(file, load_rules([str(file)])))


def outcomes(folder: Path, cases: str, rules: str = RULES) -> list[Outcome]:
    (folder / "r.yml").write_text(rules, encoding="utf-8")
    (folder / "r.cases.yml").write_text(cases, encoding="utf-8")
    return cases_of(folder / "r.yml")


def problem(folder: Path, old: str, new: str, rules: str = RULES) -> str:
    assert old in CASES
    (outcome,) = outcomes(folder, CASES.replace(old, new), rules)
    return outcome.problem


def error_of(folder: Path, cases: str) -> str:
    with pytest.raises(ConfigError) as raised:
        outcomes(folder, cases)
    return str(raised.value).removeprefix(f"{folder}/")


def test_a_case_that_is_as_it_should_be_has_no_problem(tmp_path: Path) -> None:
    (outcome,) = outcomes(tmp_path, CASES)
    assert outcome == Outcome(str(tmp_path / "r.cases.yml"), 2, "three errors fire")


def test_rules_without_cases_have_no_outcomes(tmp_path: Path) -> None:
    (tmp_path / "r.yml").write_text(RULES, encoding="utf-8")
    assert cases_of(tmp_path / "r.yml") == []


def test_an_alert_that_is_missing_is_told(tmp_path: Path) -> None:
    assert problem(tmp_path, "repeat: 3", "repeat: 2") == "0 alerts, not 1"


def test_an_alert_too_many_is_told_with_what_it_counted(tmp_path: Path) -> None:
    assert problem(tmp_path, "alerts: 1", "alerts: 0") == "1 alert, not 0: Many Errors (3 events)"


def test_another_group_is_told(tmp_path: Path) -> None:
    assert problem(tmp_path, "[[shop]]", "[[mail]]") == "the groups are [['shop']], not [['mail']]"


def test_time_passes_between_events_and_where_the_case_waits(tmp_path: Path) -> None:
    assert problem(tmp_path, "repeat: 3", "repeat: 3\n        every: 30s") == "0 alerts, not 1"
    waiting = "repeat: 2\n      - wait: 1m\n      - json: {level: error, service: shop}"
    assert problem(tmp_path, "repeat: 3", waiting) == "0 alerts, not 1"


def test_time_that_passes_at_the_end_is_seen(tmp_path: Path) -> None:
    fewer = RULES.replace("gte: 3", "lt: 3")
    one = "events:\n      - json: {level: error, service: shop}\n"
    at_once = CASES.replace("events:\n      - json: {level: error, service: shop}\n        repeat: 3\n", one)
    assert [o.problem for o in outcomes(tmp_path, at_once, fewer)] == ["0 alerts, not 1"]
    later = at_once.replace(one, one + "      - wait: 2m\n")
    assert [o.problem for o in outcomes(tmp_path, later, fewer)] == [""]


def test_lines_are_decoded_in_the_cases_format(tmp_path: Path) -> None:
    line = "line: '2026-01-01 00:00:00,000 - ERROR - failed'\n        repeat: 3"
    cases = CASES.replace("json: {level: error, service: shop}\n        repeat: 3", line)
    rules = RULES.replace("group-by: [service]", "group-by: [level]")
    cases = cases.replace("[[shop]]", "[[error]]").replace("alerts: 1", "alerts: 1\n    format: basic")
    assert [o.problem for o in outcomes(tmp_path, cases, rules)] == [""]


def test_an_alert_that_became_part_of_another_is_none(tmp_path: Path) -> None:
    times = ["00:00:00", "00:06:00", "00:03:00"]
    steps = [
        f"      - json: {{level: error, service: shop, timestamp: '2026-01-01T{time}Z'}}\n"
        "        every: '0'\n        repeat: 3\n"
        for time in times
    ]
    head = "cases:\n  - name: out of order\n    alerts: 1\n    events:\n"
    assert [o.problem for o in outcomes(tmp_path, head + "".join(steps))] == [""]
    assert [o.problem[:8] for o in outcomes(tmp_path, head + "".join(steps[:2]))] == ["2 alerts"]


def test_each_case_begins_anew(tmp_path: Path) -> None:
    again = CASES + CASES.removeprefix("cases:\n").replace("repeat: 3", "repeat: 2").replace(
        "alerts: 1", "alerts: 0"
    )
    again = again.replace("alerts: 0\n    groups: [[shop]]", "alerts: 0")
    assert [(o.line, o.problem) for o in outcomes(tmp_path, again)] == [(2, ""), (8, "")]


@pytest.mark.parametrize(
    ("old", "new", "error"),
    [
        ("alerts: 1", "alert: 1", "r.cases.yml:6: cases[0].alert: no such key; did you mean 'alerts'?"),
        ("    alerts: 1\n", "", "r.cases.yml:2: cases[0]: `alerts` is missing"),
        ("alerts: 1", "alerts: one", "r.cases.yml:6: cases[0].alerts: expected `int`, got `str`"),
        ("cases:", "case:", "r.cases.yml:1: case: no such key; did you mean 'cases'?"),
        (
            "repeat: 3",
            "repeet: 3",
            "r.cases.yml:5: cases[0].events[0].repeet: no such key; did you mean 'repeat'?",
        ),
        ("repeat: 3", "repeat: 0", "r.cases.yml:5: cases[0].events[0].repeat: expected `int` >= 1"),
        (
            "repeat: 3",
            "repeat: 1000000",
            "r.cases.yml:5: cases[0].events[0].repeat: expected `int` <= 100000",
        ),
        ("repeat: 3", "every: often", "r.cases.yml:4: cases[0].events[0]: 'often' is not a duration"),
        (
            "repeat: 3",
            "line: x",
            "r.cases.yml:4: cases[0].events[0]: an event is one of `json`, `line` and `wait`",
        ),
        ("json: {level: error, service: shop}\n        ", "", "an event is one of `json`, `line` and `wait`"),
        ("json: {level: error, service: shop}\n        repeat: 3", "wait: soon", "'soon' is not a duration"),
        ("service: shop}", "n: 99999999999999999999}", "r.cases.yml:4: cases[0].events[0]: "),
        (
            "alerts: 1",
            "alerts: 1\n    format: jsn",
            "cases[0].format: no such format: 'jsn'; did you mean 'json'?",
        ),
        ("cases:", "cases: [", "not valid YAML"),
    ],
)
def test_a_bad_case_file_names_place_and_nearest_name(tmp_path: Path, old: str, new: str, error: str) -> None:
    assert old in CASES
    assert error in error_of(tmp_path, CASES.replace(old, new, 1))


def test_a_case_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "r.yml").write_text(RULES, encoding="utf-8")
    (tmp_path / "r.cases.yml").write_bytes(b"cases: \xff")
    with pytest.raises(ConfigError, match="not UTF-8"):
        cases_of(tmp_path / "r.yml")


def test_a_case_file_that_is_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "r.yml").write_text(RULES, encoding="utf-8")
    (tmp_path / "r.cases.yml").mkdir()
    with pytest.raises(ConfigError, match=r"r\.cases\.yml"):
        cases_of(tmp_path / "r.yml")


def test_bad_rules_are_the_rules_error(tmp_path: Path) -> None:
    with pytest.raises(RuleError):
        outcomes(tmp_path, CASES, RULES.replace("rules: [error]", "rules: [eror]"))


def test_cases_of_one_file_see_the_rules_of_all_and_count_the_alerts_of_their_own(tmp_path: Path) -> None:
    """A correlation counts what another file detects, and a filter of a third file holds some of it back."""
    refund = (
        "title: Refund\nname: refund\nlogsource: {category: application}\n"
        "detection: {s: {event|contains: refund}, condition: s}\n"
    )
    other = refund.replace("Refund", "Other").replace("name: refund", "name: other")
    many = (
        "title: Many\nname: many\ncorrelation: {type: event_count, rules: [refund], group-by: [shop],"
        " timespan: 1m, condition: {gte: 2}}\n"
    )
    filtered = (
        "title: Not bob\nlogsource: {category: application}\n"
        "filter: {rules: [refund], bob: {user: bob}, condition: not bob}\n"
    )
    event = "{json: {event: refund, shop: a, user: USER}, repeat: 2}"
    texts = {
        "refund.yml": refund,
        "refund.cases.yml": f"cases: [{{name: counted elsewhere, events: [{event}], alerts: 0}}]",
        "other.yml": other,
        "many.yml": many,
        "many.cases.yml": f"cases: [{{name: two, events: [{event}], alerts: 1}}]",
        "filter.yml": filtered,
        "filter.cases.yml": f"cases: [{{name: bob, events: [{event.replace('USER', 'bob')}], alerts: 1}}]",
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    rules = load_rules([str(tmp_path)])
    ran = {
        file: [o.problem for o in run_cases(tmp_path / file, rules)]
        for file in ("refund.yml", "many.yml", "filter.yml", "other.yml")
    }
    # The last one counts what any rule says of bob: only the rule that is not filtered does.
    assert ran == {"refund.yml": [""], "many.yml": [""], "filter.yml": [""], "other.yml": []}
