"""Windows: what is counted of the events within a timespan.

A window type says how one event adds to the measure and how it leaves; the timeline says when. Another
correlation type is another class here and a line in `WINDOWS`.
"""

from __future__ import annotations

from collections import deque
from typing import Protocol

from pipeline.sigma.form import CorrelationType

__all__ = ["WINDOWS", "EventCount", "ValueCount", "Window"]


class Window(Protocol):
    """The events of one group within the timespan, in time order. Times are milliseconds since the epoch."""

    @property
    def oldest_ms(self) -> int | None:
        """Time of the oldest event; None of an empty window."""
        ...

    @property
    def youngest_ms(self) -> int | None:
        """Time of the youngest event; None of an empty window."""
        ...

    def __len__(self) -> int:
        """Return the number of events."""
        ...

    def add(self, time_ms: int, value: str | None) -> None:
        """Take an event at the young end."""
        ...

    def drop(self) -> None:
        """Let go of the oldest event."""
        ...

    def measure(self) -> float:
        """Return what the rule's thresholds are compared with."""
        ...

    def entries(self) -> list[tuple[int, str | None]]:
        """Return the events as (time, value), oldest first."""
        ...

    def clear(self) -> None:
        """Forget all events: they are spent."""
        ...


class EventCount:
    """How many events."""

    __slots__ = ("_times",)

    def __init__(self) -> None:
        self._times: deque[int] = deque()

    @property
    def oldest_ms(self) -> int | None:
        """See `Window`."""
        return self._times[0] if self._times else None

    @property
    def youngest_ms(self) -> int | None:
        """See `Window`."""
        return self._times[-1] if self._times else None

    def __len__(self) -> int:
        return len(self._times)

    def add(self, time_ms: int, value: str | None) -> None:
        """See `Window`; the value is of no interest."""
        del value
        self._times.append(time_ms)

    def drop(self) -> None:
        """See `Window`."""
        self._times.popleft()

    def measure(self) -> float:
        """Return the number of events."""
        return len(self._times)

    def entries(self) -> list[tuple[int, str | None]]:
        """See `Window`."""
        return [(t, None) for t in self._times]

    def clear(self) -> None:
        """See `Window`."""
        self._times.clear()


class ValueCount:
    """How many distinct values. An event without the value adds nothing and is not kept."""

    __slots__ = ("_counts", "_entries")

    def __init__(self) -> None:
        self._entries: deque[tuple[int, str]] = deque()
        # Kept per value, so that an event that leaves costs a subtraction and not a recount.
        self._counts: dict[str, int] = {}

    @property
    def oldest_ms(self) -> int | None:
        """See `Window`."""
        return self._entries[0][0] if self._entries else None

    @property
    def youngest_ms(self) -> int | None:
        """See `Window`."""
        return self._entries[-1][0] if self._entries else None

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, time_ms: int, value: str | None) -> None:
        """See `Window`."""
        if value is None:
            return
        self._entries.append((time_ms, value))
        self._counts[value] = self._counts.get(value, 0) + 1

    def drop(self) -> None:
        """See `Window`."""
        _, value = self._entries.popleft()
        if self._counts[value] == 1:
            del self._counts[value]
        else:
            self._counts[value] -= 1

    def measure(self) -> float:
        """Return the number of distinct values."""
        return len(self._counts)

    def entries(self) -> list[tuple[int, str | None]]:
        """See `Window`."""
        return list(self._entries)

    def clear(self) -> None:
        """See `Window`."""
        self._entries.clear()
        self._counts.clear()


WINDOWS: dict[CorrelationType, type[EventCount | ValueCount]] = {
    CorrelationType.EVENT_COUNT: EventCount,
    CorrelationType.VALUE_COUNT: ValueCount,
}
