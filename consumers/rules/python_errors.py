"""What rules in Python raise, told in the log: a word now and then, not one an event."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipeline.detect.engine import PythonCalls

__all__ = ["PythonErrors"]

_PAUSE_MS = 60_000
_log = structlog.get_logger("tocsin.rules")


class PythonErrors:
    """Tells of each rule's last error, once a minute at the most; all are counted in the metrics."""

    def __init__(self, calls: PythonCalls, clock_ms: Callable[[], int]) -> None:
        """Begin with nothing told.

        Args:
            calls: what the detect stage has counted.
            clock_ms: the wall clock.
        """
        self._calls = calls
        self._clock_ms = clock_ms
        self._told_ms: dict[str, int] = {}

    def tell(self) -> None:
        """Tell what is due; to be called every second or so."""
        if not self._calls.errors:
            return
        now_ms = self._clock_ms()
        for rule, error in self._calls.take_errors().items():
            if now_ms - self._told_ms.get(rule, 0) >= _PAUSE_MS:
                self._told_ms[rule] = now_ms
                _log.warning("a rule in Python has failed", rule_id=rule, error=error)
