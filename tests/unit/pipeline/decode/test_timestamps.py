from __future__ import annotations

import datetime as dt
import zoneinfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.decode import timestamps

UTC = dt.UTC
T = 1_795_523_696_000  # 2026-11-24T12:34:56Z


def ms(text: str) -> int:
    return int(dt.datetime.fromisoformat(f"{text}+00:00").timestamp()) * 1000


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-24T12:34:56.123456Z", T + 123),
        ("2026-11-24 12:34:56,123", T + 123),
        ("2026-11-24 12:34:56.123", T + 123),
        ("2026-11-24T12:34:56Z", T),
        ("2026-11-24T14:34:56+02:00", T),
        ("2026-11-24T14:34:56+0200", T),
        ("2026-11-24T07:04:56.123456789-05:30", T + 123),
        ("2026/11/24 12:34:56", T),
        ("2026-11-24", ms("2026-11-24T00:00:00")),
    ],
)
def test_iso_variants_are_read(text: str, expected: int) -> None:
    assert timestamps.of_value(text, UTC) == expected


@pytest.mark.parametrize(
    "number", [T // 1000, T, T * 1000, T * 1_000_000, str(T // 1000), str(T * 1_000_000), f"{T // 1000}.0"]
)
def test_an_epoch_number_is_read_by_its_magnitude(number: object) -> None:
    assert timestamps.of_value(number, UTC) == T


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        False,
        [],
        {},
        "",
        "yesterday",
        "2026-13-45T00:00:00Z",
        "2026-11-24T25:00:00Z",
        "9" * 400,
        10**400,
        -(10**400),
        -1,
        0,
        12,
        float("inf"),
        float("-inf"),
        float("nan"),
        "²²²²²²²²²²",
        "1.5.5",
        "2026-11-24T12:34:56Z trailing",
        "٢٠٢٦-11-24T12:34:56Z",
        "2026-11-24T12:34:56Z" + " " * 10_000,
    ],
)
def test_what_is_no_time_is_none(value: object) -> None:
    assert timestamps.of_value(value, UTC) is None


@given(st.one_of(st.text(max_size=50), st.integers(), st.floats(), st.booleans(), st.none()))
def test_no_value_raises(value: object) -> None:
    found = timestamps.of_value(value, UTC)
    assert found is None or isinstance(found, int)


@given(st.datetimes(dt.datetime(1980, 1, 1), dt.datetime(2100, 1, 1)))  # noqa: DTZ001 - the zone is added below
def test_microseconds_are_floored_to_milliseconds(moment: dt.datetime) -> None:
    exact = (moment - dt.datetime(1970, 1, 1)) // dt.timedelta(milliseconds=1)  # noqa: DTZ001 - both naive
    assert timestamps.iso(f"{moment.isoformat(timespec='microseconds')}Z", UTC) == exact
    assert timestamps.iso(timestamps.rfc3339(exact), UTC) == exact


def test_a_time_without_offset_is_in_the_given_zone() -> None:
    berlin = zoneinfo.ZoneInfo("Europe/Berlin")
    assert timestamps.iso("2026-11-24 13:34:56", berlin) == T
    assert timestamps.iso("2026-11-24 12:34:56Z", berlin) == T
    assert timestamps.syslog("Nov 24 13:34:56", berlin, T) == T
    assert timestamps.apache("Tue Nov 24 13:34:56 2026", berlin) == T


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (T, (T, True)),
        (T + timestamps.DAY_MS, (T + timestamps.DAY_MS, True)),
        (T + timestamps.DAY_MS + 1, (T, False)),
        (timestamps.EARLIEST_MS, (timestamps.EARLIEST_MS, True)),
        (timestamps.EARLIEST_MS - 1, (T, False)),
        (None, (T, False)),
    ],
)
def test_an_absurd_time_gives_way_to_the_record(found: int | None, expected: tuple[int, bool]) -> None:
    assert timestamps.settle(found, T) == expected


@pytest.mark.parametrize(
    ("text", "record", "expected"),
    [
        ("Nov 24 12:34:56", ms("2026-11-24T12:40:00"), ms("2026-11-24T12:34:56")),
        ("Dec 31 23:59:59", ms("2027-01-01T00:01:00"), ms("2026-12-31T23:59:59")),
        # A clock that runs ahead over New Year.
        ("Jan  1 00:00:10", ms("2026-12-31T23:59:00"), ms("2027-01-01T00:00:10")),
        ("Nov 26 00:00:00", ms("2026-11-24T00:00:00"), ms("2025-11-26T00:00:00")),
        ("Feb 29 01:02:03", ms("2026-11-24T00:00:00"), ms("2024-02-29T01:02:03")),
        ("Feb 29 01:02:03", ms("2103-01-01T00:00:00"), ms("2096-02-29T01:02:03")),
        ("Dec 1 06:55:46.25", ms("2026-12-02T00:00:00"), ms("2026-12-01T06:55:46") + 250),
    ],
)
def test_syslog_takes_the_latest_year_not_a_day_ahead(text: str, record: int, expected: int) -> None:
    assert timestamps.syslog(text, UTC, record) == expected


@pytest.mark.parametrize("text", ["Feb 30 01:02:03", "Foo 10 01:02:03", "Nov 24 25:00:00", "Nov 00 01:02:03"])
def test_a_day_that_never_was_is_none(text: str) -> None:
    assert timestamps.syslog(text, UTC, T) is None


@pytest.mark.parametrize("record", [-(10**30), 10**30])
def test_an_impossible_record_time_is_survived(record: int) -> None:
    assert timestamps.syslog("Nov 24 12:34:56", UTC, record) is None


def test_access_and_apache_times_are_read() -> None:
    assert timestamps.access("24/Nov/2026:05:34:56 -0700", UTC) == T
    assert timestamps.access("24/Nov/2026:14:34:56 +0200", UTC) == T
    assert timestamps.access("2026-11-24T12:34:56+00:00", UTC) == T
    assert timestamps.access("24/Xyz/2026:05:34:56 -0700", UTC) is None
    assert timestamps.apache("Tue Nov 24 12:34:56.123456 2026", UTC) == T + 123
    assert timestamps.apache("Tue Nov 31 12:34:56 2026", UTC) is None


@pytest.mark.parametrize(
    ("text", "length"),
    [
        ("2026-11-24 12:34:56,123 rest", 23),
        ("2026-11-24 12:34:56 +0000] rest", 25),
        ("2026-11-24T12:34:56Z", 20),
        ("2026/11/24 12:34:56 rest", 19),
    ],
)
def test_a_leading_time_ends_where_it_ends(text: str, length: int) -> None:
    found = timestamps.leading(text, UTC)
    assert found is not None
    assert found[0] // 1000 == T // 1000
    assert found[1] == length
