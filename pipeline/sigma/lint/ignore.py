"""Comments that turn findings off: `# tocsin: ignore[check-id, other-id]`.

On a line, for that line; before the first key of a document, for all of it. Only a real comment counts, not
the same characters within a text.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from typing import TYPE_CHECKING

import msgspec
import yaml

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Ignore", "Ignores", "ignores"]

_COMMENT = re.compile(r"#\s*tocsin:\s*ignore\b(?P<listed>\[(?P<ids>[^\]\n]*)\])?")
_Place = tuple[int, int]
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class Ignore(msgspec.Struct, frozen=True):
    """One comment.

    Attributes:
        line: where it stands, from 1.
        column: likewise.
        checks: the ids in it; None if there are no brackets.
        first: the first line that it is about.
        last: the last one.
    """

    line: int
    column: int
    checks: tuple[str, ...] | None
    first: int
    last: int


class Ignores(msgspec.Struct, frozen=True):
    """The comments of one text."""

    comments: tuple[Ignore, ...] = ()

    def hide(self, check: str, line: int) -> bool:
        """Return whether a comment turns a check's findings off on a line."""
        return any(check in (c.checks or ()) and c.first <= line <= c.last for c in self.comments)


def ignores(text: str, starts: Sequence[int]) -> Ignores:
    """Find the comments of a text.

    Args:
        text: the whole text, which is valid YAML.
        starts: the line of each document's first key, in their order.
    """
    if "tocsin:" not in text:
        return Ignores()
    heads, within = _outline(text)
    found: list[Ignore] = []
    for number, line in enumerate(text.splitlines(), start=1):
        for match in _COMMENT.finditer(line):
            at = (number, match.start() + 1)
            if _is_within(at, within) or not _begins(line, match.start()):
                continue
            first, last = _range(number, starts, heads)
            ids = None
            if match["listed"] is not None:
                ids = tuple(name for part in match["ids"].split(",") if (name := part.strip()))
            found.append(Ignore(*at, ids or None, first, last))
    return Ignores(tuple(found))


def _is_within(at: _Place, within: list[tuple[_Place, _Place]]) -> bool:
    # Scalars stand in the order of the text, and never within one another.
    before = bisect_right(within, at, key=lambda scalar: scalar[0]) - 1
    return before >= 0 and at < within[before][1]


def _begins(line: str, at: int) -> bool:
    """A comment begins the line, or stands behind a blank (YAML 1.2, "Comments")."""
    return at == 0 or line[at - 1] in " \t"


def _range(number: int, starts: Sequence[int], heads: Sequence[int]) -> tuple[int, int]:
    """Return the lines that a comment is about: those of a document if it stands in its head."""
    for index, start in enumerate(starts):
        if number >= start:
            continue
        head = 1 if index == 0 else max((h for h in heads if h <= start), default=start)
        if number >= head:
            end = starts[index + 1] - 1 if index + 1 < len(starts) else 10**9
            return start, end
        break
    return number, number


def _outline(text: str) -> tuple[list[int], list[tuple[_Place, _Place]]]:
    """Return the lines of the document separators, and where each scalar begins and ends."""
    heads: list[int] = []
    within: list[tuple[_Place, _Place]] = []
    for token in yaml.scan(text, Loader=_Loader):
        begin = (token.start_mark.line + 1, token.start_mark.column + 1)
        if isinstance(token, yaml.DocumentStartToken):
            heads.append(begin[0])
        elif isinstance(token, yaml.ScalarToken):
            within.append((begin, (token.end_mark.line + 1, token.end_mark.column + 1)))
    return heads, within
