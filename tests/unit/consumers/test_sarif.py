"""SARIF as the specification has it: what it requires, and that indices and places lead where they should.

(OASIS, SARIF 2.1.0: 3.13 log, 3.14 run, 3.18 tool, 3.19 component, 3.49 rule, 3.27 result, 3.30 region.)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from consumers.sarif import sarif
from pipeline.sigma.lint import CHECKS, SEVERITIES, Finding

if TYPE_CHECKING:
    from pathlib import Path

FINDINGS = [
    Finding("load", "error", "not UTF-8", "rules/a b.yml"),
    Finding("no-level", "warning", "no level", "rules/b.yml", 3, 0, "", "x", "T"),
    Finding("reference-no-url", "info", "no URL", "rules/b.yml", 4, 14, "references[0]", "x", "T"),
]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.chdir(tmp_path)
    log = sarif([*FINDINGS, Finding("no-id", "warning", "no id", str(tmp_path.parent / "c.yml"), 1, 1)])
    assert set(log) == {"$schema", "version", "runs"}
    assert log["version"] == "2.1.0"
    assert urlsplit(log["$schema"]).path.endswith("sarif-schema-2.1.0.json")
    (only,) = log["runs"]
    return dict(only)


def test_run_has_a_tool_with_a_name_and_says_how_columns_count(run: dict[str, Any]) -> None:
    assert set(run) == {"tool", "columnKind", "results"}
    assert run["columnKind"] == "unicodeCodePoints"
    assert set(run["tool"]) == {"driver"}
    assert run["tool"]["driver"]["name"] == "Tocsin"


def test_rules_are_all_checks_each_with_texts_and_a_level(run: dict[str, Any]) -> None:
    rules = run["tool"]["driver"]["rules"]
    assert [rule["id"] for rule in rules] == list(CHECKS)
    for rule in rules:
        assert set(rule) == {"id", "shortDescription", "fullDescription", "help", "defaultConfiguration"}
        assert all(rule[key]["text"] for key in ("shortDescription", "fullDescription", "help"))
        assert rule["defaultConfiguration"]["level"] in ("error", "warning", "note")


def test_results_name_their_rule_by_id_and_index(run: dict[str, Any]) -> None:
    rules = run["tool"]["driver"]["rules"]
    assert [r["ruleId"] for r in run["results"]] == ["load", "no-level", "reference-no-url", "no-id"]
    for result in run["results"]:
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"]


def test_results_have_a_message_and_a_level(run: dict[str, Any]) -> None:
    assert [r["level"] for r in run["results"]] == ["error", "warning", "note", "warning"]
    assert [r["message"] for r in run["results"]][:2] == [{"text": "not UTF-8"}, {"text": "no level"}]


def test_places_are_as_far_as_they_are_known(run: dict[str, Any]) -> None:
    places = [r["locations"][0]["physicalLocation"] for r in run["results"]]
    assert "region" not in places[0]
    assert places[1]["region"] == {"startLine": 3}
    assert places[2]["region"] == {"startLine": 4, "startColumn": 14}
    assert run["results"][2]["locations"][0]["logicalLocations"] == [{"fullyQualifiedName": "references[0]"}]


def test_files_are_references_relative_to_the_working_folder_or_whole_uris(run: dict[str, Any]) -> None:
    uris = [r["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] for r in run["results"]]
    assert uris[:2] == ["rules/a%20b.yml", "rules/b.yml"]
    assert uris[3].startswith("file:///")
    assert uris[3].endswith("/c.yml")


def test_without_findings_the_results_are_empty_not_missing() -> None:
    assert sarif([])["runs"][0]["results"] == []


def test_each_severity_has_a_level_of_its_own() -> None:
    told = sarif([Finding("load", severity, "m", "f") for severity in SEVERITIES])
    assert [r["level"] for r in told["runs"][0]["results"]] == ["error", "warning", "note"]
