"""Each kind of change is found and pointed at; what a handler does by itself is none."""

from __future__ import annotations

import time

import pytest

from pipeline.chain.form import ChainKeys, StoredRecord
from pipeline.chain.partition import Limits, Mark, PartitionCheck
from pipeline.chain.series import Series, Step
from pipeline.chain.topic import TopicCheck
from tests.unit.pipeline.chain.written import KEY, OTHER_KEY, Written, changed, kinds, numbered, verify

A, B = b"a" * 16, b"b" * 16


def partition_of(log: list[StoredRecord], limits: Limits) -> PartitionCheck:
    """Read a log through, and leave the check as it is then."""
    check = TopicCheck("logs", ChainKeys([KEY]), limits=limits).partition(0, start=0, whole=True)
    for record in log:
        check.record(record)
    return check


@pytest.fixture
def written() -> Written:
    """Two services in two processes, interleaved, some events dropped."""
    written = Written()
    for _ in range(4):
        written.write(2, A, b"shop")
        written.write(1, A, b"billing")
        written.drop(3, B, b"shop")
        written.write(2, B, b"shop")
    return written


def test_untouched_log_is_clean_and_drops_are_counted_as_such(written: Written) -> None:
    report = verify(written.log)
    assert (report.findings, report.suspicious) == ([], 0)
    (counts,) = (p.counts for p in report.partitions)
    assert (counts.records, counts.authentic, counts.dropped, counts.series) == (20, 20, 12, 3)


@pytest.mark.parametrize(
    "change",
    [
        {"value": b'{"event":"nothing to see"}'},
        {"value": b""},
        {"value": None},
        {"time_ms": 1_700_000_000_000},
        {"time_ms": -1},
        {"chain": b"\x01" + b"x" * 21},
        {"chain": b"\x02" + b"x" * 21},
        {"chain": b""},
        {"chain": None},
    ],
    ids=str,
)
def test_altered_record_is_pointed_at_and_nothing_else(written: Written, change: dict[str, object]) -> None:
    log = written.log
    log[6] = changed(log[6], **change)
    report = verify(log)
    (finding,) = report.findings
    assert (finding.kind.value, finding.offset, report.suspicious) == ("altered", 6, 1)
    assert "record 3 stood here" in finding.what


@pytest.mark.parametrize("change", [{"key": b"other"}, {"key": None}, {"source": B}, {"seq": b"9"}], ids=str)
def test_record_given_another_place_is_pointed_at_and_missed_at_its_own(
    written: Written, change: dict[str, object]
) -> None:
    log = written.log
    log[6] = changed(log[6], **change)
    # Where it claims a number that is there, it is one too many.
    wrong = "inserted" if change == {"source": B} else "altered"
    assert kinds(verify(log)) == [(wrong, 6), ("removed", 10)]


@pytest.mark.parametrize("seq", [b"+3", b"03", b" 3", b"3 ", b"\xd9\xa3", b"", b"3" * 20, None])
def test_number_has_one_form(written: Written, seq: bytes | None) -> None:
    log = written.log
    assert dict(log[6].headers)["seq"] == b"3"
    log[6] = changed(log[6], seq=seq)
    assert kinds(verify(log)) == [("altered", 6), ("removed", 10)]


def test_value_of_another_authentic_record_does_not_fit(written: Written) -> None:
    log = written.log
    log[6] = changed(log[6], value=log[7].value, time_ms=log[7].time_ms)
    assert kinds(verify(log)) == [("altered", 6)]


def test_headers_swapped_added_or_doubled_are_an_alteration(written: Written) -> None:
    log = written.log
    source, seq, chain = log[6].headers
    for headers in [
        (seq, source, chain),
        (source, seq, chain, ("more", b"x")),
        (source, seq, chain, chain),
        (source, source, seq, chain),
    ]:
        tampered = [*log[:6], changed(log[6], headers=headers), *log[7:]]
        assert kinds(verify(tampered)) == [("altered", 6)]


def test_removed_records_are_named_by_the_one_that_follows(written: Written) -> None:
    log = written.log
    (finding,) = verify(numbered([*log[:5], *log[7:]])).findings
    assert (finding.kind.value, finding.offset, finding.last) == ("removed", 8, 3)
    assert (finding.source, finding.key) == (A, b"shop")


