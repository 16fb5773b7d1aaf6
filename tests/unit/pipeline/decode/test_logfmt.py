from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pipeline.decode import FORMATS
from pipeline.decode.logfmt import MAX_PAIRS
from pipeline.errors import DecodeError

if TYPE_CHECKING:
    from pipeline.event import Event

RECORD_MS = 1_795_537_450_000


def decode(text: str) -> Event:
    return FORMATS["logfmt"].decode(text.encode(), RECORD_MS)


def test_pairs_quotes_flags_and_aliases() -> None:
    event = decode(
        'time=2026-11-24T12:34:56Z level=err msg="a \\"b\\" \\u00e9" key=value flag empty= n=5 u=http://x/?a=b'
    )
    assert event.fields == {
        "time": "2026-11-24T12:34:56Z",
        "timestamp": "2026-11-24T12:34:56.000Z",
        "level": "error",
        "msg": 'a "b" é',
        "event": 'a "b" é',
        "key": "value",
        "flag": "",
        "empty": "",
        "n": "5",
        "u": "http://x/?a=b",
    }
    assert event.timed


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('level=info v="unfinished rest', '"unfinished'),
        ('level=info v="bad \\x escape"', "bad \\x escape"),
        ('level=info v="a"b', '"a"b'),
        ('level=info v=""', ""),
        ('level=info v="two\nlines"', "two\nlines"),
        ("level=info v=a\x00b", "a\x00b"),
    ],
)
def test_what_is_not_well_formed_stays_as_written(text: str, value: str) -> None:
    assert decode(text).fields["v"] == value


def test_pairs_are_bounded_and_the_last_of_a_key_counts() -> None:
    event = decode("level=info " + " ".join(f"k{n}=v" for n in range(5000)))
    assert len(event.fields) <= MAX_PAIRS
    assert decode("level=info a=1 a=2").fields["a"] == "2"


@pytest.mark.parametrize(
    "text", ["", "hello world", "a=b c=d", "=x level=y", " level=info", '"level"=x', "hello level=info"]
)
def test_what_is_no_logfmt_is_refused(text: str) -> None:
    with pytest.raises(DecodeError):
        decode(text)
