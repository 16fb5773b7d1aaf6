"""The differential test in small, and that it sees what it is there to see."""

from __future__ import annotations

import itertools
import subprocess
import sys
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

import pytest

from pipeline.sigma.form import Not, Rule
from pipeline.sigma.witness import witness as witness_module
from pipeline.sigma.witness.spelling import literal_patterns
from tests.differential.compare import Comparison
from tests.differential.made_rules import made_rules
from tests.differential.stream import events
from tests.unit.pipeline.detect.shipped import SHIPPED

if TYPE_CHECKING:
    from pipeline.sigma.form import Node
    from pipeline.sigma.witness.witness import Witness

ROOT = Path(__file__).parents[4]


def compared(rules: list[Rule], count: int, seed: int) -> Comparison:
    comparison = Comparison(rules)
    stream = events(rules, [], Random(seed))
    comparison.run(list(itertools.islice(stream, count)))
    return comparison


@pytest.mark.parametrize("seed", [1, 2])
def test_prefilter_hides_no_match(seed: int) -> None:
    rules = [*SHIPPED, *made_rules(Random(seed), 150)]
    comparison = compared(rules, 1500, seed)
    assert comparison.misses == []
    # It means something only if most rules do match.
    assert len(comparison.fired) > 0.75 * len(rules)
    assert comparison.candidates < comparison.comparisons


# --- planted bugs -----------------------------------------------------------------------------------------


def undoubled(text: str) -> frozenset[str]:
    return frozenset(
        pattern.replace("\\{1,2}", "\\").replace("\\{2,4}", "\\\\\\") for pattern in literal_patterns(text)
    )


def one_case(text: str) -> frozenset[str]:
    return frozenset(f"(?-i:{pattern})" for pattern in literal_patterns(text))


RIGHT = witness_module.witness


def within_not(node: Node, *, negated: bool = False) -> Witness | None:
    return RIGHT(node.item) if isinstance(node, Not) else RIGHT(node, negated=negated)


def one_of_many(members: object) -> Witness | None:
    return next((m for m in members if m is not None), None)  # type: ignore[attr-defined]  # an iterable


@pytest.mark.parametrize(
    ("target", "bug"),
    [
        ("pipeline.sigma.witness.witness.literal_patterns", undoubled),
        ("pipeline.sigma.witness.witness.literal_patterns", one_case),
        ("pipeline.sigma.witness.witness.witness", within_not),
        ("pipeline.sigma.witness.witness._any", one_of_many),
        ("pipeline.sigma.witness.witness.level_patterns", lambda level: frozenset({level})),
        ("pipeline.sigma.witness.witness.MADE", frozenset()),
        ("pipeline.sigma.witness.witness._ALIASES", {}),
        ("pipeline.detect.prefilter.HATCHES", ("\\\\x",)),
        ("pipeline.detect.prefilter.unhidden", lambda raw: (raw,)),
    ],
)
def test_planted_bug_is_seen(monkeypatch: pytest.MonkeyPatch, target: str, bug: object) -> None:
    monkeypatch.setattr(target, bug)
    assert compared(made_rules(Random(3), 150), 1000, 3).misses


def test_command_says_what_it_compared() -> None:
    command = [sys.executable, "-m", "tests.differential", "rules", "--count", "40", "--made", "20"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert " 0 misses" in done.stdout
