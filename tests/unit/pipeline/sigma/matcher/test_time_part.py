from __future__ import annotations

import datetime as dt
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.sigma.form import TimePart
from pipeline.sigma.matcher.time_part import part_of, time_part_predicate

Part = Literal["minute", "hour", "day", "week", "month", "year"]
PARTS: tuple[Part, ...] = ("minute", "hour", "day", "week", "month", "year")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("2026-11-24T12:34:56Z", (34, 12, 24, 48, 11, 2026)),
        ("2026-11-24T23:34:56-02:00", (34, 1, 25, 48, 11, 2026)),
        ("2026-11-24T05:15:00+05:30", (45, 23, 23, 48, 11, 2026)),
        ("2026-11-24 12:34:56,789", (34, 12, 24, 48, 11, 2026)),
        ("2027-01-01T00:00:00Z", (0, 0, 1, 53, 1, 2027)),
        (1_795_523_696, (34, 12, 24, 48, 11, 2026)),
        (1_795_523_696_000, (34, 12, 24, 48, 11, 2026)),
        ("1795523696", (34, 12, 24, 48, 11, 2026)),
        (1_795_523_696.9, (34, 12, 24, 48, 11, 2026)),
    ],
)
def test_parts_are_those_of_the_moment_in_utc(value: object, expected: tuple[int, ...]) -> None:
    assert tuple(part_of(part, value) for part in PARTS) == expected


@pytest.mark.parametrize(
    "value",
    [
        "",
        "soon",
        "2026-13-01T00:00:00Z",
        "9" * 5000,
        10**30,
        -1,
        5,
        True,
        None,
        {},
        [1_795_523_696],
        "12:34:56",
    ],
)
def test_what_is_no_time_has_no_part_and_matches_nothing(value: object) -> None:
    assert part_of("hour", value) is None
    assert not time_part_predicate(TimePart("hour", "gte", -1))(value)
    assert not time_part_predicate(TimePart("hour", "lt", 100))(value)


@pytest.mark.parametrize(
    ("op", "below", "same", "above"),
    [
        ("eq", False, True, False),
        ("lt", False, False, True),
        ("lte", False, True, True),
        ("gt", True, False, False),
        ("gte", True, True, False),
    ],
)
def test_a_part_is_compared_with_the_rules_number(
    op: Literal["eq", "lt", "lte", "gt", "gte"], below: bool, same: bool, above: bool
) -> None:
    noon = "2026-11-24T12:34:56Z"
    outcomes = [time_part_predicate(TimePart("hour", op, wanted))(noon) for wanted in (11, 12, 13)]
    assert outcomes == [below, same, above]


@given(st.datetimes(timezones=st.timezones()))
def test_any_moment_has_the_same_parts_whatever_its_offset(moment: dt.datetime) -> None:
    moment = moment.replace(year=2000 + moment.year % 100)
    utc = moment.astimezone(dt.UTC)
    assert part_of("hour", moment.isoformat()) == utc.hour
    assert part_of("day", moment.isoformat()) == utc.day
