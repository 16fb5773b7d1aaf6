"""Two processes that share a folder, log, deliver, are killed at any moment and begin anew, against lists."""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from producers.spool.form import pack_record
from producers.spool.journal import _LOSSES, _LOSSES_AT, _unpacked
from tests.unit.producers.spool.spools import (
    LEVELS,
    SEGMENT_BYTES,
    Clock,
    drain,
    event,
    files,
    kill,
    spool,
)

if TYPE_CHECKING:
    from producers.kafka.queue import Chunk, Record

SEGMENTS = 8

who = st.integers(0, 1)


class Logged(NamedTuple):
    """What identifies a record, and what it says."""

    value: bytes
    key: bytes
    level: str
    source: bytes
    seq: int


def kept_losses(folder: Path, name: str) -> list[int]:
    data = (folder / f"tocsin-{name}.journal").read_bytes()
    return list(_unpacked(_LOSSES, data[_LOSSES_AT:]) or [0] * len(LEVELS))


class Process:
    """One that logs; what it has to know of itself."""

    def __init__(self, folder: Path, clock: Clock) -> None:
        self.spool = spool(folder, segments=SEGMENTS, clock=clock)
        self.begin()

    def begin(self) -> None:
        self.logged = 0
        self.dropped: Counter[str] = Counter()
        self.numbers: Counter[tuple[bytes, bytes]] = Counter()
        self.left = 0
        self.chunk: Chunk | None = None
        self.chunk_of = ""

    def number(self, key: bytes) -> tuple[bytes, int]:
        """Return the source and seq of a record, and use them up."""
        source = self.spool._writer._source
        self.numbers[source, key] += 1
        return source, self.numbers[source, key] - 1

    @property
    def own(self) -> str:
        journal = self.spool._writer.journal
        return journal.name if journal is not None else ""

    @property
    def orphan(self) -> str:
        return self.spool._orphan.name if self.spool._orphan is not None else ""


