from __future__ import annotations

import datetime as dt
import zoneinfo
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from pipeline.decode import FORMATS
from pipeline.decode.json_object import JsonDecoder
from pipeline.errors import DecodeError
from pipeline.event import LogSource

if TYPE_CHECKING:
    from pipeline.event import Event

T = 1_795_523_696_123  # 2026-11-24T12:34:56.123Z
RECORD_MS = T + 5000
ISO = "2026-11-24T12:34:56.123456Z"


def decode(fields: Any) -> Event:
    return FORMATS["json"].decode(orjson.dumps(fields), RECORD_MS)


def test_canonical_events_are_what_was_parsed() -> None:
    fields = {
        "timestamp": ISO,
        "level": "error",
        "event": "x",
        "service": "s",
        "n": 1,
        "deep": {"a": [1, None]},
    }
    event = decode(fields)
    assert event.fields == fields
    assert (event.time_ms, event.timed, event.structured) == (T, True, True)
    assert event.text == orjson.dumps(fields).decode()


@pytest.mark.parametrize("nested", [True, False])
def test_ecs_names_are_understood_nested_and_dotted(nested: bool) -> None:
    dotted: dict[str, object] = {
        "@timestamp": ISO,
        "log.level": "WARN",
        "log.logger": "shop.cart",
        "message": "cart lost",
        "service.name": "cart",
        "service.environment": "staging",
        "host.hostname": "web-1",
        "process.pid": 7,
        "trace.id": "t1",
        "span.id": "s1",
        "error.type": "KeyError",
        "error.message": "'sku'",
        "error.stack_trace": (
            'Traceback (most recent call last):\n  File "a.py", line 3, in f\n    x\nKeyError: no'
        ),
        "event.dataset": "cart.log",
    }
    given: dict[str, Any] = {}
    for name, value in dotted.items():
        head, _, rest = name.partition(".")
        if nested and rest:
            given.setdefault(head, {})[rest] = value
        else:
            given[name] = value
    event = decode(given)
    expected = {
        "timestamp": "2026-11-24T12:34:56.123Z",
        "level": "warning",
        "event": "cart lost",
        "logger": "shop.cart",
        "service": "cart",
        "environment": "staging",
        "host": "web-1",
        "pid": 7,
        "trace_id": "t1",
        "span_id": "s1",
        "exception": {
            "type": "KeyError",
            "value": "'sku'",
            "frames": [{"file": "a.py", "line": 3, "function": "f"}],
        },
    }
    assert {name: event.fields[name] for name in expected} == expected
    assert event.fields["service.name"] == "cart"
    assert event.fields["event.dataset"] == "cart.log"
    assert (event.time_ms, event.timed) == (T, True)


def test_an_object_under_a_canonical_name_stays_reachable_when_the_text_takes_it() -> None:
    event = decode({"@timestamp": ISO, "service": {"name": "a", "node": {"role": {"x": 1}}, "empty": {}}})
    assert event.fields["service"] == "a"
    assert event.fields["service.node.role.x"] == 1
    assert event.fields["service.empty"] == {}


def test_an_object_under_a_canonical_name_stays_when_there_is_no_text() -> None:
    assert decode({"@timestamp": ISO, "host": {"ip": "192.0.2.1"}}).fields["host"] == {"ip": "192.0.2.1"}


def test_opentelemetry_in_otlp_form() -> None:
    def text(key: str, value: str) -> dict[str, object]:
        return {"key": key, "value": {"stringValue": value}}

    event = decode(
        {
            "timeUnixNano": str(T * 1_000_000 + 456_789),
            "severityNumber": 17,
            "body": {"stringValue": "it broke"},
            "traceId": "aa",
            "spanId": "bb",
            "attributes": [
                text("user", "bob"),
                {"key": "size", "value": {"intValue": "12"}},
                {
                    "key": "tags",
                    "value": {"arrayValue": {"values": [{"stringValue": "x"}, {"boolValue": True}]}},
                },
                {"key": "map", "value": {"kvlistValue": {"values": [text("k", "v")]}}},
                text("exception.type", "IOError"),
                text("exception.message", "disk"),
                text("level", "not a level"),
            ],
            "resource": {
                "attributes": [text("service.name", "pay"), text("deployment.environment.name", "prod")]
            },
        }
    )
    assert event.time_ms == T
    expected = {
        "level": "error",
        "event": "it broke",
        "trace_id": "aa",
        "span_id": "bb",
        "service": "pay",
        "environment": "prod",
        "user": "bob",
        "size": 12,
        "tags": ["x", True],
        "map": {"k": "v"},
        "exception": {"type": "IOError", "value": "disk", "frames": []},
        "timestamp": "2026-11-24T12:34:56.123Z",
    }
    assert {name: event.fields.get(name) for name in expected} == expected


