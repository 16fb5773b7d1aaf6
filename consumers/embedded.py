"""The three stages in one process on files and standard input, without a broker.

The stages are called one after the other, with no topics between them. Positions and the state of both
stateful stages are committed together in one SQLite transaction: a restart neither repeats nor misses.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

import msgspec
import structlog

from consumers.delivery import Delivery
from pipeline.correlate.correlate import Correlate
from pipeline.detect.detect import Detect
from pipeline.event import Partition
from pipeline.notify.notify import Notify

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from consumers.delivery import Built
    from consumers.files import FileBatch, Position
    from consumers.metrics import Metrics
    from consumers.state.sqlite import Database
    from pipeline.config.read import Settings
    from pipeline.detect.detect import Source
    from pipeline.detection import Detection, Progress
    from pipeline.sigma.ruleset import RuleSet

__all__ = ["Embedded", "Input", "Summary"]

_TICK_S = 0.25
_COMMIT_MS = 1000
_DRAIN_S = 600.0
_log = structlog.get_logger("tocsin.run")


class Input(Protocol):
    """What files and standard input have in common."""

    def batches(self) -> AsyncIterator[FileBatch]:
        """Yield batches until the end, if there is one."""
        ...


class _Runtime(msgspec.Struct):
    """What the runner itself has to remember.

    Attributes:
        position: grows with each call of the correlate stage; the revision of alerts.
        generations: path → how many files have had it: offsets begin anew with each.
    """

    position: int = 0
    generations: dict[str, int] = {}


class Summary(msgspec.Struct, frozen=True):
    """What a run has done."""

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
        alerts: ids of the alerts so far, by title.
        began_ms: when the run began, milliseconds since the epoch.
        first_alert_ms: when the first alert was raised; 0 while there is none.
    """

    def __init__(
        self,
        settings: Settings,
        rules: RuleSet,
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
            rules: the rules.
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
        self._started: set[str] = set()
        self._committed_ms = clock_ms()
        self.alerts: dict[str, set[str]] = {}
        self.began_ms = clock_ms()
        self.first_alert_ms = 0
        self.detect = Detect(rules, lateness_ms=config.lateness.ms, idle_timeout_ms=config.idle_timeout.ms)
        self.correlate = Correlate(rules, resolve_timeout_ms=config.global_.resolve_timeout.ms)
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
            paths: names of all its partitions, so that none is waited for in vain.
            stop: ends the run early; what was read is finished and committed.
        """
        async with asyncio.TaskGroup() as tasks:
            outbox = tasks.create_task(self.delivery.outbox.run())
            for path in paths:
                self._begin(path, fresh=False)
            ticker = tasks.create_task(self._tick())
            ended = await self._read(source, stop)
            ticker.cancel()
            now_ms = self._clock_ms()
            if ended:
                self._take([self.detect.finish(p) for p in self._partitions.values()], now_ms)
                self.delivery.submit(self.notify.flush_all(now_ms))
            if not await self.delivery.outbox.drain(_DRAIN_S):
                _log.error("not everything could be sent in time", waiting=self.delivery.outbox.waiting)
            self._commit()
            await self.delivery.outbox.close()
            outbox.cancel()
        return self.summary()

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
            failed=self.delivery.failed,
        )

    async def _read(self, source: Input, stop: asyncio.Event) -> bool:
        """Read; return whether the end was reached."""
        batches = source.batches()
        stopped = asyncio.create_task(stop.wait())
        try:
            while True:
                coming = asyncio.ensure_future(anext(batches, None))
                await asyncio.wait({coming, stopped}, return_when=asyncio.FIRST_COMPLETED)
                if not coming.done():
                    coming.cancel()
                    await asyncio.gather(coming, return_exceptions=True)
                    return False
                read = coming.result()
                if read is None:
                    return True
                self._handle(read)
                if stop.is_set():
                    return False
                # The outbox and the ticker get their turn even where reading never waits.
                await asyncio.sleep(0)
        finally:
            stopped.cancel()

    def _handle(self, read: FileBatch) -> None:
        now_ms = self._clock_ms()
        path = read.batch.partition.topic
        if path not in self._partitions:
            self._begin(path, fresh=False)
        elif read.fresh and path in self._started:
            self._begin(path, fresh=True)
        self._started.add(path)
        partition = self._partitions[path]
        batch = msgspec.structs.replace(read.batch, partition=partition)
        self._take(self.detect.process(batch, now_ms), now_ms)
        if read.position is not None:
            self._positions[path] = read.position
        self.delivery.submit(self.notify.flush(now_ms))
        if now_ms - self._committed_ms >= _COMMIT_MS:
            self._commit()

    def _begin(self, path: str, *, fresh: bool) -> None:
        """Open a path's partition; a file that took the path's place is another one."""
        generations = self._runtime.generations
        now_ms = self._clock_ms()
        if fresh:
            old = self._partitions[path]
            self._take([self.detect.finish(old)], now_ms)
            self.detect.close(old)
            generations[path] = generations.get(path, 0) + 1
        partition = self._partitions[path] = Partition(path, generations.get(path, 0))
        opened = self.detect.open(partition, self._source_of(path), 0, now_ms)
        self._take([opened], now_ms)

    def _take(self, records: list[Detection | Progress] | list[Progress], now_ms: int) -> None:
        self._runtime.position += 1
        for alert in self.correlate.process(records, self._runtime.position):
            self.first_alert_ms = self.first_alert_ms or now_ms
            self.alerts.setdefault(alert.labels["alertname"], set()).add(alert.id)
            self.notify.receive(alert, None, now_ms)

    async def _tick(self) -> None:
        """Let time pass for what waits for it, though nothing is read."""
        while True:
            await asyncio.sleep(_TICK_S)
            now_ms = self._clock_ms()
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
