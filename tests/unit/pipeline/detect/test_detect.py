from __future__ import annotations

import datetime as dt
import json
import os
import subprocess
import sys
from pathlib import Path

import msgspec
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consumers.rules import load_rules
from pipeline.decode import choose
from pipeline.detect.detect import Detect, Source
from pipeline.detection import Detection, Match, Progress
from pipeline.event import Batch, LogSource, Partition
from pipeline.sigma.matcher.match import compile_rule
from pipeline.sigma.matcher.subject import Subject
from pipeline.sigma.reader.read import read
from pipeline.sigma.ruleset import RuleSet

NOW_MS = 1_795_537_450_000
LATENESS_MS = 30_000
IDLE_MS = 60_000
PART = Partition("logs", 2)
SHIPPED = load_rules([str(Path(__file__).parents[4] / "rules")])

RULES = """\
title: Error
name: error
logsource: {category: application}
detection: {s: {level: error}, condition: s}
---
title: Payment
name: payment
logsource: {category: application}
detection: {s: {event|contains: payment}, condition: s}
---
title: Many
name: many
correlation:
  type: event_count
  rules: [error, payment]
  group-by: [user]
  aliases:
    user: {error: user, payment: payer}
  timespan: 1m
  condition: {gte: 5}
"""
ERROR, _, MANY = RULES.split("---\n")
ALIASES = "  group-by: [user]\n  aliases:\n    user: {error: user, payment: payer}\n"
PLAIN = """\
title: Bang
name: bang
logsource: {product: linux, service: sshd}
detection: {s: {event|contains: bang}, condition: s}
"""


def rules_of(text: str) -> RuleSet:
    return RuleSet(read(text, "r.yml"))


def detect_of(rules: RuleSet | str, source: Source = Source(), offset: int = 0) -> Detect:  # noqa: B008 - frozen
    detect = Detect(
        rules_of(rules) if isinstance(rules, str) else rules, lateness_ms=LATENESS_MS, idle_timeout_ms=IDLE_MS
    )
    detect.open(PART, source, offset, NOW_MS)
    return detect


def batch_of(
    *events: object, start: int = 0, times: list[int] | None = None, caught_up: bool = False
) -> Batch:
    values = [e if isinstance(e, bytes) or e is None else orjson.dumps(e) for e in events]
    times = times or [NOW_MS] * len(values)
    return Batch(PART, list(range(start, start + len(values))), times, values, caught_up)


def found_in(detect: Detect, *events: object, start: int = 0) -> list[Detection]:
    *found, progress = detect.process(batch_of(*events, start=start), NOW_MS)
    assert isinstance(progress, Progress)
    assert progress.offset == start + len(events)
    return [f for f in found if isinstance(f, Detection)]


# --- what is found ------------------------------------------------------------------------------------


def test_matches_of_a_batch_travel_by_target_and_group() -> None:
    detect = detect_of(RULES)
    one, other = found_in(
        detect,
        {"level": "error", "user": "ann", "service": "shop", "host": "h1"},
        {"level": "info", "user": "ann"},
        {"level": "error", "user": "bob"},
        {"level": "error", "user": "ann", "service": "mail"},
        start=40,
    )
    assert (one.target, one.group, one.partition) == ("many", ("ann",), PART)
    assert [m.offset for m in one.matches] == [40, 43]
    assert one.fields == {"service": "shop", "host": "h1"}
    assert one.rule_hash == rules_of(RULES).targets["many"].hash
    assert [m.offset for m in other.matches] == [42]
    assert detect.counts.by_rule == {"error": 3}


def test_rules_of_one_correlation_are_one_stream_in_offset_order_that_counts_an_event_once() -> None:
    (found,) = found_in(
        detect_of(RULES.replace(ALIASES, "  group-by: [user]\n")),
        {"level": "error", "user": "ann"},
        {"event": "payment", "user": "ann"},
        {"level": "error", "event": "payment", "user": "ann"},
        {"event": "payment", "user": "ann"},
    )
    assert [m.offset for m in found.matches] == [0, 1, 2, 3]


def test_the_first_rule_by_id_speaks_for_all_that_find_an_event() -> None:
    names = [f"r{n}" for n in range(20)]
    text = "---\n".join(ERROR.replace("name: error", f"name: {name}") for name in names)
    many = MANY.replace("[error, payment]", f"[{', '.join(names)}]").replace(ALIASES, "  group-by: [user]\n")
    (found,) = found_in(detect_of(f"{text}---\n{many}"), {"level": "error", "user": "ann"})
    assert found.rule == "r0"


