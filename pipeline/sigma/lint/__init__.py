"""The linter: what is wrong or doubtful in rule files, with the place and the remedy."""

from __future__ import annotations

from pipeline.sigma.lint.across import lint, lint_set
from pipeline.sigma.lint.catalogue import CHECKS, refuse_unknown
from pipeline.sigma.lint.finding import SEVERITIES, Check, Finding, Severity

__all__ = ["CHECKS", "SEVERITIES", "Check", "Finding", "Severity", "lint", "lint_set", "refuse_unknown"]
