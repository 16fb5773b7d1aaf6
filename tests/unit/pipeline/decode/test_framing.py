from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.decode import FORMATS, Auto, Framed, Joiner

if TYPE_CHECKING:
    from pipeline.decode import Decoder

NOW = 1_795_537_450_000
TRACE = b"""\
2026-11-24 12:00:00,000 - ERROR - one
Traceback (most recent call last):
  File "a", line 1, in f
ValueError: x

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "b", line 2, in g
KeyError: y
2026-11-24 12:00:01,000 - INFO - two
"""


def join(data: bytes, decoder: Decoder, size: int = 1 << 16, offset: int = 0, **limits: int) -> list[Framed]:
    joiner = Joiner(decoder, **limits)
    done: list[Framed] = []
    for at in range(0, len(data), size):
        done += joiner.feed(data[at : at + size], offset + at, NOW)
    return done + joiner.drain()


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
def test_a_traceback_joins_its_line(size: int) -> None:
    one, two = join(TRACE, FORMATS["basic"], size)
    assert one.data == TRACE[: one.end].rstrip(b"\n")
    assert one.data.endswith(b"KeyError: y")
    assert two.data == b"2026-11-24 12:00:01,000 - INFO - two"
    assert (one.start, two.start, two.end) == (0, one.end, len(TRACE))


@pytest.mark.parametrize("name", ["text", "json", "logfmt"])
def test_the_line_that_ends_a_traceback_belongs_to_it_in_every_format(name: str) -> None:
    data = (
        b'level=info it broke\nTraceback (most recent call last):\n  File "a", line '
        b"1, in f\nValueError: x\nlevel=info next\n"
    )
    framed = join(data, FORMATS[name])
    assert framed[-1].data == b"level=info next"
    assert framed[-2].data.endswith(b"ValueError: x")


def test_a_level_in_capitals_after_frames_begins_an_event() -> None:
    data = b'ERROR:root:x\nTraceback (most recent call last):\n  File "a"\nINFO:     next\n'
    assert [f.data for f in join(data, FORMATS["basic"])][1] == b"INFO:     next"


def test_offsets_are_positions_in_the_file() -> None:
    one, two = join(b"a\r\nbb\r\n", FORMATS["text"], offset=100)
    assert one == Framed(100, 103, b"a")
    assert two == Framed(103, 107, b"bb")


def test_the_last_line_needs_no_line_end_at_drain() -> None:
    joiner = Joiner(FORMATS["text"])
    assert joiner.feed(b"one\ntw", 0, NOW) == []
    assert joiner.resume == 0
    assert joiner.flush(NOW + 10_000) == [Framed(0, 4, b"one")]
    assert joiner.resume == 4
    assert joiner.feed(b"o", 6, NOW) == []
    assert joiner.drain() == [Framed(4, 7, b"two")]
    assert joiner.resume == 7
    assert joiner.drain() == []


def test_an_event_is_flushed_by_age_only() -> None:
    joiner = Joiner(FORMATS["text"], max_age_ms=500)
    joiner.feed(b"one\n", 0, NOW)
    assert joiner.flush(NOW + 499) == []
    joiner.feed(b"  more\n", 4, NOW + 400)
    assert joiner.flush(NOW + 899) == []
    assert joiner.flush(NOW + 900) == [Framed(0, 11, b"one\n  more")]


def test_blank_lines_make_no_event() -> None:
    assert join(b"\n\r\n  \n", FORMATS["text"]) == []
    assert join(b"\n\none\n\n\ntwo\n", FORMATS["text"]) == [Framed(2, 8, b"one"), Framed(8, 12, b"two")]


@pytest.mark.parametrize("size", [1, 3, 100, 100_000])
def test_an_overlong_line_is_cut_and_counted(size: int) -> None:
    joiner = Joiner(FORMATS["text"], max_bytes=10)
    data = b"x" * 5000 + b"\nshort\n" + b"y" * 11
    done: list[Framed] = []
    for at in range(0, len(data), size):
        done += joiner.feed(data[at : at + size], at, NOW)
        assert len(joiner._tail) <= 10
    done += joiner.drain()
    assert done == [
        Framed(0, 5001, b"x" * 10, 4990),
        Framed(5001, 5007, b"short"),
        Framed(5007, 5018, b"y" * 10, 1),
    ]
    assert joiner.cut_bytes == 4991


