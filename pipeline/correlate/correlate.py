"""The correlate stage: detections and progress of one shard in, alerts out.

A shard is what one worker owns: a partition of `detections`, or everything where there is one process. The
stage is a function of its records in their order, however they are cut into calls: the same records give
the same alerts with the same ids. What has been applied is recognised by source partition and offset, so
records may repeat. It asks one thing of who detects: per source partition, target and group the matches
come in offset order, each event once.

At its limits it drops and counts; an alert about that is the business of whoever watches the counts.
"""

from __future__ import annotations

import hashlib
import heapq
from typing import TYPE_CHECKING

import msgspec

from pipeline.alert import Alert, Sample, moment
from pipeline.correlate.group import Group, SavedGroup, Told
from pipeline.correlate.watermark import Watermarks
from pipeline.detection import Detection, Progress
from pipeline.event import Origin

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from pipeline.correlate.group import Evidence
    from pipeline.detection import Match
    from pipeline.sigma.ruleset import RuleSet, Target

__all__ = ["Correlate", "Counts", "Limits"]

# No id of a rule begins with NUL.
_PROGRESS = "\0progress"
# Entries of the heap that lead nowhere any more, before it is made anew.
_MAX_STALE = 1000


class Limits(msgspec.Struct, frozen=True):
    """What a shard holds at the most, per rule.

    Attributes:
        groups: groups of one rule; at the limit the quietest one is dropped, and counted. One with an open
            alert goes only when all have one; its alert is told as ended.
        pending: events of one group that wait for the watermark; at the limit the older ones are
            settled ahead of it, so that only the order within the group loses its exactness.
    """

    groups: int = 50_000
    pending: int = 10_000


class Counts(msgspec.Struct):
    """What a shard has done since it began; for metrics.

    Attributes:
        matches: events applied.
        repeats: events skipped since they had been applied.
        late: events skipped since their windows are over.
        unknown: events of rules that are not loaded here, or in another version.
        evicted: groups dropped at the limit.
        settled_early: times that waiting events were settled ahead of the watermark.
        spilled: events that left a full window before their time.
        alerts: alerts told, each change counted.
    """

    matches: int = 0
    repeats: int = 0
    late: int = 0
    unknown: int = 0
    evicted: int = 0
    settled_early: int = 0
    spilled: int = 0
    alerts: int = 0


