"""pySigma's validators, as checks named `sigma:…`; what they say is pySigma's, where it stands is found here.

Left out is what would reach for the network (`LEFT_OUT` gives each reason), what our own checks say with its
place, and two claims that are not true of this matcher. pySigma's low grade is an info, its medium and high
ones are warnings: what they find is loaded and runs.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import fields
from functools import cache
from typing import TYPE_CHECKING, Any

from sigma.exceptions import SigmaError
from sigma.rule import SigmaDetectionItem, SigmaLogSource, SigmaRule
from sigma.types import SigmaString
from sigma.validation import SigmaValidator
from sigma.validators.base import SigmaValidationIssueSeverity
from sigma.validators.core import validators
from sigma.validators.core.modifiers import (
    AllWithoutContainsModifierIssue,
    WindowsDashCombinedWithAllModifierIssue,
)

from pipeline.sigma.form import Rule
from pipeline.sigma.lint.finding import Check, Doubt

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sigma.validators.base import SigmaValidationIssue

    from pipeline.document import Key
    from pipeline.sigma.lint.draft import Draft
    from pipeline.sigma.lint.finding import Severity

__all__ = ["LEFT_OUT", "PREFIX", "SKIPPED", "VALIDATORS", "validated"]

PREFIX = "sigma:"
"""What the ids of these checks begin with."""

SKIPPED = "sigma-skipped"
"""The check that says of a rule that pySigma can't read it."""

LEFT_OUT: dict[str, str] = {
    "attacktag": "downloads the list of techniques; `attack-tag` checks the form",
    "d3_fendtag": "downloads the list of techniques",
    "custom_attributes": "`unknown-key` finds more",
    "dangling_condition": "such a rule does not load",
    "dangling_detection": "`unused-identifier` knows the place, and operators in capitals",
    "duplicate_filename": "about files, which a linter of texts does not see",
    "duplicate_title": "`duplicate-title` knows the place",
    "escaped_wildcard": "of a hundred looked at every one was meant",
    "filename_length": "about files, which a linter of texts does not see",
    "identifier_existence": "`no-id` speaks of correlations and filters as well",
    "identifier_uniqueness": "`duplicate-id` speaks of names as well",
    "tlpv1_tag": "refuses what version 2 of TLP allows; `sigma:tlptag` takes both",
    "tlpv2_tag": "refuses what version 1 of TLP allows; `sigma:tlptag` takes both",
}
"""Validators that are not run, and why."""

_SEVERITY: dict[SigmaValidationIssueSeverity, Severity] = {
    SigmaValidationIssueSeverity.LOW: "info",
    SigmaValidationIssueSeverity.MEDIUM: "warning",
    SigmaValidationIssueSeverity.HIGH: "warning",
}
_LOW = frozenset(
    [
        *("double_wildcard", "number_as_string", "them_condition_with_single_detection"),
        "wildcards_instead_of_modifiers",
    ]
)
# What their docstrings say, in our words and for this matcher.
_FINDS: dict[str, str] = {
    "all_of_them_condition": "`all of them`, which takes in whatever is added later",
    "cartag": "a malformed tag of the Cyber Analytics Repository",
    "control_character": "a control character in a value, mostly a backslash that YAML read as an escape",
    "cvetag": "a malformed CVE tag",
    "detection_tag": "a tag of the namespace `detection` that Sigma does not know",
    "double_wildcard": "`**` in a value",
    "duplicate_references": "a reference that stands there twice",
    "duplicate_tag": "a tag that stands there twice",
    "fieldname_logsource": "a key in the log source that Sigma does not know",
    "invalid_modifier_combinations": "modifiers that don't go together",
    "namespace_tag": "a tag of a namespace that Sigma does not know",
    "number_as_string": "a number written as a text",
    "specific_instead_of_generic_logsource": "an event id of Windows for which there is a category",
    "stptag": "a malformed tag of the Summiting the Pyramid scale",
    "tag_format": "a tag with characters that tags don't have",
    "them_condition_with_single_detection": "`them` where there is one search identifier",
    "tlptag": "a TLP tag that neither version of TLP knows",
    "wildcards_instead_of_modifiers": "wildcards at the ends, where a modifier would do",
}
_USED = sorted(name for name in validators if name not in LEFT_OUT)
_OPERATOR = re.compile(r"(?i:\b(?:and|or|not|of|all|any|them)\b)")
# `re`, `startswith` and the others each look for a part of the value: several may well be there.
_PARTIAL = frozenset({"re", "startswith", "endswith", "fieldref", "exists", "neq"})

VALIDATORS: tuple[Check, ...] = tuple(
    Check(
        f"{PREFIX}{name}",
        "info" if name in _LOW else "warning",
        _FINDS.get(name, f"what pySigma's validator `{name}` finds"),
        "The Sigma project's own linter asks for it.",
        "See the message.",
    )
    for name in _USED
)


def validated(draft: Draft) -> Iterator[tuple[str, Severity, Doubt]]:
    """Run pySigma's validators on a rule; yields (check, severity, what it found).

    Filters and correlations are left to our own checks: the validators look at little in them.
    """
    if not isinstance(draft.loaded, Rule):
        return
    if any({"re", "expand"} <= set(item.modifiers) for item in draft.items):
        # It would compile the text around the placeholder, and complain on standard error.
        message = "pySigma reads no expression with a placeholder in it, so its validators are skipped"
        yield SKIPPED, "info", Doubt(message, ())
        return
    try:
        rule = SigmaRule.from_dict(_readable(draft))
        issues = [
            (name, issue)
            for name, validator in _validators().items()
            for issue in validator.validate_rule(rule)
        ]
    except (SigmaError, TypeError, AttributeError, ValueError) as error:  # the latter of values not foreseen
        message = f"pySigma can't read this rule, so its validators are skipped: {error}".rstrip(".")
        yield SKIPPED, "info", Doubt(message, ())
        return
    places = _Places(draft)
    for name, issue in issues:
        if not _untrue(issue):
            path = places.of(issue)
            yield f"{PREFIX}{name}", _SEVERITY[issue.severity], Doubt(_message(places, issue, path), path)


