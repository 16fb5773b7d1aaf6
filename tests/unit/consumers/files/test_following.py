# ruff: noqa: ASYNC240 - a test's own small files

from __future__ import annotations

import gzip
import shutil
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from tests.unit.consumers.files.follower import NOW_MS, Follower, append

if TYPE_CHECKING:
    from pathlib import Path

FIRST = "the first line of a file that is long enough to be known by, should it be copied elsewhere\n"


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "auth.log"


async def test_lines_come_as_they_are_written(log: Path) -> None:
    append(log, "one\n")
    async with Follower(log).running() as follower:
        append(log, "two\nthr")
        await follower.poll()
        assert follower.events == ["one"]
        append(log, "ee\nfour\n")
        await follower.poll()
        assert follower.events == ["one", "two", "three"]
        assert follower.batches[-1].batch.times_ms[-1] == follower.now_ms
        assert set(follower.naps) == {0.25}


async def test_an_event_is_handed_out_when_nothing_follows_it_for_long_enough(log: Path) -> None:
    append(log, "one\n")
    async with Follower(log).running() as follower:
        await follower.poll(after_ms=999)
        assert follower.events == []
        assert follower.batches[-1].position is not None
        assert follower.batches[-1].position.offset == 0
        await follower.poll(after_ms=1)
        assert follower.events == ["one"]
        assert follower.batches[-1].position.offset == 4


async def test_being_caught_up_is_told_once(log: Path) -> None:
    append(log, "one\n" * 100)
    async with Follower(log, block_bytes=64).running() as follower:
        await follower.poll(after_ms=5000)
        count = len(follower.batches)
        await follower.polls(5)
        assert len(follower.batches) == count
        assert [each.batch.caught_up for each in follower.batches] == [False] * (count - 2) + [True] * 2


async def test_a_busy_file_does_not_starve_another(tmp_path: Path) -> None:
    append(tmp_path / "busy.log", "busy\n" * 10_000)
    append(tmp_path / "calm.log", "calm\nnext\n")
    async with Follower(tmp_path / "busy.log", tmp_path / "calm.log", block_bytes=1000).running() as follower:
        assert "calm" in follower.events[:400]
        assert follower.events.count("busy") == 9999


async def test_nobody_waits_for_a_file_that_is_not_there_or_not_readable(tmp_path: Path) -> None:
    async with Follower(tmp_path / "none.log", tmp_path / "later.log").running() as follower:
        said = [
            (each.batch.partition.topic, each.batch.caught_up, each.position) for each in follower.batches
        ]
        assert said == [(str(tmp_path / name), True, None) for name in ("none.log", "later.log")]
        await follower.polls(3)
        assert len(follower.batches) == 2
        (tmp_path / "later.log").mkdir()
        await follower.polls(2)
        assert len(follower.batches) == 2


async def test_a_missing_file_is_waited_for(log: Path) -> None:
    async with Follower(log).running() as follower:
        await follower.polls(3)
        append(log, "one\ntwo\n")
        await follower.poll()
        assert follower.events == ["one"]
        assert follower.batches[1].fresh


async def test_a_renamed_file_is_read_to_its_end_before_the_new_one(log: Path) -> None:
    append(log, "one\ntwo\n")
    async with Follower(log).running() as follower:
        log.rename(log.with_name("auth.log.1"))
        append(log.with_name("auth.log.1"), "three\n")
        append(log, "four\nfive\n")
        await follower.poll()
        append(log.with_name("auth.log.1"), "late\n")
        await follower.poll(after_ms=1500)
        await follower.poll(after_ms=1500)
        assert "four" not in follower.events
        await follower.poll(after_ms=1500)
        await follower.polls(2)
        await follower.poll(after_ms=5000)
        assert follower.events == ["one", "two", "three", "late", "four", "five"]
        assert follower.reader.counts.rotated == 1
        assert follower.reader.counts.missed == 0
        assert [each.fresh for each in follower.batches].count(True) == 2


