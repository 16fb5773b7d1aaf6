"""Engines: rules made ready to run, one set for each set of log sources that sources declare.

Whatever is compiled here never changes afterwards; other rules are other engines, made beside the running
ones and put in their place between two batches.
"""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

import msgspec

from pipeline.detect.prefilter import Prefilter
from pipeline.event import LogSource
from pipeline.python_rule import PythonRule, described
from pipeline.sigma.matcher.match import Matcher, compile_rule

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pipeline.detect.prefilter import DatabaseStore
    from pipeline.python_rule import Predicate
    from pipeline.sigma.form import Rule
    from pipeline.sigma.matcher.subject import Subject
    from pipeline.sigma.ruleset import RuleSet, Target

__all__ = ["Engine", "Engines", "PythonCalls"]

# Sets of log sources that events have said, before what is known of them is forgotten: events are hostile.
_MAX_DECLARED = 1000


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
        fitting = _fitting(declared)
        # What an event of such a product may be found to be of.
        open_to = {"", *self._products} if self._products else set()
        chosen = [
            r
            for r in rules
            if not declared or (kind := _folded(r.logsource)) in fitting or kind.product in open_to
        ]
        self.prefilter = Prefilter(chosen, databases)
        self.matchers: dict[str, Matcher] = {
            r.about.id: guard(r) if isinstance(r, PythonRule) else compile_rule(r) for r in chosen
        }
        self.always = self.prefilter.always
        by_kind: dict[LogSource, list[str]] = {}
        for r in chosen:
            by_kind.setdefault(_folded(r.logsource), []).append(r.about.id)
        self._by_kind = {kind: frozenset(ids) for kind, ids in by_kind.items()}
        self._declared = fitting & self._by_kind.keys() if declared else None
        # What was found for the kinds of rules that apply, and for each set of log sources that events said.
        self._of_kinds: dict[frozenset[LogSource], frozenset[str] | None] = {}
        self._wanted: dict[tuple[LogSource, ...], frozenset[str] | None] = {}

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
        """Find it without a pass over the rules: whoever writes events may say another one in each."""
        if self._declared is None:
            if not said:
                return None
            kinds = _fitting(said) & self._by_kind.keys()
        else:
            trusted = [s for s in said if s.product.lower() in self._products]
            kinds = self._declared | (_fitting(trusted) & self._by_kind.keys())
        key = frozenset(kinds)
        if key not in self._of_kinds:
            if len(self._of_kinds) >= _MAX_DECLARED:
                self._of_kinds.clear()
            ids = frozenset[str]().union(*(self._by_kind[kind] for kind in key))
            self._of_kinds[key] = None if len(ids) == len(self.matchers) else ids
        return self._of_kinds[key]


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

    def compile(self, declared: Iterable[frozenset[LogSource]]) -> None:
        """Compile for sets of log sources; for another thread, as long as nothing runs with these engines."""
        for sources in declared:
            self.of(sources)

    def like(self, rules: RuleSet) -> Engines:
        """Return engines of other rules, compiled for the same log sources as these.

        That may take seconds and touches nothing of what runs: it is meant for another thread.
        """
        others = Engines(rules, calls=self._calls, timer_ns=self._timer_ns, databases=self._databases)
        others.compile(self.compiled)
        return others

    def _guarded(self, rule: PythonRule) -> Matcher:
        """Return a matcher that measures a rule in Python, and counts where it raises."""
        calls, timer_ns, function, name = self._calls, self._timer_ns, rule.function, rule.about.id

        def matches(subject: Subject) -> bool:
            began_ns = timer_ns()
            try:
                return _asked(function, subject)
            except (Exception, SystemExit) as error:  # noqa: BLE001 — whatever a rule does, the others go on
                calls.failures[name] = calls.failures.get(name, 0) + 1
                calls.errors[name] = described(error)
                return False
            finally:
                calls.calls[name] = calls.calls.get(name, 0) + 1
                calls.spent_ns[name] = calls.spent_ns.get(name, 0) + timer_ns() - began_ns

        return matches


def _asked(function: Predicate, subject: Subject) -> bool:
    return bool(function(subject.event))


def _folded(source: LogSource) -> LogSource:
    return LogSource(source.product.lower(), source.service.lower(), source.category.lower())


def _fitting(sources: Iterable[LogSource]) -> frozenset[LogSource]:
    """Return the log sources, in lower case, that a rule which applies may have: parts of one, or unset."""
    return frozenset(
        LogSource(*parts)
        for source in map(_folded, sources)
        for parts in product(*({"", part} for part in (source.product, source.service, source.category)))
    )
