"""`group-by` of a detection: its fields group the events and are labels of the alerts."""

from __future__ import annotations

import orjson
import pytest

from pipeline.correlate.correlate import Correlate
from pipeline.detect.detect import Detect
from pipeline.detect.source import Source
from pipeline.errors import RuleError
from pipeline.event import Batch, LogSource, Partition
from pipeline.sigma.form import Rule
from pipeline.sigma.reader.read import read
from pipeline.sigma.ruleset import RuleSet

START_MS = 1_790_000_000_000
HOUR_MS = 3_600_000
TEXT = """\
title: Told
id: 3f0b2a9c-1d7e-4c53-9b52-6f0d8a1c2e11
logsource: {category: application}
detection:
  selection: {told|exists: true}
  condition: selection
"""
GROUPED = TEXT + "group-by: [told, service]\n"


def rule_of(text: str) -> Rule:
    (rule,) = read(text, "t.yml")
    assert isinstance(rule, Rule)
    return rule


def labels_of(text: str, *events: dict[str, object], times_ms: tuple[int, ...] = ()) -> list[dict[str, str]]:
    rules = RuleSet(read(text, "t.yml"))
    detect = Detect(rules, lateness_ms=1_000, idle_timeout_ms=1_000)
    correlate = Correlate(rules, resolve_timeout_ms=300_000)
    partition = Partition("logs")
    source = Source("json", (LogSource(category="application"),))
    alerts = correlate.process([detect.open(partition, source, 0, START_MS)], 0)
    for offset, event in enumerate(events):
        at_ms = times_ms[offset] if times_ms else START_MS
        batch = Batch(partition, [offset], [at_ms], [orjson.dumps(event)])
        alerts += correlate.process(detect.process(batch, START_MS), offset + 1)
    return [alert.labels for alert in alerts]


def test_fields_become_labels_and_each_set_of_values_an_alert() -> None:
    found = labels_of(
        GROUPED,
        {"told": "a", "service": "web"},
        {"told": "b", "service": "web"},
        {"told": "a", "service": "shop"},
    )
    assert [(labels["told"], labels["service"]) for labels in found] == [
        ("a", "web"),
        ("b", "web"),
        ("a", "shop"),
    ]


def test_event_without_one_of_the_fields_counts_all_the_same() -> None:
    (labels,) = labels_of(GROUPED, {"told": "a"})
    assert labels["told"] == "a"
    assert "service" not in labels


def test_event_that_comes_long_after_younger_ones_is_told() -> None:
    found = labels_of(
        GROUPED,
        {"told": "a", "service": "web"},
        {"told": "late", "service": "web"},
        times_ms=(START_MS, START_MS - HOUR_MS),
    )
    assert [labels["told"] for labels in found] == ["a", "late"]


def test_label_takes_the_place_of_none_that_the_rule_gives() -> None:
    (labels,) = labels_of(TEXT + "group-by: [severity, told]\n", {"told": "a", "severity": "none at all"})
    assert (labels["severity"], labels["told"]) == ("medium", "a")


def test_without_it_a_detection_groups_by_service() -> None:
    (labels,) = labels_of(TEXT, {"told": "a", "service": "web"})
    assert labels["service"] == "web"
    assert "told" not in labels


def test_other_groups_are_another_rule_to_open_alerts() -> None:
    plain, grouped, other = (rule_of(text) for text in (TEXT, GROUPED, TEXT + "group-by: told\n"))
    assert (grouped.group_by, other.group_by) == (("told", "service"), ("told",))
    assert len({plain.about.hash, grouped.about.hash, other.about.hash}) == 3
    assert plain.about.hash == rule_of(TEXT).about.hash


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("group-by: 7", "t.yml:7: group-by: `group-by` is a field's name or a list of them, not 7"),
        ("group-by: [told, '']", r"t.yml:7: group-by\[1\]: a group is made of fields' names, not of ''"),
    ],
)
def test_what_names_no_field_is_an_error_with_its_line(written: str, message: str) -> None:
    with pytest.raises(RuleError, match=message):
        read(f"{TEXT}{written}\n", "t.yml")