async def test_several_rotations_at_once_lose_nothing(log: Path) -> None:
    append(log, "one\n")
    async with Follower(log, rotation_wait_ms=0).running() as follower:
        for n in range(2, 5):
            for kept in range(4, 0, -1):
                if (old := log.with_name(f"auth.log.{kept}")).exists():
                    old.rename(log.with_name(f"auth.log.{kept + 1}"))
            log.rename(log.with_name("auth.log.1"))
            append(log, f"number {n}\n")
        await follower.polls(4)
        await follower.poll(after_ms=1000)
        assert follower.events == ["one", "number 2", "number 3", "number 4"]


async def test_dated_rotations_are_read_in_their_order(log: Path) -> None:
    append(log.with_name("auth.log-20260415"), "too old\n")
    append(log, "one\n")
    async with Follower(log, rotation_wait_ms=0).running() as follower:
        for day in (16, 17, 18):
            log.rename(log.with_name(f"auth.log-202604{day}"))
            append(log, f"after {day}\n")
        append(log.with_name("auth.log.bak"), "not a rotation\n")
        await follower.polls(4)
        await follower.poll(after_ms=1000)
        assert follower.events == ["one", "after 16", "after 17", "after 18"]


async def test_a_deleted_file_is_read_on_until_another_takes_its_place(log: Path) -> None:
    append(log, "one\n")
    with log.open("ab", buffering=0) as writer:
        async with Follower(log, rotation_wait_ms=0).running() as follower:
            log.unlink()
            await follower.poll()
            writer.write(b"two\n")
            await follower.polls(2)
            append(log, "three\n")
            await follower.polls(3)
            await follower.poll(after_ms=1000)
            assert follower.events == ["one", "two", "three"]


async def test_a_truncated_file_is_read_from_its_beginning(log: Path) -> None:
    append(log, "one\ntwo\nunfinished")
    with capture_logs() as told:
        async with Follower(log).running() as follower:
            log.write_text("new\n")
            await follower.polls(2)
            await follower.poll(after_ms=1000)
            assert follower.events == ["one", "two", "unfinished", "new"]
            assert follower.reader.counts.truncated == 1
            assert follower.batches[-1].position is not None
            assert follower.batches[-1].position.offset == 4
    assert [entry["event"] for entry in told] == ["file truncated, reading it from its beginning"]


async def test_a_file_written_anew_and_longer_is_read_from_its_beginning(log: Path) -> None:
    append(log, "one\n")
    async with Follower(log).running() as follower:
        await follower.poll(after_ms=1000)
        log.write_text("another\nand longer\nthan before\n")
        await follower.polls(2)
        await follower.poll(after_ms=1000)
        assert follower.events == ["one", "another", "and longer", "than before"]


async def test_what_was_copied_away_before_a_truncation_is_read_from_the_copy(log: Path) -> None:
    append(log, FIRST + "one\n")
    async with Follower(log).running() as follower:
        append(log, "unread\n")
        shutil.copy(log, log.with_name("auth.log.1"))
        log.write_text("new\n")
        await follower.polls(4)
        await follower.poll(after_ms=1000)
        assert follower.events == [FIRST.strip(), "one", "unread", "new"]


async def test_going_on_after_a_rotation_begins_with_the_rest_of_the_old_file(log: Path) -> None:
    append(log, "one\ntwo\n")
    async with Follower(log).running() as follower:
        position = follower.batches[-1].position
    append(log, "three\n")
    log.rename(log.with_name("auth.log.2"))
    append(log.with_name("auth.log.1"), "four\n")
    append(log, "five\n")
    async with Follower(log, position=position).running() as again:
        await again.poll(after_ms=1000)
        assert follower.events + again.events == ["one", "two", "three", "four", "five"]
        assert [each.fresh for each in again.batches].count(True) == 2


async def test_going_on_finds_the_rest_of_a_file_that_was_compressed(log: Path) -> None:
    append(log, FIRST + "one\n")
    async with Follower(log).running() as follower:
        position = follower.batches[-1].position
    append(log, "two\n")
    log.with_name("auth.log.1.gz").write_bytes(gzip.compress(log.read_bytes()))
    log.unlink()
    append(log, "three\n")
    async with Follower(log, position=position).running() as again:
        await again.poll(after_ms=1000)
        assert follower.events + again.events == [FIRST.strip(), "one", "two", "three"]
        assert again.reader.counts.missed == 0


