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

__all__ = ["time_part_predicate"]

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
    part, holds, wanted = _PARTS[test.part], _OPERATORS[test.op], test.value

    def matches(value: object) -> bool:
        ms = of_value(value, dt.UTC)
        if ms is None:
            return False
        try:
            moment = dt.datetime.fromtimestamp(ms / 1000, dt.UTC)
        except (ValueError, OverflowError, OSError):
            return False
        return holds(part(moment), wanted)

    return matches
