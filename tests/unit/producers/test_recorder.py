"""The flight recorder: what is kept, what an error takes along, and what is forgotten at which bound."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import logging
import logging.config
import re
import socket
import subprocess
import sys
import threading
import tracemalloc
import weakref
from collections import Counter, OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING

import orjson
import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

import producers
from producers import KafkaHandler, KafkaLoggerFactory
from producers.event.renderer import RenderedEvent
from producers.recorder import Recorder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).parents[3]


class Sink:
    """Keeps what it is given."""

    dropped: dict[str, int] = {}  # noqa: RUF012 - as the protocol types it
    pending = 0

    def __init__(self) -> None:
        self.events: list[RenderedEvent] = []

    def write(self, event: RenderedEvent) -> None:
        self.events.append(event)

    def lose(self, level: str) -> None: ...

    def flush(self, timeout_s: float | None = None) -> bool:
        return True

    def close(self) -> None: ...

    def texts(self) -> list[str]:
        return [event.value.decode() for event in self.events]


def event(
    text: str, level: str = "debug", trace: str = "", *, key: str = "shop", time_ms: int = 0
) -> RenderedEvent:
    return RenderedEvent(text.encode(), key.encode(), time_ms, level, trace)


def recorder(
    *, least: int = logging.DEBUG, max_bytes: int = 2**20, max_records: int = 200, max_rings: int = 100
) -> tuple[Recorder, Sink]:
    sink = Sink()
    made = Recorder(sink, least=least, max_bytes=max_bytes, max_records=max_records, max_rings=max_rings)
    return made, sink


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log"


@pytest.fixture
def logger(path: Path) -> Iterator[logging.Logger]:
    """A logger of its own, whose one handler records."""
    logger = logging.Logger("shop.web", logging.DEBUG)  # noqa: LOG001 - pytest's own handlers don't listen to it
    logger.addHandler(KafkaHandler(service="shop", path=path, recorder=True))
    yield logger
    for handler in logger.handlers:
        handler.close()


@pytest.fixture
def root() -> Iterator[logging.Logger]:
    """The root logger, as it was again in the end."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    filters = {handler: handler.filters[:] for handler in handlers}
    yield root
    for handler in root.handlers:
        if isinstance(handler, KafkaHandler):
            handler.close()
    root.handlers, root.level = handlers, level
    for handler, before in filters.items():
        handler.filters = before
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


def lines(path: Path) -> list[dict[str, object]]:
    return [orjson.loads(line) for line in path.read_bytes().splitlines()]


def told(path: Path) -> list[object]:
    return [line["event"] for line in lines(path)]


# --- what an error takes along ------------------------------------------------------------------------


def test_error_takes_what_was_kept_of_its_trace_along_first_and_in_order(
    logger: logging.Logger, path: Path
) -> None:
    for n in range(3):
        logger.debug("mine %d", n, extra={"trace_id": "a"})
        logger.debug("other %d", n, extra={"trace_id": "b"})
    logger.info("sent at once", extra={"trace_id": "a"})
    logger.error("failed", extra={"trace_id": "a"})
    assert told(path) == ["sent at once", "mine 0", "mine 1", "mine 2", "failed"]
    assert [line.get("recorded", False) for line in lines(path)] == [False, True, True, True, False]


def test_second_error_takes_only_what_is_new(logger: logging.Logger, path: Path) -> None:
    for n in range(2):
        logger.debug("step %d", n, extra={"trace_id": "a"})
        logger.error("failed %d", n, extra={"trace_id": "a"})
    assert told(path) == ["step 0", "failed 0", "step 1", "failed 1"]


def test_what_is_kept_is_no_loss(logger: logging.Logger) -> None:
    (handler,) = logger.handlers
    assert isinstance(handler, KafkaHandler)
    for n in range(300):
        logger.debug("step %d", n)
    logger.error("failed")
    recorder = handler.recorder
    assert recorder is not None
    assert (recorder.kept, recorder.sent, recorder.forgotten, recorder.held) == (300, 200, 100, 0)
    assert (handler.dropped, handler.pending) == ({}, 0)


