"""The clocks: the one place that reads them; everything else takes the time as an argument."""

from __future__ import annotations

import time

__all__ = ["now_ms", "timer_ns"]


def now_ms() -> int:
    """Return milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


def timer_ns() -> int:
    """Return nanoseconds from any point, never fewer than before: for how long something takes."""
    return time.perf_counter_ns()
