from __future__ import annotations

from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.sigma.matcher.reference import MOST_CONTAINED, reference_predicate

How = Literal["equals", "startswith", "endswith", "contains"]
HOW: tuple[How, ...] = ("equals", "startswith", "endswith", "contains")
PLAIN = {
    "equals": str.__eq__,
    "startswith": str.startswith,
    "endswith": str.endswith,
    "contains": str.__contains__,
}
texts = st.lists(st.text("ab\0", max_size=4), max_size=6).map(tuple)


@given(st.sampled_from(HOW), texts, texts)
def test_lists_agree_with_each_pair_tried(how: How, mine: tuple[str, ...], theirs: tuple[str, ...]) -> None:
    expected = any(PLAIN[how](m, t) for m in mine for t in theirs)
    assert reference_predicate(how)(mine, theirs) is expected


@pytest.mark.parametrize("mine", [("a", "the last x999 is contained"), ("the last x999 is contained",)])
def test_no_more_are_looked_for_than_is_stated(mine: tuple[str, ...]) -> None:
    theirs = [f"x{n:03}" for n in range(MOST_CONTAINED)]
    contains = reference_predicate("contains")
    assert contains(mine, tuple(theirs))
    assert contains(mine, tuple(theirs * 3))
    assert not contains(mine, ("first", *theirs))
