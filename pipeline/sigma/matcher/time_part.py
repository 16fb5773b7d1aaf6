"""Parts of a point in time, as the time modifiers compare them: in UTC, whatever offset was written.

A value that is no time has no parts and matches nothing. (Sigma modifiers appendix 2.1.0, "Time".)
"""

from __future__ import annotations

import datetime as dt
import operator
from typing import TYPE_CHECKING

from pipeline.decode.timestamps import of_value

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipeline.sigma.form import TimePart

__all__ = ["part_of", "time_part_predicate"]

_PARTS: dict[str, Callable[[dt.datetime], int]] = {
    "minute": lambda moment: moment.minute,
    "hour": lambda moment: moment.hour,
    "day": lambda moment: moment.day,
    "week": lambda moment: moment.isocalendar().week,
    "month": lambda moment: moment.month,
    "year": lambda moment: moment.year,
}
_OPERATORS: dict[str, Callable[[float, float], bool]] = {
    "eq": operator.eq,
    "lt": operator.lt,
    "lte": operator.le,
    "gt": operator.gt,
    "gte": operator.ge,
}


def time_part_predicate(test: TimePart) -> Callable[[object], bool]:
    """Return a predicate over a field's value: an ISO 8601 text, or an epoch number in s, ms, µs or ns."""
    part, holds, wanted = test.part, _OPERATORS[test.op], test.value

    def matches(value: object) -> bool:
        number = part_of(part, value)
        return number is not None and holds(number, wanted)

    return matches


def part_of(part: str, value: object) -> int | None:
    """Return a part of a time, as `time_part_predicate` compares it, or None if the value is no time.

    Args:
        part: `minute`, `hour`, `day`, `week`, `month` or `year`.
        value: a field's value.
    """
    ms = of_value(value, dt.UTC)
    if ms is None:
        return None
    try:
        moment = dt.datetime.fromtimestamp(ms / 1000, dt.UTC)
    except (ValueError, OverflowError, OSError):
        return None
    return _PARTS[part](moment)