def test_records_are_rendered_and_masked_when_they_are_logged(logger: logging.Logger, path: Path) -> None:
    order = {"state": "new", "password": "hunter2"}
    logger.debug("order", extra={"order": order})
    order["state"] = "gone"
    logger.error("failed")
    assert lines(path)[0]["order"] == {"state": "new", "password": "[masked]"}


def test_field_of_the_service_that_has_the_marks_name_stays(logger: logging.Logger, path: Path) -> None:
    logger.debug("song", extra={"recorded": "1969"})
    logger.error("failed")
    assert lines(path)[0]["recorded"] == "1969"


def test_event_of_another_renderer_is_kept_as_it_is(path: Path) -> None:
    factory = KafkaLoggerFactory(path=path, recorder=True)
    factory().debug("key=value")
    factory().error('{"event":"failed"}')
    assert path.read_bytes() == b'key=value\n{"event":"failed"}\n'
    factory.handler.close()


@pytest.mark.parametrize("trace", [2**100, "4bf92f3577b34da6a3ce929d0e0e4736", "x" * 5_000])
def test_trace_ids_of_all_kinds_are_told_apart(logger: logging.Logger, path: Path, trace: object) -> None:
    logger.debug("mine", extra={"trace_id": trace})
    logger.debug("other", extra={"trace_id": "other"})
    logger.debug("none", extra={"trace_id": None})
    logger.debug("odd", extra={"trace_id": ["a"]})
    logger.error("failed", extra={"trace_id": trace})
    assert told(path) == ["mine", "failed"]


def test_structlogs_context_variables_name_the_trace_for_both(root: logging.Logger, path: Path) -> None:
    producers.configure(service="shop", path=path, recorder=True)
    log = structlog.get_logger("a")
    for trace in ("a", "b"):
        structlog.contextvars.bind_contextvars(trace_id=trace)
        log.debug("by structlog", n=1)
        logging.getLogger("b").debug("by logging")
    logging.getLogger("b").error("failed")
    assert [(line["event"], line["trace_id"]) for line in lines(path)] == [
        ("by structlog", "b"),
        ("by logging", "b"),
        ("failed", "b"),
    ]


# --- tasks and threads --------------------------------------------------------------------------------


async def test_tasks_have_rings_of_their_own(logger: logging.Logger, path: Path) -> None:
    ready = asyncio.Barrier(3)

    async def work(name: str) -> None:
        logger.debug("%s begins", name)
        await ready.wait()
        logger.debug("%s goes on", name)
        if name == "b":
            logger.error("%s fails", name)

    async with asyncio.TaskGroup() as group:
        for name in ("a", "b", "c"):
            group.create_task(work(name))
    assert told(path) == ["b begins", "b goes on", "b fails"]


async def test_task_does_not_inherit_the_ring_of_an_ended_one(logger: logging.Logger, path: Path) -> None:
    async def work(n: int) -> int:
        logger.debug("task %d", n)
        return id(asyncio.current_task())

    # One after the other they are made in the same place.
    places = Counter([await asyncio.create_task(work(n)) for n in range(50)])
    assert max(places.values()) > 1

    async def fail() -> None:
        logger.error("failed")

    for _ in range(10):
        await asyncio.create_task(fail())
    assert set(told(path)) == {"failed"}


async def test_task_that_has_ended_is_not_kept_alive(logger: logging.Logger) -> None:
    async def work() -> None:
        logger.debug("step")

    task = asyncio.create_task(work())
    await task
    # The loop itself holds on to it until it has woken us.
    await asyncio.sleep(0)
    gone = weakref.ref(task)
    del task
    gc.collect()
    assert gone() is None


async def test_tasks_that_share_a_context_have_rings_of_their_own(logger: logging.Logger, path: Path) -> None:
    context = contextvars.copy_context()
    turn = asyncio.Barrier(2)

    async def work(name: str) -> None:
        for n in range(3):
            logger.debug("%s %d", name, n)
            await turn.wait()
        if name == "a":
            logger.error("failed")

    async with asyncio.TaskGroup() as group:
        for name in ("a", "b"):
            group.create_task(work(name), context=context)
    assert told(path) == ["a 0", "a 1", "a 2", "failed"]


