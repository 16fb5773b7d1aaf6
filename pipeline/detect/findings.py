"""Findings: what one batch holds for each target and group, gathered until the batch is done."""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson

from pipeline.detection import Detection, Match

if TYPE_CHECKING:
    from pipeline.event import Event, Partition
    from pipeline.sigma.matcher.subject import Subject
    from pipeline.sigma.ruleset import Target

__all__ = ["MAX_VALUE_CHARS", "Findings"]

MAX_VALUE_CHARS = 256
"""Characters kept of a value that groups or describes."""

_MAX_SAMPLES = 5
_MAX_SAMPLE_CHARS = 2000
# How an event of Windows begins whose fields stand deep within it.
_MARKED_UP = ('{"Event":', '{"Event" :')
_SHOWN = ("service", "host", "environment")


class Findings:
    """The matches of one batch, gathered by target and group; an event counts once for each."""

    def __init__(self, partition: Partition) -> None:
        self._partition = partition
        self._gathered: dict[tuple[str, tuple[str, ...]], _Gathered] = {}

    def add(self, target: Target, rule: str, group: tuple[str, ...], match: Match, subject: Subject) -> None:
        """Add an event that `rule` found for a group of `target`."""
        key = (target.id, group)
        gathered = self._gathered.get(key)
        if gathered is None:
            fields = {name: texts[0][:MAX_VALUE_CHARS] for name in _SHOWN if (texts := subject.texts(name))}
            gathered = self._gathered[key] = _Gathered(target.hash, rule, fields)
        elif gathered.matches[-1].offset == match.offset:
            # Another rule of the same correlation has found it already.
            return
        gathered.matches.append(match)
        gathered.samples.append((match.offset, _sample(subject.event)))
        if len(gathered.samples) > 2 * _MAX_SAMPLES:
            # The first few and the last few: what began it, and how it stands.
            del gathered.samples[_MAX_SAMPLES]

    def detections(self) -> list[Detection]:
        """Return what was gathered, a record for each target and group."""
        return [
            Detection(
                target=target,
                rule_hash=gathered.rule_hash,
                rule=gathered.rule,
                group=group,
                partition=self._partition,
                matches=tuple(gathered.matches),
                samples=tuple(gathered.samples),
                fields=gathered.fields,
            )
            for (target, group), gathered in self._gathered.items()
        ]


def _sample(event: Event) -> str:
    """Return what people see of an event: as it was written, but of Windows without the markup."""
    if event.structured and event.logsources and event.text.startswith(_MARKED_UP):
        return orjson.dumps(event.fields).decode()[:_MAX_SAMPLE_CHARS]
    return event.text[:_MAX_SAMPLE_CHARS]


class _Gathered:
    """What one batch holds for one target and group; `rule` is the one that matched first."""

    __slots__ = ("fields", "matches", "rule", "rule_hash", "samples")

    def __init__(self, rule_hash: str, rule: str, fields: dict[str, str]) -> None:
        self.rule_hash = rule_hash
        self.rule = rule
        self.fields = fields
        self.matches: list[Match] = []
        self.samples: list[tuple[int, str]] = []
