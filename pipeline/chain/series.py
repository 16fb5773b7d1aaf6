"""Series: the authentic records of one source and key in a partition, in the order in which they lie there.

A handler numbers them upwards, and each names the one before it. So a record that names one that has not
been seen tells of a removal; one with a lower number than the last has been seen before, or is one that was
missing. Memory does not grow with the records: numbers that were seen are not kept, those that are missing
are.
"""

from __future__ import annotations

import bisect
import enum
import operator

import msgspec

__all__ = ["Gap", "Run", "Series", "Step"]

_high = operator.attrgetter("high")


class Gap(msgspec.Struct, frozen=True, gc=False):
    """Records that are missing: the one numbered `high`, and what was sent between `low` and that.

    Attributes:
        low: the number below it; that record is there, -1 where the series begins.
        high: the number that a record named.
        after: the offset of the record below it, -1 where the series begins.
        before: the offset of the record that named it.
        opening: whether nothing of the series had been seen before that record.
    """

    low: int
    high: int
    after: int
    before: int
    opening: bool = False


class Run(msgspec.Struct):
    """Records that were seen before, in their order.

    Attributes:
        offset: of the first.
        first: its number.
        last: the number of the last one.
        count: how many.
        at_the_end: whether the last one is the series' last: a handler sends again what was not acknowledged,
            so nothing comes between that and what follows.
    """

    offset: int
    first: int
    last: int
    count: int
    at_the_end: bool = False


class Step(enum.Enum):
    """Where a record stands in its series."""

    NEXT = enum.auto()
    """Behind all others, and the one that it names is there."""
    BEYOND = enum.auto()
    """Behind all others; the one that it names is missing. The gap is the series' newest."""
    LATE = enum.auto()
    """It is one that was missing."""
    EARLY = enum.auto()
    """It is one that was missing before the first that was seen."""
    AGAIN = enum.auto()
    """It has been seen. The run of such records is the series'."""


class Series:
    """What is known of a series.

    Attributes:
        last: the highest number; -1 while there is none.
        offset: where the record with that number lies.
        ended: whether it is the handler's last word.
        gaps: what is missing, the lowest first.
        run: the records seen before that came last; None if what came last was new.
    """

    __slots__ = ("ended", "gaps", "last", "offset", "run")

    def __init__(self) -> None:
        self.last = -1
        self.offset = -1
        self.ended = False
        self.gaps: list[Gap] = []
        self.run: Run | None = None

    def take(self, seq: int, previous: int, offset: int) -> Step:
        """Take the next record in.

        Args:
            seq: its number.
            previous: the number that it names, -1 if none.
            offset: where it lies.
        """
        if seq > self.last:
            missing = previous > self.last
            if missing:
                self.gaps.append(Gap(self.last, previous, self.offset, offset, self.last < 0))
            self.last, self.offset = seq, offset
            return Step.BEYOND if missing else Step.NEXT
        gap = self._fill(seq, previous, offset)
        if gap is None:
            return Step.AGAIN
        return Step.EARLY if gap.opening else Step.LATE

    def again(self, seq: int, previous: int, offset: int) -> Run | None:
        """Note a record that was seen before; return the run that ends with it, if there was another."""
        run = self.run
        if run is not None and previous <= run.last < seq:
            run.last, run.count = seq, run.count + 1
            run.at_the_end = seq == self.last
            return None
        self.run = Run(offset, seq, seq, 1, seq == self.last)
        return run

    def end_run(self) -> Run | None:
        """Return the run of records seen before, if the last was one of it; it ends here."""
        run, self.run = self.run, None
        return run

    def has(self, seq: int) -> bool:
        """Whether the record with a number is there, if it was ever sent."""
        return seq <= self.last and self._gap_of(seq) is None

    def _fill(self, seq: int, previous: int, offset: int) -> Gap | None:
        place = self._gap_of(seq)
        if place is None:
            return None
        gap = self.gaps[place]
        left = []
        if previous > gap.low:
            left.append(Gap(gap.low, previous, gap.after, offset, gap.opening))
        if seq < gap.high:
            left.append(Gap(seq, gap.high, gap.after, gap.before, gap.opening))
        self.gaps[place : place + 1] = left
        return gap

    def _gap_of(self, seq: int) -> int | None:
        """Return the place of the gap that a number is in."""
        place = bisect.bisect_left(self.gaps, seq, key=_high)
        return place if place < len(self.gaps) and self.gaps[place].low < seq else None
