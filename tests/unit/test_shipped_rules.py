"""The rules that ship, as documents: valid Sigma, named once, resolvable, with cases beside them.

Whether they fire and stay quiet is what `tocsin test rules/` finds out.
"""

from __future__ import annotations

import datetime as dt
import re
import uuid
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml
from sigma.collection import SigmaCollection
from sigma.correlations import SigmaCorrelationRule, SigmaCorrelationType
from sigma.rule import SigmaRule

RULES = Path(__file__).parents[2] / "rules"
CASES = ".cases.yml"
FILES = sorted(p for p in RULES.rglob("*.yml") if not p.name.endswith(CASES))
SECURITY = [f for f in FILES if f.parent.name == "security"]

TACTICS = frozenset(
    [
        "reconnaissance",
        "resource-development",
        "initial-access",
        "execution",
        "persistence",
        "privilege-escalation",
        "defense-evasion",
        "credential-access",
        "discovery",
        "lateral-movement",
        "collection",
        "command-and-control",
        "exfiltration",
        "impact",
    ]
)
TECHNIQUE = re.compile(r"t\d{4}(?:\.\d{3})?")
DURATION = re.compile(r"[1-9]\d*(?:ms|s|m|h|d)")


def name_of(path: Path) -> str:
    return str(path.relative_to(RULES))


def cases_file(rule_file: Path) -> Path:
    return rule_file.with_name(rule_file.stem + CASES)


def documents(path: Path) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(path.read_text(encoding="utf-8")))


def cases(rule_file: Path) -> list[dict[str, Any]]:
    (document,) = documents(cases_file(rule_file))
    assert set(document) == {"cases"}
    return document["cases"]


def collection(path: Path) -> SigmaCollection:
    return SigmaCollection.from_yaml(path.read_text(encoding="utf-8"))


def keywords(document: dict[str, Any]) -> list[str]:
    """The plain keywords of one rule: lists of strings that stand under no field."""
    found: list[str] = []
    for identifier, value in document.get("detection", {}).items():
        if identifier != "condition" and isinstance(value, list):
            found += [v for v in value if isinstance(v, str)]
    return found


every_file = pytest.mark.parametrize("path", FILES, ids=name_of)
every_security_file = pytest.mark.parametrize("path", SECURITY, ids=name_of)


def test_there_are_rules_of_each_kind() -> None:
    assert {f.parent.name for f in FILES} == {"application", "notify", "producers", "security", "ssh", "web"}


@every_file
def test_rule_parses_without_errors_and_its_references_resolve(path: Path) -> None:
    rules = collection(path)
    rules.resolve_rule_references()
    assert not rules.errors
    assert rules.rules
    for rule in rules.rules:
        assert not rule.errors
        if isinstance(rule, SigmaRule):
            assert [condition.parsed for condition in rule.detection.parsed_condition]


@every_file
def test_rule_says_who_what_and_how_grave(path: Path) -> None:
    for rule in collection(path).rules:
        assert rule.id is not None
        assert rule.id.version == 4
        assert rule.id.variant == uuid.RFC_4122
        assert re.fullmatch(r"[a-z][a-z0-9_]*", rule.name or "")
        assert rule.title.strip() == rule.title
        assert len(rule.title) <= 100
        assert rule.description
        assert rule.author == "Tocsin"
        assert isinstance(rule.date, dt.date)
        assert rule.level is not None
        assert rule.status is not None
        assert rule.status.name in ("STABLE", "TEST")
        assert all(r.startswith("https://") for r in rule.references)
        assert rule.references
        assert rule.falsepositives


@every_file
def test_attack_tags_name_a_tactic_and_a_technique(path: Path) -> None:
    for rule in collection(path).rules:
        assert all(tag.namespace == "attack" for tag in rule.tags)
        techniques = [tag.name for tag in rule.tags if TECHNIQUE.fullmatch(tag.name)]
        tactics = [tag.name for tag in rule.tags if tag.name in TACTICS]
        assert len(techniques) + len(tactics) == len(rule.tags)
        assert bool(techniques) == bool(tactics)
        if path.parent.name in ("security", "ssh"):
            assert techniques


