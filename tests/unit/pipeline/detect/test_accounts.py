"""Accounts of sources: what is missing, repeated and out of order, and what nobody can know."""

from __future__ import annotations

import base64
import random
import time
from typing import TYPE_CHECKING, TypeAlias

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.detect import accounts
from pipeline.detect.accounts import Account
from pipeline.detect.words import OWN_SOURCE, SourceCounts
from pipeline.event import Batch, Partition

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

NOW_MS = 1_795_537_450_000
LATENESS_MS = 30_000
PART = Partition("logs", 2)

Headers: TypeAlias = "Sequence[tuple[str, bytes | None]]"


class Bench:
    """An account, and a topic that it is fed from."""

    def __init__(self, *, silence_ms: int = 0) -> None:
        self.counts = SourceCounts()
        self.account = Account(self.counts, opened_ms=NOW_MS, lateness_ms=LATENESS_MS, silence_ms=silence_ms)
        self.now_ms = NOW_MS
        self.offset = 0

    def take(
        self,
        *numbers: int,
        source: bytes = b"s1",
        key: bytes | None = b"orders",
        value: bytes = b"{}",
        time_ms: int | None = None,
    ) -> list[int]:
        """Read records of one source in one batch; return the numbers that were said to be repeated."""
        rows = [(key, [("source", source), ("seq", b"%d" % n)], value) for n in numbers]
        repeated = self.read(rows, time_ms)
        return [n for i, n in enumerate(numbers) if i in repeated]

    def read(
        self, rows: Iterable[tuple[bytes | None, Headers, bytes | None]], time_ms: int | None = None
    ) -> set[int]:
        """Read records in one batch; return the places of those that were said to be repeated."""
        keys, headers, values = zip(*rows, strict=True)
        first = self.offset
        self.offset += len(keys)
        offsets = range(first, self.offset)
        times_ms = [self.now_ms if time_ms is None else time_ms] * len(keys)
        batch = Batch(PART, offsets, times_ms, values, keys=keys, headers=headers)
        return {offset - first for offset in self.account.take(batch, self.now_ms)}

    def wait(self, ms: int, *, at_end: bool = True) -> list[dict[str, object]]:
        """Let time pass in ticks of a second; return the events that came of it."""
        said = []
        for _ in range(0, ms, 1_000):
            self.now_ms += 1_000
            said += self.account.tell(self.now_ms, self.now_ms, at_end=at_end)
        return [orjson.loads(event.value) for event in said]


# --- lost ---------------------------------------------------------------------------------------------


def test_numbers_in_order_say_nothing() -> None:
    bench = Bench()
    assert bench.take(*range(100)) == []
    assert bench.take(*range(100, 200)) == []
    assert bench.wait(60_000) == []
    assert bench.counts == SourceCounts()
    assert bench.account.sources == 1


def test_gap_counts_as_lost_once_it_has_stayed_open_for_the_lateness() -> None:
    bench = Bench()
    bench.take(0, 1, 5)
    assert bench.wait(LATENESS_MS - 1_000) == []
    assert bench.counts.lost == {}
    (told,) = bench.wait(1_000)
    assert told["event"] == "3 records of orders were lost"
    assert (told["lost"], told["from_seq"], told["to_seq"], told["source"]) == (3, 2, 4, "s1")
    assert bench.counts.lost == {"orders": 3}
    assert bench.wait(120_000) == []


def test_gap_counts_as_lost_when_its_own_source_is_past_it_by_the_lateness_though_the_reader_lags() -> None:
    bench = Bench()
    bench.take(0, 5, time_ms=1_000)
    bench.take(6, time_ms=1_000 + LATENESS_MS - 1)
    assert bench.wait(1_000, at_end=False) == []
    bench.take(7, time_ms=1_000 + LATENESS_MS)
    (told,) = bench.wait(1_000, at_end=False)
    assert told["lost"] == 4


def test_clock_of_another_source_that_is_ahead_turns_no_reorder_into_a_loss() -> None:
    bench = Bench()
    bench.take(0, 2)
    bench.take(0, source=b"ahead", time_ms=NOW_MS + 86_000_000)
    assert bench.wait(1_000) == []
    bench.take(1)
    assert bench.wait(60_000) == []
    assert (bench.counts.lost, bench.counts.reordered) == ({}, 1)


def test_who_lags_does_not_count_the_time_that_passes_for_itself() -> None:
    bench = Bench()
    bench.take(0, 2)
    assert bench.wait(600_000, at_end=False) == []
    bench.take(1)
    assert bench.wait(60_000) == []


def test_process_that_was_stopped_does_not_take_the_time_for_the_sources() -> None:
    bench = Bench()
    bench.take(0, 2)
    bench.now_ms += 3_600_000
    assert bench.wait(1_000) == []


