"""Stages: what stands between a group's alerts and its integrations, one after the other.

Each looks at a group at one moment and leaves out the alerts that people shall not hear of now; it changes
nothing. The chain runs at each flush, and again when a message is composed. (Semantics, section 3.)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipeline.alert import Alert
    from pipeline.notify.group import Group

__all__ = ["STAGES", "Fleeting", "Stage"]


class Stage(Protocol):
    """One step of the chain."""

    def apply(self, group: Group, alerts: Sequence[Alert], now_ms: int) -> Sequence[Alert]:
        """Return the alerts that pass.

        Args:
            group: the group, not to be changed.
            alerts: those of the group that passed the stages before.
            now_ms: the time, milliseconds since the epoch.
        """
        ...


class Fleeting:
    """Leaves out what was over before `group_wait` was: it is never sent."""

    def apply(self, group: Group, alerts: Sequence[Alert], now_ms: int) -> Sequence[Alert]:  # noqa: ARG002 - a stage's form
        """Return the alerts that fire or have outlasted `group_wait`; all, once the group was looked at."""
        if group.flushed_ms is not None:
            return alerts
        return [alert for alert in alerts if alert.firing or group.alerts[alert.id].lasted]


STAGES: tuple[Stage, ...] = (Fleeting(),)
"""The chain, in order."""
