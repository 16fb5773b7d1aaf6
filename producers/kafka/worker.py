"""The thread of a sink: one event loop that runs one delivery, and what goes on beside it.

It never keeps the process alive. Whoever starts it waits until it runs; from then on it is only told things.
"""

from __future__ import annotations

import asyncio
import selectors
import threading
from typing import TYPE_CHECKING

from producers.kafka.loop import DeliveryLoop
from producers.process import within

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from producers.kafka.delivery import Delivery

__all__ = ["Worker", "new_loop"]

_JOIN_S = 2.0
_BESIDE_S = 1.0
_TEND_EVERY_S = 1.0


def new_loop() -> DeliveryLoop:
    """Return an event loop that a forked child can leave alone."""
    # poll() keeps no state in the kernel that a forked child shares with us, as epoll does.
    loop = DeliveryLoop(getattr(selectors, "PollSelector", selectors.DefaultSelector)())
    # What matters is retried or counted; the rest is the client's, about connections already lost.
    loop.set_exception_handler(lambda _loop, _context: None)
    return loop


class Worker:
    """One thread with one event loop that runs one delivery."""

    def __init__(
        self,
        delivery: Delivery,
        beside: Callable[[], Coroutine[None, None, None]] | None = None,
        tend: Callable[[], bool] | None = None,
    ) -> None:
        """Start the thread.

        Args:
            delivery: what to run; the thread ends with it.
            beside: goes on meanwhile.
            tend: called every second; returns whether there is something to deliver.

        Raises:
            RuntimeError: no thread can be started.
            OSError: there are too many open files.
        """
        self._delivery = delivery
        self._beside = beside
        self._tend = tend
        self._loop = new_loop()
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

    def retire(self) -> None:
        """Let the thread end when all has arrived; doesn't wait for it."""
        self._call(self._delivery.stop)

    def end(self, *, patient: bool) -> None:
        """End the thread.

        Args:
            patient: give it two seconds for what is in the buffer.
        """
        if patient:
            self.retire()
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
        beside = {asyncio.create_task(self._beside())} if self._beside is not None else set()
        if self._tend is not None:
            # Before anything is delivered: who waits for the last record waits for what this finds as well.
            self._tend()
            beside.add(asyncio.create_task(self._go_on_tending(self._tend)))
        try:
            await self._delivery.run()
        finally:
            for task in beside:
                task.cancel()
            if beside:
                await asyncio.wait(beside, timeout=_BESIDE_S)

    async def _go_on_tending(self, tend: Callable[[], bool]) -> None:
        while True:
            await asyncio.sleep(_TEND_EVERY_S)
            if tend():
                self._delivery.wake()
