"""The format that `auto` learns: what one rule finds must not depend on which others are loaded."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.detect.detect import Detect, Source
from pipeline.detection import Detection
from pipeline.event import Batch, Partition
from pipeline.sigma.reader.read import read
from pipeline.sigma.ruleset import RuleSet

NOW_MS = 1_795_537_450_000
PART = Partition("logs")
RULE = """\
title: Attack
name: attack
logsource: {category: any}
detection: {s: {host: web1, event|contains: attack}, condition: s}
---
title: By its message
name: message
logsource: {category: any}
detection: {s: {event|startswith: attack}, condition: s}
---
title: An error
name: error
logsource: {category: any}
detection: {s: {level: error}, condition: s}
"""
ALWAYS = """\
---
title: Needs every event
name: always
logsource: {category: any}
detection: {s: {nothing: null, other: x}, condition: not s}
"""


def found(rules: str, values: list[bytes], sizes: list[int]) -> list[Detection]:
    """Return what the rules but `always` detect in batches of some sizes, which repeat."""
    detect = Detect(RuleSet(read(rules, "r.yml")), lateness_ms=0, idle_timeout_ms=60_000)
    detect.open(PART, Source(), 0, NOW_MS)
    told: list[Detection] = []
    start = turn = 0
    while start < len(values):
        batch = values[start : start + sizes[turn % len(sizes)]]
        offsets = list(range(start, start + len(batch)))
        told += [
            d
            for d in detect.process(Batch(PART, offsets, [NOW_MS] * len(batch), batch), NOW_MS)
            if isinstance(d, Detection) and d.rule != "always"
        ]
        start, turn = start + len(batch), turn + 1
    return told


# The last two are read in one way or another by several formats.
LINES = {
    "syslog": b"2026-11-24T12:34:56Z web1 sshd[1]: hello",
    "basic": b"2026-11-24 12:34:56,000 - a.b - ERROR - attack",
    "json": b'{"event":"attack","host":"web1","level":"error"}',
    "access": b'192.0.2.7 - - [24/Nov/2026:12:34:56 +0000] "GET /attack HTTP/1.1" 200 5 "-" "curl"',
    "logfmt": b"ts=1795523696.5 level=error host=web1 msg=attack",
    "prose": b"an attack",
    "either": b"2026-11-24T12:34:56Z web1 ERROR: disk attack",
    "other": b"2026-11-24T12:34:56Z web1 ERROR: attack",
}


def test_a_candidate_is_read_in_the_format_of_what_no_rule_wants() -> None:
    values = [b"2026-11-24T12:34:56Z web1 sshd[1]: hello %d" % n for n in range(100)]
    values.append(LINES["either"])
    for sizes in ([1], [7], [1000]):
        (one,) = found(RULE, values, sizes)
        assert (one.rule, [m.offset for m in one.matches]) == ("attack", [100])


def test_the_first_records_of_a_partition_are_read_in_the_format_of_those_after_them() -> None:
    values = [LINES["either"], *[LINES["syslog"]] * 7]
    assert [d.rule for d in found(RULE, values, [8])] == ["attack"]


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(st.sampled_from(sorted(LINES)), st.integers(1, 40)), min_size=1, max_size=10),
    st.lists(st.integers(1, 60), min_size=1, max_size=4),
)
def test_another_rule_changes_nothing_that_a_rule_finds(
    runs: list[tuple[str, int]], sizes: list[int]
) -> None:
    values = [LINES[name] for name, length in runs for _ in range(length)]
    assert found(RULE, values, sizes) == found(RULE + ALWAYS, values, sizes)
