"""Kept state: groups, alerts and what is remembered of finished ones, as records of a store.

A group's record stands under its key; an alert's under the group's key, a line end (no group key has one) and
its id. Records are JSON. A group is written before its alerts and removed after them, so that a write cut
short leaves no alert behind that nobody asks for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from pipeline.errors import TocsinError
from pipeline.notify.group import Finished, Group, Held

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Kept", "alert_key", "encode", "owner", "read"]


class Kept(msgspec.Struct):
    """What a store gave back.

    Attributes:
        groups: by key, each with its alerts.
        finished: by the alert's key.
        orphans: by their key, alerts whose group's record is missing.
    """

    groups: dict[str, Group]
    finished: dict[str, Finished]
    orphans: dict[str, Held]


def alert_key(group_key: str, alert_id: str) -> str:
    """Return where an alert of a group is kept."""
    return f"{group_key}\n{alert_id}"


def owner(key: str) -> str | None:
    """Return the group whose alert is kept under a key, or None when the key is a group's own."""
    group_key, end, _ = key.partition("\n")
    return group_key if end else None


def encode(record: Group | Held | Finished) -> bytes:
    """Return the JSON of a record; that of a group is without its alerts."""
    if isinstance(record, Group):
        record = msgspec.structs.replace(record, alerts={})
    return msgspec.json.encode(record)


def read(records: Mapping[str, bytes]) -> Kept:
    """Read what a store kept.

    Raises:
        TocsinError: a record can't be read; what was sent would be sent again, so nothing is guessed.
    """
    kept = Kept({}, {}, {})
    for key, data in records.items():
        try:
            if (group_key := owner(key)) is None:
                kept.groups[key] = _GROUPS.decode(data)
                continue
            item = _ITEMS.decode(data)
        except msgspec.DecodeError as error:
            raise TocsinError(f"the kept state of {key!r} can't be read: {error}") from error
        if isinstance(item, Finished):
            kept.finished[key] = item
        else:
            kept.orphans[key] = item
    for key, held in list(kept.orphans.items()):
        if (group_key := owner(key)) in kept.groups:
            kept.groups[group_key].alerts[held.alert.id] = kept.orphans.pop(key)
    return kept


_GROUPS = msgspec.json.Decoder(Group)
_ITEMS: msgspec.json.Decoder[Held | Finished] = msgspec.json.Decoder(Held | Finished)
