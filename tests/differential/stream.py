"""The stream of events that a differential test compares: given ones, changed ones, and made ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.differential.values import wanted
from tests.differential.written import mutated, written

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from random import Random

    from pipeline.sigma.form import Rule

__all__ = ["events"]


def events(rules: Sequence[Rule], given: Sequence[bytes], random: Random) -> Iterator[bytes]:
    """Yield the events given, then without end: one made for each rule in turn, and given ones changed."""
    yield from given
    while True:
        for rule in random.sample(rules, k=len(rules)):
            made = written(wanted(rule.condition, random), random)
            yield made
            if random.random() < 0.2:
                yield mutated(random.choice(given) if given and random.random() < 0.7 else made, random)