@cache
def _validators() -> dict[str, SigmaValidator]:
    # One each, so that an issue is known by its validator's name; none keeps anything between rules.
    return {name: SigmaValidator([validators[name]]) for name in _USED}


def _readable(draft: Draft) -> dict[str, Any]:  # Any: a YAML document's values
    """Return the rule with the operators of its conditions in the only case that pySigma reads."""
    names = set(draft.identifiers)

    def lower(match: re.Match[str]) -> str:
        return match.group() if match.group() in names else match.group().lower()

    conditions = [_OPERATOR.sub(lower, str(c.value)) for c in draft.conditions]
    # pySigma refuses older words in `related`, and no validator looks at it.
    data = {key: value for key, value in draft.data.items() if key != "related"}
    return {**data, "detection": {**data["detection"], "condition": conditions}}


def _untrue(issue: SigmaValidationIssue) -> bool:
    """Return whether an issue is none for this matcher."""
    if isinstance(issue, WindowsDashCombinedWithAllModifierIssue):
        return True  # a dash is a character class here, not a value for each kind of dash
    if isinstance(issue, AllWithoutContainsModifierIssue):
        written = issue.detection_item.to_plain()
        name = next(iter(written)) if isinstance(written, dict) else ""
        return not _PARTIAL.isdisjoint(name.split("|"))
    return False


def _message(places: _Places, issue: SigmaValidationIssue, path: tuple[Key, ...]) -> str:
    details = [_shown(value) for name, value in _details(issue) if name != "modifiers"]
    if any(isinstance(value, SigmaString) for _, value in _details(issue)):
        # As it is written: pySigma has added a modifier's wildcards, and escapes.
        details = [repr(places.values[path])] if path in places.values else details
    said = issue.description.rstrip(".")
    return f"{said}: {', '.join(details)}" if details else said


def _details(issue: SigmaValidationIssue) -> list[tuple[str, object]]:
    return [(f.name, getattr(issue, f.name)) for f in fields(issue) if f.name != "rules"]


def _shown(value: object) -> str:
    if isinstance(value, SigmaDetectionItem):
        plain = value.to_plain()
        return next(iter(plain)) if isinstance(plain, dict) else "keywords"
    if isinstance(value, SigmaLogSource):
        return " ".join(f"{part}: {name}" for part, name in value.to_dict().items())
    if isinstance(value, str | SigmaString):
        return repr(str(value))
    return str(value)


class _Places:
    """Where in a rule an issue most likely stands; owns the indexes, and what has been told already.

    Attributes:
        values: path → the value there.
    """

    def __init__(self, draft: Draft) -> None:
        self.values = {v.path: v.value for item in draft.items for v in item.values}
        self._told: Counter[tuple[str, str]] = Counter()
        self._items: dict[_ItemKey, list[tuple[Key, ...]]] = {}
        self._texts: dict[str, list[tuple[Key, ...]]] = {}
        self._event_ids: dict[object, list[tuple[Key, ...]]] = {}
        self._tags: dict[str, list[tuple[Key, ...]]] = {}
        self._references: dict[str, list[tuple[Key, ...]]] = {}
        for item in draft.items:
            key = (item.field or None, tuple(_as_read(v.value) for v in item.values))
            self._items.setdefault(key, []).append(item.path)
            for value in item.values:
                if isinstance(value.value, str):
                    self._texts.setdefault(_bare(_as_read(value.value)), []).append(value.path)
                if item.field == "EventID":
                    self._event_ids.setdefault(value.value, []).append(value.path)
        for tag in draft.strings("tags"):
            self._tags.setdefault(str(tag.value).lower(), []).append(tag.path)
        for reference in draft.strings("references"):
            self._references.setdefault(str(reference.value), []).append(reference.path)

    def of(self, issue: SigmaValidationIssue) -> tuple[Key, ...]:
        """Return where an issue most likely stands; the next such place if it is told again."""
        for name, value in _details(issue):
            if places := self._named(name, value):
                key = (name, str(value))
                self._told[key] += 1
                return places[min(self._told[key], len(places)) - 1]
        return ("detection", "condition") if "ondition" in type(issue).__name__ else ("detection",)

    def _named(self, name: str, value: object) -> list[tuple[Key, ...]]:
        match name, value:
            case "tag", _:
                return self._tags.get(str(value).lower(), [])
            case "reference", _:
                return self._references.get(str(value), [])[1:]
            case "fieldname", _:
                return [("logsource", str(value))]
            case "event_id", _:
                return self._event_ids.get(value, [])
            case _, SigmaDetectionItem():
                original = (
                    str(v) if isinstance(v, SigmaString) else None for v in value.original_value or ()
                )
                return self._items.get((value.field, tuple(original)), [])
            case _, SigmaString():
                return self._texts.get(_bare(str(value)), [])
            case _:
                return []


_ItemKey = tuple[str | None, tuple[str | None, ...]]
"""A field and its values, as pySigma shows them; what is no text is not told apart."""


def _as_read(value: object) -> str | None:
    return str(SigmaString(value)) if isinstance(value, str) else None


def _bare(text: str | None) -> str:
    return (text or "").strip("*")