@every_file
def test_correlation_is_of_a_type_that_is_counted_and_silences_what_it_counts(path: Path) -> None:
    rules = collection(path)
    rules.resolve_rule_references()
    for rule in rules.rules:
        if isinstance(rule, SigmaCorrelationRule):
            assert rule.type in (SigmaCorrelationType.EVENT_COUNT, SigmaCorrelationType.VALUE_COUNT)
            assert not rule.generate
            assert all(not isinstance(r.rule, SigmaCorrelationRule) for r in rule.rules)


def test_ids_and_names_are_unique_over_all_files() -> None:
    loaded = [rule for path in FILES for rule in collection(path).rules]
    for values in ([r.id for r in loaded], [r.name for r in loaded], [r.title for r in loaded]):
        assert [v for v, count in Counter(values).items() if count > 1] == []


def test_security_keywords_are_more_than_a_hundred() -> None:
    distinct = {k.lower() for path in SECURITY for document in documents(path) for k in keywords(document)}
    assert len(distinct) >= 100


@every_security_file
def test_keyword_can_be_a_witness(path: Path) -> None:
    """A keyword is ASCII, at least four bytes, without wildcards: what the prefilter can look for."""
    for document in documents(path):
        listed = keywords(document)
        for keyword in listed:
            assert keyword.isascii()
            assert len(re.sub(r"\\([*?])", r"\1", keyword)) >= 4
            assert not re.search(r"(?<!\\)[*?]", keyword), f"wildcard in {keyword!r}"
        assert len({k.lower() for k in listed}) == len(listed)


@every_security_file
def test_keyword_that_contains_another_is_left_out(path: Path) -> None:
    for document in documents(path):
        for value in document["detection"].values():
            if isinstance(value, list):
                listed = [v.lower() for v in value]
                assert [(a, b) for a in listed for b in listed if a != b and a in b] == []


@every_security_file
def test_both_kinds_of_source_are_searched_for_the_same_and_an_event_alerts_once(path: Path) -> None:
    loaded = documents(path)
    if path.stem == "sql_syntax_error":
        # What a database says never stands in an access log.
        assert [d["logsource"]["category"] for d in loaded] == ["application"]
        return
    application, webserver = loaded
    assert application["logsource"] == {"category": "application"}
    assert webserver["logsource"] == {"category": "webserver"}
    assert webserver["name"] == application["name"] + "_in_web_request"
    assert webserver["level"] == application["level"]
    assert application["detection"]["condition"].endswith(" and not access_line")
    assert webserver["detection"]["condition"].endswith(" and access_line")
    own = ("condition", "filter_logger", "filter_statement")
    shared = [{k: v for k, v in d["detection"].items() if k not in own} for d in loaded]
    assert shared[0] == shared[1]
    assert shared[0]["access_line"] == {"sc-status|exists": True}


@every_file
def test_each_rule_file_has_cases_that_fire_and_cases_that_stay_quiet(path: Path) -> None:
    alerts = [case["alerts"] for case in cases(path)]
    assert any(alerts)
    assert not all(alerts)


def test_quiet_cases_are_at_least_as_many_as_firing_ones() -> None:
    alerts = [case["alerts"] for path in FILES for case in cases(path)]
    assert alerts.count(0) * 2 >= len(alerts)


@every_file
def test_cases_are_well_formed(path: Path) -> None:
    listed = cases(path)
    names = [case["name"] for case in listed]
    assert len(set(names)) == len(names)
    for case in listed:
        assert set(case) <= {"name", "format", "events", "alerts", "groups"}
        assert isinstance(case["alerts"], int)
        assert "groups" not in case or len(case["groups"]) == case["alerts"]
        assert case["events"]
        for event in case["events"]:
            assert len({"json", "line", "wait"} & set(event)) == 1
            assert set(event) <= {"json", "line", "wait", "repeat", "every"}
            for duration in (event.get("wait", "1s"), event.get("every", "1s")):
                assert DURATION.fullmatch(duration)


def test_no_cases_without_a_rule() -> None:
    assert sorted(RULES.rglob(f"*{CASES}")) == sorted(cases_file(path) for path in FILES)


def test_readme_lists_every_rule_file() -> None:
    text = (RULES / "README.md").read_text(encoding="utf-8")
    linked = re.findall(r"\]\(([a-z_]+/[a-z_]+\.yml)\)", text)
    assert sorted(linked) == [name_of(path) for path in FILES]
