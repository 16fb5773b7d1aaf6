from __future__ import annotations

import threading

from hypothesis import given
from hypothesis import strategies as st

from producers.buffer import Buffer
from producers.event import RenderedEvent


def event(value: bytes = b"x", key: bytes = b"k", level: str = "info") -> RenderedEvent:
    return RenderedEvent(value, key, 0, level)


def test_full_buffer_drops_and_counts_by_level() -> None:
    buffer = Buffer(10_000, 2)
    for level in ("info", "info", "error", "info"):
        buffer.put(event(level=level))
    assert buffer.dropped == {"error": 1, "info": 1}
    assert buffer.pending == 2


def test_bytes_are_bounded_until_acknowledged() -> None:
    buffer = Buffer(1_000, 100)
    buffer.put(event(b"x" * 800))
    chunk = buffer.take(10_000)
    buffer.put(event(b"y" * 800))
    assert buffer.dropped == {"info": 1}
    buffer.settle(chunk)
    buffer.put(event(b"z" * 800))
    assert buffer.pending == 1


def test_dropped_record_leaves_a_gap_in_the_numbers() -> None:
    buffer = Buffer(10_000, 1)
    buffer.put(event())
    buffer.put(event())
    buffer.settle(buffer.take(1))
    buffer.put(event())
    assert buffer.take(1).records[0].seq == 2


def test_numbers_run_per_key() -> None:
    buffer = Buffer(10_000, 100)
    for key in (b"a", b"b", b"a"):
        buffer.put(event(key=key))
    assert [(r.event.key, r.seq) for r in buffer.take(9_999).records] == [(b"a", 0), (b"b", 0), (b"a", 1)]


def test_put_within_a_put_takes_no_number_twice() -> None:
    buffer = Buffer(10_000, 100)

    class Key(bytes):
        """Hashing it logs, as a signal handler may at that moment."""

        asked = 0

        def __hash__(self) -> int:
            Key.asked += 1
            buffer.put(event())
            return super().__hash__()

        __eq__ = bytes.__eq__

    buffer.put(event())
    buffer.put(event(key=Key(b"k")))
    buffer.put(event())
    seqs = [r.seq for r in buffer.take(10_000).records]
    assert sorted(seqs) == list(range(len(seqs)))
    assert Key.asked


def test_too_many_keys_begin_a_new_source_instead_of_growing() -> None:
    buffer = Buffer(10**9, 10**6)
    for n in range(3_000):
        buffer.put(event(key=b"%d" % n))
    records = buffer.take(10**9).records
    assert len({r.source for r in records}) == 3
    assert len({(r.source, r.event.key, r.seq) for r in records}) == 3_000


def test_only_the_first_put_after_arming_asks_to_wake() -> None:
    buffer = Buffer(10_000, 100)
    assert buffer.put(event())
    assert not buffer.put(event())
    assert not buffer.arm()
    assert buffer.put(event())
    buffer.take(10_000)
    assert not buffer.put(event())
    buffer.take(10_000)
    assert buffer.arm()


def test_wait_returns_when_all_that_was_there_is_settled() -> None:
    buffer = Buffer(10_000, 100)
    assert buffer.wait(0)
    buffer.put(event())
    assert not buffer.wait(0)
    waited: list[bool] = []
    waiter = threading.Thread(target=lambda: waited.append(buffer.wait(10)))
    waiter.start()
    buffer.settle(buffer.take(1))
    waiter.join()
    assert waited == [True]


def test_discard_counts_what_is_on_its_way_and_ignores_its_late_acknowledgement() -> None:
    buffer = Buffer(10_000, 100)
    buffer.put(event(level="error"))
    chunk = buffer.take(1)
    buffer.put(event())
    assert buffer.discard() == 2
    assert buffer.dropped == {"error": 1, "info": 1}
    buffer.settle(chunk)
    assert (buffer.pending, buffer.pending_bytes) == (0, 0)


def test_untold_losses_are_told_once_and_the_word_always_finds_room() -> None:
    buffer = Buffer(10_000, 1)
    buffer.put(event())
    buffer.put(event(level="error"))
    assert buffer.take_untold() == {"error": 1}
    assert buffer.take_untold() == {}
    buffer.put(event(b"word"), always=True)
    assert buffer.pending == 2


def test_abandoned_chunk_is_lost_and_makes_room() -> None:
    buffer = Buffer(10_000, 100)
    buffer.put(event(level="error"))
    buffer.abandon(buffer.take(1))
    assert buffer.dropped == {"error": 1}
    assert buffer.pending == 0


def test_renewed_buffer_is_empty_and_has_another_source() -> None:
    buffer = Buffer(10_000, 100)
    buffer.put(event())
    source = buffer.take(1).records[0].source
    buffer.put(event())
    buffer.renew()
    assert buffer.empty
    assert buffer.put(event())
    assert buffer.take(1).records[0].source != source


@given(st.lists(st.tuples(st.sampled_from(["put", "take", "settle", "discard"]), st.integers(0, 300))))
def test_bounds_hold_and_every_record_is_accounted_for(steps: list[tuple[str, int]]) -> None:
    buffer = Buffer(1_000, 8)
    put = settled = 0
    out = None
    for step, size in steps:
        match step:
            case "put":
                buffer.put(event(b"x" * size))
                put += 1
            case "take" if out is None and not buffer.empty:
                out = buffer.take(size)
            case "settle" if out is not None:
                before = buffer.pending
                buffer.settle(out)
                settled += before - buffer.pending
                out = None
            case "discard":
                buffer.discard()
        assert 0 <= buffer.pending_bytes <= 1_000
        assert buffer.pending <= 8
        assert put == settled + buffer.pending + sum(buffer.dropped.values())
