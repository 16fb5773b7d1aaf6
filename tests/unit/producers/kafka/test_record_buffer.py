from __future__ import annotations

import gc
import os
import sys
import threading
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from producers.event.renderer import RenderedEvent
from producers.kafka.buffer import Buffer, Chunk

if TYPE_CHECKING:
    from types import FrameType

LEVELS = ("debug", "info", "warning", "error", "critical")
OVERHEAD = 256


def event(value: bytes = b"x", key: bytes = b"k", level: str = "info") -> RenderedEvent:
    return RenderedEvent(value, key, 0, level)


def test_full_buffer_drops_and_counts_by_level() -> None:
    buffer = Buffer(10_000, 2)
    for level in ("error", "error", "error", "info"):
        buffer.put(event(level=level))
    assert buffer.dropped == {"error": 1, "info": 1}
    assert buffer.pending == 2


def test_bytes_are_bounded_until_acknowledged() -> None:
    buffer = Buffer(1_000, 100)
    buffer.put(event(b"x" * 600))
    chunk = buffer.take(10_000)
    buffer.put(event(b"y" * 600))
    assert buffer.dropped == {"info": 1}
    buffer.settle(chunk)
    buffer.put(event(b"z" * 600))
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
    buffer.put(event(level="error"))
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


def waiting(buffer: Buffer) -> str:
    """What waits, in order: a level's first letter each; takes it out."""
    return "".join(r.event.level[0] for r in buffer.take(10**9).records)


@pytest.mark.parametrize(
    ("held", "newcomer", "left", "lost"),
    [
        ("ddd", "d", "ddd", {"debug": 1}),
        ("ddd", "i", "ddi", {"debug": 1}),
        ("ede", "c", "eec", {"debug": 1}),
        ("wid", "e", "wie", {"debug": 1}),
        ("wii", "e", "wie", {"info": 1}),
        ("iwi", "w", "wiw", {"info": 1}),
        ("iii", "d", "iii", {"debug": 1}),
        ("eee", "e", "eee", {"error": 1}),
        ("ccc", "e", "ccc", {"error": 1}),
        ("eec", "c", "ecc", {"error": 1}),
    ],
)
def test_lowest_level_makes_room_and_its_oldest_first(
    held: str, newcomer: str, left: str, lost: dict[str, int]
) -> None:
    buffer = Buffer(10_000, 3)
    names = {level[0]: level for level in LEVELS}
    for letter in held + newcomer:
        buffer.put(event(level=names[letter]))
    assert buffer.dropped == buffer.take_untold() == lost
    assert (buffer.accepted, buffer.pending) == (4 if left != held else 3, 3)
    assert waiting(buffer) == left


@pytest.mark.parametrize(
    ("size", "left", "lost"),
    [
        (200, "idwie", {"debug": 1}),
        (500, "iwie", {"debug": 2}),
        (700, "wie", {"debug": 2, "info": 1}),
        (1_800, "e", {"debug": 2, "info": 2, "warning": 1}),
        (2_100, "didwi", {"error": 1}),
    ],
)
def test_no_more_makes_room_than_the_newcomer_needs_and_nothing_in_vain(
    size: int, left: str, lost: dict[str, int]
) -> None:
    each = 200 + OVERHEAD + 1
    buffer = Buffer(5 * each + 40, 100)
    for level in ("debug", "info", "debug", "warning", "info"):
        buffer.put(event(b"x" * 200, level=level))
    buffer.put(event(b"x" * size, level="error"))
    assert buffer.dropped == lost
    assert waiting(buffer) == left


def test_what_is_on_its_way_makes_no_room() -> None:
    buffer = Buffer(10_000, 2)
    buffer.put(event())
    buffer.put(event())
    chunk = buffer.take(10_000)
    buffer.put(event(level="critical"))
    assert buffer.dropped == {"critical": 1}
    buffer.settle(chunk)
    assert buffer.pending == 0


def test_record_that_made_room_leaves_a_gap_in_the_numbers() -> None:
    buffer = Buffer(10_000, 2)
    for level in ("error", "debug", "error"):
        buffer.put(event(level=level))
    assert [r.seq for r in buffer.take(10_000).records] == [0, 2]


