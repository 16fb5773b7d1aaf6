"""Checking one partition: each record in the order of offsets, in a memory that does not grow with them.

What can be told of a record at once is told at once. What is missing may still come, further on or in another
partition, since a topic can grow: so gaps are kept until the whole topic has been read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from pipeline.chain.finding import Kind
from pipeline.chain.form import Claim, Flaw, chain_key_id
from pipeline.chain.reporter import Reporter
from pipeline.chain.series import Gap, Series, Step

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipeline.chain.finding import Findings
    from pipeline.chain.form import ChainKeys, Place, StoredRecord
    from pipeline.chain.reporter import Name
    from pipeline.chain.series import Run

__all__ = ["Limits", "Mark", "PartitionCheck", "PartitionCounts"]

# What a handler says as a process ends; it writes it near the beginning, and no text within an event can hold
# these quotation marks.
_GOODBYE = b'"event":"logging ends","logger":"producers"'
_HEAD_BYTES = 2_048
# Flaws that many records in a row may have, all of them for one reason.
_KINDS_OF_RUNS: Final = {
    Flaw.UNCHAINED: Kind.UNCHAINED,
    Flaw.UNKNOWN_KEY: Kind.UNKNOWN_KEY,
    Flaw.BY_BROKER: Kind.ALTERED,
}


class Limits(msgspec.Struct, frozen=True):
    """How much a check remembers of one partition.

    Attributes:
        series: most sources and keys; the one that is longest silent is forgotten.
        gaps: most gaps that are kept to see whether they close.
        doubtful_series: most sources and keys of which records that aren't authentic are remembered.
        doubtful_records: most of these records; beyond them, the sources and keys go whose such records
            began to come first.
    """

    series: int = 250_000
    gaps: int = 10_000
    doubtful_series: int = 2_000
    doubtful_records: int = 20_000


class Mark(msgspec.Struct, frozen=True):
    """An authentic record, by which a later check tells whether the log still is the same.

    Attributes:
        partition: where it lies.
        offset: likewise.
        mac: its MAC.
    """

    partition: int
    offset: int
    mac: bytes


class PartitionCounts(msgspec.Struct):
    """What there was in a partition.

    Attributes:
        records: records.
        authentic: those that bear a MAC that fits.
        unchained: those that bear no chain.
        unknown_key: those that are chained with a key that was not given.
        repeated: authentic ones that were there before, in a row, as a handler may leave them.
        dropped: numbers that handlers used up for records that they dropped.
        series: sources and keys.
        ended: those whose last record is their handler's last word, so that nothing is missing behind it.
        forgotten: those of them that were forgotten for lack of room.
    """

    records: int = 0
    authentic: int = 0
    unchained: int = 0
    unknown_key: int = 0
    repeated: int = 0
    dropped: int = 0
    series: int = 0
    ended: int = 0
    forgotten: int = 0


class _Doubtful(msgspec.Struct, frozen=True):
    """A record that isn't authentic, as far as its claim may matter.

    Attributes:
        offset: where it lies.
        claim: what it says.
        flaw: why it isn't.
        handle: of its own finding; None if it has none.
    """

    offset: int
    claim: Claim
    flaw: Flaw
    handle: int | None


class _FlawedRun(msgspec.Struct):
    """Records one after the other with the same flaw."""

    flaw: Flaw
    key_id: str
    offset: int
    last: int
    count: int = 1


class PartitionCheck:
    """Checks the records of one partition.

    Attributes:
        number: which one.
        start: the offset that reading begins with.
        end: the offset behind the last record read.
        counts: what there was.
        mark: the last authentic record, None while there is none.
    """

    def __init__(
        self,
        place: Place,
        keys: ChainKeys,
        findings: Findings,
        limits: Limits,
        *,
        start: int,
        whole: bool,
        known: Mark | None = None,
    ) -> None:
        """Begin.

        Args:
            place: the partition.
            keys: what to check with.
            findings: where to put what is found.
            limits: how much to remember.
            start: the offset that reading begins with.
            whole: whether no record ever lay before that.
            known: the last authentic record as an earlier check saw it.
        """
        self.number = place.partition
        self.start = self.end = start
        self.counts = PartitionCounts()
        self.mark: Mark | None = None
        self._place = place
        self._keys = keys
        self._reporter = Reporter(place.partition, findings)
        self._unchained_expected = not findings.is_suspicious(Kind.UNCHAINED)
        self._limits = limits
        self._whole = whole
        self._known = known
        self._series: dict[Name, Series] = {}
        self._gaps = 0
        self._doubtful: dict[Name, dict[int, _Doubtful]] = {}
        self._doubts = 0
        self._flawed_run: _FlawedRun | None = None

    def record(self, record: StoredRecord) -> None:
        """Check the next record."""
        if record.offset > self.end:
            self._hole(record.offset)
        self.end = record.offset + 1
        self.counts.records += 1
        claim, flaw = self._keys.read(record, self._place)
        known = self._known
        if known is not None and record.offset == known.offset:
            mac = claim.mac if claim is not None and flaw is None else None
            if mac != known.mac:
                self._reporter.other(record.offset)
        if flaw is not None:
            self._flawed(record, claim, flaw)
        elif claim is not None:
            self._end_flawed_run()
            self._authentic(claim, record)

    def finish(self, end: int) -> None:
        """Say that all has been read; what is missing is left to `report_gaps`.

        Args:
            end: where the partition ends.
        """
        if end > self.end:
            self._hole(end)
            self.end = end
        self._end_flawed_run()
        for name, series in self._series.items():
            self._seen_before(name, series.end_run())
            self.counts.ended += series.ended
        self.counts.series = len(self._series) + self.counts.forgotten
        if self._known is not None and self._known.offset >= end:
            self._reporter.cut(end, self._known.offset)

    def gaps(self) -> Iterator[tuple[Name, Gap]]:
        """Return what is missing, and of which source and key."""
        for name, series in self._series.items():
            for gap in series.gaps:
                yield name, gap

    def has(self, name: Name, seq: int) -> bool:
        """Whether the record of a source and key that has a number is here, if it was ever sent."""
        series = self._series.get(name)
        return series is not None and series.has(seq)

    def report_gap(self, name: Name, gap: Gap) -> None:
        """Report what is missing for good."""
        if gap.opening and (not self._whole or self.counts.forgotten):
            self._reporter.beginning(name, gap)
        else:
            self._reporter.missing(name, gap)

    def _authentic(self, claim: Claim, record: StoredRecord) -> None:
        seq, previous, offset = claim.seq, -1 if claim.previous is None else claim.previous, record.offset
        name = (claim.source, claim.key)
        self.counts.authentic += 1
        self.mark = Mark(self.number, offset, claim.mac)
        # Taken out and put in again: the first one is the one that is longest silent.
        series = self._series.pop(name, None) or self._new_series()
        self._series[name] = series
        if seq > series.last:
            self.counts.dropped += seq - max(previous, series.last) - 1
            series.ended = _GOODBYE in (record.value or b"")[:_HEAD_BYTES]
        gaps = len(series.gaps)
        step = series.take(seq, previous, offset)
        if step is Step.AGAIN or (step is Step.EARLY and not self._whole):
            # What was cut off the beginning may be repeated just as well.
            self._seen_before(name, series.again(seq, previous, offset))
        else:
            self._seen_before(name, series.end_run())
        if step is Step.BEYOND:
            self._fill(name, series)
        elif step is Step.LATE or (step is Step.EARLY and self._whole):
            self._reporter.late(offset, claim, series.last, series.offset)
        self._gaps += len(series.gaps) - gaps
        if self._gaps > self._limits.gaps and series.gaps:
            self._gaps -= 1
            self.report_gap(name, series.gaps.pop(0))
        if name in self._doubtful:
            self._settle_doubtful(name, series)

    def _new_series(self) -> Series:
        if len(self._series) >= self._limits.series:
            name = next(iter(self._series))
            series = self._series.pop(name)
            self._seen_before(name, series.end_run())
            for gap in series.gaps:
                self.report_gap(name, gap)
            self._gaps -= len(series.gaps)
            self.counts.ended += series.ended
            self.counts.forgotten += 1
        return Series()

    def _seen_before(self, name: Name, run: Run | None) -> None:
        if run is not None:
            self.counts.repeated += run.count if run.at_the_end else 0
            self._reporter.seen_before(name, run)

    def _fill(self, name: Name, series: Series) -> None:
        """See whether records that aren't authentic stand where the newest gap is."""
        gap = series.gaps.pop()
        doubtful = self._doubtful.get(name, {})
        high = gap.high
        while high > gap.low and high in doubtful and doubtful[high].offset > gap.after:
            one = doubtful.pop(high)
            self._doubts -= 1
            previous = one.claim.previous
            high = gap.low if previous is None else max(gap.low, previous)
            self._reporter.stands_for(one.offset, one.flaw, one.claim, high, one.handle)
        if high > gap.low:
            series.gaps.append(msgspec.structs.replace(gap, high=high))

    def _settle_doubtful(self, name: Name, series: Series) -> None:
        """Judge records that aren't authentic by those that have come since."""
        doubtful = self._doubtful[name]
        for seq in [seq for seq in doubtful if seq <= series.last]:
            one = doubtful.pop(seq)
            self._doubts -= 1
            if one.handle is not None and series.has(seq):
                self._reporter.surplus(one.offset, one.flaw, one.claim, one.handle)
        if not doubtful:
            del self._doubtful[name]

    def _flawed(self, record: StoredRecord, claim: Claim | None, flaw: Flaw) -> None:
        handle = None
        if flaw in _KINDS_OF_RUNS:
            self._count_flawed(record, flaw)
        else:
            self._end_flawed_run()
            handle = self._reporter.flawed(record.offset, flaw, claim, record.key)
        if claim is None:
            return
        name = (claim.source, claim.key)
        series = self._series.get(name)
        if series is not None and claim.seq <= series.last:
            if handle is not None and series.has(claim.seq):
                self._reporter.surplus(record.offset, flaw, claim, handle)
            return
        self._doubt(name, _Doubtful(record.offset, claim, flaw, handle))

    def _doubt(self, name: Name, one: _Doubtful) -> None:
        """Remember a record that isn't authentic, until what follows tells whether it stands for another."""
        kept = self._doubtful.setdefault(name, {})
        if one.claim.seq not in kept:
            kept[one.claim.seq] = one
            self._doubts += 1
        limits = self._limits
        while len(self._doubtful) > limits.doubtful_series or self._doubts > limits.doubtful_records:
            self._doubts -= len(self._doubtful.pop(next(iter(self._doubtful))))

    def _count_flawed(self, record: StoredRecord, flaw: Flaw) -> None:
        self.counts.unchained += flaw is Flaw.UNCHAINED
        self.counts.unknown_key += flaw is Flaw.UNKNOWN_KEY
        key_id = chain_key_id(record) if flaw is Flaw.UNKNOWN_KEY else ""
        run = self._flawed_run
        if run is not None and (run.flaw, run.key_id) == (flaw, key_id):
            run.last, run.count = record.offset, run.count + 1
        else:
            self._end_flawed_run()
            self._flawed_run = _FlawedRun(flaw, key_id, record.offset, record.offset)

    def _end_flawed_run(self) -> None:
        run, self._flawed_run = self._flawed_run, None
        if run is None or (run.flaw is Flaw.UNCHAINED and self._unchained_expected):
            return
        what = f"{run.flaw.value}: {run.key_id}" if run.key_id else run.flaw.value
        self._reporter.flawed_run(_KINDS_OF_RUNS[run.flaw], run.offset, run.last, run.count, what)

    def _hole(self, until: int) -> None:
        self._end_flawed_run()
        self._reporter.hole(self.end, until)
        if self._known is not None and self.end <= self._known.offset < until:
            self._reporter.gone(until, self._known.offset)
