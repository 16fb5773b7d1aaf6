from __future__ import annotations

import re
from pathlib import Path

import pytest

from pipeline.errors import ConfigError
from pipeline.sigma.lint import CHECKS, SEVERITIES, refuse_unknown
from pipeline.sigma.lint.catalogue import FIXED, unknown
from pipeline.sigma.lint.validators import LEFT_OUT

PAGE = (Path(__file__).parents[5] / "docs" / "lint.md").read_text(encoding="utf-8")


def test_ids_are_unique_words_and_each_says_what_it_is_about() -> None:
    for name, check in CHECKS.items():
        assert name == check.id
        assert re.fullmatch(r"(sigma:[a-z0-9_]+|[a-z]+(-[a-z]+)*)", name)
        assert check.severity in SEVERITIES
        assert check.finds
        assert check.why.endswith(".")
        assert check.mend.endswith(".")


@pytest.mark.parametrize("name", CHECKS)
def test_the_manual_tells_each_check_with_its_severity(name: str) -> None:
    assert f"| `{name}` | {CHECKS[name].severity} |" in PAGE


def test_the_manual_tells_no_check_that_there_is_not() -> None:
    assert set(re.findall(r"^\| `([a-z:0-9_-]+)` \| (?:error|warning|info) \|", PAGE, re.MULTILINE)) == set(
        CHECKS
    )


@pytest.mark.parametrize("name", LEFT_OUT)
def test_the_manual_tells_each_validator_that_is_left_out(name: str) -> None:
    assert f"| `{name}` | {LEFT_OUT[name]} |" in PAGE


@pytest.mark.parametrize("name", [name for name in CHECKS if name not in FIXED])
def test_checks_that_can_be_turned_off_are_taken(name: str) -> None:
    assert unknown(name) is None
    refuse_unknown([name])


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("no-levle", "no such check: 'no-levle'; did you mean 'no-level'?"),
        ("duplicate-id", "the check 'duplicate-id' can't be turned off"),
    ],
)
def test_others_are_refused_with_a_hint(name: str, said: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(said)):
        refuse_unknown([name])
