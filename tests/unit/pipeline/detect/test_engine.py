from __future__ import annotations

import sys
from functools import partial
from itertools import count
from typing import TYPE_CHECKING

import msgspec
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.detect.detect import Detect, Source
from pipeline.detection import Detection
from pipeline.errors import RuleError
from pipeline.event import Batch, Event, LogSource, Partition
from pipeline.python_rule import rule
from pipeline.sigma.reader.read import read
from pipeline.sigma.ruleset import RuleSet
from tests.unit.calls import calls_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Iterator

    from pipeline.python_rule import Predicate, PythonRule
    from pipeline.sigma.form import Correlation, Filter, Rule

NOW_MS = 1_795_537_450_000
PART = Partition("logs")
SIGMA = """\
title: Process
name: process
logsource: {product: windows, category: process_creation}
detection: {s: {event|contains: bang}, condition: s}
---
title: Security
name: security
logsource: {product: windows, service: security}
detection: {s: {event|contains: bang}, condition: s}
---
title: Anything of Windows
name: windows
logsource: {product: windows}
detection: {s: {event|contains: bang}, condition: s}
---
title: Application
name: application
logsource: {category: application}
detection: {s: {event|contains: bang}, condition: s}
"""
SYSMON = {"product": "windows", "service": "sysmon", "category": "process_creation"}


def detect_of(
    rules: Iterable[Rule | Correlation | Filter | PythonRule],
    *declared: LogSource,
    timer: Iterator[int] | None = None,
) -> Detect:
    ticks = timer or count()
    detect = Detect(RuleSet(rules), lateness_ms=30_000, idle_timeout_ms=60_000, timer_ns=lambda: next(ticks))
    detect.open(PART, Source("json", declared), 0, NOW_MS)
    return detect


def found(detect: Detect, *events: dict[str, object]) -> list[str]:
    values = [orjson.dumps(e) for e in events]
    offsets = list(range(len(values)))
    records = detect.process(Batch(PART, offsets, [NOW_MS] * len(values), values), NOW_MS)
    return sorted(r.rule for r in records if isinstance(r, Detection))


# --- what an event says of itself ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("declared", "said", "expected"),
    [
        # Nothing declared: the event's word counts, and without it every rule applies.
        ((), None, ["application", "process", "security", "windows"]),
        ((), SYSMON, ["process", "windows"]),
        ((), {"product": "linux"}, []),
        # No more than a product: events of that product add to it.
        ((LogSource("windows"),), None, ["windows"]),
        ((LogSource("windows"),), SYSMON, ["process", "windows"]),
        ((LogSource("windows"),), {"product": "linux"}, ["windows"]),
        (
            (LogSource("windows"),),
            {"product": "windows", "category": "application"},
            ["application", "windows"],
        ),
        (
            (LogSource("Windows"), LogSource(category="application")),
            SYSMON,
            ["application", "process", "windows"],
        ),
        # Declared in full: no event can take itself out of the rules.
        ((LogSource(category="application"),), SYSMON, ["application"]),
        ((LogSource("windows", "security"),), SYSMON, ["security", "windows"]),
    ],
)
def test_an_events_own_log_source_counts_where_the_source_leaves_it_open(
    declared: tuple[LogSource, ...], said: dict[str, str] | None, expected: list[str]
) -> None:
    event: dict[str, object] = {"event": "bang"}
    if said is not None:
        event["logsource"] = said
    assert found(detect_of(read(SIGMA, "r.yml"), *declared), event) == expected


def test_what_events_say_is_forgotten_before_it_fills_the_memory() -> None:
    detect = detect_of(read(SIGMA, "r.yml"))
    for n in range(3):
        events = [{"event": "bang", "logsource": {"product": f"p{n}-{i}"}} for i in range(900)]
        assert found(detect, *events) == []
    assert len(detect.engine(Source("json"))._wanted) <= 1000


@pytest.mark.parametrize("declared", [(), (LogSource("windows"),)])
def test_a_log_source_that_no_event_said_before_costs_no_pass_over_the_rules(
    declared: tuple[LogSource, ...],
) -> None:
    counted: list[int] = []
    for size in (1, 400):
        text = "---\n".join(SIGMA.replace("name: ", f"name: {n}") for n in range(size))
        engine = detect_of(read(text, "r.yml"), *declared).engine(Source("json", declared))
        said = [LogSource("windows", f"service{n}", "process_creation") for n in range(50)]
        engine.wanted((said[0],))
        counted.append(calls_of(lambda engine=engine, said=said: [engine.wanted((s,)) for s in said]))
    assert counted[0] == counted[1] < 50 * 60


