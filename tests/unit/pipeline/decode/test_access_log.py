from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pipeline.decode import FORMATS
from pipeline.errors import DecodeError

if TYPE_CHECKING:
    from pipeline.event import Event

RECORD_MS = 1_795_537_450_000
T = 1_795_523_696_000
TIME = "[24/Nov/2026:12:34:56 +0000]"


def decode(text: str | bytes) -> Event:
    return FORMATS["access"].decode(text.encode() if isinstance(text, str) else text, RECORD_MS)


def test_combined_format_has_our_names_and_sigmas() -> None:
    event = decode(f'192.0.2.7 - bob {TIME} "GET /a/b?c=d HTTP/1.1" 404 23 "https://e.example/" "curl/8"')
    assert event.fields == {
        "timestamp": "2026-11-24T12:34:56.000Z",
        "event": "GET /a/b?c=d HTTP/1.1",
        "src_ip": "192.0.2.7",
        "user": "bob",
        "method": "GET",
        "url": "/a/b?c=d",
        "protocol": "HTTP/1.1",
        "status": 404,
        "bytes": 23,
        "referer": "https://e.example/",
        "user_agent": "curl/8",
        "c-ip": "192.0.2.7",
        "cs-username": "bob",
        "cs-method": "GET",
        "cs-uri-query": "/a/b?c=d",
        "cs-uri-stem": "/a/b",
        "cs-version": "HTTP/1.1",
        "sc-status": 404,
        "sc-bytes": 23,
        "cs-referer": "https://e.example/",
        "cs-user-agent": "curl/8",
    }
    assert (event.time_ms, event.timed) == (T, True)


def test_empty_values_are_absent_but_for_sigmas_names() -> None:
    fields = decode(f'192.0.2.7 - - {TIME} "GET / HTTP/1.1" 304 - "-" "-"').fields
    assert not {"user", "bytes", "referer", "user_agent"} & fields.keys()
    assert (fields["cs-username"], fields["cs-referer"], fields["cs-user-agent"]) == ("-", "-", "-")


def test_common_format_virtual_host_spaces_in_the_user_and_ipv6() -> None:
    fields = decode(f'www.example:443 2001:db8::1 - bob the builder {TIME} "GET / HTTP/1.1" 200 1').fields
    assert (fields["cs-host"], fields["src_ip"], fields["user"]) == (
        "www.example",
        "2001:db8::1",
        "bob the builder",
    )
    assert decode(f'::1 - - {TIME} "GET / HTTP/1.1" 200 1').fields["src_ip"] == "::1"


@pytest.mark.parametrize(
    ("request_line", "method", "url"),
    [
        ("GET /a b c HTTP/1.1", "GET", "/a b c"),
        ("GET /", "GET", "/"),
        ("-", None, "-"),
        ("", None, ""),
        ("\\x16\\x03\\x01", None, "\\x16\\x03\\x01"),
        ("PRI * HTTP/2.0", "PRI", "*"),
        ("get / HTTP/1.1", None, "get / HTTP/1.1"),
        ('GET /?q=\\"x\\" HTTP/1.1', "GET", '/?q=\\"x\\"'),
        ('GET /?q="x" HTTP/1.1', "GET", '/?q="x"'),
        ("GET  HTTP/1.1", None, "GET  HTTP/1.1"),
    ],
)
def test_odd_requests_still_decode(request_line: str, method: str | None, url: str) -> None:
    event = decode(f'192.0.2.7 - - {TIME} "{request_line}" 400 0')
    assert event.fields.get("method") == method
    assert event.fields["url"] == event.fields["cs-uri-query"] == url
    assert (event.fields["status"], event.timed) == (400, True)


def test_binary_garbage_in_a_request_still_decodes() -> None:
    event = decode(f'192.0.2.7 - - {TIME} "'.encode() + bytes(range(256)) + b'" 400 0 "-" "-"')
    assert event.fields["status"] == 400
    assert "\x00\x01" in str(event.fields["url"])


def test_what_follows_the_known_part_is_left_in_the_text() -> None:
    event = decode(f'192.0.2.7 - - {TIME} "GET / HTTP/1.1" 200 5 "-" "curl" "203.0.113.9" rt=0.001')
    assert event.fields["user_agent"] == "curl"


def test_an_impossible_time_takes_the_records() -> None:
    event = decode('192.0.2.7 - - [99/Nov/2026:12:34:56 +0000] "GET / HTTP/1.1" 200 5')
    assert (event.time_ms, event.timed) == (RECORD_MS, False)
    assert "timestamp" not in event.fields


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hello",
        f'192.0.2.7 - - {TIME} "GET / HTTP/1.1"',
        f'192.0.2.7 - - {TIME} "GET / HTTP/1.1" 20 5',
        "a b c [d]",
    ],
)
def test_what_is_no_access_log_is_refused(text: str) -> None:
    with pytest.raises(DecodeError):
        decode(text)