def test_word_about_losses_makes_no_room_for_others() -> None:
    buffer = Buffer(10_000, 1)
    buffer.put(event(level="warning"), always=True)
    buffer.put(event(level="critical"))
    assert buffer.dropped == {"critical": 1}
    assert waiting(buffer) == "w"
    buffer.discard()
    assert buffer.dropped == {"critical": 1, "warning": 1}


def test_words_beyond_the_bounds_have_nothing_dropped_in_vain() -> None:
    buffer = Buffer(10_000, 1)
    buffer.put(event(level="debug"))
    buffer.put(event(level="warning"), always=True)
    buffer.put(event(level="critical"))
    assert buffer.dropped == {"critical": 1}
    assert waiting(buffer) == "dw"


def test_memory_of_what_made_room_is_let_go() -> None:
    buffer = Buffer(10**9, 100)
    value = b"".join((b"a", b"debug event"))
    before = sys.getrefcount(value)
    for _ in range(100):
        buffer.put(event(value, level="debug"))
    for _ in range(100):
        buffer.put(event(level="error"))
    assert sys.getrefcount(value) == before


def in_background(buffer: Buffer, timeout_s: float) -> tuple[threading.Thread, list[bool]]:
    """Wait in another thread, which has begun to when this returns."""
    waited: list[bool] = []
    waiter = threading.Thread(target=lambda: waited.append(buffer.wait(timeout_s)), daemon=True)
    waiter.start()
    while not buffer._waiters:
        os.sched_yield()
    return waiter, waited


def test_wait_is_not_over_because_later_records_made_room() -> None:
    buffer = Buffer(10_000, 2)
    buffer.put(event(level="error"))
    waiter, waited = in_background(buffer, 0.2)
    buffer.put(event(level="debug"))
    buffer.put(event(level="info"))
    buffer.put(event(level="warning"))
    waiter.join()
    assert waited == [False]
    assert buffer.dropped == {"debug": 1, "info": 1}


def test_wait_is_over_when_all_that_was_there_has_made_room() -> None:
    buffer = Buffer(10_000, 1)
    buffer.put(event(level="debug"))
    waiter, waited = in_background(buffer, 60)
    buffer.put(event(level="info"))
    waiter.join(10)
    assert waited == [True]
    assert buffer.pending == 1


class Interruption(BaseException):
    """What a signal handler raises."""


def interrupted(buffer: Buffer, nth: int, *, by: RenderedEvent | None) -> bool:
    """Put an error, with a log call or an exception behind the nth call in it; return whether there is one.

    The interpreter looks for signals there, and (since 3.12) for garbage.
    """
    count = 0

    def behind_a_call(frame: FrameType, what: str, _: object) -> None:
        nonlocal count
        if what == "c_return" and "buffer.py" in frame.f_code.co_filename:
            count += 1
            if count == nth:
                if by is None:
                    raise Interruption
                buffer.put(by)

    before = sys.getprofile()
    sys.setprofile(behind_a_call)
    try:
        buffer.put(event(b"x" * 100, level="error"))
    except Interruption:
        pass
    finally:
        sys.setprofile(before)
    return count >= nth


def balanced(buffer: Buffer, max_bytes: int, max_records: int) -> list[int]:
    """Check the accounts against what is there; return the numbers, in order."""
    assert buffer.pending <= max_records
    assert buffer.pending_bytes <= max_bytes
    pending, pending_bytes = buffer.pending, buffer.pending_bytes
    chunk = buffer.take(10**9)
    assert (len(chunk.records), chunk.size_bytes) == (pending, pending_bytes)
    buffer.settle(chunk)
    assert (buffer.pending, buffer.pending_bytes, buffer.wait(0)) == (0, 0, True)
    return [r.seq for r in chunk.records]


def crowded() -> Buffer:
    """Return a buffer that an error finds full, of low levels; a debug event as well."""
    buffer = Buffer(5 * 165, 5)
    for level in ("debug", "warning", "debug", "info", "debug"):
        buffer.put(event(b"x" * 100, level=level))
    return buffer


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("size", [0, 100, 400])
def test_log_call_within_a_log_call_keeps_order_and_accounts(level: str, size: int) -> None:
    nth = 1
    while interrupted(buffer := crowded(), nth, by=event(b"y" * size, level=level)):
        nth += 1
        lost = sum(buffer.dropped.values())
        seqs = balanced(buffer, 5 * 165, 5)
        assert seqs == sorted(set(seqs))
        assert len(seqs) + lost == 7
    assert nth > 10