def test_removal_tells_numbers_and_offsets() -> None:
    written = Written()
    written.write(10)
    log = written.log
    (finding,) = verify(numbered([*log[:4], *log[7:]])).findings
    assert (finding.kind.value, finding.offset, finding.first, finding.last) == ("removed", 4, 4, 6)
    assert finding.what == (
        "record 6 is missing before this one; it stood behind offset 3; so is what was sent of 4 to 5"
    )


def test_removed_beginning_is_found_where_the_partition_is_whole() -> None:
    written = Written()
    written.write(10)
    (finding,) = verify(numbered(written.log[3:])).findings
    assert (finding.kind.value, finding.offset, finding.last) == ("removed", 0, 2)


def test_missing_beginning_is_told_as_such_where_retention_may_have_removed_it(written: Written) -> None:
    report = verify(written.log[10:], start=10)
    assert {f.kind.value for f in report.findings} == {"beginning"}
    assert report.suspicious == 0


def test_offsets_without_records_are_holes_even_at_the_end(written: Written) -> None:
    log = written.log
    report = verify([*log[:18]], end=20)
    assert kinds(report) == [("hole", 18)]
    assert (report.findings[0].count, report.suspicious) == (2, 1)
    assert verify(log[:18], end=20, allow_unchained=True).suspicious == 0


def test_forged_record_is_inserted_where_none_is_missing(written: Written) -> None:
    log = written.log
    for claimed in log[5], log[8]:  # one that was there before, one that comes later
        forged = changed(claimed, value=b"forged")
        assert kinds(verify(numbered([*log[:8], forged, *log[8:]]))) == [("inserted", 8)]


def test_forged_record_far_before_a_removal_does_not_pass_for_what_is_missing(written: Written) -> None:
    log = written.log
    shop = [n for n, r in enumerate(log) if r.key == b"shop" and dict(r.headers)["source"] == A]
    forged = changed(log[shop[4]], value=b"forged")
    tampered = [forged, *(r for n, r in enumerate(log) if n not in shop[3:5])]
    report = verify(numbered(tampered))
    assert [f.kind.value for f in report.findings] == ["altered", "removed"]
    assert report.findings[1].last == 4


def test_record_moved_behind_a_later_one_is_moved(written: Written) -> None:
    log = written.log
    shop = [n for n, r in enumerate(log) if r.key == b"shop" and dict(r.headers)["source"] == A]
    order = list(range(len(log)))
    order.remove(shop[2])
    order.insert(order.index(shop[5]) + 1, shop[2])
    report = verify(numbered([log[n] for n in order]))
    assert kinds(report) == [("moved", shop[5])]
    assert report.findings[0].first == 2


def test_copy_behind_others_is_moved(written: Written) -> None:
    log = written.log
    assert kinds(verify(numbered([*log, log[0]]))) == [("moved", 20)]


def test_record_of_another_topic_or_partition_does_not_fit(written: Written) -> None:
    assert {k for k, _ in kinds(verify(written.log, topic="other"))} == {"altered"}
    assert {k for k, _ in kinds(verify({1: written.log}))} == {"altered"}


def test_record_without_chain_is_pointed_at_unless_others_write_too(written: Written) -> None:
    log = written.log
    bare = StoredRecord(0, 0, b"shop", b"{}", ())
    mixed = numbered([*log[:5], bare, bare, *log[5:], bare])
    report = verify(mixed)
    assert [(f.kind.value, f.offset, f.count) for f in report.findings] == [
        ("unchained", 5, 2),
        ("unchained", 22, 1),
    ]
    allowed = verify(mixed, allow_unchained=True)
    assert (allowed.findings, allowed.partitions[0].counts.unchained) == ([], 3)


@pytest.mark.parametrize("allow_unchained", [True, False])
def test_record_stripped_of_its_chain_is_altered(written: Written, *, allow_unchained: bool) -> None:
    log = written.log
    log[6] = changed(log[6], headers=log[6].headers[:2], value=b"other")
    report = verify(log, allow_unchained=allow_unchained)
    assert ("altered", 6) in kinds(report)
    assert report.counts.keys() <= {f.kind for f in report.findings}
    assert report.suspicious == 1 + (not allow_unchained)


