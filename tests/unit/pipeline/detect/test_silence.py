"""Silence: who has stopped talking, and who is only quiet, unknown, gone in order, or not heard by us."""

from __future__ import annotations

import time

import orjson
import pytest

from pipeline.detect.accounts import Account
from pipeline.detect.words import OWN_SOURCE, SourceCounts
from pipeline.event import Batch, Partition

NOW_MS = 1_795_537_450_000
SILENCE_MS = 60_000
REGULAR_MS = 6 * SILENCE_MS
PART = Partition("logs")
GOODBYE = b'{"timestamp":"2026-11-24T17:31:52Z","level":"debug","event":"logging ends","logger":"producers"}'


class Bench:
    """One partition, in which services talk."""

    def __init__(self, silence_ms: int = SILENCE_MS) -> None:
        self.account = Account(SourceCounts(), opened_ms=NOW_MS, lateness_ms=0, silence_ms=silence_ms)
        self.now_ms = NOW_MS
        self.told: list[tuple[str, object]] = []
        self.numbers: dict[bytes, int] = {}

    def say(
        self,
        *times_ms: int,
        key: bytes = b"orders",
        source: bytes = b"s1",
        value: bytes = b"{}",
        numbered: bool = True,
    ) -> None:
        """Read records; now, unless their times are given."""
        times = list(times_ms or (self.now_ms,))
        first = self.numbers.get(source, 0)
        if numbered:
            self.numbers[source] = first + len(times)
        headers = [
            [("source", source), ("seq", b"%d" % (first + i))] if numbered else [] for i in range(len(times))
        ]
        count = len(times)
        self.account.take(
            Batch(PART, range(count), times, [value] * count, keys=[key] * count, headers=headers),
            self.now_ms,
        )

    def wait(self, ms: int, *, at_end: bool = True) -> None:
        """Let time pass in ticks of a second."""
        for _ in range(0, ms, 1_000):
            self.now_ms += 1_000
            for event in self.account.tell(self.now_ms, self.now_ms, at_end=at_end):
                told = orjson.loads(event.value)
                self.told.append((told["event"], told["silent_s"]))

    def chat(
        self, ms: int = REGULAR_MS, *, every_ms: int = 20_000, key: bytes = b"orders", source: bytes = b"s1"
    ) -> None:
        """Let a service talk for a while."""
        for _ in range(0, ms, every_ms):
            self.say(key=key, source=source)
            self.wait(every_ms)
        self.say(key=key, source=source)


def test_service_that_was_regular_is_told_once_when_silent_and_once_when_back() -> None:
    bench = Bench()
    bench.chat()
    bench.wait(SILENCE_MS - 1_000)
    assert bench.told == []
    assert bench.account.silent == 0
    bench.wait(600_000)
    assert bench.told == [("orders fell silent", 60)]
    assert bench.account.silent == 1
    bench.say()
    bench.wait(600_000)
    assert bench.told == [("orders fell silent", 60), ("orders is back", 659)]
    assert bench.account.silent == 0


def test_nothing_is_told_where_nothing_is_set() -> None:
    bench = Bench(0)
    bench.chat(3_600_000)
    bench.wait(3_600_000)
    assert bench.told == []


def test_service_that_has_not_been_heard_for_long_is_not_regular() -> None:
    bench = Bench()
    bench.chat(REGULAR_MS - 20_000)
    bench.wait(600_000)
    assert bench.told == []


def test_service_with_pauses_of_more_than_half_the_silence_is_not_regular() -> None:
    bench = Bench()
    bench.chat(3_600_000, every_ms=31_000)
    bench.wait(600_000)
    assert bench.told == []


def test_service_that_is_back_has_to_become_regular_anew() -> None:
    bench = Bench()
    bench.chat()
    bench.wait(120_000)
    bench.chat(60_000)
    bench.wait(600_000)
    assert len(bench.told) == 2
    bench.chat()
    bench.wait(120_000)
    assert [text for text, _ in bench.told] == ["orders fell silent", "orders is back", "orders fell silent"]