_TOLD = """
import sys
import msgspec
from pipeline.detect.detect import Detect, Source
from pipeline.event import Batch, Partition
from pipeline.sigma.reader.read import read
from pipeline.sigma.ruleset import RuleSet
part = Partition("logs")
detect = Detect(RuleSet(read(sys.argv[1], "r.yml")), lateness_ms=0, idle_timeout_ms=0)
detect.open(part, Source(), 0, 1_795_537_450_000)
raw = [b'{"level":"error","user":"u%d","event":"payment","payer":"p"}' % (n % 3) for n in range(9)]
found = detect.process(Batch(part, list(range(9)), [1_795_537_450_000] * 9, raw), 1_795_537_450_000)
sys.stdout.buffer.write(msgspec.json.encode(found))
"""


def test_every_process_detects_the_same_bytes() -> None:
    text = (
        "---\n".join([RULES, *(ERROR.replace("name: error", f"name: e{n}") for n in range(9))])
        .replace("[error, payment]", "[e0, e1, e2, e3, e4, e5, e6, e7, e8, payment]")
        .replace(ALIASES, "  group-by: [user]\n")
    )
    root = Path(__file__).parents[4]
    told = {
        subprocess.run(
            [sys.executable, "-c", _TOLD, text],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(root)},
            cwd=root,
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(told) == 1
    assert b'"e0"' in next(iter(told))


def test_aliases_name_the_field_of_each_rule() -> None:
    found = found_in(
        detect_of(RULES),
        {"level": "error", "user": "ann"},
        {"event": "payment", "payer": "ann", "user": "nobody"},
    )
    assert [(f.group, [m.offset for m in f.matches]) for f in found] == [(("ann",), [0, 1])]


def test_an_event_without_a_group_by_field_is_left_out_and_counted() -> None:
    detect = detect_of(RULES)
    assert found_in(detect, {"level": "error"}, {"level": "error", "user": None}) == []
    assert (detect.counts.matches, detect.counts.ungrouped) == (2, 2)


def test_an_event_without_the_value_that_is_counted_is_left_out_and_counted() -> None:
    text = RULES.replace("event_count", "value_count").replace("{gte: 5}", "{gte: 5, field: [ip, port]}")
    detect = detect_of(text)
    (found,) = found_in(
        detect,
        {"level": "error", "user": "ann", "ip": "::1", "port": 1},
        {"level": "error", "user": "ann", "ip": "::1"},
        {"level": "error", "user": "ann", "ip": "a:1", "port": "b"},
        {"level": "error", "user": "ann", "ip": "a", "port": "1:b"},
    )
    values = {m.value for m in found.matches}
    assert len(values) == len(found.matches) == 3
    assert detect.counts.ungrouped == 1


def test_a_plain_rule_matches_without_its_group() -> None:
    (found,) = found_in(detect_of(PLAIN), {"event": "bang"})
    assert (found.target, found.group) == ("bang", ("",))


def test_samples_are_the_first_and_last_few_and_bounded() -> None:
    events = [{"event": f"bang {i} " + "x" * 5000} for i in range(30)]
    (found,) = found_in(detect_of(PLAIN), *events)
    assert [offset for offset, _ in found.samples] == [0, 1, 2, 3, 4, 25, 26, 27, 28, 29]
    assert {len(text) for _, text in found.samples} == {2000}
    assert len(found.matches) == 30


def test_values_of_groups_and_labels_are_bounded() -> None:
    (found,) = found_in(detect_of(RULES), {"level": "error", "user": "u" * 10_000, "host": "h" * 10_000})
    assert (found.group, found.fields) == (("u" * 256,), {"host": "h" * 256})


def test_the_same_batch_gives_the_same_records_however_often() -> None:
    events = [
        {"level": "error", "event": f"payment {i}", "user": f"u{i % 3}", "payer": "p"} for i in range(50)
    ]
    results = [msgspec.json.encode(detect_of(RULES).process(batch_of(*events), NOW_MS)) for _ in range(3)]
    assert len(set(results)) == 1


# --- log sources --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("declared", "applies"),
    [
        ((), True),
        ((LogSource(product="linux", service="sshd"),), True),
        ((LogSource(product="Linux", service="SSHD", category="auth"),), True),
        ((LogSource(category="application"), LogSource(product="linux", service="sshd")), True),
        ((LogSource(category="application"),), False),
        ((LogSource(product="linux"),), False),
        ((LogSource(product="linux"), LogSource(service="sshd")), False),
        ((LogSource(product="windows", service="sshd"),), False),
    ],
)
def test_a_rule_applies_where_each_part_it_sets_is_declared(
    declared: tuple[LogSource, ...], applies: bool
) -> None:
    detect = detect_of(PLAIN, Source(logsources=declared))
    assert bool(found_in(detect, {"event": "bang"})) is applies


