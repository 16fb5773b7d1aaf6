"""Findings: what is not as a handler wrote it, and where. Kept up to a limit, counted without one."""

from __future__ import annotations

import collections
import enum
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["Finding", "Findings", "Kind"]


class Kind(enum.Enum):
    """What was found; all but the last two are no handler's doing."""

    ALTERED = "altered"
    """A record that isn't what was written there."""
    INSERTED = "inserted"
    """A record that isn't authentic, where none is missing."""
    REMOVED = "removed"
    """A record that another one follows is not there."""
    MOVED = "moved"
    """An authentic record where it doesn't belong: out of its order, or a copy of it."""
    HOLE = "hole"
    """Offsets without a record."""
    CUT = "cut"
    """The log does not go on from where an earlier check saw its end."""
    UNCHAINED = "unchained"
    """Records that no chain covers."""
    UNKNOWN_KEY = "unknown-key"
    """Records that are chained with a key that was not given."""
    REPEATED = "repeated"
    """Authentic records twice in a row, as a handler leaves them when it missed an acknowledgement."""
    BEGINNING = "beginning"
    """A source whose first records stood before the oldest that was read."""


_HONEST = frozenset({Kind.REPEATED, Kind.BEGINNING})


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One finding.

    Attributes:
        kind: what.
        partition: where.
        offset: likewise: the record, or the first of several; where some are missing, the record that tells.
        count: how many records, as far as that is known.
        what: the same for a person, without source and key.
        source: whose records; empty if it can't be told.
        key: likewise.
        first: the number of the first of these records; None if it can't be told.
        last: that of the last.
    """

    kind: Kind
    partition: int
    offset: int
    count: int = 1
    what: str
    source: bytes = b""
    key: bytes = b""
    first: int | None = None
    last: int | None = None


class Findings:
    """The findings of a topic."""

    def __init__(self, limit: int, expected: Iterable[Kind] = ()) -> None:
        """Begin with none.

        Args:
            limit: most findings of each kind to keep: a flood of one kind hides no other.
            expected: the kinds that are no sign of tampering here, beside those that never are.
        """
        self._room = dict.fromkeys(Kind, limit)
        self._expected = _HONEST | set(expected)
        self._kept: dict[int, Finding] = {}
        self._handles = 0
        self.counts: collections.Counter[Kind] = collections.Counter()
        """Findings by kind, those that were not kept as well."""

    def __iter__(self) -> Iterator[Finding]:
        """Return what was kept, in the order of partitions and offsets."""
        return iter(sorted(self._kept.values(), key=lambda f: (f.partition, f.offset, f.kind.value)))

    @property
    def suspicious(self) -> int:
        """How many were found that no handler leaves."""
        return sum(n for kind, n in self.counts.items() if kind not in self._expected)

    @property
    def left_out(self) -> int:
        """How many were counted only."""
        return self.counts.total() - len(self._kept)

    def is_suspicious(self, kind: Kind) -> bool:
        """Whether no handler leaves such."""
        return kind not in self._expected

    def add(self, finding: Finding) -> int:
        """Take a finding in; return its handle, for `replace`."""
        self._handles += 1
        self._put(self._handles, finding)
        return self._handles

    def replace(self, handle: int, was: Kind, finding: Finding) -> None:
        """Put a finding in the place of an earlier one, of which more is known now.

        Args:
            handle: of the earlier one.
            was: its kind.
            finding: the new one.
        """
        self.counts[was] -= 1
        if self._kept.pop(handle, None) is not None:
            self._room[was] += 1
        self._put(handle, finding)

    def _put(self, handle: int, finding: Finding) -> None:
        self.counts[finding.kind] += 1
        if self._room[finding.kind]:
            self._room[finding.kind] -= 1
            self._kept[handle] = finding
