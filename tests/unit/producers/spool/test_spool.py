"""What a spool promises: records outlive the process, in order, within a bound, counted to the last."""

from __future__ import annotations

import os
import shutil
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from producers.spool import folder as folder_module
from producers.spool.spool import Spool
from tests.unit.producers.spool.spools import (
    ALL,
    LEVELS,
    SEGMENT_BYTES,
    Clock,
    drain,
    event,
    files,
    kill,
    spool,
    take,
    values,
)

if TYPE_CHECKING:
    from pathlib import Path


def fill(target: Spool, level: str, size: int = 1_000) -> int:
    """Log until nothing of that level fits any more; return how many did."""
    before = target.accepted
    while not target.dropped.get(level):
        target.put(event(b"x" * size, level=level))
    return target.accepted - before


def used_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in files(folder, ".segment"))


def test_what_a_killed_process_has_logged_is_delivered_by_the_next(tmp_path: Path) -> None:
    first, second = spool(tmp_path), spool(tmp_path)
    for n in range(50):
        first.put(event(b"%d" % n, time_ms=n, level=LEVELS[n % 3]))
    source = first._writer._source
    kill(first)
    records = drain(second)
    assert [(r.event, r.source, r.seq, r.previous) for r in records] == [
        (event(b"%d" % n, time_ms=n, level=LEVELS[n % 3]), source, n, n - 1) for n in range(50)
    ]
    assert files(tmp_path) == []


def test_what_has_arrived_does_not_come_again(tmp_path: Path) -> None:
    first, second = spool(tmp_path), spool(tmp_path)
    for n in range(5):
        first.put(event(b"%d" % n))
    chunk = first.take(150)
    first.settle(chunk)
    again = first.take(50)
    kill(first)
    # Sent but perhaps not acknowledged: better twice than never.
    assert values(chunk.records + again.records + drain(second)) == [b"0", b"1", b"2", b"3", b"3", b"4"]


def test_chunk_holds_one_record_at_least_however_large(tmp_path: Path) -> None:
    target = spool(tmp_path)
    target.put(event(b"x" * 3_000))
    target.put(event(b"y" * 100_000))
    assert [len(value) for value in values(target.take(1).records)] == [3_000]
    assert [len(value) for value in values(drain(target))] == [3_000]
    target = spool(tmp_path, segments=64)
    target.put(event(b"y" * 100_000))
    assert [len(value) for value in values(target.take(1).records)] == [100_000]


def test_nothing_of_a_record_stays_in_memory(tmp_path: Path) -> None:
    target = spool(tmp_path)
    value = b"".join((b"a", b"value"))
    before = sys.getrefcount(value)
    for _ in range(10):
        target.put(event(value))
    assert sys.getrefcount(value) == before


def test_segment_goes_when_all_in_it_has_arrived(tmp_path: Path) -> None:
    target = spool(tmp_path)
    for _ in range(9):
        target.put(event(b"x" * 1_000))
    assert len(files(tmp_path, ".segment")) == 3
    for left in (2, 1, 1):
        take(target)
        assert len(files(tmp_path, ".segment")) == left
    assert target.empty
    target.release()
    assert files(tmp_path) == []


def test_files_are_the_owners_alone(tmp_path: Path) -> None:
    target = spool(tmp_path / "deep" / "spool")
    target.put(event())
    assert (tmp_path / "deep" / "spool").stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in files(tmp_path / "deep" / "spool")} == {0o600}


def test_room_is_taken_from_the_disk_before_there_are_records(tmp_path: Path) -> None:
    target = Spool(str(tmp_path), "logs", max_bytes=2**28, sync="never", max_event_bytes=4 * 2**20)
    target.put(event())
    (segment,) = files(tmp_path, ".segment")
    assert segment.stat().st_blocks * 512 >= segment.stat().st_size >= 4 * 2**20


