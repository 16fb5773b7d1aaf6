from __future__ import annotations

import gzip
import os
import random
from typing import TYPE_CHECKING

import pytest

from consumers.files import FileReader, SourceError
from pipeline.decode import Auto, choose
from pipeline.event import Partition
from tests.unit.consumers.files.follower import NOW_MS, events, read_once, text

if TYPE_CHECKING:
    from pathlib import Path

    from consumers.files import FileBatch


async def test_files_are_read_in_the_order_given(tmp_path: Path) -> None:
    (tmp_path / "b.log").write_text("b1\nb2\n")
    (tmp_path / "a.log").write_text("a1\n  more\na2")
    batches = await read_once(tmp_path / "b.log", tmp_path / "a.log", tmp_path / "b.log")
    assert events(batches) == ["b1", "b2", "a1\n  more", "a2"]
    assert [each.batch.partition for each in batches if each.batch.caught_up] == [
        Partition(str(tmp_path / "b.log")),
        Partition(str(tmp_path / "a.log")),
    ]
    assert batches[-1].batch.caught_up


async def test_offsets_are_the_bytes_where_events_begin(tmp_path: Path) -> None:
    (tmp_path / "a.log").write_text("één\n\n  more\ntwo\nthree\n")
    batches = await read_once(tmp_path / "a.log")
    assert [offset for each in batches for offset in each.batch.offsets] == [0, 14, 18]
    assert batches[-1].position is not None
    assert batches[-1].position.offset == 24


async def test_times_are_the_files_but_never_ahead_of_the_clock(tmp_path: Path) -> None:
    for name, mtime_ms in (("old.log", NOW_MS - 86_400_000), ("new.log", NOW_MS + 5000)):
        (tmp_path / name).write_text("x\n")
        os.utime(tmp_path / name, ns=(0, mtime_ms * 1_000_000))
    batches = await read_once(tmp_path / "old.log", tmp_path / "new.log")
    assert [t for each in batches for t in each.batch.times_ms] == [NOW_MS - 86_400_000, NOW_MS]


async def test_an_empty_file_is_caught_up_with_at_once(tmp_path: Path) -> None:
    (tmp_path / "a.log").touch()
    (only,) = await read_once(tmp_path / "a.log")
    assert only.batch.caught_up
    assert not only.batch.values


