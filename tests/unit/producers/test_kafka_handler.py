from __future__ import annotations

import importlib.util
import logging
import logging.config
import re
import socket
import time
from typing import TYPE_CHECKING

import orjson
import pytest

import producers
from producers import KafkaHandler
from producers.kafka.delivery import KafkaTarget
from producers.options import DEFAULTS, HandlerOptions, settle
from producers.process import within

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def logger() -> Iterator[logging.Logger]:
    """A logger that stands alone, so that pytest's own handlers don't listen to it."""
    logger = logging.Logger("tests.kafka_handler", logging.DEBUG)  # noqa: LOG001 - as said
    yield logger
    for handler in logger.handlers:
        handler.close()


@pytest.fixture
def dead_port() -> Iterator[int]:
    """A port of loopback that nobody listens on, bound so that nobody can."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


def lines(path: Path) -> list[dict[str, object]]:
    return [orjson.loads(line) for line in path.read_bytes().splitlines()]


def test_dict_config_builds_it(tmp_path: Path) -> None:
    logger = logging.getLogger("tests.dict_config")
    path = tmp_path / "log"
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "handlers": {
                "kafka": {
                    "class": "producers.KafkaHandler",
                    "level": "WARNING",
                    "service": "shop",
                    "environment": "test",
                    "path": str(path),
                    "queue_bytes": 1_000_000,
                }
            },
            "loggers": {logger.name: {"handlers": ["kafka"], "level": "DEBUG", "propagate": False}},
        }
    )
    logger.info("not this")
    logger.warning("this", extra={"n": 1})
    (event,) = lines(path)
    assert (event["service"], event["environment"], event["event"], event["n"]) == ("shop", "test", "this", 1)
    (handler,) = [h for h in logger.handlers if isinstance(h, KafkaHandler)]
    logger.removeHandler(handler)
    handler.close()


def test_environment_gives_the_defaults(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, logger: logging.Logger
) -> None:
    monkeypatch.setenv("TOCSIN_SERVICE", "from-env")
    monkeypatch.setenv("TOCSIN_ENVIRONMENT", "staging")
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:1")
    logger.addHandler(KafkaHandler(path=tmp_path / "log"))
    logger.info("hello")
    (event,) = lines(tmp_path / "log")
    assert (event["service"], event["environment"]) == ("from-env", "staging")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"path": "-", "bootstrap_servers": "a:1"}, "either path or bootstrap_servers"),
        ({"compression": "gzpi"}, "'gzpi' is unknown; valid: auto, none, gzip"),
        ({"queue_bytes": 0}, "queue_bytes must be at least 1"),
        ({"queue_records": -1}, "queue_records must be at least 1"),
        ({"max_event_bytes": 10}, "max_event_bytes must be at least 32768"),
        ({"linger_ms": -1}, "can't be negative"),
    ],
)
def test_wrong_option_is_named(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        KafkaHandler(**options)  # type: ignore[arg-type]  # wrong on purpose


def test_codec_that_is_not_installed_is_known_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    KafkaHandler(compression="zstd").close()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=re.escape("tocsin[codecs]")):
        KafkaHandler(compression="zstd")
    KafkaHandler(compression="gzip").close()


def test_best_codec_that_is_installed_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    assert KafkaTarget("kafka:9092", "logs", "auto", 5).compression == "zstd"
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert KafkaTarget("kafka:9092", "logs", "auto", 5).compression == "gzip"


def test_wrong_arguments_print_nothing(
    tmp_path: Path, logger: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    logger.addHandler(KafkaHandler(path=tmp_path / "log"))
    logger.error("%d", "x")
    (event,) = lines(tmp_path / "log")
    assert (event["event"], event["args"]) == ("%d", "('x',)")
    assert capsys.readouterr() == ("", "")


def test_object_that_logs_while_it_is_rendered_ends_there(tmp_path: Path, logger: logging.Logger) -> None:
    class Chatty:
        def __repr__(self) -> str:
            logger.info("rendering %r", self)
            return "chatty"

    handler = KafkaHandler(path=tmp_path / "log")
    logger.addHandler(handler)
    logger.info("look", extra={"o": Chatty()})
    logger.info("after")
    events = lines(tmp_path / "log")
    assert [e["o"] for e in events if e["event"] == "look"] == ["chatty"]
    assert handler.dropped == {"info": sum(int(str(e.get("dropped", 0))) for e in events)}


def test_what_an_object_logs_while_it_is_rendered_is_no_loss(tmp_path: Path, logger: logging.Logger) -> None:
    class Lazy:
        def __repr__(self) -> str:
            logger.error("loaded from the database")
            return "lazy"

    handler = KafkaHandler(path=tmp_path / "log")
    logger.addHandler(handler)
    logger.info("look at %r", Lazy())
    assert [e["event"] for e in lines(tmp_path / "log")] == ["loaded from the database", "look at lazy"]
    assert handler.dropped == {}


@pytest.mark.parametrize("name", ["aiokafka", "aiokafka.conn"])
def test_records_of_the_client_in_our_own_thread_do_not_feed_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    handler = KafkaHandler(path=tmp_path / "log")
    monkeypatch.setattr(within, "background", True)
    handler.handle(logging.makeLogRecord({"name": name, "levelno": 40, "msg": "away"}))
    assert lines(tmp_path / "log") == []
    handler.close()


@pytest.mark.parametrize("name", ["shop", "asyncio", "aiokafkaesque"])
def test_what_a_finalizer_logs_in_our_own_thread_is_the_services(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    handler = KafkaHandler(path=tmp_path / "log")
    monkeypatch.setattr(within, "background", True)
    handler.handle(logging.makeLogRecord({"name": name, "levelno": 40, "msg": "never retrieved"}))
    assert [e["event"] for e in lines(tmp_path / "log")] == ["never retrieved"]
    handler.close()


def test_start_of_the_thread_is_nothing_that_was_logged(
    dead_port: int, caplog: pytest.LogCaptureFixture
) -> None:
    root = logging.getLogger()
    handler = KafkaHandler(bootstrap_servers=f"127.0.0.1:{dead_port}", flush_timeout_s=0)
    with caplog.at_level(logging.DEBUG):
        root.addHandler(handler)
        root.warning("hello")
        root.removeHandler(handler)
    assert (handler.pending, handler.dropped) == (1, {})
    handler.close()


def test_no_record_makes_it_raise(tmp_path: Path) -> None:
    handler = KafkaHandler(path=tmp_path / "log")
    handler.handle(logging.makeLogRecord({"created": "never", "levelno": "none"}))
    assert handler.dropped == {"error": 1}
    handler.close()


def test_filters_apply(tmp_path: Path, logger: logging.Logger) -> None:
    handler = KafkaHandler(path=tmp_path / "log")
    handler.addFilter(lambda record: record.msg != "secret")
    logger.addHandler(handler)
    logger.info("secret")
    logger.info("open")
    assert [e["event"] for e in lines(tmp_path / "log")] == ["open"]


def test_broker_away_costs_no_wait_bounded_memory_and_one_line(
    dead_port: int, logger: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    handler = KafkaHandler(
        service="shop", bootstrap_servers=f"127.0.0.1:{dead_port}", queue_records=100, flush_timeout_s=0.5
    )
    logger.addHandler(handler)
    for n in range(1_000):
        logger.warning("event %d", n)
    assert handler.pending == 100
    assert handler.dropped == {"warning": 900}
    logger.removeHandler(handler)
    handler.close()
    away, lost = capsys.readouterr().err.splitlines()
    assert away.startswith(f"tocsin: Kafka at 127.0.0.1:{dead_port} is away (KafkaConnectionError")
    assert (
        lost == f"tocsin: 1000 log records were not delivered to Kafka at 127.0.0.1:{dead_port} within 0.5 s"
    )
    assert handler.dropped == {"warning": 1000}


def test_unknown_name_of_the_package_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="Nothing"):
        producers.Nothing  # type: ignore[attr-defined]  # noqa: B018 - that is the test


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"topics": "x"}, "KafkaHandler has no option 'topics'; is topic meant?"),
        ({"zzz": 1}, "KafkaHandler has no option 'zzz'; valid: bootstrap_servers, topic, "),
    ],
)
def test_unknown_option_is_named_with_what_was_meant(options: dict[str, object], message: str) -> None:
    with pytest.raises(TypeError, match=re.escape(message)):
        KafkaHandler(**options)  # type: ignore[arg-type]  # on purpose


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"queue_bytes": "16M"}, "queue_bytes must be a number, not '16M'"),
        ({"flush_timeout_s": None}, "flush_timeout_s must be a number, not None"),
        ({"capture_locals": "false"}, "capture_locals must be True or False, not 'false'"),
    ],
)
def test_text_for_a_number_or_a_truth_is_refused_by_the_options_name(
    options: dict[str, object], message: str
) -> None:
    with pytest.raises(TypeError, match=re.escape(message)):
        settle(options)  # type: ignore[arg-type]  # on purpose


def test_every_option_has_a_default() -> None:
    assert set(DEFAULTS) == set(HandlerOptions.__annotations__)


@pytest.mark.parametrize(
    "options",
    [
        {"servce": "x"},
        {"chain_key": "short"},
        {"service": 5},
        {"names": "esc"},
        {"recorder": True, "recorder_level": "x"},
    ],
)
def test_handler_that_could_not_be_made_is_unknown_to_logging(options: dict[str, object]) -> None:
    with pytest.raises((TypeError, ValueError)) as kept:
        KafkaHandler(**options)  # type: ignore[arg-type]  # wrong on purpose
    assert kept.traceback
    # What logging.shutdown goes through.
    known = [ref() for ref in logging._handlerList]  # type: ignore[attr-defined]  # no public name
    assert not [h for h in known if isinstance(h, KafkaHandler) and not hasattr(h, "sink")]


def test_option_that_is_no_text_is_named() -> None:
    with pytest.raises(TypeError, match="service must be a text, not 5"):
        KafkaHandler(service=5)  # type: ignore[arg-type]  # wrong on purpose


def test_options_that_the_client_can_make_nothing_of_are_no_outage(
    logger: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    handler = KafkaHandler(client_options={"frobnicate": 1}, flush_timeout_s=0.1)
    logger.addHandler(handler)
    logger.info("hello")
    said = ""
    deadline = time.monotonic() + 20
    while not said and time.monotonic() < deadline:
        handler.flush(0.1)
        said = capsys.readouterr().err
    assert said.startswith("tocsin: Kafka at localhost:9092 can't be used (TypeError: ")
    assert said.endswith("; log records wait in memory\n")
