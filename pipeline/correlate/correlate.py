"""The correlate stage: detections and progress of one shard in, alerts out.

A shard is what one worker owns: a partition of `detections`, or everything where there is one process. The
stage is a function of what it is given, in order: the same input gives the same alerts with the same ids and
revisions. What has been applied is recognised by source partition and offset, so input may repeat.
"""

from __future__ import annotations

import hashlib
import heapq
from typing import TYPE_CHECKING

import msgspec

from pipeline.alert import Alert, Sample, moment
from pipeline.correlate.group import Evidence, Group, SavedGroup, Told
from pipeline.correlate.watermark import Watermarks
from pipeline.detection import Detection, Progress
from pipeline.event import Origin

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pipeline.correlate.timeline import Episode
    from pipeline.sigma.ruleset import RuleSet, Target

__all__ = ["Correlate", "Counts", "Limits"]

_PROGRESS = "progress"
_MAX_LABEL = 256


class Limits(msgspec.Struct, frozen=True):
    """What a shard holds at the most, per rule.

    Attributes:
        groups: groups of one rule; at the limit the quietest one is dropped, and counted.
        pending: events of one group that wait for the watermark; at the limit the older half is
            settled ahead of it, so that only the order within the group loses its exactness.
    """

    groups: int = 50_000
    pending: int = 10_000


class Counts(msgspec.Struct):
    """What a shard has done since it began; for metrics."""

    matches: int = 0
    repeats: int = 0
    late: int = 0
    unknown: int = 0
    evicted: int = 0
    settled_early: int = 0
    alerts: int = 0


