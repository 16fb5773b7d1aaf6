"""Rules for tests, from what matters of them."""

from __future__ import annotations

from textwrap import indent

from pipeline.event import Event
from pipeline.sigma.form import Rule
from pipeline.sigma.match import compile_rule
from pipeline.sigma.read import read
from pipeline.sigma.subject import Subject

HEAD = "title: T\nlogsource:\n  category: application\ndetection:\n"


def rule_of(detection: str) -> Rule:
    """Read a rule from its detection, condition included."""
    (rule,) = read(HEAD + indent(detection, "  "), "r.yml")
    assert isinstance(rule, Rule)
    return rule


def event_of(fields: dict[str, object], text: str | None = None) -> Event:
    """Make a structured event, or with a text one of a text format."""
    return Event(0, fields, "" if text is None else text, structured=text is None)


def matches(detection: str, fields: dict[str, object], text: str | None = None) -> bool:
    """Say whether an event satisfies a detection."""
    return compile_rule(rule_of(detection))(Subject(event_of(fields, text)))


def item_matches(item: str, fields: dict[str, object], text: str | None = None) -> bool:
    """Say the same of a detection with one identifier, `s`, whose value is `item`."""
    return matches(f"s:\n{indent(item, '  ')}\ncondition: s\n", fields, text)
