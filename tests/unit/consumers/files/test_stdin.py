from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

import pytest

from consumers.files import SourceError, StdinReader
from pipeline.event import Partition
from tests.unit.consumers.files.follower import NOW_MS, events, text

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for end in ends:
        try:
            os.close(end)
        except OSError as error:
            assert error.errno == 9  # noqa: PT017 - the test has closed it


def reader(descriptor: int, **settings: float) -> StdinReader:
    return StdinReader(decoder=text, clock_ms=lambda: NOW_MS, descriptor=descriptor, **settings)  # type: ignore[arg-type] # numbers of either kind


async def test_a_pipe_is_read_to_its_end(pipe: tuple[int, int]) -> None:
    out, into = pipe
    os.write(into, b"one\n  more\ntwo\n\nthree")
    os.close(into)
    batches = [batch async for batch in reader(out).batches()]
    assert events(batches) == ["one\n  more", "two", "three"]
    assert [offset for each in batches for offset in each.batch.offsets] == [0, 11, 16]
    assert {each.batch.partition for each in batches} == {Partition("-")}
    assert {each.position for each in batches} == {None}
    assert batches[-1].batch.caught_up
    assert sum(each.bytes_read for each in batches) == 21


async def test_a_lot_is_read_in_bounded_blocks_and_batches(pipe: tuple[int, int]) -> None:
    out, into = pipe

    def write() -> None:
        with open(into, "wb") as file:  # noqa: PTH123 - by descriptor
            file.write(b"line\n" * 100_000)

    writing = asyncio.create_task(asyncio.to_thread(write))
    batches = [batch async for batch in reader(out, block_bytes=10_000, max_batch_records=300).batches()]
    await writing
    assert events(batches) == ["line"] * 100_000
    assert max(each.bytes_read for each in batches) <= 10_000
    assert max(len(each.batch.values) for each in batches) == 300


async def test_an_event_is_handed_out_while_the_writer_is_silent(pipe: tuple[int, int]) -> None:
    out, into = pipe
    now = NOW_MS
    source = StdinReader(decoder=text, clock_ms=lambda: now, descriptor=out, poll_s=0.001)
    batches = source.batches()
    os.write(into, b"one\n")
    first = await anext(batches)
    assert first.fresh
    assert not first.batch.values
    assert (await anext(batches)).batch.caught_up
    now += 1000
    assert events([await anext(batches)]) == ["one"]
    os.close(into)
    with pytest.raises(StopAsyncIteration):
        await anext(batches)


async def test_waiting_for_a_silent_writer_can_be_cancelled(pipe: tuple[int, int]) -> None:
    out, _ = pipe
    batches = reader(out, poll_s=0.01).batches()
    assert (await anext(batches)).batch.caught_up
    waiting = asyncio.ensure_future(anext(batches))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_a_redirected_file_has_a_size_and_its_own_time(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    path.write_text("one\ntwo\n")
    os.utime(path, ns=(0, (NOW_MS - 5000) * 1_000_000))
    with path.open("rb") as file:
        source = reader(file.fileno())
        assert source.total_bytes == 8
        batches = [batch async for batch in source.batches()]
    assert events(batches) == ["one", "two"]
    assert source.read_bytes == 8
    assert {t for each in batches for t in each.batch.times_ms} == {NOW_MS - 5000}


async def test_nothing_at_all_is_caught_up_with() -> None:
    descriptor = os.open(os.devnull, os.O_RDONLY)
    try:
        (only,) = [batch async for batch in reader(descriptor).batches()]
    finally:
        os.close(descriptor)
    assert only.batch.caught_up


async def test_a_terminal_is_read_and_stays_blocking() -> None:
    leader, follower = os.openpty()
    try:
        os.write(leader, b"typed\n\x04")
        batches = [batch async for batch in reader(follower).batches()]
        assert events(batches) == ["typed"]
        assert os.get_blocking(follower)
    finally:
        os.close(leader)
        os.close(follower)


def test_a_closed_or_senseless_standard_input_is_told(tmp_path: Path, pipe: tuple[int, int]) -> None:
    os.close(pipe[0])
    with pytest.raises(SourceError, match="standard input: Bad file descriptor"):
        reader(pipe[0])
    folder = os.open(tmp_path, os.O_RDONLY)
    try:
        with pytest.raises(SourceError, match="standard input: a folder"):
            reader(folder)
    finally:
        os.close(folder)
