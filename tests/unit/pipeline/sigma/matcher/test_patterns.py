"""Regular expressions: told by a literal where that is certain, else by RE2."""

from __future__ import annotations

import pytest

from pipeline.event import Event
from pipeline.sigma.form import Item, Pattern
from pipeline.sigma.matcher.match import compile_node
from pipeline.sigma.matcher.subject import Subject


@pytest.mark.parametrize(
    ("regex", "value", "holds"),
    [
        ("(?i)secret", "a SECRET", True),
        ("(?i)secret", "sacred", False),
        ("secret", "SECRET", False),
        # To RE2 these are an s and a k in another case; `str.lower` does not make an s of the first.
        ("(?i)secret", "a \u017fecret", True),
        ("(?i)kelvin", "\u212aelvin", True),
        ("secret", "a \u017fecret", False),
        ("a+", ["x", "\u017f", "a"], True),
    ],
)
def test_regular_expression_is_found_whatever_its_literals_fold_to(
    regex: str, value: object, holds: bool
) -> None:
    assert compile_node(Item("f", Pattern(regex)))(Subject(Event(0, {"f": value}, ""))) is holds
