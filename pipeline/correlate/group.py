"""A group: one target's events with the same group-by values, whatever order they come in.

Two timelines stand for it. The settled one has seen all events up to the watermark, in order; the current
one has seen those that wait for the watermark as well, so that it can fire at once. An event out of order
makes the current one anew from the settled one: in the end the alerts are those of the events in order.
"""

from __future__ import annotations

from bisect import insort
from typing import TYPE_CHECKING

import msgspec

from pipeline.correlate.timeline import Episode, Saved, Timeline

if TYPE_CHECKING:
    from pipeline.sigma.ruleset import Target

__all__ = ["Group", "SavedGroup", "Told"]

# (time, source partition, offset, value): the order of events, ties broken by partition and offset.
Pending = tuple[int, str, int, str | None]
_MAX_SAMPLES = 5
# Thresholds that more events can only confirm; others must wait until no event can come any more.
_MONOTONE = {"gt", "gte"}


class Told(msgspec.Struct, array_like=True):
    """An alert as it was last told: what is not told again."""

    id: str
    start_ms: int
    last_ms: int
    count: int
    ended: bool


class Evidence(msgspec.Struct, frozen=True, array_like=True):
    """One event's text."""

    time_ms: int
    topic: str
    partition: int
    offset: int
    text: str


class SavedGroup(msgspec.Struct, frozen=True):
    """A group as it is kept."""

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


class Group:
    """The state of one group. Times are milliseconds since the epoch.

    Attributes:
        target: the rule that raises the alert.
        values: the group-by values.
        told: alerts that were told and may change.
        fields: what the alert shows beside the group.
    """

    def __init__(
        self, target: Target, values: tuple[str, ...], resolve_ms: int, saved: SavedGroup | None = None
    ) -> None:
        """Begin empty, or with what was kept."""
        self.target = target
        self.values = values
        self._resolve_ms = resolve_ms
        self._eager = all(op in _MONOTONE for op, _ in target.bounds)
        self._settled = Timeline(target, resolve_ms, saved.settled if saved else None)
        self._pending: list[Pending] = list(saved.pending) if saved else []
        self._settled_ms = saved.settled_ms if saved else 0
        self._applied: dict[str, int] = dict(saved.applied) if saved else {}
        self._ended: list[Episode] = []
        self.told: list[Told] = list(saved.told) if saved else []
        self._first: list[Evidence] = list(saved.first) if saved else []
        self._recent: list[Evidence] = list(saved.recent) if saved else []
        self.fields: dict[str, str] = dict(saved.fields) if saved else {}
        # Episodes that the current timeline ended and the settled one has not reached.
        self._passed: list[Episode] = []
        self._stale = False
        self._current = self._settled
        self._replay()

    def save(self) -> SavedGroup:
        """Return the state; the group goes on independently of it."""
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
        )

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
        event = (time_ms, partition, offset, value)
        pending = self._pending
        if not pending or event[:3] >= pending[-1][:3]:
            pending.append(event)
            if self._eager and not self._stale and (ended := self._current.step(time_ms, value)) is not None:
                self._passed.append(ended)
            return True
        insort(pending, event, key=lambda e: e[:3])
        episode = self._current.episode
        if episode is not None and not self._stale and time_ms >= episode.fired_ms:
            # In the middle of an open episode an event can only be one more: no need to begin anew.
            episode.count += 1
        else:
            self._stale = True
        return True

    def sample(self, evidence: Evidence) -> None:
        """Keep an event's text: the first few of the group, and the most recent few."""
        if len(self._first) < _MAX_SAMPLES:
            self._first.append(evidence)
        else:
            self._recent.append(evidence)
            del self._recent[:-_MAX_SAMPLES]

    def samples(self, start_ms: int) -> list[Evidence]:
        """Return up to 10 texts of events at or after `start_ms`, in time order."""
        return sorted((e for e in (*self._first, *self._recent) if e.time_ms >= start_ms), key=_order)

    def settle(self, until_ms: int) -> None:
        """Let the watermark come to `until_ms`."""
        if until_ms <= self._settled_ms:
            return
        self._settled_ms = until_ms
        pending = self._pending
        done = 0
        for time_ms, _, _, value in pending:
            if time_ms >= until_ms:
                break
            done += 1
            if (ended := self._settled.step(time_ms, value)) is not None:
                self._ended.append(ended)
        del pending[:done]
        if (ended := self._settled.settle(until_ms)) is not None:
            self._ended.append(ended)
        if not self._eager:
            self._current = Timeline(self.target, self._resolve_ms, self._settled.save())
        elif not self._stale:
            # The current timeline has seen the same events: it only has to hear how late it is.
            self._current.settle(until_ms)
            settled = {e.start_ms for e in self._ended}
            self._passed = [e for e in self._passed if e.start_ms not in settled]

    def settle_oldest(self, count: int) -> None:
        """Settle the `count` oldest waiting events ahead of the watermark, to bound memory."""
        if len(self._pending) > count:
            self.settle(self._pending[count][0])

    def episodes(self) -> list[Episode]:
        """Return the episodes as they stand: those that ended since `forget_ended`, then the open one."""
        current = self._fresh()
        found = [*self._ended, *self._passed]
        if current.episode is not None:
            found.append(current.episode)
        return found

    def forget_ended(self) -> None:
        """Let go of episodes that the settled timeline ended: they have been told for good."""
        for episode in self._ended:
            self.told = [t for t in self.told if t.start_ms != episode.start_ms]
            self._first = [e for e in self._first if e.time_ms > episode.last_ms]
            self._recent = [e for e in self._recent if e.time_ms > episode.last_ms]
        self._ended.clear()

    def deadline_ms(self) -> int | None:
        """Return when the group needs a look though nothing comes: an end, or nothing left of it."""
        if self._pending:
            return max(self._pending[-1][0] + 1, self._fresh().deadline_ms() or 0)
        return self._settled.deadline_ms()

    @property
    def empty(self) -> bool:
        """Whether the group can be dropped: no open episode, no event that could still count."""
        if self._pending or self._settled.episode is not None or self._ended or self.told:
            return False
        deadline = self._settled.deadline_ms()
        return deadline is None or deadline <= self._settled_ms

    def _fresh(self) -> Timeline:
        if self._stale:
            self._replay()
        return self._current

    def _replay(self) -> None:
        """Make the current timeline anew: the settled one and all that waits."""
        self._stale = False
        self._passed = []
        self._current = Timeline(self.target, self._resolve_ms, self._settled.save())
        if self._eager:
            for time_ms, _, _, value in self._pending:
                if (ended := self._current.step(time_ms, value)) is not None:
                    self._passed.append(ended)


def _order(evidence: Evidence) -> tuple[int, str, int, int]:
    return evidence.time_ms, evidence.topic, evidence.partition, evidence.offset
