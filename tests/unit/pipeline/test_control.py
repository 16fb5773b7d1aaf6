from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.alert import Alert, Sample, moment
from pipeline.config.read import read_config
from pipeline.control import RecorderRequest, RecorderRequests
from pipeline.errors import ConfigError
from pipeline.event import Origin

NOW_MS = 1_700_000_000_000
MINUTE_MS = 60_000


def alert(
    identity: str = "1",
    *texts: str,
    service: str = "shop",
    severity: str = "high",
    ended: bool = False,
    last_ms: int = NOW_MS,
    **labels: str,
) -> Alert:
    at = moment(last_ms)
    samples = tuple(Sample(Origin("logs", 0, n), at, text) for n, text in enumerate(texts))
    return Alert(
        id=identity,
        revision=1,
        labels={"alertname": "A", "severity": severity, "service": service, **labels},
        annotations={},
        starts_at=at,
        count=len(texts),
        first_at=at,
        last_at=at,
        ends_at=at if ended else None,
        samples=samples,
    )


def traces(*texts: str) -> tuple[str, ...]:
    (request,) = RecorderRequests("high").requests([alert("1", *texts)], NOW_MS)
    return request.traces


def test_alert_that_begins_asks_for_the_traces_of_its_events() -> None:
    texts = [
        '{"event":"a","trace_id":"t1"}',
        '{"event":"b","trace_id":"t2"}',
        '{"event":"c","trace_id":"t2"}',
    ]
    (request,) = RecorderRequests("high").requests([alert("1", *texts)], NOW_MS)
    assert request == RecorderRequest("shop", moment(NOW_MS), "1", ("t2", "t1"))
    assert msgspec.json.decode(msgspec.json.encode(request)) == {
        "kind": "recorder",
        "service": "shop",
        "at": "2023-11-14T22:13:20Z",
        "alert": "1",
        "traces": ["t2", "t1"],
    }
    assert request.key == "recorder/shop"


def test_alert_whose_events_name_no_trace_asks_for_everything() -> None:
    (request,) = RecorderRequests("high").requests([alert("1", "disk full", '{"event":"x"}')], NOW_MS)
    assert request.traces == ()
    assert b"traces" not in msgspec.json.encode(request)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('{"trace_id":"t1"}', ("t1",)),
        ('{"trace_id" : "t1"}', ("t1",)),
        ('{"trace.id":"t1"}', ("t1",)),
        ('{"trace":{"id":"no"},"traceId":"t1"}', ("t1",)),
        ('{"TraceId":"t1"}', ("t1",)),
        ('{"trace_id":12345678901234567890}', ("12345678901234567890",)),
        ('level=error trace_id=t1 msg="x"', ("t1",)),
        ('msg=x trace_id="t 1"', ("t 1",)),
        # What a text quotes is no field, and neither is half a value.
        ('{"event":"{\\"trace_id\\":\\"t1\\"}"}', ()),
        ('{"trace_id":"' + "x" * 129 + '"}', ()),
        ("trace_id=" + "x" * 129, ()),
        ('{"trace_id":"a\\nb"}', ()),
        ('{"trace_id":""}', ()),
        ('{"my_trace_id":"t1"}', ()),
        ("my_trace_id=t1", ()),
        ("x" * 5_000 + '{"trace_id":"t1"}', ()),
    ],
)
def test_trace_is_found_however_the_event_was_written(text: str, found: tuple[str, ...]) -> None:
    assert traces(text) == found


def test_label_names_a_trace_as_well() -> None:
    (request,) = RecorderRequests("high").requests([alert("1", "x", trace_id="t9")], NOW_MS)
    assert request.traces == ("t9",)


@pytest.mark.parametrize(
    ("least", "severity", "asks"),
    [
        ("high", "critical", True),
        ("high", "high", True),
        ("high", "medium", False),
        ("high", "unheard of", False),
        ("low", "medium", True),
        ("critical", "high", False),
    ],
)
def test_alert_must_be_grave_enough(least: str, severity: str, asks: bool) -> None:
    assert bool(RecorderRequests(least).requests([alert(severity=severity)], NOW_MS)) is asks


