"""Durations as Prometheus writes them (`1h30m`, `30s`, `250ms`), in milliseconds.

Source: Prometheus' configuration, `<duration>`: `((([0-9]+)y)?(([0-9]+)w)?…(([0-9]+)ms)?|0)`.
"""

from __future__ import annotations

import re

__all__ = ["parse_duration", "show_duration"]

_UNITS = {
    "y": 31_536_000_000,
    "w": 604_800_000,
    "d": 86_400_000,
    "h": 3_600_000,
    "m": 60_000,
    "s": 1000,
    "ms": 1,
}
_FORM = re.compile(
    r"(?:(\d+)y)?(?:(\d+)w)?(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?(?:(\d+)ms)?", re.ASCII
)


def parse_duration(text: str) -> int:
    """Return the milliseconds that `text` stands for.

    Raises:
        ValueError: the text is not a duration.
    """
    if text == "0":
        return 0
    found = _FORM.fullmatch(text)
    if not text or found is None:
        raise ValueError(f"{text!r} is not a duration; write it as 30s, 5m or 1h30m")
    return sum(int(n) * unit for n, unit in zip(found.groups(), _UNITS.values(), strict=True) if n)


def show_duration(ms: int) -> str:
    """Return a text that `parse_duration` reads as `ms`: days and smaller, `0s` for nothing."""
    if ms <= 0:
        return "0s"
    text = ""
    for name, unit in _UNITS.items():
        # A week reads worse than its days.
        if name in "yw":
            continue
        n, ms = divmod(ms, unit)
        text += f"{n}{name}" if n else ""
    return text
