"""Comparing: whatever a rule matches, the prefilter must have named.

An event is read in more than one format, as a source may be declared to be in any.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from pipeline.decode import FORMATS, choose
from pipeline.detect.prefilter import Prefilter
from pipeline.errors import DecodeError
from pipeline.sigma.matcher.match import compile_rule
from pipeline.sigma.matcher.subject import Subject

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pipeline.event import Event
    from pipeline.sigma.form import Rule

__all__ = ["RECORD_MS", "Comparison", "Miss", "readings"]

RECORD_MS = 1_795_537_450_000


class Miss(NamedTuple):
    """A match that the prefilter would have hidden."""

    rule: Rule
    raw: bytes


class Comparison:
    """One set of rules under test; counts what was compared."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._rules = {rule.about.id: rule for rule in rules}
        self._matchers = [(rule.about.id, compile_rule(rule)) for rule in rules]
        self._prefilter = Prefilter(rules)
        self._always = frozenset(self._prefilter.always)
        self.comparisons = 0
        self.matches = 0
        self.fired: set[str] = set()
        self.candidates = 0
        self.misses: list[Miss] = []

    def run(self, events: Sequence[bytes]) -> None:
        """Compare a batch."""
        named = self._prefilter.candidates(events)
        for position, raw in enumerate(events):
            candidates = named.get(position, frozenset()) | self._always
            self.candidates += len(candidates)
            for event in readings(raw):
                subject = Subject(event)
                matching = [name for name, matches in self._matchers if matches(subject)]
                self.comparisons += len(self._matchers)
                self.matches += len(matching)
                self.fired.update(matching)
                self.misses.extend(Miss(self._rules[m], raw) for m in matching if m not in candidates)


def readings(raw: bytes) -> Iterator[Event]:
    """Yield an event as sniffing reads it, and once more in the last other format that takes it."""
    first = choose("auto").decode(raw, RECORD_MS)
    yield first
    for decoder in reversed(FORMATS.values()):
        if decoder.name == "text":
            continue
        try:
            other = decoder.decode(raw, RECORD_MS)
        except DecodeError:
            continue
        if other.fields != first.fields:
            yield other
            return
