"""The detect stage: a batch of raw records in, detections and progress out.

Stateless but for each partition's decoder (which learns its format) and clock: whatever is detected twice
is the same detection, and the correlate stage recognises it. Bytes that no rule could want are never parsed.
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

import msgspec

from pipeline.decode import FORMATS, choose
from pipeline.detect.prefilter import Prefilter
from pipeline.detection import Detection, Match, Progress
from pipeline.errors import DecodeError
from pipeline.event import LogSource, Partition
from pipeline.sigma.match import Matcher, compile_rule
from pipeline.sigma.subject import Subject

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pipeline.decode import Decoder
    from pipeline.event import Batch, Event
    from pipeline.sigma.form import Rule
    from pipeline.sigma.ruleset import RuleSet, Target

__all__ = ["Counts", "Detect", "Source"]

_MAX_SAMPLES = 5
_MAX_SAMPLE_CHARS = 2000
_MAX_VALUE_CHARS = 256
_DAY_MS = 86_400_000
# How far the clock of a host that logs may be ahead of ours.
_SKEW_MS = 60_000
_SHOWN = ("service", "host", "environment")
# Events of a source without a time of their own, and none with one, before the record's time stands for it.
_MAX_UNTIMED = 16


class Source(msgspec.Struct, frozen=True):
    """What is declared of a source.

    Attributes:
        format: a decoder's name, or `auto`.
        logsources: what kinds of log it holds; empty means unknown: rules of every log source apply. Else
            a rule applies where each part that it sets is declared so.
        siblings: how many partitions it has.
        service: the service of events that don't name theirs.
        zone: of times written without an offset.
        timed: whether record timestamps are the events' own times, as on Kafka; a file's are not, so that
            the watermark comes from the events.
    """

    format: str = "auto"
    logsources: tuple[LogSource, ...] = ()
    siblings: int = 1
    service: str = ""
    zone: dt.tzinfo = dt.UTC
    timed: bool = True


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


class _Engine:
    """The rules that apply to one set of log sources, ready to run."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self.prefilter = Prefilter(rules)
        self.matchers: dict[str, Matcher] = {r.about.id: compile_rule(r) for r in rules}
        self.always = self.prefilter.always


class _Reader:
    """What is known of one partition."""

    __slots__ = (
        "caught_up",
        "decoder",
        "engine",
        "heard_ms",
        "highest_ms",
        "offset",
        "source",
        "untimed",
        "untimed_ms",
    )

    def __init__(self, source: Source, engine: _Engine, now_ms: int) -> None:
        self.source = source
        self.engine = engine
        self.decoder: Decoder = choose(source.format, source.zone)
        self.offset = 0
        self.highest_ms = 0
        self.heard_ms = now_ms
        self.caught_up = False
        # While no event has had a time of its own: how many had none, and when the last was read.
        self.untimed = 0
        self.untimed_ms = 0

    def known_ms(self, *, settled: bool) -> int:
        """Return the highest time; where events have none, and enough were seen, when they were read."""
        if self.highest_ms or not (settled or self.untimed >= _MAX_UNTIMED):
            return self.highest_ms
        return self.untimed_ms


