from __future__ import annotations

import datetime as dt
import decimal
import enum
import pathlib
import string
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from producers.event.encoding import MIN_EVENT_BYTES, encode, safe_text

LIMIT = 256 * 1024


class Rude:
    """An object whose every way to be shown raises."""

    def __repr__(self) -> str:
        raise RuntimeError("no")

    __str__ = __repr__


class RudeDict(dict[str, object]):
    def items(self) -> Any:
        raise RuntimeError("no")


class Colour(enum.Enum):
    RED = "red"


anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(codec=None))
    | st.binary()
    | st.datetimes()
    | st.decimals()
    | st.complex_numbers()
    | st.builds(Rude)
    | st.sampled_from(Colour),
    lambda inner: (
        st.lists(inner)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text(st.characters(codec=None)) | st.integers() | st.tuples(st.text()), inner)
        | st.builds(RudeDict, st.dictionaries(st.just("a"), inner))
    ),
    max_leaves=20,
)


@given(st.dictionaries(st.text(st.characters(codec=None)), anything))
def test_whatever_is_logged_becomes_one_valid_json_line(fields: dict[str, object]) -> None:
    encoded = encode(fields, LIMIT)
    assert isinstance(orjson.loads(encoded), dict)
    assert b"\n" not in encoded


@given(
    st.dictionaries(st.text(string.ascii_letters), st.text(st.characters(codec="utf-8")) | st.integers(-9, 9))
)
def test_plain_fields_come_back_as_they_were(fields: dict[str, object]) -> None:
    assert orjson.loads(encode(fields, LIMIT)) == fields


@pytest.mark.parametrize(
    ("value", "encoded"),
    [
        (float("nan"), None),
        (2**70, str(2**70)),
        ("\udc80a", "\\udc80a"),
        (b"\xffa", "\\xffa"),
        ({1: "a"}, {"1": "a"}),
        ({("x",): 1}, {"('x',)": 1}),
        ({"s"}, ["s"]),
        (decimal.Decimal("1.20"), "1.20"),
        (pathlib.PurePosixPath("/srv"), "/srv"),
        (Colour.RED, "red"),
        (dt.datetime(2024, 1, 2, tzinfo=dt.UTC), "2024-01-02T00:00:00Z"),
        (Rude(), "<unprintable Rude>"),
        pytest.param(10**5000, "<unprintable int>", id="5,001 digits"),
    ],
)
def test_odd_values_have_a_stated_form(value: object, encoded: object) -> None:
    assert orjson.loads(encode({"v": value}, LIMIT)) == {"v": encoded}


def test_cycle_is_cut_at_a_depth() -> None:
    cycle: list[object] = []
    cycle.append(cycle)
    assert encode({"v": cycle, "w": 1}, LIMIT).endswith(b'"w":1}')


def test_container_that_resists_takes_no_other_field_with_it() -> None:
    fields = {"a": RudeDict(x=2**80), "b": "kept"}
    assert orjson.loads(encode(fields, LIMIT))["b"] == "kept"


@pytest.mark.parametrize(
    "value",
    [
        "x" * 10_000_000,
        "\x00" * 3_000_000,
        ["y" * 9_000] * 1_000,
        {"k" * 9_000 + str(n): n for n in range(999)},
    ],
)
def test_oversize_event_is_cut_and_says_so(value: object) -> None:
    encoded = encode({"event": "first", "v": value}, MIN_EVENT_BYTES)
    assert len(encoded) <= MIN_EVENT_BYTES
    event = orjson.loads(encoded)
    assert (event["event"], event["truncated"]) == ("first", True)


def test_text_is_cut_after_its_limit() -> None:
    assert safe_text("abcdef", 3, str) == "abc…"