def test_a_rule_that_no_bytes_speak_for_sees_every_event() -> None:
    text = PLAIN.replace(
        "{s: {event|contains: bang}, condition: s}", "{s: {event|contains: bang}, condition: not s}"
    )
    detect = detect_of(text)
    assert detect.unfiltered(Source()) == ("bang",)
    assert [len(f.matches) for f in found_in(detect, {"event": "bang"}, {"event": "x"}, b"y")] == [2]


def test_a_declared_service_stands_in_where_an_event_names_none() -> None:
    detect = detect_of(PLAIN, Source(service="shop"))
    found = found_in(detect, {"event": "bang"}, {"event": "bang", "service": "mail"}, b"bang")
    assert [(f.group, len(f.matches)) for f in found] == [(("shop",), 2), (("mail",), 1)]


@pytest.mark.parametrize(
    ("detection", "expected"),
    [
        ("{s: [orders], condition: s}", [2, 3]),
        # What is looked for in the bytes is another word, so that the keyword is asked of decoded events.
        ("{s: [orders], t: {event|contains: mimikatz}, condition: s and t}", [3]),
        ("{s: [orders], condition: not s}", [0, 1]),
    ],
)
def test_a_keyword_does_not_find_what_the_source_declares(detection: str, expected: list[int]) -> None:
    text = PLAIN.replace("{s: {event|contains: bang}, condition: s}", detection)
    found = found_in(
        detect_of(text, Source(service="orders")),
        {"event": "x mimikatz"},
        b"plain mimikatz",
        {"event": "x", "service": "orders"},
        b"mimikatz of orders",
    )
    assert [[m.offset for m in f.matches] for f in found] == [expected]


# --- bad input ----------------------------------------------------------------------------------------


def test_empty_records_and_tombstones_are_counted_and_passed() -> None:
    detect = detect_of(PLAIN)
    (found,) = found_in(detect, None, {"event": "bang"}, b"", {"event": "bang"}, None)
    assert [m.offset for m in found.matches] == [1, 3]
    assert (detect.counts.empty, detect.counts.events) == (3, 2)
    assert found_in(detect, None, b"", start=5) == []


# --- accounts of sources ------------------------------------------------------------------------------


def numbered(*numbers: int, start: int = 0, times: list[int] | None = None) -> Batch:
    """Return a batch of errors of one source, numbered as given."""
    batch = batch_of(*({"event": "bang"} for _ in numbers), start=start, times=times)
    headers = [[("source", b"s1"), ("seq", b"%d" % n)] for n in numbers]
    return msgspec.structs.replace(batch, keys=[b"orders"] * len(numbers), headers=headers)


def test_record_that_was_read_before_is_passed_over_as_if_it_were_empty() -> None:
    detect = detect_of(PLAIN)
    batch = detect.account(numbered(0, 1, 1, 0, 2), NOW_MS)
    found, progress = detect.process(batch, NOW_MS)
    assert isinstance(found, Detection)
    assert isinstance(progress, Progress)
    assert [m.offset for m in found.matches] == [0, 1, 4]
    assert progress.offset == 5
    assert (detect.counts.events, detect.counts.empty, detect.sources.repeated) == (3, 0, 2)


def test_batch_of_nothing_but_repeated_records_still_says_how_far_it_went() -> None:
    detect = detect_of(PLAIN)
    detect.process(detect.account(numbered(0, 1), NOW_MS), NOW_MS)
    late = numbered(0, 1, start=2, times=[NOW_MS + 50_000] * 2)
    (progress,) = detect.process(detect.account(late, NOW_MS + 60_000), NOW_MS + 60_000)
    assert isinstance(progress, Progress)
    # Their times are not looked at: they are of the records that were read before.
    assert (progress.offset, progress.watermark_ms) == (4, NOW_MS - LATENESS_MS)


def test_partition_that_is_opened_anew_has_an_account_of_its_own() -> None:
    detect = detect_of(PLAIN)
    detect.account(numbered(0, 1), NOW_MS)
    assert detect.accounts == (1, 0)
    detect.open(PART, Source(), 0, NOW_MS)
    assert detect.accounts == (0, 0)
    assert detect.account(numbered(0, 1), NOW_MS).repeated == frozenset()
    detect.close(PART)
    assert detect.accounts == (0, 0)


