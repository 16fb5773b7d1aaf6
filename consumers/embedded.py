"""The three stages in one process on files and standard input, without a broker.

The stages are called one after the other, with no topics between them. Positions and the state of both
stateful stages are committed together in one SQLite transaction: a restart neither repeats nor misses.
What a state file keeps waits for the next run; what nothing would remember is told before this one ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from typing import TYPE_CHECKING, Protocol

import msgspec
import structlog

from consumers.delivery import Delivery
from consumers.files import SourceError, named
from consumers.rules import PythonErrors
from pipeline.correlate.correlate import Correlate
from pipeline.errors import TocsinError
from pipeline.event import Partition
from pipeline.notify.notify import Notify

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from consumers.delivery import Built
    from consumers.files import FileBatch, Position
    from consumers.metrics import Metrics
    from consumers.state.sqlite import Database
    from pipeline.config.read import Settings
    from pipeline.detect.detect import Detect, Source
    from pipeline.detection import Detection, Progress

__all__ = ["Embedded", "Input", "Summary"]

_TICK_S = 0.25
_COMMIT_MS = 1000
# For what is to be sent at the end; once told to stop, with a state file (supervisors kill after 10 s: what
# is left the next run tells) and without one (nobody will).
_DRAIN_S = 600.0
_STOP_KEPT_S = 8.0
_STOP_S = 60.0
_TOLD_TWICE = 10_000
_log = structlog.get_logger("tocsin.run")


class Input(Protocol):
    """What files and standard input have in common."""

    def batches(self) -> AsyncGenerator[FileBatch, None]:
        """Yield batches until the end, if there is one."""
        ...


class _Runtime(msgspec.Struct):
    """What the runner itself has to remember.

    Attributes:
        position: grows with each call of the correlate stage; the revision of alerts.
        bases: path → bytes of its log before the file that has the path now. Offsets of a log go on through
            its files, as each event is known by its offset.
    """

    position: int = 0
    bases: dict[str, int] = {}


class _Ids:
    """Counts what was told, each id once; of the ids themselves only the newest are kept."""

    def __init__(self) -> None:
        self._count = 0
        self._newest: dict[str, None] = {}

    def __len__(self) -> int:
        return self._count

    def add(self, alert_id: str) -> None:
        if alert_id in self._newest:
            return
        self._count += 1
        self._newest[alert_id] = None
        if len(self._newest) > _TOLD_TWICE:
            del self._newest[next(iter(self._newest))]


class Summary(msgspec.Struct, frozen=True):
    """What a run has done.

    Attributes:
        failed: notifications that could not be delivered, and those that nobody will deliver any more.
    """

    events: int
    bytes: int
    matches: int
    late: int
    undecodable: int
    alerts: dict[str, int]
    sent: int
    failed: int


class Embedded:
    """One run over files or standard input.

    Attributes:
        detect: the first stage, for progress and metrics.
        alerts: how many alerts there were so far, by title: the length of each.
        began_ms: when the run began, milliseconds since the epoch.
        first_alert_ms: when the first alert was raised; 0 while there is none.
    """

    def __init__(
        self,
        settings: Settings,
        detect: Detect,
        receivers: Built,
        database: Database,
        metrics: Metrics,
        *,
        source_of: Callable[[str], Source],
        clock_ms: Callable[[], int],
    ) -> None:
        """Put the stages together and give them what the database has kept.

        Args:
            settings: the configuration and the routing tree.
            detect: the first stage, with the rules.
            receivers: as `build_receivers` made them.
            database: where state is kept.
            metrics: what to show them in.
            source_of: path → what is declared of the source.
            clock_ms: the wall clock.
        """
        config = settings.config
        self._clock_ms = clock_ms
        self._database = database
        self._source_of = source_of
        self._runtime = _Runtime()
        self._positions: dict[str, Position] = {}
        self._partitions: dict[str, Partition] = {}
        self._committed_ms = clock_ms()
        self._unsent = 0
        self._lateness_ms = config.lateness.ms
        self.alerts: dict[str, _Ids] = {}
        self.began_ms = clock_ms()
        self.first_alert_ms = 0
        self.detect = detect
        self._python_errors = PythonErrors(detect.python, clock_ms)
        self.correlate = Correlate(detect.rules, resolve_timeout_ms=config.global_.resolve_timeout.ms)
        self.delivery = Delivery(receivers, settings.receivers, clock_ms, metrics)
        self.notify = Notify(settings.route, self.delivery.integrations)
        self.delivery.shards[0] = self.notify
        self.delivery.on_recorded = self._commit
        if kept := database.load("runtime").get("runtime"):
            self._runtime = msgspec.json.decode(kept, type=_Runtime)
        self.correlate.restore(database.load("correlate"))
        self.notify.restore(database.load("notify"), clock_ms())
        metrics.watch_detect(self.detect)
        metrics.watch_correlate(lambda: (self.correlate,))
        metrics.watch_notify(lambda: (self.notify,))
        metrics.waiting = lambda: self.delivery.outbox.waiting

    async def run(self, source: Input, paths: list[str], stop: asyncio.Event) -> Summary:
        """Read to the end, or until `stop` is set; send what there is to send; return what was done.

        Args:
            source: what to read.
            paths: the files, absolute, or `-`: all that is read.
            stop: ends the run early. With a state file everything goes on with the next run; without one what
                was read is told first.

        Raises:
            SourceError: a file can't be read on; what was read of it has been dealt with as after a stop.
            StateError: state can't be kept.
        """
        try:
            async with asyncio.TaskGroup() as tasks:
                outbox = tasks.create_task(self.delivery.outbox.run())
                try:
                    await self._run(source, paths, stop, tasks)
                finally:
                    await self.delivery.outbox.close()
                    outbox.cancel()
        except BaseExceptionGroup as group:
            raise _first(group) from group
        return self.summary()

    async def _run(
        self, source: Input, paths: list[str], stop: asyncio.Event, tasks: asyncio.TaskGroup
    ) -> None:
        for path in map(_partition, paths):
            self._begin(path)
        # What an earlier run read and this one does not would hold back the time of all windows.
        self.correlate.expect([*self._partitions])
        ticker = tasks.create_task(self._tick())
        failure: SourceError | None = None
        ended = False
        try:
            ended = await self._read(source, stop)
        except SourceError as error:
            failure = error
        ticker.cancel()
        self._python_errors.tell()
        if ended or not self._database.kept:
            self._tell_all()
        drained = await self._drain(stop)
        self._commit()
        if not drained:
            waiting = self.delivery.outbox.waiting + self.delivery.outbox.in_flight
            if ended or not self._database.kept:
                self._unsent = waiting
            _log.error("not everything could be sent in time", waiting=waiting)
        if failure is not None:
            raise failure

    def _tell_all(self) -> None:
        """Tell what waits for its time, as there will be none."""
        now_ms = self._clock_ms()
        finished = [self.detect.finish(p) for p in self._partitions.values()]
        if self._database.kept:
            # The logs may go on before the next run, a little out of order as ever.
            finished = [
                msgspec.structs.replace(p, watermark_ms=max(p.watermark_ms - self._lateness_ms, 0))
                for p in finished
            ]
        self._take(finished, now_ms)
        self.delivery.submit(self.notify.flush_all(now_ms))

    async def _drain(self, stop: asyncio.Event) -> bool:
        """Wait for what is to be sent, for less long once a stop is asked for; return whether all was."""
        drained = asyncio.create_task(self.delivery.outbox.drain(_DRAIN_S))
        asked = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait({drained, asked}, return_when=asyncio.FIRST_COMPLETED)
            within_s = _STOP_KEPT_S if self._database.kept else _STOP_S
            done, _ = await asyncio.wait({drained}, timeout=within_s)
            return bool(done) and drained.result()
        finally:
            drained.cancel()
            asked.cancel()

    def summary(self) -> Summary:
        """Return what was done so far."""
        return Summary(
            events=self.detect.counts.events,
            bytes=self.detect.counts.bytes,
            matches=self.detect.counts.matches,
            late=self.correlate.counts.late,
            undecodable=self.detect.counts.undecodable,
            alerts={title: len(ids) for title, ids in self.alerts.items()},
            sent=self.delivery.sent,
            failed=self.delivery.failed + self._unsent,
        )

    async def _read(self, source: Input, stop: asyncio.Event) -> bool:
        """Read; return whether the end was reached."""
        stopped = asyncio.create_task(stop.wait())
        async with contextlib.aclosing(source.batches()) as batches:
            try:
                while not stop.is_set():
                    coming = asyncio.ensure_future(anext(batches, None))
                    try:
                        await asyncio.wait({coming, stopped}, return_when=asyncio.FIRST_COMPLETED)
                    finally:
                        if not coming.done():
                            coming.cancel()
                            await asyncio.gather(coming, return_exceptions=True)
                    if coming.cancelled():
                        return False
                    read = coming.result()
                    if read is None:
                        return True
                    self._handle(read)
                    # The outbox and the ticker get their turn even where reading never waits.
                    await asyncio.sleep(0)
            finally:
                stopped.cancel()
        return False

    def _handle(self, read: FileBatch) -> None:
        now_ms = self._clock_ms()
        path = read.batch.partition.topic
        if path not in self._partitions:
            self._begin(path)
        partition = self._partitions[path]
        read_to = self.correlate.watermarks.applied(str(partition))
        if read.fresh and read_to > self._runtime.bases.get(path, 0):
            # Another file than the one that was read before, in this run or an earlier one.
            self._runtime.bases[path] = read_to
            self._begin(path)
        batch = read.batch
        if base := self._runtime.bases.get(path, 0):
            batch = msgspec.structs.replace(batch, offsets=[base + offset for offset in batch.offsets])
        self._take(self.detect.process(batch, now_ms), now_ms)
        if read.position is not None:
            self._positions[path] = read.position
        self.delivery.submit(self.notify.flush(now_ms))
        if now_ms - self._committed_ms >= _COMMIT_MS:
            self._commit()

    def _begin(self, path: str) -> None:
        """Open a path's partition, or open it anew for another file."""
        now_ms = self._clock_ms()
        partition = self._partitions[path] = Partition(path)
        offset = self.correlate.watermarks.applied(str(partition))
        opened = self.detect.open(partition, self._source_of(path), offset, now_ms)
        self._take([opened], now_ms)

    def _take(self, records: list[Detection | Progress] | list[Progress], now_ms: int) -> None:
        self._runtime.position += 1
        for alert in self.correlate.process(records, self._runtime.position):
            self.first_alert_ms = self.first_alert_ms or now_ms
            self.alerts.setdefault(alert.labels["alertname"], _Ids()).add(alert.id)
            self.notify.receive(alert, None, now_ms)

    async def _tick(self) -> None:
        """Let time pass for what waits for it, though nothing is read."""
        while True:
            await asyncio.sleep(_TICK_S)
            now_ms = self._clock_ms()
            self._python_errors.tell()
            if idle := self.detect.tick(now_ms):
                self._take(idle, now_ms)
            self.delivery.submit(self.notify.flush(now_ms))
            if now_ms - self._committed_ms >= _COMMIT_MS:
                self._commit()

    def _commit(self) -> None:
        self._committed_ms = self._clock_ms()
        self._database.commit(
            list(self._positions.values()),
            {
                "runtime": [("runtime", msgspec.json.encode(self._runtime))],
                "correlate": self.correlate.changes(),
                "notify": self.notify.changes(),
            },
        )


def _partition(path: str) -> str:
    """Return what batches of a path are named by."""
    return path if path == "-" else named(os.path.abspath(path))  # noqa: PTH100 - `absolute` keeps `..`


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return what a person is to be told of several errors that came together."""
    told, others = group.split(TocsinError)
    error: BaseException = told or others or group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
