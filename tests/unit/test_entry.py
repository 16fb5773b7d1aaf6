"""The script where the worker's packages are missing, and errors of tasks that ran together."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from pipeline import consumer
from pipeline.errors import ConfigError, TocsinError

_ROOT = Path(__file__).resolve().parents[2]
# A bare install has no msgspec; a name that is None in `sys.modules` can't be imported.
_BARE = "import sys; sys.modules['msgspec'] = None; from pipeline.entry import main; sys.exit(main())"


def test_script_of_a_bare_install_says_what_to_install() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _BARE], cwd=_ROOT, capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 2
    assert "msgspec is not installed" in done.stderr
    assert "tocsin[worker]" in done.stderr
    assert "Traceback" not in done.stderr


def _raising(error: BaseException) -> object:
    def run(_args: object) -> int:
        raise error

    return run


def test_error_of_a_stage_is_told_without_a_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    inner = ExceptionGroup("tasks", [TocsinError("the windows hold something else")])
    monkeypatch.setattr(consumer, "_run", _raising(ExceptionGroup("tasks", [inner])))
    assert consumer.main(["check"]) == 2
    assert capsys.readouterr().err == "tocsin: the windows hold something else\n"


def test_error_that_nobody_meant_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    both = ExceptionGroup("tasks", [ConfigError("told"), ValueError("a bug")])
    monkeypatch.setattr(consumer, "_run", _raising(both))
    with pytest.raises(ExceptionGroup):
        consumer.main(["check"])
