"""`producers.notify`: a record of the caller's with a channel, whatever else it says."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import producers
from producers import KafkaHandler

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Written:
    """The events of a service whose root logger has our handler."""

    def __init__(self, path: Path, handler: KafkaHandler) -> None:
        self.path = path
        self.handler = handler

    def events(self) -> list[dict[str, object]]:
        return [orjson.loads(line) for line in self.path.read_bytes().splitlines()]


@pytest.fixture
def written(tmp_path: Path) -> Iterator[Written]:
    handler = KafkaHandler(path=tmp_path / "log", service="web")
    logging.getLogger().addHandler(handler)
    yield Written(tmp_path / "log", handler)
    logging.getLogger().removeHandler(handler)
    handler.close()


def test_text_channel_and_fields_are_an_event_of_the_callers_module(written: Written) -> None:
    producers.notify("deploy finished", channel="#deployments", version="1.2.4")
    (event,) = written.events()
    said = {name: event[name] for name in ("event", "notify", "version", "level", "service", "logger")}
    assert said == {
        "event": "deploy finished",
        "notify": "#deployments",
        "version": "1.2.4",
        "level": "info",
        "service": "web",
        "logger": __name__,
    }


def test_no_level_of_a_logger_holds_it_back_but_that_of_a_handler_does(written: Written) -> None:
    logging.getLogger().setLevel(logging.CRITICAL)
    producers.notify("told", channel="#a")
    written.handler.setLevel(logging.ERROR)
    producers.notify("not told", channel="#a")
    assert [event["event"] for event in written.events()] == ["told"]


@pytest.mark.parametrize(
    ("level", "logged"),
    [("error", "error"), (logging.WARNING, "warning"), ("CRITICAL", "critical"), ("loud", "info")],
)
def test_level_is_a_number_or_a_name(written: Written, level: int | str, logged: str) -> None:
    producers.notify("told", channel="#a", level=level)
    assert [event["level"] for event in written.events()] == [logged]


def test_hash_of_the_channel_may_be_left_out(written: Written) -> None:
    producers.notify("told", channel="deployments")
    assert [event["notify"] for event in written.events()] == ["#deployments"]


def test_channel_that_is_no_text_is_no_error(written: Written) -> None:
    class Broken:
        def __str__(self) -> str:
            raise OSError

    for channel in (None, 7, Broken()):
        producers.notify("deploy", channel=channel)  # type: ignore[arg-type]  # wrong on purpose
    assert [e["notify"] for e in written.events()][:2] == ["#None", "#7"]
    assert len(written.events()) == 3


def test_level_that_was_named_later_is_known(written: Written) -> None:
    logging.addLevelName(35, "NOTICED")
    producers.notify("deploy", channel="x", level="noticed")
    assert [e["level"] for e in written.events()] == ["warning"]


def test_field_whose_name_is_taken_is_kept_beside_it(written: Written) -> None:
    producers.notify("100% %s", channel="#a", name="n", msg="m", args=1, notify="#b", event="e", exc_info=2)
    (event,) = written.events()
    assert (event["event"], event["notify"], event["logger"]) == ("100% %s", "#a", __name__)
    kept = {"name_": "n", "msg_": "m", "args_": 1, "notify_": "#b", "event_": "e", "exc_info_": 2}
    assert event.items() >= kept.items()


def test_channel_stays_where_the_event_is_cut_for_its_size(written: Written) -> None:
    producers.notify("told", channel="#a", large="x" * 1_000_000, many=list(range(100_000)))
    (event,) = written.events()
    assert (event["notify"], event["truncated"]) == ("#a", True)


@given(
    st.text(),
    st.text(),
    st.dictionaries(st.text().filter(lambda n: n not in {"text", "channel", "level"}), st.text()),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
def test_whatever_is_told_is_one_event_and_no_error(
    written: Written, text: str, channel: str, fields: dict[str, object]
) -> None:
    before = len(written.events()) if written.path.exists() else 0
    producers.notify(text, channel=channel, **fields)  # type: ignore[arg-type]  # `level` is not among them
    assert len(written.events()) == before + 1
