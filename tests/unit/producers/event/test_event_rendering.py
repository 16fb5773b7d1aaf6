from __future__ import annotations

import datetime as dt
import logging
import os
import threading
from typing import TYPE_CHECKING

import orjson
import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from producers.event.renderer import Capture, RenderedEvent, Renderer, level_of

if TYPE_CHECKING:
    from collections.abc import Iterator


def renderer(**changed: object) -> Renderer:
    options: dict[str, object] = {"service": "shop", "environment": "test", "host": "h1"}
    return Renderer(**{**options, **changed})  # type: ignore[arg-type]  # a JSON value


def record(
    message: object = "hello", *args: object, level: int = logging.INFO, **more: object
) -> logging.LogRecord:
    made = logging.LogRecord("shop.web", level, "file.py", 1, message, args, None)
    made.__dict__.update(more)
    return made


def fields(event: RenderedEvent) -> dict[str, object]:
    decoded: dict[str, object] = orjson.loads(event.value)
    return decoded


@pytest.fixture(autouse=True)
def _no_context() -> Iterator[None]:
    structlog.contextvars.clear_contextvars()
    yield
    structlog.contextvars.clear_contextvars()


def test_record_has_the_event_form() -> None:
    event = renderer().record(record("order %d placed", 17, created=1700000000.25, order_id=17))
    assert fields(event) == {
        "timestamp": "2023-11-14T22:13:20.250000Z",
        "level": "info",
        "event": "order 17 placed",
        "logger": "shop.web",
        "service": "shop",
        "environment": "test",
        "host": "h1",
        "pid": os.getpid(),
        "order_id": 17,
    }
    assert (event.key, event.time_ms, event.level) == (b"shop", 1700000000250, "info")


@pytest.mark.parametrize(
    ("number", "name"),
    [
        (0, "debug"),
        (5, "debug"),
        (10, "debug"),
        (25, "info"),
        (30, "warning"),
        (45, "error"),
        (50, "critical"),
        (90, "critical"),
    ],
)
def test_level_is_the_standard_one_at_or_below(number: int, name: str) -> None:
    assert level_of(number) == name


def test_service_of_a_record_goes_first_and_is_its_key() -> None:
    event = renderer().record(record(service="payments"))
    assert (event.key, fields(event)["service"]) == (b"payments", "payments")


def test_field_whose_name_is_taken_is_kept_with_an_underscore() -> None:
    decoded = fields(renderer().record(record(level_=1, timestamp="mine", pid=3, host="db1")))
    assert decoded["timestamp_"] == "mine"
    assert decoded["pid_"] == 3
    assert decoded["host"] == "db1"


def test_context_variables_of_structlog_are_merged_and_extra_wins() -> None:
    structlog.contextvars.bind_contextvars(trace_id="t1", span_id="s1", tenant="a")
    decoded = fields(renderer().record(record(tenant="b")))
    assert (decoded["trace_id"], decoded["span_id"], decoded["tenant"]) == ("t1", "s1", "b")


def test_wrong_arguments_are_sent_beside_the_unformatted_message() -> None:
    decoded = fields(renderer().record(record("%d", "x")))
    assert (decoded["event"], decoded["args"]) == ("%d", "('x',)")


def test_error_in_an_except_block_takes_the_exception_along() -> None:
    made = record("failed", level=logging.ERROR)
    empty: dict[str, object] = {}
    try:
        empty["k"]
    except KeyError:
        captured = fields(renderer().record(made))
        plain = fields(renderer(capture=Capture(exceptions=False)).record(made))
        info = fields(renderer().record(record("fine")))
    assert captured["exception"]["type"] == "KeyError"  # type: ignore[index]  # a JSON value
    assert "exception" not in plain
    assert "exception" not in info


def test_stack_and_text_of_a_queue_handler_are_kept() -> None:
    decoded = fields(
        renderer().record(record(stack_info="Stack:\n  here", exc_text="Traceback\nValueError: x"))
    )
    assert decoded["stack_info"] == "Stack:\n  here"
    assert decoded["exception"] == {"value": "Traceback\nValueError: x"}


def test_structlog_over_logging_is_taken_apart() -> None:
    made = record({"event": "placed", "order": 7, "level": "info"}, _logger=object(), _name="x")
    decoded = fields(renderer().record(made))
    assert (decoded["event"], decoded["order"]) == ("placed", 7)
    assert "_logger" not in decoded


@pytest.mark.parametrize("created", [float("nan"), -1.0, 1e30, float("inf")])
def test_absurd_time_becomes_now(created: float) -> None:
    before = int(dt.datetime.now(dt.UTC).timestamp() * 1000)
    assert renderer().record(record(created=created)).time_ms >= before


def test_entry_has_the_event_form() -> None:
    entry = {"event": "placed", "timestamp": "2023-11-14T22:13:20.5Z", "order": 7, "stack": "s"}
    event = renderer().entry("shop.web", "warning", entry)
    decoded = fields(event)
    assert decoded["timestamp"] == "2023-11-14T22:13:20.500000Z"
    assert (decoded["level"], decoded["logger"], decoded["order"]) == ("warning", "shop.web", 7)
    assert decoded["stack_info"] == "s"
    assert event.time_ms == 1700000000500
    assert entry["event"] == "placed"


@pytest.mark.parametrize(
    "timestamp",
    [
        1700000000,
        1700000000.0,
        dt.datetime(2023, 11, 14, 22, 13, 20, tzinfo=dt.UTC),
        "2023-11-14T23:13:20+01:00",
    ],
)
def test_timestamp_of_a_processor_is_understood(timestamp: object) -> None:
    assert renderer().entry("", "info", {"timestamp": timestamp}).time_ms == 1700000000000