def test_partition_that_comes_back_where_it_was_left_keeps_its_account() -> None:
    detect = detect_of(PLAIN)
    detect.process(detect.account(numbered(0, 1), NOW_MS), NOW_MS)
    detect.close(PART)
    detect.open(PART, Source(), 2, NOW_MS + 60_000)
    assert detect.account(numbered(0, 1, 2, start=2), NOW_MS).repeated == {2, 3}


@pytest.mark.parametrize(("offset", "later_ms"), [(0, 0), (1, 0), (3, 0), (2, 3_600_000)])
def test_partition_that_comes_back_elsewhere_or_much_later_begins_a_new_account(
    offset: int, later_ms: int
) -> None:
    detect = detect_of(PLAIN)
    # Entered, but not worked on: whoever begins anew must not take these for repeated.
    detect.account(numbered(0, 1), NOW_MS)
    detect.close(PART)
    detect.open(PART, Source(), offset, NOW_MS + later_ms)
    assert detect.account(numbered(0, 1, start=offset), NOW_MS + later_ms).repeated == frozenset()


@pytest.mark.parametrize(
    ("record_ms", "at_end", "ran_ms", "told_ms"),
    [
        (NOW_MS, True, 30_000, NOW_MS + 30_000),
        # Of yesterday, read again: an event of today would make all that come after it late.
        (NOW_MS - 86_400_000, True, 30_000, NOW_MS - 86_400_000 + 30_000),
        (NOW_MS + 86_400_000, True, 30_000, NOW_MS + 30_000),
    ],
)
def test_what_is_told_of_sources_has_the_time_of_their_partition(
    record_ms: int, at_end: bool, ran_ms: int, told_ms: int
) -> None:
    detect = detect_of(PLAIN)
    detect.process(detect.account(numbered(0, 3, times=[record_ms] * 2), NOW_MS), NOW_MS)
    now_ms, told = NOW_MS, []
    while now_ms < NOW_MS + ran_ms:
        now_ms += 1_000
        told += detect.tell(PART, now_ms, at_end=at_end)
    (event,) = told
    assert event.time_ms == told_ms
    assert dt.datetime.fromisoformat(orjson.loads(event.value)["timestamp"]).timestamp() * 1000 == told_ms


def test_event_about_sources_is_found_by_the_rules_that_ship() -> None:
    detect = Detect(SHIPPED, lateness_ms=1_000, idle_timeout_ms=IDLE_MS)
    detect.open(PART, Source(logsources=(LogSource(category="application"),)), 0, NOW_MS)
    detect.process(detect.account(numbered(0, 5), NOW_MS), NOW_MS)
    (event,) = detect.tell(PART, NOW_MS + 1_000, at_end=True)
    (found,) = found_in(detect, event.value, start=2)
    assert detect.rules.targets[found.target].about.title == "Records Of A Service Were Lost"
    assert found.group == ("orders",)


def test_an_empty_batch_says_nothing_but_that_the_end_is_reached() -> None:
    detect = detect_of(PLAIN)
    assert detect.process(batch_of(caught_up=True), NOW_MS) == []
    assert len(detect.tick(NOW_MS + IDLE_MS)) == 1


@pytest.mark.parametrize(
    "raw",
    [
        b'{"event": "bang"',
        b"\xff\xfe bang",
        b"bang" + b"x" * 10_000_000,
        b'{"event": "bang", "deep": ' + b"[" * 1000 + b"]" * 1000 + b"}",
        b'{"event": "bang", "deep": ' + b'{"a":' * 1000 + b"1" + b"}" * 1001,
        b"\0bang\0",
        b'{"event": "\\ud800 bang", "service": "\\udfff"}',
        b'{"event": "no", "event": "bang"}',
        b'{"event": "bang", "n": 1e999}',
        b'{"event": "bang", "n": 123456789012345678901234567890}',
        b'{"event": "bang", "timestamp": "never"}',
        b'{"event": "bang", "timestamp": "9999-12-31T23:59:59Z"}',
        b'{"event": "bang", "timestamp": 1e300}',
        b'{"event": "bang", "timestamp": -62135596800000}',
        b'["bang"]',
        b'"bang"',
        b"\xed\xa0\x80 bang",
    ],
    ids=lambda raw: repr(raw[:40]),
)
@pytest.mark.parametrize("format_", ["auto", "json"])
def test_whatever_comes_is_matched_and_can_travel(raw: bytes, format_: str) -> None:
    detect = detect_of(PLAIN, Source(format=format_))
    (found,) = found_in(detect, raw)
    assert len(found.matches) == 1
    assert abs(found.matches[0].time_ms - NOW_MS) <= 86_400_000
    assert msgspec.json.decode(msgspec.json.encode(found), type=Detection) == found