def test_who_lags_claims_no_silence() -> None:
    bench = Bench()
    bench.chat()
    bench.wait(3_600_000, at_end=False)
    assert bench.told == []
    # Once it has read to the end it has to listen first.
    bench.wait(SILENCE_MS - 1_000)
    assert bench.told == []
    bench.wait(1_000)
    assert bench.told == [("orders fell silent", 60)]


def test_process_that_was_stopped_for_long_claims_no_silence() -> None:
    bench = Bench()
    bench.chat()
    bench.now_ms += 3_600_000
    bench.wait(30_000)
    assert bench.told == []


def test_regularity_shows_in_a_backlog_that_is_read_at_once() -> None:
    bench = Bench()
    bench.say(*range(NOW_MS - REGULAR_MS, NOW_MS + 1, 30_000))
    bench.wait(SILENCE_MS)
    assert bench.told == [("orders fell silent", 60)]


def test_pause_within_a_backlog_that_is_read_at_once_is_seen() -> None:
    bench = Bench()
    since_ms = NOW_MS - REGULAR_MS - 60_000
    bench.say(*range(since_ms, NOW_MS - 100_000, 10_000), *range(NOW_MS - 60_000, NOW_MS, 10_000))
    bench.wait(600_000)
    assert bench.told == []


def test_records_out_of_their_order_are_no_pause() -> None:
    bench = Bench()
    times = list(range(NOW_MS - REGULAR_MS, NOW_MS + 1, 10_000))
    # An old record among young ones, as a flight recorder sends them.
    times.insert(20, times[0])
    bench.say(*times)
    bench.wait(SILENCE_MS)
    assert bench.told == [("orders fell silent", 60)]


def test_clock_that_is_ahead_makes_no_service_regular() -> None:
    bench = Bench()
    bench.say(NOW_MS)
    bench.say(NOW_MS + 86_400_000)
    bench.wait(600_000)
    assert bench.told == []


def test_clock_that_was_ahead_once_keeps_no_service_from_being_regular() -> None:
    bench = Bench()
    bench.say(NOW_MS + 86_400_000)
    bench.chat()
    bench.wait(SILENCE_MS)
    assert len(bench.told) == 1


def test_records_of_another_service_fill_no_pause_within_a_backlog() -> None:
    bench = Bench()
    times = list(range(NOW_MS - REGULAR_MS, NOW_MS + 1, 10_000))
    # It is quiet in the middle of the batch, and at its beginning and end another one talks as well.
    keys = [b"orders" if i < 6 or i > len(times) - 6 else b"mail" for i in range(len(times))]
    headers = [[("source", key), ("seq", b"%d" % keys[:i].count(key))] for i, key in enumerate(keys)]
    count = len(times)
    bench.account.take(
        Batch(PART, range(count), times, [b"{}"] * count, keys=keys, headers=headers), bench.now_ms
    )
    bench.wait(600_000)
    assert bench.told == []


def test_words_of_a_worker_fill_no_pause_within_a_backlog() -> None:
    bench = Bench()
    since_ms = NOW_MS - REGULAR_MS - 60_000
    times = [*range(since_ms, NOW_MS - 100_000, 10_000), *range(NOW_MS - 60_000, NOW_MS, 10_000)]
    rows = [(t, b"s1", n) for n, t in enumerate(times)]
    rows.append((NOW_MS - 80_000, OWN_SOURCE + b"0" * 15, 0))
    rows.sort()
    headers = [[("source", source), ("seq", b"%d" % n)] for _, source, n in rows]
    count = len(rows)
    bench.account.take(
        Batch(
            PART,
            range(count),
            [t for t, _, _ in rows],
            [b"{}"] * count,
            keys=[b"orders"] * count,
            headers=headers,
        ),
        NOW_MS,
    )
    bench.wait(600_000)
    assert bench.told == []