class Detect:
    """The stage. Times are milliseconds since the epoch.

    Attributes:
        counts: what was done.
    """

    def __init__(self, rules: RuleSet, *, lateness_ms: int, idle_timeout_ms: int) -> None:
        """Compile what does not depend on the source.

        Args:
            rules: all rules.
            lateness_ms: how much an event may come after younger ones.
            idle_timeout_ms: silence after which a partition holds nobody's watermark.
        """
        self._rules = rules
        self._feeds = rules.feeds()
        self._lateness_ms = lateness_ms
        self._idle_ms = idle_timeout_ms
        self._engines: dict[frozenset[LogSource], _Engine] = {}
        self._readers: dict[Partition, _Reader] = {}
        self.counts = Counts()

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
        reader = _Reader(source, self._engine(source.logsources), now_ms)
        reader.offset = offset
        self._readers[partition] = reader
        return self._progress(partition, reader, idle=False)

    def close(self, partition: Partition) -> None:
        """Let go of a partition that someone else reads now."""
        self._readers.pop(partition, None)

    def applicable(self, source: Source) -> tuple[str, ...]:
        """Return the ids of the rules that apply to a source."""
        return tuple(self._engine(source.logsources).matchers)

    def unfiltered(self, source: Source) -> tuple[str, ...]:
        """Return the ids of the rules that must examine every event of a source: each costs a lot."""
        return self._engine(source.logsources).always

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
        if None in values or b"" in values:
            kept = [i for i, v in enumerate(values) if v]
            counts.empty += len(values) - len(kept)
            offsets, times = [offsets[i] for i in kept], [times[i] for i in kept]
            present = [v for v in values if v]
        else:
            present = values  # type: ignore[assignment]  # none of them is None, as just seen
        counts.events += len(present)
        counts.bytes += sum(map(len, present))
        found = _Findings(batch.partition)
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

    def _engine(self, logsources: tuple[LogSource, ...]) -> _Engine:
        key = frozenset(logsources)
        engine = self._engines.get(key)
        if engine is None:
            wanted = (r for r in self._rules.rules.values() if r.about.id in self._feeds)
            rules = [r for r in wanted if _applies(r.logsource, key)]
            engine = self._engines[key] = _Engine(rules)
        return engine

    def _progress(self, partition: Partition, reader: _Reader, *, idle: bool, ran_ms: int = 0) -> Progress:
        known = reader.known_ms(settled=idle)
        watermark_ms = max(known - self._lateness_ms + ran_ms, 0) if known else 0
        return Progress(partition, reader.offset, watermark_ms, idle, reader.source.siblings)

    def _examine(
        self,
        reader: _Reader,
        found: _Findings,
        offsets: Sequence[int],
        times: Sequence[int],
        values: Sequence[bytes],
        now_ms: int,
    ) -> int:
        """Find the matches of a batch; return the latest time in it that the watermark may follow."""
        engine = reader.engine
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
            # In an order that every process agrees on: the first rule speaks for all that feed one target.
            for rule in (*sorted(candidates.get(i, ())), *always):
                if engine.matchers[rule](subject):
                    self._found(found, rule, subject, offsets[i])
        if not timed and values and last != len(values) - 1:
            # The youngest event is nearly always the last: its time stands for those not parsed.
            seen.append(self._time_of(reader, self._decode(reader, values[-1], times[-1], now_ms)))
        return _latest(times if timed else seen, now_ms)

    def _time_of(self, reader: _Reader, event: Event) -> int:
        """Return an event's own time, or 0."""
        if event.timed:
            return event.time_ms
        reader.untimed += 1
        reader.untimed_ms = max(reader.untimed_ms, event.time_ms)
        return 0

    def _decode(self, reader: _Reader, raw: bytes, record_ms: int, now_ms: int) -> Event:
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
            event = msgspec.structs.replace(event, fields={**event.fields, "service": service})
        return event

    def _found(self, found: _Findings, rule: str, subject: Subject, offset: int) -> None:
        counts = self.counts
        counts.matches += 1
        counts.by_rule[rule] = counts.by_rule.get(rule, 0) + 1
        for target in self._feeds[rule]:
            group = _group(target, rule, subject)
            if group is None:
                counts.ungrouped += 1
                continue
            value = _value(target, subject)
            if target.fields and value is None:
                counts.ungrouped += 1
                continue
            found.add(target, rule, group, Match(offset, subject.event.time_ms, value), subject)


class _Findings:
    """The matches of one batch, gathered by target and group; an event counts once for each."""

    def __init__(self, partition: Partition) -> None:
        self._partition = partition
        self._gathered: dict[tuple[str, tuple[str, ...]], _Gathered] = {}

    def add(self, target: Target, rule: str, group: tuple[str, ...], match: Match, subject: Subject) -> None:
        key = (target.id, group)
        gathered = self._gathered.get(key)
        if gathered is None:
            fields = {name: texts[0][:_MAX_VALUE_CHARS] for name in _SHOWN if (texts := subject.texts(name))}
            gathered = self._gathered[key] = _Gathered(target.hash, rule, fields)
        elif gathered.matches[-1].offset == match.offset:
            # Another rule of the same correlation has found it already.
            return
        gathered.matches.append(match)
        gathered.samples.append((match.offset, subject.event.text[:_MAX_SAMPLE_CHARS]))
        if len(gathered.samples) > 2 * _MAX_SAMPLES:
            # The first few and the last few: what began it, and how it stands.
            del gathered.samples[_MAX_SAMPLES]

    def detections(self) -> list[Detection]:
        return [
            Detection(
                target=target,
                rule_hash=gathered.rule_hash,
                rule=gathered.rule,
                group=group,
                partition=self._partition,
                matches=tuple(gathered.matches),
                samples=tuple(gathered.samples),
                fields=gathered.fields,
            )
            for (target, group), gathered in self._gathered.items()
        ]


class _Gathered:
    """What one batch holds for one target and group; `rule` is the one that matched first."""

    __slots__ = ("fields", "matches", "rule", "rule_hash", "samples")

    def __init__(self, rule_hash: str, rule: str, fields: dict[str, str]) -> None:
        self.rule_hash = rule_hash
        self.rule = rule
        self.fields = fields
        self.matches: list[Match] = []
        self.samples: list[tuple[int, str]] = []


def _applies(rule: LogSource, declared: frozenset[LogSource]) -> bool:
    """Say whether a rule's log source is among those declared; where none is, anything may be."""
    if not declared:
        return True
    return any(
        all(
            not wanted or wanted.lower() == has.lower()
            for wanted, has in (
                (rule.product, source.product),
                (rule.service, source.service),
                (rule.category, source.category),
            )
        )
        for source in declared
    )


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
        values.append(texts[0][:_MAX_VALUE_CHARS] if texts else "")
    return tuple(values)


def _value(target: Target, subject: Subject) -> str | None:
    if not target.fields:
        return None
    texts = [subject.texts(name) for name in target.fields]
    if not all(texts):
        return None
    values = [t[0][:_MAX_VALUE_CHARS] for t in texts]
    # The lengths keep ("a b", "c") and ("a", "b c") apart, whatever stands between.
    return values[0] if len(values) == 1 else "".join(f"{len(v)}:{v}" for v in values)
