"""Whatever is logged: the call never raises and prints nothing, and what comes out is one valid line of JSON.

More examples: FUZZ_EXAMPLES=50000 pytest --timeout 0 tests/unit/producers/event/test_fuzz.py
"""

from __future__ import annotations

import collections.abc
import contextlib
import functools
import io
import json
import logging
import os
import sys
import traceback
from typing import TYPE_CHECKING, Any, NoReturn

import orjson
import pytest
import structlog
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from producers import EventRenderer, KafkaHandler, KafkaLoggerFactory
from producers.event.names import NAMES
from tests.hostile_objects import (
    Box,
    RudeName,
    RuderError,
    boxed,
    errors,
    exc_infos,
    keys,
    names,
    refuse,
    texts,
    values,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from producers.event.renderer import RenderedEvent

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "150"))
STANDARD = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime"}
REQUIRED = {
    "tocsin": {"timestamp", "level", "event", "logger", "service", "environment", "host", "pid"},
    "ecs": {"@timestamp", "log.level", "message", "ecs.version", "service.name", "host.name", "process.pid"},
    "otel": {"Timestamp", "SeverityText", "SeverityNumber", "Body", "Resource"},
}
options = st.fixed_dictionaries(
    {
        "names": st.sampled_from(list(NAMES)),
        "mask": st.booleans(),
        "callsite": st.booleans(),
        "capture_exceptions": st.booleans(),
        "capture_locals": st.booleans(),
        "max_depth": st.sampled_from([0, 1, 3, 16, 100]),
        "max_fields": st.sampled_from([10, 20, 1_000]),
        "max_text": st.sampled_from([1, 20, 32_768]),
        "max_event_bytes": st.sampled_from([32_768, 256 * 1024]),
    }
)
CHOSEN = {"names": "tocsin", "mask": True, "max_event_bytes": 40_000}


class Collector:
    """A sink that keeps what it gets."""

    def __init__(self) -> None:
        self.events: list[RenderedEvent] = []
        self.lost: list[str] = []
        self.dropped: Mapping[str, int] = {}
        self.pending = 0

    def write(self, event: RenderedEvent) -> None:
        self.events.append(event)

    def lose(self, level: str) -> None:
        self.lost.append(level)

    def flush(self, _: float | None = None) -> bool:
        return True

    def close(self) -> None: ...


@functools.cache
def handler_of(chosen: tuple[tuple[str, Any], ...]) -> KafkaHandler:
    made: dict[str, Any] = dict(chosen)
    if made["mask"]:
        made["mask_keys"] = ["card"]
    handler = KafkaHandler(path=os.devnull, service="fuzz", host="h", **made)
    handler.sink.close()
    return handler


def unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    assert len({name for name, _ in pairs}) == len(pairs), "a name twice"
    return dict(pairs)


def no_constant(name: str) -> NoReturn:
    raise AssertionError(f"{name} is no JSON")


def check(
    chosen: dict[str, Any], log: Callable[[KafkaHandler], object], sink: Collector | None = None
) -> None:
    """Log, and look at all that came of it."""
    handler = handler_of(tuple(chosen.items()))
    handler.sink = sink = sink or Collector()  # type: ignore[assignment]  # a sink that keeps all
    out, err = io.StringIO(), io.StringIO()
    raised: list[str] = []
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            log(handler)
        except BaseException as error:  # noqa: BLE001 - told below, where no evil one is its context
            raised = [type(error).__name__, *traceback.format_tb(error.__traceback__)]
    assert raised == []
    assert (out.getvalue(), err.getvalue()) == ("", "")
    assert sink.lost == []
    (event,) = sink.events
    assert type(event.value) is bytes
    assert b"\n" not in event.value
    assert b"\r" not in event.value
    assert len(event.value) <= chosen["max_event_bytes"]
    said: dict[str, Any] = json.loads(
        event.value.decode(), object_pairs_hook=unique, parse_constant=no_constant
    )
    assert isinstance(orjson.loads(event.value), dict)
    assert said.keys() >= REQUIRED[chosen["names"]]
    assert event.level in {"debug", "info", "warning", "error", "critical"}
    assert type(event.key) is bytes
    assert len(event.key) <= 4 * 256


def within(error: BaseException | None, log: Callable[[], object]) -> None:
    """Log in an `except` block, if there is an error."""
    if error is None:
        log()
        return
    try:
        raise error  # noqa: TRY301 - the block is what is needed
    except BaseException:  # noqa: BLE001 - whatever was drawn
        log()


fuzzed = settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


