"""A set of rules as a whole: references resolved, and what each rule leads to.

A plain rule raises its own alert, unless a correlation counts it and does not ask for `generate`. What
raises an alert is a `Target`: that is what detections are keyed by. Filters are put into the rules that they
are for; nothing after this module knows of them. (Sigma filters specification 2.1.0.)
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace

from pipeline.errors import RuleError, nearest
from pipeline.event import LogSource
from pipeline.sigma.form import About, And, Correlation, CorrelationType, Filter, Rule

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pipeline.python_rule import PythonRule

__all__ = ["RuleSet", "Target", "contains", "source_of"]


class Target(msgspec.Struct, frozen=True):
    """What raises alerts: a correlation, or a plain rule that counts from its first event.

    Attributes:
        about: title, level and so on of the rule that the alert is about.
        hash: content hash, over the counted rules as well: another content starts anew.
        rules: ids of the detections that feed it.
        group_by: field names of a group, as alert labels.
        lookup: rule id → the field to read for each of `group_by` (aliases applied).
        count: `event_count` or `value_count`.
        timespan_ms: the window's length; 0 for a plain rule.
        bounds: thresholds that must all hold, as (operator, number).
        fields: what `value_count` counts the distinct values of.
        optional: whether an event without a group-by field counts all the same (plain rules).
    """

    about: About
    hash: str
    rules: tuple[str, ...]
    group_by: tuple[str, ...]
    lookup: dict[str, tuple[str, ...]]
    count: CorrelationType
    timespan_ms: int
    bounds: tuple[tuple[str, float], ...]
    fields: tuple[str, ...] = ()
    optional: bool = False

    @property
    def id(self) -> str:
        """The id of the rule that the alert is about."""
        return self.about.id


class RuleSet:
    """Rules that are loaded together. Immutable once made.

    Attributes:
        rules: detections by id, filters applied.
        correlations: correlations by id.
        filters: filters by id.
        targets: what raises alerts, by id.
    """

    def __init__(
        self,
        loaded: Iterable[Rule | PythonRule | Correlation | Filter],
        *,
        group_by: tuple[str, ...] = ("service",),
    ) -> None:
        """Resolve references, and apply filters.

        Args:
            loaded: all rules, from all files.
            group_by: the fields that group the events of a plain rule.

        Raises:
            RuleError: an id or name stands twice, a reference leads nowhere, or a filter names a rule that it
                can't be for.
        """
        self.rules: dict[str, Rule | PythonRule] = {}
        self.correlations: dict[str, Correlation] = {}
        self.filters: dict[str, Filter] = {}
        names: dict[str, About] = {}
        for rule in loaded:
            _register(rule.about, names)
            match rule:
                case Correlation():
                    self.correlations[rule.about.id] = rule
                case Filter():
                    self.filters[rule.about.id] = rule
                case _:
                    self.rules[rule.about.id] = rule
        self._apply_filters(names)
        self.targets: dict[str, Target] = {}
        consumed: set[str] = set()
        for correlation in self.correlations.values():
            target = self._correlation_target(correlation, names)
            self.targets[target.id] = target
            if not correlation.generate:
                consumed.update(target.rules)
        for rule in self.rules.values():
            if rule.about.id not in consumed:
                self.targets[rule.about.id] = _plain_target(rule, group_by)

    def _correlation_target(self, correlation: Correlation, names: dict[str, About]) -> Target:
        about = correlation.about
        rules = tuple(
            self._resolve(correlation, reference, names, f"correlation.rules[{position}]")
            for position, reference in enumerate(correlation.rules)
        )
        # Who writes an alias may name a rule by its id, and by its name in the list above.
        aliases: dict[str, dict[str, str]] = {}
        for alias, fields in correlation.aliases.items():
            aliases[alias] = {
                self._resolve(correlation, reference, names, f"correlation.aliases.{alias}"): field
                for reference, field in fields.items()
            }
        content = [about.hash, *sorted({self.rules[rule].about.hash for rule in rules})]
        return Target(
            about=about,
            hash=_hash(content),
            rules=tuple(dict.fromkeys(rules)),
            group_by=correlation.group_by,
            lookup={
                rule: tuple(aliases.get(field, {}).get(rule, field) for field in correlation.group_by)
                for rule in rules
            },
            count=correlation.type,
            timespan_ms=correlation.timespan_ms,
            bounds=correlation.bounds,
            fields=correlation.fields,
        )

    def _apply_filters(self, names: dict[str, About]) -> None:
        filters: dict[str, list[Filter]] = {}
        for each in self.filters.values():
            for rule_id in self._filtered(each, names):
                filters.setdefault(rule_id, []).append(each)
        for rule_id, those in filters.items():
            rule = self.rules[rule_id]
            if isinstance(rule, Rule):
                self.rules[rule_id] = _with_filters(rule, those)

    def _filtered(self, each: Filter, names: dict[str, About]) -> list[str]:
        """Return the ids of the rules that a filter is for."""
        if not each.rules:
            return [
                rule.about.id
                for rule in self.rules.values()
                if isinstance(rule, Rule) and contains(source_of(each), source_of(rule))
            ]
        ids = [
            self._named_by_filter(each, reference, names, f"filter.rules[{position}]")
            for position, reference in enumerate(each.rules)
        ]
        return list(dict.fromkeys(ids))

    def _named_by_filter(self, each: Filter, reference: str, names: dict[str, About], path: str) -> str:
        """Return the id of the rule that a filter names by its id or name."""
        about = each.about
        found = names.get(reference)
        if found is None:
            known = {name: named for name, named in names.items() if named.id in self.rules}
            raise RuleError(_unknown(reference, known), file=about.file, line=about.line, path=path)
        rule = self.rules.get(found.id)
        if not isinstance(rule, Rule):
            kind = "a correlation" if found.id in self.correlations else "a filter"
            what = "a rule in Python, which holds its own conditions" if rule else kind
            message = f"{reference!r} is {what}; a filter is for detections"
            raise RuleError(message, file=about.file, line=about.line, path=path)
        if not contains(source_of(each), source_of(rule)):
            inner, outer = _shown(source_of(rule)), _shown(source_of(each))
            message = (
                f"the log source of {reference!r} ({inner}) is not contained in the filter's"
                f" ({outer}); a part that the filter sets must be the rule's"
            )
            raise RuleError(message, file=about.file, line=about.line, path=path)
        return found.id

    def _resolve(self, correlation: Correlation, reference: str, names: dict[str, About], path: str) -> str:
        """Return the id of the detection that a correlation refers to by its id or name."""
        about = correlation.about
        found = names.get(reference)
        if found is None:
            known = {name: named for name, named in names.items() if named.id not in self.filters}
            raise RuleError(_unknown(reference, known), file=about.file, line=about.line, path=path)
        if found.id not in self.rules:
            message = (
                f"{reference!r} is itself a correlation; correlations of correlations aren't counted yet"
                if found.id in self.correlations
                else f"{reference!r} is a filter, which finds nothing of its own"
            )
            raise RuleError(message, file=about.file, line=about.line, path=path)
        return found.id

    @property
    def longest_timespan_ms(self) -> int:
        """The longest window of all targets, in milliseconds."""
        return max((t.timespan_ms for t in self.targets.values()), default=0)

    def feeds(self) -> dict[str, tuple[Target, ...]]:
        """Return, for each detection's id, the targets that it feeds."""
        feeds: dict[str, list[Target]] = {}
        for target in self.targets.values():
            for rule in target.rules:
                feeds.setdefault(rule, []).append(target)
        return {rule: tuple(targets) for rule, targets in feeds.items()}


