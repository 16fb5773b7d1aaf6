"""Cases beside rules: events that must raise an alert and events that must not, run through the core.

A file `X.cases.yml` holds the cases of the rules in `X.yml`. Each case has a clock of its own, so that an
hour takes no time. (`rules/README.md` shows the form.)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import orjson

from consumers.rules import CASES_SUFFIX
from consumers.wording import some
from pipeline.config.read import located
from pipeline.correlate.correlate import Correlate
from pipeline.decode import FORMATS
from pipeline.decode.sniffer import AUTO
from pipeline.detect.detect import Detect, Source
from pipeline.document import documents
from pipeline.duration import parse_duration
from pipeline.errors import ConfigError, nearest
from pipeline.event import Batch, Partition

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from pipeline.alert import Alert
    from pipeline.document import Document, Key
    from pipeline.sigma.ruleset import RuleSet

__all__ = ["Outcome", "run_cases"]

_START_MS = 1_767_225_600_000  # 2026-01-01T00:00:00Z
_LATENESS_MS = 30_000
_RESOLVE_MS = 300_000
_MAX_REPEAT = 100_000


class _Step(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An event, some times over; or the passing of time. Exactly one of `json`, `line` and `wait` is set."""

    json: Any = msgspec.UNSET  # Any: what an event may hold
    line: str | None = None
    repeat: Annotated[int, msgspec.Meta(ge=1, le=_MAX_REPEAT)] = 1
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


def run_cases(rule_file: Path, rules: RuleSet) -> Iterator[Outcome]:
    """Run the cases beside a rule file; yields nothing where there are none.

    What counts are the alerts of the file's own rules, as they are among all others: filters apply, and a
    correlation may count rules of other files. Of a file with filters the alerts of all rules count.

    Args:
        rule_file: the file of the rules, named as in their `about`.
        rules: all rules.

    Raises:
        ConfigError: the cases can't be read.
    """
    case_file = rule_file.with_name(rule_file.stem + CASES_SUFFIX)
    if not case_file.exists():
        return
    bench = _Bench(rules, str(rule_file))
    for document in documents(_read(case_file), str(case_file)):
        try:
            cases = msgspec.convert(document.data, _Cases)
        except msgspec.ValidationError as error:
            raise located(document, str(error), _Cases) from error
        for i, case in enumerate(cases.cases):
            events, end_ms = _events(document, i, case)
            yield Outcome(
                str(case_file), document.line("cases", i), case.name, bench.run(case, events, end_ms)
            )


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(f"not UTF-8: {error.reason} at byte {error.start}", file=str(file)) from error
    except OSError as error:
        raise ConfigError(error.strerror or str(error), file=str(file)) from error


class _Bench:
    """Where the cases of one file are tried: all rules, compiled once, and which of their alerts count."""

    def __init__(self, rules: RuleSet, file: str) -> None:
        self._rules = rules
        self._own = {
            target.id
            for target in rules.targets.values()
            if target.about.file == file or any(f.about.file == file for f in rules.filters.values())
        }
        fed = {rule for target in self._own for rule in rules.targets[target].rules}
        # A rule that only feeds correlations of other files is seen through these.
        fed |= {rule for rule, r in rules.rules.items() if r.about.file == file}
        self._logsources = tuple({rules.rules[rule].logsource for rule in sorted(fed)})
        self._detect = Detect(rules, lateness_ms=_LATENESS_MS, idle_timeout_ms=_RESOLVE_MS)

    def run(self, case: _Case, events: list[tuple[int, bytes]], end_ms: int) -> str:
        """Return what was wrong, or nothing."""
        detect = self._detect
        correlate = Correlate(self._rules, resolve_timeout_ms=_RESOLVE_MS)
        partition = Partition("case")
        opened = detect.open(partition, Source(case.format, self._logsources), 0, _START_MS)
        told = correlate.process([opened], 0)
        for offset, (at_ms, raw) in enumerate(events):
            batch = Batch(partition, [offset], [at_ms], [raw])
            told += correlate.process(detect.process(batch, at_ms), offset + 1)
        finished = detect.finish(partition)
        # What waits for time to pass sees all of it.
        finished = msgspec.structs.replace(finished, watermark_ms=max(finished.watermark_ms, end_ms))
        told += correlate.process([finished], len(events) + 1)
        last = {alert.id: alert for alert in told}.values()
        alerts = [a for a in last if a.count and a.labels["rule_id"] in self._own]
        if len(alerts) != case.alerts:
            return f"{some(len(alerts), 'alert')}, not {case.alerts}{_list(alerts)}"
        if case.groups is not None:
            found = sorted(_group(self._rules, a) for a in alerts)
            if found != sorted(case.groups):
                return f"the groups are {found}, not {case.groups}"
        return ""


def _events(document: Document, number: int, case: _Case) -> tuple[list[tuple[int, bytes]], int]:
    """Return the events of a case with their times, and the time at its end."""
    formats = (AUTO, *FORMATS)
    if case.format not in formats:
        hint = nearest(case.format, formats)
        raise document.error(f"no such format: {case.format!r}; {hint}", "cases", number, "format")
    now_ms = _START_MS
    events: list[tuple[int, bytes]] = []
    for i, step in enumerate(case.events):
        path: tuple[Key, ...] = ("cases", number, "events", i)
        if [step.json is not msgspec.UNSET, step.line is not None, step.wait is not None].count(True) != 1:
            raise document.error("an event is one of `json`, `line` and `wait`", *path)
        try:
            if step.wait is not None:
                now_ms += parse_duration(step.wait)
                continue
            every_ms = parse_duration(step.every)
            raw = step.line.encode() if step.line is not None else orjson.dumps(step.json)
        except (ValueError, TypeError) as error:  # no duration; what JSON has no form for
            raise document.error(str(error), *path) from error
        for _ in range(step.repeat):
            events.append((now_ms, raw))
            now_ms += every_ms
    return events, now_ms


def _list(alerts: Sequence[Alert]) -> str:
    names = sorted(f"{a.labels['alertname']} ({some(a.count, 'event')})" for a in alerts)
    return ": " + ", ".join(names[:5]) if names else ""


def _group(rules: RuleSet, alert: Alert) -> list[str]:
    target = rules.targets[alert.labels["rule_id"]]
    return [alert.labels.get(name, "") for name in target.group_by]
