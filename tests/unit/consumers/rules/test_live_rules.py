"""Rules that are reloaded while they run: what is good takes over whole, what is bad changes nothing."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import threading
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from consumers.metrics import Metrics
from consumers.rules import Gate, LiveRules, Loaded, PythonErrors, RuleCache, RuleSources, load
from pipeline.config.model import PlaceholderFile
from pipeline.correlate.correlate import Correlate
from pipeline.detect.detect import Detect, Source
from pipeline.detect.engine import Engines, PythonCalls
from pipeline.detection import Detection
from pipeline.event import Batch, LogSource, Partition
from tests.unit.consumers.rules.rule_files import detection, write

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable
    from pathlib import Path

_P = Partition("p")


class Job:
    """Both stages with rules from a folder."""

    def __init__(self, folder: Path, **options: object) -> None:
        self.folder = folder / "rules"
        write(self.folder, one=detection("one", "{event: boom}"))
        options = {"paths": (str(self.folder),), **options}
        self.live = LiveRules(RuleSources(**options), RuleCache(folder / "cache", lambda: 0), lambda: 5_000)
        self.detect = self.live.detect = Detect(self.live.rules, lateness_ms=0, idle_timeout_ms=0)
        self.correlate = Correlate(self.live.rules, resolve_timeout_ms=300_000)
        self.live.shards = lambda: (self.correlate,)
        self.metrics = Metrics(lambda: 0)
        self.metrics.watch_rules(lambda: self.live.figures)
        self._offset = 0
        self.correlate.process([self.detect.open(_P, Source("json"), 0, 1)], 0)

    def found(self, event: str) -> set[str]:
        """Return the ids of the rules that an event raises alerts of."""
        self._offset += 1
        batch = Batch(_P, [self._offset], [self._offset], [b'{"event":"%b"}' % event.encode()])
        records = self.detect.process(batch, self._offset)
        assert all(d.target in self.live.rules.targets for d in records if isinstance(d, Detection))
        told = self.correlate.process(records, self._offset)
        return {a.labels["rule_id"] for a in told if a.ends_at is None}

    def shows(self, line: str) -> bool:
        return f"{line}\n" in self.metrics.render().decode()

    @contextlib.asynccontextmanager
    async def watched(self) -> AsyncIterator[None]:
        async with asyncio.TaskGroup() as tasks:
            task = tasks.create_task(self.live.run(look_s=0.01, settled_s=0.01))
            yield
            task.cancel()

    async def reloaded(self, result: str, times: int) -> None:
        await until(lambda: self.live.figures.reloads.get(result, 0) >= times)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.to_thread(threading.Event().wait, 0.001)


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return Job(tmp_path)


async def test_changed_rules_take_over(job: Job) -> None:
    assert job.found("boom") == {"one"}
    write(job.folder, one=detection("one", "{event: bang}"), two=detection("two", "{event: bang}"))
    with capture_logs() as logs:
        assert await job.live.reload()
    # Those that run before and after are told once, with how many files had to be read.
    assert [(log["event"], log["rules"], log["files_read"]) for log in logs] == [("rules reloaded", 2, 2)]
    assert job.found("boom") == set()
    assert job.found("bang") == {"one", "two"}
    assert job.shows("tocsin_rules_loaded 2.0")
    assert job.shows("tocsin_rules_loaded_timestamp_seconds 5.0")
    assert job.shows('tocsin_rule_reloads_total{result="ok"} 1.0')


async def test_an_alert_of_a_rule_that_stays_goes_on(job: Job) -> None:
    job.found("boom")
    write(job.folder, two=detection("two", "{event: bang}"))
    assert await job.live.reload()
    batch = Batch(_P, [50], [50], [b'{"event":"boom"}'])
    (alert,) = job.correlate.process(job.detect.process(batch, 50), 50)
    assert (alert.labels["rule_id"], alert.count) == ("one", 2)


@pytest.mark.parametrize(
    "bad",
    ["title: [\n", detection("two", "{event|contians: x}"), detection("one")],
    ids=["no YAML", "no rule", "a name that stands twice"],
)
async def test_bad_rules_are_refused_as_a_whole_and_the_old_ones_go_on(job: Job, bad: str) -> None:
    write(job.folder, bad=bad, good=detection("good", "{event: boom}"))
    with capture_logs() as logs:
        assert not await job.live.reload()
    assert [log["event"] for log in logs] == ["changed rules are refused; those that run go on"]
    assert "/rules/" in logs[0]["reason"]
    assert job.found("boom") == {"one"}
    assert job.shows("tocsin_rule_reload_ok 0.0")
    assert job.shows("tocsin_rules_loaded 1.0")
    assert job.shows('tocsin_rule_reloads_total{result="refused"} 1.0')
    (job.folder / "bad.yml").unlink()
    assert await job.live.reload()
    assert job.found("boom") == {"one", "good"}
    assert job.shows("tocsin_rule_reload_ok 1.0")
    assert job.shows('tocsin_rule_reloads_total{result="refused"} 1.0')


async def test_bad_rules_are_left_out_where_that_is_wanted(tmp_path: Path) -> None:
    job = Job(tmp_path, skip=True)
    write(job.folder, bad="title: [\n", good=detection("good", "{event: boom}"))
    with capture_logs() as logs:
        assert await job.live.reload()
        assert await job.live.reload()
    assert job.found("boom") == {"one", "good"}
    assert job.shows("tocsin_rules_refused 1.0")
    assert [log["event"] for log in logs] == ["a rule is left out", "rules reloaded", "rules reloaded"]


async def test_an_error_of_our_own_refuses_the_rules_too(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise RuntimeError("odd")

    monkeypatch.setattr(job.detect, "prepare", fails)
    with capture_logs() as logs:
        assert not await job.live.reload()
    assert logs[0]["reason"] == "RuntimeError: odd"
    assert logs[0]["exc_info"]
    assert job.found("boom") == {"one"}


async def test_files_that_change_come_and_go_are_seen(job: Job) -> None:
    async with job.watched():
        write(job.folder, one=detection("one", "{event: another}"))
        await job.reloaded("ok", 1)
        assert job.found("another") == {"one"}
        (job.folder / "deep").mkdir()
        write(job.folder / "deep", two=detection("two", "{event: bang}"))
        await job.reloaded("ok", 2)
        assert job.found("bang") == {"two"}
        (job.folder / "deep" / "two.yml").unlink()
        await until(lambda: set(job.live.rules.rules) == {"one"})
        assert job.found("bang") == set()


async def test_cases_and_other_files_cause_nothing(job: Job) -> None:
    (job.folder / "one.cases.yml").write_text("cases: []\n")
    (job.folder / "README.md").write_text("rules\n")
    async with job.watched():
        write(job.folder, two=detection("two"))
        await job.reloaded("ok", 1)
    assert job.live.figures.reloads == {"ok": 1}


async def test_what_is_refused_is_said_once_until_it_changes(job: Job) -> None:
    with capture_logs() as logs:
        async with job.watched():
            write(job.folder, bad="title: [\n")
            await job.reloaded("refused", 1)
            looked = 0

            def looked_again() -> bool:
                nonlocal looked
                looked += 1
                return looked > 100

            await until(looked_again)
            write(job.folder, bad=detection("bad", "{event: boom}"))
            await job.reloaded("ok", 1)
    assert job.live.figures.reloads == {"ok": 1, "refused": 1}
    assert sum("refused" in log["event"] for log in logs) == 1
    assert job.found("boom") == {"one", "bad"}


async def test_a_folder_that_vanishes_is_refused_and_may_come_back(job: Job) -> None:
    async with job.watched():
        job.folder.rename(job.folder.with_name("away"))
        await job.reloaded("refused", 1)
        assert job.found("boom") == {"one"}
        job.folder.with_name("away").rename(job.folder)
        await job.reloaded("ok", 1)
    assert job.found("boom") == {"one"}


async def test_a_reload_that_is_asked_for_needs_no_change(job: Job) -> None:
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(job.live.run(look_s=1000))
        job.live.ask()
        await job.reloaded("ok", 1)
        job.live.ask()
        await job.reloaded("ok", 2)
        task.cancel()


async def test_a_change_while_a_reload_is_under_way_causes_one_more(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go_on = threading.Event(), threading.Event()
    prepare = job.detect.prepare

    def slow(rules: object) -> object:
        begun.set()
        assert go_on.wait(20)
        return prepare(rules)

    monkeypatch.setattr(job.detect, "prepare", slow)
    async with job.watched():
        write(job.folder, two=detection("two", "{event: bang}"))
        await until(begun.is_set)
        write(job.folder, three=detection("three", "{event: bang}"))
        go_on.set()
        await job.reloaded("ok", 2)
    assert job.found("bang") == {"two", "three"}


async def test_a_change_during_the_first_load_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load_and_change(sources: RuleSources, cache: RuleCache) -> Loaded:
        loaded = load(sources, cache)
        write(tmp_path / "rules", two=detection("two", "{event: bang}"))
        return loaded

    monkeypatch.setattr("consumers.rules.live.load", load_and_change)
    job = Job(tmp_path)
    monkeypatch.undo()
    assert job.found("bang") == set()
    async with job.watched():
        await job.reloaded("ok", 1)
    assert job.found("bang") == {"two"}


async def test_what_else_rules_are_made_of_is_watched_too(tmp_path: Path) -> None:
    admins, pipeline, python = tmp_path / "admins.txt", tmp_path / "p.yml", tmp_path / "own.py"
    mapping = "name: T\npriority: 1\ntransformations: [{type: field_name_mapping, mapping: {said: %s}}]\n"
    own = "from pipeline.python_rule import rule\n@rule('own', 'Own')\n"
    own += "def own(e): return e.fields['event'] == '%s'\n"
    admins.write_text("root\n")
    pipeline.write_text(mapping % "other")
    python.write_text(own % "a")
    job = Job(
        tmp_path,
        python=(str(python),),
        placeholders={"admins": PlaceholderFile(file=str(admins))},
        pipelines=(str(pipeline),),
    )
    write(job.folder, two=detection("two", "{said|expand: '%admins%'}"))
    assert await job.live.reload()
    async with job.watched():
        await job.reloaded("ok", 2)
        assert job.found("a") == {"own"}
        python.write_text(own % "bb")
        await job.reloaded("ok", 3)
        assert job.found("bb") == {"own"}
        admins.write_text("root\nanybody\n")
        await job.reloaded("ok", 4)
        pipeline.write_text(mapping % "event")
        await job.reloaded("ok", 5)
    assert job.found("anybody") == {"two"}


@pytest.mark.parametrize("stage", ["detecting", "correlating"])
async def test_nothing_changes_within_a_batch(job: Job, stage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    waiting = asyncio.Event()
    gate = getattr(job.live, stage)
    between = gate.between

    def told() -> contextlib.AbstractAsyncContextManager[None]:
        waiting.set()
        return between()  # type: ignore[no-any-return]  # a gate's

    monkeypatch.setattr(gate, "between", told)
    write(job.folder, one=detection("one", "{event: bang}"))
    async with gate.batch():
        reloading = asyncio.create_task(job.live.reload())
        await waiting.wait()
        for _ in range(10):
            await asyncio.sleep(0)
        assert not reloading.done()
        for rules in (job.live.rules, job.detect.rules):
            assert "boom" in str(rules.rules["one"].condition)
    assert await reloading
    for rules in (job.live.rules, job.detect.rules):
        assert "bang" in str(rules.rules["one"].condition)


def opening(job: Job, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Open a partition of another log source at the first three compilations; tell who compiled."""
    threads: list[str] = []
    compiled = Engines.compile

    def late(self: Engines, declared: Iterable[frozenset[LogSource]]) -> None:
        compiled(self, declared)
        threads.append(threading.current_thread().name)
        number = len(threads)
        if number < 4:
            job.detect.open(Partition("new", number), Source("json", (LogSource(f"p{number}"),)), 0, 1)

    monkeypatch.setattr(Engines, "compile", late)
    return threads


