"""Finished alerts: a bounded memory, so that a repeat after a crash reopens nothing.

Each is remembered for an hour by the revision it ended with; past the limit the oldest are forgotten early,
and counted.
"""

from __future__ import annotations

from pipeline.notify.group import Finished

__all__ = ["FinishedAlerts"]

_REMEMBER_MS = 3_600_000


class FinishedAlerts:
    """The memory. Methods that change it return the keys that changed.

    Args:
        limit: at most so many are remembered.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        # In the order in which they may be forgotten.
        self._alerts: dict[str, Finished] = {}
        self.forgotten = 0
        """Alerts forgotten early."""

    def get(self, key: str) -> Finished | None:
        """Return what is remembered of an alert of a group."""
        return self._alerts.get(key)

    def add(self, key: str, revision: int, now_ms: int) -> list[str]:
        """Remember an alert."""
        self._alerts.pop(key, None)
        changed = [key]
        if len(self._alerts) >= self._limit:
            oldest = next(iter(self._alerts))
            del self._alerts[oldest]
            self.forgotten += 1
            changed.append(oldest)
        self._alerts[key] = Finished(revision, now_ms + _REMEMBER_MS)
        return changed

    def reopen(self, key: str) -> None:
        """Forget an alert that is held again."""
        self._alerts.pop(key, None)

    def expire(self, now_ms: int) -> list[str]:
        """Forget those whose time is over."""
        gone = []
        for key, alert in self._alerts.items():
            if alert.until_ms > now_ms:
                break
            gone.append(key)
        for key in gone:
            del self._alerts[key]
        return gone