def _unknown(reference: str, known: dict[str, About]) -> str:
    """Return what is wrong with a reference that leads nowhere."""
    titled = next((about for about in known.values() if about.title == reference), None)
    if titled is not None:
        return f"{reference!r} is a title; refer to the rule by its id or name: {titled.name or titled.id}"
    return f"no rule {reference!r}; {nearest(reference, known) if known else 'there is none'}"


def source_of(rule: Rule | Filter) -> LogSource:
    """Return the log source as it is written: a filter is for rules by what their authors say."""
    return rule.logsource if rule.written == LogSource() else rule.written


def contains(outer: LogSource, inner: LogSource) -> bool:
    """Return whether each part that the outer log source sets is the inner one's, case aside."""
    return all(
        not wanted or wanted.lower() == has.lower()
        for wanted, has in (
            (outer.product, inner.product),
            (outer.service, inner.service),
            (outer.category, inner.category),
        )
    )


def _shown(logsource: LogSource) -> str:
    parts = {"product": logsource.product, "service": logsource.service, "category": logsource.category}
    return ", ".join(f"{key}: {value}" for key, value in parts.items() if value) or "any"


def _register(about: About, names: dict[str, About]) -> None:
    for key in dict.fromkeys(filter(None, (about.id, about.name))):
        if key in names:
            other = names[key]
            raise RuleError(
                f"{key!r} is the id or name of a rule in {other.file}:{other.line} already",
                file=about.file,
                line=about.line,
            )
        names[key] = about


def _with_filters(rule: Rule, filters: list[Filter]) -> Rule:
    # In whichever order files are loaded, it is the same rule.
    ordered = sorted(filters, key=lambda f: (f.about.hash, f.about.id))
    about = replace(rule.about, hash=_hash([rule.about.hash, *(f.about.hash for f in ordered)]))
    # A filter's identifiers are its own: who explains the rule sees whose they are.
    added = (And((f.condition,), name=f"filter {f.about.title}") for f in ordered)
    return replace(rule, about=about, condition=And((rule.condition, *added)))


def _hash(content: list[str]) -> str:
    return hashlib.sha256("\n".join(content).encode()).hexdigest()[:16]


def _plain_target(rule: Rule | PythonRule, group_by: tuple[str, ...]) -> Target:
    if isinstance(rule, Rule) and rule.group_by:
        group_by = rule.group_by
    return Target(
        about=rule.about,
        hash=rule.about.hash,
        rules=(rule.about.id,),
        group_by=group_by,
        lookup={rule.about.id: group_by},
        count=CorrelationType.EVENT_COUNT,
        timespan_ms=0,
        bounds=(("gte", 1.0),),
        optional=True,
    )