def test_what_is_not_of_its_format_is_counted_and_matched_as_text() -> None:
    detect = detect_of(PLAIN, Source(format="json"))
    (found,) = found_in(detect, b"bang {", {"event": "bang"})
    assert [m.offset for m in found.matches] == [0, 1]
    assert detect.counts.undecodable == 1


@pytest.mark.parametrize("record_ms", [-1, 0, 2**62, NOW_MS + 10 * 86_400_000])
def test_an_absurd_record_time_is_replaced_by_the_clock(record_ms: int) -> None:
    detect = detect_of(PLAIN)
    found, progress = detect.process(batch_of({"event": "bang"}, times=[record_ms]), NOW_MS)
    assert isinstance(found, Detection)
    assert isinstance(progress, Progress)
    assert found.matches == (Match(0, NOW_MS),)
    assert progress.watermark_ms <= NOW_MS
    assert detect.counts.untimed == 1


# --- time ---------------------------------------------------------------------------------------------


def watermark(detect: Detect, *times: int, now_ms: int = NOW_MS) -> int:
    progress = detect.process(batch_of(*([b"{}"] * len(times)), times=list(times)), now_ms)[-1]
    assert isinstance(progress, Progress)
    return progress.watermark_ms


def test_an_opened_partition_holds_the_watermark_from_its_offset_on() -> None:
    detect = Detect(rules_of(PLAIN), lateness_ms=LATENESS_MS, idle_timeout_ms=IDLE_MS)
    assert detect.open(PART, Source(siblings=6), 17, NOW_MS) == Progress(PART, 17, 0, siblings=6)


def test_watermark_is_the_highest_record_time_less_the_lateness_and_never_goes_back() -> None:
    detect = detect_of(PLAIN)
    assert watermark(detect, NOW_MS - 500, NOW_MS - 100, NOW_MS - 300) == NOW_MS - 100 - LATENESS_MS
    assert watermark(detect, NOW_MS - 9000) == NOW_MS - 100 - LATENESS_MS


def test_one_clock_from_the_future_makes_nobody_else_late() -> None:
    detect = detect_of(PLAIN)
    assert watermark(detect, NOW_MS - 5000, NOW_MS + 7_200_000) == NOW_MS - 5000 - LATENESS_MS
    # Where there is nothing else, time goes on with the clock.
    assert watermark(detect, NOW_MS + 7_200_000) == NOW_MS - LATENESS_MS


def test_a_silent_partition_is_idle_only_once_it_has_been_read_to_its_end() -> None:
    detect = detect_of(PLAIN)
    detect.process(batch_of({}), NOW_MS)
    assert detect.tick(NOW_MS + 10 * IDLE_MS) == []
    detect.mark_caught_up(PART)
    assert detect.tick(NOW_MS + IDLE_MS - 1) == []
    (idle,) = detect.tick(NOW_MS + IDLE_MS)
    # Its time then runs with the clock.
    assert idle == Progress(PART, 1, NOW_MS + IDLE_MS - LATENESS_MS, idle=True)
    assert [p.idle for p in detect.process(batch_of({}, start=1), NOW_MS) if isinstance(p, Progress)] == [
        False
    ]


def test_a_partition_that_was_closed_is_forgotten() -> None:
    detect = detect_of(PLAIN)
    detect.mark_caught_up(PART)
    detect.close(PART)
    detect.close(PART)
    detect.mark_caught_up(PART)
    assert detect.tick(NOW_MS + IDLE_MS) == []


FILE = Source(timed=False)
OLD_MS = 1_134_000_000_000  # 2005


def at(ms: int) -> str:
    return dt.datetime.fromtimestamp(ms / 1000, dt.UTC).isoformat()


def progress_of(detect: Detect, *events: object, start: int = 0) -> Progress:
    progress = detect.process(batch_of(*events, start=start), NOW_MS)[-1]
    assert isinstance(progress, Progress)
    return progress