async def test_a_file_half_compressed_is_read_only_once(log: Path) -> None:
    append(log, FIRST + "one\n")
    async with Follower(log).running() as follower:
        position = follower.batches[-1].position
    log.rename(log.with_name("auth.log.2"))
    append(log.with_name("auth.log.1"), "two\n")
    log.with_name("auth.log.1.gz").write_bytes(gzip.compress(b"two\n"))
    append(log, "three\n")
    async with Follower(log, position=position).running() as again:
        await again.poll(after_ms=1000)
        assert follower.events + again.events == [FIRST.strip(), "one", "two", "three"]


async def test_a_new_file_with_the_old_ones_inode_is_not_taken_for_it(log: Path) -> None:
    append(log, "one\ntwo\n")
    async with Follower(log).running() as follower:
        await follower.poll(after_ms=1000)
        position = follower.batches[-1].position
    log.write_text("other content, longer than before\n")
    async with Follower(log, position=position).running() as again:
        await again.poll(after_ms=1000)
        assert again.events == ["other content, longer than before"]
        assert again.reader.counts.missed == 1


async def test_a_file_that_was_empty_is_not_missed(log: Path) -> None:
    log.touch()
    async with Follower(log).running() as follower:
        position = follower.batches[-1].position
    log.unlink()
    append(log.with_name("auth.log.new"), "one\n")
    log.with_name("auth.log.new").rename(log)
    async with Follower(log, position=position).running() as again:
        await again.poll(after_ms=1000)
        assert again.events == ["one"]
        assert again.reader.counts.missed == 0


async def test_a_compressed_file_among_followed_ones_is_read_once(log: Path) -> None:
    log.with_name("auth.log.1.gz").write_bytes(gzip.compress(b"old\n"))
    append(log, "new\n")
    async with Follower(log.with_name("auth.log.1.gz"), log).running() as follower:
        await follower.poll(after_ms=1000)
        assert follower.events == ["old", "new"]


async def test_damage_in_a_rotated_file_does_not_stop_the_ones_after_it(log: Path) -> None:
    append(log, "one\n")
    async with Follower(log).running() as follower:
        position = follower.batches[-1].position
    log.rename(log.with_name("auth.log.3"))
    damaged = bytearray(gzip.compress(FIRST.encode()))
    damaged[-5] ^= 0xFF
    log.with_name("auth.log.2.gz").write_bytes(damaged)
    log.with_name("auth.log.1.gz").write_bytes(b"\x1f\x8bnonsense")
    append(log, "two\n")
    async with Follower(log, position=position).running() as again:
        await again.poll(after_ms=1000)
        assert again.events[0] == "one"
        assert again.events[-1] == "two"


async def test_errors_are_told_once_and_tried_again_ever_more_slowly(log: Path) -> None:
    append(log, "one\ntwo\n")
    with capture_logs() as told:
        async with Follower(log).running() as follower:
            log.unlink()
            log.mkdir()
            await follower.polls(40)
            failed = follower.reader.counts.errors
            assert 3 <= failed <= 5
            log.rmdir()
            append(log, "three\nfour\n")
            await follower.poll(after_ms=60_000)
            await follower.polls(3)
            await follower.poll(after_ms=1000)
            assert follower.events[0] == "one"
            assert follower.events[-2:] == ["three", "four"]
    assert [entry["event"] for entry in told].count("can't read file, trying again") == 1
    assert [entry["event"] for entry in told].count("file can be read again") == 1


async def test_a_clock_set_back_stops_nothing(log: Path) -> None:
    append(log, "one\n")
    async with Follower(log).running() as follower:
        log.rename(log.with_name("auth.log.1"))
        append(log, "two\n")
        await follower.poll()
        await follower.poll(after_ms=-NOW_MS // 2)
        await follower.poll(after_ms=2000)
        await follower.poll(after_ms=NOW_MS)
        await follower.poll(after_ms=1000)
        assert follower.events == ["one", "two"]
