from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from consumers.lint import lint_rules
from consumers.rules import SHIPPED
from pipeline.errors import ConfigError
from pipeline.sigma.reader.options import NO_OPTIONS, Options

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from consumers.lint import Form
    from pipeline.sigma.lint import Severity

RULE = """\
title: Refused
id: 929a690e-bef0-4204-a928-ef5e620d6fcc
level: high
logsource: {category: application}
detection: {s: {event: shop}, condition: s}
"""
WARNED = RULE.replace("level: high\n", "")
NOTED = RULE.replace("level: high", "level: high\nreferences: [a book]")
BROKEN = RULE.replace("condition: s", "condition: t")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def linted(
    paths: list[str],
    form: Form = "text",
    fail_on: Severity = "error",
    options: Options = NO_OPTIONS,
    disabled: Collection[str] = (),
) -> int:
    return lint_rules(paths, form=form, fail_on=fail_on, options=options, disabled=disabled)


def test_each_finding_is_a_line_that_an_editor_can_jump_to(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "a.yml").write_text(NOTED, encoding="utf-8")
    (folder / "b.yml").write_text(BROKEN.replace("929a", "829a"), encoding="utf-8")
    assert linted(["a.yml", "b.yml"]) == 1
    out, err = capsys.readouterr()
    assert out == (
        "a.yml:4:14: info[reference-no-url]: 'a book' is no URL\n"
        "b.yml:5:31: error[load]: no search identifier 't'; valid: s\n"
    )
    assert err == "1 error, 0 warnings, 1 info in 2 files\n"


@pytest.mark.parametrize(
    ("text", "codes"),
    [
        (RULE, {"error": 0, "warning": 0, "info": 0}),
        (NOTED, {"error": 0, "warning": 0, "info": 1}),
        (WARNED, {"error": 0, "warning": 1, "info": 1}),
        (BROKEN, {"error": 1, "warning": 1, "info": 1}),
    ],
)
def test_exit_code_says_whether_something_is_as_grave_as_asked(
    folder: Path, text: str, codes: dict[Severity, int]
) -> None:
    (folder / "a.yml").write_text(text, encoding="utf-8")
    assert {grave: linted(["a.yml"], fail_on=grave) for grave in codes} == codes


def test_checks_can_be_turned_off(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "a.yml").write_text(WARNED, encoding="utf-8")
    assert linted(["a.yml"], fail_on="info", disabled=["no-level"]) == 0
    assert capsys.readouterr() == ("", "0 errors, 0 warnings, 0 info in 1 file\n")


@pytest.mark.parametrize("disabled", ["no-levle", "load"])
def test_a_check_that_cannot_be_turned_off_is_an_error_of_usage(folder: Path, disabled: str) -> None:
    (folder / "a.yml").write_text(RULE, encoding="utf-8")
    with pytest.raises(ConfigError, match=disabled):
        linted(["a.yml"], disabled=[disabled])


def test_a_path_that_leads_nowhere_is_an_error_of_usage(folder: Path) -> None:
    with pytest.raises(ConfigError, match="no such file or folder"):
        linted(["none.yml"])


def test_files_of_a_folder_are_one_set_and_cases_are_left_out(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "rules").mkdir()
    (folder / "rules" / "a.yml").write_text(RULE, encoding="utf-8")
    (folder / "rules" / "b.yml").write_text(RULE.replace("Refused", "Again"), encoding="utf-8")
    (folder / "rules" / "a.cases.yml").write_text("no rule", encoding="utf-8")
    assert linted(["rules"]) == 1
    assert "rules/b.yml:2:1: error[duplicate-id]" in capsys.readouterr().out


def test_a_file_that_is_no_text_is_a_finding_and_hides_no_other(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "a.yml").write_bytes(b"title: \xff")
    (folder / "b.yml").write_text(NOTED, encoding="utf-8")
    assert linted(["."]) == 1
    first, second = capsys.readouterr().out.splitlines()
    assert first == "a.yml: error[load]: not UTF-8: invalid start byte at byte 7"
    assert second.startswith("b.yml:4:14: info")


def test_no_control_character_of_a_rule_reaches_the_terminal(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hostile = RULE.replace("condition: s", r'condition: "\e[31m\u202e\u009b \nx"')
    (folder / "a.yml").write_text(hostile, encoding="utf-8")
    forms: tuple[Form, ...] = ("text", "json", "sarif")
    for form in forms:
        assert linted(["a.yml"], form) == 1
        out = capsys.readouterr().out
        assert out.replace("\n", "").isprintable()
        assert "[31m" in out


def test_json_is_one_array_of_findings(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "a.yml").write_text(NOTED, encoding="utf-8")
    assert linted(["a.yml"], "json") == 0
    assert json.loads(capsys.readouterr().out) == [
        {
            "check": "reference-no-url",
            "severity": "info",
            "message": "'a book' is no URL",
            "file": "a.yml",
            "line": 4,
            "column": 14,
            "path": "references[0]",
            "rule_id": "929a690e-bef0-4204-a928-ef5e620d6fcc",
            "title": "Refused",
        }
    ]


def test_json_without_findings_is_an_empty_array(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "a.yml").write_text(RULE, encoding="utf-8")
    assert linted(["a.yml"], "json") == 0
    assert json.loads(capsys.readouterr().out) == []


def test_rules_are_read_with_the_options_of_the_configuration(folder: Path) -> None:
    (folder / "a.yml").write_text(RULE.replace("event: shop", "user|expand: '%admins%'"), encoding="utf-8")
    assert linted(["a.yml"]) == 1
    assert linted(["a.yml"], options=Options(placeholders={"admins": ("root",)})) == 0


def test_the_rules_that_ship_have_neither_errors_nor_warnings() -> None:
    assert linted([SHIPPED], fail_on="warning") == 0
