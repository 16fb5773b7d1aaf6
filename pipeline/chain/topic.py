"""Checking a topic: its partitions, and what of one may lie in another."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from pipeline.chain.finding import Finding, Findings, Kind
from pipeline.chain.form import Place
from pipeline.chain.partition import Limits, Mark, PartitionCheck, PartitionCounts

if TYPE_CHECKING:
    from pipeline.chain.form import ChainKeys

__all__ = ["PartitionReport", "TopicCheck", "TopicReport"]


class PartitionReport(msgspec.Struct, frozen=True):
    """What there was in a partition.

    Attributes:
        partition: its number.
        start: the offset that reading began with.
        end: the offset that it ended before.
        whole: whether no record ever lay before `start`.
        counts: the figures.
        mark: the last authentic record, None if there is none.
    """

    partition: int
    start: int
    end: int
    whole: bool
    counts: PartitionCounts
    mark: Mark | None


class TopicReport(msgspec.Struct, frozen=True):
    """What a check has come to.

    Attributes:
        findings: what was found, in the order of partitions and offsets.
        counts: how many findings there are of each kind, those left out as well.
        suspicious: how many of them no handler leaves.
        suspects: the kinds that these are of.
        left_out: how many of them are not among `findings`.
        partitions: each partition's figures.
    """

    findings: list[Finding]
    counts: dict[Kind, int]
    suspicious: int
    suspects: frozenset[Kind]
    left_out: int
    partitions: list[PartitionReport]


class TopicCheck:
    """Checks the records of a topic."""

    def __init__(
        self,
        topic: str,
        keys: ChainKeys,
        *,
        allow_unchained: bool = False,
        limits: Limits | None = None,
        max_findings: int = 1_000,
    ) -> None:
        """Begin.

        Args:
            topic: the name of the topic that the records were written to.
            keys: what to check with.
            allow_unchained: whether others write to the topic too, without a chain: their records are no
                sign of tampering, nor are the holes that their transactions leave.
            limits: how much to remember of each partition.
            max_findings: most findings of each kind to keep.
        """
        self._topic = topic
        self._keys = keys
        self._findings = Findings(max_findings, (Kind.UNCHAINED, Kind.HOLE) if allow_unchained else ())
        self._limits = limits or Limits()
        self._partitions: list[tuple[PartitionCheck, bool]] = []

    @property
    def suspicious(self) -> int:
        """How many findings there are by now that no handler leaves."""
        return self._findings.suspicious

    def partition(self, number: int, *, start: int, whole: bool, known: Mark | None = None) -> PartitionCheck:
        """Begin with a partition.

        Args:
            number: which one.
            start: the offset that reading begins with.
            whole: whether no record ever lay before that.
            known: the last authentic record as an earlier check saw it.
        """
        check = PartitionCheck(
            Place(self._topic, number),
            self._keys,
            self._findings,
            self._limits,
            start=start,
            whole=whole,
            known=known,
        )
        self._partitions.append((check, whole))
        return check

    def finish(self) -> TopicReport:
        """Judge what is missing, once every partition is finished, and return the report."""
        checks = [check for check, _ in self._partitions]
        for check in checks:
            for name, gap in check.gaps():
                # When a topic grows, a key goes on in another partition.
                if not any(other.has(name, gap.high) for other in checks if other is not check):
                    check.report_gap(name, gap)
        return TopicReport(
            findings=list(self._findings),
            counts={kind: n for kind, n in self._findings.counts.items() if n},
            suspicious=self._findings.suspicious,
            suspects=frozenset(filter(self._findings.is_suspicious, Kind)),
            left_out=self._findings.left_out,
            partitions=[
                PartitionReport(c.number, c.start, c.end, whole, c.counts, c.mark)
                for c, whole in self._partitions
            ],
        )
