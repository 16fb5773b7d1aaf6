"""What of a topic that anybody may write to is a request, and how often one is answered."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from producers.kafka.control import ControlListener, Request, request_of
from producers.kafka.delivery import KafkaTarget

if TYPE_CHECKING:
    from collections.abc import Collection

NOW_S = 1_700_000_000.0


def written(**fields: object) -> bytes:
    at = dt.datetime.fromtimestamp(NOW_S, dt.UTC).isoformat()
    known = {"kind": "recorder", "service": "shop", "at": at, **fields}
    return orjson.dumps({name: value for name, value in known.items() if value != "absent"})


class Answers:
    """A listener, and what it had answered."""

    def __init__(self, records: int = 1) -> None:
        self.records = records
        self.given: list[tuple[str, Collection[str] | None]] = []
        target = KafkaTarget("127.0.0.1:1", "logs", None, 0)
        self.listener = ControlListener(target, "control", self._answer)

    def hear(self, value: bytes | None, now_s: float = NOW_S) -> None:
        self.listener.hear(value, now_s)

    def _answer(self, service: str, traces: Collection[str] | None) -> int:
        self.given.append((service, traces))
        return self.records


def test_request_names_a_service_and_traces() -> None:
    assert request_of(written(traces=["a", "b", "a"])) == Request("shop", frozenset({"a", "b"}), NOW_S)
    assert request_of(written()) == Request("shop", None, NOW_S)
    assert request_of(written(traces=None)) == Request("shop", None, NOW_S)


@pytest.mark.parametrize(
    "value",
    [
        None,
        b"",
        b"null",
        b"[]",
        b"{",
        b"\xff",
        b"[" * 5_000,
        written(padding="x" * 65_536),
        written(kind="silence"),
        written(kind=["recorder"]),
        written(service="absent"),
        written(service=""),
        written(service=7),
        written(service="x" * 257),
        written(at="absent"),
        written(at=1_700_000_000),
        written(at="yesterday"),
        written(at="2023-11-14T22:13:20"),
        written(traces="a"),
        written(traces={"a": 1}),
    ],
)
def test_what_is_no_request_is_passed_over(value: bytes | None) -> None:
    assert request_of(value) is None


def test_traces_are_bounded_and_texts() -> None:
    request = request_of(written(traces=[1, None, ["a"], *(f"{n}" for n in range(200))]))
    assert request is not None
    assert request.traces == frozenset(f"{n}" for n in range(97))


_json = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.integers(-(2**63), 2**64 - 1) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


@given(
    st.binary()
    | st.dictionaries(st.sampled_from(["kind", "service", "traces", "at", "x"]), _json).map(orjson.dumps)
)
def test_hostile_records_never_raise(value: bytes) -> None:
    Answers().hear(value)


@given(_json, _json, _json)
def test_hostile_requests_never_raise(service: object, traces: object, at: object) -> None:
    answers = Answers()
    answers.hear(written(service=service, traces=traces))
    answers.hear(written(at=at))
    assert all(isinstance(service, str) for service, _ in answers.given)


def test_request_older_than_a_minute_is_not_answered() -> None:
    answers = Answers()
    answers.hear(written(traces=["a"]), NOW_S + 59)
    answers.hear(written(traces=["b"]), NOW_S + 61)
    assert answers.given == [("shop", frozenset({"a"}))]


def test_request_from_the_future_is_not_answered() -> None:
    # Or else one would be answered by every process that begins, for ever.
    answers = Answers()
    answers.hear(written(traces=["a"]), NOW_S - 59)
    answers.hear(written(traces=["b"]), NOW_S - 61)
    assert answers.given == [("shop", frozenset({"a"}))]


def test_everything_is_sent_no_more_often_than_every_few_seconds() -> None:
    answers = Answers()
    for _ in range(3):
        answers.hear(written())
    assert answers.given == [("shop", None)]
    answers.hear(written(traces=["a"]))
    assert answers.given[1:] == [("shop", frozenset({"a"}))]


def test_answer_for_a_trace_keeps_nobody_from_asking_for_everything() -> None:
    answers = Answers()
    answers.hear(written(traces=["a"]))
    answers.hear(written())
    assert answers.given == [("shop", frozenset({"a"})), ("shop", None)]


def test_two_services_of_one_process_are_answered_apart() -> None:
    answers = Answers()
    for service in ("shop", "bank", "shop", "bank"):
        answers.hear(written(service=service))
    assert answers.given == [("shop", None), ("bank", None)]


def test_request_to_another_service_keeps_nobody_from_answering() -> None:
    answers = Answers(records=0)
    answers.hear(written(service="bank"))
    answers.hear(written())
    assert answers.given == [("bank", None), ("shop", None)]
    # Nor is it remembered.
    assert answers.listener._all_at == {}