def test_opentelemetry_with_maps_and_capitals() -> None:
    event = decode(
        {
            "Timestamp": T * 1_000_000,
            "SeverityText": "Error",
            "Body": "it broke",
            "TraceId": "aa",
            "SpanId": "bb",
            "Attributes": {"http.method": "GET", "user": "bob"},
            "Resource": {"service.name": "pay", "host.name": "web-1", "process.pid": 4},
        }
    )
    expected = {
        "level": "error",
        "event": "it broke",
        "trace_id": "aa",
        "service": "pay",
        "host": "web-1",
        "pid": 4,
        "user": "bob",
        "http.method": "GET",
    }
    assert {name: event.fields.get(name) for name in expected} == expected
    assert event.timed


def test_an_unset_opentelemetry_time_leaves_it_to_the_observed_one() -> None:
    event = decode({"timeUnixNano": "0", "observedTimeUnixNano": T * 1_000_000, "severityNumber": 9})
    assert (event.time_ms, event.timed, event.fields["level"]) == (T, True, "info")


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (
            {"level": 50, "time": T, "pid": 3, "hostname": "h", "name": "app", "msg": "m", "v": 1},
            {"level": "error", "event": "m", "logger": "app", "host": "h", "pid": 3},
        ),
        (
            {
                "asctime": "2026-11-24 12:34:56,123",
                "levelname": "CRITICAL",
                "name": "a.b",
                "message": "m",
                "process": 9,
            },
            {"level": "critical", "event": "m", "logger": "a.b", "pid": 9},
        ),
        ({"severity": "EMERGENCY", "message": "m", "time": ISO}, {"level": "critical", "event": "m"}),
        ({"level": "warn", "ts": T / 1000, "msg": "m", "logger": "z"}, {"level": "warning", "event": "m"}),
        ({"level": "fatal", "time": ISO, "msg": "m"}, {"level": "critical", "event": "m"}),
        ({"log": "out\n", "stream": "stderr", "time": ISO}, {"event": "out\n"}),
        (
            {"level": "error", "time": ISO, "msg": "m", "err": {"type": "E", "message": "v"}},
            {"exception": {"type": "E", "value": "v", "frames": []}},
        ),
    ],
)
def test_other_libraries_names_are_understood(fields: dict[str, object], expected: dict[str, object]) -> None:
    event = decode(fields)
    assert {name: event.fields.get(name) for name in expected} == expected
    assert (event.time_ms, event.timed) == (T, True)
    assert event.fields.items() >= {k: v for k, v in fields.items() if k != "level"}.items()


def test_a_users_own_name_and_attributes_are_left_alone() -> None:
    event = decode(
        {"timestamp": ISO, "level": "INFO", "event": "x", "name": "bob", "attributes": {"user": "eve"}}
    )
    assert "logger" not in event.fields
    assert "user" not in event.fields


def test_what_is_there_is_not_replaced_by_an_alias() -> None:
    event = decode(
        {"timestamp": ISO, "event": "ours", "message": "theirs", "level": "info", "severity": "error"}
    )
    assert event.fields["event"] == "ours"
    assert event.fields["level"] == "info"


@pytest.mark.parametrize(
    "timestamp",
    [
        "",
        "soon",
        0,
        -1,
        1e300,
        [],
        {},
        True,
        None,
        "9999-12-31T23:59:59Z",
        "1970-01-02T00:00:00Z",
        "2026-11-26T12:34:56Z",
    ],
)
def test_an_absurd_timestamp_gives_way_to_the_records(timestamp: object) -> None:
    event = decode({"timestamp": timestamp, "event": "x", "level": "info"})
    assert (event.time_ms, event.timed) == (RECORD_MS, False)
    assert event.fields["timestamp"] == timestamp


def test_a_huge_integer_as_time_is_survived() -> None:
    raw = b'{"event":"x","time":' + b"9" * 300 + b',"level":"info"}'
    event = FORMATS["json"].decode(raw, RECORD_MS)
    assert (event.time_ms, event.timed) == (RECORD_MS, False)


