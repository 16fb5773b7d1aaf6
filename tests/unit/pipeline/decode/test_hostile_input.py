"""Hostile bytes: whatever comes, a decoder answers with an event or a DecodeError, within bounds."""

from __future__ import annotations

import re
import sys
from re import _constants as sre  # type: ignore[attr-defined] # the parser of `re` has no stub
from re import _parser as parser  # type: ignore[attr-defined] # likewise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.decode import FORMATS, Auto, Joiner
from pipeline.errors import DecodeError

RECORD_MS = 1_795_537_450_000
MEG = 1 << 20

EVIL = [
    b"\x00" * MEG,
    b"a" * MEG,
    b" " * MEG,
    b"[" * MEG,
    b'"' * MEG,
    b"\\" * MEG,
    b"2026-11-24 12:34:56,000 " + b"a " * (MEG // 2),
    b"2026-11-24 12:34:56,000 " + b"- " * (MEG // 2),
    b"2026-11-24 12:34:56,000 " + b"[a] " * (MEG // 4),
    b"2026-11-24 12:34:56,000 - ERROR - x\n" + b"Traceback (most recent call last):\n" * (MEG // 35),
    b"2026-11-24 12:34:56,000 - ERROR - x\nTraceback (most recent call last):\n"
    + b'  File "a", line 1, in f\n' * 40_000,
    b"2026-11-24 12:34:56,000 - ERROR a" + b".a" * (MEG // 2),
    b"Nov 24 12:34:56 h sshd[1]: Failed password for " + b" from" * (MEG // 5),
    b"Nov 24 12:34:56 h sshd[1]: Failed password for " + b"x from 1 port 2 " * (MEG // 16),
    b"Nov 24 12:34:56 h sshd[1]: authentication failure; logname= uid= euid= tty= ruser="
    + b" rhost=" * (MEG // 7),
    b"Nov 24 12:34:56 h sshd[1]: Connection closed by invalid user " + b"a " * (MEG // 2),
    b"Nov 24 12:34:56 h sshd[1]: " + b"message repeated 5 times: [ " * (MEG // 28),
    b"<34>1 - - - - - [a " + b'b="c" ' * (MEG // 6),
    b'<34>1 - - - - - [a b="' + b"\\\\" * (MEG // 2),
    b"<34>1 - - - - - " + b"[a]" * (MEG // 3),
    b'1 - - [24/Nov/2026:12:34:56 +0000] "' + b'" 200 5 x' * (MEG // 9),
    b'1 - - [24/Nov/2026:12:34:56 +0000] "' + b'\\"' * (MEG // 2),
    b"1 - " + b"a [" * (MEG // 3),
    b"[Tue Nov 24 12:34:56 2026] [error] " + b"[client " * (MEG // 8),
    b"level=info " + b"a=b " * (MEG // 4),
    b'level="' + b'\\"' * (MEG // 2),
    b"level=info " + b"a" * MEG,
    b'{"a":' * (MEG // 5),
    b'{"severityText":"x","attributes":' + b'{"a":' * 900 + b"1" + b"}" * 901,
    b'{"message":"m","exc_info":"' + b"Traceback (most recent call last):\\n" * (MEG // 36) + b'"}',
]


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("number", range(len(EVIL)))
@pytest.mark.timeout(10)
def test_a_megabyte_of_malice_is_decoded_or_refused(name: str, number: int) -> None:
    raw = EVIL[number]
    decoder = FORMATS[name]
    decoder.starts(raw)
    try:
        event = decoder.decode(raw, RECORD_MS)
    except DecodeError:
        return
    assert len(event.fields) <= 2000
    assert event.text == raw.decode("utf-8", "replace")


@given(st.binary(max_size=300))
def test_any_bytes_are_decoded_or_refused(raw: bytes) -> None:
    for decoder in FORMATS.values():
        decoder.starts(raw)
        try:
            event = decoder.decode(raw, RECORD_MS)
        except DecodeError:
            continue
        assert event.fields["event"] is not None or decoder.name == "json"
    auto = Auto()
    auto.starts(raw)
    assert auto.decode(raw, RECORD_MS).text == raw.decode("utf-8", "replace")


@given(st.lists(st.binary(max_size=60), max_size=20))
def test_any_file_is_framed_and_decoded(chunks: list[bytes]) -> None:
    auto = Auto()
    joiner = Joiner(auto, max_bytes=50, max_lines=3)
    offset = 0
    for chunk in chunks:
        for framed in joiner.feed(chunk, offset, RECORD_MS):
            assert len(framed.data) <= 50
            auto.decode(framed.data, RECORD_MS)
        offset += len(chunk)
    joiner.drain()
    assert joiner.resume in (offset, None)


def patterns() -> list[tuple[str, re.Pattern[str] | re.Pattern[bytes]]]:
    """Return every regular expression that the package compiled, by where it is."""
    found: list[tuple[str, re.Pattern[str] | re.Pattern[bytes]]] = []
    for name, module in sorted(sys.modules.items()):
        if name.startswith("pipeline.decode."):
            waiting = [(f"{name}.{key}", value) for key, value in vars(module).items()]
            while waiting:
                path, value = waiting.pop()
                if isinstance(value, re.Pattern):
                    found.append((path, value))
                elif isinstance(value, dict) and path.rpartition(".")[2].startswith("_"):
                    waiting.extend((f"{path}.{k}", v) for k, v in value.items() if isinstance(v, tuple))
                elif isinstance(value, tuple):
                    waiting.extend((path, v) for v in value)
    return found


def unbounded_depth(parsed: object, depth: int = 0) -> int:
    """Return how many unbounded, giving-back repeats are nested in one another."""
    deepest = depth
    for op, argument in parsed:  # type: ignore[attr-defined] # likewise
        match op:
            case sre.MAX_REPEAT | sre.MIN_REPEAT:
                _, most, inner = argument
                deepest = max(deepest, unbounded_depth(inner, depth + (most == sre.MAXREPEAT)))
            case sre.POSSESSIVE_REPEAT:
                deepest = max(deepest, unbounded_depth(argument[2], depth))
            case sre.SUBPATTERN:
                deepest = max(deepest, unbounded_depth(argument[-1], depth))
            case sre.BRANCH:
                deepest = max([deepest, *(unbounded_depth(b, depth) for b in argument[1])])
            case sre.ASSERT | sre.ASSERT_NOT:
                deepest = max(deepest, unbounded_depth(argument[1], depth))
            case _:
                pass
    return deepest


def test_no_pattern_nests_unbounded_repeats() -> None:
    found = patterns()
    assert len(found) > 30
    for path, pattern in found:
        assert unbounded_depth(parser.parse(pattern.pattern, pattern.flags)) <= 1, path
