"""However a log is written, rotated and read in pieces, its events are those of one undisturbed read."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from consumers.files import Counts
from consumers.files.source import PathSource
from pipeline.decode import Joiner
from tests.unit.consumers.files.follower import NOW_MS, append, events, text

if TYPE_CHECKING:
    from consumers.files import FileBatch, Position

Operation = tuple[str, bytes] | tuple[str, int]

OPERATIONS = st.lists(
    st.one_of(
        st.tuples(
            st.just("write"), st.lists(st.sampled_from([b"a", b"bc", b" ", b"\n", b"\r\n"])).map(b"".join)
        ),
        st.tuples(st.just("rename"), st.just(0)),
        st.tuples(st.just("create"), st.just(0)),
        st.tuples(st.just("read"), st.integers(1, 4)),
        st.tuples(st.just("commit"), st.integers(0, 5)),
        st.tuples(st.just("restart"), st.just(0)),
        st.tuples(st.just("fail"), st.just(0)),
    ),
    max_size=40,
)


class World:
    """A log that is written and rotated, and a reader of it that is stopped and started."""

    def __init__(self, folder: Path, block_bytes: int, max_batch_records: int, *, dated: bool) -> None:
        self.log = folder / "app.log"
        self.contents = [b""]
        self.log.touch()
        self._block_bytes = block_bytes
        self._max_batch_records = max_batch_records
        self._dated = dated
        self._rotations = 0
        self._present = True
        self._committed: tuple[list[FileBatch], Position | None] = ([], None)
        self.handed: list[FileBatch] = []
        self.counts = Counts()
        self.source = self._start()
        # A reader that has never seen a file can't know of it once it was rotated away.
        self.apply("read", 1)
        self.apply("commit", 0)

    def _start(self) -> PathSource:
        self.handed = list(self._committed[0])
        return PathSource(
            str(self.log),
            follow=True,
            position=self._committed[1],
            decoder=text(),
            joiner=Joiner,
            counts=self.counts,
            max_batch_records=self._max_batch_records,
            block_bytes=self._block_bytes,
            rotation_wait_ms=0,
        )

    def apply(self, kind: str, argument: bytes | int) -> None:
        match kind, argument:
            case "write", bytes(data) if self._present:
                append(self.log, data)
                self.contents[-1] += data
            case "rename", _ if self._present:
                self._rename()
            case "create", _ if not self._present:
                self.log.touch()
                self.contents.append(b"")
                self._present = True
            case "read", int(steps):
                for _ in range(steps):
                    self.handed += self.source.step(NOW_MS)
            case "commit", int(pending) if len(self.handed) - pending > len(self._committed[0]):
                done = self.handed[: len(self.handed) - pending]
                self._committed = (done, done[-1].position)
            case "restart", _:
                self.source.close()
                self.source = self._start()
            case "fail", _:
                self.source.close()

    def _rename(self) -> None:
        self._rotations += 1
        if self._dated:
            self.log.rename(f"{self.log}-{20260000 + self._rotations}")
        else:
            for number in range(self._rotations - 1, 0, -1):
                Path(f"{self.log}.{number}").rename(f"{self.log}.{number + 1}")
            self.log.rename(f"{self.log}.1")
        self._present = False

    def finish(self) -> None:
        """Read all there is, the last event included."""
        self.apply("create", 0)
        self.apply("write", b"\n")
        silent = 0
        for _ in range(2000):
            batches = self.source.step(NOW_MS)
            self.handed += batches
            silent = 0 if batches else silent + 1
            if silent == 4:
                break
        self.handed += self.source.step(NOW_MS + 10_000)
        self.source.close()


def undisturbed(contents: list[bytes]) -> list[str]:
    found = []
    for content in contents:
        joiner = Joiner(text())
        found += [each.data.decode() for each in (*joiner.feed(content, 0, NOW_MS), *joiner.drain())]
    return found


@given(OPERATIONS, st.integers(1, 9), st.integers(1, 3), st.booleans())
def test_nothing_is_lost_or_repeated(
    operations: list[Operation], block_bytes: int, max_batch_records: int, dated: bool
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder), block_bytes, max_batch_records, dated=dated)
        for kind, argument in operations:
            world.apply(kind, argument)
        world.finish()
        assert events(world.handed) == undisturbed(world.contents)
        assert world.counts.missed == 0
        assert world.counts.truncated == 0
        for each in world.handed:
            assert list(each.batch.offsets) == sorted(set(each.batch.offsets))
