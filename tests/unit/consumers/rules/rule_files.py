"""Rules for tests, in folders of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from pipeline.sigma.ruleset import RuleSet

__all__ = ["CORRELATION", "FILTER", "detection", "same", "write"]

CORRELATION = """\
title: Many
name: many
correlation:
  type: value_count
  rules: [one]
  group-by: [service]
  timespan: 1m
  condition: {field: user, gte: 2}
  aliases: {service: {one: unit}}
"""
FILTER = """\
title: Not Ours
name: not_ours
logsource: {category: application}
filter:
  rules: [one]
  sel: {host: ours}
  condition: not sel
"""


def detection(name: str, what: str = "{level: error}") -> str:
    """Return the text of a rule."""
    return (
        f"title: {name}\nname: {name}\nlogsource: {{category: application}}\n"
        f"detection: {{s: {what}, condition: s}}\n"
    )


def write(folder: Path, **texts: str) -> str:
    """Write rule files by name, and return the folder's path."""
    folder.mkdir(exist_ok=True)
    for name, text in texts.items():
        (folder / f"{name}.yml").write_text(text, encoding="utf-8")
    return str(folder)


def same(left: RuleSet, right: RuleSet) -> bool:
    """Say whether two sets are the same, to the last part."""
    return (
        (left.rules, left.correlations, left.targets) == (right.rules, right.correlations, right.targets)
        and list(left.rules) == list(right.rules)
        and list(left.targets) == list(right.targets)
    )