def test_relative_folder_is_where_the_process_began(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    target = Spool("spool", "logs", max_bytes=2**28, sync="never")
    monkeypatch.chdir("/")
    target.put(event())
    assert target.place == str(tmp_path / "spool")
    assert files(tmp_path / "spool", ".segment")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sync": "sometimes"}, "spool_sync 'sometimes' is unknown; valid: never, interval, always"),
        ({"max_bytes": 2**20}, "spool_bytes must be at least 2097152, not 1048576"),
        ({"max_event_bytes": 2**21}, "spool_bytes must be at least 42"),
    ],
)
def test_wrong_option_is_named(tmp_path: Path, options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Spool(str(tmp_path / "spool"), "logs", **{"max_bytes": 2**22, "sync": "never", **options})  # type: ignore[arg-type]  # wrong on purpose
    assert files(tmp_path) == []


def test_folder_that_can_not_be_is_known_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "spool"):
        with pytest.raises(OSError, match=f"spool can't use the folder {path}: "):
            spool(path)


@pytest.mark.parametrize("lacking", ["posix_fallocate", "fdatasync"])
def test_platform_without_what_is_needed_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lacking: str
) -> None:
    monkeypatch.delattr(os, lacking)
    with pytest.raises(ValueError, match="spool needs flock, posix_fallocate and fdatasync"):
        spool(tmp_path)


def test_platform_without_locks_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder_module, "_HAS_LOCKS", False)
    with pytest.raises(ValueError, match="spool needs flock"):
        spool(tmp_path)


def test_lower_levels_are_refused_first(tmp_path: Path) -> None:
    target = spool(tmp_path, segments=16)
    for level, segments in (("debug", 8), ("info", 12), ("warning", 14), ("error", 16)):
        fill(target, level)
        assert used_bytes(tmp_path) == segments * SEGMENT_BYTES
    assert target.dropped == {"debug": 1, "info": 1, "warning": 1, "error": 1}
    target.put(event(b"x" * 1_000, level="critical"))
    assert target.dropped["critical"] == 1


def test_event_that_is_too_large_for_the_folder_keeps_no_other_out(tmp_path: Path) -> None:
    target = spool(tmp_path, segments=16)
    target.put(event(b"x" * 17 * SEGMENT_BYTES, level="error"))
    target.put(event(b"x" * 9 * SEGMENT_BYTES, level="debug"))
    target.put(event(level="debug"))
    assert (target.dropped, target.pending) == ({"debug": 1, "error": 1}, 1)


def test_refused_level_is_taken_again_when_there_is_room(tmp_path: Path) -> None:
    clock = Clock()
    target = spool(tmp_path, segments=16, clock=clock)
    fill(target, "error")
    while not target.empty:
        take(target)
    target.put(event(level="debug"))
    assert (target.pending, target.dropped) == (1, {"error": 1})


def test_what_a_process_has_taken_of_the_room_is_for_errors_at_last(tmp_path: Path) -> None:
    clock = Clock()
    modest, greedy = spool(tmp_path, segments=4, clock=clock), spool(tmp_path, segments=8)
    modest.put(event(level="debug"))
    fill(greedy, "error")
    clock.now_s += 1
    modest.tend()
    for level in LEVELS:
        modest.put(event(level=level))
    assert (modest.dropped, modest.pending) == ({"debug": 1, "info": 1, "warning": 1}, 3)


def test_room_that_another_process_makes_is_seen_within_a_second(tmp_path: Path) -> None:
    clock = Clock()
    full, other = (spool(tmp_path, segments=16, clock=clock) for _ in range(2))
    fill(full, "error")
    other.put(event(level="error"))
    assert other.dropped == {"error": 1}
    while not full.empty:
        take(full)
    other.put(event(level="error"))
    assert other.dropped == {"error": 2}
    clock.now_s += 1
    other.put(event(level="error"))
    assert (other.pending, other.dropped) == (1, {"error": 2})


def test_bound_holds_over_all_processes(tmp_path: Path) -> None:
    spools = [spool(tmp_path, segments=6) for _ in range(4)]
    for target in spools:
        fill(target, "error")
    assert used_bytes(tmp_path) == 6 * SEGMENT_BYTES
    assert [target.accepted > 0 for target in spools] == [True, False, False, False]


