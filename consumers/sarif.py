"""Findings as SARIF, the form in which code hosts and editors take them and show each at its line.

(OASIS, "Static Analysis Results Interchange Format (SARIF) Version 2.1.0", sections 3.14 to 3.30.)
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from pipeline.sigma.lint import CHECKS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pipeline.sigma.lint import Check, Finding, Severity

__all__ = ["sarif"]

_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
_LEVELS: dict[Severity, str] = {"error": "error", "warning": "warning", "info": "note"}
_INDEX = {name: number for number, name in enumerate(CHECKS)}

_Object = dict[str, Any]  # Any: what JSON has


def sarif(findings: Iterable[Finding]) -> _Object:
    """Return a SARIF log with one run: all checks as its rules, the findings as its results."""
    driver = {"name": "Tocsin", "rules": [_rule(check) for check in CHECKS.values()]}
    run = {
        "tool": {"driver": driver},
        "columnKind": "unicodeCodePoints",
        "results": [_result(finding) for finding in findings],
    }
    return {"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}


def _rule(check: Check) -> _Object:
    return {
        "id": check.id,
        "shortDescription": {"text": check.finds},
        "fullDescription": {"text": check.why},
        "help": {"text": f"{check.why} {check.mend}"},
        "defaultConfiguration": {"level": _LEVELS[check.severity]},
    }


def _result(finding: Finding) -> _Object:
    physical: _Object = {"artifactLocation": {"uri": _uri(finding.file)}}
    if finding.line:
        region = {"startLine": finding.line}
        if finding.column:
            region["startColumn"] = finding.column
        physical["region"] = region
    location: _Object = {"physicalLocation": physical}
    if finding.path:
        location["logicalLocations"] = [{"fullyQualifiedName": finding.path}]
    return {
        "ruleId": finding.check,
        "ruleIndex": _INDEX[finding.check],
        "level": _LEVELS[finding.severity],
        "message": {"text": finding.message},
        "locations": [location],
    }


def _uri(file: str) -> str:
    """Return a reference relative to the working folder; for a file elsewhere, its absolute URI."""
    path = Path(file).absolute()
    here = Path.cwd()
    if path.is_relative_to(here):
        return quote(path.relative_to(here).as_posix(), safe="/")
    return path.as_uri()
