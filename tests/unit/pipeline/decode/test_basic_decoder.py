from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pipeline.decode import FORMATS
from pipeline.errors import DecodeError

if TYPE_CHECKING:
    from pipeline.event import Event

RECORD_MS = 1_795_537_450_000
T = 1_795_523_696_000  # 2026-11-24T12:34:56Z
BASIC = FORMATS["basic"]


def decode(text: str) -> Event:
    return BASIC.decode(text.encode(), RECORD_MS)


@pytest.mark.parametrize(
    ("text", "level", "logger", "event"),
    [
        ("2026-11-24 12:34:56,000 - ERROR - it broke", "error", None, "it broke"),
        ("2026-11-24 12:34:56,000 - ERROR - ", "error", None, ""),
        ("2026-11-24 12:34:56,000 - ERROR - a - b: c", "error", None, "a - b: c"),
        ("2026-11-24 12:34:56,000 - shop.cart - WARNING - it broke", "warning", "shop.cart", "it broke"),
        ("2026-11-24 12:34:56,000 - ERROR    - it broke", "error", None, "it broke"),
        ("2026-11-24 12:34:56.000 INFO shop.cart it broke", "info", "shop.cart", "it broke"),
        ("2026-11-24 12:34:56,000 INFO it broke", "info", None, "it broke"),
        ("2026-11-24 12:34:56,000 shop ERROR it broke", "error", "shop", "it broke"),
        ("2026-11-24T12:34:56Z ERROR payments: it broke", "error", "payments", "it broke"),
        ("2026-11-24T14:34:56+02:00 CRITICAL it broke", "critical", None, "it broke"),
        ("2026-11-24 12:34:56,000 ERROR ValueError: boom", "error", None, "ValueError: boom"),
        ("[2026-11-24 12:34:56,000] [ERROR] it broke", "error", None, "it broke"),
        ("[2026-11-24 12:34:56,000] [ERROR] [shop.cart] it broke", "error", "shop.cart", "it broke"),
        ("[2026-11-24 12:34:56,000] ERROR in app: it broke", "error", "app", "it broke"),
        ("[2026-11-24 12:34:56 +0000] [12] [INFO] Booting worker", "info", None, "Booting worker"),
        ("[2026-11-24 12:34:56,000: ERROR/ForkPoolWorker-1] it broke", "error", None, "it broke"),
        ("2026-11-24 12:34:56.000 | ERROR    | app.main:run:12 - it broke", "error", "app.main", "it broke"),
        ("2026-11-24 12:34:56.000 | SUCCESS  | __main__:<module>:3 - done", "info", "__main__", "done"),
        ("2026-11-24 12:34:56,000 [main] WARN it broke", "warning", None, "it broke"),
        ("2026-11-24 12:34:56 error: it broke", "error", None, "it broke"),
        ("2026/11/24 12:34:56 [error] 12#12: *4 open() failed", "error", None, "12#12: *4 open() failed"),
        ("2026-11-24 12:34:56.000 INFO ERROR handling is on", "info", None, "ERROR handling is on"),
    ],
)
def test_usual_variants(text: str, level: str, logger: str | None, event: str) -> None:
    found = decode(text)
    assert found.fields["level"] == level
    assert found.fields.get("logger") == logger
    assert found.fields["event"] == event
    assert (found.time_ms, found.timed, found.text) == (T, True, text)


@pytest.mark.parametrize(
    ("text", "logger", "event"),
    [
        ("ERROR:root:it broke", "root", "it broke"),
        ("ERROR:shop.cart:it: broke", "shop.cart", "it: broke"),
        ("ERROR:     it broke", None, "it broke"),
        ("ERROR - it broke", None, "it broke"),
        ("[ERROR] it broke", None, "it broke"),
    ],
)
def test_lines_without_a_time_take_the_records(text: str, logger: str | None, event: str) -> None:
    found = decode(text)
    assert (found.time_ms, found.timed) == (RECORD_MS, False)
    assert (found.fields["level"], found.fields.get("logger"), found.fields["event"]) == (
        "error",
        logger,
        event,
    )
    assert "timestamp" not in found.fields


