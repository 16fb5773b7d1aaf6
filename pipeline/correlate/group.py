"""A group: one target's events with the same group-by values, whatever order they come in.

Two timelines stand for it. The settled one has seen all events up to the watermark, in order; the current
one has seen those that wait for the watermark as well, so that it can fire at once. An event out of order
makes the current one anew from the settled one: in the end the alerts are those of the events in order.
"""

from __future__ import annotations

from bisect import insort
from typing import TYPE_CHECKING

import msgspec

from pipeline.correlate.timeline import Episode, Saved, Timeline, waits

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pipeline.correlate.watermark import Watermarks
    from pipeline.sigma.ruleset import Target

__all__ = ["Evidence", "Group", "SavedGroup", "Told"]

# (time, source partition, offset, value): the order of events, ties broken by partition and offset.
Pending = tuple[int, str, int, str | None]
_MAX_SAMPLES = 5
_MAX_LABEL = 256


class Told(msgspec.Struct, array_like=True):
    """An alert as it was last told: what is not told again."""

    id: str
    start_ms: int
    last_ms: int
    count: int
    ended: bool


class Evidence(msgspec.Struct, frozen=True, array_like=True, order=True):
    """One event's text.

    Attributes:
        counted_ms: the time it was counted at: its own, or the watermark's if it came late.
        topic: of the event's origin.
        partition: likewise.
        offset: likewise.
        time_ms: its own time.
        text: what it says.
    """

    counted_ms: int
    topic: str
    partition: int
    offset: int
    time_ms: int
    text: str


class SavedGroup(msgspec.Struct, frozen=True):
    """A group as it is kept; with the labels of its open alerts, which outlive the rule that raised them."""

    target: str
    hash: str
    values: tuple[str, ...]
    settled: Saved
    pending: list[Pending]
    settled_ms: int
    applied: dict[str, int]
    told: list[Told]
    first: list[Evidence]
    recent: list[Evidence]
    fields: dict[str, str]
    labels: dict[str, str]


