"""Notifications: one message about one group for one receiver, and what came of sending it."""

from __future__ import annotations

import enum

import msgspec

from pipeline.alert import Alert

__all__ = ["SEVERITIES", "Intent", "Notification", "Reason", "Receipt", "Result", "Status", "rank"]

SEVERITIES = ("critical", "high", "error", "medium", "warning", "low", "informational", "info", "none")
"""What the label `severity` may say, gravest first."""


def rank(severity: str) -> int:
    """Return 0 for the gravest severity and more for lesser ones; one that is unknown comes last."""
    return SEVERITIES.index(severity) if severity in SEVERITIES else len(SEVERITIES)


class Reason(enum.Enum):
    """Why a notification is sent; the table of semantics section 3, and `UPDATE` of our own."""

    FIRST = "first"
    NEW_ALERTS = "new_alerts"
    RESOLVED = "resolved"
    SOME_RESOLVED = "some_resolved"
    REPEAT = "repeat"
    # Counts moved and nothing else did: worth an edit where the receiver can edit, never a message.
    UPDATE = "update"

    @property
    def silent(self) -> bool:
        """Whether nobody is called: an edit is no message."""
        return self is Reason.UPDATE


class Status(enum.Enum):
    """What came of a send."""

    SENT = "sent"
    # The receiver will never take it: shown, counted, not tried again.
    REFUSED = "refused"
    # It could not be reached or asked for patience beyond our own; tried again at the next flush.
    FAILED = "failed"


class Intent(msgspec.Struct, frozen=True):
    """That a group has something to tell one integration; what exactly is decided when its turn comes.

    Attributes:
        receiver: the receiver's name.
        integration: the integration's position within the receiver.
        group_key: the route and the group's label values; unique per group.
        rank: 0 for the gravest severity; lower goes first.
    """

    receiver: str
    integration: int
    group_key: str
    rank: int = 0


class Receipt(msgspec.Struct, frozen=True):
    """What a receiver gave back that later notifications of the group need: Slack's channel and ts."""

    channel: str = ""
    ts: str = ""


class Notification(msgspec.Struct, frozen=True):
    """What one integration of one receiver shall be told about one group now.

    Attributes:
        id: stays the same when the same content is sent again after a crash.
        receiver: the receiver's name.
        integration: the integration's position within the receiver.
        group_key: the route and the group's label values; unique per group.
        group_labels: the labels that the group is made by.
        reason: why it is sent.
        alerts: firing ones first, then the resolved ones, each oldest first.
        changed: ids of alerts that the last notification lacked or had in another status.
        receipt: what the group's first message gave back, or None when there was none.
    """

    id: str
    receiver: str
    integration: int
    group_key: str
    group_labels: dict[str, str]
    reason: Reason
    alerts: tuple[Alert, ...]
    changed: frozenset[str] = frozenset()
    receipt: Receipt | None = None

    @property
    def firing(self) -> tuple[Alert, ...]:
        """The alerts that still fire."""
        return tuple(a for a in self.alerts if a.firing)

    @property
    def resolved(self) -> tuple[Alert, ...]:
        """The alerts that have ended."""
        return tuple(a for a in self.alerts if not a.firing)

    @property
    def count(self) -> int:
        """Events counted over all alerts."""
        return sum(a.count for a in self.alerts)

    @property
    def severity(self) -> str:
        """The gravest severity among the firing alerts, or among all when none fires."""
        present = {a.labels.get("severity", "none") for a in (self.firing or self.alerts)}
        return min(present, key=rank, default="none")


class Result(msgspec.Struct, frozen=True):
    """The outcome of one notification.

    Attributes:
        status: sent, refused for good, or failed for now.
        receipt: what the receiver gave back, when it was sent.
        detail: the receiver's own word for it (`channel_not_found`), for logs and metrics.
    """

    status: Status
    receipt: Receipt | None = None
    detail: str = ""
