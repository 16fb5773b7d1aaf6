"""A timeline: the events of one group in time order, and the episodes (alerts to be) that they make.

The rule it lives by: an event opens an episode when, with it, the window satisfies the thresholds; the
window is then spent, and further events extend the episode until none has come for the resolve timeout.
`Timeline.step` takes events in time order only; whoever has them out of order holds them back
(`pipeline.correlate.group`). (Semantics sections 2 and 3, "Resolved".)
"""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING

import msgspec

from pipeline.correlate.window import WINDOWS

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipeline.correlate.window import Window
    from pipeline.sigma.ruleset import Target

__all__ = ["Episode", "Saved", "Timeline"]

_HOLDS: dict[str, Callable[[float, float], bool]] = {
    "eq": operator.eq,
    "neq": operator.ne,
    "gt": operator.gt,
    "gte": operator.ge,
    "lt": operator.lt,
    "lte": operator.le,
}


class Episode(msgspec.Struct, array_like=True):
    """One run of events that is or will be an alert. Times are milliseconds since the epoch.

    Attributes:
        start_ms: time of the first event of the window that fired.
        fired_ms: time of the event that satisfied the thresholds.
        last_ms: time of the last event counted.
        count: events counted.
        ended: whether the resolve timeout has passed after `last_ms`.
    """

    start_ms: int
    fired_ms: int
    last_ms: int
    count: int
    ended: bool = False


class Saved(msgspec.Struct, frozen=True, array_like=True):
    """A timeline as it is kept."""

    entries: list[tuple[int, str | None]]
    episode: Episode | None


class Timeline:
    """The in-order state of one group of one target.

    Attributes:
        episode: the one that is open, or None.
    """

    __slots__ = ("_holds", "_resolve_ms", "_target", "_window", "episode")

    def __init__(self, target: Target, resolve_ms: int, saved: Saved | None = None) -> None:
        """Begin empty, or with what was kept.

        Args:
            target: whose window and thresholds apply.
            resolve_ms: silence that ends an episode, in milliseconds of event time.
            saved: the state to begin with.
        """
        self._target = target
        self._resolve_ms = resolve_ms
        self._holds = [(_HOLDS[op], threshold) for op, threshold in target.bounds]
        self._window: Window = WINDOWS[target.count]()
        self.episode: Episode | None = None
        if saved is not None:
            for time_ms, value in saved.entries:
                self._window.add(time_ms, value)
            if saved.episode is not None:
                self.episode = msgspec.structs.replace(saved.episode)

    def save(self) -> Saved:
        """Return the state; the timeline goes on independently of it."""
        episode = msgspec.structs.replace(self.episode) if self.episode is not None else None
        return Saved(self._window.entries(), episode)

    def step(self, time_ms: int, value: str | None) -> Episode | None:
        """Take the next event.

        Args:
            time_ms: not before the event before.
            value: for `value_count`.

        Returns:
            The episode that the event ended by coming too late for it, or None.
        """
        ended = self.settle(time_ms)
        if self.episode is not None:
            # A plain rule counts late events as well: they don't turn time back.
            self.episode.last_ms = max(self.episode.last_ms, time_ms)
            self.episode.count += 1
            return ended
        window = self._window
        window.add(time_ms, value)
        window.evict(time_ms - self._target.timespan_ms)
        measure = window.measure()
        if all(holds(measure, threshold) for holds, threshold in self._holds):
            entries = window.entries()
            self.episode = Episode(entries[0][0] if entries else time_ms, time_ms, time_ms, max(len(entries), 1))
            window.clear()
        return ended

    def settle(self, now_ms: int) -> Episode | None:
        """Let event time come to `now_ms`; return the episode that ended by it, or None."""
        episode = self.episode
        if episode is None or now_ms - episode.last_ms <= self._resolve_ms:
            return None
        episode.ended = True
        self.episode = None
        return episode

    def deadline_ms(self) -> int | None:
        """Return when, without further events, nothing is left of this timeline; None if nothing is."""
        if self.episode is not None:
            return self.episode.last_ms + self._resolve_ms + 1
        entries = self._window.entries()
        return entries[-1][0] + self._target.timespan_ms + 1 if entries else None
