"""The detect stage: a batch of raw records in, detections and progress out.

Stateless but for each partition's decoder (which learns its format) and clock: whatever is detected twice
is the same detection, and the correlate stage recognises it. Bytes that no rule could want are never parsed.
"""

from __future__ import annotations

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
_SHOWN = ("service", "host", "environment")


class Source(msgspec.Struct, frozen=True):
    """What is declared of a source.

    Attributes:
        format: a decoder's name, or `auto`.
        logsources: what kinds of log it holds; empty means unknown: rules of every log source apply.
        siblings: how many partitions it has.
        timed: whether record timestamps are the events' own times, as on Kafka; a file's are not, so that
            the watermark comes from the events.
    """

    format: str = "auto"
    logsources: tuple[LogSource, ...] = ()
    siblings: int = 1
    timed: bool = True


class Counts(msgspec.Struct):
    """What the stage has done since it began; for metrics. Rule ids are those of the detections."""

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

    __slots__ = ("caught_up", "decoder", "engine", "heard_ms", "highest_ms", "offset", "source")

    def __init__(self, source: Source, engine: _Engine, now_ms: int) -> None:
        self.source = source
        self.engine = engine
        self.decoder: Decoder = choose(source.format)
        self.offset = 0
        self.highest_ms = 0
        self.heard_ms = now_ms
        self.caught_up = False


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
        latest = self._examine(reader, found, offsets, times, present)
        reader.offset = batch.offsets[-1] + 1
        reader.heard_ms = now_ms
        reader.caught_up = batch.caught_up
        # A timestamp from the far future would end every window at once.
        reader.highest_ms = max(reader.highest_ms, min(latest, now_ms + _DAY_MS))
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
        return msgspec.structs.replace(progress, watermark_ms=reader.highest_ms)

    # --- inside ---------------------------------------------------------------------------------------

    def _engine(self, logsources: tuple[LogSource, ...]) -> _Engine:
        key = frozenset(logsources)
        engine = self._engines.get(key)
        if engine is None:
            rules = [r for r in self._rules.rules.values() if r.about.id in self._feeds and _applies(r.logsource, key)]
            engine = self._engines[key] = _Engine(rules)
        return engine

    def _progress(self, partition: Partition, reader: _Reader, *, idle: bool, ran_ms: int = 0) -> Progress:
        known = reader.highest_ms
        watermark_ms = max(known - self._lateness_ms + ran_ms, 0) if known else 0
        return Progress(partition, reader.offset, watermark_ms, idle, reader.source.siblings)

    def _examine(
        self,
        reader: _Reader,
        found: _Findings,
        offsets: Sequence[int],
        times: Sequence[int],
        values: Sequence[bytes],
    ) -> int:
        """Find the matches of a batch; return the latest time in it."""
        engine = reader.engine
        candidates = engine.prefilter.candidates(values)
        always = engine.always
        positions: Iterable[int] = range(len(values)) if always else sorted(candidates)
        timed = reader.source.timed
        latest = max(times, default=0) if timed else 0
        for i in positions:
            self.counts.candidates += 1
            event = self._decode(reader, values[i], times[i])
            if not timed and event.timed:
                latest = max(latest, event.time_ms)
            subject = Subject(event)
            for rule in (*candidates.get(i, ()), *always):
                if engine.matchers[rule](subject):
                    self._found(found, rule, subject, offsets[i])
        if not timed and values:
            # The youngest event is nearly always the last: its time stands for those not parsed.
            event = self._decode(reader, values[-1], times[-1])
            latest = max(latest, event.time_ms if event.timed else 0)
        return latest

    def _decode(self, reader: _Reader, raw: bytes, record_ms: int) -> Event:
        try:
            event = reader.decoder.decode(raw, record_ms)
        except DecodeError:
            self.counts.undecodable += 1
            event = FORMATS["text"].decode(raw, record_ms)
        if not event.timed:
            self.counts.untimed += 1
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
    """The matches of one batch, gathered by target and group."""

    def __init__(self, partition: Partition) -> None:
        self._partition = partition
        self._matches: dict[tuple[str, str, tuple[str, ...]], list[Match]] = {}
        self._hashes: dict[str, str] = {}
        self._samples: dict[tuple[str, str, tuple[str, ...]], list[tuple[int, str]]] = {}
        self._fields: dict[tuple[str, str, tuple[str, ...]], dict[str, str]] = {}

    def add(self, target: Target, rule: str, group: tuple[str, ...], match: Match, subject: Subject) -> None:
        key = (target.id, rule, group)
        matches = self._matches.get(key)
        if matches is None:
            matches = self._matches[key] = []
            self._hashes[target.id] = target.hash
            self._samples[key] = []
            self._fields[key] = {
                name: texts[0][:_MAX_VALUE_CHARS] for name in _SHOWN if (texts := subject.texts(name))
            }
        matches.append(match)
        samples = self._samples[key]
        samples.append((match.offset, subject.event.text[:_MAX_SAMPLE_CHARS]))
        if len(samples) > 2 * _MAX_SAMPLES:
            # The first few and the last few: what began it, and how it stands.
            del samples[_MAX_SAMPLES]

    def detections(self) -> list[Detection]:
        return [
            Detection(
                target=target,
                rule_hash=self._hashes[target],
                rule=rule,
                group=group,
                partition=self._partition,
                matches=tuple(matches),
                samples=tuple(self._samples[target, rule, group]),
                fields=self._fields[target, rule, group],
            )
            for (target, rule, group), matches in self._matches.items()
        ]


def _applies(rule: LogSource, declared: frozenset[LogSource]) -> bool:
    """Say whether a rule's log source is among those declared; of a source that declares none, anything may be."""
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
    return "\0".join(t[0][:_MAX_VALUE_CHARS] for t in texts)