def test_backlog_of_many_services_with_long_pauses_takes_no_longer_than_another() -> None:
    account = Account(SourceCounts(), opened_ms=NOW_MS, lateness_ms=0, silence_ms=SILENCE_MS)
    count = 6_000
    keys = [b"service-%d" % (n // 2) for n in range(count)]
    headers = [[("source", b"s1"), ("seq", b"%d" % (n % 2))] for n in range(count)]
    times = [NOW_MS - 100_000 * (1 - n % 2) for n in range(count)]
    began = time.process_time()
    account.take(Batch(PART, range(count), times, [b"{}"] * count, keys=keys, headers=headers), NOW_MS)
    # To look through the batch for each service takes more than a second.
    assert time.process_time() - began < 0.3


def test_service_goes_on_as_long_as_one_of_its_sources_does() -> None:
    bench = Bench()
    bench.chat(source=b"old")
    bench.chat(source=b"new")
    bench.wait(SILENCE_MS - 1_000)
    assert bench.told == []


@pytest.mark.parametrize(
    "goodbye",
    [
        GOODBYE,
        b'{"@timestamp":"2026-11-24T17:31:52Z","message":"logging ends","log.logger":"producers"}',
        b'{"Timestamp":1795537450,"Body":"logging ends","InstrumentationScope":{"name":"producers"}}',
    ],
)
def test_service_all_of_whose_sources_said_goodbye_has_not_fallen_silent(goodbye: bytes) -> None:
    bench = Bench()
    for _ in range(REGULAR_MS // 20_000 + 1):
        bench.say(source=b"a")
        bench.say(source=b"b")
        bench.wait(20_000)
    bench.say(source=b"a", value=goodbye)
    bench.say(source=b"b", value=goodbye)
    bench.wait(600_000)
    assert bench.told == []


def test_one_source_that_said_goodbye_does_not_excuse_another() -> None:
    bench = Bench()
    for _ in range(REGULAR_MS // 20_000 + 1):
        bench.say(source=b"a")
        bench.say(source=b"b")
        bench.wait(20_000)
    bench.say(source=b"a", value=GOODBYE)
    bench.wait(2 * SILENCE_MS)
    assert len(bench.told) == 1


def test_source_that_was_gone_long_before_the_last_goodbye_is_no_matter() -> None:
    bench = Bench()
    bench.say(source=b"killed yesterday")
    bench.wait(2 * SILENCE_MS)
    bench.chat(source=b"b")
    bench.say(source=b"b", value=GOODBYE)
    bench.wait(600_000)
    assert bench.told == []


def test_source_that_goes_on_after_its_goodbye_is_there_again() -> None:
    bench = Bench()
    bench.chat()
    bench.say(value=GOODBYE)
    bench.say()
    bench.wait(SILENCE_MS)
    assert len(bench.told) == 1


@pytest.mark.parametrize(
    "value",
    [
        b"logging ends",
        b'{"event":"logging ends","logger":"producers","more":"' + b"x" * 5_000 + b'"}',
        rb'{"event":"he said: \"event\":\"logging ends\",\"logger\":\"producers\"","logger":"shop"}',
        b'{"event":"logging ends","logger":"shop"}',
    ],
)
def test_event_that_only_speaks_of_an_end_is_no_goodbye(value: bytes) -> None:
    bench = Bench()
    bench.chat()
    bench.say(value=value)
    bench.wait(SILENCE_MS)
    assert len(bench.told) == 1


def test_what_is_said_of_a_service_is_not_heard_as_its_own() -> None:
    bench = Bench()
    bench.chat()
    bench.wait(SILENCE_MS)
    bench.say(numbered=False)
    bench.wait(60_000)
    assert [text for text, _ in bench.told] == ["orders fell silent"]


def test_service_that_is_gone_for_a_day_counts_as_silent_no_longer() -> None:
    bench = Bench()
    bench.chat()
    bench.wait(86_400_000 - 10_000)
    assert bench.account.silent == 1
    bench.wait(20_000)
    assert bench.account.silent == 0