async def test_what_is_opened_while_rules_are_prepared_is_compiled_outside_the_loop(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads = opening(job, monkeypatch)
    write(job.folder, one=detection("one", "{event: bang}"))
    assert await job.live.reload()
    assert len(threads) == 4
    assert threading.current_thread().name not in threads
    assert {frozenset({LogSource(f"p{number}")}) for number in (1, 2, 3)} < {*job.detect._engines.compiled}
    assert job.found("bang") == {"one"}


async def test_rules_that_cannot_be_completed_are_refused(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    opening(job, monkeypatch)

    def fails(*_: object) -> None:
        raise ValueError("no memory")

    compile_ = Engines.compile
    monkeypatch.setattr(
        Engines,
        "compile",
        lambda self, given: fails() if set(given) - {*self.compiled} else compile_(self, given),
    )
    write(job.folder, one=detection("one", "{event: bang}"))
    with capture_logs() as logs:
        assert not await job.live.reload()
    assert "ValueError: no memory" in str(logs)
    assert job.found("boom") == {"one"}
    assert "boom" in str(job.live.rules.rules["one"].condition)


# --- the gate -----------------------------------------------------------------------------------------


async def test_a_change_waits_for_all_batches_and_lets_none_begin_meanwhile() -> None:
    gate, told = Gate(), list[str]()
    leave = asyncio.Event()

    async def batch(name: str) -> None:
        async with gate.batch():
            told.append(name)
            await leave.wait()
            told.append(f"{name} ends")

    async def change() -> None:
        async with gate.between():
            told.append("change")

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(batch("a"))
        tasks.create_task(batch("b"))
        await until(lambda: told == ["a", "b"])
        tasks.create_task(change())
        await asyncio.sleep(0)
        tasks.create_task(batch("c"))
        await asyncio.sleep(0)
        assert told == ["a", "b"]
        leave.set()
    assert told == ["a", "b", "a ends", "b ends", "change", "c", "c ends"]


async def test_a_batch_or_a_change_that_fails_leaves_the_gate_open() -> None:
    gate = Gate()
    for through in (gate.batch, gate.between, gate.batch, gate.between):
        with pytest.raises(KeyError):
            async with asyncio.timeout(5), through():
                raise KeyError


# --- rules in Python that fail ------------------------------------------------------------------------


def test_a_rule_that_fails_is_told_once_a_minute() -> None:
    now_ms = 1_000_000
    calls = PythonCalls()
    errors = PythonErrors(calls, lambda: now_ms)
    with capture_logs() as logs:
        for second in range(0, 130, 10):
            now_ms = 1_000_000 + 1000 * second
            calls.errors["a"] = f"KeyError: {second}"
            errors.tell()
            errors.tell()
    assert [log["error"] for log in logs] == ["KeyError: 0", "KeyError: 60", "KeyError: 120"]


async def test_what_rules_in_python_cost_is_shown(tmp_path: Path) -> None:
    python = tmp_path / "own.py"
    python.write_text(
        "from pipeline.python_rule import rule\n@rule('own', 'Own')\ndef own(e): return e.fields['no such']\n"
    )
    job = Job(tmp_path, python=(str(python),))
    job.metrics.watch_detect(job.detect)
    # A clock that goes on by half a second each time it is asked.
    job.detect.replace(
        Engines(job.live.rules, calls=job.detect.python, timer_ns=itertools.count(0, 500_000_000).__next__)
    )
    with capture_logs() as logs:
        for _ in range(4):
            job.found("boom")
        PythonErrors(job.detect.python, lambda: 10**6).tell()
    assert [(log["rule_id"], log["error"]) for log in logs] == [("own", "KeyError: 'no such'")]
    assert job.shows('tocsin_python_rule_calls_total{rule_id="own"} 4.0')
    assert job.shows('tocsin_python_rule_failures_total{rule_id="own"} 4.0')
    assert job.shows('tocsin_python_rule_seconds_total{rule_id="own"} 2.0')