def test_oslo_lines_with_a_file_in_front() -> None:
    found = decode(
        "api.log.1.2026-11-24_13:00:00 2026-11-24 12:34:56.000 257 INFO nova.wsgi.server "
        "[req-1f-2e aa bb - - -] 192.0.2.9 asked"
    )
    assert found.fields == {
        "file": "api.log.1.2026-11-24_13:00:00",
        "timestamp": "2026-11-24T12:34:56.000Z",
        "pid": 257,
        "level": "info",
        "logger": "nova.wsgi.server",
        "request_id": "req-1f-2e",
        "event": "192.0.2.9 asked",
    }


def test_loguru_gives_function_and_line() -> None:
    found = decode("2026-11-24 12:34:56.000 | ERROR | app.main:run:12 - it broke")
    assert (found.fields["function"], found.fields["line"]) == ("run", 12)


TRACEBACK = """2026-11-24 12:34:56,000 - ERROR - could not pay
Traceback (most recent call last):
  File "/app/pay.py", line 10, in pay
    charge(card)
    ~~~~~~^^^^^^
  File "/app/card.py", line 3, in charge
    raise KeyError(card)
KeyError: 'card'

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "/app/main.py", line 7, in <module>
    pay()
shop.errors.PaymentError: first
second line"""


def test_a_traceback_becomes_the_exception_and_leaves_the_message() -> None:
    found = decode(TRACEBACK)
    assert found.fields["event"] == "could not pay"
    assert found.fields["exception"] == {
        "type": "shop.errors.PaymentError",
        "value": "first\nsecond line",
        "frames": [{"file": "/app/main.py", "line": 7, "function": "<module>"}],
    }
    assert found.text == TRACEBACK


def test_an_exception_group_is_read_as_the_group() -> None:
    found = decode(
        "ERROR:root:boom\n  + Exception Group Traceback (most recent call last):\n"
        '  |   File "/app/a.py", line 3, in <module>\n  |     raise g\n  | '
        "ExceptionGroup: many (2 sub-exceptions)\n"
        "  +-+---------------- 1 ----------------\n    | Traceback (most recent call last):\n"
        '    |   File "/app/b.py", line 9, in f\n    |     raise '
        "ValueError(1)\n    | ValueError: 1\n    +----"
    )
    assert found.fields["exception"] == {
        "type": "ExceptionGroup",
        "value": "many (2 sub-exceptions)",
        "frames": [{"file": "/app/a.py", "line": 3, "function": "<module>"}],
    }
    assert found.fields["event"] == "boom"


def test_further_lines_without_a_traceback_are_message() -> None:
    assert decode("ERROR:root:one\ntwo\nthree").fields["event"] == "one\ntwo\nthree"
    found = decode(
        'ERROR:root:one\ntwo\nTraceback (most recent call last):\n  File "a", line 1, in f\n    x\nE: y'
    )
    assert found.fields["event"] == "one\ntwo"


def test_frames_and_value_are_bounded() -> None:
    frames = "".join(f'  File "a.py", line {n}, in f\n    f()\n' for n in range(5000))
    found = decode(
        f"ERROR:root:deep\nTraceback (most recent call last):\n{frames}RecursionError: {'x' * 100_000}"
    )
    exception = found.fields["exception"]
    assert isinstance(exception, dict)
    assert len(exception["frames"]) == 64
    assert exception["frames"][-1]["line"] == 4999
    assert len(exception["value"]) == 4096


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hello",
        "2026-11-24 12:34:56 hello",
        "2026-11-24 12:34:56 GET /x",
        "2026-13-45 12:34:56 ERROR x",
        "errors: none",
        "INFORMATION",
        "ERROR",
        "the ERROR: x",
        "2026-11-24",
        "Error: x",
    ],
)
def test_lines_without_a_level_are_refused(text: str) -> None:
    with pytest.raises(DecodeError):
        decode(text)


@pytest.mark.parametrize(
    ("line", "begins"),
    [
        (b"2026-11-24 12:34:56,000 - ERROR - x", True),
        (b"[2026-11-24 12:34:56] x", True),
        (b"nova.log 2026-11-24 12:34:56.000 1 INFO x", True),
        (b"ERROR:root:x", True),
        (b"", False),
        (b"  File", False),
        (b"Traceback (most recent call last):", False),
        (b"ValueError: 2026-11-24 12:34", False),
    ],
)
def test_what_begins_an_event(line: bytes, begins: bool) -> None:
    assert BASIC.starts(line) is begins
