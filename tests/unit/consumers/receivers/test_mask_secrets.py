"""Secrets don't leave in messages; what only looks like words about them stays."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumers.receivers.mask import MASK, mask

JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U"


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("login with password=hunter2 failed", "hunter2"),
        ("DB_PASSWORD: hunter2", "hunter2"),
        ('{"password": "hunter2 and more", "user": "x"}', "hunter2 and more"),
        ("{'passwd': 'hunter2'}", "hunter2"),
        (r'{"event": "{\"password\":\"hunter2\"}"}', "hunter2"),
        (r'{"password":"hun\"ter2"}', "ter2"),
        ('{"password": "hunter2 cut o', "hunter2"),
        ("https://x/y?api_key=hunter2&page=3", "hunter2"),
        ("client-secret = hunter2", "hunter2"),
        ("Authorization: Bearer abc.def", "abc.def"),
        ("Authorization: Basic dXNlcjpwYXNz", "dXNlcjpwYXNz"),
        ('"authorization": "Bearer abcdef"', "abcdef"),
        ("authorization=abcdef", "abcdef"),
        ("sent Bearer 0123456789abcdef0123", "0123456789abcdef0123"),
        (f"got {JWT}", JWT),
        ("key AKIAIOSFODNN7EXAMPLE used", "AKIAIOSFODNN7EXAMPLE"),
        ("slack xoxb-123456789012-abcdefGHI", "xoxb-123456789012-abcdefGHI"),
        ("slack xoxp-123456789012-abcdefGHI", "xoxp-123456789012-abcdefGHI"),
        ("POST https://hooks.slack.com/services/T0/B0/abcDEF", "abcDEF"),
        ("remote https://ghp_0123456789abcdefABCD@github.com", "ghp_0123456789abcdefABCD"),
        ("postgres://app:hunter2@db:5432/x", "hunter2"),
        ("-----BEGIN RSA PRIVATE KEY-----\nMIIE\nabc\n-----END RSA PRIVATE KEY-----", "MIIE"),
        ("-----BEGIN PRIVATE KEY-----\\nMIIE cut off", "MIIE"),
    ],
)
def test_secret_is_masked(text: str, secret: str) -> None:
    shown = mask(text)
    assert secret not in shown
    assert "[masked" in shown


@pytest.mark.parametrize(
    "text",
    [
        "Failed password for root from 10.0.0.1 port 22 ssh2",
        "Accepted password for alice",
        "user forgot the password",
        "token expired",
        "max_tokens=512",
        "the bearer of bad news",
        "time 12:30:01, http://host:80/path",
        "café résumé: ok",
    ],
)
def test_words_about_secrets_stay(text: str) -> None:
    assert mask(text) == text


def test_what_stands_around_a_secret_stays() -> None:
    assert mask("user=alice password=x, ip=10.0.0.1") == f"user=alice password={MASK}, ip=10.0.0.1"
    assert mask('{"password":"x","user":"alice"}') == f'{{"password":{MASK},"user":"alice"}}'
    assert mask("postgres://app:pw@db:5432/x") == f"postgres://app:{MASK}@db:5432/x"


@pytest.mark.parametrize(
    "piece", ["password=", "-----BEGIN PRIVATE KEY-----", "://a:", '"', "eyJaaaaaa.", "bearer "]
)
def test_hostile_text_takes_linear_time(piece: str) -> None:
    def measure(copies: int) -> float:
        text = piece * copies
        began = time.thread_time()
        mask(text)
        return time.thread_time() - began

    # Ten times the text: a quadratic pattern would take a hundred times as long, each time; on a busy machine
    # a linear one may, once.
    assert any(measure(20_000) < 40 * max(measure(2_000), 1e-4) for _ in range(5))


@given(st.text())
def test_any_text_is_taken(text: str) -> None:
    mask(text)


def test_lone_surrogate_is_taken() -> None:
    assert mask("\ud800 password=x") == f"? password={MASK}"


def test_number_of_a_terminal_session_is_no_secret_but_a_session_id_is() -> None:
    assert mask('{"TerminalSessionId": 1, "x": 2}') == '{"TerminalSessionId": 1, "x": 2}'
    assert "s3ss10n" not in mask("session_id=s3ss10nvalue; path=/")
    assert "s3ss10n" not in mask('{"sessionId": "s3ss10n"}')