@given(st.data())
def test_what_is_wanted_is_what_applies_to_what_is_said(data: st.DataObject) -> None:
    declared = data.draw(st.frozensets(LOGSOURCES, max_size=2), label="declared")
    kinds = data.draw(st.lists(LOGSOURCES, min_size=1, max_size=4), label="rules")
    said = tuple(data.draw(st.lists(LOGSOURCES, max_size=2), label="said"))
    rules = [
        rule(f"r{n}", "R", logsource={k: v for k, v in msgspec.structs.asdict(kind).items() if v})(bool)
        for n, kind in enumerate(kinds)
    ]
    engine = detect_of(rules, *declared).engine(Source("json", tuple(declared)))
    wanted = engine.wanted(said)
    alone = {d.product.lower() for d in declared if not (d.service or d.category)} - {""}
    trusted = [s for s in said if s.product.lower() in alone] if declared else said
    # What an event of such a product may turn out to be of: that product, or any.
    open_to = alone | {""} if alone else alone
    chosen = {
        n for n, k in enumerate(kinds) if not declared or applies(k, declared) or k.product.lower() in open_to
    }
    assert set(engine.matchers) == {f"r{n}" for n in chosen}
    expected = {
        f"r{n}"
        for n in chosen
        if not (declared or said) or applies(kinds[n], trusted) or applies(kinds[n], declared)
    }
    assert (set(engine.matchers) if wanted is None else wanted) == expected


LOGSOURCES = st.builds(
    LogSource,
    *(
        st.sampled_from(["", name, name.upper(), f"other{name}"])
        for name in ("product", "service", "category")
    ),
)


def applies(kind: LogSource, sources: Iterable[LogSource]) -> bool:
    """Say whether each part that a rule sets is so in one of `sources`."""
    pairs = [
        [
            (getattr(kind, part).lower(), getattr(s, part).lower())
            for part in ("product", "service", "category")
        ]
        for s in sources
    ]
    return any(all(not wanted or wanted == has for wanted, has in parts) for parts in pairs)


# --- rules in Python ----------------------------------------------------------------------------------


@rule(
    "11111111-0000-4000-8000-000000000001", "Large", level="high", needles=["invoice"], tags=["attack.impact"]
)
def large(event: Event) -> bool:
    """An invoice above the limit."""
    total = event.fields.get("total")
    return isinstance(total, int) and total > 100


@rule("11111111-0000-4000-8000-000000000002", "Raises")
def raises(event: Event) -> bool:
    return bool(event.fields["missing"])


def test_a_rule_in_python_finds_as_any_other_and_only_its_needles_are_parsed() -> None:
    detect = detect_of([large])
    assert found(detect, {"event": "Invoice", "total": 500}) == [large.about.id]
    assert found(detect, {"event": "invoice", "total": 5}, {"event": "bill", "total": 500}) == []
    assert detect.counts.candidates == 2
    (target,) = RuleSet([large]).targets.values()
    assert (target.about.title, target.about.level, target.about.tags) == (
        "Large",
        "high",
        ("attack.impact",),
    )
    assert target.about.description == "An invoice above the limit."


def test_a_rule_in_python_applies_to_its_log_source_only() -> None:
    windows = rule("w", "W", logsource={"product": "windows"})(lambda _: True)
    assert found(detect_of([windows], LogSource("linux")), {"event": "x"}) == []
    assert found(detect_of([windows], LogSource("windows")), {"event": "x"}) == ["w"]


def test_a_rule_in_python_that_raises_is_counted_and_told_and_goes_on() -> None:
    detect = detect_of([raises, large])
    events = [{"event": "invoice", "total": 500}, {"event": "x"}, {"event": "x", "missing": 1}]
    assert found(detect, *events) == [large.about.id, raises.about.id]
    assert detect.python.failures == {raises.about.id: 2}
    assert detect.python.calls == {raises.about.id: 3, large.about.id: 1}
    assert detect.python.take_errors() == {raises.about.id: "KeyError: 'missing'"}
    assert detect.python.take_errors() == {}


class UnspeakableError(Exception):
    def __str__(self) -> str:
        raise SystemExit("no text")


def exits(_: Event) -> bool:
    sys.exit(3)


def raises_unspeakably(_: Event) -> bool:
    raise UnspeakableError


def is_no_truth(_: Event) -> bool:
    class Odd:
        def __bool__(self) -> bool:
            raise UnspeakableError

    return Odd()  # type: ignore[return-value]  # as a rule may


@pytest.mark.parametrize(
    ("function", "told"),
    [
        (exits, "SystemExit: 3"),
        (raises_unspeakably, "UnspeakableError"),
        (is_no_truth, "UnspeakableError"),
    ],
)
def test_however_a_rule_in_python_fails_the_others_go_on(
    function: Callable[[Event], bool], told: str
) -> None:
    detect = detect_of([rule("own", "Own")(function), large])
    assert found(detect, {"event": "invoice", "total": 500}) == [large.about.id]
    assert detect.python.take_errors() == {"own": told}
    assert detect.python.failures == {"own": 1}


