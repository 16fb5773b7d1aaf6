"""Engines: rules made ready to run, one set for each set of log sources that sources declare.

Whatever is compiled here never changes afterwards; other rules are other engines, made beside the running
ones and put in their place between two batches.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from pipeline.detect.prefilter import Prefilter
from pipeline.python_rule import PythonRule
from pipeline.sigma.matcher.match import Matcher, compile_rule

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pipeline.detect.prefilter import DatabaseStore
    from pipeline.event import LogSource
    from pipeline.python_rule import Predicate
    from pipeline.sigma.form import Rule
    from pipeline.sigma.matcher.subject import Subject
    from pipeline.sigma.ruleset import RuleSet, Target

__all__ = ["Engine", "Engines", "PythonCalls"]

# Sets of log sources that events have said, before what is known of them is forgotten: events are hostile.
_MAX_DECLARED = 1000
_MAX_ERROR_CHARS = 500


class PythonCalls(msgspec.Struct):
    """What the rules in Python have cost and how they failed, each by the rule's id; for metrics.

    Attributes:
        calls: how often a rule was asked.
        spent_ns: the time that took, in nanoseconds of the clock that was given.
        failures: how often it raised; the event then counts as not matched.
        errors: the last error of each rule that no one has been told of yet.
    """

    calls: dict[str, int] = {}
    spent_ns: dict[str, int] = {}
    failures: dict[str, int] = {}
    errors: dict[str, str] = {}

    def take_errors(self) -> dict[str, str]:
        """Return the errors not told yet, by the rule's id, and forget them."""
        errors, self.errors = self.errors, {}
        return errors


class Engine:
    """The rules that may apply to the events of one set of log sources.

    Attributes:
        prefilter: tells from raw bytes which rules an event could match.
        matchers: the exact test of each rule, by its id.
        always: ids of the rules that must examine every event.
    """

    def __init__(
        self,
        rules: Iterable[Rule | PythonRule],
        declared: frozenset[LogSource],
        databases: DatabaseStore | None,
        guard: Callable[[PythonRule], Matcher],
    ) -> None:
        """Choose and compile.

        Args:
            rules: all rules.
            declared: what the source declares; empty means unknown: events may be of any kind.
            databases: keeps compiled databases between runs.
            guard: makes a matcher of a rule in Python.
        """
        self._products = {d.product.lower() for d in declared if d.product and not (d.service or d.category)}
        chosen = [
            r
            for r in rules
            if not declared
            or _applies(r.logsource, declared)
            or r.logsource.product.lower() in self._products
        ]
        self.prefilter = Prefilter(chosen, databases)
        self.matchers: dict[str, Matcher] = {
            r.about.id: guard(r) if isinstance(r, PythonRule) else compile_rule(r) for r in chosen
        }
        self.always = self.prefilter.always
        self._logsources = {r.about.id: r.logsource for r in chosen}
        self._by_source = (
            frozenset(r.about.id for r in chosen if _applies(r.logsource, declared)) if declared else None
        )
        self._wanted: dict[tuple[LogSource, ...], frozenset[str] | None] = {}

    def _possible(self, wanted: LogSource, declared: frozenset[LogSource]) -> bool:
        return _applies(wanted, declared) or wanted.product.lower() in self._products

    def wanted(self, said: tuple[LogSource, ...]) -> frozenset[str] | None:
        """Return the ids of the rules that apply to an event, or None for all of the engine.

        Where the source declares nothing, the event's own word counts. Where it declares no more than a
        product, events of that product add to it; what a source declares in full no event can change.

        Args:
            said: the log sources that the event says it is of.
        """
        if said in self._wanted:
            return self._wanted[said]
        if len(self._wanted) >= _MAX_DECLARED:
            self._wanted.clear()
        found = self._wanted[said] = self._find_wanted(said)
        return found

    def _find_wanted(self, said: tuple[LogSource, ...]) -> frozenset[str] | None:
        if self._by_source is None:
            trusted = said
        else:
            trusted = tuple(s for s in said if s.product.lower() in self._products)
        agreeing = frozenset(r for r, wanted in self._logsources.items() if _applies(wanted, trusted))
        ids = agreeing if self._by_source is None else agreeing | self._by_source
        if self._by_source is None and not said:
            return None
        return None if len(ids) == len(self._logsources) else ids


class Engines:
    """A set of rules, compiled for whichever log sources are read.

    Attributes:
        rules: the set.
        feeds: for each detection's id, what it feeds.
    """

    def __init__(
        self,
        rules: RuleSet,
        *,
        calls: PythonCalls,
        timer_ns: Callable[[], int],
        databases: DatabaseStore | None = None,
    ) -> None:
        """Take a set of rules; nothing is compiled before a source asks.

        Args:
            rules: all rules.
            calls: where the calls of rules in Python are counted.
            timer_ns: a clock that measures them, in nanoseconds from any point.
            databases: keeps compiled databases between runs.
        """
        self.rules = rules
        self.feeds: dict[str, tuple[Target, ...]] = rules.feeds()
        self._calls = calls
        self._timer_ns = timer_ns
        self._databases = databases
        self._made: dict[frozenset[LogSource], Engine] = {}

    @property
    def compiled(self) -> tuple[frozenset[LogSource], ...]:
        """The sets of log sources that are compiled for."""
        return tuple(self._made)

    def of(self, declared: Iterable[LogSource]) -> Engine:
        """Return the engine of a source that declares these log sources."""
        key = frozenset(declared)
        engine = self._made.get(key)
        if engine is None:
            used = [r for r in self.rules.rules.values() if r.about.id in self.feeds]
            engine = self._made[key] = Engine(used, key, self._databases, self._guarded)
        return engine

    def like(self, rules: RuleSet) -> Engines:
        """Return engines of other rules, compiled for the same log sources as these.

        That may take seconds and touches nothing of what runs: it is meant for another thread.
        """
        others = Engines(rules, calls=self._calls, timer_ns=self._timer_ns, databases=self._databases)
        for declared in self.compiled:
            others.of(declared)
        return others

    def _guarded(self, rule: PythonRule) -> Matcher:
        """Return a matcher that measures a rule in Python, and counts where it raises."""
        calls, timer_ns, function, name = self._calls, self._timer_ns, rule.function, rule.about.id

        def matches(subject: Subject) -> bool:
            began_ns = timer_ns()
            try:
                return _asked(function, subject)
            except Exception as error:  # noqa: BLE001 — whatever a rule does, the others go on
                calls.failures[name] = calls.failures.get(name, 0) + 1
                calls.errors[name] = f"{type(error).__name__}: {error}"[:_MAX_ERROR_CHARS]
                return False
            finally:
                calls.calls[name] = calls.calls.get(name, 0) + 1
                calls.spent_ns[name] = calls.spent_ns.get(name, 0) + timer_ns() - began_ns

        return matches


def _asked(function: Predicate, subject: Subject) -> bool:
    return bool(function(subject.event))


def _applies(rule: LogSource, sources: Iterable[LogSource]) -> bool:
    """Say whether each part that a rule's log source sets is so in one of `sources`."""
    return any(
        all(
            not wanted or wanted.lower() == has.lower()
            for wanted, has in (
                (rule.product, source.product),
                (rule.service, source.service),
                (rule.category, source.category),
            )
        )
        for source in sources
    )
