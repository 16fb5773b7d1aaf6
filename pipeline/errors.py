"""Errors that a person reads: what was wrong, where, and what would have been right."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["ConfigError", "DecodeError", "RuleError", "TocsinError", "nearest"]


_MOST_LISTED = 50


class TocsinError(Exception):
    """The root of all errors that Tocsin raises on purpose; its text is meant for a person."""


class _LocatedError(TocsinError):
    """An error at a place: a file, a line in it, a path within the document."""

    def __init__(self, message: str, *, file: str = "", line: int = 0, path: str = "") -> None:
        self.message = message
        self.file = file
        self.line = line
        self.path = path
        super().__init__(message)

    def __str__(self) -> str:
        place = self.file
        if self.line:
            place += f":{self.line}"
        if self.path:
            place += f": {self.path}" if place else self.path
        return f"{place}: {self.message}" if place else self.message


class ConfigError(_LocatedError):
    """The configuration can't be used as it is written."""


class RuleError(_LocatedError):
    """A rule can't be loaded as it is written."""


class DecodeError(TocsinError):
    """Bytes are not what their format says; the event is matched as raw text instead."""


def nearest(name: str, valid: Iterable[str]) -> str:
    """Return a hint naming the closest valid name, or all of them when none is close and they are few.

    Args:
        name: what was written.
        valid: the names that would have been right.
    """
    names = sorted(valid)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    if close:
        return f"did you mean {close[0]!r}?"
    if len(names) > _MOST_LISTED:
        return f"none of the {len(names):,} there are is like it"
    return "valid: " + ", ".join(names)