class Spooling(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self._temporary = tempfile.TemporaryDirectory()
        self.folder = Path(self._temporary.name)
        self.clock = Clock()
        self.processes = [Process(self.folder, self.clock) for _ in range(2)]
        # What waits in each journal.
        self.waiting: dict[str, list[Logged]] = {}
        self.arrived: set[bytes] = set()
        self.newest: dict[tuple[bytes, bytes], int] = {}
        # What was dropped and has not been told, by whoever is to tell it now.
        self.untold: Counter[str] = Counter()
        self.count = 0

    def teardown(self) -> None:
        for process in self.processes:
            kill(process.spool)
        last = self.processes[0].spool
        self.receive(drain(last))
        expected = {logged.value for waiting in self.waiting.values() for logged in waiting}
        assert expected <= self.arrived
        assert (last.pending, last.dropped) == (0, self.untold)
        assert last.take_untold() == self.untold
        last.put(event(b"told", level="warning"), always=True)
        drain(last)
        last.release()
        assert files(self.folder) == []
        self._temporary.cleanup()

    def receive(self, records: list[Record]) -> None:
        for record in records:
            # What is settled does not come again, and what comes is in order.
            assert record.event.value not in self.arrived
            self.arrived.add(record.event.value)
            series = record.source, record.event.key
            before = self.newest.get(series, -1)
            assert record.seq > before
            assert record.previous == before
            self.newest[series] = record.seq

    @rule(
        number=who,
        level=st.sampled_from(LEVELS),
        key=st.sampled_from([b"a", b"b"]),
        size=st.one_of(st.integers(0, 100), st.integers(0, 6_000)),
    )
    def log(self, number: int, level: str, key: bytes, size: int) -> None:
        process = self.processes[number]
        self.count += 1
        process.logged += 1
        value = b"%d-" % self.count + b"x" * size
        accepted = process.spool.accepted
        process.spool.put(event(value, key, level))
        source, seq = process.number(key)
        if process.spool.accepted == accepted:
            process.dropped[level] += 1
            self.untold[level] += 1
        else:
            process.left = 0
            self.waiting.setdefault(process.own, []).append(Logged(value, key, level, source, seq))

    @rule(number=who)
    def tell(self, number: int) -> None:
        process = self.processes[number]
        untold = process.spool.take_untold()
        assert list(untold.values()) == [count for count in process.spool._losses.unsafe if count]
        if untold:
            self.count += 1
            value = b"%d-told" % self.count
            accepted = process.spool.accepted
            process.spool.put(event(value, b"a", "warning"), always=True)
            if process.spool.accepted > accepted:
                self.untold -= Counter(untold)
                process.left = 0
                self.waiting.setdefault(process.own, []).append(
                    Logged(value, b"a", "warning", *process.number(b"a"))
                )

    @rule(number=who, max_bytes=st.integers(1, 5_000))
    def take(self, number: int, max_bytes: int) -> None:
        process = self.processes[number]
        if process.chunk is not None or process.spool.empty:
            return
        process.chunk = process.spool.take(max_bytes)
        taken = process.spool._taken
        assert taken is not None
        process.chunk_of = taken[0].name
        assert process.chunk_of in {process.own, process.orphan}
        got = [
            Logged(r.event.value, r.event.key, r.event.level, r.source, r.seq) for r in process.chunk.records
        ]
        assert got
        assert got == self.waiting[process.chunk_of][: len(got)]

    @rule(number=who)
    def settle(self, number: int) -> None:
        process = self.processes[number]
        if process.chunk is not None:
            process.spool.settle(process.chunk)
            self.receive(process.chunk.records)
            del self.waiting[process.chunk_of][: len(process.chunk.records)]
            process.chunk = None

    @rule(number=who)
    def abandon(self, number: int) -> None:
        process = self.processes[number]
        if process.chunk is not None:
            process.spool.abandon(process.chunk)
            process.chunk = None

    @rule(number=who, torn=st.integers(0, 200))
    def killed(self, number: int, torn: int) -> None:
        process = self.processes[number]
        segment = process.spool._writer._segment
        if segment is not None and segment.end + 300 < segment.capacity:
            # In the midst of a log call.
            data = pack_record(event(b"torn" * 40), 1, 2**40, -1)
            os.pwrite(segment.descriptor, data[:torn], segment.end)
        kill(process.spool)
        process.begin()

    @rule(number=who)
    def release(self, number: int) -> None:
        process = self.processes[number]
        process.left += len(self.waiting.get(process.own, [])) + len(self.waiting.get(process.orphan, []))
        process.spool.release()
        process.chunk = None

    @rule(number=who, seconds=st.sampled_from([0.5, 2, 20]))
    def tend(self, number: int, seconds: float) -> None:
        self.clock.now_s += seconds
        assert self.processes[number].spool.tend() != self.processes[number].spool.empty

    @invariant()
    def accounts_are_exact(self) -> None:
        for process in self.processes:
            own = len(self.waiting.get(process.own, []))
            assert process.spool.awaited == own
            assert process.spool.wait(0) == (not own)
            assert process.spool.pending == own + len(self.waiting.get(process.orphan, [])) + process.left
            # It may have taken over what others have lost.
            assert process.dropped <= Counter(process.spool.dropped)
            if process.own:
                assert kept_losses(self.folder, process.own) == process.spool._losses.unsafe
            else:
                assert not any(process.spool._losses.unsafe)
            assert process.spool.empty == (not own and not process.orphan)
            assert bool(process.spool.pending_bytes) == bool(process.spool.pending - process.left)

    @invariant()
    def every_loss_is_to_be_told_once(self) -> None:
        kept = [kept_losses(self.folder, path.name[7:23]) for path in files(self.folder, ".journal")]
        total = dict(zip(LEVELS, map(sum, zip(*kept, strict=True)), strict=False)) if kept else {}
        assert {level: count for level, count in total.items() if count} == self.untold

    @invariant()
    def no_journal_has_two_owners(self) -> None:
        owned = [name for p in self.processes for name in (p.own, p.orphan) if name]
        assert len(owned) == len(set(owned))

    @invariant()
    def bound_holds_over_the_folder(self) -> None:
        assert sum(path.stat().st_size for path in files(self.folder)) <= (SEGMENTS + 0.5) * SEGMENT_BYTES
        assert sum(path.stat().st_size for path in files(self.folder, ".segment")) <= SEGMENTS * SEGMENT_BYTES


TestSpooling = Spooling.TestCase
TestSpooling.settings = settings(max_examples=120, stateful_step_count=50)
