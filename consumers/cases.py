"""Cases beside rules: events that must raise an alert and events that must not, run through the core.

A file `X.cases.yml` holds the cases of the rules in `X.yml`. Each case has a clock of its own, so that an
hour takes no time. (`rules/README.md` shows the form.)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import orjson

from consumers.rules import CASES_SUFFIX
from pipeline.correlate.correlate import Correlate
from pipeline.detect.detect import Detect, Source
from pipeline.document import documents
from pipeline.duration import parse_duration
from pipeline.errors import ConfigError
from pipeline.event import Batch, Partition
from pipeline.sigma.read import read
from pipeline.sigma.ruleset import RuleSet

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pipeline.alert import Alert

__all__ = ["Outcome", "run_cases"]

_START_MS = 1_767_225_600_000  # 2026-01-01T00:00:00Z
_LATENESS_MS = 30_000
_RESOLVE_MS = 300_000
_MAX_REPEAT = 100_000


class _Step(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An event, some times over; or the passing of time."""

    json: Any = msgspec.UNSET  # Any: what an event may hold
    line: str | None = None
    repeat: int = 1
    every: str = "1s"
    wait: str | None = None


class _Case(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    events: list[_Step]
    alerts: int
    format: str = "auto"
    groups: list[list[str]] | None = None


class _Cases(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    cases: list[_Case]


class Outcome(msgspec.Struct, frozen=True):
    """What came of one case.

    Attributes:
        file: the file of the case.
        line: where the case begins.
        name: the case's name.
        problem: what was not as it should be; empty if all was.
    """

    file: str
    line: int
    name: str
    problem: str = ""


def run_cases(rule_file: Path) -> Iterator[Outcome]:
    """Run the cases beside a rule file; yields nothing where there are none.

    Args:
        rule_file: the file of the rules.

    Raises:
        RuleError: the rules can't be read.
        ConfigError: the cases can't.
    """
    case_file = rule_file.with_name(rule_file.stem + CASES_SUFFIX)
    if not case_file.exists():
        return
    loaded = read(rule_file.read_text(encoding="utf-8"), str(rule_file))
    rules = RuleSet(loaded)
    for document in documents(case_file.read_text(encoding="utf-8"), str(case_file)):
        try:
            cases = msgspec.convert(document.data, _Cases)
        except msgspec.ValidationError as error:
            raise ConfigError(str(error), file=str(case_file), line=document.line("cases")) from error
        for i, case in enumerate(cases.cases):
            problem = _run(rules, case)
            yield Outcome(str(case_file), document.line("cases", i), case.name, problem)


def _run(rules: RuleSet, case: _Case) -> str:
    """Return what was wrong, or nothing."""
    detect = Detect(rules, lateness_ms=_LATENESS_MS, idle_timeout_ms=_RESOLVE_MS)
    correlate = Correlate(rules, resolve_timeout_ms=_RESOLVE_MS)
    logsources = tuple({r.logsource for r in rules.rules.values()})
    partition = Partition("case")
    position = 1
    told = correlate.process(
        [detect.open(partition, Source(case.format, logsources), 0, _START_MS)], position
    )
    for offset, (at_ms, raw) in enumerate(_events(case)):
        position += 1
        batch = Batch(partition, [offset], [at_ms], [raw])
        told += correlate.process(detect.process(batch, at_ms), position)
    told += correlate.process([detect.finish(partition)], position + 1)
    alerts = {a.id: a for a in told}
    if len(alerts) != case.alerts:
        return f"{len(alerts)} alerts, not {case.alerts}{_list(alerts)}"
    if case.groups is not None:
        found = sorted(_group(rules, a) for a in alerts.values())
        if found != sorted(case.groups):
            return f"the groups are {found}, not {case.groups}"
    return ""


def _events(case: _Case) -> Iterator[tuple[int, bytes]]:
    now_ms = _START_MS
    for step in case.events:
        if step.wait is not None:
            now_ms += parse_duration(step.wait)
            continue
        raw = orjson.dumps(step.json) if step.line is None else step.line.encode()
        for _ in range(min(step.repeat, _MAX_REPEAT)):
            yield now_ms, raw
            now_ms += parse_duration(step.every)


def _list(alerts: dict[str, Alert]) -> str:
    names = sorted(f"{a.labels['alertname']} ({a.count} events)" for a in alerts.values())
    return ": " + ", ".join(names[:5]) if names else ""


def _group(rules: RuleSet, alert: Alert) -> list[str]:
    target = rules.targets[alert.labels["rule_id"]]
    return [alert.labels.get(name, "") for name in target.group_by]
