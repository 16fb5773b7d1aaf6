from __future__ import annotations

import logging
from typing import TYPE_CHECKING, NoReturn

import orjson
import pytest
import structlog

import producers
from producers import EventRenderer, KafkaHandler, KafkaLoggerFactory

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


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


def test_one_call_sets_up_both(tmp_path: Path) -> None:
    handler = producers.configure(service="shop", path=tmp_path / "log", level="INFO")
    structlog.contextvars.bind_contextvars(request="r1")
    structlog.get_logger("a").info("by structlog", n=1)
    structlog.get_logger("a").debug("below the level")
    logging.getLogger("b").info("by logging", extra={"n": 2})
    logging.getLogger("b").debug("below the level")
    one, two = lines(tmp_path / "log")
    assert handler in logging.getLogger().handlers
    assert (one["event"], one["logger"], one["n"], one["request"]) == ("by structlog", "a", 1, "r1")
    assert (two["event"], two["logger"], two["n"], two["request"]) == ("by logging", "b", 2, "r1")
    assert set(one) == set(two)


def test_second_call_replaces_the_first_and_keeps_other_handlers(tmp_path: Path) -> None:
    other = logging.NullHandler()
    logging.getLogger().addHandler(other)
    producers.configure(path=tmp_path / "one")
    second = producers.configure(path=tmp_path / "two")
    logging.getLogger("x").warning("hello")
    assert [h for h in logging.getLogger().handlers if isinstance(h, KafkaHandler)] == [second]
    assert other in logging.getLogger().handlers
    assert lines(tmp_path / "one") == []
    assert len(lines(tmp_path / "two")) == 1


@pytest.mark.parametrize(
    ("method", "level"),
    [
        ("debug", "debug"),
        ("info", "info"),
        ("msg", "info"),
        ("warn", "warning"),
        ("warning", "warning"),
        ("error", "error"),
        ("err", "error"),
        ("exception", "error"),
        ("failure", "error"),
        ("critical", "critical"),
        ("fatal", "critical"),
    ],
)
def test_every_method_has_its_level(tmp_path: Path, method: str, level: str) -> None:
    factory = KafkaLoggerFactory(path=tmp_path / "log")
    log = structlog.wrap_logger(
        factory("n"),
        processors=[EventRenderer(factory.handler.renderer)],
        wrapper_class=structlog.BoundLogger,
    )
    getattr(log, method)("hello")
    assert [(e["level"], e["logger"]) for e in lines(tmp_path / "log")] == [(level, "n")]
    factory.handler.close()


def test_exception_and_stack_are_rendered(tmp_path: Path) -> None:
    producers.configure(path=tmp_path / "log")
    log = structlog.get_logger()
    try:
        int("x")
    except ValueError:
        log.exception("failed")
    log.info("here", stack_info=True)
    failed, here = lines(tmp_path / "log")
    assert failed["exception"]["type"] == "ValueError"  # type: ignore[index]  # a JSON value
    assert str(here["stack_info"]).startswith("Stack (most recent call last)")


@pytest.mark.parametrize("rendered", ['{"a":1}', b'{"a":1}'])
def test_events_of_another_renderer_travel_as_they_are(tmp_path: Path, rendered: str | bytes) -> None:
    factory = KafkaLoggerFactory(path=tmp_path / "log")
    factory().error(rendered)
    assert lines(tmp_path / "log") == [{"a": 1}]
    factory.handler.close()


def test_object_that_logs_while_it_is_rendered_ends_there(tmp_path: Path) -> None:
    producers.configure(path=tmp_path / "log")
    log = structlog.get_logger()

    class Chatty:
        def __repr__(self) -> str:
            log.info("again", o=self)
            return "chatty"

    log.info("look", o=Chatty())
    (event,) = [e for e in lines(tmp_path / "log") if e["event"] == "look"]
    assert event["o"] == "chatty"


def test_what_a_chatty_object_loses_is_counted(tmp_path: Path) -> None:
    handler = producers.configure(path=tmp_path / "log")
    log = structlog.get_logger()

    class Chatty:
        def __repr__(self) -> str:
            log.error("again", o=self)
            return "chatty"

    log.info("look", o=Chatty())
    assert sum(handler.dropped.values()) > 0
    assert set(handler.dropped) == {"error"}


def test_entry_that_resists_is_counted_and_does_not_raise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Resists(dict[str, object]):
        def __iter__(self) -> Iterator[str]:
            raise MemoryError

        def keys(self) -> NoReturn:  # type: ignore[override]  # hostile on purpose
            raise MemoryError

    handler = producers.configure(path=tmp_path / "log")
    wrapped = structlog.wrap_logger(
        KafkaLoggerFactory(handler)("n"),
        processors=[lambda *_: Resists(), EventRenderer(handler.renderer)],
        wrapper_class=structlog.BoundLogger,
    )
    wrapped.error("hello")
    assert handler.dropped == {"error": 1}


def test_handler_that_a_service_added_itself_stays(tmp_path: Path) -> None:
    own = KafkaHandler(path=tmp_path / "audit")
    logging.getLogger().addHandler(own)
    producers.configure(path=tmp_path / "one")
    producers.configure(path=tmp_path / "two")
    logging.getLogger("x").warning("hello")
    assert [len(lines(tmp_path / name)) for name in ("audit", "one", "two")] == [1, 0, 1]


def test_handler_and_options_together_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="either a handler or its options"):
        KafkaLoggerFactory(KafkaHandler(path=tmp_path / "log"), service="x")