class Group:
    """The state of one group. Times are milliseconds since the epoch.

    Attributes:
        target: the rule that raises the alert.
        values: the group-by values.
        told: alerts that were told and may change.
        fields: what the alert shows beside the group; they don't change while it is open, because a label
            that changes would route the alert's end elsewhere than its beginning.
        stored: whether a store may hold it.
    """

    def __init__(
        self, target: Target, values: tuple[str, ...], resolve_ms: int, saved: SavedGroup | None = None
    ) -> None:
        """Begin empty, or with what was kept."""
        self.target = target
        self.values = values
        self.stored = saved is not None
        self.told: list[Told] = list(saved.told) if saved else []
        self.fields: dict[str, str] = dict(saved.fields) if saved else {}
        self._resolve_ms = resolve_ms
        self._eager = not waits(target)
        self._settled = Timeline(target, resolve_ms, saved.settled if saved else None)
        self._settled_ms = saved.settled_ms if saved else 0
        self._pending: list[Pending] = list(saved.pending) if saved else []
        self._applied: dict[str, int] = dict(saved.applied) if saved else {}
        self._first: list[Evidence] = list(saved.first) if saved else []
        self._recent: list[Evidence] = list(saved.recent) if saved else []
        # Episodes that the settled timeline ended and that are not told yet; then those that only the
        # current one ended.
        self._ended: list[Episode] = []
        self._passed: list[Episode] = []
        # Thresholds that wait are judged on settled events alone: there the two timelines are one.
        self._current = self._settled
        self._stale = self._eager

    def save(self, kept: Mapping[str, int]) -> SavedGroup:
        """Return the state; the group goes on independently of it.

        Args:
            kept: by partition, the offset below which a store knows everything as applied.
        """
        self._applied = {p: offset for p, offset in self._applied.items() if offset >= kept.get(p, 0)}
        self.stored = True
        return SavedGroup(
            self.target.id,
            self.target.hash,
            self.values,
            self._settled.save(),
            self._pending,
            self._settled_ms,
            self._applied,
            self.told,
            self._first,
            self._recent,
            self.fields,
            self.labels() if self.told else {},
        )

    def labels(self) -> dict[str, str]:
        """Return the labels of the group's alerts."""
        about = self.target.about
        values = zip(self.target.group_by, self.values, strict=True)
        return {
            **{name: value for name, value in self.fields.items() if value},
            **{name: value[:_MAX_LABEL] for name, value in values if value},
            # No field of a log takes the place of these.
            "alertname": about.title,
            "severity": about.level,
            "rule_id": about.id,
        }

    @property
    def waiting(self) -> int:
        """How many events wait for the watermark."""
        return len(self._pending)

    def add(self, time_ms: int, partition: str, offset: int, value: str | None) -> bool:
        """Take an event.

        Returns:
            False if it had been applied before.
        """
        if offset <= self._applied.get(partition, -1):
            return False
        self._applied[partition] = offset
        event = (self._counted(time_ms), partition, offset, value)
        pending = self._pending
        if not pending or event[:3] >= pending[-1][:3]:
            pending.append(event)
            if self._eager and not self._stale:
                self._pass(event)
            return True
        insort(pending, event, key=lambda e: e[:3])
        episode = self._current.episode
        if not self._eager or self._stale:
            return True
        if episode is not None and event[0] >= episode.fired_ms:
            # In the middle of an open episode an event can only be one more: no need to begin anew.
            episode.count += 1
        else:
            self._stale = True
        return True

    def describe(self, fields: Mapping[str, str]) -> None:
        """Take what the alert will show beside the group, unless one is open."""
        if not self.told:
            self.fields = dict(fields)

    def sample(self, time_ms: int, topic: str, partition: int, offset: int, text: str) -> None:
        """Keep an event's text: the first few of the alert to be, and the most recent few."""
        evidence = Evidence(self._counted(time_ms), topic, partition, offset, time_ms, text)
        if not self.told:
            # What has left the window is no evidence any more, and must not take the place of what began it.
            horizon_ms = self._settled_ms - self.target.timespan_ms
            self._first = [e for e in self._first if e.counted_ms >= horizon_ms]
        if len(self._first) < _MAX_SAMPLES:
            self._first.append(evidence)
        else:
            self._recent.append(evidence)
            del self._recent[:-_MAX_SAMPLES]

    def samples(self, start_ms: int) -> list[Evidence]:
        """Return up to 10 texts of events at or after `start_ms`, in time order."""
        return sorted(e for e in (*self._first, *self._recent) if e.counted_ms >= start_ms)

    def settle(self, until_ms: int) -> None:
        """Let the watermark come to `until_ms`."""
        if until_ms <= self._settled_ms:
            return
        done = 0
        for event in self._pending:
            if event[0] >= until_ms:
                break
            done += 1
        self._take(done)
        if (ended := self._settled.settle(until_ms)) is not None:
            self._ended.append(ended)
        self._settled_ms = until_ms
        if self._eager and not self._stale:
            # The current timeline has seen the same events: it only has to hear how late it is.
            self._current.settle(until_ms)
            settled = {e.start_ms for e in self._ended}
            self._passed = [e for e in self._passed if e.start_ms not in settled]

    def settle_oldest(self, count: int) -> None:
        """Settle the `count` oldest waiting events ahead of the watermark, to bound memory.

        What comes for the time before the last of them is counted at its time.
        """
        if not (count := min(count, len(self._pending))):
            return
        reached_ms = self._pending[count - 1][0]
        self._take(count)
        self._settled_ms = max(self._settled_ms, reached_ms)
        # The two timelines' episodes are told apart by their ends, which may have been moved.
        self._stale = self._eager

    def episodes(self) -> list[Episode]:
        """Return the episodes as they stand: those that ended since `forget_ended`, then the open one."""
        if self._stale:
            self._replay()
        found = [*self._ended, *self._passed]
        if self._current.episode is not None:
            found.append(self._current.episode)
        return found

    def forget_ended(self) -> None:
        """Let go of episodes that the settled timeline ended: they have been told for good."""
        for episode in self._ended:
            self.told = [t for t in self.told if t.start_ms != episode.start_ms]
            self._first = [e for e in self._first if e.counted_ms > episode.last_ms]
            self._recent = [e for e in self._recent if e.counted_ms > episode.last_ms]
        self._ended.clear()

    def take_spilled(self) -> int:
        """Return how many events left a full window since the last call."""
        spilled, self._settled.spilled = self._settled.spilled, 0
        return spilled

    def deadline_ms(self) -> int | None:
        """Return when the group needs a look though nothing comes; None if it never does."""
        settled = self._settled.deadline_ms()
        if not self._pending:
            return settled
        if self._eager:
            # All that could be told by then has been told by the current timeline.
            return max(self._pending[-1][0] + 1, self._current.deadline_ms() or 0)
        first = self._pending[0][0] + 1
        return first if settled is None else min(first, settled)

    @property
    def empty(self) -> bool:
        """Whether nothing of the group can count any more: no open episode, no event within a timespan."""
        if self._pending or self._settled.episode is not None or self._ended or self.told:
            return False
        deadline = self._settled.deadline_ms()
        return deadline is None or deadline <= self._settled_ms

    def uncovered(self, watermarks: Watermarks) -> str | None:
        """Return a partition whose events may come again: its progress does not cover them yet."""
        return next((p for p, offset in self._applied.items() if offset >= watermarks.applied(p)), None)

    def _counted(self, time_ms: int) -> int:
        # A late event of a plain rule counts at the watermark: time does not turn back.
        return max(time_ms, self._settled_ms)

    def _take(self, count: int) -> None:
        """Let the settled timeline see the `count` oldest events that wait."""
        for time_ms, _, _, value in self._pending[:count]:
            if (ended := self._settled.step(time_ms, value)) is not None:
                self._ended.append(ended)
        del self._pending[:count]

    def _pass(self, event: Pending) -> None:
        if (ended := self._current.step(event[0], event[3])) is not None:
            self._passed.append(ended)

    def _replay(self) -> None:
        """Make the current timeline anew: the settled one and all that waits."""
        self._stale = False
        self._passed = []
        self._current = Timeline(self.target, self._resolve_ms, self._settled.save())
        for event in self._pending:
            self._pass(event)
