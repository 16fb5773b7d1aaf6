"""`tocsin lint`: rule files read, what is doubtful in them written out, and an exit code for a CI job.

Findings go to standard output in one of three forms, a summary to standard error. What stands in a rule file
may be anyone's: no character of it reaches the terminal but as a character.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from typing import TYPE_CHECKING, Literal

import msgspec

from consumers.receivers.visible import one_line
from consumers.rules import rule_files
from consumers.sarif import sarif
from pipeline.sigma.lint import SEVERITIES, Finding, lint_set, refuse_unknown

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

    from pipeline.sigma.lint import Severity
    from pipeline.sigma.reader.options import Options

__all__ = ["Form", "lint_rules"]

Form = Literal["text", "json", "sarif"]


def lint_rules(
    paths: list[str], *, form: Form, fail_on: Severity, options: Options, disabled: Collection[str]
) -> int:
    """Write what is wrong or doubtful in rule files; return 1 if something is as grave as `fail_on`, else 0.

    Args:
        paths: rule files and folders; `shipped` are the rules that ship.
        form: a line for each finding, one array of JSON, or SARIF 2.1.0.
        fail_on: `error`, `warning` or `info`.
        options: how the rules are read.
        disabled: ids of checks that are turned off.

    Raises:
        ConfigError: a path leads nowhere, or a check that is to be turned off does not exist.
    """
    refuse_unknown(disabled)
    files = rule_files(paths)
    unread: list[Finding] = []
    findings = lint_set(_texts(files, unread), options, disabled=disabled)
    order = {str(file): number for number, file in enumerate(files)}
    # Sorting is stable: within a file the linter's order stays.
    findings = sorted([*unread, *findings], key=lambda f: order[f.file])
    _write(findings, form)
    counts = Counter(f.severity for f in findings)
    told = ", ".join(_count(counts[s], s) for s in SEVERITIES)
    sys.stderr.write(f"{told} in {_count(len(files), 'file')}\n")
    grave = SEVERITIES[: SEVERITIES.index(fail_on) + 1]
    return 1 if any(f.severity in grave for f in findings) else 0


def _texts(files: list[Path], unread: list[Finding]) -> Iterator[tuple[str, str]]:
    """Yield each file with its text; a file that can't be read is a finding like others."""
    for file in files:
        try:
            yield str(file), file.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            message = f"not UTF-8: {error.reason} at byte {error.start}"
            unread.append(Finding("load", "error", message, str(file)))
        except OSError as error:
            unread.append(Finding("load", "error", error.strerror or str(error), str(file)))


def _write(findings: list[Finding], form: Form) -> None:
    match form:
        case "text":
            for finding in findings:
                sys.stdout.write(_line(finding) + "\n")
        case "json":
            # Characters that are not ASCII are escaped: a terminal shows them without acting on any.
            sys.stdout.write(json.dumps(msgspec.to_builtins(findings), indent=2) + "\n")
        case "sarif":
            sys.stdout.write(json.dumps(sarif(findings), indent=2) + "\n")


def _line(finding: Finding) -> str:
    place = finding.file
    if finding.line:
        place += f":{finding.line}"
        if finding.column:
            place += f":{finding.column}"
    return one_line(f"{place}: {finding.severity}[{finding.check}]: {finding.message}")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 or noun == 'info' else 's'}"
