"""What an event has from where it was logged: the trace, the line of code, the process."""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
import os
import subprocess
import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING

import orjson
import pytest
import structlog
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider

import producers
from producers import KafkaHandler
from producers.event import context

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TRACER = TracerProvider().get_tracer("tests")


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    for handler in root.handlers:
        if isinstance(handler, KafkaHandler):
            handler.close()
    root.handlers, root.level = handlers, level
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


def lines(path: Path) -> list[dict[str, object]]:
    return [orjson.loads(line) for line in path.read_bytes().splitlines()]


def ids(span: trace.Span) -> tuple[str, str]:
    told = span.get_span_context()
    return trace.format_trace_id(told.trace_id), trace.format_span_id(told.span_id)


def test_every_task_has_the_ids_of_its_own_span(tmp_path: Path) -> None:
    producers.configure(path=tmp_path / "log")
    log, logger = structlog.get_logger("a"), logging.getLogger("b")
    expected: dict[str, tuple[str, str]] = {}

    async def serve(name: str, others: asyncio.Barrier) -> None:
        with TRACER.start_as_current_span(name) as span:
            expected[name] = ids(span)
            await others.wait()
            log.info(name)
            await asyncio.sleep(0)
            logger.info(name)
            await log.ainfo(name)
            with TRACER.start_as_current_span(name) as inner:
                within = f"{name} inner"
                expected[within] = ids(inner)
                await asyncio.sleep(0)
                log.info(within)

    async def main() -> None:
        others = asyncio.Barrier(5)
        await asyncio.gather(*(serve(f"request {n}", others) for n in range(5)))

    asyncio.run(main())
    events = lines(tmp_path / "log")
    assert len(events) == 20
    for event in events:
        assert (event["trace_id"], event["span_id"]) == expected[str(event["event"])]


@pytest.mark.parametrize("own", [{"trace_id": "t"}, {"span_id": "s"}, {"trace_id": "t", "span_id": "s"}])
def test_trace_that_the_caller_names_goes_first(tmp_path: Path, own: dict[str, str]) -> None:
    # Its span is no part of the other trace.
    producers.configure(path=tmp_path / "log")
    with TRACER.start_as_current_span("x"):
        logging.getLogger("b").info("by logging", extra=own)
        structlog.get_logger("a").info("by structlog", **own)
        with structlog.contextvars.bound_contextvars(**own):
            logging.getLogger("b").info("by context")
    for event in lines(tmp_path / "log"):
        assert {name: event[name] for name in ("trace_id", "span_id") if name in event} == own


def test_without_a_span_there_are_no_ids(tmp_path: Path) -> None:
    producers.configure(path=tmp_path / "log")
    logging.getLogger("b").info("x")
    (event,) = lines(tmp_path / "log")
    assert "trace_id" not in event


@pytest.mark.parametrize("broken", [object(), SimpleNamespace(get_current_span=lambda: 5)])
def test_library_that_is_just_being_imported_does_no_harm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: object
) -> None:
    producers.configure(path=tmp_path / "log")
    monkeypatch.setitem(sys.modules, context.TRACING, broken)
    logging.getLogger("b").info("x")
    assert [event["event"] for event in lines(tmp_path / "log")] == ["x"]


def test_nothing_is_imported_for_it(tmp_path: Path) -> None:
    code = (
        "import sys, logging, producers\n"
        f"handler = producers.KafkaHandler(path={str(tmp_path / 'log')!r}, callsite=True)\n"
        "logging.getLogger().addHandler(handler)\n"
        "logging.error('x', extra={'a': {'b': [1]}, 'o': object()})\n"
        "names = ('opentelemetry', 'structlog', 'numpy', 'asyncio', 'aiokafka')\n"
        "print([name for name in names if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout == "[]\n"


def test_callsite_is_the_line_that_logs(tmp_path: Path) -> None:
    producers.configure(path=tmp_path / "log", callsite=True)

    def here() -> int:
        return sys._getframe(1).f_lineno

    logging.getLogger("b").info("by logging")
    first = here() - 1
    structlog.get_logger("a").info("by structlog")
    structlog.get_logger("a").bind(x=1).warning("bound")
    try:
        int("x")
    except ValueError:
        structlog.get_logger("a").exception("failed")
    events = lines(tmp_path / "log")
    expected = {"file": __file__, "function": "test_callsite_is_the_line_that_logs"}
    assert [e["callsite"] for e in events] == [{**expected, "line": first + n} for n in (0, 2, 3, 7)]


def test_callsite_is_found_when_another_thread_logs_for_it(tmp_path: Path) -> None:
    producers.configure(path=tmp_path / "log", callsite=True)

    async def serve() -> None:
        await structlog.get_logger("a").ainfo("by structlog")

    asyncio.run(serve())
    (event,) = lines(tmp_path / "log")
    assert event["callsite"]["function"] == "serve"  # type: ignore[index]  # a JSON value


def test_callsite_is_left_out_unless_asked_for(tmp_path: Path) -> None:
    producers.configure(path=tmp_path / "log")
    logging.getLogger("b").info("x")
    assert "callsite" not in lines(tmp_path / "log")[0]


def test_callers_own_callsite_goes_before_ours(tmp_path: Path) -> None:
    producers.configure(path=tmp_path / "log", callsite=True)
    logging.getLogger("b").info("x", extra={"callsite": "mine"})
    assert lines(tmp_path / "log")[0]["callsite"] == "mine"


def test_record_that_tells_no_place_has_an_empty_one() -> None:
    record = logging.makeLogRecord({"pathname": None, "lineno": "x", "funcName": None})
    assert context.callsite_of(record) == {"file": "None", "line": 0, "function": "None"}


def test_local_variables_of_an_exception_are_masked(tmp_path: Path) -> None:
    producers.configure(path=tmp_path / "log", capture_locals=True, mask_keys=["badge"])

    def pay() -> None:
        password, badge, note, order = "hunter2", "hunter2", "token=hunter2", 17
        raise ValueError((password, badge, note, order) and "no")

    try:
        pay()
    except ValueError:
        logging.getLogger("b").exception("failed")
    (event,) = lines(tmp_path / "log")
    innermost = event["exception"]["frames"][-1]  # type: ignore[index]  # a JSON value
    assert innermost["locals"] == {
        "password": "[masked]",
        "badge": "[masked]",
        "note": "'token=[masked]'",
        "order": "17",
    }


def _log() -> None:
    logging.getLogger("tests.forked").warning("child %d", os.getpid())


def test_forked_child_tells_its_own_process(tmp_path: Path) -> None:
    logger = logging.getLogger("tests.forked")
    handler = KafkaHandler(path=tmp_path / "log")
    logger.addHandler(handler)
    try:
        logger.warning("parent")
        child = multiprocessing.get_context("fork").Process(target=_log)
        child.start()
        child.join(20)
    finally:
        logger.removeHandler(handler)
        handler.close()
    parent, forked = lines(tmp_path / "log")
    assert parent["pid"] == os.getpid()
    assert forked["event"] == f"child {forked['pid']}"
    assert forked["pid"] != parent["pid"]
