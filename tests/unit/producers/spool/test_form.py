from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from producers.event.renderer import RenderedEvent
from producers.kafka.queue import LEVELS, Record
from producers.spool.form import (
    RECORD_HEADER_BYTES,
    SEGMENT_HEADER_BYTES,
    Header,
    pack_header,
    pack_record,
    parse,
    read_header,
    survey,
)

SOURCE = b"0123456789abcdef"

numbers = st.integers(0, 2**63 - 1)
records = st.builds(
    Record,
    st.builds(
        RenderedEvent,
        st.binary(max_size=300),
        st.binary(max_size=20),
        st.integers(0, 253_402_300_799_000),
        st.sampled_from(LEVELS),
        st.just(""),
    ),
    st.just(SOURCE),
    numbers,
    st.integers(-1, 2**63 - 1),
)


def packed(record: Record) -> bytes:
    assert record.previous is not None
    return pack_record(record.event, LEVELS.index(record.event.level), record.seq, record.previous)


def segment(*parts: bytes, size: int = 4_096) -> bytes:
    data = pack_header(Header(SOURCE, b"logs")).ljust(SEGMENT_HEADER_BYTES, b"\0") + b"".join(parts)
    return data.ljust(size, b"\0")


def small(value: bytes = b"value", level: str = "info", seq: int = 0) -> bytes:
    return packed(Record(RenderedEvent(value, b"key", 1, level), SOURCE, seq, seq - 1))


@given(st.lists(records, max_size=8))
def test_records_come_back_as_they_were(given: list[Record]) -> None:
    data = b"".join(map(packed, given))
    parsed = parse(data, SOURCE)
    assert parsed.records == given
    assert (parsed.end, parsed.broken, sum(parsed.damaged)) == (len(data), False, 0)
    assert sum(parsed.counts) == len(given)


@given(st.lists(records, min_size=1, max_size=4), st.data())
def test_piece_that_ends_within_a_record_holds_those_before_it(
    given: list[Record], data: st.DataObject
) -> None:
    ends = [0]
    for record in given:
        ends.append(ends[-1] + len(packed(record)))
    cut = data.draw(st.integers(0, ends[-1]))
    parsed = parse(b"".join(map(packed, given))[:cut], SOURCE)
    whole = max(n for n, end in enumerate(ends) if end <= cut)
    assert parsed.records == given[:whole]
    assert (parsed.end, parsed.broken) == (ends[whole], False)
    # With that much the next one can be read, or at least its header.
    assert parsed.missing in ({0} if whole or not cut else {RECORD_HEADER_BYTES, ends[1]})


@given(st.lists(records, min_size=2, max_size=4), st.data())
def test_no_changed_bit_goes_unnoticed(given: list[Record], data: st.DataObject) -> None:
    given = [record._replace(seq=n) for n, record in enumerate(given)]
    whole = b"".join(map(packed, given))
    bit = data.draw(st.integers(0, len(whole) * 8 - 1))
    changed = bytearray(whole)
    changed[bit // 8] ^= 1 << bit % 8
    parsed = parse(bytes(changed), SOURCE)
    assert len(parsed.records) < len(given)
    assert [r for r in given if r in parsed.records] == parsed.records
    assert parsed.broken or sum(parsed.damaged) == 1 or parsed.end < len(whole)


@given(st.binary(max_size=200))
def test_whatever_the_bytes_are_nothing_is_raised(data: bytes) -> None:
    parsed = parse(data, SOURCE)
    assert parsed.records == []
    assert read_header(data) is None
    for last in (False, True):
        assert sum(survey(segment(data), SEGMENT_HEADER_BYTES, last=last).counts) == 0


def test_content_that_looks_like_a_record_is_none() -> None:
    inner = small(b"forged", "critical", 99)
    data = bytearray(small(inner) + small())
    # The header of the outer one is gone: what follows must not be looked for.
    data[5] ^= 0xFF
    parsed = parse(bytes(data), SOURCE)
    assert (parsed.records, parsed.broken, parsed.end) == ([], True, 0)


@pytest.mark.parametrize("label", [b"", b"logs", b"x" * 255])
def test_segment_says_its_source_and_what_it_is_for(label: bytes) -> None:
    data = pack_header(Header(SOURCE, label))
    assert len(data) <= SEGMENT_HEADER_BYTES
    assert read_header(data.ljust(SEGMENT_HEADER_BYTES, b"\0")) == Header(SOURCE, label)
    for n in range(len(data)):
        assert read_header(data[:n] + bytes([data[n] ^ 1]) + data[n + 1 :]) is None
        assert read_header(data[:n]) is None


def test_survey_counts_by_level_up_to_where_records_end() -> None:
    one, two = small(level="error"), small(level="debug")
    found = survey(segment(one, two, one), SEGMENT_HEADER_BYTES, last=True)
    assert found == (SEGMENT_HEADER_BYTES + len(one + two + one), [1, 0, 0, 2, 0], False)
    found = survey(segment(one, two, one), SEGMENT_HEADER_BYTES + len(one), last=False)
    assert found.counts == [1, 0, 0, 1, 0]


@pytest.mark.parametrize("last", [True, False])
def test_record_torn_anywhere_ends_the_last_segment_and_is_not_counted(*, last: bool) -> None:
    whole, torn = small(), small(b"another value")
    # What is torn off may be zeros anyhow.
    header_bytes = len(torn[:RECORD_HEADER_BYTES].rstrip(b"\0"))
    for cut in range(len(torn)):
        found = survey(segment(whole, torn[:cut]), SEGMENT_HEADER_BYTES, last=last)
        if last or not cut:
            assert (sum(found.counts), found.damaged) == (1, False)
            assert found.end == SEGMENT_HEADER_BYTES + len(whole)
        elif cut < header_bytes:
            assert (sum(found.counts), found.damaged) == (1, True)
        else:
            # Its key and value tell, when they are read.
            assert (sum(found.counts), found.damaged) == (2, False)


def test_what_stands_behind_a_gap_is_damage_not_a_torn_record() -> None:
    found = survey(segment(small(), bytes(60), small()), SEGMENT_HEADER_BYTES, last=True)
    assert (sum(found.counts), found.damaged) == (1, True)


def test_record_that_the_file_ends_within_is_counted_and_not_read() -> None:
    data = segment(small(), small(level="error"), size=0)
    found = survey(data[:-1], SEGMENT_HEADER_BYTES, last=False)
    assert (found.counts, found.damaged) == ([0, 1, 0, 1, 0], True)
    assert found.end == SEGMENT_HEADER_BYTES + len(small())


def test_survey_from_behind_the_end_finds_nothing() -> None:
    assert survey(segment(small()), 10_000, last=True) == (10_000, [0] * 5, False)