@pytest.mark.parametrize("room", [1, 2])
def test_last_room_is_not_taken_twice(tmp_path: Path, room: int) -> None:
    """Though another process makes a segment between our look at the folder and ours."""
    ours, theirs = spool(tmp_path, segments=8), spool(tmp_path, segments=8)
    other = spool(tmp_path, segments=8)
    while used_bytes(tmp_path) < (8 - room) * SEGMENT_BYTES:
        other.put(event(b"x" * 1_000, level="error"))
    look = ours._writer._folder.used_bytes

    def look_and_be_slow() -> int:
        seen = look()
        theirs.put(event(level="error"))
        return seen

    ours._writer._folder.used_bytes = look_and_be_slow  # type: ignore[method-assign]  # an interleaving
    ours.put(event(level="error"))
    assert used_bytes(tmp_path) == 8 * SEGMENT_BYTES
    assert theirs.pending > 0
    assert (ours.pending, ours.dropped) == ((1, {}) if room == 2 else (0, {"error": 1}))


def test_process_with_nothing_to_keep_makes_room_for_others(tmp_path: Path) -> None:
    clock = Clock()
    idle, busy = (spool(tmp_path, segments=4, clock=clock) for _ in range(2))
    idle.put(event())
    drain(idle)
    fill(busy, "error")
    clock.now_s += 20
    idle.tend()
    clock.now_s += 1
    busy.put(event(b"x" * 1_000, level="error"))
    assert (busy.dropped, used_bytes(tmp_path)) == ({"error": 1}, 4 * SEGMENT_BYTES)
    idle.put(event(level="error"))
    assert idle.dropped == {"error": 1}


def test_dropped_record_leaves_a_gap_in_the_numbers(tmp_path: Path) -> None:
    clock = Clock()
    target = spool(tmp_path, segments=2, clock=clock)
    kept = fill(target, "error")
    while not target.empty:
        take(target)
    target.put(event())
    (record,) = take(target)
    assert (record.seq, record.previous) == (kept + 1, kept - 1)


def test_word_about_losses_has_room_in_reserve_and_is_told_later_without(tmp_path: Path) -> None:
    target = spool(tmp_path, segments=2)
    fill(target, "error", 100)
    assert target.take_untold() == {"error": 1}
    assert target.put(event(b"word" * 20, level="warning"), always=True) is False
    assert target.take_untold() == {}
    lost = fill(target, "critical", 1)
    assert target.take_untold() == {"critical": 1}
    kept = target.accepted
    target.put(event(b"word" * 100, level="warning"), always=True)
    assert (target.accepted, lost) == (kept, 0)
    # Not lost itself: what it was to say is said later.
    assert target.dropped == {"error": 1, "critical": 1}
    assert target.take_untold() == {"critical": 1}
    assert values(drain(target)).count(b"word" * 20) == 1


def test_numbers_run_per_key_and_know_the_one_before(tmp_path: Path) -> None:
    target = spool(tmp_path)
    for key in (b"a", b"b", b"a"):
        target.put(event(key=key))
    assert [(r.event.key, r.seq, r.previous) for r in take(target)] == [
        (b"a", 0, -1),
        (b"b", 0, -1),
        (b"a", 1, 0),
    ]


def test_too_many_keys_begin_a_new_source_instead_of_growing(tmp_path: Path) -> None:
    target = spool(tmp_path, segments=512)
    for n in range(3_000):
        target.put(event(key=b"%d" % n))
    records = drain(target)
    assert len({r.source for r in records}) == 3
    assert len({(r.source, r.event.key, r.seq) for r in records}) == 3_000


def test_only_the_first_put_after_arming_asks_to_wake(tmp_path: Path) -> None:
    target = spool(tmp_path)
    assert target.put(event())
    assert not target.put(event())
    assert not target.arm()
    assert target.put(event())
    drain(target)
    assert not target.put(event())
    drain(target)
    assert target.arm()