def test_whoever_interrupts_is_not_held_up_by_a_rule_in_python() -> None:
    def interrupted(_: Event) -> bool:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        found(detect_of([rule("own", "Own")(interrupted)]), {"event": "x"})


def test_the_time_of_a_rule_in_python_is_measured_where_it_raises_too() -> None:
    detect = detect_of([raises], timer=iter([0, 40, 100, 105]))
    found(detect, {"event": "x"}, {"event": "x", "missing": 1})
    assert detect.python.spent_ns == {raises.about.id: 45}


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"rule_id": "", "title": "T"}, "needs an id"),
        ({"rule_id": "x", "title": ""}, "needs an id and a title"),
        ({"rule_id": "x", "title": "T", "level": "severe"}, "no such level: 'severe'"),
        ({"rule_id": "x", "title": "T", "logsource": {"produkt": "p"}}, "not produkt"),
        ({"rule_id": "x", "title": "T", "needles": ["a"]}, "too short"),
    ],
)
def test_a_rule_in_python_that_is_not_as_it_must_be_is_refused(
    arguments: dict[str, object], told: str
) -> None:
    with pytest.raises(Exception, match=told) as caught:
        rule(**arguments)(lambda _: True)  # type: ignore[arg-type]  # wrong on purpose
    assert "test_engine.py:" in str(caught.value)


async def awaited(_: Event) -> bool:
    return False


def yielding(_: Event) -> Iterator[bool]:
    yield False


async def both(_: Event) -> AsyncIterator[bool]:
    yield False


class Awaited:
    async def __call__(self, _: Event) -> bool:
        return False


@pytest.mark.parametrize(
    "function",
    [awaited, yielding, both, Awaited(), partial(awaited)],
    ids=["async", "gen", "both", "object", "part"],
)
def test_a_function_whose_result_would_always_count_as_yes_is_refused(function: Predicate) -> None:
    with pytest.raises(RuleError, match="plain function"):
        rule("x", "T")(function)


def test_one_text_as_needles_is_one_needle() -> None:
    assert rule("x", "T", needles="invoice")(lambda _: True).needles == ("invoice",)


def test_the_order_of_needles_makes_no_other_rule() -> None:
    orders = (["b1", "a1", "b1"], ("a1", "b1"), {"b1", "a1"})
    made = [rule("x", "T", needles=needles)(lambda _: True) for needles in orders]
    assert {(m.needles, m.about.hash) for m in made} == {(("a1", "b1"), made[0].about.hash)}
    assert rule("x", "T", needles=["a1"])(lambda _: True).about.hash != made[0].about.hash


# --- other rules --------------------------------------------------------------------------------------


def test_prepared_rules_take_over_with_the_next_batch_whole() -> None:
    detect = detect_of(read(SIGMA, "r.yml"), LogSource("windows"))
    assert found(detect, {"event": "bang"}) == ["windows"]
    other = SIGMA.replace("name: windows", "name: renamed").replace("contains: bang", "contains: boom")
    prepared = detect.prepare(RuleSet(read(other, "r.yml")))
    assert found(detect, {"event": "bang"}, {"event": "boom"}) == ["windows"]
    detect.replace(prepared)
    assert found(detect, {"event": "bang"}, {"event": "boom"}) == ["renamed"]
    assert "renamed" in detect.rules.rules
    assert detect.counts.events == 5


def test_prepared_rules_are_compiled_for_all_that_is_read() -> None:
    detect = detect_of(read(SIGMA, "r.yml"), LogSource("windows"))
    detect.open(Partition("other"), Source("json", (LogSource(category="application"),)), 0, NOW_MS)
    prepared = detect.prepare(RuleSet(read(SIGMA, "r.yml")))
    assert set(prepared.compiled) == {
        frozenset({LogSource("windows")}),
        frozenset({LogSource("", "", "application")}),
    }


def test_what_was_opened_while_rules_were_prepared_is_missing_from_them() -> None:
    detect = detect_of(read(SIGMA, "r.yml"), LogSource("windows"))
    prepared = detect.prepare(RuleSet(read(SIGMA, "r.yml")))
    assert detect.missing(prepared) == frozenset()
    other = Partition("other")
    detect.open(other, Source("json", (LogSource(category="application"),)), 0, NOW_MS)
    missing = detect.missing(prepared)
    assert missing == {frozenset({LogSource(category="application")})}
    prepared.compile(missing)
    assert detect.missing(prepared) == frozenset()
    detect.close(other)
    assert detect.missing(detect.prepare(RuleSet(()))) == frozenset()
