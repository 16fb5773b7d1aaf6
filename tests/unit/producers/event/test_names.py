"""Each dialect against its specification, and against what the worker makes of it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import orjson
import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from pipeline.decode import choose
from producers.event.encoding import MIN_EVENT_BYTES, Limits
from producers.event.masking import MASK, Masking
from producers.event.names import NAMES
from producers.event.renderer import Capture, RenderedEvent, Renderer

if TYPE_CHECKING:
    from collections.abc import Iterator

DIALECTS = tuple(NAMES)
CREATED = 1700000000.25
CREATED_MS = 1700000000250
TRACE = {"trace_id": "4bf92f3577b34da6a3ce929d0e0e4736", "span_id": "00f067aa0ba902b7"}


@pytest.fixture(autouse=True)
def _no_context() -> Iterator[None]:
    structlog.contextvars.clear_contextvars()
    yield
    structlog.contextvars.clear_contextvars()


def renderer(names: str, **changed: object) -> Renderer:
    options: dict[str, object] = {
        "service": "shop",
        "environment": "test",
        "host": "h1",
        "masking": Masking(),
    }
    return Renderer(names=names, **{**options, **changed})  # type: ignore[arg-type]  # a JSON value


def record(message: str = "hello", *, level: int = logging.INFO, **more: object) -> logging.LogRecord:
    made = logging.LogRecord("shop.web", level, "/srv/shop/web.py", 7, message, None, None, "serve")
    made.created = CREATED
    made.__dict__.update(more)
    return made


def fields(event: RenderedEvent) -> dict[str, object]:
    decoded: dict[str, object] = orjson.loads(event.value)
    return decoded


def decoded(event: RenderedEvent) -> dict[str, object]:
    """Return what the worker reads."""
    return dict(choose("json").decode(event.value, event.time_ms).fields)


def raised(error: BaseException, cause: BaseException | None = None) -> BaseException:
    try:
        raise error from cause  # noqa: TRY301 - a traceback is what the test needs
    except BaseException as caught:  # noqa: BLE001 - whatever the test raises
        return caught


def failing() -> BaseException:
    return raised(ValueError("no\nsuch order"), KeyError("k"))


def group() -> BaseException:
    members = [failing(), ExceptionGroup("inner", [OSError("gone")])]
    return raised(BaseExceptionGroup("many", members), failing())


def caused_by_a_group() -> BaseException:
    return raised(ValueError("outer"), group())


def test_ecs_has_its_names_and_their_order() -> None:
    event = renderer("ecs").record(record(order_id=17, **TRACE))
    assert list(fields(event).items()) == [
        ("@timestamp", "2023-11-14T22:13:20.250000Z"),
        ("log.level", "info"),
        ("message", "hello"),
        ("trace.id", TRACE["trace_id"]),
        ("span.id", TRACE["span_id"]),
        ("order_id", 17),
        ("ecs.version", "8.11.0"),
        ("log.logger", "shop.web"),
        ("service.name", "shop"),
        ("service.environment", "test"),
        ("host.name", "h1"),
        ("process.pid", fields(event)["process.pid"]),
    ]


def test_otel_has_the_log_data_models_names() -> None:
    event = renderer("otel").record(record(level=logging.ERROR, order_id=17, **TRACE))
    assert fields(event) == {
        "Timestamp": 1700000000250000000,
        "SeverityText": "error",
        "SeverityNumber": 17,
        "Body": "hello",
        "TraceId": TRACE["trace_id"],
        "SpanId": TRACE["span_id"],
        "Attributes": {"order_id": 17},
        "InstrumentationScope": {"name": "shop.web"},
        "Resource": {
            "service.name": "shop",
            "deployment.environment.name": "test",
            "host.name": "h1",
            "process.pid": decoded(event)["pid"],
        },
    }


def test_otel_without_fields_has_no_attributes() -> None:
    event = renderer("otel", environment="").entry("", "info", {"event": 'he said "\\"'})
    assert list(fields(event)) == ["Timestamp", "SeverityText", "SeverityNumber", "Body", "Resource"]
    assert fields(event)["Body"] == 'he said "\\"'


@pytest.mark.parametrize("names", ["ecs", "otel"])
@pytest.mark.parametrize(
    "level", [logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR, logging.CRITICAL]
)
def test_worker_reads_the_same_from_every_dialect(names: str, level: int) -> None:
    made = record("order 17\n“placed”", level=level, order_id=17, items=[{"sku": "a"}], customer="c", **TRACE)
    ours, theirs = renderer("tocsin").record(made), renderer(names).record(made)
    read = decoded(theirs)
    assert {**read, "timestamp": decoded(ours)["timestamp"]}.items() >= decoded(ours).items()
    assert choose("json").decode(theirs.value, CREATED_MS + 5_000).time_ms == CREATED_MS
    assert (theirs.key, theirs.time_ms, theirs.level, theirs.trace) == (
        ours.key,
        ours.time_ms,
        ours.level,
        ours.trace,
    )


@pytest.mark.parametrize("names", ["ecs", "otel"])
@pytest.mark.parametrize("make", [failing, group, caused_by_a_group, lambda: ValueError("never raised")])
def test_worker_reads_the_same_exception_from_every_dialect(names: str, make: object) -> None:
    error = make()  # type: ignore[operator]  # one of the functions above
    ours = decoded(renderer("tocsin").entry("a", "error", {"event": "x", "exc_info": error}))
    theirs = decoded(renderer(names).entry("a", "error", {"event": "x", "exc_info": error}))
    for part in ("type", "value", "frames"):
        assert theirs["exception"][part] == ours["exception"][part]  # type: ignore[index]  # a JSON value


def test_stack_trace_tells_all_that_python_tells_but_for_the_source() -> None:
    trace = str(fields(renderer("ecs").entry("a", "error", {"exc_info": group()}))["error.stack_trace"])
    assert [line for line in trace.split("\n") if "File" not in line] == [
        "Traceback (most recent call last):",
        "KeyError: 'k'",
        "",
        "The above exception led to the following one:",
        "",
        "Traceback (most recent call last):",
        "ValueError: no",
        "such order",
        "",
        "The above exception led to the following one:",
        "",
        "  + Exception Group Traceback (most recent call last):",
        "  | ExceptionGroup: many (2 sub-exceptions)",
        "  +-+---------------- 1 ----------------",
        "    | Traceback (most recent call last):",
        "    | KeyError: 'k'",
        "    | ",
        "    | The above exception led to the following one:",
        "    | ",
        "    | Traceback (most recent call last):",
        "    | ValueError: no",
        "    | such order",
        "    +---------------- 2 ----------------",
        "    |   + Traceback (most recent call last):",
        "    |   | ExceptionGroup: inner (1 sub-exception)",
        "    |   +-+---------------- 1 ----------------",
        "    |     | Traceback (most recent call last):",
        "    |     | OSError: gone",
        "    |     +------------------------------------",
        "    +------------------------------------",
    ]


@pytest.mark.parametrize(
    ("names", "file", "line", "function"),
    [
        ("ecs", "log.origin.file.name", "log.origin.file.line", "log.origin.function"),
        ("otel", "code.file.path", "code.line.number", "code.function.name"),
    ],
)
def test_callsite_has_the_dialects_names(names: str, file: str, line: str, function: str) -> None:
    event = fields(renderer(names, capture=Capture(callsite=True)).record(record()))
    told = event.get("Attributes", event)
    assert isinstance(told, dict)
    assert (told[file], told[line], told[function]) == ("/srv/shop/web.py", 7, "serve")


@pytest.mark.parametrize("names", DIALECTS)
def test_fields_whose_names_are_taken_are_kept_in_every_dialect(names: str) -> None:
    taken = {
        name: f"my {name}"
        for name in (
            *("timestamp", "level", "pid", "service.name", "@timestamp", "message", "Body", "TraceId", "log"),
            *("log.level", "error.type", "exception.type", "process", "error", "ecs.version", "log.logger"),
        )
    }
    ours = renderer(names).entry("a", "info", {"event": "x"})
    theirs = renderer(names).entry("a", "info", {"event": "x", **taken})
    assert set(taken.values()) <= set(_texts(fields(theirs)))
    read = decoded(theirs)
    for name in ("level", "event", "logger", "service", "environment", "host", "pid"):
        assert read[name] == decoded(ours)[name]


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        for inner in value.values():
            yield from _texts(inner)
    elif isinstance(value, str):
        yield value


@pytest.mark.parametrize("names", DIALECTS)
def test_callers_environment_host_and_service_go_before_ours(names: str) -> None:
    event = renderer(names).record(record(environment="staging", host="db1", service="payments"))
    read = decoded(event)
    assert (read["environment"], read["host"], read["service"]) == ("staging", "db1", "payments")
    assert event.key == b"payments"
    assert b"h1" not in event.value


@pytest.mark.parametrize("names", DIALECTS)
def test_secrets_are_masked_in_every_dialect(names: str) -> None:
    by = renderer(names)
    for more in (
        {"password": "hunter2"},
        {"request": {"headers": [{"token": "hunter2"}]}},
        {"note": "password=hunter2"},
        {"host": "postgres://shop:hunter2@db"},
    ):
        written = by.record(record(**more)).value
        assert b"hunter2" not in written
        assert MASK.encode() in written
    assert b"hunter2" not in by.record(record("token: hunter2")).value
    error = ValueError("password=hunter2")
    assert b"hunter2" not in by.entry("a", "error", {"event": "x", "exc_info": error}).value


def test_elasticsearch_gets_an_object_where_it_wants_one() -> None:
    event = fields(renderer("ecs").record(record(error="boom", log={"file": "x"}, host=5, trace="t")))
    assert (event["error_"], event["log"], event["host_"], event["trace_"]) == ("boom", {"file": "x"}, 5, "t")
    assert event["host.name"] == "h1"


@pytest.mark.parametrize("names", ["ecs", "otel"])
@pytest.mark.parametrize("by", ["processor", "queue"])
def test_exception_that_is_a_text_already_is_a_stack_trace(names: str, by: str) -> None:
    text = 'Traceback (most recent call last):\n  File "a.py", line 3, in f\nOSError: gone'
    if by == "queue":
        event = renderer(names).record(record(exc_text=text))
    else:
        event = renderer(names).entry("a", "info", {"event": "x", "exception": text})
    assert decoded(event)["exception"] == {
        "type": "OSError",
        "value": "gone",
        "frames": [{"file": "a.py", "line": 3, "function": "f"}],
    }


@pytest.mark.parametrize("names", DIALECTS)
def test_largest_event_of_every_dialect_keeps_the_limit(names: str) -> None:
    worst = "\x00" * 100_000
    by = renderer(names, service=worst, environment=worst, host=worst, limits=Limits(MIN_EVENT_BYTES))
    event = by.entry(
        worst, "error", {"event": worst, "exc_info": group(), **{worst + str(n): worst for n in range(99)}}
    )
    assert len(event.value) <= MIN_EVENT_BYTES
    assert decoded(event)["truncated"] is True


@given(
    st.sampled_from(DIALECTS),
    st.text(),
    st.dictionaries(st.text(), st.text() | st.integers() | st.lists(st.text()), max_size=5),
)
def test_any_event_has_its_parts_in_every_dialect(names: str, message: str, more: dict[str, object]) -> None:
    event = renderer(names, masking=None).entry("a.b", "warning", {**more, "event": message})
    read = decoded(event)
    assert (read["level"], read["event"]) == ("warning", message)
    assert {"timestamp", "logger", "service", "pid"} <= read.keys()


def test_times_that_no_clock_shows_become_now() -> None:
    for created in (0.0, 0.5):
        event = renderer("otel").record(record(created=created))
        assert orjson.loads(event.value)["Timestamp"] > CREATED * 1e9


@pytest.mark.parametrize(
    ("given_", "message"),
    [("Ecs", "names 'Ecs' is unknown; is ecs meant?"), ("x", "valid: tocsin, ecs, otel")],
)
def test_unknown_dialect_is_named_with_what_was_meant(given_: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        renderer(given_)
