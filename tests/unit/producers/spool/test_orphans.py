"""Journals whose owner is gone: who adopts them, in what state they may be, and what is left alone."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from producers.spool import journal
from producers.spool.folder import lock
from producers.spool.form import RECORD_HEADER_BYTES, SEGMENT_HEADER_BYTES
from tests.unit.producers.spool.spools import (
    Clock,
    drain,
    event,
    files,
    kill,
    open_files,
    spool,
    take,
    values,
)

ROOT = Path(__file__).parents[4]


def left_behind(folder: Path, count: int = 6, size: int = 1_000) -> list[Path]:
    """Let a process log errors and be killed; return its segments."""
    target = spool(folder, segments=100)
    for n in range(count):
        target.put(event(b"%d" % n + b"x" * size, level="error"))
    kill(target)
    return files(folder, ".segment")


def numbers(found: list[bytes]) -> list[int]:
    return [int(value.rstrip(b"x")) for value in found]


def damage(path: Path, offset: int, data: bytes | None = None) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        byte = file.read(1)
        file.seek(offset)
        file.write(data if data is not None else bytes([byte[0] ^ 0xFF]))


def record_at(n: int, size: int = 1_001) -> int:
    return SEGMENT_HEADER_BYTES + n * (RECORD_HEADER_BYTES + 1 + size)


def test_journal_of_a_living_process_is_its_own(tmp_path: Path) -> None:
    first, second = spool(tmp_path), spool(tmp_path)
    first.put(event())
    assert not second.tend()
    assert (second.pending, drain(second)) == (0, [])
    assert values(drain(first)) == [b"x"]


def test_orphans_are_looked_for_at_the_start_and_every_ten_seconds(tmp_path: Path) -> None:
    clock = Clock()
    survivor = spool(tmp_path, clock=clock)
    left_behind(tmp_path)
    assert survivor.tend()
    assert (survivor.pending, len(drain(survivor))) == (6, 6)
    left_behind(tmp_path)
    assert not survivor.tend()
    clock.now_s += 9.9
    assert not survivor.tend()
    clock.now_s += 0.1
    assert survivor.tend()


def test_one_orphan_after_the_other_without_waiting(tmp_path: Path) -> None:
    for _ in range(5):
        left_behind(tmp_path)
    survivor = spool(tmp_path, segments=100)
    survivor.tend()
    assert Counter(numbers(values(drain(survivor)))) == Counter(list(range(6)) * 5)
    assert files(tmp_path) == []
    assert open_files(tmp_path) == 0


def test_no_two_adopt_the_same(tmp_path: Path) -> None:
    left_behind(tmp_path)
    clock = Clock()
    first, second = spool(tmp_path), spool(tmp_path, clock=clock)
    assert [first.tend(), second.tend()] == [True, False]
    # Nor when the first dies over it, as far as it came.
    first.settle(first.take(1_100))
    kill(first)
    clock.now_s += 10
    assert numbers(values(drain(second))) == [1, 2, 3, 4, 5]


def test_journal_that_others_clear_away_before_it_is_locked_is_begun_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    others = spool(tmp_path, clock=clock)

    def lock_slowly(descriptor: int) -> bool:
        if len(files(tmp_path)) == 1 and clock.now_s < 1_100:
            clock.now_s += 10
            others.tend()
        return lock(descriptor)

    monkeypatch.setattr(journal, "lock", lock_slowly)
    target = spool(tmp_path)
    target.put(event())
    assert clock.now_s > 1_000
    kill(target)
    # It has a file that it is found by.
    assert values(drain(spool(tmp_path))) == [b"x"]


def test_records_for_something_else_are_not_ours(tmp_path: Path) -> None:
    for label in ("audit", "logs"):
        target = spool(tmp_path, label=label)
        target.put(event(label.encode()))
        kill(target)
    assert values(drain(spool(tmp_path, label="logs"))) == [b"logs"]
    assert values(drain(spool(tmp_path, label="audit"))) == [b"audit"]


def test_losses_of_something_else_are_not_ours_to_tell(tmp_path: Path) -> None:
    audit = spool(tmp_path, label="audit")
    audit.lose("error")
    kill(audit)
    ours, theirs = spool(tmp_path, label="logs"), spool(tmp_path, label="audit")
    assert not ours.tend()
    assert ours.dropped == {}
    theirs.tend()
    assert theirs.dropped == {"error": 1}


def test_foreign_files_are_left_alone(tmp_path: Path) -> None:
    name = "0123456789abcdef"
    foreign = {
        "notes.txt": b"mine",
        "tocsin-.journal": b"",
        f"tocsin-{name}.journal.bak": b"",
        f"tocsin-{name.upper()}.journal": b"",
        # Of our names, but nothing of ours in it.
        f"tocsin-{name}.journal": b"?" * 100,
        f"tocsin-{name}-00000000.segment": b"not ours" * 1_000,
        f"tocsin-{name[::-1]}-00000000.segment": b"without a journal",
    }
    for file, content in foreign.items():
        (tmp_path / file).write_bytes(content)
    (tmp_path / "subfolder").mkdir()
    target = spool(tmp_path, segments=16)
    target.put(event())
    assert values(drain(target)) == [b"x"]
    target.release()
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()} == foreign
    assert target.dropped == {}


def test_links_and_pipes_are_not_followed(tmp_path: Path) -> None:
    folder = tmp_path / "spool"
    folder.mkdir()
    secret = tmp_path / "secret"
    secret.write_bytes(b"secret")
    name = "0123456789abcdef"
    (folder / f"tocsin-{name}.journal").symlink_to(secret)
    (folder / f"tocsin-{name[::-1]}.journal").touch()
    (folder / f"tocsin-{name[::-1]}-00000000.segment").symlink_to(secret)
    os.mkfifo(folder / f"tocsin-{name[::-1]}-00000001.segment")
    target = spool(folder)
    assert not target.tend()
    assert (secret.read_bytes(), len(files(folder))) == (b"secret", 4)


def test_journal_without_records_is_cleared_away(tmp_path: Path) -> None:
    target = spool(tmp_path)
    target.put(event())
    chunk = target.take(100)
    target.settle(chunk)
    kill(target)
    (tmp_path / "tocsin-0123456789abcdef.journal").touch()
    assert len(files(tmp_path)) == 3
    assert not spool(tmp_path).tend()
    assert files(tmp_path) == []


def test_segment_that_nothing_was_put_into_yet_is_no_damage(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = left_behind(tmp_path, 2)[0]
    for number, content in ((1, b""), (2, bytes(4_096))):
        Path(str(first).replace("-00000000.", f"-{number:08}.")).write_bytes(content)
    target = spool(tmp_path)
    assert len(drain(target)) == 2
    assert (target.dropped, files(tmp_path), capsys.readouterr().err) == ({}, [], "")


def test_losses_of_a_killed_process_are_told_by_another(tmp_path: Path) -> None:
    victim = spool(tmp_path, segments=2)
    while not victim.dropped:
        victim.put(event(b"x" * 1_000, level="error"))
    victim.lose("debug", 3)
    told = victim.take_untold()
    victim.put(event(b"%r" % told), always=True)
    victim.lose("info", 2)
    # Taken to be told, but the word about it was never put in.
    assert victim.take_untold() == {"info": 2}
    kill(victim)
    heir = spool(tmp_path, segments=2)
    heir.tend()
    # And by that one's heir, since it dies of it as well.
    kill(heir)
    last = spool(tmp_path, segments=2)
    assert values(drain(last))[-1] == b"{'debug': 3, 'error': 1}"
    assert last.dropped == last.take_untold() == {"info": 2}
    last.put(event(b"told"), always=True)
    assert values(drain(last)) == [b"told"]
    last.release()
    assert files(tmp_path) == []


def test_losses_that_were_released_are_told_by_others_alone(tmp_path: Path) -> None:
    first, second = spool(tmp_path), spool(tmp_path)
    first.lose("error")
    first.release()
    assert (first.dropped, first.take_untold()) == ({"error": 1}, {})
    second.tend()
    assert (second.dropped, second.take_untold()) == ({"error": 1}, {"error": 1})


def test_damaged_value_costs_that_record(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    segments = left_behind(tmp_path)
    damage(segments[0], record_at(1) + RECORD_HEADER_BYTES + 500)
    target = spool(tmp_path)
    assert numbers(values(drain(target))) == [0, 2, 3, 4, 5]
    assert (target.dropped, target.pending, files(tmp_path, ".segment")) == ({"error": 1}, 0, [])
    assert capsys.readouterr().err == (
        f"tocsin: {segments[0]} is damaged; what can't be read of it is counted as dropped\n"
    )


def test_damaged_header_costs_the_rest_of_its_segment(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    segments = left_behind(tmp_path)
    damage(segments[0], record_at(1) + 10)
    damage(segments[1], record_at(0) + 10)
    target = spool(tmp_path)
    assert numbers(values(drain(target))) == [0]
    # Each counts for one at least: how many there were, only the numbers tell.
    assert (target.dropped, target.pending, files(tmp_path, ".segment")) == ({"error": 2}, 0, [])
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_damaged_segment_header_costs_that_segment(tmp_path: Path) -> None:
    segments = left_behind(tmp_path)
    damage(segments[0], 30)
    target = spool(tmp_path)
    assert numbers(values(drain(target))) == [3, 4, 5]
    assert (target.dropped, files(tmp_path, ".segment")) == ({"error": 1}, [])


def test_missing_segment_costs_itself_alone(tmp_path: Path) -> None:
    segments = left_behind(tmp_path)
    segments[0].unlink()
    target = spool(tmp_path)
    assert numbers(values(drain(target))) == [3, 4, 5]


@pytest.mark.parametrize(
    "kept", [0, 100, SEGMENT_HEADER_BYTES, record_at(2), record_at(2) + 20, record_at(2) + 500]
)
def test_file_that_was_cut_costs_what_was_cut_off(tmp_path: Path, kept: int) -> None:
    segments = left_behind(tmp_path)
    os.truncate(segments[0], kept)
    target = spool(tmp_path)
    found = numbers(values(drain(target)))
    assert found == ([0, 1] if kept >= record_at(2) else []) + [3, 4, 5]
    assert (target.pending, files(tmp_path, ".segment")) == (0, [])


@pytest.mark.parametrize("position", [b"", b"?" * 20, bytes(20), b"\xff" * 100])
def test_unreadable_position_only_brings_records_twice(tmp_path: Path, position: bytes) -> None:
    target = spool(tmp_path)
    for n in range(3):
        target.put(event(b"%d" % n))
    target.settle(target.take(50))
    kill(target)
    files(tmp_path, ".journal")[0].write_bytes(position)
    assert numbers(values(drain(spool(tmp_path)))) == [0, 1, 2]


def test_damage_in_a_living_journal_is_counted_exactly(tmp_path: Path) -> None:
    target = spool(tmp_path)
    for n, level in enumerate(("error", "info", "warning", "debug", "error")):
        target.put(event(b"%d" % n + b"x" * 1_000, level=level))
    segments = files(tmp_path, ".segment")
    damage(segments[0], record_at(0) + RECORD_HEADER_BYTES + 500)
    damage(segments[0], record_at(1) + 10)
    damage(segments[1], record_at(1) + 10)
    found = []
    while not target.empty:
        found += numbers(values(take(target)))
    assert (found, target.pending) == ([3], 0)
    assert target.dropped == {"error": 2, "info": 1, "warning": 1}
    # The segment is still written to, and read from behind the damage.
    target.put(event(b"5", level="error"))
    assert values(take(target)) == [b"5"]
    assert target.wait(0)


def test_segment_that_can_not_be_deleted_does_not_come_again_and_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left_behind(tmp_path)
    clock = Clock()
    target = spool(tmp_path, clock=clock)

    def refuse(path: str) -> None:
        raise OSError(30, os.strerror(30), path)

    def refuse_at(descriptor: int, data: bytes, offset: int) -> int:
        raise OSError(30, os.strerror(30))

    # A disk that has become read-only, which takes a privilege to bring about.
    monkeypatch.setattr(os, "unlink", refuse)
    monkeypatch.setattr(os, "pwrite", refuse_at)
    assert len(drain(target)) == 6
    clock.now_s += 100
    assert not target.tend()


CHILD_THAT_LIVES_ON = """
import os, sys, time
from producers.event.renderer import RenderedEvent
from producers.spool.spool import Spool
spool = Spool(sys.argv[1], "logs", max_bytes=2**25, sync="never")
spool.put(RenderedEvent(b"parent", b"k", 0, "info"))
child = os.fork()
if child == 0:
    spool.renew()
    spool.put(RenderedEvent(b"child", b"k", 0, "info"))
    print("logged", flush=True)
    sys.stdin.read()
    os._exit(0)
