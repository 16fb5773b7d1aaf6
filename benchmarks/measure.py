"""Measuring: contenders take turns, CPU time is counted, medians are compared.

The machines are shared and noisy, so that single figures mean little: what is quoted is the median of several
interleaved rounds, and ratios within one run.
"""

from __future__ import annotations

import statistics
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

__all__ = ["interleave", "table"]


async def interleave(
    contenders: Mapping[str, Callable[[], Awaitable[int]]], rounds: int
) -> dict[str, list[float]]:
    """Run every contender in each round, after one round that does not count.

    Args:
        contenders: name → what does the work and returns the number of events.
        rounds: how many rounds count.

    Returns:
        Name → microseconds of this process' CPU an event, a figure a round.
    """
    figures: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in range(rounds + 1):
        for name, work in contenders.items():
            began = time.process_time_ns()
            events = await work()
            spent_us = (time.process_time_ns() - began) / 1000
            if turn:
                figures[name].append(spent_us / events)
    return figures


def table(figures: Mapping[str, list[float]], floor: str) -> str:
    """Return a table of medians and of how many times cheaper than `floor` each one is."""
    base = statistics.median(figures[floor])
    width = max(map(len, figures))
    lines = [f"{'':{width}}  µs/event (median, min–max)   ratio to '{floor}'"]
    for name, values in figures.items():
        middle = statistics.median(values)
        spread = f"{min(values):.2f}–{max(values):.2f}"
        lines.append(f"{name:{width}}  {middle:8.2f} ({spread:>15})   {base / middle:6.2f}×")
    return "\n".join(lines)
