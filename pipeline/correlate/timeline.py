"""A timeline: the events of one group in time order, and the episodes (alerts to be) that they make.

Thresholds that more events can only confirm (`gt`, `gte`) are looked at with each event, over the timespan
that ends with it. All others wait: each event opens a timespan that is looked at when it is over. Where the
thresholds hold an episode begins; the window is then spent, and further events extend the episode until
none has come for the resolve timeout. Events come in time order only; whoever has them out of order holds
them back (`pipeline.correlate.group`). (Semantics section 2, and section 3, "Resolved".)
"""

from __future__ import annotations

import math
import operator
from typing import TYPE_CHECKING

import msgspec

from pipeline.correlate.window import WINDOWS

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipeline.correlate.window import Window
    from pipeline.sigma.ruleset import Target

__all__ = ["Episode", "Saved", "Timeline", "waits"]

_HOLDS: dict[str, Callable[[float, float], bool]] = {
    "eq": operator.eq,
    "neq": operator.ne,
    "gt": operator.gt,
    "gte": operator.ge,
    "lt": operator.lt,
    "lte": operator.le,
}
_MONOTONE = {"gt", "gte"}
# Events of one window, unless its own threshold asks for more; past it the oldest go.
_MAX_ENTRIES = 10_000


def waits(target: Target) -> bool:
    """Say whether a target's thresholds can be judged only when a timespan is over."""
    return any(op not in _MONOTONE for op, _ in target.bounds)


class Episode(msgspec.Struct, array_like=True):
    """One run of events that is or will be an alert. Times are milliseconds since the epoch.

    Attributes:
        start_ms: time of the first event of the window that fired.
        fired_ms: when the thresholds were satisfied.
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
        spilled: events that left a full window before their time.
    """

    __slots__ = ("_holds", "_most", "_resolve_ms", "_timespan_ms", "_waits", "_window", "episode", "spilled")

    def __init__(self, target: Target, resolve_ms: int, saved: Saved | None = None) -> None:
        """Begin empty, or with what was kept.

        Args:
            target: whose window and thresholds apply.
            resolve_ms: silence that ends an episode, in milliseconds of event time.
            saved: the state to begin with.
        """
        self._timespan_ms = target.timespan_ms
        self._resolve_ms = resolve_ms
        self._holds = [(_HOLDS[op], threshold) for op, threshold in target.bounds]
        self._waits = waits(target)
        self._most = max(_MAX_ENTRIES, *(math.ceil(threshold) + 1 for _, threshold in target.bounds))
        self._window: Window = WINDOWS[target.count]()
        self.episode: Episode | None = None
        self.spilled = 0
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
            self.episode.last_ms = time_ms
            self.episode.count += 1
            return ended
        window = self._window
        window.add(time_ms, value)
        if len(window) > self._most:
            window.drop()
            self.spilled += 1
        if not self._waits:
            self._evict(time_ms - self._timespan_ms)
            self._judge(time_ms)
        return ended

    def settle(self, now_ms: int) -> Episode | None:
        """Let event time come to `now_ms`; return the episode that ended by it, or None."""
        if self._waits:
            self._close(now_ms)
        episode = self.episode
        if episode is None or now_ms - episode.last_ms <= self._resolve_ms:
            return None
        episode.ended = True
        self.episode = None
        return episode

    def deadline_ms(self) -> int | None:
        """Return when, without further events, something happens or nothing is left; None if nothing is."""
        if self.episode is not None:
            return self.episode.last_ms + self._resolve_ms + 1
        from_ms = self._window.oldest_ms if self._waits else self._window.youngest_ms
        return None if from_ms is None else from_ms + self._timespan_ms

    def _evict(self, until_ms: int) -> None:
        """Let go of events at or before `until_ms`, but never of the youngest: a timespan may be nothing."""
        window = self._window
        while len(window) > 1 and window.oldest_ms is not None and window.oldest_ms <= until_ms:
            window.drop()

    def _close(self, now_ms: int) -> None:
        """Look at each timespan that is over by `now_ms`: one begins with each event."""
        window = self._window
        while (oldest_ms := window.oldest_ms) is not None and oldest_ms + self._timespan_ms <= now_ms:
            self._judge(oldest_ms + self._timespan_ms)
            if len(window):
                window.drop()

    def _judge(self, at_ms: int) -> None:
        """Open an episode if the window satisfies the thresholds; its events are spent by it."""
        window = self._window
        start_ms, last_ms, measure = window.oldest_ms, window.youngest_ms, window.measure()
        if start_ms is None or last_ms is None:
            return
        if all(holds(measure, threshold) for holds, threshold in self._holds):
            self.episode = Episode(start_ms, at_ms, last_ms, len(window))
            window.clear()