def test_records_of_an_unknown_key_are_counted_and_its_name_told() -> None:
    written = Written(key=OTHER_KEY)
    written.write(5)
    (finding,) = verify(written.log).findings
    assert (finding.kind.value, finding.offset, finding.count) == ("unknown-key", 0, 5)
    assert written.chain.key_id.hex() in finding.what
    assert verify(written.log, KEY, OTHER_KEY).findings == []


def test_another_key_id_on_a_record_is_an_alteration(written: Written) -> None:
    log = written.log
    chain = dict(log[6].headers)["chain"]
    assert chain is not None
    log[6] = changed(log[6], chain=chain[:1] + b"\xff" * 4 + chain[5:])
    assert ("altered", 6) in kinds(verify(log))


def test_timestamps_of_the_broker_are_told_once(written: Written) -> None:
    (finding,) = verify([changed(r, by_broker=True) for r in written.log]).findings
    assert (finding.kind.value, finding.offset, finding.count) == ("altered", 0, 20)
    assert "LogAppendTime" in finding.what


def test_batch_sent_again_is_a_repetition_and_no_tampering() -> None:
    written = Written()
    written.write(3)
    batch = written.events(4)
    written.send(batch, acknowledged=False)
    written.write(2, B)
    written.send(batch)
    written.write(3)
    report = verify(written.log)
    assert [(f.kind.value, f.offset, f.count) for f in report.findings] == [("repeated", 9, 4)]
    assert (report.suspicious, report.partitions[0].counts.repeated) == (0, 4)


def test_part_of_a_batch_again_is_a_copy() -> None:
    written = Written()
    written.write(9)
    log = written.log
    assert kinds(verify(numbered([*log, *log[2:5]]))) == [("moved", 9)]
    assert kinds(verify(numbered([*log, log[6], log[8]]))) == [("moved", 9), ("repeated", 10)]


def test_repetition_over_the_cut_beginning_is_no_tampering() -> None:
    written = Written()
    written.write(3)
    batch = written.events(4)
    written.send(batch, acknowledged=False)
    written.send(batch)
    written.write(3)
    report = verify(written.log[5:], start=5)
    assert kinds(report) == [("beginning", 7), ("repeated", 7)]
    assert report.suspicious == 0


def test_refused_batch_is_a_drop() -> None:
    written = Written()
    written.write(3)
    written.send(written.events(2), stored=False, acknowledged=False)
    written.write(3)
    report = verify(written.log)
    assert (report.findings, report.partitions[0].counts.dropped) == ([], 2)


def test_batch_that_was_given_up_but_had_arrived_is_no_tampering() -> None:
    written = Written()
    written.write(3)
    written.send(written.events(2), acknowledged=False)
    written.write(3)
    assert verify(written.log).findings == []


def test_key_that_goes_on_in_another_partition_when_the_topic_grows_is_clean() -> None:
    written = Written()
    written.write(5)
    written.send(written.events(3), 1)
    assert verify(written.partitions).findings == []
    # And with the way back, as the number of partitions may have it.
    written.write(2)
    assert verify(written.partitions).findings == []
    log = written.log
    assert kinds(verify({0: numbered(log[:4]), 1: written.partitions[1]})) == [("removed", 0)]


def test_log_cut_off_behind_what_an_earlier_check_saw_is_told(written: Written) -> None:
    mark = verify(written.log).partitions[0].mark
    assert mark is not None
    assert verify(written.log, known=mark).findings == []
    written.write(4, A)
    assert verify(written.log, known=mark).findings == []
    assert kinds(verify(written.log[:15], known=mark)) == [("cut", 15)]
    # The same number of records, of which one before the mark has gone.
    fewer = numbered([r for r in written.log if r.offset != 19])
    assert ("cut", 19) in kinds(verify(fewer, known=mark))
    # What retention removed is nothing to compare with.
    assert verify(written.log[21:], start=21, known=Mark(0, 3, b"x")).suspicious == 0


def test_memory_has_limits_and_what_is_forgotten_raises_no_alarm() -> None:
    written = Written()
    for n in range(50):
        written.write(2, b"%016d" % n)
    written.write(2, b"%016d" % 0)
    report = verify(written.log, limits=Limits(series=10))
    assert {f.kind.value for f in report.findings} == {"beginning"}
    assert (report.suspicious, report.partitions[0].counts.forgotten) == (0, 41)


