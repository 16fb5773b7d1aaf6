"""The detect stage: a batch of raw records in, detections and progress out.

Stateless but for each partition's decoder (which learns its format) and clock: whatever is detected twice
is the same detection, and the correlate stage recognises it. Bytes that no rule could want are never parsed,
but for the few that a format is learned from.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from pipeline.decode import FORMATS
from pipeline.detect.accounts import Account
from pipeline.detect.engine import Engines, PythonCalls
from pipeline.detect.findings import MAX_VALUE_CHARS, Findings
from pipeline.detect.source import Reader, Source
from pipeline.detect.words import SourceCounts
from pipeline.detection import Detection, Match, Progress
from pipeline.errors import DecodeError
from pipeline.sigma.matcher.subject import Subject

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from pipeline.detect.engine import Engine
    from pipeline.detect.prefilter import DatabaseStore
    from pipeline.detect.words import SourceEvent
    from pipeline.event import Batch, Event, LogSource, Partition
    from pipeline.sigma.ruleset import RuleSet, Target

__all__ = ["Counts", "Detect", "Source"]

_DAY_MS = 86_400_000
_NONE: frozenset[str] = frozenset()
_SERVICE = frozenset({"service"})
# How far the clock of a host that logs may be ahead of ours.
_SKEW_MS = 60_000
# How long the account of a partition that was let go of is kept.
_KEPT_MS = 600_000


class Counts(msgspec.Struct):
    """What the stage has done since it began; for metrics.

    Attributes:
        events: records that held something.
        bytes: of theirs.
        candidates: events that were decoded because a rule might match.
        matches: events that did, each rule counted.
        empty: empty records and tombstones.
        undecodable: events that were not of their source's format, and matched as text.
        untimed: decoded events without a usable time of their own.
        ungrouped: matches left out of a correlation for want of a field that it groups by or counts.
        by_rule: matches by the id of the detection.
    """

    events: int = 0
    bytes: int = 0
    candidates: int = 0
    matches: int = 0
    empty: int = 0
    undecodable: int = 0
    untimed: int = 0
    ungrouped: int = 0
    by_rule: dict[str, int] = {}


class Detect:
    """The stage. Times are milliseconds since the epoch.

    Attributes:
        counts: what was done.
        python: what the rules in Python have cost.
        sources: what was found out about the sources of records.
    """

    def __init__(
        self,
        rules: RuleSet,
        *,
        lateness_ms: int,
        idle_timeout_ms: int,
        databases: DatabaseStore | None = None,
        timer_ns: Callable[[], int] = lambda: 0,
    ) -> None:
        """Compile what does not depend on the source.

        Args:
            rules: all rules.
            lateness_ms: how much an event may come after younger ones.
            idle_timeout_ms: silence after which a partition holds nobody's watermark.
            databases: keeps compiled databases between runs.
            timer_ns: a clock that measures rules in Python, in nanoseconds from any point.
        """
        self.counts = Counts()
        self.python = PythonCalls()
        self.sources = SourceCounts()
        self._engines = Engines(rules, calls=self.python, timer_ns=timer_ns, databases=databases)
        self._lateness_ms = lateness_ms
        self._idle_ms = idle_timeout_ms
        self._readers: dict[Partition, Reader] = {}
        # Accounts of partitions that were let go of: most come back when a group has changed.
        self._left: dict[Partition, Account] = {}

    @property
    def rules(self) -> RuleSet:
        """The rules that run."""
        return self._engines.rules

    def prepare(self, rules: RuleSet) -> Engines:
        """Return other rules, compiled for all that is read now; that may take seconds, in any thread."""
        return self._engines.like(rules)

    def missing(self, engines: Engines) -> frozenset[frozenset[LogSource]]:
        """Return what prepared rules lack: the log sources of partitions that were opened meanwhile."""
        read = {frozenset(reader.source.logsources) for reader in self._readers.values()}
        return frozenset(read.difference(engines.compiled))

    def replace(self, engines: Engines) -> None:
        """Let prepared rules take over from the next batch on; what is `missing` from them stops it then."""
        self._engines = engines

    def open(self, partition: Partition, source: Source, offset: int, now_ms: int) -> Progress:
        """Begin with a partition.

        Args:
            partition: what will be read.
            source: what is declared of it.
            offset: where reading begins.
            now_ms: the wall clock.

        Returns:
            The word that this partition is read from here on; it holds the watermark.
        """
        self._engines.of(source.logsources)
        reader = Reader(source, now_ms, self._account_of(partition, source, offset, now_ms))
        reader.offset = offset
        self._readers[partition] = reader
        return self._progress(partition, reader, idle=False)

    def close(self, partition: Partition) -> None:
        """Let go of a partition that someone else reads now."""
        if (reader := self._readers.pop(partition, None)) is not None:
            self._left[partition] = reader.account

    def engine(self, source: Source) -> Engine:
        """Return what runs for a source: the rules that may apply to its events."""
        return self._engines.of(source.logsources)

    def applicable(self, source: Source) -> tuple[str, ...]:
        """Return the ids of the rules that may apply to a source's events."""
        return tuple(self.engine(source).matchers)

    def unfiltered(self, source: Source) -> tuple[str, ...]:
        """Return the ids of the rules that must examine every event of a source: each costs a lot."""
        return self.engine(source).always

    def account(self, batch: Batch, now_ms: int) -> Batch:
        """Enter a batch into the account of its partition's sources; to be done once, before `process`.

        Args:
            batch: its records, with keys and headers.
            now_ms: the wall clock.

        Returns:
            The batch, with the records marked that were read before.
        """
        repeated = self._readers[batch.partition].account.take(batch, now_ms)
        return msgspec.structs.replace(batch, repeated=repeated) if repeated else batch

    def tell(self, partition: Partition, now_ms: int, *, at_end: bool) -> list[SourceEvent]:
        """Return what is to be written to a partition about the sources of its records.

        Args:
            partition: an open one; to be asked every second or so.
            now_ms: the wall clock.
            at_end: whether it has been read to its end, now.
        """
        reader = self._readers[partition]
        # Where old logs are read again, an event of today would make all that come after it late.
        ran_ms = now_ms - reader.heard_ms if at_end else 0
        time_ms = min(reader.highest_ms + ran_ms, now_ms) if reader.highest_ms else now_ms
        return reader.account.tell(now_ms, time_ms, at_end=at_end)

    @property
    def accounts(self) -> tuple[int, int]:
        """How many sources accounts are kept of, and how many services are silent."""
        accounts = [reader.account for reader in self._readers.values()]
        return sum(a.sources for a in accounts), sum(a.silent for a in accounts)

    def process(self, batch: Batch, now_ms: int) -> list[Detection | Progress]:
        """Detect in a batch of an open partition.

        Args:
            batch: its records.
            now_ms: the wall clock.

        Returns:
            Detections, then how far the partition has been read.
        """
        reader = self._readers[batch.partition]
        counts = self.counts
        offsets, times, values = batch.offsets, batch.times_ms, batch.values
        if not offsets:
            reader.caught_up = batch.caught_up
            return []
        if None in values or b"" in values or batch.repeated:
            kept = [i for i, v in enumerate(values) if v and offsets[i] not in batch.repeated]
            counts.empty += sum(not v for v in values)
            present = [v for i in kept if (v := values[i])]
            offsets, times = [offsets[i] for i in kept], [times[i] for i in kept]
        else:
            present = values  # type: ignore[assignment]  # none of them is None, as just seen
        counts.events += len(present)
        counts.bytes += sum(map(len, present))
        reader.look(present)
        found = Findings(batch.partition)
        latest_ms = self._examine(reader, found, offsets, times, present, now_ms)
        reader.offset = batch.offsets[-1] + 1
        reader.heard_ms = now_ms
        reader.caught_up = batch.caught_up
        reader.highest_ms = max(reader.highest_ms, latest_ms)
        return [*found.detections(), self._progress(batch.partition, reader, idle=False)]

    def tick(self, now_ms: int) -> list[Progress]:
        """Return the progress of the partitions that have fallen silent; to be called every second or so."""
        idle: list[Progress] = []
        for partition, reader in self._readers.items():
            silence = now_ms - reader.heard_ms
            if reader.caught_up and silence >= self._idle_ms:
                idle.append(self._progress(partition, reader, idle=True, ran_ms=silence))
        return idle

    def mark_caught_up(self, partition: Partition) -> None:
        """Note that a partition has been read to its end."""
        if (reader := self._readers.get(partition)) is not None:
            reader.caught_up = True

    def finish(self, partition: Partition) -> Progress:
        """Return the last word on a partition that has ended for good: nothing is late any more."""
        reader = self._readers[partition]
        progress = self._progress(partition, reader, idle=True)
        return msgspec.structs.replace(progress, watermark_ms=reader.known_ms(settled=True))

    # --- inside ---------------------------------------------------------------------------------------

    def _account_of(self, partition: Partition, source: Source, offset: int, now_ms: int) -> Account:
        """Return the account of a partition that was let go of, if it goes on exactly there; or a new one."""
        self._left = {p: a for p, a in self._left.items() if now_ms - a.told_ms < _KEPT_MS}
        account = self._left.pop(partition, None)
        if account is not None and account.offset == offset:
            return account
        return Account(
            self.sources,
            offset=offset,
            opened_ms=now_ms,
            lateness_ms=self._lateness_ms,
            silence_ms=source.silence_ms,
        )

    def _progress(self, partition: Partition, reader: Reader, *, idle: bool, ran_ms: int = 0) -> Progress:
        known = reader.known_ms(settled=idle)
        watermark_ms = max(known - self._lateness_ms + ran_ms, 0) if known else 0
        return Progress(partition, reader.offset, watermark_ms, idle, reader.source.siblings)

    def _examine(
        self,
        reader: Reader,
        found: Findings,
        offsets: Sequence[int],
        times: Sequence[int],
        values: Sequence[bytes],
        now_ms: int,
    ) -> int:
        """Find the matches of a batch; return the latest time in it that the watermark may follow."""
        engine = self.engine(reader.source)
        candidates = engine.prefilter.candidates(values)
        always = engine.always
        positions: Iterable[int] = range(len(values)) if always else sorted(candidates)
        timed = reader.source.timed
        seen: list[int] = []
        last = -1
        for i in positions:
            last = i
            self.counts.candidates += 1
            event = self._decode(reader, values[i], times[i], now_ms)
            if not timed:
                seen.append(self._time_of(reader, event))
            subject = Subject(event)
            hits = candidates.get(i, _NONE)
            rules: Iterable[str] = (*hits, *always)
            if (wanted := engine.wanted(event.logsources)) is not None:
                rules = (*(hits & wanted), *(r for r in always if r in wanted))
            matchers = engine.matchers
            # In an order that every process agrees on: the first rule speaks for all that feed one target.
            for rule in sorted(r for r in rules if matchers[r](subject)):
                self._found(found, rule, subject, offsets[i])
        if not timed and values and last != len(values) - 1:
            # The youngest event is nearly always the last: its time stands for those not parsed.
            seen.append(self._time_of(reader, self._decode(reader, values[-1], times[-1], now_ms)))
        return _latest(times if timed else seen, now_ms)

    def _time_of(self, reader: Reader, event: Event) -> int:
        """Return an event's own time, or 0."""
        if event.timed:
            return event.time_ms
        reader.untimed += 1
        reader.untimed_ms = max(reader.untimed_ms, event.time_ms)
        return 0

    def _decode(self, reader: Reader, raw: bytes, record_ms: int, now_ms: int) -> Event:
        if not 0 < record_ms <= now_ms + _DAY_MS:
            # A producer may write anything here; what falls back to it must be a time.
            record_ms = now_ms
        try:
            event = reader.decoder.decode(raw, record_ms)
        except DecodeError:
            self.counts.undecodable += 1
            event = FORMATS["text"].decode(raw, record_ms)
        if not event.timed:
            self.counts.untimed += 1
        if (service := reader.source.service) and not event.fields.get("service"):
            fields = {**event.fields, "service": service}
            event = msgspec.structs.replace(event, fields=fields, declared=_SERVICE)
        return event

    def _found(self, found: Findings, rule: str, subject: Subject, offset: int) -> None:
        counts = self.counts
        counts.matches += 1
        counts.by_rule[rule] = counts.by_rule.get(rule, 0) + 1
        for target in self._engines.feeds[rule]:
            group = _group(target, rule, subject)
            if group is None:
                counts.ungrouped += 1
                continue
            value = _value(target, subject)
            if target.fields and value is None:
                counts.ungrouped += 1
                continue
            found.add(target, rule, group, Match(offset, subject.event.time_ms, value), subject)


def _latest(times: Sequence[int], now_ms: int) -> int:
    """Return the latest of some times, as far as they can be true.

    One event from the future must not make all others late; where every one is, the clock has to do.
    """
    latest = max(times, default=0)
    if latest <= now_ms:
        return latest
    return max((t for t in times if t <= now_ms + _SKEW_MS), default=now_ms)


def _group(target: Target, rule: str, subject: Subject) -> tuple[str, ...] | None:
    values: list[str] = []
    for name in target.lookup[rule]:
        texts = subject.texts(name)
        if not texts and not target.optional:
            return None
        values.append(texts[0][:MAX_VALUE_CHARS] if texts else "")
    return tuple(values)


def _value(target: Target, subject: Subject) -> str | None:
    if not target.fields:
        return None
    texts = [subject.texts(name) for name in target.fields]
    if not all(texts):
        return None
    values = [t[0][:MAX_VALUE_CHARS] for t in texts]
    # The lengths keep ("a b", "c") and ("a", "b c") apart, whatever stands between.
    return values[0] if len(values) == 1 else "".join(f"{len(v)}:{v}" for v in values)
