"""Rule files for the linter's tests, from what matters of them."""

from __future__ import annotations

from textwrap import indent

from pipeline.sigma.lint import Finding, lint

ID = "929a690e-bef0-4204-a928-ef5e620d6fcc"
HEAD = f"title: T\nid: {ID}\nlevel: high\n"
SOURCE = "logsource: {category: application}\n"


def rule(detection: str, head: str = HEAD, source: str = SOURCE) -> str:
    """A rule from its detection, condition included."""
    return f"{head}{source}detection:\n{indent(detection, '    ')}\n"


def item(written: str) -> str:
    """A rule with one item beside a text that makes it cheap."""
    return rule(f"s:\n    event: shop\n{indent(written, '    ')}\ncondition: s\n")


def filtering(body: str, rules: str = "any") -> str:
    """A filter from its searches and condition."""
    return f"{HEAD}{SOURCE}filter:\n    rules: {rules}\n{indent(body, '    ')}\n"


def of(check: str, text: str) -> list[Finding]:
    """The findings of one check."""
    return [f for f in lint(text, "r.yml") if f.check == check]