def test_alert_asks_when_it_begins_and_not_when_it_goes_on_or_ends() -> None:
    asking = RecorderRequests("high")
    assert len(asking.requests([alert("1", '{"trace_id":"a"}')], NOW_MS)) == 1
    assert asking.requests([alert("1", '{"trace_id":"b"}')], NOW_MS + 2 * MINUTE_MS) == []
    assert asking.requests([alert("1", ended=True)], NOW_MS + 3 * MINUTE_MS) == []
    assert asking.requests([alert("2", ended=True)], NOW_MS + 3 * MINUTE_MS) == []


def test_logs_that_are_read_again_ask_for_nothing() -> None:
    asking = RecorderRequests("high")
    assert asking.requests([alert("1", last_ms=NOW_MS - 6 * MINUTE_MS)], NOW_MS) == []
    assert len(asking.requests([alert("2", last_ms=NOW_MS - 4 * MINUTE_MS)], NOW_MS)) == 1


def test_alert_without_a_service_asks_nobody() -> None:
    assert RecorderRequests("high").requests([alert(service="")], NOW_MS) == []


def test_service_is_asked_for_everything_once_a_minute() -> None:
    asking = RecorderRequests("high")

    def asked(n: int, at_ms: int, service: str = "shop") -> int:
        return len(asking.requests([alert(f"{n}", service=service, last_ms=at_ms)], at_ms))

    assert asked(1, NOW_MS) == 1
    assert asked(2, NOW_MS + MINUTE_MS - 1) == 0
    assert asked(3, NOW_MS + MINUTE_MS - 1, "bank") == 1
    assert asked(4, NOW_MS + MINUTE_MS) == 1


def test_traces_are_asked_for_though_everything_was_but_for_so_many_in_a_minute() -> None:
    asking = RecorderRequests("high")
    alerts = [alert("all"), *(alert(f"{n}", f'{{"trace_id":"t{n}"}}') for n in range(50))]
    requests = asking.requests(alerts, NOW_MS)
    assert [r.traces for r in requests] == [(), *((f"t{n}",) for n in range(20))]
    later = NOW_MS + MINUTE_MS
    assert len(asking.requests([alert("y", '{"trace_id":"t0"}', last_ms=later)], later)) == 1


def test_trace_that_was_asked_for_is_not_asked_for_again_within_the_minute() -> None:
    asking = RecorderRequests("high")
    assert len(asking.requests([alert("1", '{"trace_id":"a"}')], NOW_MS)) == 1
    both = alert("2", '{"trace_id":"a"}', '{"trace_id":"b"}')
    assert [r.traces for r in asking.requests([both], NOW_MS)] == [("b",)]


def test_what_is_remembered_is_bounded() -> None:
    asking = RecorderRequests("high")
    for n in range(10_050):
        asking.requests([alert(f"{n}", service=f"s{n}")], NOW_MS)
    assert (len(asking._begun), len(asking._asked)) == (10_000, 10_000)


@given(st.text(max_size=400), st.lists(st.text(max_size=400), max_size=3))
def test_hostile_events_never_raise(label: str, texts: list[str]) -> None:
    for request in RecorderRequests("high").requests([alert("1", *texts, service=label)], NOW_MS):
        assert all(len(trace) <= 128 for trace in request.traces)


def test_configuration_says_how_grave_an_alert_must_be() -> None:
    text = "route: {receiver: x}\nreceivers: [{name: x}]\n"
    default = read_config(text, "f", {}).config.flight_recorder
    assert (default.enabled, default.severity) == (True, "high")
    changed = read_config(text + "flight_recorder: {severity: low, enabled: false}\n", "f", {})
    assert (changed.config.flight_recorder.enabled, changed.config.flight_recorder.severity) == (False, "low")
    with pytest.raises(ConfigError, match="no such value: 'hihg'"):
        read_config(text + "flight_recorder: {severity: hihg}\n", "f", {})
