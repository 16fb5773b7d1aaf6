"""How numbers of things are said to people."""

from __future__ import annotations

__all__ = ["some"]


def some(n: int, one: str, many: str = "") -> str:
    """Return a number with its noun: `1 event`, `1,200 events`.

    Args:
        n: how many.
        one: the noun.
        many: its plural, where that is not made with an s.
    """
    return f"{n:,} {one if n == 1 else many or one + 's'}"