def test_wait_returns_when_all_that_was_there_has_arrived(tmp_path: Path) -> None:
    target = spool(tmp_path)
    assert target.wait(0)
    target.put(event())
    assert not target.wait(0)
    waited: list[bool] = []
    waiter = threading.Thread(target=lambda: waited.append(target.wait(60)))
    waiter.start()
    take(target)
    waiter.join(10)
    assert waited == [True]


def test_end_of_the_process_waits_for_what_was_inherited_as_well(tmp_path: Path) -> None:
    first, second = spool(tmp_path), spool(tmp_path)
    first.put(event())
    kill(first)
    second.tend()
    assert second.wait(0)
    assert not second.wait(0, inherited=True)
    drain(second)
    assert second.wait(0, inherited=True)


def test_what_is_given_up_is_waited_for_no_more_and_is_still_there(tmp_path: Path) -> None:
    first, second = spool(tmp_path), spool(tmp_path)
    first.put(event(b"inherited"))
    kill(first)
    second.tend()
    second.put(event(b"own"))
    assert second.discard() == 0
    assert second.wait(0, inherited=True)
    assert (second.awaited, second.pending, second.dropped) == (0, 2, {})
    second.put(event(b"later"))
    assert not second.wait(0)
    assert sorted(values(drain(second))) == [b"inherited", b"later", b"own"]


def test_released_records_are_counted_until_the_next_one_and_delivered_by_others(tmp_path: Path) -> None:
    first, second = spool(tmp_path), spool(tmp_path)
    first.put(event(b"1"))
    first.put(event(b"2"))
    taken = first.take(ALL)
    first.release()
    assert (first.pending, first.empty, first.wait(0)) == (2, True, True)
    # Its acknowledgement comes too late.
    first.settle(taken)
    assert values(drain(second)) == [b"1", b"2"]
    first.put(event(b"3"))
    assert first.pending == 1
    (record,) = take(first)
    # What is released may come later, so its numbers must not go on.
    assert (record.seq, record.source != taken.records[0].source) == (0, True)


def test_release_with_nothing_left_goes_on_with_the_numbers(tmp_path: Path) -> None:
    target = spool(tmp_path)
    seqs = []
    for _ in range(3):
        target.put(event())
        seqs += [record.seq for record in take(target)]
        target.release()
        assert files(tmp_path) == []
    assert seqs == [0, 1, 2]


def test_abandoned_chunk_is_taken_again(tmp_path: Path) -> None:
    target = spool(tmp_path)
    target.put(event())
    chunk = target.take(ALL)
    target.abandon(chunk)
    assert (target.pending, target.dropped) == (1, {})
    target.settle(chunk)
    assert target.pending == 1
    assert target.take(ALL).records == chunk.records


def test_losses_elsewhere_are_counted_and_told(tmp_path: Path) -> None:
    target = spool(tmp_path)
    target.lose("error")
    target.lose("info", 2)
    assert target.dropped == target.take_untold() == {"error": 1, "info": 2}


def test_new_and_inherited_records_take_turns(tmp_path: Path) -> None:
    first, second = spool(tmp_path), spool(tmp_path)
    for n in range(3):
        first.put(event(b"old %d" % n))
    kill(first)
    for n in range(3):
        second.put(event(b"new %d" % n))
    second.tend()
    order = []
    while not second.empty:
        chunk = second.take(1)
        second.settle(chunk)
        order += values(chunk.records)
    assert order == [b"new 0", b"old 0", b"new 1", b"old 1", b"new 2", b"old 2"]


def test_disk_that_is_full_costs_the_records_and_is_said_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = Clock()
    target, other = spool(tmp_path, clock=clock), spool(tmp_path)
    target.put(event(b"before"))
    segment = target._writer._segment
    assert segment is not None
    full = os.open("/dev/full", os.O_RDWR)
    os.dup2(full, segment.descriptor)
    os.close(full)
    for level in ("error", "info"):
        target.put(event(b"lost", level=level))
        # The one behind it needs a new segment, where there is room.
        target.put(event(b"kept", level=level))
        assert target._writer._segment is not segment
    assert (target.dropped, target.pending) == ({"error": 1}, 4)
    assert capsys.readouterr().err == (
        f"tocsin: can't keep log records in {tmp_path} (No space left on device);"
        " they are counted and dropped\n"
    )
    kill(target)
    records = drain(other)
    assert [(r.event.value, r.seq, r.previous) for r in records] == [
        (b"before", 0, -1),
        (b"kept", 2, 0),
        (b"lost", 3, 2),
        (b"kept", 4, 3),
    ]
    # Those that the other one is to tell of, and no more.
    assert other.dropped == {"error": 1}