class _Members:
    """The groups of one target, the quietest first."""

    __slots__ = ("alerting", "silent")

    def __init__(self) -> None:
        self.silent: dict[str, None] = {}
        self.alerting: dict[str, None] = {}

    def __len__(self) -> int:
        return len(self.silent) + len(self.alerting)

    def touch(self, key: str, *, alerting: bool) -> None:
        self.remove(key)
        (self.alerting if alerting else self.silent)[key] = None

    def remove(self, key: str) -> None:
        self.silent.pop(key, None)
        self.alerting.pop(key, None)

    def quietest(self) -> str:
        return next(iter(self.silent or self.alerting))


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
        self._members: dict[str, _Members] = {}
        # When groups need a look though nothing comes for them; `_scheduled` has the word on the heap.
        self._deadlines: list[tuple[int, str]] = []
        self._scheduled: dict[str, int] = {}
        # Groups with nothing left, by a partition whose events may still come again.
        self._lingering: dict[str, dict[str, None]] = {}
        # What was restored and needs a look; and groups of rules that are gone, whose alerts have to end.
        self._restored: list[str] = []
        self._orphans: list[tuple[str, SavedGroup]] = []
        self._news: dict[str, Alert] = {}
        self._position = 0
        # What `changes` has to tell, and the offsets that it told last.
        self._changed: dict[str, None] = {}
        self._dropped: dict[str, Group | None] = {}
        self._kept: dict[str, int] = {}
        self.watermarks = Watermarks()
        self.counts = Counts()

    @property
    def groups(self) -> int:
        """How many groups are held."""
        return len(self._groups)

    def replace(self, rules: RuleSet) -> None:
        """Let other rules take over. Groups of rules that are the same go on; alerts of the others end.

        What there is to tell of that comes with the next call of `process`, as there is a position then.

        Args:
            rules: what alerts are raised by from now on.
        """
        self._targets = rules.targets
        for key, group in list(self._groups.items()):
            target = self._targets.get(group.target.id)
            if target is not None and target.hash == group.target.hash:
                group.target = target
                continue
            self._orphans.append((key, group.save(self._kept)))
            del self._groups[key]
            self._members[group.target.id].remove(key)
            self._scheduled.pop(key, None)

    # --- input ----------------------------------------------------------------------------------------

    def process(self, records: Iterable[Detection | Progress], position: int) -> list[Alert]:
        """Apply records and return the alerts that changed, each as it stands after them.

        An alert that turns out to be part of another one, by events out of order, is told as ended with a
        count of 0: its events are counted there.

        Args:
            records: in the order of the shard.
            position: a number that grows from call to call and repeats itself on replay (the offset of
                the last record): it becomes the revision of what changes.
        """
        self._position = position
        self._look_at_restored()
        for record in records:
            if isinstance(record, Detection):
                self._apply(record)
            else:
                self._observe(record)
        alerts = list(self._news.values())
        self._news = {}
        self.counts.alerts += len(alerts)
        return alerts

    def expect(self, topics: Collection[str]) -> None:
        """Let go of source partitions that nobody reads any more, so that they don't hold the watermark.

        Args:
            topics: names of the topics, or paths of the files, that are read from now on.
        """
        self._changed[_PROGRESS] = None
        if self.watermarks.expect(topics):
            # Nothing is told before there is a position to tell it with.
            self._restored.extend(self._due())

    def _observe(self, progress: Progress) -> None:
        self._changed[_PROGRESS] = None
        moved = self.watermarks.observe(progress)
        due = self._lingering.pop(str(progress.partition), {})
        if moved:
            due.update(dict.fromkeys(self._due()))
        for key in due:
            if key in self._groups:
                self._look(key)

    def _apply(self, detection: Detection) -> None:
        target = self._targets.get(detection.target)
        if target is None or target.hash != detection.rule_hash:
            # Detected by another version of the rules: its windows are not ours.
            self.counts.unknown += len(detection.matches)
            return
        key = _key(target, detection.group)
        matches = self._timely(detection, target)
        if not matches:
            return
        group = self._groups.get(key)
        if group is None:
            group = self._open(key, target, detection.group)
        # A late event counts at the watermark, so that has to be known.
        group.settle(self.watermarks.value_ms)
        partition = str(detection.partition)
        fresh = {m.offset: m.time_ms for m in matches if group.add(m.time_ms, partition, m.offset, m.value)}
        self.counts.matches += len(fresh)
        self.counts.repeats += len(matches) - len(fresh)
        if not fresh:
            return
        for offset, text in detection.samples:
            if offset in fresh:
                origin = detection.partition
                group.sample(fresh[offset], origin.topic, origin.number, offset, text)
        group.describe(detection.fields)
        if group.waiting > self._limits.pending:
            group.settle_oldest(group.waiting - self._limits.pending // 2)
            self.counts.settled_early += 1
        self._look(key)

    def _timely(self, detection: Detection, target: Target) -> list[Match]:
        """Return the matches that are neither known to be applied nor too late for a window."""
        applied_to = self.watermarks.applied(str(detection.partition))
        matches = [m for m in detection.matches if m.offset >= applied_to]
        self.counts.repeats += len(detection.matches) - len(matches)
        if target.timespan_ms == 0 and target.optional:
            # A plain rule has no window to be late for.
            return matches
        watermark_ms = self.watermarks.value_ms
        timely = [m for m in matches if m.time_ms >= watermark_ms]
        self.counts.late += len(matches) - len(timely)
        return timely

    def _open(self, key: str, target: Target, values: tuple[str, ...]) -> Group:
        members = self._members.setdefault(target.id, _Members())
        if len(members) >= self._limits.groups:
            self._evict(members.quietest())
        group = self._groups[key] = Group(target, values, self._resolve_ms)
        group.stored = key in self._dropped
        members.touch(key, alerting=False)
        return group

    def _evict(self, key: str) -> None:
        group = self._groups[key]
        for told in group.told:
            if not told.ended:
                self._tell(group, msgspec.structs.replace(told, ended=True))
        self._drop(key)
        self.counts.evicted += 1

    def _drop(self, key: str) -> None:
        group = self._groups.pop(key)
        self._members[group.target.id].remove(key)
        self._scheduled.pop(key, None)
        if group.stored:
            self._dropped[key] = group
            self._changed[key] = None
        else:
            self._changed.pop(key, None)

    # --- time -----------------------------------------------------------------------------------------

    def _due(self) -> list[str]:
        """Take the groups whose time has come off the schedule."""
        value_ms = self.watermarks.value_ms
        due: list[str] = []
        while self._deadlines and self._deadlines[0][0] <= value_ms:
            at_ms, key = heapq.heappop(self._deadlines)
            if self._scheduled.get(key) == at_ms:
                del self._scheduled[key]
                due.append(key)
        return due

    def _schedule(self, key: str, deadline_ms: int) -> None:
        # One look a deadline: a group that is extended all the time is not scheduled anew each time.
        known = self._scheduled.get(key)
        if known is not None and known <= deadline_ms:
            return
        self._scheduled[key] = deadline_ms
        heapq.heappush(self._deadlines, (deadline_ms, key))
        if len(self._deadlines) > 2 * len(self._scheduled) + _MAX_STALE:
            self._deadlines = [(at_ms, k) for k, at_ms in self._scheduled.items()]
            heapq.heapify(self._deadlines)

    def _look_at_restored(self) -> None:
        restored, self._restored = self._restored, []
        for key in restored:
            if key in self._groups:
                self._look(key)
        orphans, self._orphans = self._orphans, []
        for key, saved in orphans:
            self._dropped[key] = None
            for told in saved.told:
                if not told.ended:
                    ended = msgspec.structs.replace(told, ended=True)
                    self._publish(ended, saved.labels, {"summary": saved.labels["alertname"]}, ())

    # --- output ---------------------------------------------------------------------------------------

    def _look(self, key: str) -> None:
        """Bring a group up to the watermark, tell what is new, and drop it if nothing is left."""
        group = self._groups[key]
        group.settle(self.watermarks.value_ms)
        self._tell_changes(group)
        group.forget_ended()
        self.counts.spilled += group.take_spilled()
        self._changed[key] = None
        if not group.empty:
            self._members[group.target.id].touch(key, alerting=bool(group.told))
            if (deadline_ms := group.deadline_ms()) is not None:
                self._schedule(key, deadline_ms)
        elif (partition := group.uncovered(self.watermarks)) is not None:
            # Without it a repeat of its last events would be taken for new ones.
            self._members[group.target.id].touch(key, alerting=False)
            self._lingering.setdefault(partition, {})[key] = None
        else:
            self._drop(key)

    def _tell_changes(self, group: Group) -> None:
        """Tell what of the group's episodes has not been told as it stands now."""
        known = {t.id: t for t in group.told}
        ids = {t.start_ms: t.id for t in group.told}
        standing: list[Told] = []
        for episode in group.episodes():
            identity = ids.get(episode.start_ms) or _identity(group, episode.start_ms, self._resolve_ms)
            now = Told(identity, episode.start_ms, episode.last_ms, episode.count, episode.ended)
            standing.append(now)
            if known.pop(identity, None) != now:
                self._tell(group, now)
        # Events out of order have made these part of others.
        for gone in known.values():
            self._tell(group, msgspec.structs.replace(gone, count=0, ended=True))
        group.told = standing

    def _tell(self, group: Group, told: Told) -> None:
        about = group.target.about
        annotations = {"summary": about.title}
        if about.description:
            annotations["description"] = about.description
        if about.status:
            annotations["status"] = about.status
        if about.tags:
            annotations["tags"] = ", ".join(about.tags)
        if about.references:
            annotations["references"] = " ".join(about.references[:3])
        self._publish(told, group.labels(), annotations, group.samples(told.start_ms))

    def _publish(
        self, told: Told, labels: dict[str, str], annotations: dict[str, str], samples: Iterable[Evidence]
    ) -> None:
        self._news[told.id] = Alert(
            id=told.id,
            revision=self._position,
            labels=labels,
            annotations=annotations,
            starts_at=moment(told.start_ms),
            ends_at=moment(told.last_ms + self._resolve_ms) if told.ended else None,
            count=told.count,
            first_at=moment(told.start_ms),
            last_at=moment(told.last_ms),
            samples=tuple(
                Sample(Origin(e.topic, e.partition, e.offset), moment(e.time_ms), e.text) for e in samples
            ),
        )

    # --- state ----------------------------------------------------------------------------------------

    def changes(self) -> list[tuple[str, bytes | None]]:
        """Return what of the state changed since the last call, for a store; None removes a key.

        In the order given, a store may lose the end of it: the progress that covers events comes after the
        groups that have counted them, and groups go last. Whoever calls again has kept what came before.
        """
        changes: list[tuple[str, bytes | None]] = []
        for key in self._changed:
            group = self._groups.get(key) or self._dropped.get(key)
            if group is not None:
                changes.append((key, msgspec.json.encode(group.save(self._kept))))
        if _PROGRESS in self._changed:
            changes.append((_PROGRESS, msgspec.json.encode(self.watermarks)))
        changes.extend((key, None) for key in self._dropped if key not in self._groups)
        self._kept = {name: p.offset for name, p in self.watermarks.progress.items()}
        self._changed.clear()
        self._dropped.clear()
        return changes

    def restore(self, kept: Mapping[str, bytes]) -> None:
        """Begin with what a store has kept. What is left of rules that are gone or changed is told as ended.

        Raises:
            msgspec.DecodeError: the store holds something else.
        """
        for key, data in kept.items():
            if key == _PROGRESS:
                self.watermarks = msgspec.json.decode(data, type=Watermarks)
                self._kept = {name: p.offset for name, p in self.watermarks.progress.items()}
                continue
            saved = msgspec.json.decode(data, type=SavedGroup)
            target = self._targets.get(saved.target)
            if target is None or target.hash != saved.hash:
                self._orphans.append((key, saved))
                continue
            group = self._groups[key] = Group(target, saved.values, self._resolve_ms, saved)
            self._members.setdefault(saved.target, _Members()).touch(key, alerting=bool(group.told))
            self._restored.append(key)


def _key(target: Target, values: tuple[str, ...]) -> str:
    # NUL can't stand in a field of a rule id; group values are data, so their length goes in front.
    return "\0".join((target.id, *(f"{len(v)}:{v}" for v in values)))


def _identity(group: Group, start_ms: int, resolve_ms: int) -> str:
    """Return the alert's id.

    Two alerts of a group begin more than a resolve timeout apart, so the start in units of that is unique; it
    stays the same where events out of order move the start by a little.
    """
    window = start_ms // max(resolve_ms, 1)
    content = "\0".join((group.target.id, group.target.hash, *group.values, str(window)))
    return hashlib.sha256(content.encode("utf-8", "surrogatepass")).hexdigest()[:32]
