"""What a linter says: findings, and the checks that they are of.

The rule: an error is a rule that would not run; a warning is one that surely or probably does something else
than its author meant; an info is worth a look.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Literal, NamedTuple

import msgspec

if TYPE_CHECKING:
    from pipeline.document import Key
    from pipeline.sigma.lint.draft import Draft

__all__ = ["SEVERITIES", "Check", "Doubt", "Finding", "Look", "Severity"]

Severity = Literal["error", "warning", "info"]

SEVERITIES: tuple[Severity, ...] = ("error", "warning", "info")
"""How grave a finding is, gravest first."""


class Finding(msgspec.Struct, frozen=True):
    """One thing that is wrong or doubtful in a rule file.

    Attributes:
        check: the id of the check that found it, such as `filter-polarity`.
        severity: `error`, `warning` or `info`.
        message: what is wrong, and what would be right.
        file: the file's name, as it was given.
        line: from 1; 0 where the file as a whole is meant.
        column: in characters, from 1; 0 where it is not known.
        path: where it is within the document: `detection.selection.level`.
        rule_id: the rule's id as written, or empty.
        title: the rule's title, or empty.
    """

    check: str
    severity: Severity
    message: str
    file: str
    line: int = 0
    column: int = 0
    path: str = ""
    rule_id: str = ""
    title: str = ""


class Doubt(NamedTuple):
    """What a check found: the message, and the path it points at."""

    message: str
    path: tuple[Key, ...]


Look = Callable[["Draft"], Iterator[Doubt]]
"""Looks at one rule, and yields what is doubtful about it."""


class Check(msgspec.Struct, frozen=True):
    """One check.

    Attributes:
        id: its name in output, comments and options.
        severity: of what it finds; the gravest where that differs.
        finds: what it finds, in a few words.
        why: why that matters.
        mend: what to do about it.
        look: the check itself, where one rule is enough to see it.
    """

    id: str
    severity: Severity
    finds: str
    why: str
    mend: str
    look: Look | None = None