def test_threads_have_rings_of_their_own(logger: logging.Logger, path: Path) -> None:
    ready = threading.Barrier(2)

    def work(name: str) -> None:
        logger.debug("%s begins", name)
        ready.wait(10)
        logger.debug("%s goes on", name)
        if name == "b":
            logger.error("%s fails", name)

    threads = [threading.Thread(target=work, args=(name,)) for name in ("a", "b")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert told(path) == ["b begins", "b goes on", "b fails"]


def test_thread_does_not_inherit_the_ring_of_an_ended_one(logger: logging.Logger, path: Path) -> None:
    def run(work: Callable[[], object]) -> None:
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()

    for _ in range(10):
        run(lambda: logger.debug("step"))
        run(lambda: logger.error("failed"))
    assert set(told(path)) == {"failed"}


# --- levels -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("level", "recorder_level", "sent", "kept"),
    [
        ("INFO", "DEBUG", {"info", "warning", "error"}, {"debug"}),
        # What falls between the two is kept, too.
        ("WARNING", "DEBUG", {"warning", "error"}, {"debug", "info"}),
        ("WARNING", "INFO", {"warning", "error"}, {"info"}),
        # Who asks for everything gets it, whether or not there is a recorder.
        ("DEBUG", "DEBUG", {"debug", "info", "warning", "error"}, set()),
        ("INFO", "WARNING", {"info", "warning", "error"}, set()),
        ("NOTSET", "DEBUG", {"info", "warning", "error"}, {"debug"}),
        (25, 10, {"info", "warning", "error"}, {"debug"}),
        ("ERROR", 5, {"error"}, {"debug", "info", "warning"}),
    ],
)
def test_level_says_what_is_sent_and_recorder_level_how_far_down_it_is_kept(
    path: Path, level: int | str, recorder_level: int | str, sent: set[str], kept: set[str]
) -> None:
    def log(method: str, trace: str) -> None:
        getattr(logger, method)("hello", extra={"trace_id": trace})
        # Behind no level at all, as the loggers of structlog are.
        getattr(structlog.wrap_logger(factory(), [render]), method)("hello", trace_id=trace)

    handler = KafkaHandler(level, path=path, recorder=True, recorder_level=recorder_level)
    factory, render = KafkaLoggerFactory(handler), producers.EventRenderer(handler.renderer)
    logger = logging.Logger("shop", logging.NOTSET)  # noqa: LOG001 - as above
    logger.addHandler(handler)
    for method in ("debug", "info", "warning", "error"):
        log(method, method)
    assert Counter(line["level"] for line in lines(path)) == dict.fromkeys(sent, 2)
    assert handler.recorder is not None
    assert handler.recorder.held == 2 * len(kept)
    for method in ("debug", "info", "warning"):
        logger.critical("failed", extra={"trace_id": method})
    assert {line["level"] for line in lines(path) if "recorded" in line} == kept
    handler.close()


def test_level_that_dict_config_sets_is_that_of_what_is_sent(path: Path) -> None:
    logger = logging.getLogger("tests.recorder_dict_config")
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "handlers": {
                "kafka": {
                    "class": "producers.KafkaHandler",
                    "level": "WARNING",
                    "path": str(path),
                    "recorder": True,
                }
            },
            "loggers": {logger.name: {"handlers": ["kafka"], "level": "DEBUG", "propagate": False}},
        }
    )
    logger.info("step")
    logger.warning("look")
    assert told(path) == ["look"]
    logger.error("failed")
    assert told(path) == ["look", "step", "failed"]
    (handler,) = logger.handlers
    logger.removeHandler(handler)
    handler.close()