os.kill(os.getpid(), 9)
"""


def test_parent_that_is_killed_is_mourned_though_its_child_lives(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", CHILD_THAT_LIVES_ON, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=ROOT,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.wait(30) == -9
    assert process.stdout.readline() == b"logged\n"
    target = spool(tmp_path)
    assert values(drain(target)) == [b"parent"]
    process.stdin.close()
    # Its end is seen when the pipe ends.
    assert process.stdout.read() == b""
    process.stdout.close()
    assert values(drain(spool(tmp_path))) == [b"child"]


FORKS_UNDER_LOAD = """
import os, sys, threading
from producers.event.renderer import RenderedEvent
from producers.spool.spool import Spool
spool = Spool(sys.argv[1], "logs", max_bytes=2**25, sync="never", segment_bytes=4096)
stop = threading.Event()
def log():
    while not stop.is_set():
        spool.put(RenderedEvent(b"x" * 1000, b"k", 0, "info"))
        spool.settle(spool.take(10**6))
        spool.release()
threads = [threading.Thread(target=log, daemon=True) for _ in range(3)]
for thread in threads:
    thread.start()
for _ in range(30):
    child = os.fork()
    if child == 0:
        spool.renew()
        open_files = [os.path.realpath(f"/proc/self/fd/{n}") for n in os.listdir("/proc/self/fd")]
        os._exit(any(".journal" in name for name in open_files))
    assert os.waitpid(child, 0)[1] == 0
stop.set()
for thread in threads:
    thread.join()
"""


def test_no_fork_takes_a_lock_along(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", FORKS_UNDER_LOAD, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
        cwd=ROOT,
    )
    assert (done.returncode, done.stderr) == (0, "")