def test_an_event_that_outgrows_a_limit_is_closed_and_loses_nothing() -> None:
    data = b"head\n" + b"  line\n" * 1000
    for limits in ({"max_lines": 10}, {"max_bytes": 64}):
        framed = join(data, FORMATS["text"], **limits)
        assert len(framed) > 50
        assert b"\n".join(f.data for f in framed) + b"\n" == data
        assert all(len(f.data) <= 64 or "max_lines" in limits for f in framed)


def test_a_gap_between_chunks_is_an_error() -> None:
    joiner = Joiner(FORMATS["text"])
    joiner.feed(b"one\n", 0, NOW)
    with pytest.raises(ValueError, match="chunk at 5 does not follow 4"):
        joiner.feed(b"two\n", 5, NOW)


def test_a_malformed_line_leaves_its_neighbours_whole() -> None:
    data = b'{"a":1}\noops\n{"a":2}\n{\n "a": 3\n}\n'
    assert [f.data for f in join(data, FORMATS["json"])] == [
        b'{"a":1}',
        b"oops",
        b'{"a":2}',
        b'{\n "a": 3\n}',
    ]


def test_mixed_formats_of_one_stream_stay_apart() -> None:
    access = b'192.0.2.7 - - [24/Nov/2026:12:34:56 +0000] "GET / HTTP/1.1" 200 5'
    lines = [
        b"INFO:     one",
        access,
        b"ERROR:app:two",
        b"Traceback (most recent call last):",
        b"  File",
        b"AnError: x",
        access,
    ]
    framed = join(b"\n".join(lines * 5), Auto())
    assert len(framed) == 20


LINES = st.lists(
    st.sampled_from(
        [
            b"",
            b"\r",
            b"  indented",
            b"Traceback (most recent call last):",
            b"ValueError: x",
            b"text",
            b"x" * 40,
            b"ERROR:root:a",
            b"2026-11-24 12:00:00,000 - INFO - b",
            b'{"a":1}',
            b"\xff\x00",
            b"{",
        ]
    ),
    max_size=30,
)


def visible(data: bytes) -> bytes:
    return bytes(byte for byte in data if byte not in b"\r\n ")


@given(
    LINES,
    st.integers(1, 50),
    st.sampled_from(["auto", *FORMATS]),
    st.integers(0, 1000),
    st.booleans(),
)
def test_no_byte_is_lost_or_repeated_however_it_is_chunked(
    lines: list[bytes], size: int, name: str, offset: int, small: bool
) -> None:
    data = b"\n".join(lines)
    limits = {"max_bytes": 36, "max_lines": 4} if small else {}
    framed = join(data, Auto() if name == "auto" else FORMATS[name], size, offset, **limits)
    whole = join(data, Auto() if name == "auto" else FORMATS[name], len(data) + 1, offset, **limits)
    assert framed == whole
    for before, after in itertools.pairwise(framed):
        assert before.start < before.end <= after.start
    kept = b"".join(f.data for f in framed)
    covered = b"".join(data[f.start - offset : f.end - offset] for f in framed)
    assert len(visible(covered)) == len(visible(kept)) + sum(f.cut for f in framed)
    assert visible(covered) == visible(data)


@given(LINES, st.integers(0, 29))
def test_reading_goes_on_at_resume(lines: list[bytes], stop: int) -> None:
    data = b"\n".join([*lines, b"ERROR:root:end", b""])
    cut = min(stop * len(data) // 29, len(data))
    joiner = Joiner(FORMATS["basic"])
    first = joiner.feed(data[:cut], 0, NOW)
    again = joiner.resume or 0
    rest = Joiner(FORMATS["basic"])
    second = rest.feed(data[again:], again, NOW) + rest.drain()
    assert first + second == join(data, FORMATS["basic"])
