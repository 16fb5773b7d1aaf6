from __future__ import annotations

import socket
from typing import NoReturn

import pytest
from sigma.validators.core import validators

from pipeline.sigma.lint import CHECKS, lint
from pipeline.sigma.lint.validators import LEFT_OUT
from tests.unit.pipeline.sigma.lint.rules import HEAD, item, of, rule


def headed(line: str) -> str:
    return rule("s: {event: shop}\ncondition: s", head=f"{HEAD}{line}\n")


SPEAKS: list[tuple[str, str, str, str]] = [
    (
        "all_of_them_condition",
        "warning",
        rule("s: {event: x1}\nt: {user: y1}\ncondition: all of them"),
        "condition",
    ),
    (
        "all_of_them_condition",
        "warning",
        rule("s: {event: x1}\nt: {user: y1}\ncondition: ALL OF THEM"),
        "condition",
    ),
    ("cartag", "warning", headed("tags: [car.1]"), "tags[0]"),
    ("control_character", "warning", item('user: "a\\tb"'), "s.user"),
    ("cvetag", "warning", headed("tags: [cve.x]"), "tags[0]"),
    ("detection_tag", "warning", headed("tags: [detection.x]"), "tags[0]"),
    ("double_wildcard", "info", item("user: [a, 'b**c']"), "s.user[1]"),
    (
        "duplicate_references",
        "warning",
        headed("references: ['https://a.b', 'https://a.b']"),
        "references[1]",
    ),
    ("duplicate_tag", "warning", headed("tags: [tlp.red, tlp.red]"), "tags[0]"),
    (
        "fieldname_logsource",
        "warning",
        headed("").replace("application}", "application, x: y}"),
        "logsource.x",
    ),
    ("invalid_modifier_combinations", "warning", item("user|all: [a, b]"), "s.user|all"),
    (
        "invalid_modifier_combinations",
        "warning",
        item("user|base64offset: powershell"),
        "s.user|base64offset",
    ),
    ("namespace_tag", "warning", headed("tags: [shop.x]"), "tags[0]"),
    ("number_as_string", "info", item("user: [a, '5']"), "s.user[1]"),
    ("number_as_string", "info", item("user: '5'\nshop: '5'"), "s.user"),
    (
        "specific_instead_of_generic_logsource",
        "warning",
        item("EventID: 1").replace("category: application", "product: windows, service: sysmon"),
        "s.EventID",
    ),
    ("stptag", "warning", headed("tags: [stp.9]"), "tags[0]"),
    ("tag_format", "warning", headed("tags: [attack.T1059]"), "tags[0]"),
    (
        "them_condition_with_single_detection",
        "info",
        rule("s: {event: x1}\ncondition: 1 of them"),
        "condition",
    ),
    ("tlptag", "warning", headed("tags: [tlp.purple]"), "tags[0]"),
    ("wildcards_instead_of_modifiers", "info", item("user: '*foo*'"), "s.user"),
]


@pytest.mark.parametrize(("name", "severity", "text", "path"), SPEAKS)
def test_validator_speaks_with_its_severity_at_the_likely_place(
    name: str, severity: str, text: str, path: str
) -> None:
    finding = of(f"sigma:{name}", text)[0]
    assert finding.severity == severity
    assert finding.path.removeprefix("detection.") == path


def test_each_validator_is_run_or_left_out_for_a_reason() -> None:
    run = {name.removeprefix("sigma:") for name in CHECKS if name.startswith("sigma:")}
    assert run == {case[0] for case in SPEAKS}
    assert run | set(LEFT_OUT) == set(validators)
    assert run.isdisjoint(LEFT_OUT)
    assert all(LEFT_OUT.values())


def test_severities_in_the_catalogue_are_those_that_are_told() -> None:
    assert {(f"sigma:{name}", severity) for name, severity, _, _ in SPEAKS} == {
        (check.id, check.severity) for check in CHECKS.values() if check.id.startswith("sigma:")
    }


def test_what_is_told_twice_is_told_at_each_place() -> None:
    found = of("sigma:number_as_string", item("user: '5'\nshop: '5'"))
    assert [f.path for f in found] == ["detection.s.user", "detection.s.shop"]


@pytest.mark.parametrize(
    "text",
    [
        item("user|re|all: [a.b, c.d]"),
        item("user|startswith|all: [a, ab]"),
        item("user|windash|contains|all: [' -a', ' -b']"),
    ],
)
def test_modifiers_that_go_together_here_are_no_finding(text: str) -> None:
    assert of("load", text) == []
    assert of("sigma:invalid_modifier_combinations", text) == []


def test_a_rule_that_pysigma_cannot_read_is_told_once_and_checked_all_the_same() -> None:
    text = item("user|utf16le|base64: cmd\nlevel: fatal\nshop: '5'")
    found = [(f.check, f.severity) for f in lint(text, "r.yml")]
    assert found == [("sigma-skipped", "info"), ("level-spelling", "warning")]


def test_operators_in_capitals_and_old_relations_are_no_obstacle() -> None:
    text = rule(
        "s: {event: x1}\nt: {user: y1}\ncondition: s AND NOT t",
        head=f"{HEAD}related: [{{id: 929a690e-bef0-4204-a928-ef5e620d6fcc, type: obsoletes}}]\n",
    )
    assert lint(text, "r.yml") == []


def test_nothing_reaches_for_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> NoReturn:
        raise AssertionError("the linter opened a connection")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    tags = (
        "tags: [attack.t9999, attack.nobody, d3fend.d3-nothing, cve.2026-1, tlp.red, car.2016-03-002, stp.1a]"
    )
    assert lint(headed(tags), "r.yml") == []
