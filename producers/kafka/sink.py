"""The Kafka sink: the queue that log calls fill, and the thread that empties it.

The thread starts with the first record, never keeps the process alive, and is replaced in a forked
child. A log call touches the queue alone; only when the thread sleeps is there more to it: waking it.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from typing import TYPE_CHECKING

from producers.children import children
from producers.kafka.delivery import Delivery
from producers.kafka.worker import Worker, new_loop
from producers.process import configures_logging, join, say, within
from producers.signals import termination

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Coroutine, Mapping

    from producers.event.renderer import RenderedEvent
    from producers.kafka.delivery import KafkaTarget
    from producers.kafka.queue import Queue

__all__ = ["KafkaSink"]

# Nobody takes the end of what was there for less for a silence.
_SETTLED_S = 60.0


class KafkaSink:
    """Delivers events to one topic in the background."""

    def __init__(
        self,
        target: KafkaTarget,
        notice: Callable[[Mapping[str, int]], RenderedEvent],
        queue: Queue,
        *,
        flush_timeout_s: float,
        flush_on_sigterm: bool = False,
        goodbye: Callable[[], RenderedEvent] | None = None,
    ) -> None:
        """Prepare; nothing is connected before the first event.

        Args:
            target: where and how to deliver.
            notice: renders the event about what was dropped.
            queue: holds events until they are acknowledged.
            flush_timeout_s: most seconds that `flush` and `close` wait by default.
            flush_on_sigterm: whether SIGTERM, where nobody else handles it, waits likewise.
            goodbye: renders the event that says that no more will come.

        Raises:
            ValueError: a limit that can't be.
        """
        if flush_timeout_s < 0:
            raise ValueError("flush_timeout_s can't be negative")
        self._target = target
        self._notice = notice
        self._goodbye = goodbye
        self._began_s = time.monotonic()
        self._parted_at = 0
        self._flush_timeout_s = flush_timeout_s
        self._flush_on_sigterm = flush_on_sigterm
        self._buffer = queue
        # Never held when the queue's lock is taken: a finalizer that logs while that is held, takes this one.
        self._lock = threading.RLock()
        self._telling = threading.RLock()
        self._worker: Worker | None = None
        self._starting = False
        self._inherited: list[Worker] = []
        self._waited_for = -1
        self._gave_up = False
        self._too_late = False
        self._beside: Callable[[], Coroutine[None, None, None]] | None = None
        join(self)
        if flush_on_sigterm:
            termination.arm()

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

    def begin(self) -> None:
        """Start the thread though there is no event yet."""
        # Behind the exit handlers nothing is lost that was only kept.
        if self._worker is None and not sys.is_finalizing():
            self._wake()

    def listen(self, topic: str, answer: Callable[[str, Collection[str] | None], int]) -> None:
        """Let the thread, once it runs, listen to requests as well.

        Args:
            topic: the topic that they come over.
            answer: sends what is kept of a service, and of some traces or of all; says how many records.
        """
        from producers.kafka.control import ControlListener  # noqa: PLC0415 - only who listens pays for it

        self._beside = ControlListener(self._target, topic, answer).run

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
        limit_s = self._flush_timeout_s if timeout_s is None else timeout_s
        # At its end a process waits once in vain, and not again for what is logged later still.
        deadline_s = time.monotonic() + (0 if self._gave_up else limit_s)
        accepted = self._buffer.accepted
        if self._worker is None and self._buffer.awaited:
            self._wake()
            self._deliver_here(deadline_s)
        arrived = self._buffer.wait(max(0.0, deadline_s - time.monotonic()))
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
        if self._buffer.awaited:
            # The log call that was to do it may have been broken off, by the very signal that ends us.
            self._wake()
        # Waited for in vain already: logging.shutdown flushes, then closes.
        hopeless = self._buffer.accepted == self._waited_for
        deadline_s = time.monotonic() if hopeless else began_s + self._flush_timeout_s
        arrived = self.flush(max(0.0, deadline_s - time.monotonic()))
        if arrived:
            inherited = self._buffer.wait(max(0.0, deadline_s - time.monotonic()), inherited=True)
            # Or else the thread has: then its word is on the way.
            self._tell()
            self._say_goodbye()
            arrived = self.flush(max(0.0, deadline_s - time.monotonic())) and inherited
        if arrived:
            self._buffer.release()
        else:
            self._give_up()
        return arrived

    def cease(self, began_s: float) -> None:
        """Hold other threads up, bring what they have logged meanwhile, and say how much is lost."""
        self._buffer.shut()
        if not self._gave_up:
            self.flush(max(0.0, began_s + self._flush_timeout_s - time.monotonic()))
        if lost := self._buffer.freeze():
            say(f"{lost} log records came while the process was ending, and were not delivered")

    def _say_goodbye(self) -> None:
        """Say that no more will come, so that the worker does not take it for a silence."""
        # Not after nothing, nor after nothing more than the last time.
        if self._goodbye is None or self._worker is None or self._buffer.accepted == self._parted_at:
            return
        if time.monotonic() - self._began_s < _SETTLED_S:
            return
        if self._buffer.put(self._goodbye(), always=True):
            self._wake()
        self._parted_at = self._buffer.accepted

    def _give_up(self) -> None:
        self._gave_up = True
        if self._buffer.lasting:
            # The word about what was dropped lasts, too.
            self._tell()
            lost = self._buffer.discard()
        else:
            lost = self._buffer.discard() + sum(self._buffer.take_untold().values())
        if lost:
            say(
                f"{lost} log records were not delivered to Kafka at"
                f" {self._target.bootstrap_servers} within {self._flush_timeout_s:g} s"
            )
        if waiting := self._buffer.pending:
            say(f"{waiting} log records wait in {self._buffer.place} for the next start")

    def close(self) -> None:
        """Finish and end the thread; the next `write` starts another.

        Within `logging.config.dictConfig` nothing is waited for: what is there is delivered behind its back.
        """
        if configures_logging():
            if self._buffer.awaited:
                self._wake()
            if (retiring := self._worker) is not None:
                retiring.retire()
            return
        self.finish(time.monotonic())
        with self._lock:
            worker, self._worker = self._worker, None
            gave_up, self._gave_up = self._gave_up, False
        if worker is not None:
            worker.end(patient=not gave_up)
        self._buffer.release()

    def renew(self) -> None:
        """Start over in a forked child: empty, with a source and a thread of its own."""
        self._lock = threading.RLock()
        self._telling = threading.RLock()
        self._starting = False
        self._buffer.renew()
        self._began_s = time.monotonic()
        self._parted_at = 0
        self._waited_for = -1
        self._gave_up = False
        if self._worker is not None:
            # Kept, since taking the parent's connections apart here would write to them.
            self._inherited.append(self._worker)
            self._worker = None

    def _wake(self) -> None:
        self._undisturbed(self._wake_or_start)

    def _undisturbed(self, step: Callable[[], bool]) -> bool:
        """Take a step that the thread waits for: SIGTERM, which waits for the thread, comes after."""
        waking, within.waking = within.waking, True
        try:
            return step()
        finally:
            within.waking = waking
            termination.go_on()

    def _wake_or_start(self) -> bool:
        if sys.is_finalizing():
            # Finalizers come behind the exit handlers; no thread runs there.
            if not (self._too_late or self._buffer.lasting):
                self._too_late = True
                say("log records that come behind the interpreter's exit handlers are not delivered")
            return False
        with self._lock:
            if self._starting or (self._worker is not None and self._worker.wake()):
                return True
            # Seen by a signal handler or a finalizer that logs in the midst of this.
            self._starting = True
            background, within.background = within.background, True
            try:
                self._worker = Worker(
                    Delivery(self._buffer, self._target, self._tell),
                    self._beside,
                    self._buffer.tend if self._buffer.lasting else None,
                )
                started = True
            except (RuntimeError, OSError):
                # No more threads, since the interpreter is ending, or no more files: the next record tries
                # again, and in the end `finish` tells.
                started = False
            finally:
                self._starting, within.background = False, background
        if not started:
            self._buffer.arm()
            return False
        children.watch()
        if self._flush_on_sigterm:
            # Again, since it may have been given back meanwhile: by an event loop that closed, or in a child.
            termination.arm()
        return True

    def _deliver_here(self, deadline_s: float) -> None:
        """Deliver in this thread, if no other could be started: newer Pythons start none at their end."""
        with self._lock:
            if self._starting or self._worker is not None:
                return
            self._starting = True
        background, within.background = within.background, True
        try:
            with asyncio.Runner(loop_factory=new_loop) as runner:
                delivery = Delivery(self._buffer, self._target, self._tell)
                delivery.stop()
                if asyncio._get_running_loop() is None:  # noqa: SLF001 - the public one raises
                    runner.run(asyncio.wait_for(delivery.run(), deadline_s - time.monotonic()))
        except (OSError, RuntimeError):
            # Too many open files still; or TimeoutError, which is an OSError. Who called counts what remains.
            return
        finally:
            self._starting, within.background = False, background

    def _tell(self) -> bool:
        """Put in a word about what was dropped since the last one; return whether there was need."""
        return self._undisturbed(self._put_notice)

    def _put_notice(self) -> bool:
        # What one has taken to tell of, another must not find untold and not on the way either.
        with self._telling:
            untold = self._buffer.take_untold()
            if untold and self._buffer.put(self._notice(untold), always=True):
                self._wake_or_start()
            return bool(untold)