def test_configure_lets_debug_through_to_the_recorder_alone(root: logging.Logger, path: Path) -> None:
    class Other(logging.Handler):
        def __init__(self) -> None:
            super().__init__()
            self.seen: list[str] = []

        def emit(self, record: logging.LogRecord) -> None:
            self.seen.append(record.getMessage())

    other = Other()
    root.addHandler(other)
    detailed = logging.getLogger("tests.recorder.detailed")
    detailed.setLevel(logging.DEBUG)
    handler = producers.configure(level="INFO", service="shop", path=path, recorder=True)
    logging.getLogger("tests.recorder.plain").debug("for the recorder")
    logging.getLogger("tests.recorder.plain").info("for all")
    logging.getLogger("tests.recorder.detailed.inner").debug("as ever")
    structlog.get_logger().debug("by structlog")
    assert other.seen == ["for all", "as ever"]
    assert told(path) == ["for all"]
    assert handler.recorder is not None
    assert handler.recorder.held == 3
    # Without the recorder all is as it was.
    producers.configure(level="DEBUG", service="shop", path=path)
    logging.getLogger("tests.recorder.plain").debug("for all")
    assert other.seen == ["for all", "as ever", "for all"]
    assert root.level == logging.DEBUG
    assert not [f for f in other.filters if type(f).__module__ == "producers.configuration"]
    detailed.setLevel(logging.NOTSET)