def test_more_gaps_than_are_remembered_are_all_reported() -> None:
    written = Written()
    written.write(40)
    log = numbered(written.log[::2])
    assert [f.offset for f in verify(log, limits=Limits(gaps=3)).findings] == list(range(1, 20))
    one = partition_of(log, Limits(gaps=3))
    assert len(list(one.gaps())) == 3


def test_more_findings_than_are_kept_are_counted() -> None:
    written = Written()
    written.write(20)
    report = verify([changed(r, value=b"x") for r in written.log], max_findings=5)
    assert (len(report.findings), report.left_out, report.suspicious) == (5, 15, 20)


def test_flood_of_claims_stays_within_the_limits() -> None:
    written = Written()
    written.write(1)
    (one,) = written.log
    flood = [changed(one, source=b"%d" % n, seq=b"%d" % m) for n in range(20) for m in range(20)]
    log = numbered([one, *flood])
    for limits, left in (
        (Limits(doubtful_series=3, doubtful_records=1_000), [20, 20, 20]),
        (Limits(doubtful_series=100, doubtful_records=45), [20, 20]),
        (Limits(doubtful_series=1, doubtful_records=7), [4]),
    ):
        assert verify(log, limits=limits, max_findings=10).suspicious == 400
        check = partition_of(log, limits)
        assert [len(kept) for kept in check._doubtful.values()] == left
        assert check._doubts == sum(left)


def test_claims_that_are_settled_make_room_for_others() -> None:
    written = Written()
    written.write(40)
    log = [changed(r, value=b"x") if r.offset % 3 else r for r in written.log]
    check = partition_of(log, Limits(doubtful_records=10))
    assert (check._doubts, check._doubtful) == (0, {})
    found = verify(log, limits=Limits(doubtful_records=10))
    assert [f.kind.value for f in found.findings] == ["altered"] * 26
    # Those that stand for none as well.
    log = numbered(r for record in written.log for r in (changed(record, value=b"x"), record))
    check = partition_of(log, Limits(doubtful_records=10))
    assert (check._doubts, check._doubtful) == (0, {})
    assert [f.kind.value for f in verify(log).findings] == ["inserted"] * 40


def test_record_of_an_earlier_check_that_left_a_hole_is_told_even_where_holes_are_expected(
    written: Written,
) -> None:
    mark = verify(written.log).partitions[0].mark
    assert mark is not None
    written.write(4, b"new source of 16")
    rest = [r for r in written.log if not 15 <= r.offset <= mark.offset]
    report = verify(rest, known=mark, allow_unchained=True)
    assert ("cut", mark.offset + 1) in kinds(report)
    assert report.suspicious == 1
    (told,) = [f for f in report.findings if f.kind.value == "cut"]
    assert told.what == f"an earlier check read offset {mark.offset}, which holds no record any more"


def test_copies_behind_many_gaps_take_no_longer_than_others() -> None:
    series = Series()
    for n in range(0, 40_000, 2):
        series.take(n, n - 1, n)
    assert len(series.gaps) == 19_999
    began = time.process_time()
    for n in range(2, 40_000, 2):
        assert series.take(n, n - 1, n) is Step.AGAIN
        assert series.has(n)
        assert not series.has(n - 1)
    # One after the other they would take half a minute.
    assert time.process_time() - began < 2


def test_flood_of_one_kind_hides_no_other() -> None:
    written = Written()
    written.write(20)
    log = written.log
    forged = [changed(log[3], value=b"%d" % n) for n in range(50)]
    report = verify(numbered([*log[:10], *forged, *log[11:]]), max_findings=5)
    assert [f.kind.value for f in report.findings] == ["inserted"] * 5 + ["removed"]
    assert (report.left_out, report.suspicious) == (45, 51)


def test_source_whose_last_record_is_its_last_word_has_an_end() -> None:
    goodbye = b'{"timestamp":"","level":"debug","event":"logging ends","logger":"producers"}'
    written = Written()
    written.write(2, A)
    written.write(2, B)
    written.send([written.event(A, value=goodbye)])
    assert verify(written.log).partitions[0].counts.ended == 1
    assert verify(written.log[:-1]).partitions[0].counts.ended == 0
    # It was not the last, if its process went on to log.
    written.write(1, A)
    assert verify(written.log).partitions[0].counts.ended == 0
