"""Timestamps: every spelling of a moment that logs use, as milliseconds since the epoch.

Nothing here raises on what a log says: a time that can't be read is None, and one that can't be true (more
than a day after the record, or before 1980) gives way to the record's own in `settle`.
"""

from __future__ import annotations

import datetime as dt
import re
from functools import lru_cache

__all__ = [
    "DAY_MS",
    "EARLIEST_MS",
    "access",
    "apache",
    "epoch",
    "iso",
    "leading",
    "of_value",
    "rfc3339",
    "settle",
    "syslog",
]

DAY_MS = 86_400_000
EARLIEST_MS = 315_532_800_000
"""The beginning of 1980: nothing that logs today was running before."""

_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_MONTHS = {
    name: number
    for number, name in enumerate(
        ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"), 1
    )
}
_LEADING = re.compile(
    r"\d{4}([-/])\d\d\1\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d{1,9})?(?:Z| ?[+-]\d\d:?\d\d(?!\d))?", re.ASCII
)
_ACCESS = re.compile(r"(\d\d)/([A-Z][a-z]{2})/(\d{4}):(\d\d):(\d\d):(\d\d) ([+-])(\d\d)(\d\d)", re.ASCII)
_APACHE = re.compile(
    r"[A-Z][a-z]{2} ([A-Z][a-z]{2}) {1,2}(\d{1,2}) (\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))? (\d{4})", re.ASCII
)
_SYSLOG = re.compile(r"([A-Z][a-z]{2}) {1,2}(\d{1,2}) (\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?", re.ASCII)
# Between two leap years lie at most eight years (around 2100).
_LEAP_SPAN = 9


def settle(found: int | None, record_ms: int) -> tuple[int, bool]:
    """Return the event's time and whether it is its own.

    Args:
        found: what the event says, milliseconds since the epoch, or None.
        record_ms: what to use when that is missing or absurd.
    """
    if found is None or not EARLIEST_MS <= found <= record_ms + DAY_MS:
        return record_ms, False
    return found, True


def rfc3339(ms: int) -> str:
    """Return `ms`, milliseconds since the epoch, as RFC 3339 in UTC."""
    seconds, rest_ms = divmod(ms, 1000)
    return f"{_second(seconds)}.{rest_ms:03}Z"


@lru_cache(maxsize=1024)
def _second(seconds: int) -> str:
    # Most events are of the same second as one before.
    return (_EPOCH + dt.timedelta(seconds=seconds)).replace(tzinfo=None).isoformat()


def epoch(value: float) -> int | None:
    """Return milliseconds of an epoch number in s, ms, µs or ns; its magnitude says which.

    Seconds from 1980 on and nanoseconds until 5138 do not overlap in any of the four units.
    """
    if not 3e8 <= value < 1e20:
        return None
    if value < 1e11:
        return int(value * 1000 + 0.0005)
    if value < 1e14:
        return int(value)
    return int(value // 1000) if value < 1e17 else int(value // 1_000_000)


def iso(text: str, zone: dt.tzinfo) -> int | None:
    """Return milliseconds of an ISO 8601 or RFC 3339 time with the date in front.

    Args:
        text: date and time parted by a space or `T`, a fraction after a dot or comma, any offset.
        zone: what a time without an offset is in.
    """
    try:
        moment = dt.datetime.fromisoformat(text)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=zone)
        # Half a microsecond: a double holds today's seconds to a quarter of one, and floors must not slip.
        return int(moment.timestamp() * 1000 + 0.0005)
    except (ValueError, OverflowError):
        return None


def of_value(value: object, zone: dt.tzinfo) -> int | None:
    """Return milliseconds of a decoded value: ISO text, an epoch number, or such a number as text."""
    if type(value) is str:
        if value[4:5] == "-":
            return iso(value, zone) if len(value) <= 40 else None
        if len(value) <= 24 and value.isascii():
            if value.isdigit():
                return epoch(int(value))
            if value.replace(".", "", 1).isdigit():
                return epoch(float(value))
            found = leading(value, zone)
            return found[0] if found and found[1] == len(value) else None
        return None
    return epoch(value) if isinstance(value, int | float) and type(value) is not bool else None


def leading(text: str, zone: dt.tzinfo, start: int = 0) -> tuple[int, int] | None:
    """Return (milliseconds, end) of an ISO-like time that stands at `start`, or None.

    Dates with slashes (Go, nginx) and offsets after a space (gunicorn) are understood as well.
    """
    match = _LEADING.match(text, start)
    if match is None:
        return None
    found = match.group()
    # A second space is the one before an offset.
    found = f"{found[:11].replace('/', '-')}{found[11:].replace(' ', '')}"
    ms = iso(found, zone)
    return None if ms is None else (ms, match.end())


def access(text: str, zone: dt.tzinfo) -> int | None:
    """Return milliseconds of an access log's time (`10/Oct/2000:13:55:36 -0700`), or of an ISO one."""
    match = _ACCESS.fullmatch(text)
    if match is None:
        return iso(text, zone) if len(text) <= 40 and text[4:5] == "-" else None
    day, month, year, hour, minute, second, sign, off_hours, off_minutes = match.groups()
    ms = _build(year, month, day, (hour, minute, second, None), dt.UTC)
    if ms is None:
        return None
    offset_ms = (int(off_hours) * 60 + int(off_minutes)) * 60_000
    return ms - offset_ms if sign == "+" else ms + offset_ms


def apache(text: str, zone: dt.tzinfo) -> int | None:
    """Return milliseconds of an Apache error log's time (`Sun Dec 04 04:47:44.123456 2005`)."""
    match = _APACHE.fullmatch(text)
    if match is None:
        return None
    month, day, hour, minute, second, fraction, year = match.groups()
    return _build(year, month, day, (hour, minute, second, fraction), zone)


def syslog(text: str, zone: dt.tzinfo, record_ms: int) -> int | None:
    """Return milliseconds of an RFC 3164 time (`Dec 10 06:55:46`), which names no year.

    The year is the latest that has such a day and puts the time no more than a day after the record.

    Args:
        text: the time.
        zone: what it is in.
        record_ms: when the record was made or read, milliseconds since the epoch.
    """
    match = _SYSLOG.fullmatch(text)
    if match is None:
        return None
    month, day, *clock, fraction = match.groups()
    try:
        last = (_EPOCH + dt.timedelta(milliseconds=record_ms + DAY_MS)).year
    except OverflowError:
        return None
    hour, minute, second = clock
    for year in range(last + 1, last - _LEAP_SPAN, -1):
        ms = _build(year, month, day, (hour, minute, second, fraction), zone)
        if ms is not None and ms <= record_ms + DAY_MS:
            return ms
    return None


def _build(
    year: str | int, month: str, day: str, clock: tuple[str, str, str, str | None], zone: dt.tzinfo
) -> int | None:
    hour, minute, second, fraction = clock
    try:
        moment = dt.datetime(
            int(year),
            _MONTHS.get(month, 0),
            int(day),
            int(hour),
            int(minute),
            int(second),
            int(fraction[:6].ljust(6, "0")) if fraction else 0,
            zone,
        )
        return int(moment.timestamp() * 1000 + 0.0005)
    except (ValueError, OverflowError):
        return None
