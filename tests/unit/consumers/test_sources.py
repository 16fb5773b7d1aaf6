"""What is told of sources before the first event is read."""

from __future__ import annotations

import structlog

from consumers.sources import declared_source, warn_of_universal
from pipeline.config.read import read_config
from pipeline.detect.detect import Detect, Source
from pipeline.event import LogSource
from pipeline.sigma.reader.read import read
from pipeline.sigma.ruleset import RuleSet

NEGATIVE = """\
title: Not from inside
logsource: {LOGSOURCE}
detection: {inside: {src_ip|cidr: 10.0.0.0/8}, condition: not inside}
"""


def warned(logsource: str, *declared: LogSource) -> list[str]:
    rules = RuleSet(read(NEGATIVE.replace("LOGSOURCE", logsource), "r.yml"))
    detect = Detect(rules, lateness_ms=30_000, idle_timeout_ms=60_000)
    with structlog.testing.capture_logs() as logs:
        warn_of_universal(detect, Source("json", declared))
    return [entry["title"] for entry in logs if "will match every event" in entry["event"]]


def test_rule_that_relies_on_its_log_source_is_told_where_none_is_declared() -> None:
    assert warned("product: zeek, service: rdp") == ["Not from inside"]


def test_declared_log_source_is_no_reason_to_warn() -> None:
    assert warned("product: zeek, service: rdp", LogSource("zeek", "rdp")) == []
    assert warned("product: zeek, service: rdp", LogSource("linux")) == []


def test_silence_is_off_unless_a_topic_sets_it() -> None:
    text = """\
sources: [{kafka: logs}, {kafka: audit, silence: 5m}]
route: {receiver: r}
receivers: [{name: r}]
"""
    sources = read_config(text, "t.yml", {}).config.sources
    assert [declared_source(s).silence_ms for s in sources] == [0, 300_000]
