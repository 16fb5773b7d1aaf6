"""Whatever handlers did, any one change to what they wrote is found; without one, nothing is."""

from __future__ import annotations

import collections
from typing import TYPE_CHECKING

from hypothesis import assume, given
from hypothesis import strategies as st

from pipeline.chain.form import ChainKeys, Place, StoredRecord
from tests.unit.pipeline.chain.written import KEY, OTHER_KEY, Written, changed, numbered, verify

if TYPE_CHECKING:
    from pipeline.chain.form import Claim

_OUTCOMES = (
    "arrived",
    "arrived",
    "arrived",
    "dropped",
    "refused",
    "acknowledgement lost",
    "given up, arrived",
)
_BATCHES = st.lists(
    st.tuples(
        st.sampled_from([b"a" * 16, b"b" * 16]),
        st.sampled_from([b"shop", b"billing"]),
        st.integers(1, 4),
        st.sampled_from(_OUTCOMES),
    ),
    min_size=1,
    max_size=12,
)


@st.composite
def logs(draw: st.DrawFn) -> list[StoredRecord]:
    """A log as handlers write it that run into drops, refusals and lost acknowledgements."""
    written = Written()
    for source, key, count, outcome in draw(_BATCHES):
        events = written.events(count, source, key)
        if outcome == "dropped":
            continue
        lost = outcome in {"acknowledgement lost", "given up, arrived"}
        written.send(events, stored=outcome != "refused", acknowledged=outcome == "arrived")
        if lost and outcome == "acknowledgement lost":
            # Others go on meanwhile: their batches are their own.
            written.send(events)
    # Something comes last of every source and key, so that there is an inside.
    for source in b"a" * 16, b"b" * 16:
        for key in b"shop", b"billing":
            written.write(2, source, key)
    return written.log


def claims(log: list[StoredRecord]) -> list[Claim]:
    keys, place = ChainKeys([KEY]), Place("logs", 0)
    read = [keys.read(record, place) for record in log]
    return [claim for claim, flaw in read if claim is not None and flaw is None]


def once(log: list[StoredRecord]) -> list[int]:
    """Where the records are that are there once."""
    names = [(c.source, c.key, c.seq) for c in claims(log)]
    counts = collections.Counter(names)
    return [n for n, name in enumerate(names) if counts[name] == 1]


@given(logs())
def test_untouched_log_is_clean(log: list[StoredRecord]) -> None:
    report = verify(log)
    assert report.suspicious == 0
    assert {f.kind.value for f in report.findings} <= {"repeated"}
    # Nor if retention has removed its beginning.
    for start in range(1, len(log)):
        assert verify(log[start:], start=start).suspicious == 0


def _flipped(raw: bytes, bit: int) -> bytes:
    place = bit % (len(raw) * 8)
    return bytes(b ^ (1 << place % 8 if n == place // 8 else 0) for n, b in enumerate(raw))


@given(
    logs(),
    st.integers(0),
    st.sampled_from(["value", "key", "source", "seq", "chain", "time_ms"]),
    st.integers(0, 10_000),
)
def test_any_altered_bit_is_pointed_at(log: list[StoredRecord], at: int, part: str, bit: int) -> None:
    at %= len(log)
    record = log[at]
    if part == "time_ms":
        change: object = record.time_ms ^ (1 << bit % 41)
    else:
        whole = dict(record.headers) if part in {"source", "seq", "chain"} else {part: getattr(record, part)}
        raw = whole[part]
        assert raw is not None
        change = _flipped(raw, bit)
    log[at] = changed(record, **{part: change})
    assert at in {f.offset for f in verify(log).findings if f.kind.value != "repeated"}


@given(logs(), st.integers(0))
def test_any_removal_before_a_later_record_is_found(log: list[StoredRecord], at: int) -> None:
    told = claims(log)
    named = {(c.source, c.key, c.previous) for c in told}
    inside = [n for n in once(log) if (told[n].source, told[n].key, told[n].seq) in named]
    assume(inside)
    at = inside[at % len(inside)]
    gone = told[at]
    report = verify(numbered([*log[:at], *log[at + 1 :]]))
    (finding,) = [f for f in report.findings if f.kind.value == "removed"]
    assert (finding.source, finding.key, finding.last) == (gone.source, gone.key, gone.seq)
    # Left where it was, its offset tells as well.
    holed = verify([*log[:at], *log[at + 1 :]])
    assert ("hole", at) in {(f.kind.value, f.offset) for f in holed.findings}


@given(logs(), st.integers(0), st.integers(0), st.sampled_from(["forged", "bare", "other key", "new source"]))
def test_any_insertion_is_pointed_at(log: list[StoredRecord], at: int, model: int, how: str) -> None:
    at %= len(log) + 1
    record = log[model % len(log)]
    if how == "forged":
        record = changed(record, value=b"forged")
    elif how == "bare":
        record = changed(record, headers=())
    elif how == "new source":
        record = changed(record, source=b"c" * 16)
    else:
        other = Written(key=OTHER_KEY)
        other.write(1)
        (record,) = other.log
    report = verify(numbered([*log[:at], record, *log[at:]]))
    assert {f.offset for f in report.findings if f.kind.value != "repeated"} == {at}


@given(logs(), st.integers(0), st.integers(0))
def test_any_two_records_of_a_series_that_change_places_are_found(
    log: list[StoredRecord], one: int, other: int
) -> None:
    single, told = once(log), claims(log)
    one = single[one % len(single)]
    same = [
        n for n in single if n != one and (told[n].source, told[n].key) == (told[one].source, told[one].key)
    ]
    other = same[other % len(same)]
    log[one], log[other] = log[other], log[one]
    report = verify(numbered(log))
    assert report.suspicious
    between = range(min(one, other), len(log))
    assert all(f.offset in between for f in report.findings if f.kind.value != "repeated")


@given(logs(), st.integers(0), st.integers(0))
def test_any_copy_is_found(log: list[StoredRecord], at: int, model: int) -> None:
    at %= len(log) + 1
    record = log[model % len(log)]
    before = verify(log)
    after = verify(numbered([*log[:at], record, *log[at:]]))
    assert sum(f.count for f in after.findings) > sum(f.count for f in before.findings)


@given(logs(), st.integers(0), st.integers(0))
def test_any_value_of_another_record_is_pointed_at(log: list[StoredRecord], at: int, model: int) -> None:
    at, other = at % len(log), log[model % len(log)]
    assume(other.value != log[at].value)
    log[at] = changed(log[at], value=other.value, time_ms=other.time_ms, key=other.key)
    assert at in {f.offset for f in verify(log).findings if f.kind.value != "repeated"}
