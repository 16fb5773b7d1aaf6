"""Groups: the alerts that share a message, and the ledger of what each integration was told of them.

A group is plain state that outlives the process; what is to be done about it is decided elsewhere. Its alerts
are kept apart from it, so that one alert's change writes one small record.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from pipeline.alert import Alert
from pipeline.notify.notification import Notification, Receipt

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Entry", "Finished", "Group", "Held", "Integration"]


class Integration(msgspec.Struct, frozen=True):
    """One way of a receiver to tell people.

    Attributes:
        receiver: the receiver's name.
        index: the position within the receiver.
        edits: whether it can change a message that it sent.
        send_resolved: whether it wants to hear that alerts ended.
    """

    receiver: str
    index: int
    edits: bool
    send_resolved: bool = True

    @property
    def name(self) -> str:
        """Names it in a ledger."""
        return f"{self.receiver}/{self.index}"


class Entry(msgspec.Struct, frozen=True, omit_defaults=True):
    """What one integration was told of a group last.

    Attributes:
        firing: the count told of each alert that fired, by id.
        resolved: the count told of each alert that had ended, by id.
        sent_ms: the flush that the last message (edits aside) came from, milliseconds since the epoch.
        receipt: what the message gave back.
        taken: whether the receiver took it; False when it refused for good.
    """

    firing: dict[str, int]
    resolved: dict[str, int]
    sent_ms: int
    receipt: Receipt | None = None
    taken: bool = True

    def knows(self, alert_id: str) -> bool:
        """Whether the alert was told at all."""
        return alert_id in self.firing or alert_id in self.resolved

    def about(self, alert_ids: Iterable[str]) -> Entry:
        """Return the part about some of the alerts."""
        ids = set(alert_ids)
        firing = {i: n for i, n in self.firing.items() if i in ids}
        resolved = {i: n for i, n in self.resolved.items() if i in ids}
        return msgspec.structs.replace(self, firing=firing, resolved=resolved)

    def joined(self, other: Entry | None) -> Entry:
        """Return this and what the same integration was told of another group, as of one group."""
        if other is None:
            return self
        return msgspec.structs.replace(
            self,
            firing=self.firing | other.firing,
            resolved=self.resolved | other.resolved,
            sent_ms=max(self.sent_ms, other.sent_ms),
            receipt=self.receipt or other.receipt,
        )


class Held(msgspec.Struct, frozen=True, tag="alert", omit_defaults=True):
    """One alert of a group in its newest revision.

    Attributes:
        alert: the alert.
        lasted: whether it outlasted `group_wait`, so that people must hear of it even when it is over.
    """

    alert: Alert
    lasted: bool = False


class Finished(msgspec.Struct, frozen=True, tag="finished"):
    """What is remembered of an alert that everybody has heard the end of: a repeat must not reopen it.

    Attributes:
        revision: the newest revision seen.
        until_ms: when it may be forgotten, milliseconds since the epoch.
    """

    revision: int
    until_ms: int


class Group(msgspec.Struct, omit_defaults=True):
    """One group's state.

    Attributes:
        key: of the group.
        route: path of its route.
        labels: what the group is made by.
        created_ms: when its first alert came, milliseconds since the epoch.
        next_ms: when it is looked at next.
        flushed_ms: when it was looked at last, or None.
        entries: the ledger, by integration.
        alerts: by id; not part of the group's own record.
    """

    key: str
    route: str
    labels: dict[str, str]
    created_ms: int
    next_ms: int
    flushed_ms: int | None = None
    entries: dict[str, Entry] = {}
    alerts: dict[str, Held] = {}

    def note(
        self, integration: str, notification: Notification, receipt: Receipt | None, *, taken: bool
    ) -> None:
        """Write into the ledger what an integration was told.

        Args:
            integration: its name.
            notification: what was said.
            receipt: of the message that now stands for the group.
            taken: whether the receiver took it.
        """
        before = self.entries.get(integration)
        firing = {a.id: a.count for a in notification.firing}
        resolved = {a.id: a.count for a in notification.resolved}
        at = self.flushed_ms if self.flushed_ms is not None else self.created_ms
        if before is not None:
            if notification.reason.silent:
                at = before.sent_ms
            # An alert that was told and isn't shown now (its end isn't wanted) stays known.
            for known in (before.firing, before.resolved):
                hidden = known.keys() & self.alerts.keys() - firing.keys()
                resolved = {i: known[i] for i in hidden} | resolved
        self.entries[integration] = Entry(firing, resolved, at, receipt, taken)

    def settle(self, integration: str) -> None:
        """Write that all told alerts ended, for an integration that does not want to hear of it."""
        before = self.entries.get(integration)
        if before is not None:
            told = before.resolved | before.firing
            self.entries[integration] = msgspec.structs.replace(before, firing={}, resolved=told)
