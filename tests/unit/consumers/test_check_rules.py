"""`tocsin check`: what it says of rules, and what the options for loading do."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pipeline.consumer import main
from tests.unit.consumers.rules.rule_files import CORRELATION, FILTER, detection, write

if TYPE_CHECKING:
    from pathlib import Path

_CONFIG = "rules: ['{rules}']\nroute: {{receiver: a}}\nreceivers: [{{name: a}}]\n"


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TOCSIN_CACHE", str(tmp_path / "cache"))
    rules = write(
        tmp_path / "rules", one=detection("one"), two=detection("two"), many=CORRELATION, off=FILTER
    )
    (tmp_path / "tocsin.yml").write_text(_CONFIG.format(rules=rules))
    return tmp_path / "tocsin.yml"


def test_rules_are_counted_by_kind(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    python = config.with_name("own.py")
    python.write_text("from pipeline.python_rule import rule\n@rule('own', 'Own')\ndef own(e): return True\n")
    config.write_text(config.read_text() + f"python_rules: ['{python}']\n")
    for _ in range(2):
        assert main(["check", "--config", str(config)]) == 0
        out = capsys.readouterr().out
        assert "2 detections, 1 correlation, 1 filter, 1 rule in Python; 3 kinds of alerts\n" in out


@pytest.mark.parametrize("how", ["option", "key"])
def test_bad_rules_are_left_out_where_that_is_wanted(
    config: Path, capsys: pytest.CaptureFixture[str], how: str
) -> None:
    write(config.with_name("rules"), bad=detection("bad", "{level|contians: x}"))
    assert main(["check", "--config", str(config)]) == 2
    assert "bad.yml:4" in capsys.readouterr().err
    option = ["--skip-bad-rules"] if how == "option" else []
    if how == "key":
        config.write_text(config.read_text() + "on_rule_error: skip\n")
    assert main(["check", "--config", str(config), *option]) == 0
    out = capsys.readouterr().out
    assert "left out: " in out
    assert "bad.yml:4" in out
    assert "; 1 left out\n" in out


def test_a_pipeline_on_the_command_line_wins(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config.write_text(config.read_text() + "pipelines: [configured.yml]\n")
    assert main(["check", "--config", str(config)]) == 2
    assert "no pipeline 'configured.yml'" in capsys.readouterr().err
    file = config.with_name("p.yml")
    file.write_text("name: T\npriority: 1\ntransformations: []\n")
    assert main(["check", "--config", str(config), "--pipeline", str(file)]) == 0
    assert main(["check", "--config", str(config), "--pipeline", str(file), "--pipeline", "other"]) == 2
    assert "no pipeline 'other'" in capsys.readouterr().err


def test_a_file_of_rules_in_python_is_named_with_the_line_and_no_traceback(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    python = config.with_name("own.py")
    python.write_text("x = 1\ny = x / 0\n")
    config.write_text(config.read_text() + f"python_rules: ['{python}']\n")
    assert main(["check", "--config", str(config)]) == 2
    assert capsys.readouterr().err == f"tocsin: {python}:2: ZeroDivisionError: division by zero\n"