def test_losses_are_counted_by_service() -> None:
    bench = Bench()
    bench.take(0, 2)
    bench.take(0, 3, source=b"s2", key=b"mail")
    bench.take(0, 4, source=b"s3", key=b"mail")
    told = bench.wait(LATENESS_MS)
    assert bench.counts.lost == {"orders": 1, "mail": 5}
    assert [(t["event"], t["service"]) for t in told] == [
        ("1 record of orders was lost", "orders"),
        ("5 records of mail were lost", "mail"),
    ]
    assert (told[1]["sources"], "source" in told[1]) == (2, False)


@pytest.mark.parametrize(
    ("event", "host", "environment"),
    [
        ({"event": '"host":"none"', "environment": "production", "host": "web-1"}, "web-1", "production"),
        ({"message": "x", "host.name": "web-1", "service.environment": "production"}, "web-1", "production"),
        (
            {"Body": "x", "Resource": {"host.name": "web-1", "deployment.environment.name": "production"}},
            "web-1",
            "production",
        ),
        ({"host": "h" * 1_000, "environment": ["x"]}, "h" * 256, ""),
        ({"host": "web-1", "event": "x" * 70_000}, "", ""),
        ([1], "", ""),
    ],
)
def test_loss_says_where_the_source_runs(event: object, host: str, environment: str) -> None:
    bench = Bench()
    bench.take(0, 2, value=orjson.dumps(event))
    (told,) = bench.wait(LATENESS_MS)
    assert (told["host"], told["environment"]) == (host, environment)


# --- reordered and returned ---------------------------------------------------------------------------


def test_record_that_comes_within_the_lateness_is_a_reorder() -> None:
    bench = Bench()
    assert bench.take(0, 3, 1, 2, 4) == []
    assert bench.wait(60_000) == []
    assert (bench.counts.lost, bench.counts.reordered, bench.counts.repeated) == ({}, 2, 0)


def test_only_what_is_still_missing_of_a_gap_is_lost() -> None:
    bench = Bench()
    bench.take(0, 10, 5, 1, 9)
    told = bench.wait(LATENESS_MS)
    assert bench.counts.lost == {"orders": 6}
    (word,) = told
    assert (word["from_seq"], word["to_seq"]) == (2, 8)


def test_record_that_comes_after_being_lost_is_examined_and_told() -> None:
    bench = Bench()
    bench.take(0, 3)
    bench.wait(LATENESS_MS)
    assert bench.take(2) == []
    assert bench.take(2) == [2]
    (told,) = bench.wait(1_000)
    assert (told["event"], told["returned"]) == ("1 record of orders came after being counted as lost", 1)
    assert (bench.counts.returned, bench.counts.repeated, bench.counts.lost) == (1, 1, {"orders": 2})


def test_return_of_one_lost_record_loses_none_of_the_others_again() -> None:
    bench = Bench()
    bench.take(0, 10)
    bench.wait(LATENESS_MS)
    assert bench.take(5) == []
    bench.take(11, 13)
    told = bench.wait(120_000)
    assert [t["finding"] for t in told] == ["returned", "lost"]
    assert bench.counts.lost == {"orders": 10}


# --- repeated -----------------------------------------------------------------------------------------


def test_number_that_was_read_before_is_repeated() -> None:
    bench = Bench()
    bench.take(0, 1, 2)
    assert bench.take(1, 2, 3, 3) == [1, 2, 3]
    assert bench.counts.repeated == 3
    assert bench.take(4) == []


def test_same_number_of_another_source_or_key_is_another_record() -> None:
    bench = Bench()
    bench.take(0, 1)
    assert bench.take(0, 1, source=b"s2") == []
    assert bench.take(0, 1, key=b"mail") == []
    assert bench.account.sources == 3


def test_numbers_below_the_first_that_was_seen_are_unknown_and_never_repeated() -> None:
    bench = Bench()
    bench.take(100, 101)
    assert bench.take(99, 40, 40) == []
    assert bench.take(100) == [100]
    assert bench.wait(60_000) == []
    assert (bench.counts.lost, bench.counts.reordered) == ({}, 0)


def test_interleaved_sources_are_kept_apart_within_a_batch() -> None:
    bench = Bench()
    rows = [
        (b"orders", [("source", b"s%d" % s), ("seq", b"%d" % n)], b"{}") for n in range(10) for s in range(7)
    ]
    assert bench.read(rows) == set()
    assert bench.read(rows) == set(range(70))


def test_services_of_one_source_are_kept_apart_within_a_batch() -> None:
    bench = Bench()
    rows = [
        (key, [("source", b"s1"), ("seq", b"%d" % n)], b"{}")
        for n in range(5)
        for key in (b"orders", b"mail")
    ]
    assert bench.read(rows) == set()
    assert bench.read(rows) == set(range(10))
    assert bench.account.sources == 2


