"""A log call that another one comes into the midst of, or that is broken off: by a signal, or a finalizer."""

from __future__ import annotations

import gc
import sys
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING

import pytest

from tests.unit.producers.spool.spools import (
    LEVELS,
    SEGMENT_BYTES,
    Clock,
    drain,
    event,
    files,
    kill,
    spool,
    take,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import FrameType

    from producers.kafka.queue import Record
    from producers.spool.spool import Spool


class Interruption(BaseException):
    """What a signal handler raises."""


def interrupted(step: Callable[[], object], nth: int, by: Callable[[], object]) -> bool:
    """Take a step and do something at the nth place in it where signals are looked for.

    The interpreter does so behind a call and at the beginning of a function.

    Returns:
        Whether there is such a place.
    """
    count = 0

    def look(frame: FrameType, what: str, _: object) -> None:
        nonlocal count
        if what in {"c_return", "call"} and "producers/spool" in frame.f_code.co_filename:
            count += 1
            if count == nth:
                sys.setprofile(None)
                by()

    before = sys.getprofile()
    sys.setprofile(look)
    try:
        step()
    except Interruption:
        pass
    finally:
        sys.setprofile(before)
    return count >= nth


def break_off() -> None:
    raise Interruption


def received(folder: Path, target: Spool) -> list[Record]:
    """Let the process be killed, and another one deliver what is there."""
    dropped = target.dropped
    kill(target)
    other = spool(folder, segments=100)
    records = drain(other)
    other.release()
    assert other.dropped == dropped
    assert files(folder, ".segment") == []
    return records


def begun(folder: Path, before: int) -> Spool:
    """Return a spool that has logged so many; a segment takes three."""
    target = spool(folder, segments=100, clock=Clock())
    for n in range(before):
        target.put(event(b"%d" % n + b"x" * 1_000))
    return target


@pytest.mark.parametrize("before", [0, 1, 3])
@pytest.mark.parametrize("key", [b"k", b"other"])
@pytest.mark.parametrize("size", [10, 1_000, 9_000])
def test_log_call_within_a_log_call_keeps_order_and_accounts(
    tmp_path: Path, before: int, key: bytes, size: int
) -> None:
    inner, outer = event(b"inner" + b"y" * size, key), event(b"outer" + b"x" * 1_000)
    nth = 0
    more = True
    while more:
        nth += 1
        folder = tmp_path / str(nth)
        target = begun(folder, before)
        more = interrupted(partial(target.put, outer), nth, partial(target.put, inner))
        assert (target.accepted, target.pending, target.dropped) == (before + 1 + more, before + 1 + more, {})
        records = received(folder, target)
        assert len(records) == before + 1 + more
        for of_key in {r.event.key for r in records}:
            own = [r for r in records if r.event.key == of_key]
            assert [r.seq for r in own] == list(range(len(own)))
            assert [r.previous for r in own] == list(range(-1, len(own) - 1))
    assert nth > 15


@pytest.mark.parametrize("killed", [True, False])
@pytest.mark.parametrize("before", [0, 1, 3])
def test_log_call_that_is_broken_off_leaves_the_accounts_right(
    tmp_path: Path, before: int, *, killed: bool
) -> None:
    outer = event(b"outer" + b"x" * 1_000)
    nth = 0
    more = True
    while more:
        nth += 1
        folder = tmp_path / str(nth)
        target = begun(folder, before)
        more = interrupted(partial(target.put, outer), nth, break_off)
        assert target.accepted - before in ({0, 1} if more else {1})
        target.put(event(b"next"))
        count = target.accepted
        assert (target.pending, target.dropped) == (count, {})
        records = received(folder, target) if killed else drain(target)
        assert [r.seq for r in records] == list(range(count))
        assert records[-1].event.value == b"next"
    assert nth > 15


@pytest.mark.parametrize("level", LEVELS)
def test_log_call_within_one_that_finds_no_room_is_counted(tmp_path: Path, level: str) -> None:
    inner, outer = event(b"inner" * 100, level=level), event(b"outer" * 300, level="error")
    nth = 0
    more = True
    while more:
        nth += 1
        folder = tmp_path / str(nth)
        target = spool(folder, segments=4, clock=Clock())
        while "error" not in target.dropped:
            target.put(event(b"x" * 1_000, level="error"))
        dropped, kept = Counter(target.dropped), target.accepted
        clock = target._clock
        assert isinstance(clock, Clock)
        clock.now_s += 1
        more = interrupted(partial(target.put, outer), nth, partial(target.put, inner))
        assert sum(target.dropped.values()) + target.accepted == sum(dropped.values()) + kept + 1 + more
        assert sum(path.stat().st_size for path in files(folder, ".segment")) <= 4 * SEGMENT_BYTES
        records = received(folder, target)
        assert len(records) == target.accepted or len(records) == kept + (target.accepted > kept)
        assert [r.seq for r in records] == sorted({r.seq for r in records})
    assert nth > 10


def test_log_call_within_a_settlement_is_kept(tmp_path: Path) -> None:
    inner = event(b"inner" + b"x" * 1_000)
    nth = 0
    more = True
    while more:
        nth += 1
        folder = tmp_path / str(nth)
        target = begun(folder, 3)
        more = interrupted(partial(take, target), nth, partial(target.put, inner))
        left = drain(target)
        assert [r.seq for r in left] in ([3], []) if more else [[]]
        assert (target.accepted, target.pending, target.dropped) == (3 + more, 0, {})
        target.release()
        assert files(folder) == []
    assert nth > 20


def test_close_within_a_log_call_leaves_nothing_behind_that_nobody_knows(tmp_path: Path) -> None:
    outer = event(b"outer" + b"x" * 1_000)
    nth = 0
    more = True
    while more:
        nth += 1
        folder = tmp_path / str(nth)
        target = begun(folder, 3)
        more = interrupted(partial(target.put, outer), nth, target.release)
        records = received(folder, target)
        assert sorted(r.event.value[:1] for r in records) == [b"0", b"1", b"2", b"o"]
    assert nth > 20


def test_finalizer_that_logs_within_a_log_call_gets_its_own_place(tmp_path: Path) -> None:
    target = spool(tmp_path, segments=1_000)
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
                target.put(current)
                Chatty()

    events = [event(b"x" * 100, key=b"%d" % n) for n in range(900)]
    current = events[0]
    threshold = gc.get_threshold()
    gc.set_threshold(1)
    try:
        Chatty()
        for current in events:
            target.put(current)
    finally:
        over = True
        gc.set_threshold(*threshold)
    assert by_finalizers > 100
    records = drain(target)
    assert len(records) == 900 + by_finalizers
    seqs: dict[tuple[bytes, bytes], list[int]] = {}
    for record in records:
        seqs.setdefault((record.source, record.event.key), []).append(record.seq)
    assert all(of_key == list(range(len(of_key))) for of_key in seqs.values())