@pytest.mark.parametrize("timestamp", ["yesterday", True, None, [1], 10**400])
def test_timestamp_that_is_none_is_kept_beside_the_time(timestamp: object) -> None:
    decoded = fields(renderer().entry("", "info", {"timestamp": timestamp}))
    assert "timestamp_" in decoded
    assert str(decoded["timestamp"]).endswith("Z")


def test_entry_exception_and_processor_names_are_used() -> None:
    decoded = fields(
        renderer().entry(
            "a", "error", {"event": 5, "exc_info": ValueError("x"), "level": "CRITICAL", "logger": "b"}
        )
    )
    assert decoded["exception"]["value"] == "x"  # type: ignore[index]  # a JSON value
    assert (decoded["level"], decoded["logger"], decoded["event"]) == ("critical", "b", "5")


def test_notice_names_what_was_dropped() -> None:
    event = renderer().notice({"info": 3, "error": 1})
    decoded = fields(event)
    assert (decoded["event"], decoded["dropped"], decoded["level"]) == (
        "4 records were dropped",
        4,
        "warning",
    )
    assert decoded["dropped_by_level"] == {"info": 3, "error": 1}


@given(
    st.one_of(st.text(st.characters(codec=None)), st.integers(), st.none(), st.binary()),
    st.lists(
        st.one_of(st.text(st.characters(codec=None)), st.floats(), st.dictionaries(st.text(), st.text()))
    ),
    st.dictionaries(
        st.text(st.characters(codec=None), min_size=1), st.one_of(st.text(), st.binary(), st.none())
    ),
    st.sampled_from([logging.DEBUG, logging.ERROR]),
)
def test_any_record_renders(
    message: object, args: list[object], extra: dict[str, object], level: int
) -> None:
    made = logging.LogRecord("n", level, "f", 1, message, tuple(args), None)
    for name, value in extra.items():
        made.__dict__.setdefault(name, value)
    event = renderer().record(made)
    assert orjson.loads(event.value)["event"] is not None


@pytest.mark.parametrize(
    ("own", "kept"),
    [
        ({"level": 5}, {"level_": 5}),
        ({"level": "high"}, {"level_": "high"}),
        ({"logger": 5}, {"logger_": 5}),
        ({"service": 5}, {"service_": 5}),
        ({"service": ""}, {"service_": ""}),
        ({"pid": 1, "pid_": 2}, {"pid__": 1, "pid_": 2}),
        ({"timestamp": "soon", "timestamp_": "late"}, {"timestamp__": "soon", "timestamp_": "late"}),
        ({"stack_info": "mine", "stack": "theirs"}, {"stack_info": "mine"}),
    ],
)
def test_no_field_of_the_callers_is_lost(own: dict[str, object], kept: dict[str, object]) -> None:
    decoded = fields(renderer().entry("shop.web", "info", {"event": "x", **own}))
    assert decoded.items() >= {**kept, "level": "info", "logger": "shop.web", "service": "shop"}.items()


def test_text_of_a_class_of_its_own_names_a_service() -> None:
    class Name(str):
        __slots__ = ()

        def __str__(self) -> str:
            raise RuntimeError

    event = renderer().record(record(service=Name("payments"), trace_id=Name("t1")))
    assert (event.key, event.trace, fields(event)["service"]) == (b"payments", "t1", "payments")


def test_record_that_somebody_meddled_with_loses_no_field() -> None:
    made = record(order=1)
    process = made.__dict__.pop("process")
    made.__dict__["customer"] = 2
    made.process = process
    assert fields(renderer().record(made)).items() >= {"order": 1, "customer": 2}.items()


@given(st.lists(st.integers(1_000_000, 4_102_444_800_000_000), min_size=1, max_size=5))
def test_time_of_any_second_is_its_own(times_us: list[int]) -> None:
    by = renderer()
    for time_us in times_us:
        event = by.entry(
            "",
            "info",
            {"timestamp": dt.datetime.fromtimestamp(0, dt.UTC) + dt.timedelta(microseconds=time_us)},
        )
        said = dt.datetime.fromisoformat(str(fields(event)["timestamp"]))
        assert abs(round(said.timestamp() * 1e6) - time_us) <= 1
        assert event.time_ms == round(said.timestamp() * 1e6) // 1_000


def test_memory_of_loggers_is_bounded() -> None:
    by = renderer()
    for n in range(3_000):
        assert fields(by.entry(f"logger {n}", "info", {"event": "x"}))["logger"] == f"logger {n}"
    assert len(by._tails) <= 1_024


def test_threads_of_different_seconds_have_their_own_times() -> None:
    by, wrong = renderer(), []

    def log(second: int) -> None:
        for _ in range(2_000):
            event = fields(by.record(record(created=float(second))))
            if event["timestamp"] != dt.datetime.fromtimestamp(second, dt.UTC).isoformat()[:-6] + ".000000Z":
                wrong.append(event)

    threads = [threading.Thread(target=log, args=(1_700_000_000 + n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_names_of_great_length_are_cut() -> None:
    event = fields(renderer(service="s" * 300, host="\udc80").entry("l" * 300, "info", {"event": "x"}))
    assert (event["service"], event["logger"], event["host"]) == ("s" * 256 + "…", "l" * 256 + "…", "\\udc80")


@pytest.mark.parametrize(("logger", "kept"), [("uvicorn.error", False), ("shop.paint", True)])
def test_uvicorns_coloured_copy_of_the_message_is_left_out(logger: str, kept: bool) -> None:
    record = logging.makeLogRecord({"name": logger, "levelno": 20, "msg": "up", "color_message": "\x1b[1mup"})
    assert ("color_message" in orjson.loads(renderer().record(record).value)) is kept
