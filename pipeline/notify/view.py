"""Views: a group as one integration sees it, and what it has to be told."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import msgspec

from pipeline.alert import Alert
from pipeline.notify.dedup import decide
from pipeline.notify.group import Entry, Group, Integration
from pipeline.notify.notification import Notification, Reason

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["View"]


class View(msgspec.Struct, frozen=True):
    """A group as one integration sees it.

    Attributes:
        integration: whose view it is.
        entry: what it was told last, or None.
        reason: why it is to be told something now, or None.
        alerts: what it would be shown.
    """

    integration: Integration
    entry: Entry | None
    reason: Reason | None
    alerts: tuple[Alert, ...]

    @classmethod
    def of(
        cls,
        group: Group,
        integration: Integration,
        alerts: Sequence[Alert],
        *,
        repeat_interval_ms: int,
        now_ms: int,
    ) -> View:
        """Look at a group.

        Args:
            group: the group.
            integration: who looks.
            alerts: those of the group that passed the chain.
            repeat_interval_ms: the route's.
            now_ms: the time, milliseconds since the epoch.
        """
        entry = group.entries.get(integration.name)
        resolved = {a.id: a.count for a in alerts if not a.firing}
        owed = {i for i in resolved if group.alerts[i].lasted and (entry is None or not entry.knows(i))}
        reason = decide(
            entry,
            {a.id: a.count for a in alerts if a.firing},
            resolved,
            send_resolved=integration.send_resolved,
            edits=integration.edits,
            repeat_interval_ms=repeat_interval_ms,
            now_ms=now_ms,
            owed=owed,
        )
        if not integration.send_resolved:
            if reason is Reason.RESOLVED:
                # The next flush settles it without a word.
                reason = None
            alerts = [a for a in alerts if a.firing or a.id in owed]
        return cls(integration, entry, reason, tuple(alerts))

    def pending(self) -> Iterator[str]:
        """Yield the resolved alerts whose end it has yet to be told."""
        if self.reason is None or self.reason is Reason.REPEAT:
            return
        told = self.entry.resolved if self.entry is not None else {}
        for alert in self.alerts:
            if not alert.firing and told.get(alert.id) != alert.count:
                yield alert.id

    def notification(self, group: Group) -> Notification:
        """Say it.

        Raises:
            ValueError: there is no reason to.
        """
        if self.reason is None:
            raise ValueError("nothing is to be said")
        entry = self.entry or Entry({}, {}, 0)
        changed = {a.id for a in self.alerts if a.id not in (entry.firing if a.firing else entry.resolved)}
        return Notification(
            id=self._identity(group, entry),
            receiver=self.integration.receiver,
            integration=self.integration.index,
            group_key=group.key,
            group_labels=group.labels,
            reason=self.reason,
            alerts=tuple(sorted(self.alerts, key=lambda a: (not a.firing, a.starts_at, a.id))),
            changed=frozenset(changed),
            receipt=None if self.reason is Reason.FIRST else entry.receipt,
        )

    def _identity(self, group: Group, entry: Entry) -> str:
        """Return a hash of all that makes this notification another one than those before.

        Edits differ by their counts; a message keeps its id while they move, to be known again after a crash.
        """
        alerts = sorted((a.id, a.firing, a.count if self.reason is Reason.UPDATE else 0) for a in self.alerts)
        who = (group.key, self.integration.receiver, self.integration.index)
        # Without the last send's time each repeat would pass for the one before.
        content = msgspec.json.encode((*who, self.reason, entry.sent_ms, alerts))
        return hashlib.sha256(content).hexdigest()[:32]