def test_times_without_an_offset_are_in_the_given_zone() -> None:
    decoder = JsonDecoder(zoneinfo.ZoneInfo("America/New_York"))
    event = decoder.decode(b'{"asctime":"2026-11-24 07:34:56,123","message":"m"}', RECORD_MS)
    assert event.time_ms == T
    assert JsonDecoder(dt.UTC).decode(b'{"asctime":"2026-11-24 12:34:56,123"}', RECORD_MS).time_ms == T


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b" ",
        b"{",
        b'{"a":1',
        b'{"a":1}}',
        b"[1]",
        b'"x"',
        b"1",
        b"null",
        b'{"a":1e999}',
        b'{"a":NaN}',
        b'{"a":"\\ud800"}',
        b'{"a":"\xff"}',
        b"\x00",
        b'{"a":"\x00"}',
        b'{"a":' * 100_000,
        b'{"a":' * 5000 + b"1" + b"}" * 5000,
        b"[" * 100_000,
        b"{'a': 1}",
        b'{"a":1}\nTraceback',
    ],
)
def test_what_is_no_json_object_is_refused(raw: bytes) -> None:
    with pytest.raises(DecodeError):
        FORMATS["json"].decode(raw, RECORD_MS)


def test_a_thousand_levels_are_decoded() -> None:
    for head in (b"a", b"service", b"body", b"attributes", b"resource"):
        raw = b'{"severityText":"x","message":"m","service.name":"s","' + head + b'":'
        raw += b'{"a":' * 998 + b"1" + b"}" * 999
        assert FORMATS["json"].decode(raw, RECORD_MS).fields["event"] == "m"
    otlp = b'{"severityText":"x","body":' + b'{"arrayValue":{"values":[' * 330 + b"1" + b"]}}" * 330 + b"}"
    assert "event" not in FORMATS["json"].decode(otlp, RECORD_MS).fields


@pytest.mark.parametrize(
    ("declared", "expected"),
    [
        ({"product": "linux"}, LogSource("linux")),
        ({"service": "sshd", "category": "auth"}, LogSource(service="sshd", category="auth")),
        ({"product": "a", "service": "b", "category": "c"}, LogSource("a", "b", "c")),
    ],
)
def test_an_event_may_say_what_log_source_it_is_of(declared: object, expected: LogSource) -> None:
    for rest in ({"level": "info", "timestamp": ISO}, {"message": "m"}):
        event = decode({**rest, "logsource": declared})
        assert event.logsources == (expected,)
        assert event.fields["logsource"] == declared
    windows = decode({"EventID": 1, "Channel": "Security", "logsource": declared})
    assert windows.logsources == (LogSource("windows", "security"), expected)


@pytest.mark.parametrize(
    "declared",
    [
        {},
        "linux",
        None,
        ["linux"],
        {"product": 1},
        {"product": None},
        {"product": "linux", "definition": "x"},
        {"product": "x" * 65},
    ],
    ids=repr,
)
def test_what_is_no_log_source_declares_none(declared: object) -> None:
    assert decode({"level": "info", "logsource": declared}).logsources == ()
    assert decode({"level": "info", "event": "x"}).logsources == ()


def test_the_last_of_duplicate_keys_counts() -> None:
    assert FORMATS["json"].decode(b'{"event":"a","event":"b"}', RECORD_MS).fields["event"] == "b"


NAMES = [
    *(
        "level",
        "log",
        "log.level",
        "error",
        "err",
        "service",
        "host",
        "process",
        "trace",
        "exc_info",
        "attributes",
    ),
    *("resource", "Resource", "body", "name", "severityNumber", "exception", "timestamp", "time"),
]
VALUES: list[object] = [
    *(None, 1, 1.5, True, "x", [], [1, {"key": 1}, None]),
    *({}, {"type": {"a": 1}}, {"stringValue": []}),
]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_values_of_the_wrong_type_are_survived(name: str, value: object) -> None:
    event = decode({name: value, "SeverityText": "err", "message": "m", "msg": None})
    assert event.fields["event"] == "m"


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_a_message_of_the_wrong_type_is_no_message(value: object) -> None:
    assert decode({"message": value, "msg": "m"}).fields["event"] in ("m", value)
