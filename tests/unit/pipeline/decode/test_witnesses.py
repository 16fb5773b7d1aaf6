"""What decoders put into fields stands in the raw bytes, but for `DERIVED` and JSON's escapes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.decode import DERIVED, FORMATS
from pipeline.errors import DecodeError

if TYPE_CHECKING:
    from collections.abc import Iterator

RECORD_MS = 1_795_537_450_000

LINES = [
    (
        "windows",
        (
            '{"Event":{"System":{"EventID":{"#text":"04688"},"Level":"2","Channel":"Security"},'
            '"EventData":{"Data":[{"@Name":"NewProcessName","#text":"C:\\\\a \\"é\\""},{"#text":["x","y"]}]}}'
            "}"
        ),
    ),
    (
        "windows",
        '{"winlog":{"event_id":1,"event_data":{"param1":"a\\"b","Threat Name":"x"}},"message":"m"}',
    ),
    (
        "windows",
        '{"EventID":1,"SourceName":"Security","Hostname":"h","StringInserts":["a",2],"Severity":"WARN"}',
    ),
    ("basic", '2026-11-24 12:34:56,000 - a.b - WARN - x "y"\\z\nsecond'),
    ("basic", "n.log 2026-11-24 12:34:56.000 0257 INFO nova.x [req-1 a - -] m"),
    ("basic", "2026-11-24 12:34:56.000 | ERROR | app.main:run:12 - it broke"),
    (
        "syslog",
        "<34>Nov 24 12:34:56 h sshd[0012]: Failed password for invalid user é x from 192.0.2.7 port 22 ssh2",
    ),
    ("syslog", '<34>1 2026-11-24T12:34:56Z h app 9 id [a@1 b="c \\"d\\" \\] \\\\ e" b="f"] \ufeffm'),
    (
        "syslog",
        (
            "Nov 24 12:34:56 h sshd(pam_unix)[1]: authentication failure; logname= uid=0 "
            "euid=0 tty=ssh ruser= rhost=x.y  user=z"
        ),
    ),
    (
        "syslog",
        (
            "Nov 24 12:34:56 h sshd[1]: message repeated 05 times: [ Failed "
            "password for r from 192.0.2.7 port 1 ssh2]"
        ),
    ),
    (
        "access",
        (
            'v.h:80 192.0.2.7 - b o b [24/Nov/2026:12:34:56 +0200] "GET '
            '/a?b=\\"c\\x22 HTTP/1.1" 200 007 "r" "u\\"a"'
        ),
    ),
    (
        "apache_error",
        "[Tue Nov 24 12:34:56.1 2026] [core:warn] [pid 1:tid 2] [client 192.0.2.7:5] AH00126: m",
    ),
    ("logfmt", 'ts=1795523696.5 lvl=warn msg="a \\"b\\" \\u00e9 \\\\ \\n" k=v flag q="bad \\x"'),
    ("text", "2026-11-24 12:34:56 é"),
    (
        "json",
        (
            '{"@timestamp":"2026-11-24T12:34:56Z","service":{"name":"a\\"b","node":{"x":"é"}},'
            '"message":"\\u0041","process":{"pid":1}}'
        ),
    ),
    (
        "json",
        (
            '{"severityNumber":17,"body":{"stringValue":"b"},"attributes":[{"key":"u","value":{"intValue":"12"}},'
            '{"key":"l","value":{"arrayValue":{"values":[{"stringValue":"q\\\\r"}]}}}],'
            '"resource":{"attributes":{"service.name":"s"}}}'
        ),
    ),
]


def leaves(value: object) -> Iterator[str]:
    waiting = [value]
    while waiting:
        match waiting.pop():
            case dict() as inner:
                waiting.extend(inner.values())
            case list() as inner:
                waiting.extend(inner)
            case bool() | None:
                pass
            case leaf:
                yield str(leaf)


def unescaped(raw: bytes) -> set[str]:
    """Return the text as it is, and with JSON's escapes undone."""
    text = raw.decode("utf-8", "replace")
    escapes = {'\\"': '"', "\\\\": "\\", "\\n": "\n", "\\u00e9": "é", "\\u0041": "A", "\\/": "/"}
    undone = ""
    at = 0
    while at < len(text):
        found = next((e for e in escapes if text.startswith(e, at)), None)
        undone += escapes[found] if found else text[at]
        at += len(found) if found else 1
    return {text, undone}


def assert_literal(name: str, raw: bytes) -> None:
    event = FORMATS[name].decode(raw, RECORD_MS)
    texts = unescaped(raw)
    for field, value in event.fields.items():
        if field not in DERIVED:
            for leaf in leaves(value):
                assert any(leaf in text for text in texts), (field, leaf)


@pytest.mark.parametrize(("name", "line"), LINES)
def test_values_stand_in_the_raw_bytes(name: str, line: str) -> None:
    assert_literal(name, line.encode())


WORDS = st.sampled_from(
    [
        "2026-11-24 12:34:56,123",
        "ERROR",
        "error",
        "-",
        "|",
        "[",
        "]",
        ":",
        " ",
        "a.b",
        "user",
        "from 192.0.2.7",
        "port 22",
        "sshd[1]:",
        "Nov 24 12:34:56",
        "<34>",
        "1",
        '"',
        "=",
        "level=info",
        "\\",
        "\n",
        "é",
        "200",
        "GET / HTTP/1.1",
        "Failed password for",
        '192.0.2.7 - - [24/Nov/2026:12:34:56 +0000] "',
        "[Tue Nov 24 12:34:56 2026]",
        "[error]",
        "rhost=",
        "msg=",
        "h",
    ]
)


@given(
    st.lists(WORDS, max_size=12).map("".join),
    st.sampled_from([n for n in FORMATS if n not in ("json", "logfmt")]),
)
def test_values_of_any_line_stand_in_the_raw_bytes(line: str, name: str) -> None:
    try:
        FORMATS[name].decode(line.encode(), RECORD_MS)
    except DecodeError:
        return
    assert_literal(name, line.encode())


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.sampled_from(["a", "INFO", "x y", "2026-11-24T12:34:56Z"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["name", "level", "type", "message", "attributes", "key", "value", "stringValue", "pid", "id"]
            ),
            inner,
            max_size=3,
        )
    ),
    max_leaves=12,
)
KEYS = st.sampled_from(
    [
        "service",
        "host",
        "event",
        "log",
        "log.level",
        "error",
        "process",
        "trace",
        "message",
        "msg",
        "name",
        "level",
        "attributes",
        "resource",
        "Resource",
        "severityText",
        "severityNumber",
        "timestamp",
        "@timestamp",
        "body",
        "exception",
        "own",
    ]
)


@given(st.dictionaries(KEYS, JSON, max_size=8))
def test_values_of_any_object_stand_in_the_raw_bytes_and_none_is_lost(fields: dict[str, object]) -> None:
    raw = orjson.dumps(fields)
    assert_literal("json", raw)
    event = FORMATS["json"].decode(raw, RECORD_MS)
    kept = set(leaves(dict(event.fields)))
    assert set(leaves({k: v for k, v in fields.items() if k not in DERIVED})) <= kept