def test_log_call_that_an_exception_breaks_off_leaves_the_accounts_right() -> None:
    nth = 1
    while interrupted(buffer := crowded(), nth, by=None):
        nth += 1
        lost = sum(buffer.dropped.values())
        seqs = balanced(buffer, 5 * 165, 5)
        assert seqs == sorted(set(seqs))
        assert len(seqs) + lost in {5, 6}
    assert nth > 10


def test_finalizer_that_logs_within_a_log_call_gets_its_own_place() -> None:
    buffer = Buffer(10**9, 10**6)
    by_finalizers = 0
    over = False

    class Chatty:
        """Garbage again and again: whatever object is made, one of these logs."""

        def __init__(self) -> None:
            self.myself = self

        def __del__(self) -> None:
            nonlocal by_finalizers
            if not over:
                by_finalizers += 1
                buffer.put(current)
                Chatty()

    # A new key each, since then the buffer makes two objects: the collector looks at every second one.
    events = [event(key=b"%d" % n) for n in range(900)]
    current = events[0]
    threshold = gc.get_threshold()
    gc.set_threshold(1)
    try:
        Chatty()
        for current in events:
            buffer.put(current)
    finally:
        over = True
        gc.set_threshold(*threshold)
    assert by_finalizers > 100
    seqs: dict[bytes, list[int]] = {}
    records = buffer.take(10**9).records
    for record in records:
        seqs.setdefault(record.event.key, []).append(record.seq)
    assert len(records) == 900 + by_finalizers
    assert all(of_key == list(range(len(of_key))) for of_key in seqs.values())


class Waiting(NamedTuple):
    """A record as the model has it."""

    level: str
    key: bytes
    seq: int
    size_bytes: int
    always: bool

    @property
    def rank(self) -> int:
        return LEVELS.index(self.level)