@fuzzed
@given(
    chosen=options,
    level=st.sampled_from([1, 10, 20, 25, 30, 40, 50, 99, 10**6]),
    message=boxed(st.one_of(values, st.sampled_from(["%s", "%d", "%(a)s", "%", "%s %r", "%5.2f", "%*d"]))),
    args=boxed(st.lists(values, max_size=3)),
    extra=boxed(st.dictionaries(keys, values, max_size=5)),
    bound=boxed(st.dictionaries(names.filter(bool), values, max_size=2)),
    error=boxed(st.none() | errors),
    exc_info=boxed(exc_infos.filter(lambda given: type(given) is not RuderError)),
    stack_info=st.booleans(),
)
def test_any_record_of_the_logging_module(
    chosen: dict[str, Any],
    level: int,
    message: Box,
    args: Box,
    extra: Box,
    bound: Box,
    error: Box,
    exc_info: Box,
    stack_info: bool,
) -> None:
    # What the logging module itself asks of them, before any handler: whether there is something in a mapping
    # that is the only argument; which names are its own; an exception's traceback.
    given_args = args.value
    if len(given_args) == 1 and isinstance(given_args[0], collections.abc.Mapping):
        given_args = [*given_args, None]
    logger = logging.Logger("fuzz", -100)  # noqa: LOG001 - not to be found by others
    given_names = [name for name in extra.value if type(name) is not RudeName and name not in STANDARD]
    more = {name: extra.value[name] for name in given_names}

    def log(handler: KafkaHandler) -> None:
        logger.addHandler(handler)
        how = {"exc_info": exc_info.value, "stack_info": stack_info, "extra": more}
        with structlog.contextvars.bound_contextvars(**bound.value):
            within(error.value, lambda: logger.log(level, message.value, *given_args, **how))

    check(chosen, log)


@fuzzed
@given(
    chosen=options,
    method=st.sampled_from(["debug", "info", "warning", "error", "critical", "exception", "msg", "failure"]),
    event=boxed(values),
    fields=boxed(
        st.dictionaries(names.filter(lambda name: name not in {"event", "self"}), values, max_size=5)
    ),
    added=boxed(st.dictionaries(keys, values, max_size=2)),
    exc_info=boxed(exc_infos),
    error=boxed(st.none() | errors),
)
def test_any_entry_of_structlog(
    chosen: dict[str, Any],
    method: str,
    event: Box,
    fields: Box,
    added: Box,
    exc_info: Box,
    error: Box,
) -> None:
    def add(_: object, __: str, entry: dict[Any, Any]) -> dict[Any, Any]:
        # A processor may put in what no keyword can be.
        return {**entry, **added.value}

    def log(handler: KafkaHandler) -> None:
        wrapped = structlog.wrap_logger(
            KafkaLoggerFactory(handler)("fuzz"),
            processors=[structlog.contextvars.merge_contextvars, add, EventRenderer(handler.renderer)],
            wrapper_class=structlog.BoundLogger,
        )
        more = {**fields.value, "exc_info": exc_info.value}
        within(error.value, lambda: getattr(wrapped, method)(event.value, **more))

    check(chosen, log)


@fuzzed
@given(
    chosen=options,
    attributes=boxed(
        st.fixed_dictionaries(
            {"levelno": st.integers()},
            optional={
                "name": values,
                "msg": values,
                "args": values,
                "pathname": values,
                "lineno": values,
                "funcName": values,
                "created": st.floats() | st.integers(),
                "exc_text": texts,
                "stack_info": texts,
                "exc_info": exc_infos,
            },
        )
    ),
    meddled=boxed(st.dictionaries(keys, values, max_size=3)),
)
def test_any_record_that_somebody_made(chosen: dict[str, Any], attributes: Box, meddled: Box) -> None:
    record = logging.makeLogRecord(attributes.value)
    for name, value in meddled.value.items():
        if name not in STANDARD:
            record.__dict__[name] = value
    check(chosen, lambda handler: handler.handle(record))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda value: value + b"\n",
        lambda value: value[:-1],
        lambda value: value[:-1] + b',"x":NaN}',
        lambda value: value[:-1] + b',"x":1,"x":2}',
        lambda value: value[:-1] + b',"x":"\xff"}',
        lambda value: value[:-1] + b" " * 40_000 + b"}",
        lambda value: value.replace(b'"level"', b'"lvl"'),
        lambda value: b"[" + value + b"]",
    ],
)
def test_event_that_is_wrong_would_be_found(spoil: Callable[[bytes], bytes]) -> None:
    class Spoiled(Collector):
        def write(self, event: RenderedEvent) -> None:
            super().write(event._replace(value=spoil(event.value)))

    record = logging.makeLogRecord({"levelno": 20})
    check(CHOSEN, lambda handler: handler.handle(record))
    with pytest.raises((AssertionError, AttributeError, UnicodeDecodeError, json.JSONDecodeError)):
        check(CHOSEN, lambda handler: handler.handle(record), Spoiled())


@pytest.mark.parametrize(
    "log", [lambda _: refuse(), lambda _: sys.stderr.write("x"), lambda handler: handler.sink.lose("info")]
)
def test_call_that_is_wrong_would_be_found(log: Callable[[KafkaHandler], object]) -> None:
    def both(handler: KafkaHandler) -> None:
        handler.handle(logging.makeLogRecord({"levelno": 20}))
        log(handler)

    with pytest.raises(AssertionError):
        check(CHOSEN, both)