class Correlate:
    """One shard of the stage.

    Attributes:
        counts: what was done.
        watermarks: how far event time has come.
    """

    def __init__(self, rules: RuleSet, *, resolve_timeout_ms: int, limits: Limits = Limits()) -> None:  # noqa: B008 — frozen
        """Begin empty.

        Args:
            rules: what alerts are raised by.
            resolve_timeout_ms: silence of event time that ends an alert, in milliseconds.
            limits: what is held at the most.
        """
        self._targets = rules.targets
        self._resolve_ms = resolve_timeout_ms
        self._limits = limits
        self._groups: dict[str, Group] = {}
        self._sizes: dict[str, int] = {}
        self._deadlines: list[tuple[int, str]] = []
        self._scheduled: dict[str, int] = {}
        self._touched: dict[str, None] = {}
        self._changed: set[str] = set()
        self.watermarks = Watermarks()
        self.counts = Counts()

    @property
    def groups(self) -> int:
        """How many groups are held."""
        return len(self._groups)

    # --- input ----------------------------------------------------------------------------------------

    def process(self, records: Iterable[Detection | Progress], position: int) -> list[Alert]:
        """Apply records and return the alerts that changed.

        Args:
            records: in the order of the shard.
            position: a number that grows from call to call and repeats itself on replay (the offset of
                the last record): it becomes the revision of what changes.
        """
        for record in records:
            if isinstance(record, Detection):
                self._apply(record)
            else:
                self._changed.add(_PROGRESS)
                if self.watermarks.observe(record):
                    self._advance()
        return self._tell(position)

    def _apply(self, detection: Detection) -> None:
        target = self._targets.get(detection.target)
        if target is None or target.hash != detection.rule_hash:
            # Detected by another version of the rules: its windows are not ours.
            self.counts.unknown += len(detection.matches)
            return
        key = _key(target, detection.group)
        group = self._groups.get(key)
        if group is None:
            group = self._open(key, target, detection.group)
        partition = str(detection.partition)
        applied_to = self.watermarks.applied(partition)
        watermark_ms = self.watermarks.value_ms
        fresh: set[int] = set()
        for match in detection.matches:
            if match.offset < applied_to:
                self.counts.repeats += 1
            elif match.time_ms < watermark_ms and not (target.optional and target.timespan_ms == 0):
                self.counts.late += 1
            elif not group.add(match.time_ms, partition, match.offset, match.value):
                self.counts.repeats += 1
            else:
                self.counts.matches += 1
                fresh.add(match.offset)
        if not fresh:
            return
        times = {m.offset: m.time_ms for m in detection.matches}
        for offset, text in detection.samples:
            if offset in fresh:
                origin = detection.partition
                group.sample(Evidence(times[offset], origin.topic, origin.number, offset, text))
        group.fields.update(detection.fields)
        if group.waiting > self._limits.pending:
            group.settle_oldest(group.waiting // 2)
            self.counts.settled_early += 1
        self._touched[key] = None

    def _open(self, key: str, target: Target, values: tuple[str, ...]) -> Group:
        if self._sizes.get(target.id, 0) >= self._limits.groups:
            self._evict(target)
        group = self._groups[key] = Group(target, values, self._resolve_ms)
        self._sizes[target.id] = self._sizes.get(target.id, 0) + 1
        return group

    def _evict(self, target: Target) -> None:
        """Drop the oldest group of a rule that has no open alert; flooding keys hides no alert."""
        for key, group in self._groups.items():
            if group.target.id == target.id and not group.told:
                self._drop(key)
                self.counts.evicted += 1
                return

    def _drop(self, key: str) -> None:
        group = self._groups.pop(key)
        self._sizes[group.target.id] -= 1
        self._scheduled.pop(key, None)
        self._touched.pop(key, None)
        self._changed.add(key)

    def _advance(self) -> None:
        """Let the watermark end what has ended."""
        value_ms = self.watermarks.value_ms
        while self._deadlines and self._deadlines[0][0] <= value_ms:
            at_ms, key = heapq.heappop(self._deadlines)
            if self._scheduled.get(key) == at_ms:
                del self._scheduled[key]
                self._touched[key] = None

    # --- output ---------------------------------------------------------------------------------------

    def _tell(self, position: int) -> list[Alert]:
        alerts: list[Alert] = []
        value_ms = self.watermarks.value_ms
        for key in list(self._touched):
            group = self._groups[key]
            group.settle(value_ms)
            alerts.extend(self._news(group, position))
            group.forget_ended()
            self._changed.add(key)
            if group.empty:
                self._drop(key)
            elif (deadline := group.deadline_ms()) is not None:
                # One look a deadline: a group that is extended all the time is not scheduled anew each time.
                known = self._scheduled.get(key)
                if known is None or deadline < known:
                    self._scheduled[key] = deadline
                    heapq.heappush(self._deadlines, (deadline, key))
        self._touched.clear()
        self.counts.alerts += len(alerts)
        return alerts

    def _news(self, group: Group, position: int) -> list[Alert]:
        """Return what of the group's episodes has not been told as it stands now."""
        news: list[Alert] = []
        told = {t.start_ms: t for t in group.told}
        standing: list[Told] = []
        for episode in group.episodes():
            before = told.pop(episode.start_ms, None) or _same(told, episode)
            identity = before.id if before else _identity(group, episode, self._resolve_ms)
            now = Told(identity, episode.start_ms, episode.last_ms, episode.count, episode.ended)
            standing.append(now)
            if now != before:
                news.append(self._alert(group, now, position))
        # An event out of order has joined what was told as two: the younger is over.
        for gone in told.values():
            if not gone.ended:
                news.append(self._alert(group, msgspec.structs.replace(gone, ended=True), position))
        group.told = standing
        return news

    def _alert(self, group: Group, told: Told, position: int) -> Alert:
        target, about = group.target, group.target.about
        labels = {"alertname": about.title, "severity": about.level, "rule_id": about.id}
        labels.update((k, v) for k, v in group.fields.items() if v)
        labels.update((name, v[:_MAX_LABEL]) for name, v in zip(target.group_by, group.values, strict=True) if v)
        annotations = {"summary": about.title}
        if about.description:
            annotations["description"] = about.description
        if about.tags:
            annotations["tags"] = ", ".join(about.tags)
        if about.references:
            annotations["references"] = " ".join(about.references[:3])
        return Alert(
            id=told.id,
            revision=position,
            labels=labels,
            annotations=annotations,
            starts_at=moment(told.start_ms),
            ends_at=moment(told.last_ms + self._resolve_ms) if told.ended else None,
            count=told.count,
            first_at=moment(told.start_ms),
            last_at=moment(told.last_ms),
            samples=tuple(
                Sample(Origin(e.topic, e.partition, e.offset), moment(e.time_ms), e.text)
                for e in group.samples(told.start_ms)
            ),
        )

    # --- state ----------------------------------------------------------------------------------------

    def changes(self) -> list[tuple[str, bytes | None]]:
        """Return what of the state changed since the last call, for a store; None removes a key."""
        changes: list[tuple[str, bytes | None]] = []
        for key in sorted(self._changed):
            if key == _PROGRESS:
                changes.append((key, msgspec.json.encode(self.watermarks)))
            else:
                group = self._groups.get(key)
                changes.append((key, msgspec.json.encode(group.save()) if group is not None else None))
        self._changed.clear()
        return changes

    def restore(self, kept: Mapping[str, bytes]) -> None:
        """Begin with what a store has kept. Groups of rules that are gone or changed are left behind.

        Raises:
            msgspec.DecodeError: the store holds something else.
        """
        for key, data in kept.items():
            if key == _PROGRESS:
                self.watermarks = msgspec.json.decode(data, type=Watermarks)
                continue
            saved = msgspec.json.decode(data, type=SavedGroup)
            target = self._targets.get(saved.target)
            if target is None or target.hash != saved.hash:
                self._changed.add(key)
                continue
            self._groups[key] = Group(target, saved.values, self._resolve_ms, saved)
            self._sizes[target.id] = self._sizes.get(target.id, 0) + 1
            self._touched[key] = None


def _key(target: Target, values: tuple[str, ...]) -> str:
    # NUL can't stand in a field of a rule id; group values are data, so their length goes in front.
    return "\0".join((target.id, *(f"{len(v)}:{v}" for v in values)))


def _same(told: dict[int, Told], episode: Episode) -> Told | None:
    """Find the alert that an episode continues though events out of order have moved its start."""
    for start_ms, before in told.items():
        if start_ms <= episode.last_ms and before.last_ms >= episode.start_ms:
            return told.pop(start_ms)
    return None


def _identity(group: Group, episode: Episode, resolve_ms: int) -> str:
    """Return the alert's id.

    Two alerts of a group begin at least a resolve timeout apart, so the start in units of that is unique; it
    stays the same where the order of arrival moves the start by a little.
    """
    window = episode.start_ms // max(resolve_ms, 1)
    content = "\0".join((group.target.id, group.target.hash, *group.values, str(window)))
    return hashlib.sha256(content.encode("utf-8", "surrogatepass")).hexdigest()[:32]