async def test_many_events_of_a_block_come_in_batches_each_with_its_own_position(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    path.write_text("".join(f"{i}\n" for i in range(10)))
    batches = await read_once(path, max_batch_records=4)
    assert [len(each.batch.values) for each in batches] == [4, 4, 1, 1]
    for n, each in enumerate(batches):
        rest = await read_once(path, positions=lambda _, p=each.position: p)
        assert events(batches[: n + 1]) + events(rest) == [str(i) for i in range(10)]


async def test_progress_adds_up_to_the_size(tmp_path: Path) -> None:
    (tmp_path / "a.log").write_text("some line\n" * 5000)
    (tmp_path / "b.log.gz").write_bytes(gzip.compress(b"some line\n" * 5000))
    paths = [tmp_path / "a.log", tmp_path / "b.log.gz"]
    size = sum(path.stat().st_size for path in paths)
    reader = FileReader(
        paths, decoder=text, follow=False, positions=lambda _: None, clock_ms=lambda: 0, block_bytes=1000
    )
    assert (reader.read_bytes, reader.total_bytes) == (0, size)
    read = 0
    async for batch in reader.batches():
        read += batch.bytes_read
        assert batch.bytes_read >= 0
        assert 0 < reader.read_bytes <= reader.total_bytes == size
    assert read == reader.read_bytes == size


async def test_compressed_files_are_read_and_gone_on_with(tmp_path: Path) -> None:
    path = tmp_path / "a.log.1.gz"
    lines = [f"line {i} {random.random()}" for i in range(3000)]
    path.write_bytes(gzip.compress("\n".join(lines).encode()))
    batches = await read_once(path, block_bytes=4096)
    assert events(batches) == lines
    half = len(batches) // 2
    rest = await read_once(path, block_bytes=4096, positions=lambda _: batches[half].position)
    assert events(batches[: half + 1]) + events(rest) == lines


async def test_a_name_in_gz_alone_makes_no_gzip(tmp_path: Path) -> None:
    (tmp_path / "a.gz").write_text("plain\n")
    assert events(await read_once(tmp_path / "a.gz")) == ["plain"]


async def test_a_damaged_compressed_file_is_named_after_what_was_good_in_it(tmp_path: Path) -> None:
    path = tmp_path / "a.gz"
    lines = [f"line {i} {random.random()}" for i in range(3000)]
    path.write_bytes(gzip.compress("\n".join(lines).encode())[:-9000])
    reader = FileReader(
        [path], decoder=text, follow=False, positions=lambda _: None, clock_ms=lambda: 0, block_bytes=1000
    )
    batches: list[FileBatch] = []

    async def collect() -> None:
        async for batch in reader.batches():
            batches.append(batch)  # noqa: PERF401 - what came before the error counts

    with pytest.raises(SourceError, match=r"a\.gz: damaged gzip data"):
        await collect()
    assert events(batches) == lines[: len(events(batches))]
    assert len(events(batches)) > 1000


async def test_small_compressed_file_of_huge_content_is_read_block_by_block(tmp_path: Path) -> None:
    path = tmp_path / "bomb.gz"
    with gzip.open(path, "wb") as file:
        for _ in range(32):
            file.write(bytes(1 << 20))
    batches = await read_once(path, block_bytes=1 << 16)
    assert len(batches) >= 512
    assert [len(value or b"") for each in batches for value in each.batch.values] == [1 << 20]


@pytest.mark.parametrize("follow", [False, True])
def test_a_folder_is_refused_before_anything_starts(tmp_path: Path, follow: bool) -> None:
    with pytest.raises(SourceError, match="a folder; name the files in it"):
        FileReader([tmp_path], decoder=text, follow=follow, positions=lambda _: None, clock_ms=lambda: 0)


def test_a_pipe_is_refused_without_waiting_for_its_writer(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(SourceError, match="not a regular file; send it to standard input"):
        FileReader(
            [tmp_path / "pipe"], decoder=text, follow=True, positions=lambda _: None, clock_ms=lambda: 0
        )


def test_a_missing_file_is_named_before_anything_starts(tmp_path: Path) -> None:
    (tmp_path / "a.log").touch()
    with pytest.raises(SourceError, match=r"gone\.log: No such file or directory"):
        FileReader(
            [tmp_path / "a.log", tmp_path / "gone.log"],
            decoder=text,
            follow=False,
            positions=lambda _: None,
            clock_ms=lambda: 0,
        )


async def test_a_file_that_vanishes_before_its_turn_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.log").touch()
    reader = FileReader(
        [tmp_path / "a.log"], decoder=text, follow=False, positions=lambda _: None, clock_ms=lambda: 0
    )
    (tmp_path / "a.log").unlink()
    with pytest.raises(SourceError, match=r"a\.log: No such file or directory"):
        [batch async for batch in reader.batches()]


async def test_going_on_keeps_the_format_that_was_found(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    lines = [
        f"2026-04-18 08:00:{i % 60:02} - ERROR - boom {i}\nTraceback (most recent call last):\nodd line {i}"
        for i in range(300)
    ]
    path.write_text("\n".join(lines) + "\n")
    batches = await read_once(path, decoder=lambda _: Auto(), block_bytes=997)
    whole = events(batches)
    for n in range(20, len(batches), 5):
        rest = await read_once(path, decoder=lambda _: Auto(), positions=lambda _, p=batches[n].position: p)
        assert events(batches[: n + 1]) + events(rest) == whole


async def test_overlong_lines_are_cut_and_counted(tmp_path: Path) -> None:
    (tmp_path / "a.log").write_bytes(b"x" * 3_000_000 + b"\nnext\n")
    reader = FileReader(
        [tmp_path / "a.log"],
        decoder=lambda _: choose("text"),
        follow=False,
        positions=lambda _: None,
        clock_ms=lambda: 0,
    )
    found = events([batch async for batch in reader.batches()])
    assert [len(event) for event in found] == [1 << 20, 4]
    assert reader.counts.cut_bytes == 3_000_000 - (1 << 20)


async def test_a_name_that_is_no_unicode_gives_a_partition_that_is(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"\xff.log")
    path.write_text("x\n")
    batches = await read_once(path)
    assert batches[-1].batch.partition.topic == f"{tmp_path}/\\xff.log"
    assert batches[-1].position is not None
    assert batches[-1].position.path == str(path)
