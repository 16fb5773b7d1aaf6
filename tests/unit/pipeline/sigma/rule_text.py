"""Rules for tests, from what matters of them."""

from __future__ import annotations

from textwrap import indent

import pytest
from msgspec.structs import replace

from pipeline.errors import RuleError
from pipeline.event import Event
from pipeline.sigma.form import And, Node, Or, Rule
from pipeline.sigma.matcher.match import compile_rule
from pipeline.sigma.matcher.subject import Subject
from pipeline.sigma.reader.options import NO_OPTIONS, Options
from pipeline.sigma.reader.read import read

HEAD = "title: T\nlogsource:\n  category: application\ndetection:\n"


def rule_of(detection: str, options: Options = NO_OPTIONS) -> Rule:
    """Read a rule from its detection, condition included."""
    (rule,) = read(HEAD + indent(detection, "  "), "r.yml", options)
    assert isinstance(rule, Rule)
    return rule


def node_of(item: str, options: Options = NO_OPTIONS) -> Node:
    """Read what stands under an identifier whose value is `item`, without its name."""
    node = rule_of(f"s:\n{indent(item, '  ')}\ncondition: s\n", options).condition
    assert isinstance(node, And | Or)
    assert node.name == "s"
    return node.items[0] if len(node.items) == 1 else replace(node, name="")


def refusal(detection: str, options: Options = NO_OPTIONS) -> str:
    """Return why a detection is refused."""
    with pytest.raises(RuleError) as raised:
        rule_of(detection, options)
    return str(raised.value)


def item_refusal(item: str, options: Options = NO_OPTIONS) -> str:
    """Return why a detection with one identifier, `s`, whose value is `item`, is refused."""
    return refusal(f"s:\n{indent(item, '  ')}\ncondition: s\n", options)


def event_of(fields: dict[str, object], text: str | None = None) -> Event:
    """Make a structured event, or with a text one of a text format."""
    return Event(0, fields, "" if text is None else text, structured=text is None)


def matches(detection: str, fields: dict[str, object], text: str | None = None) -> bool:
    """Say whether an event satisfies a detection."""
    return compile_rule(rule_of(detection))(Subject(event_of(fields, text)))


def item_matches(item: str, fields: dict[str, object], text: str | None = None) -> bool:
    """Say the same of a detection with one identifier, `s`, whose value is `item`."""
    return matches(f"s:\n{indent(item, '  ')}\ncondition: s\n", fields, text)
