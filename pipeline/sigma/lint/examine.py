"""One text examined: each of its documents read, and looked at by every check.

A document that can't be read is told once, as an error, and what can be said of its head is said all the
same; its detection is not looked at. The documents around it are examined as ever.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from pipeline.document import Broken, Document, each_document, shown
from pipeline.errors import ConfigError, RuleError
from pipeline.sigma.form import Correlation, Filter, Rule
from pipeline.sigma.lint.catalogue import CHECKS, LOAD, unknown
from pipeline.sigma.lint.draft import Draft
from pipeline.sigma.lint.finding import Finding
from pipeline.sigma.lint.ignore import Ignore, Ignores, ignores
from pipeline.sigma.lint.validators import validated
from pipeline.sigma.reader.collection import collected
from pipeline.sigma.reader.read import read_each

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipeline.document import Key
    from pipeline.sigma.lint.finding import Doubt, Severity
    from pipeline.sigma.reader.options import Options

__all__ = ["Entry", "Examined", "examine"]

_MOST = 200
"""Findings of one check in one file: who has as many to mend does not read on."""


class Entry(msgspec.Struct, frozen=True):
    """What the other rules of a set have to know of one that was read.

    Attributes:
        loaded: the rule.
        here: a finding at the rule's head to take the place from.
        title: a finding at the title.
        names: (id or name, a finding at it); whatever it can be referred to by.
        references: (id or name of another rule, a finding at it).
    """

    loaded: Rule | Correlation | Filter
    here: Finding
    title: Finding
    names: tuple[tuple[str, Finding], ...]
    references: tuple[tuple[str, Finding], ...]


class Examined(msgspec.Struct, frozen=True):
    """What came of one text.

    Attributes:
        findings: of its documents, each for itself.
        entries: the rules that could be read.
        ignores: the comments that turn findings off.
    """

    findings: tuple[Finding, ...]
    entries: tuple[Entry, ...]
    ignores: Ignores


def examine(text: str, file: str, options: Options) -> Examined:
    """Examine the text of one rule file.

    Args:
        text: the whole text.
        file: the name to show.
        options: how the rules are read.
    """
    parsed, broken, whole = _documents(text, file)
    loaded: dict[int, Rule | Correlation | Filter] = {}
    findings: list[Finding] = []
    for outcome in read_each(text, file, options):
        if isinstance(outcome, RuleError):
            findings.append(_error(outcome, parsed, broken))
        else:
            loaded[outcome.about.line] = outcome
    entries: list[Entry] = []
    findings.extend(_old_actions(parsed))
    left = dict.fromkeys(CHECKS, _MOST)
    for draft in _drafts(parsed, loaded):
        findings.extend(_looks(draft, left))
        if draft.loaded is not None:
            entries.append(_entry(draft, draft.loaded))
    comments = ignores(text, sorted([d.line() for d in parsed] + broken)) if whole else Ignores()
    findings.extend(_misspelt(comments, file))
    return Examined(tuple(findings), tuple(entries), comments)


def _documents(text: str, file: str) -> tuple[list[Document], list[int], bool]:
    """Return the documents up to the first text that is no YAML, the lines of broken ones, and if it is all.

    What is wrong with those the reader tells.
    """
    parsed: list[Document] = []
    broken: list[int] = []
    try:
        for document in each_document(text, file):
            if isinstance(document, Broken):
                broken.append(document.error.line)
            else:
                parsed.append(document)
    except ConfigError:
        return parsed, broken, False
    return parsed, broken, True


def _drafts(parsed: list[Document], loaded: dict[int, Rule | Correlation | Filter]) -> Iterator[Draft]:
    """Yield what there is to look at: all documents that are to be rules."""
    # What a rule shares with others counts as its own; places are those of its own document.
    whole = {d.line(): d.data for d in collected(parsed) if not isinstance(d, RuleError)}
    for document in parsed:
        line = document.line()
        if line in whole:
            yield Draft.of(document, whole[line], loaded.get(line))


def _old_actions(parsed: list[Document]) -> Iterator[Finding]:
    message = "`action` is no longer part of Sigma; write each rule out"
    for document in parsed:
        if isinstance(document.data, dict) and "action" in document.data:
            yield Finding("old-action", "info", message, document.file, *document.place("action"), "action")


def _error(error: RuleError, parsed: list[Document], broken: list[int]) -> Finding:
    document = next((d for d in reversed(parsed) if d.line() <= error.line), None)
    if document is None or not error.path or error.line in broken:
        return Finding(LOAD, "error", error.message, error.file, error.line, path=error.path)
    path = _path(document.data, error.path)
    place = document.place(*path)
    # The reader may know the line better, as of an element whose path it does not tell.
    column = place.column if place.line == error.line else 0
    return Finding(
        LOAD, "error", error.message, error.file, error.line, column, error.path, *_named(document.data)
    )


def _path(value: object, shown: str) -> tuple[Key, ...]:
    """Return the path that is shown as `route.routes[1]`; as far as it can be told."""
    if isinstance(value, dict):
        rest = shown.removeprefix(".")
        for key in sorted((k for k in value if isinstance(k, str) and k), key=len, reverse=True):
            if rest.startswith(key) and rest[len(key) : len(key) + 1] in ("", ".", "["):
                return (key, *_path(value[key], rest[len(key) :]))
    elif isinstance(value, list) and shown.startswith("["):
        number, _, rest = shown[1:].partition("]")
        if number.isdecimal() and int(number) < len(value):
            return (int(number), *_path(value[int(number)], rest))
    return ()


def _named(data: object) -> tuple[str, str]:
    """Return the id and the title of a rule, as far as they are texts."""
    if not isinstance(data, dict):
        return "", ""
    rule_id, title = data.get("id"), data.get("title")
    return (rule_id if isinstance(rule_id, str) else "", title if isinstance(title, str) else "")


def _finding(draft: Draft, check: str, severity: Severity, message: str, path: tuple[Key, ...]) -> Finding:
    place = draft.document.place(*path)
    return Finding(check, severity, message, draft.document.file, *place, shown(path), *_named(draft.data))


def _looks(draft: Draft, left: dict[str, int]) -> Iterator[Finding]:
    """Yield what the checks find; `left` says how often each may still speak in this file."""
    try:
        for name, severity, (message, path) in _doubts(draft, left):
            left[name] -= 1
            more = "" if left[name] else f"; {_MOST} are told, so nothing is said of more in this file"
            yield _finding(draft, name, severity, message + more, path)
    except RuleError as error:  # what only the compiler refuses
        yield _finding(draft, LOAD, "error", error.message, ("detection",))


def _doubts(draft: Draft, left: dict[str, int]) -> Iterator[tuple[str, Severity, Doubt]]:
    for check in CHECKS.values():
        if check.look is not None and left[check.id]:
            for doubt in check.look(draft):
                yield check.id, check.severity, doubt
                if not left[check.id]:
                    break
    for name, severity, doubt in validated(draft):
        if left[name]:
            yield name, severity, doubt


def _entry(draft: Draft, rule: Rule | Correlation | Filter) -> Entry:
    def at(*path: Key) -> Finding:
        return _finding(draft, LOAD, "error", "", path)

    places = {draft.data.get(key): at(key) for key in ("name", "id")}
    names = dict.fromkeys(filter(None, (rule.about.id, rule.about.name)))
    return Entry(
        loaded=rule,
        here=at(),
        title=at("title"),
        names=tuple((name, places.get(name) or at()) for name in names),
        references=tuple((name, at(*path)) for name, path in _references(draft, rule)),
    )


def _references(draft: Draft, rule: Rule | Correlation | Filter) -> Iterator[tuple[str, tuple[Key, ...]]]:
    if isinstance(rule, Rule):
        return
    body = "correlation" if isinstance(rule, Correlation) else "filter"
    listed = isinstance(draft.data[body]["rules"], list)
    for position, name in enumerate(rule.rules):
        yield name, (body, "rules", position) if listed else (body, "rules")
    if isinstance(rule, Correlation):
        for alias, fields in rule.aliases.items():
            for name in fields:
                yield name, (body, "aliases", alias, name)


def _misspelt(comments: Ignores, file: str) -> Iterator[Finding]:
    for comment in comments.comments:
        if comment.checks is None:
            yield _about(
                comment, "a comment that ignores names its checks: `# tocsin: ignore[no-level]`", file
            )
        for name in comment.checks or ():
            if (problem := unknown(name)) is not None:
                yield _about(comment, problem, file)


def _about(comment: Ignore, message: str, file: str) -> Finding:
    return Finding("unknown-check", "warning", message, file, comment.line, comment.column)
