from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.duration import parse_duration, show_duration


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("0", 0),
        ("0s", 0),
        ("250ms", 250),
        ("30s", 30_000),
        ("5m", 300_000),
        ("1h30m", 5_400_000),
        ("4h", 14_400_000),
        ("1d", 86_400_000),
        ("1w2d", 777_600_000),
        ("1y", 31_536_000_000),
        ("1m1ms", 60_001),
    ],
)
def test_duration_is_read(text: str, ms: int) -> None:
    assert parse_duration(text) == ms


@pytest.mark.parametrize(
    "text", ["", "5", "s", "-5s", "5 s", "1.5h", "5S", "30s1m", "1h1h", "٣s", "5s\n", "forever"]
)
def test_what_is_no_duration_is_refused_and_quoted(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration; write it as 30s, 5m or 1h30m") as raised:
        parse_duration(text)
    assert repr(text) in str(raised.value)


@pytest.mark.parametrize(
    ("ms", "text"), [(0, "0s"), (-1, "0s"), (5_400_000, "1h30m"), (604_800_000, "7d"), (60_001, "1m1ms")]
)
def test_duration_is_shown_as_people_write_it(ms: int, text: str) -> None:
    assert show_duration(ms) == text


@given(st.integers(0, 10**13))
def test_what_is_shown_is_read_as_the_same(ms: int) -> None:
    assert parse_duration(show_duration(ms)) == ms
