from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.sigma.explanation.describe import MAX_SHOWN, describe, printable, quoted, shown
from pipeline.sigma.form import (
    Compare,
    Exists,
    FieldRef,
    Item,
    Network,
    Null,
    Number,
    Pattern,
    Test,
    Text,
    TimePart,
    Truth,
    Wild,
)
from tests.unit.pipeline.sigma.oracle import items

ANY, ONE, DASH = Wild.ANY, Wild.ONE, Wild.DASH


@pytest.mark.parametrize(
    ("test", "words"),
    [
        (Text(("x",)), "f is 'x'"),
        (Text(()), "f is ''"),
        (Text((ANY, "whoami", ANY)), "f contains 'whoami'"),
        (Text((ANY, "\\cmd.exe")), "f ends with '\\cmd.exe'"),
        (Text(("C:\\", ANY)), "f starts with 'C:\\'"),
        (Text(("C:\\", ANY), cased=True), "f starts with 'C:\\' (cased)"),
        (Text((ANY,)), "f is any text"),
        (Text((ANY, ANY)), "f is any text"),
        (Text(("a", ANY, "b", ONE)), "f is like 'a*b?'"),
        (Text(("a", ONE, "*?")), "f is like 'a?\\*\\?'"),
        (Text(("a*", ANY)), "f starts with 'a*'"),
        (Text((ANY, " ", DASH, "enc", ANY)), "f contains ' -enc' (any dash)"),
        (Text((ANY, DASH, "e")), "f ends with '-e' (any dash)"),
        (Text((DASH, "e", ANY), cased=True), "f starts with '-e' (cased) (any dash)"),
        (Text(("it's",)), 'f is "it\'s"'),
        (Number(4625), "f is 4625"),
        (Number(1.5), "f is 1.5"),
        (Truth(value=True), "f is true"),
        (Null(), "f is null or missing"),
        (Exists(value=True), "f is there"),
        (Exists(value=False), "f is missing"),
        (Pattern("a+b"), "f matches /a+b/"),
        (Pattern("(?is)a+b"), "f matches /a+b/is"),
        (Network("10.0.0.0/8"), "f is in 10.0.0.0/8"),
        (Compare("lt", 5), "f < 5"),
        (Compare("lte", 5), "f ≤ 5"),
        (Compare("gt", 5.5), "f > 5.5"),
        (Compare("gte", 5), "f ≥ 5"),
        (FieldRef("g"), "f is the value of g"),
        (FieldRef("g", "endswith", cased=True), "f ends with the value of g (cased)"),
        (TimePart("hour", "gte", 3), "the hour of f ≥ 3"),
        (TimePart("week", "eq", 3), "the week of f is 3"),
    ],
)
def test_a_test_of_a_field_in_words(test: Test, words: str) -> None:
    assert describe(Item("f", test)) == words


@pytest.mark.parametrize(
    ("test", "words"),
    [
        (Text(("x",)), "anywhere: 'x'"),
        (Text((ANY, "x", ANY)), "anywhere: 'x'"),
        (Text(("x", ANY, "y"), cased=True), "anywhere: 'x*y' (cased)"),
        (Number(5), "anywhere: 5"),
        (Truth(value=False), "anywhere: false"),
        (Pattern("(?i)fail(ed|ure)"), "anywhere: /fail(ed|ure)/i"),
    ],
)
def test_a_keyword_in_words(test: Test, words: str) -> None:
    assert describe(Item(None, test)) == words


@given(items)
def test_any_item_can_be_described_and_printed(item: Item) -> None:
    assert describe(item).isprintable()


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("x", "'x'"),
        (None, "null"),
        (True, "true"),
        (5, "5"),
        (1e300, "1e+300"),
        ({"a": 1}, "an object of 1"),
        ([1, 2], "a list of 2"),
        ("a\x1b[31mb", "'a␛[31mb'"),
        ("a\r\nb\tc\x7f", "'a␍␊b␉c␡'"),
        ("safe\u202egnp.exe", "'safe\\u202egnp.exe'"),
        ("a\u200bb\ufeff\U000e0041", "'a\\u200bb\\ufeff\\U000e0041'"),
        ("\ud800", "'\\ud800'"),
        ("größe 日本 😀", "'größe 日本 😀'"),
    ],
)
def test_a_value_only_shows_itself(value: object, told: str) -> None:
    assert shown(value) == told


@given(st.text(max_size=300), st.integers(0, 400))
def test_whatever_is_shown_is_printable_and_short(text: str, around: int) -> None:
    assert printable(text, around=around).isprintable()
    assert len(printable(text, 20, around)) <= 10 * 20 + 2


@pytest.mark.parametrize(
    ("around", "told"),
    [
        (0, "'" + "a" * MAX_SHOWN + "…' (1,006 characters)"),
        (500, "'…" + "a" * 40 + "needle" + "b" * (MAX_SHOWN - 46) + "…' (1,006 characters)"),
        (1006, "'…" + "b" * MAX_SHOWN + "' (1,006 characters)"),
    ],
)
def test_a_long_text_is_cut_around_what_matters(around: int, told: str) -> None:
    assert quoted("a" * 500 + "needle" + "b" * 500, around) == told
