"""The command line: what it accepts, what it refuses, and what it says then."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pipeline.consumer import main

if TYPE_CHECKING:
    from pathlib import Path


def test_shipped_rules_pass_their_cases(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["test"]) == 0
    assert " 0 failed" in capsys.readouterr().out


def test_failing_case_is_pointed_at(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "r.yml").write_text(
        "title: T\nid: 6d0f6a4e-6a2f-4f6e-9a65-0d5f0ac6f003\nlogsource: {category: application}\n"
        "detection: {sel: {event: boom}, condition: sel}\n"
    )
    (tmp_path / "r.cases.yml").write_text(
        "cases:\n  - name: never fires\n    events: [{json: {event: calm}}]\n    alerts: 1\n"
    )
    assert main(["test", str(tmp_path)]) == 1
    out = capsys.readouterr().out
    assert "r.cases.yml:2: never fires: 0 alerts, not 1" in out
    assert "0 passed, 1 failed" in out


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("route: {receiver: x}\n", ":1: route.receiver: no receiver 'x'; none is defined"),
        (
            "route:\n  receiver: a\n  group_wiat: 1s\nreceivers: [{name: a}]\n",
            ":3: route.group_wiat: no such key; did you mean 'group_wait'?",
        ),
        ("route: {receiver: a, group_wait: 5 minutes}\nreceivers: [{name: a}]\n", "is not a duration"),
        ("lateness: [\n", "not valid YAML"),
        ("kafka: {bootstrap_servers: '${NOWHERE_SET}'}\n", "environment variable NOWHERE_SET is not set"),
    ],
)
def test_wrong_configuration_names_the_place(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, said: str
) -> None:
    path = tmp_path / "tocsin.yml"
    path.write_text(text)
    assert main(["check", "--config", str(path)]) == 2
    errors = capsys.readouterr().err
    assert said in errors
    assert str(path) in errors
    assert "Traceback" not in errors


def test_wrong_rule_names_the_place(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rule = tmp_path / "r.yml"
    rule.write_text(
        "title: T\nlogsource: {category: application}\ndetection:\n  sel:\n"
        "    event|contians: x\n  condition: sel\n"
    )
    assert main(["test", str(rule)]) == 2
    assert f"{rule}:5: detection.sel.event|contians" in capsys.readouterr().err
    config = tmp_path / "tocsin.yml"
    config.write_text(f"rules: ['{rule}']\nroute: {{receiver: a}}\nreceivers: [{{name: a}}]\n")
    assert main(["check", "--config", str(config)]) == 2
    errors = capsys.readouterr().err
    assert f"{rule}:5: detection.sel.event|contians" in errors
    assert "did you mean 'contains'?" in errors


def test_no_file_to_read_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run"]) == 2
    assert "name files, or `-` for standard input" in capsys.readouterr().err


def test_module_runs_the_worker_where_no_command_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "tocsin.yml"
    config.write_text("route: {receiver: a}\nreceivers: [{name: a}]\nrules: [nowhere.yml]\n")
    # It gets as far as the worker's rules.
    assert main(["--config", str(config)], default="worker") == 2
    assert "nowhere.yml" in capsys.readouterr().err


def test_check_says_what_a_configuration_amounts_to(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "tocsin.yml"
    config.write_text(
        "route: {receiver: a, group_interval: 5m, repeat_interval: 7m}\nreceivers: [{name: a}]\n"
    )
    assert main(["check", "--config", str(config)]) == 0
    out = capsys.readouterr().out
    assert "repeats come every 10m" in out
    assert "receivers in use: a" in out


def _zoned(tmp_path: Path, timezone: str) -> Path:
    (tmp_path / "app.log").write_text("2026-03-01 10:00:00,000 - CRITICAL - the ledger is gone\n")
    config = tmp_path / "tocsin.yml"
    config.write_text(
        f"sources: [{{file: '{tmp_path}/app.log', timezone: {timezone}}}]\n"
        f"route: {{receiver: a}}\nreceivers: [{{name: a, jsonl_configs: [{{path: '{tmp_path}/out'}}]}}]\n"
    )
    return config


def test_times_without_an_offset_are_of_the_time_zone_of_their_source(tmp_path: Path) -> None:
    assert main(["run", "--config", str(_zoned(tmp_path, "Europe/Vienna"))]) == 0
    assert "2026-03-01T09:00:00" in (tmp_path / "out").read_text()


def test_time_zone_that_does_not_exist_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--config", str(_zoned(tmp_path, "Europe/Wien"))]) == 2
    assert "no such time zone: 'Europe/Wien'" in capsys.readouterr().err


def test_events_of_a_file_that_name_no_service_are_of_the_one_it_is_named_after(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = [f"2026-03-01 10:00:{n:02},000 - ERROR - no such folder" for n in range(12)]
    (tmp_path / "backup.log").write_text("\n".join(lines) + "\n")
    assert main(["run", str(tmp_path / "backup.log")]) == 0
    assert "Error Burst Of A Service · backup" in capsys.readouterr().out