class Buffering(RuleBasedStateMachine):
    """A buffer against a plain list that is searched through each time."""

    MAX_BYTES = 1_000
    MAX_RECORDS = 6

    def __init__(self) -> None:
        super().__init__()
        self.buffer = Buffer(self.MAX_BYTES, self.MAX_RECORDS)
        self.forget()

    def forget(self) -> None:
        self.waiting: list[Waiting] = []
        self.out: list[Waiting] = []
        self.chunk: Chunk | None = None
        self.late: Chunk | None = None
        self.dropped: Counter[str] = Counter()
        self.untold: Counter[str] = Counter()
        self.numbers: Counter[bytes] = Counter()
        self.put = self.arrived = 0

    def lose(self, level: str) -> None:
        self.dropped[level] += 1
        self.untold[level] += 1

    def fits(self, new: Waiting, without: list[Waiting]) -> bool:
        pending = [w for w in self.waiting + self.out if w not in without]
        total = sum(w.size_bytes for w in pending) + new.size_bytes
        return total <= self.MAX_BYTES and len(pending) < self.MAX_RECORDS

    @rule(
        level=st.sampled_from(LEVELS),
        key=st.sampled_from([b"a", b"b"]),
        size=st.one_of(st.integers(0, 120), st.integers(0, 1_000)),
    )
    def log(self, level: str, key: bytes, size: int) -> None:
        new = Waiting(level, key, self.numbers[key], size + OVERHEAD + 1, always=False)
        self.numbers[key] += 1
        self.put += 1
        self.buffer.put(event(b"x" * size, key, level))
        lower = sorted((w for w in self.waiting if w.rank < new.rank and not w.always), key=lambda w: w.rank)
        for count in range(len(lower) + 1):
            if self.fits(new, lower[:count]):
                for victim in lower[:count]:
                    self.waiting.remove(victim)
                    self.lose(victim.level)
                self.waiting.append(new)
                return
        self.lose(level)

    @precondition(lambda self: self.untold)
    @rule()
    def tell(self) -> None:
        assert self.buffer.take_untold() == self.untold
        self.untold.clear()
        self.buffer.put(event(b"told", b"a", "warning"), always=True)
        self.waiting.append(Waiting("warning", b"a", self.numbers[b"a"], 4 + OVERHEAD + 1, always=True))
        self.numbers[b"a"] += 1
        self.put += 1

    @precondition(lambda self: self.waiting and self.chunk is None)
    @rule(max_bytes=st.integers(1, 1_000))
    def take(self, max_bytes: int) -> None:
        self.chunk = self.buffer.take(max_bytes)
        while self.waiting and sum(w.size_bytes for w in self.out) < max_bytes:
            self.out.append(self.waiting.pop(0))
        # Order as a whole, and so that of each key.
        assert [(r.event.level, r.event.key, r.seq) for r in self.chunk.records] == [w[:3] for w in self.out]

    @precondition(lambda self: self.chunk is not None)
    @rule()
    def settle(self) -> None:
        assert self.chunk is not None
        self.buffer.settle(self.chunk)
        self.arrived += len(self.out)
        self.chunk, self.out = None, []

    @precondition(lambda self: self.chunk is not None)
    @rule()
    def abandon(self) -> None:
        assert self.chunk is not None
        self.buffer.abandon(self.chunk)
        for record in self.out:
            self.lose(record.level)
        self.chunk, self.out = None, []

    @precondition(lambda self: self.late is not None)
    @rule()
    def settle_too_late(self) -> None:
        assert self.late is not None
        self.buffer.settle(self.late)

    @rule()
    def discard(self) -> None:
        assert self.buffer.discard() == len(self.waiting + self.out)
        self.dropped.update(w.level for w in self.waiting + self.out)
        self.late, self.chunk = self.chunk, None
        self.waiting, self.out = [], []

    @rule()
    def fork(self) -> None:
        self.buffer.renew()
        self.forget()

    @invariant()
    def accounts_are_exact(self) -> None:
        pending = self.waiting + self.out
        buffer = self.buffer
        assert buffer.pending == len(pending)
        assert buffer.pending_bytes == sum(w.size_bytes for w in pending)
        assert buffer.dropped == self.dropped
        assert self.put == self.arrived + buffer.pending + sum(buffer.dropped.values())
        assert buffer.empty == (not self.waiting)
        assert buffer.wait(0) == (not pending)

    @invariant()
    def bounds_hold(self) -> None:
        """But for the words about losses, which are rare."""
        words = [w for w in self.waiting + self.out if w.always]
        assert self.buffer.pending - len(words) <= self.MAX_RECORDS
        assert self.buffer.pending_bytes - sum(w.size_bytes for w in words) <= self.MAX_BYTES


TestBuffering = Buffering.TestCase
TestBuffering.settings = settings(max_examples=150, stateful_step_count=40)


def test_ending_process_holds_up_its_other_threads_and_counts_the_rest() -> None:
    buffer = Buffer(10_000, 100)
    buffer.put(event())
    buffer.shut()
    returned = threading.Event()

    def log() -> None:
        buffer.put(event())
        returned.set()

    threading.Thread(target=log, daemon=True).start()
    # What a finalizer logs in the thread that ends the process can't be held up: it is dropped.
    buffer.put(event(level="error"))
    # Nor what the delivering thread says of what was dropped, which would come too late.
    assert buffer.take_untold() == {}
    buffer.settle(buffer.take(10_000))
    assert not returned.wait(0.05)
    assert buffer.freeze() == 1


def test_child_forked_while_its_parent_ends_logs_as_ever() -> None:
    buffer = Buffer(10_000, 100)
    buffer.shut()
    buffer.renew()
    returned = threading.Event()

    def log() -> None:
        buffer.put(event())
        returned.set()

    threading.Thread(target=log, daemon=True).start()
    assert returned.wait(10)
    assert (buffer.pending, buffer.dropped) == (1, {})


def test_garbage_collector_does_not_go_through_what_waits() -> None:
    buffer = Buffer(10**9, 10**6)
    for _ in range(100):
        buffer.put(event())
    gc.collect()
    waiting_now = [r for lane in buffer._lanes for r in lane.waiting]
    assert len(waiting_now) == 100
    assert not any(map(gc.is_tracked, waiting_now))