def test_levels_that_are_not_the_standard_ones_can_be_configured(root: logging.Logger, path: Path) -> None:
    producers.configure(level=25, service="shop", path=path, recorder=True, recorder_level=5)
    logging.getLogger("shop").log(5, "finest")
    structlog.get_logger().debug("step")
    assert told(path) == []
    logging.getLogger("shop").error("failed")
    assert told(path) == ["finest", "step", "failed"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"recorder": True, "recorder_bytes": 0}, "recorder_bytes must be at least 1"),
        ({"recorder": True, "recorder_records": 0}, "recorder_records must be at least 1"),
        ({"recorder": True, "recorder_traces": -1}, "recorder_traces must be at least 1"),
        ({"recorder": True, "recorder_level": "debug"}, "recorder_level 'debug' is unknown"),
        ({"control_topic": "control"}, "control_topic has no effect without recorder=True"),
        (
            {"control_topic": "control", "recorder": True, "path": "-"},
            "control_topic has no effect with path",
        ),
    ],
)
def test_wrong_option_is_named(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        KafkaHandler(**options)  # type: ignore[arg-type]  # wrong on purpose


# --- bounds -------------------------------------------------------------------------------------------


def test_ring_that_was_untouched_the_longest_makes_room() -> None:
    made, sink = recorder(max_rings=2)
    for trace in ("a", "b", "a", "c"):
        made.write(event(trace, trace=trace))
    assert (made.held, made.forgotten) == (3, 1)
    for trace in ("a", "b", "c"):
        made.write(event("!", "error", trace))
    assert sink.texts() == ["a", "a", "!", "!", "c", "!"]


def test_oldest_records_of_the_ring_that_was_untouched_the_longest_make_room_for_bytes() -> None:
    made, sink = recorder(max_bytes=20_000)
    for n in range(10):
        made.write(event(f"{n}" * 1_000, trace="old"))
    for n in range(5):
        made.write(event(f"{n}" * 1_000, trace="new"))
    assert made.held_bytes <= 20_000
    for trace in ("old", "new"):
        made.write(event("!", "error", trace))
    texts = [text[0] for text in sink.texts()]
    assert texts[-6:] == ["0", "1", "2", "3", "4", "!"]
    assert texts[:-7] == [f"{n}" for n in range(10)][-len(texts[:-7]) :]
    assert 0 < len(texts[:-7]) < 10
    assert (made.kept, made.sent + made.forgotten, made.held_bytes) == (15, 15, 0)


def test_record_larger_than_all_room_is_forgotten_and_takes_the_others_with_it() -> None:
    made, sink = recorder(max_bytes=10_000)
    made.write(event("small", trace="a"))
    made.write(event("x" * 20_000, trace="b"))
    assert (made.kept, made.forgotten, made.held, made.held_bytes) == (2, 2, 0, 0)
    made.write(event("!", "error", "b"))
    assert sink.texts() == ["!"]


_steps = st.lists(
    st.tuples(
        st.sampled_from(["debug", "debug", "debug", "info", "error", "ask", "ask all"]),
        st.sampled_from(["a", "b", "c", "d"]),
        st.sampled_from(["shop", "bank"]),
        st.integers(0, 3_000),
    ),
    max_size=80,
)


@given(_steps, st.integers(1, 12_000), st.integers(1, 5), st.integers(1, 3))
def test_every_record_is_accounted_for_once_and_in_order(
    steps: list[tuple[str, str, str, int]], max_bytes: int, max_records: int, max_rings: int
) -> None:
    made, sink = recorder(max_bytes=max_bytes, max_records=max_records, max_rings=max_rings)
    for n, (what, trace, service, size) in enumerate(steps):
        before = len(sink.events)
        if what == "ask":
            answered = made.answer(service, [trace, "never seen"])
            assert all(e.trace == trace for e in sink.events[before:])
        elif what == "ask all":
            answered = made.answer(service)
        else:
            value = orjson.dumps({"n": n, "padding": "x" * size})
            made.write(RenderedEvent(value, service.encode(), n, what, trace))
            answered = None
        if answered is not None:
            assert answered == len(sink.events) - before
            assert all(e.key == service.encode() for e in sink.events[before:])
        if what == "error":
            assert all(e.trace == trace for e in sink.events[before:])
        numbers = [orjson.loads(e.value)["n"] for e in sink.events[before:]]
        assert numbers == sorted(numbers)
        assert made.held_bytes <= max_bytes
        assert sum(len(ring.events) for ring in made._rings.values()) == made.held
        assert all(0 < len(ring.events) <= max_records for ring in made._rings.values())
        assert len(made._rings) <= max_rings
    numbers = [orjson.loads(e.value)["n"] for e in sink.events]
    assert len(set(numbers)) == len(numbers)
    assert {n for n, step in enumerate(steps) if step[0] in {"info", "error"}} <= set(numbers)
    assert made.kept == sum(step[0] == "debug" for step in steps)
    assert made.sent == sum(e.level == "debug" for e in sink.events)
    if not made._rings:
        assert made.held_bytes == 0


def test_memory_at_the_bound_is_what_was_asked_for(path: Path) -> None:
    logger = logging.Logger("shop", logging.DEBUG)  # noqa: LOG001 - as above
    handler = KafkaHandler(service="shop", path=path, recorder=True, recorder_bytes=1_000_000)
    logger.addHandler(handler)
    logger.debug("warm")
    tracemalloc.start()
    try:
        for n in range(20_000):
            # Few records a ring is what costs most.
            logger.debug("step %d of an order", n, extra={"trace_id": f"{n // 3:032x}", "n": n})
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert handler.recorder is not None
    assert 900_000 < handler.recorder.held_bytes <= 1_000_000
    assert taken < 1_050_000
    handler.close()


# --- requests -----------------------------------------------------------------------------------------


def test_request_takes_what_is_kept_of_the_traces_it_names() -> None:
    made, sink = recorder()
    for trace in ("a", "b", "c"):
        made.write(event(f"{trace}1", trace=trace))
        made.write(event(f"{trace}2", trace=trace))
    assert made.answer("shop", ["c", "a", "never"]) == 4
    assert sorted(sink.texts()) == ["a1", "a2", "c1", "c2"]
    assert made.answer("shop", ["c", "a"]) == 0
    assert (made.held, made.sent) == (2, 4)


def test_request_for_all_takes_what_tasks_and_threads_keep_in_the_order_of_time() -> None:
    made, sink = recorder()
    made.write(event("second", trace="a", time_ms=2))
    made.write(event("third", trace="a", time_ms=3))
    made.write(event("first", time_ms=1))
    assert made.answer("shop") == 3
    assert sink.texts() == ["first", "second", "third"]


def test_request_takes_the_records_of_its_service_only() -> None:
    made, sink = recorder()
    made.write(event("ours", trace="a", key="shop"))
    made.write(event("theirs", trace="a", key="bank"))
    assert made.answer("else") == 0
    assert made.answer("bank", ["a"]) == 1
    assert sink.texts() == ["theirs"]
    made.write(event("!", "error", "a"))
    assert sink.texts() == ["theirs", "ours", "!"]


def test_request_does_not_wait_for_a_log_call_that_never_ends() -> None:
    made, _ = recorder()
    made.write(event("step", trace="a"))
    with made._lock:
        thread = threading.Thread(target=made.answer, args=("shop",))
        thread.start()
        thread.join(10)
        assert not thread.is_alive()
    assert made.held == 1


def test_broker_that_is_away_is_spoken_of_by_the_delivery_alone(capfd: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        server = f"127.0.0.1:{bound.getsockname()[1]}"
        handler = KafkaHandler(
            service="shop",
            bootstrap_servers=server,
            recorder=True,
            control_topic="control",
            flush_timeout_s=2,
        )
        handler.handle(logging.makeLogRecord({"levelno": logging.DEBUG, "msg": "kept"}))
        handler.handle(logging.makeLogRecord({"levelno": logging.INFO, "msg": "sent"}))
        handler.close()
    away, lost = capfd.readouterr().err.splitlines()
    assert away.startswith(f"tocsin: Kafka at {server} is away")
    assert lost == f"tocsin: 1 log records were not delivered to Kafka at {server} within 2 s"
    assert handler.recorder is not None
    assert handler.recorder.held == 1


# --- calls within calls, forks ------------------------------------------------------------------------


def test_what_is_logged_within_waits_and_touches_no_other_lock_meanwhile() -> None:
    made, sink = recorder()
    seen: list[int] = []

    class Interrupted(OrderedDict[object, object]):
        """Where a signal handler, or a finalizer, logs in the midst of it."""

        def move_to_end(self, key: object, last: bool = True) -> None:
            for level in ("debug", "info", "error"):
                made.write(event(f"within: {level}", level, "a"))
            seen.append(len(sink.events))
            super().move_to_end(key, last)
            made._rings = rings

    made.write(event("one", trace="a"))
    rings = made._rings
    made._rings = Interrupted(rings)  # type: ignore[assignment]  # as said
    made.write(event("two", trace="a"))
    assert seen == [0]
    assert sink.texts() == ["within: info", "one", "two", "within: debug", "within: error"]


def test_log_call_that_a_signal_breaks_off_stops_no_later_one() -> None:
    class TimeLimitError(BaseException):
        pass

    class Broken(OrderedDict[object, object]):
        def move_to_end(self, key: object, last: bool = True) -> None:
            raise TimeLimitError

    made, sink = recorder()
    made._rings = Broken()  # type: ignore[assignment]  # what a signal handler raises can come up there
    made.write(event("one", trace="a"))
    with pytest.raises(TimeLimitError):
        made.write(event("two", trace="a"))
    made.write(event("!", "error", "a"))
    assert sink.texts() == ["one", "!"]
    assert (made.kept, made.sent, made.held_bytes) == (1, 1, 0)


def test_many_threads_lose_nothing_and_count_exactly() -> None:
    made, sink = recorder(max_bytes=2**26, max_records=10_000, max_rings=3)

    def work(name: str) -> None:
        for n in range(2_000):
            made.write(event(f"{name} {n}", "error" if n % 10 == 9 else "debug", name))

    threads = [threading.Thread(target=work, args=(name,)) for name in "abcde"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert made.kept == 5 * 1_800
    assert made.kept == made.sent + made.forgotten + made.held
    assert len(sink.events) == 5 * 200 + made.sent
    for name in "abcde":
        own = [int(text.split()[1]) for text in sink.texts() if text.startswith(name)]
        assert own == sorted(own)


def test_forked_child_begins_with_empty_rings(path: Path) -> None:
    code = """
import logging, os, sys, producers
h = producers.configure(service='s', path=sys.argv[1], recorder=True)
logging.debug('of the parent')
child = os.fork()
if child == 0:
    r = h.recorder
    logging.debug('of the child')
    logging.error('the child failed')
    print(r.kept, r.sent, r.forgotten, r.held_bytes, flush=True)
    os._exit(0)
os.waitpid(child, 0)
logging.error('the parent failed')
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, str(path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=ROOT,
    )
    assert (done.stdout, done.stderr) == ("1 1 0 0\n", "")
    assert told(path) == ["of the child", "the child failed", "of the parent", "the parent failed"]


def test_recorder_loads_no_asyncio(path: Path) -> None:
    code = (
        "import sys, producers\n"
        "h = producers.KafkaHandler(service='s', path=sys.argv[1], recorder=True)\n"
        "import logging; logging.getLogger().addHandler(h); logging.getLogger().setLevel(10)\n"
        "logging.debug('step'); logging.error('failed')\n"
        "print('asyncio' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        cwd=ROOT,
    )
    assert done.stdout == "False\n"
    assert told(path) == ["step", "failed"]