@given(st.data())
def test_every_number_that_never_comes_is_lost_and_every_second_coming_repeated(data: st.DataObject) -> None:
    """Drawn: several sources, some records dropped, some sent twice, out of order within bounds."""
    bench = Bench()
    sent: list[tuple[bytes, int]] = []
    missing: dict[bytes, int] = {}
    for s in range(data.draw(st.integers(1, 3))):
        source = b"s%d" % s
        fates = data.draw(st.lists(st.sampled_from(["once", "once", "twice", "never"]), max_size=30))
        # The first and the last frame what can be known.
        fates = ["once", *fates, "once"]
        missing[source] = fates.count("never")
        sent += [
            (source, n) for n, fate in enumerate(fates) for _ in range(("never", "once", "twice").index(fate))
        ]
    first = {(source, 0) for source in missing}
    rest = data.draw(st.permutations([r for r in sent if r not in first]))
    order = [*sorted(first), *rest]
    seen: set[tuple[bytes, int]] = set()
    at = 0
    while at < len(order):
        size = data.draw(st.integers(1, 12))
        batch = order[at : at + size]
        at += size
        rows = [(b"k", [("source", s), ("seq", b"%d" % n)], b"{}") for s, n in batch]
        repeated = bench.read(rows)
        for i, record in enumerate(batch):
            assert (i in repeated) == (record in seen)
            seen.add(record)
    bench.wait(LATENESS_MS)
    assert bench.counts.lost.get("k", 0) == sum(missing.values())
    assert bench.counts.returned == 0


def test_account_that_forgets_never_says_repeated_of_what_it_has_not_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(accounts, "_MAX_GAPS", 2)
    bench = Bench()
    numbers = list(range(0, 400, 2))
    random.Random(7).shuffle(numbers)
    for n in numbers:
        assert bench.take(n) == []
    # Of what it still knows it is as exact as before.
    assert bench.take(398) == [398]


# --- sources that are met for the first time ----------------------------------------------------------


def dated(ms: int) -> bytes:
    """Return a source that says when it began."""
    return base64.urlsafe_b64encode((ms // 1000).to_bytes(4) + b"\xff\xfe345678")


def test_source_that_began_after_the_reading_has_lost_what_it_did_not_begin_with() -> None:
    bench = Bench()
    bench.now_ms += 70_000
    bench.take(7, source=dated(NOW_MS + 61_000))
    (told,) = bench.wait(LATENESS_MS)
    assert (told["lost"], told["from_seq"], told["to_seq"]) == (7, 0, 6)


def test_records_that_a_new_source_did_not_begin_with_may_still_come() -> None:
    bench = Bench()
    bench.now_ms += 70_000
    source = dated(NOW_MS + 61_000)
    bench.take(2, 1, 0, source=source)
    assert bench.take(0, source=source) == [0]
    assert bench.wait(60_000) == []


@pytest.mark.parametrize(
    "source",
    [
        dated(NOW_MS - 1_000),
        dated(NOW_MS + 50_000),
        # Of a clock that can't be right, or no name of ours at all.
        dated(NOW_MS + 3_600_000),
        b"0123456789abcdef",
        b"s1",
        b"~" * 16,
    ],
)
def test_source_that_may_have_begun_before_the_reading_proves_nothing(source: bytes) -> None:
    bench = Bench()
    bench.now_ms += 70_000
    bench.take(7, source=source)
    assert bench.wait(60_000) == []


# --- what comes from elsewhere ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("source", b"s1")],
        [("seq", b"3")],
        [("source", None), ("seq", b"3")],
        [("source", b""), ("seq", b"3")],
        [("source", b"s1"), ("seq", None)],
        [("source", b"s1"), ("seq", b"")],
        [("source", b"s1"), ("seq", b"three")],
        [("source", b"s1"), ("seq", b"-3")],
        [("source", b"s1"), ("seq", b"9" * 5_000)],
        [("source", b"s1"), ("seq", b"9" * 30)],
        [("source", b"s" * 65), ("seq", b"3")],
        [("trace", b"s1"), ("span", b"3")],
        [("h", b"")] * 20 + [("source", b"s1"), ("seq", b"3")],
    ],
)
def test_records_of_others_are_none_of_an_account(headers: Headers) -> None:
    bench = Bench()
    assert bench.read([(b"orders", headers, b"{}"), (b"orders", headers, b"{}")]) == set()
    assert bench.account.sources == 0
    # Beside ours they change nothing.
    ours = [("source", b"s1"), ("seq", b"0")]
    assert bench.read([(b"orders", ours, b"{}"), (b"orders", headers, b"{}")]) == set()
    assert bench.take(1) == []
    assert bench.counts == SourceCounts()