def test_a_files_watermark_comes_from_its_events() -> None:
    detect = detect_of(PLAIN, FILE)
    # The first is parsed since it matches, the last since it is the last.
    progress = progress_of(
        detect, {"event": "bang", "timestamp": at(OLD_MS)}, {"timestamp": at(OLD_MS + 5000)}
    )
    assert progress.watermark_ms == OLD_MS + 5000 - LATENESS_MS
    assert detect.finish(PART) == Progress(PART, 2, OLD_MS + 5000, idle=True)


def test_an_event_that_matches_and_is_the_last_is_decoded_once() -> None:
    detect = detect_of(PLAIN, Source(timed=False, format="json"))
    progress_of(detect, b"bang {")
    assert (detect.counts.undecodable, detect.counts.untimed) == (1, 1)


def test_a_line_without_a_time_does_not_move_a_file_to_the_present() -> None:
    detect = detect_of(PLAIN, FILE)
    assert progress_of(detect, {"event": "bang"}).watermark_ms == 0
    assert progress_of(detect, {"timestamp": at(OLD_MS)}, start=1).watermark_ms == OLD_MS - LATENESS_MS
    for start in range(2, 50):
        assert progress_of(detect, b"  at Foo.bar", start=start).watermark_ms == OLD_MS - LATENESS_MS


def test_a_file_without_times_goes_by_when_it_is_read() -> None:
    detect = detect_of(PLAIN, FILE)
    for start in range(15):
        assert progress_of(detect, b"plain words", start=start).watermark_ms == 0
    assert progress_of(detect, b"plain words", start=15).watermark_ms == NOW_MS - LATENESS_MS


def test_a_short_file_without_times_ends_with_when_it_was_read() -> None:
    detect = detect_of(PLAIN, FILE)
    progress_of(detect, b"plain words")
    assert detect.finish(PART).watermark_ms == NOW_MS


# --- the whole, against plain evaluation --------------------------------------------------------------

WORDS = [
    "error",
    "payment failed",
    "' OR 1=1 --",
    "../../etc/passwd",
    "<script>alert(1)</script>",
    "${jndi:ldap://x}",
    "Failed password for root from 10.0.0.1 port 22 ssh2",
    "Invalid user admin from 10.0.0.2",
    "UNION SELECT password",
    "sqlmap/1.7",
    "/.env",
    "caf\u00e9 \U0001f600",
    'quote " slash / back \\ tab \t',
    "x",
]
VALUES = st.one_of(
    st.sampled_from(WORDS), st.integers(0, 600), st.none(), st.booleans(), st.floats(allow_nan=False)
)
NAMES = [
    "event",
    "level",
    "service",
    "user",
    "src_ip",
    "sc-status",
    "cs-uri-query",
    "c-useragent",
    "logger",
    "extra",
]
EVENTS = st.dictionaries(st.sampled_from(NAMES), st.one_of(VALUES, st.lists(VALUES, max_size=3)), max_size=6)


def evaluated(rules: RuleSet, values: list[bytes]) -> dict[str, int]:
    """How often each rule matches, without any prefilter."""
    matchers = {r.about.id: compile_rule(r) for r in rules.rules.values()}
    counts: dict[str, int] = {}
    decoder = choose("auto")
    for value in values:
        subject = Subject(decoder.decode(value, NOW_MS))
        for rule, matcher in matchers.items():
            if matcher(subject):
                counts[rule] = counts.get(rule, 0) + 1
    return counts


@settings(deadline=None, max_examples=60)
@given(st.lists(EVENTS, min_size=1, max_size=40), st.booleans())
def test_detection_equals_plain_evaluation_of_every_rule(
    events: list[dict[str, object]], escaped: bool
) -> None:
    values = [json.dumps(e, ensure_ascii=escaped).encode() for e in events]
    detect = detect_of(SHIPPED)
    detect.process(batch_of(*values), NOW_MS)
    assert detect.counts.by_rule == evaluated(SHIPPED, values)


def test_text_lines_are_detected_as_plain_evaluation_does() -> None:
    values = [
        f"2026-11-24 10:{i // 60:02}:{i % 60:02},000 - {level} - {word} {i}".encode()
        for i, (word, level) in enumerate(
            (w, v) for w in WORDS for v in ("ERROR", "INFO", "CRITICAL", "WARNING")
        )
    ]
    detect = detect_of(SHIPPED)
    detect.process(batch_of(*values), NOW_MS)
    assert detect.counts.by_rule == evaluated(SHIPPED, values)
    assert len(detect.counts.by_rule) > 4
