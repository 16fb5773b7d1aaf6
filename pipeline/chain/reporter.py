"""What is said of each finding in one partition."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.chain.finding import Finding, Kind

if TYPE_CHECKING:
    from pipeline.chain.finding import Findings
    from pipeline.chain.form import Claim, Flaw
    from pipeline.chain.series import Gap, Run

__all__ = ["Name", "Reporter"]

Name = tuple[bytes, bytes]
"""A source and a key: what names a series."""


class Reporter:
    """Puts what is found in one partition into words, and among the findings of its topic."""

    def __init__(self, partition: int, findings: Findings) -> None:
        self._partition = partition
        self._findings = findings

    def flawed(self, offset: int, flaw: Flaw, claim: Claim | None, key: bytes | None) -> int:
        """Report a record that isn't authentic; return the finding's handle, since more may become known."""
        if claim is None:
            return self._add(Kind.ALTERED, offset, flaw.value, (b"", key or b""))
        what = f"{flaw.value}; it says to be record {claim.seq}"
        return self._findings.add(self._claimed(Kind.ALTERED, offset, what, claim))

    def stands_for(self, offset: int, flaw: Flaw, claim: Claim, low: int, handle: int | None) -> None:
        """Report that a record that isn't authentic stands where one is missing.

        Args:
            offset: where.
            flaw: why it isn't.
            claim: which one it says to be.
            low: the number of the one before, as far as it tells.
            handle: of what has been reported of it; None if nothing has.
        """
        what = f"{flaw.value}; record {claim.seq} stood here"
        if claim.seq - low > 1:
            what += f"; whether {low + 1} to {claim.seq - 1} were sent can't be told"
        finding = self._claimed(Kind.ALTERED, offset, what, claim)
        if handle is None:
            self._findings.add(finding)
        else:
            self._findings.replace(handle, Kind.ALTERED, finding)

    def surplus(self, offset: int, flaw: Flaw, claim: Claim, handle: int) -> None:
        """Report that a record that isn't authentic stands where none is missing."""
        what = f"{flaw.value}; it says to be record {claim.seq}, which is not missing"
        self._findings.replace(handle, Kind.ALTERED, self._claimed(Kind.INSERTED, offset, what, claim))

    def flawed_run(self, kind: Kind, offset: int, last: int, count: int, what: str) -> None:
        """Report records one after the other that all have the same flaw."""
        if count > 1:
            what += f"; {count:,} records up to offset {last}"
        self._add(kind, offset, what, count=count)

    def late(self, offset: int, claim: Claim, last: int, last_offset: int) -> None:
        """Report a record that stands behind one that followed it."""
        what = f"record {claim.seq} stands behind record {last} of offset {last_offset}"
        self._findings.add(self._claimed(Kind.MOVED, offset, what, claim))

    def seen_before(self, name: Name, run: Run) -> None:
        """Report records that were seen before."""
        which = f"record {run.first} is" if run.count == 1 else f"records {run.first} to {run.last} are"
        if run.at_the_end:
            kind, what = Kind.REPEATED, "here again, as after a missed acknowledgement"
        else:
            kind, what = Kind.MOVED, "here again, behind others that follow: a copy"
        self._add(kind, run.offset, f"{which} {what}", name, run.count, (run.first, run.last))

    def missing(self, name: Name, gap: Gap) -> None:
        """Report records that are missing for good."""
        behind = f"behind offset {gap.after}" if gap.after >= 0 else "before all others of its source"
        what = f"record {gap.high} is missing before this one; it stood {behind}"
        if gap.high - gap.low > 1:
            what += f"; so is what was sent of {gap.low + 1} to {gap.high - 1}"
        self._add(Kind.REMOVED, gap.before, what, name, 1, (gap.low + 1, gap.high))

    def beginning(self, name: Name, gap: Gap) -> None:
        """Report records that stood before the oldest, or were removed; nobody can tell."""
        what = f"its records up to {gap.high} stood before the oldest that was read, or were removed"
        self._add(Kind.BEGINNING, gap.before, what, name, 1, (gap.low + 1, gap.high))

    def hole(self, offset: int, until: int) -> None:
        """Report offsets without a record."""
        which = f"offset {offset}" if until - offset == 1 else f"offsets {offset} to {until - 1}"
        what = f"{which}: no record; compaction and transactions leave such, handlers don't"
        self._add(Kind.HOLE, offset, what, count=until - offset)

    def cut(self, end: int, known: int) -> None:
        """Report that the log ends before a record that an earlier check read."""
        what = f"the log ends here; an earlier check read offset {known}"
        self._add(Kind.CUT, end, what, count=known - end + 1)

    def gone(self, offset: int, known: int) -> None:
        """Report that the log goes on without a record that an earlier check read."""
        self._add(Kind.CUT, offset, f"an earlier check read offset {known}, which holds no record any more")

    def other(self, offset: int) -> None:
        """Report that another record stands where an earlier check read its last one."""
        what = "not the record that an earlier check read here: before it, some are missing or new"
        self._add(Kind.CUT, offset, what)

    def _claimed(self, kind: Kind, offset: int, what: str, claim: Claim) -> Finding:
        return Finding(
            kind=kind,
            partition=self._partition,
            offset=offset,
            what=what,
            source=claim.source,
            key=claim.key,
            first=claim.seq,
            last=claim.seq,
        )

    def _add(
        self,
        kind: Kind,
        offset: int,
        what: str,
        name: Name = (b"", b""),
        count: int = 1,
        numbers: tuple[int | None, int | None] = (None, None),
    ) -> int:
        source, key = name
        first, last = numbers
        return self._findings.add(
            Finding(
                kind=kind,
                partition=self._partition,
                offset=offset,
                count=count,
                what=what,
                source=source,
                key=key,
                first=first,
                last=last,
            )
        )