def test_number_that_no_counter_reaches_is_ignored() -> None:
    bench = Bench()
    bench.take(0)
    assert bench.take(10**18, 10**40, -5) == []
    assert bench.take(1) == []
    assert bench.wait(60_000) == []


def test_records_without_a_key_or_with_an_endless_one_have_no_account() -> None:
    bench = Bench()
    bench.take(0, key=None)
    bench.take(0, key=b"k" * 4_097)
    assert bench.account.sources == 0


def test_headers_may_come_with_others_and_in_any_order() -> None:
    bench = Bench()
    for headers in (
        [("seq", b"0"), ("source", b"s1")],
        [("source", b"s1"), ("seq", b"1"), ("chain", b"\x01")],
        [("trace", b"t"), ("source", b"s1"), ("seq", b"2")],
        (("source", b"s1"), ("seq", b"3")),
    ):
        assert bench.read([(b"orders", headers, b"{}")]) == set()
    assert bench.take(0, 1, 2, 3) == [0, 1, 2, 3]


def test_key_that_is_no_text_is_shown_as_far_as_it_goes() -> None:
    bench = Bench()
    bench.take(0, 2, key=b"\xff" + b"k" * 1_000)
    (told,) = bench.wait(LATENESS_MS)
    assert told["service"] == "\ufffd" + "k" * 255


# --- bounds -------------------------------------------------------------------------------------------


def test_sources_that_are_silent_for_longest_are_forgotten_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accounts, "_MAX_SERIES", 16)
    bench = Bench()
    for n in range(16):
        bench.take(0, source=b"s%d" % n)
    bench.take(1, source=b"s0")
    bench.take(0, source=b"new")
    assert bench.account.sources == 15
    # The second and the third are not known any more: what they bring is no repetition.
    assert bench.take(0, source=b"s1") == []
    assert bench.take(0, 1, source=b"s0") == [0, 1]


def test_open_gap_of_a_source_that_is_forgotten_counts_as_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accounts, "_MAX_SERIES", 8)
    bench = Bench()
    bench.take(0, 5)
    for n in range(8):
        bench.take(0, source=b"n%d" % n)
    (told,) = bench.wait(1_000)
    assert told["lost"] == 4
    assert bench.wait(60_000) == []


def test_gaps_beyond_the_number_are_lost_at_once_the_oldest_first() -> None:
    bench = Bench()
    bench.take(*range(0, 2 * (accounts._MAX_GAPS + 3), 2))
    assert bench.counts.lost == {"orders": 2}
    assert bench.take(1, 3, 5) == []


def test_gaps_of_all_sources_are_bounded_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accounts, "_MAX_ALL_GAPS", 10)
    bench = Bench()
    for n in range(15):
        bench.take(0, 2, source=b"s%d" % n)
    assert bench.account._gaps == 10
    assert bench.counts.lost == {"orders": 5}
    # What is filled makes room.
    for n in range(10):
        bench.take(1, source=b"s%d" % n)
    assert bench.account._gaps == 0
    bench.take(0, 5, 2, source=b"new")
    assert bench.account._gaps == 2


def test_service_beyond_those_that_are_counted_by_name_is_counted_without() -> None:
    counts = SourceCounts()
    for n in range(1_005):
        counts.lose(f"s{n}", 1)
    counts.lose("s0", 1)
    assert len(counts.lost) == 1_001
    assert (counts.lost["s0"], counts.lost[""]) == (2, 5)


def test_source_that_was_forgotten_and_comes_again_has_lost_nothing_by_that(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(accounts, "_MAX_SERIES", 8)
    bench = Bench()
    bench.now_ms += 70_000
    source = dated(NOW_MS + 61_000)
    bench.take(*range(500), source=source)
    for n in range(8):
        bench.take(0, source=b"n%d" % n)
    bench.take(500, source=source)
    assert bench.wait(60_000) == []
    assert bench.counts.lost == {}


def test_words_of_workers_are_in_no_account() -> None:
    bench = Bench()
    source = OWN_SOURCE + b"0" * 15
    assert bench.take(0, 5, 5, source=source) == []
    assert bench.account.sources == 0
    assert bench.wait(60_000) == []


def test_number_of_endless_digits_costs_no_more_than_others() -> None:
    bench = Bench()
    digits = b"9" * 4_000
    rows = [(b"orders", [("source", b"s1"), ("seq", digits)], b"{}")] * 20_000
    began = time.process_time()
    bench.read(rows)
    # To read them all as numbers takes two seconds.
    assert time.process_time() - began < 0.5
    assert bench.account.sources == 0
