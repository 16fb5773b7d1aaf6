"""What the commands about rules do on the command line, whole: `rules`, `lint`, `test`, `explain`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from pipeline.consumer import main

if TYPE_CHECKING:
    from pathlib import Path

RULE = """\
title: Refund
id: 7f0c7f1e-5a0e-4a3c-9d39-0f6f5a2b7c11
logsource: {category: application}
detection: {s: {Message|contains: refund}, condition: s}
"""
PIPELINE = """\
name: ours
transformations:
  - {type: field_name_mapping, mapping: {Message: event}}
"""
CASES = "cases: [{name: one, events: [{json: {event: a refund}}], alerts: 1}]"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TOCSIN_CONFIG", raising=False)
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "refund.yml").write_text(RULE, encoding="utf-8")
    (tmp_path / "rules" / "refund.cases.yml").write_text(CASES, encoding="utf-8")
    (tmp_path / "ours.yml").write_text(PIPELINE, encoding="utf-8")
    return tmp_path


@pytest.mark.usefixtures("place")
def test_explain_answers_by_its_exit_code_and_applies_pipelines(capsys: pytest.CaptureFixture[str]) -> None:
    event = json.dumps({"event": "a refund"})
    assert main(["explain", "Refund", event, "--rules", "rules"]) == 1
    assert "the field is missing" in capsys.readouterr().out
    assert main(["explain", "Refund", event, "--rules", "rules", "--pipeline", "ours.yml"]) == 0
    assert "event contains 'refund'" in capsys.readouterr().out


@pytest.mark.usefixtures("place")
def test_cases_run_with_the_pipeline_that_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["test", "rules"]) == 1
    assert main(["test", "rules", "--pipeline", "ours.yml"]) == 0
    assert capsys.readouterr().out.endswith("1 passed, 0 failed\n")


def test_lint_fails_on_what_it_is_told_to(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lint", "rules"]) == 0
    (place / "rules" / "filter.yml").write_text(
        "title: F\nlogsource: {category: application}\nfilter: {rules: any, s: {host: a}, condition: s}\n",
        encoding="utf-8",
    )
    assert main(["lint", "rules"]) == 0
    assert main(["lint", "rules", "--fail-on", "warning"]) == 1
    assert "warning[filter-polarity]" in capsys.readouterr().out
    assert main(["lint", "rules", "--format", "sarif"]) == 0
    assert json.loads(capsys.readouterr().out)["version"] == "2.1.0"
    assert main(["lint", "rules", "--disable", "filter-polarty"]) == 2
    assert "filter-polarity" in capsys.readouterr().err


@pytest.mark.usefixtures("place")
def test_rules_are_listed_as_configured_or_as_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rules", "rules", "--format", "json"]) == 0
    (rule,) = json.loads(capsys.readouterr().out)["rules"]
    assert (rule["title"], rule["category"], rule["alerts"]) == ("Refund", "application", True)
    assert main(["rules", "rules", "--only", "unfiltered"]) == 1
    assert main(["rules"]) == 0
    assert "detections" in capsys.readouterr().out


def test_what_a_rule_quotes_does_not_act_on_the_terminal(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    odd = RULE.replace("title: Refund", 'title: Refund\nlevel: "\\e[2J"')
    (place / "rules" / "odd.yml").write_text(odd, encoding="utf-8")
    assert main(["test", "rules"]) == 2
    told = capsys.readouterr().err
    assert "no such level" in told
    assert "\x1b" not in told


@pytest.mark.usefixtures("place")
def test_explain_says_why_what_looks_like_json_is_matched_as_text(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "Refund", '{"event": a refund', "--rules", "rules"]) == 1
    assert "matched as raw text: not JSON" in capsys.readouterr().out


def test_rule_in_python_among_the_paths_is_told_where_it_belongs(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (place / "r.py").write_text("x = 1\n", encoding="utf-8")
    assert main(["lint", "r.py"]) == 2
    assert "name rules in Python under `python_rules`" in capsys.readouterr().err


def test_first_of_several_errors_says_that_there_are_more(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a", "b", "c"):
        (place / "rules" / f"{name}.yml").write_text("title: X\n", encoding="utf-8")
    assert main(["test", "rules"]) == 2
    told = capsys.readouterr().err
    assert told.startswith("tocsin: rules/a.yml:1:")
    assert "and 2 other rules can't be used" in told


def test_run_asks_only_the_rules_of_the_log_source_that_is_named(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (place / "app.log").write_text(json.dumps({"Message": "a refund"}) + "\n", encoding="utf-8")
    assert main(["run", "--rules", "rules", "--logsource", "category=webserver", "app.log"]) == 0
    assert "no alerts" in capsys.readouterr().err
    assert main(["run", "--rules", "rules", "--logsource", "category=application", "app.log"]) == 0
    assert "1 alert" in capsys.readouterr().err
