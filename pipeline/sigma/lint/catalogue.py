"""All checks by their ids: the list of what a linter may say is this one screen."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.errors import ConfigError, nearest
from pipeline.sigma.lint import conditions, fields, head, logsources, regexes, values
from pipeline.sigma.lint.finding import Check
from pipeline.sigma.lint.validators import SKIPPED, VALIDATORS

if TYPE_CHECKING:
    from collections.abc import Collection

__all__ = ["CHECKS", "FIXED", "LOAD", "refuse_unknown", "unknown"]

LOAD = "load"
"""The check that finds what can't be read."""

FIXED = frozenset({LOAD, "duplicate-id"})
"""Checks that can't be turned off: what they find holds for every worker, linter or not."""

_WHOLE = (
    Check(
        LOAD,
        "error",
        "a rule that can't be read",
        "It is not YAML, not Sigma, or says what can't be evaluated.",
        "The message says what would be right.",
    ),
    Check(
        "duplicate-id",
        "error",
        "an id or a name that stands twice",
        "Ids and names share one space, and a reference must lead to one rule.",
        "Give one of the two another id.",
    ),
    Check(
        "wrong-reference",
        "error",
        "a reference that leads nowhere, or to what can't be meant",
        "A correlation without its rules counts nothing, a filter for what it can't filter does nothing.",
        "Correct it, or lint the files together: references lead from file to file. Rules in Python are not"
        " known here; a comment may say so.",
    ),
    Check(
        "idle-filter",
        "warning",
        "a filter that applies to no rule",
        "It is for any rule whose log source its own contains, and there is none.",
        "Widen its log source, or lint it together with its rules.",
    ),
    Check(
        "duplicate-title",
        "warning",
        "a title that two rules share",
        "The title is `alertname`: their alerts look the same, and routes can't tell them apart.",
        "Say in one of them what is different.",
    ),
    Check(
        "unknown-check",
        "warning",
        "an ignore comment with an id that no check has",
        "It turns nothing off; nor can `load` and `duplicate-id` be turned off.",
        "Correct the id: `# tocsin: ignore[no-level]`.",
    ),
    Check(
        SKIPPED,
        "info",
        "a rule that pySigma can't read, though Tocsin can",
        "Its validators are skipped for this rule; everything else is checked.",
        "Nothing to do.",
    ),
)

CHECKS: dict[str, Check] = {
    check.id: check
    for check in (
        *_WHOLE,
        *head.CHECKS,
        *logsources.CHECKS,
        *conditions.CHECKS,
        *fields.CHECKS,
        *values.CHECKS,
        *regexes.CHECKS,
        *VALIDATORS,
    )
}
"""All checks by id."""


def unknown(name: str) -> str | None:
    """Return what is wrong with the id of a check that is to be turned off, or None."""
    optional = [name for name in CHECKS if name not in FIXED]
    if name in optional:
        return None
    if name in FIXED:
        return f"the check {name!r} can't be turned off: the rule would not run all the same"
    return f"no such check: {name!r}; {nearest(name, optional)}"


def refuse_unknown(disabled: Collection[str]) -> None:
    """Raise when a check to be turned off does not exist, or is about errors.

    Raises:
        ConfigError: it names the nearest id.
    """
    for name in disabled:
        if (problem := unknown(name)) is not None:
            raise ConfigError(problem)
