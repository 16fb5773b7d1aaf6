"""The Kafka sink: the buffer that log calls fill, and the thread that empties it.

The thread starts with the first record, never keeps the process alive, and is replaced in a forked
child. A log call touches the buffer alone; only when the thread sleeps is there more to it: waking it.
"""

from __future__ import annotations

import asyncio
import selectors
import threading
import time
from typing import TYPE_CHECKING

from producers.kafka.buffer import Buffer
from producers.kafka.delivery import Delivery, DeliveryLoop
from producers.process import finish_with_multiprocessing, join, say, within

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from producers.event.renderer import RenderedEvent
    from producers.kafka.delivery import KafkaTarget

__all__ = ["KafkaSink"]

_JOIN_S = 2.0


class KafkaSink:
    """Delivers events to one topic in the background."""

    def __init__(
        self,
        target: KafkaTarget,
        notice: Callable[[Mapping[str, int]], RenderedEvent],
        *,
        queue_bytes: int,
        queue_records: int,
        flush_timeout_s: float,
    ) -> None:
        """Prepare; nothing is connected before the first event.

        Args:
            target: where and how to deliver.
            notice: renders the event about what was dropped.
            queue_bytes: most bytes to hold until they are acknowledged.
            queue_records: most events to hold until they are acknowledged.
            flush_timeout_s: most seconds that `flush` and `close` wait by default.

        Raises:
            ValueError: a limit that would let nothing through.
        """
        if flush_timeout_s < 0:
            raise ValueError("flush_timeout_s can't be negative")
        self._target = target
        self._notice = notice
        self._flush_timeout_s = flush_timeout_s
        self._buffer = Buffer(queue_bytes, queue_records)
        self._lock = threading.RLock()
        self._worker: _Worker | None = None
        self._starting = False
        self._inherited: list[_Worker] = []
        self._waited_for = -1
        self._gave_up = False
        join(self)

    @property
    def dropped(self) -> dict[str, int]:
        """Events lost so far, by level."""
        return self._buffer.dropped

    @property
    def pending(self) -> int:
        """Events taken in that the broker has not acknowledged yet."""
        return self._buffer.pending

    def write(self, event: RenderedEvent) -> None:
        """Take an event in, or drop and count it when there is no room. Never waits."""
        # Without a thread nobody looks at the buffer again: whoever was to start one may have failed.
        if self._buffer.put(event) or self._worker is None:
            self._wake()

    def lose(self, level: str) -> None:
        """Count an event that was lost before it got here."""
        self._buffer.lose(level)

    def flush(self, timeout_s: float | None = None) -> bool:
        """Wait until the broker has acknowledged all that has been taken in by now.

        Args:
            timeout_s: most seconds to wait; None for the sink's own limit.

        Returns:
            Whether it has.
        """
        accepted = self._buffer.accepted
        arrived = self._buffer.wait(self._flush_timeout_s if timeout_s is None else timeout_s)
        if not arrived:
            self._waited_for = accepted
        return arrived

    def finish(self, began_s: float) -> bool:
        """Flush in limited time; give up and tell what remains.

        Args:
            began_s: since when the limit runs, as of `time.monotonic()`.

        Returns:
            Whether nothing remained.
        """
        # Nobody to wait for, or waited for in vain already: logging.shutdown flushes, then closes.
        hopeless = self._worker is None or self._buffer.accepted == self._waited_for
        deadline_s = time.monotonic() if hopeless else began_s + self._flush_timeout_s
        arrived = self.flush(max(0.0, deadline_s - time.monotonic()))
        if arrived and self._tell():
            arrived = self.flush(max(0.0, deadline_s - time.monotonic()))
        if not arrived:
            self._gave_up = True
            lost = self._buffer.discard() + sum(self._buffer.take_untold().values())
            say(
                f"{lost} log records were not delivered to Kafka at"
                f" {self._target.bootstrap_servers} within {self._flush_timeout_s:g} s"
            )
        return arrived

    def close(self) -> None:
        """Finish and end the thread; the next `write` starts another."""
        self.finish(time.monotonic())
        with self._lock:
            worker, self._worker = self._worker, None
            gave_up, self._gave_up = self._gave_up, False
        if worker is not None:
            worker.end(patient=not gave_up)

    def renew(self) -> None:
        """Start over in a forked child: empty, with a source and a thread of its own."""
        self._lock = threading.RLock()
        self._starting = False
        self._buffer.renew()
        self._waited_for = -1
        self._gave_up = False
        if self._worker is not None:
            # Kept, since taking the parent's connections apart here would write to them.
            self._inherited.append(self._worker)
            self._worker = None

    def _wake(self) -> None:
        with self._lock:
            if self._starting or (self._worker is not None and self._worker.wake()):
                return
            # Seen by a signal handler or a finalizer that logs in the midst of this.
            self._starting = True
            background, within.background = within.background, True
            try:
                self._worker = _Worker(Delivery(self._buffer, self._target, self._tell))
            except (RuntimeError, OSError):
                # No more threads, since the interpreter is ending, or no more files: the next record tries
                # again, and in the end `finish` tells.
                self._buffer.arm()
                return
            finally:
                self._starting, within.background = False, background
        finish_with_multiprocessing()

    def _tell(self) -> bool:
        """Put in a word about what was dropped since the last one; return whether there was need."""
        untold = self._buffer.take_untold()
        if untold and self._buffer.put(self._notice(untold), always=True):
            self._wake()
        return bool(untold)


class _Worker:
    """One thread with one event loop that runs one delivery."""

    def __init__(self, delivery: Delivery) -> None:
        self._delivery = delivery
        # poll() keeps no state in the kernel that a forked child shares with us, as epoll does.
        self._loop = DeliveryLoop(getattr(selectors, "PollSelector", selectors.DefaultSelector)())
        # What matters is retried or counted; the rest is the client's, about connections already lost.
        self._loop.set_exception_handler(lambda _loop, _context: None)
        self._task: asyncio.Task[None] | None = None
        self._thread = threading.Thread(target=self._run, name="tocsin-kafka", daemon=True)
        try:
            self._thread.start()
        except RuntimeError:
            self._loop.close()
            raise

    def wake(self) -> bool:
        """Wake the delivery; return False when it has finished and takes nothing any more."""
        if self._delivery.finished:
            return False
        return self._call(self._delivery.wake)

    def end(self, *, patient: bool) -> None:
        """End the thread.

        Args:
            patient: give it two seconds for what is in the buffer.
        """
        if patient:
            self._call(self._delivery.stop)
            self._thread.join(_JOIN_S)
        if self._thread.is_alive() and self._task is not None:
            self._call(self._task.cancel)
            self._thread.join(_JOIN_S)

    def _call(self, callback: Callable[[], object]) -> bool:
        try:
            self._loop.call_soon_threadsafe(callback)
        except RuntimeError:
            # The loop has closed meanwhile.
            return False
        return True

    def _run(self) -> None:
        within.background = True
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            try:
                runner.run(self._main())
            except asyncio.CancelledError:
                # By `end`: what was in hand has been given up and counted.
                return

    async def _main(self) -> None:
        self._task = asyncio.current_task()
        await self._delivery.run()
