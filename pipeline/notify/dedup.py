"""Deduplication: the ledger's table, as one function.

| ledger says | send? |
|---|---|
| nothing yet | iff something fires |
| a firing alert that it lacks | yes |
| all resolved, and it had a firing one | yes |
| (`send_resolved`) a newly resolved one | yes |
| counts moved, and the receiver can edit | as an edit |
| otherwise | iff the last send is `repeat_interval` ago or more |

An alert that is *owed* fired when it should have been told and was over before it could be (the channel was
down, or its turn had not come): it counts as news, since otherwise nobody would ever hear of it.
(Semantics, section 3; Alertmanager's notify/dedup_stage.go. Edits and what is owed are our own.)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.notify.notification import Reason

if TYPE_CHECKING:
    from collections.abc import Mapping
    from collections.abc import Set as AbstractSet

    from pipeline.notify.group import Entry

__all__ = ["decide"]


def decide(
    entry: Entry | None,
    firing: Mapping[str, int],
    resolved: Mapping[str, int],
    *,
    send_resolved: bool,
    edits: bool,
    repeat_interval_ms: int,
    now_ms: int,
    owed: AbstractSet[str] = frozenset(),
) -> Reason | None:
    """Say whether a group has something to tell an integration, and why.

    Args:
        entry: what the integration was told last, or None.
        firing: the count of each firing alert, by id.
        resolved: the count of each resolved alert, by id.
        send_resolved: whether the integration wants to hear that alerts ended.
        edits: whether it can change its message.
        repeat_interval_ms: after which the same is said again.
        now_ms: the time, milliseconds since the epoch.
        owed: ids among `resolved` that should have been told while they fired; none that `entry` knows.
    """
    if entry is None:
        return Reason.FIRST if firing or owed else None
    if not firing.keys() <= entry.firing.keys():
        # After a resolution a new story begins.
        return Reason.NEW_ALERTS if entry.firing else Reason.FIRST
    if not firing:
        if entry.firing:
            return Reason.RESOLVED
        if owed:
            return Reason.FIRST
    elif (resolved.keys() if send_resolved else owed) - entry.resolved.keys():
        return Reason.SOME_RESOLVED
    elif now_ms - entry.sent_ms >= repeat_interval_ms:
        return Reason.REPEAT
    return Reason.UPDATE if edits and entry.taken and _moved(entry, firing, resolved) else None


def _moved(entry: Entry, firing: Mapping[str, int], resolved: Mapping[str, int]) -> bool:
    """Whether the count of an alert that was told is another one now."""
    return any(entry.firing.get(i, n) != n for i, n in firing.items()) or any(
        entry.resolved.get(i, n) != n for i, n in resolved.items()
    )
