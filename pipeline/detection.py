"""Detections: what the detect stage found, on the way to the worker that owns the key.

A record on the `detections` topic is either a `Detection` or a `Progress`. Per source partition both
come in offset order, so whoever reads them can skip what it has applied before.
"""

from __future__ import annotations

import msgspec

from pipeline.event import Partition

__all__ = ["Detection", "Match", "Progress"]


class Match(msgspec.Struct, frozen=True, array_like=True):
    """One event that matched.

    Attributes:
        offset: of the event in its source partition.
        time_ms: the event's time, milliseconds since the epoch.
        value: what `value_count` counts the distinct ones of; None for other correlations.
    """

    offset: int
    time_ms: int
    value: str | None = None


class Detection(msgspec.Struct, frozen=True, tag="detection", omit_defaults=True):
    """All events of one batch that matched for the same target and group.

    Attributes:
        target: id of the rule that raises the alert: a correlation, or a plain rule itself.
        rule_hash: content hash of the target, so that a changed rule starts anew.
        rule: id of the rule that matched (a correlation may count several).
        group: values of the target's group-by fields, in the order of the rule.
        partition: the source partition of the events.
        matches: the events, in offset order.
        samples: texts of some of the events, as (offset, text), for people.
        fields: what the alert shows beside the group: `service`, `host`, `environment`.
    """

    target: str
    rule_hash: str
    rule: str
    group: tuple[str, ...]
    partition: Partition
    matches: tuple[Match, ...]
    samples: tuple[tuple[int, str], ...] = ()
    fields: dict[str, str] = {}


class Progress(msgspec.Struct, frozen=True, tag="progress", omit_defaults=True):
    """How far a source partition has been read.

    Attributes:
        partition: the source partition.
        offset: the next offset to be read: everything below has been detected.
        watermark_ms: highest record timestamp less the lateness, milliseconds since the epoch; 0 while
            nothing of the partition is known, which holds everyone's watermark.
        idle: whether the partition is read to its end and has been silent for the idle timeout. Its
            watermark then runs at the pace of the clock, and holds nobody's.
        siblings: how many partitions the topic has: until all have told, there is no watermark.
    """

    partition: Partition
    offset: int
    watermark_ms: int
    idle: bool = False
    siblings: int = 1
