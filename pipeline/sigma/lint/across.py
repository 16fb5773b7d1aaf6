"""Rules as a set: what one says of another, and what two of them say alike.

A set is judged as the worker would load it: ids and names share one space over all files, references lead
from file to file, and a filter applies to every rule whose log source its own contains. (Sigma correlation
rules and filters specifications 2.1.0; semantics sections 1 and 2.)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from pipeline.errors import RuleError, nearest
from pipeline.sigma.form import Filter, Rule
from pipeline.sigma.lint.catalogue import FIXED
from pipeline.sigma.lint.examine import Entry, examine
from pipeline.sigma.reader.options import NO_OPTIONS, Options
from pipeline.sigma.ruleset import RuleSet, contains, source_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from pipeline.sigma.lint.finding import Finding, Severity
    from pipeline.sigma.lint.ignore import Ignores

__all__ = ["lint", "lint_set"]


def lint(
    text: str, file: str, options: Options = NO_OPTIONS, *, disabled: Collection[str] = ()
) -> list[Finding]:
    """Find what is wrong or doubtful in the text of one rule file, each rule for itself.

    Args:
        text: the whole text: one or more YAML documents.
        file: the name to show.
        options: how the rules are read.
        disabled: ids of checks that are turned off.

    Returns:
        The findings by line and column. Text that can't be read is a finding too: nothing is raised.
    """
    examined = examine(text, file, options)
    return _kept(examined.findings, {file: examined.ignores}, disabled)


def lint_set(
    texts: Iterable[tuple[str, str]], options: Options = NO_OPTIONS, *, disabled: Collection[str] = ()
) -> list[Finding]:
    """Find what is wrong or doubtful in rule files that are loaded together.

    Args:
        texts: (file, text) of each, in the order in which they are loaded.
        options: how the rules are read.
        disabled: ids of checks that are turned off.

    Returns:
        The findings of each file, and those about the set, by file in the given order, line and column.
    """
    findings: list[Finding] = []
    entries: list[Entry] = []
    comments: dict[str, Ignores] = {}
    for file, text in texts:
        examined = examine(text, file, options)
        findings.extend(examined.findings)
        entries.extend(examined.entries)
        comments[file] = examined.ignores
    for look in (_same_names, _same_titles, _wrong_references, _idle_filters):
        findings.extend(look(entries))
    return _kept(findings, comments, disabled)


def _kept(
    findings: Iterable[Finding], comments: dict[str, Ignores], disabled: Collection[str]
) -> list[Finding]:
    order = {file: number for number, file in enumerate(comments)}
    return sorted(
        (
            f
            for f in findings
            if f.check in FIXED
            or not (f.check in disabled or (f.file in comments and comments[f.file].hide(f.check, f.line)))
        ),
        key=lambda f: (order.get(f.file, -1), f.line, f.column, f.check),
    )


def _told(place: Finding, check: str, severity: Severity, message: str) -> Finding:
    return replace(place, check=check, severity=severity, message=message)


def _where(place: Finding) -> str:
    return f"{place.file}:{place.line}"


def _same_names(entries: list[Entry]) -> Iterator[Finding]:
    seen: dict[str, Finding] = {}
    for entry in entries:
        for name, place in entry.names:
            if name in seen:
                message = f"{name!r} is the id or name of the rule in {_where(seen[name])} already"
                yield _told(place, "duplicate-id", "error", message)
            else:
                seen[name] = place


def _same_titles(entries: list[Entry]) -> Iterator[Finding]:
    seen: dict[str, Finding] = {}
    for entry in entries:
        title = entry.loaded.about.title
        if isinstance(entry.loaded, Filter):
            continue
        if title in seen:
            message = f"the rule in {_where(seen[title])} is called {title!r} as well"
            yield _told(entry.title, "duplicate-title", "warning", message)
        else:
            seen[title] = entry.title


def _wrong_references(entries: list[Entry]) -> Iterator[Finding]:
    named: dict[str, Entry] = {}
    for entry in entries:
        for name, _ in entry.names:
            named.setdefault(name, entry)
    for entry in entries:
        lost = [(name, place) for name, place in entry.references if name not in named]
        for name, place in lost:
            yield _told(place, "wrong-reference", "error", f"no rule {name!r}; {nearest(name, named)}")
        if entry.references and not lost:
            yield from _refused(entry, [named[name] for name, _ in entry.references])


def _refused(entry: Entry, named: list[Entry]) -> Iterator[Finding]:
    """Yield what a set says of a rule beside those that it names."""
    about = entry.loaded.about
    # Each once, and the one in question first: of several that are refused the first is told.
    small = {e.loaded.about.id: e.loaded for e in (entry, *named)}
    try:
        RuleSet(small.values())
    except RuleError as error:
        if (error.file, error.line) == (about.file, about.line):
            places = {place.path: place for _, place in entry.references}
            # A set numbers what it is told; one that stands alone has no number in the text.
            place = places.get(error.path) or places.get(error.path.removesuffix("[0]"), entry.here)
            yield _told(place, "wrong-reference", "error", error.message)


def _idle_filters(entries: list[Entry]) -> Iterator[Finding]:
    sources = {source_of(entry.loaded) for entry in entries if isinstance(entry.loaded, Rule)}
    for entry in entries:
        # One that names its rules is refused where it can't be for them.
        if not isinstance(entry.loaded, Filter) or entry.loaded.rules:
            continue
        outer = source_of(entry.loaded)
        if not any(contains(outer, inner) for inner in sources):
            message = "the filter applies to no rule: none has a log source that its own contains"
            yield _told(entry.here, "idle-filter", "warning", message)
