from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pipeline.document import documents
from pipeline.sigma.lint.draft import Draft, Value, Written
from pipeline.sigma.lint.values import _MOST_WORK, CHECKS, _covered, _Work
from pipeline.sigma.matcher.text import text_predicate

LITERALS = st.text("aB*", min_size=1, max_size=4)
LISTS = st.lists(LITERALS, min_size=2, max_size=6, unique_by=str.lower)
MODIFIERS = st.sampled_from([(), ("contains",), ("startswith",), ("endswith",), ("contains", "cased")])


def needless(item: Written) -> list[str]:
    """The value that the check calls needless, if any."""
    (document,) = documents("title: T", "r.yml")
    (check,) = (c for c in CHECKS if c.id == "covered-value")
    assert check.look is not None
    doubts = list(check.look(Draft(document, {}, None, "detection", (item,))))
    return [str(item.values[int(str(d.path[0]))].value) for d in doubts]


@given(LISTS, MODIFIERS, st.lists(st.text("aAbBc", max_size=8), max_size=30))
def test_without_a_needless_value_a_list_matches_the_same(
    values: list[str], modifiers: tuple[str, ...], texts: list[str]
) -> None:
    item = Written("f", modifiers, tuple(Value(v, (i,)) for i, v in enumerate(values)), (), listed=True)
    folded = texts if "cased" in modifiers else [t.lower() for t in texts]
    for value in needless(item):
        alone = text_predicate(item.text(value))
        others = [text_predicate(item.text(v)) for v in values if v != value]
        assert all(any(o(t) for o in others) for t in folded if alone(t))


@given(st.lists(st.text("ab", min_size=1, max_size=4), min_size=2, max_size=6, unique=True))
def test_every_list_in_which_one_text_holds_another_is_told(values: list[str]) -> None:
    item = Written("f", ("contains",), tuple(Value(v, (i,)) for i, v in enumerate(values)), (), listed=True)
    holds = any(a != b and a in b for a in values for b in values)
    assert bool(needless(item)) is holds


def test_a_long_list_is_looked_at_in_time_that_grows_with_it() -> None:
    values = tuple(Value(f"{number:032x}", (number,)) for number in range(20_000))
    assert needless(Written("hash", ("contains",), values, (), listed=True)) == []


def test_values_of_many_lengths_are_looked_at_as_far_as_there_is_time() -> None:
    # Each holds none of the others, at any place.
    values = tuple(Value(f"{n:03}" + "ab" * n, (n,)) for n in range(1, 2000))
    work = _Work(_MOST_WORK)
    assert list(_covered(Written("f", ("contains",), values, (), listed=True), work)) == []
    assert not work.take(0)
