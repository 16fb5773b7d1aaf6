from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.sigma.form import Text, Wild
from pipeline.sigma.matcher.text import (
    AnyOf,
    anywhere,
    regex_position,
    regex_predicate,
    shape_of,
    text_predicate,
)
from tests.unit.pipeline.sigma.oracle import fragments, parts

ANY, ONE, DASH = Wild.ANY, Wild.ONE, Wild.DASH


@pytest.mark.parametrize(
    ("written", "shape"),
    [
        ((), ("equals", "")),
        (("A",), ("equals", "a")),
        (("A", "", "B"), ("equals", "ab")),
        ((ANY,), ("contains", "")),
        ((ANY, "", ANY), ("contains", "")),
        ((ANY, ANY, "A", ANY), ("contains", "a")),
        (("A", ANY), ("startswith", "a")),
        ((ANY, "A"), ("endswith", "a")),
        (("A", ANY, "B"), None),
        ((ONE,), None),
        ((ANY, DASH), None),
    ],
)
def test_shape_of_a_text(written: tuple[str | Wild, ...], shape: tuple[str, str] | None) -> None:
    assert shape_of(Text(written)) == shape


def test_a_cased_text_keeps_its_case() -> None:
    assert shape_of(Text((ANY, "A"), cased=True)) == ("endswith", "A")


@given(parts, fragments, fragments)
def test_what_fits_fits_anywhere_as_well(written: tuple[str | Wild, ...], before: str, after: str) -> None:
    text = "".join(p if isinstance(p, str) else "-" for p in written)
    assert text_predicate(Text(written, cased=True))(text)
    assert text_predicate(anywhere(Text(written, cased=True)))(before + text + after)


@pytest.mark.parametrize(
    ("text", "outcome"),
    [
        ("a -x", True),
        ("a /x", True),
        ("a \u2013x", True),
        ("a —x", True),
        ("a ―x", True),
        ("a +x", False),
        ("a x", False),
    ],
)
def test_a_dash_is_any_of_five(text: str, outcome: bool) -> None:
    assert text_predicate(Text((ANY, " ", DASH, "x")))(text) is outcome


@pytest.mark.parametrize("wild", [ONE, ANY])
def test_lone_surrogates_are_characters_like_others(wild: Wild) -> None:
    assert text_predicate(Text(("a", wild, "b")))("a\ud800b")
    assert not text_predicate(Text(("a", ONE, "\ufffe")))("a\ud800b")
    assert not regex_predicate(r"\?")("\ud800")


needles = st.lists(st.text("abc\u0130é", max_size=6), min_size=1, max_size=30)


@given(needles, st.text("abc\u0130é", max_size=40), st.integers(0, 300))
def test_any_of_many_agrees_with_one_after_the_other(wanted: list[str], text: str, repeat: int) -> None:
    # Repeated, the text is long enough for the automaton.
    long = text * repeat
    assert AnyOf(wanted).within(long) is any(needle in long for needle in wanted)


def test_needles_too_long_or_too_many_for_an_automaton_are_found_as_well() -> None:
    wanted = [f"{n:04}" + "x" * (n % 700) for n in range(2000)] + ["y" * 5000, "\ud800z"]
    any_of = AnyOf(wanted)
    padding = "." * 20_000
    for needle in (wanted[0], wanted[699], wanted[1999], wanted[2000], wanted[2001]):
        assert any_of.within(padding + needle)
    assert not any_of.within(padding + "y" * 4999)
    assert not any_of.within(padding + "\ufffdz")


def test_nothing_is_no_needle() -> None:
    assert not AnyOf(())
    assert not AnyOf(()).within("x")


def test_position_of_a_regular_expression_is_in_characters() -> None:
    assert regex_position("b+", "éé😀bbb") == 3
    assert regex_position("x", "éé") == 0


@pytest.mark.parametrize(
    ("text", "found"),
    [("a cafe", False), ("a café", True), ("at the bar", True), ("☂", True), ("", False), ("ba", False)],
)
def test_texts_of_ascii_are_searched_for_needles_of_ascii_alone(text: str, found: bool) -> None:
    assert AnyOf(["café", "bar", "☂"]).within(text) is found
    assert AnyOf(["café", "☂"]).within(text) is (found and "bar" not in text)
    # Whatever there is of the one kind, an empty needle stands in every text.
    assert AnyOf(["☂", ""]).within(text)