def test_half_of_a_record_that_the_disk_took_is_no_damage(tmp_path: Path) -> None:
    import resource  # noqa: PLC0415 - Unix only, as all of this

    target, other = spool(tmp_path), spool(tmp_path)
    target.put(event(b"before"))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2_000, before[1]))
    try:
        target.put(event(b"x" * 3_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert (target.dropped, target.pending) == ({"info": 1}, 1)
    target.put(event(b"behind"))
    kill(target)
    assert values(drain(other)) == [b"before", b"behind"]
    # The one that was lost, and no more.
    assert other.dropped == {"info": 1}


def test_folder_that_is_taken_away_costs_the_records_until_it_is_back(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = Clock()
    path = tmp_path / "spool"
    target = spool(path, clock=clock)
    shutil.rmtree(path)
    for _ in range(3):
        target.put(event())
        assert not target.tend()
    assert target.dropped == {"info": 3}
    path.mkdir()
    clock.now_s += 1
    target.put(event())
    assert target.pending == 1
    shutil.rmtree(path)
    take(target)
    assert (target.pending, target.dropped) == (0, {"info": 4})
    trouble, damage = capsys.readouterr().err.splitlines()
    assert trouble.startswith(f"tocsin: can't keep log records in {path} (No such file or directory)")
    assert damage.endswith(".segment is damaged; what can't be read of it is counted as dropped")


def test_too_many_open_files_delay_the_delivery_and_lose_nothing(tmp_path: Path) -> None:
    import resource  # noqa: PLC0415 - Unix only, as all of this

    clock = Clock()
    target = spool(tmp_path, clock=clock)
    target.put(event())
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, before[1]))
    try:
        assert take(target) == []
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    # Not tried again at once, and again, and again.
    assert target.arm()
    clock.now_s += 1
    assert not target.arm()
    assert values(take(target)) == [b"x"]
    assert target.dropped == {}


@pytest.mark.parametrize(
    ("sync", "at_once", "in_time"), [("never", 0, 0), ("interval", 0, 2), ("always", 4, 4)]
)
def test_disk_is_waited_for_as_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sync: str, at_once: int, in_time: int
) -> None:
    synced = []
    fdatasync = os.fdatasync
    monkeypatch.setattr(os, "fdatasync", lambda fd: (synced.append(fd), fdatasync(fd)))
    target = spool(tmp_path, sync=sync)
    for _ in range(4):
        target.put(event(b"x" * 1_500))
    assert len(files(tmp_path, ".segment")) == 2
    assert len(synced) == at_once
    target.tend()
    assert len(synced) == in_time
    target.tend()
    target.discard()
    assert len(synced) == in_time


def test_many_threads_log_at_once(tmp_path: Path) -> None:
    target = spool(tmp_path, segments=4_000)
    start = threading.Barrier(64)

    def log(name: int) -> None:
        start.wait()
        for n in range(100):
            target.put(event(b"%d %d" % (name, n), key=b"%d" % (name % 4)))

    threads = [threading.Thread(target=log, args=(name,)) for name in range(64)]
    for thread in threads:
        thread.start()
    received = []
    while any(thread.is_alive() for thread in threads):
        received += take(target)
    received += drain(target)
    assert len(received) == 6_400
    for key in {r.event.key for r in received}:
        own = [r for r in received if r.event.key == key]
        assert [r.seq for r in own] == list(range(1_600))
        assert [r.previous for r in own] == list(range(-1, 1_599))
    for name in range(64):
        assert [v for v in values(received) if v.startswith(b"%d " % name)] == [
            b"%d %d" % (name, n) for n in range(100)
        ]
