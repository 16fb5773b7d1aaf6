"""The outbox: what waits to be sent, channel by channel, gravest first.

An intent says only that a group has news; what exactly is asked (`compose`) when its turn comes. So whatever
happens while it waits is merged into one message, and nothing is dropped: at most one intent waits for each
group and integration. A channel that has to be patient holds up itself and no other.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from consumers.receivers.receiver import Receiver
    from pipeline.notify.notification import Intent, Notification, Result

__all__ = ["Outbox"]

_Key = tuple[str, int, str]


class Outbox:
    """Owns delivery: the queue and the task of every channel, and in the end the receivers.

    Args:
        receivers: by name and position of the integration.
        compose: returns the newest state of what an intent is about, or None when there is nothing to say.
        record: takes what came of a send; it sees to refused ones, and the next flush to failed ones.
        monotonic: the clock, in seconds.
        sleep: waits so many seconds.
    """

    def __init__(
        self,
        receivers: Mapping[tuple[str, int], Receiver],
        compose: Callable[[Intent], Notification | None],
        record: Callable[[Notification, Result], None],
        *,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._receivers = dict(receivers)
        self._compose = compose
        self._record = record
        self._monotonic = monotonic
        self._sleep = sleep
        self._channels = {receiver.channel: _Channel() for receiver in self._receivers.values()}
        self._tasks: list[asyncio.Task[None]] = []
        self._stopped = asyncio.Event()
        self._stopped.set()
        self._idle = asyncio.Event()
        self._idle.set()
        self._closed = False
        self.merged = 0
        """Intents that joined one that was waiting already."""

    @property
    def waiting(self) -> int:
        """Intents that wait for their turn, over all channels."""
        return sum(len(channel.waiting) for channel in self._channels.values())

    @property
    def in_flight(self) -> int:
        """Sends that are under way."""
        return sum(channel.sending for channel in self._channels.values())

    def submit(self, intent: Intent) -> None:
        """Let an intent wait for its turn; one that waits already takes the graver rank of the two.

        Raises:
            KeyError: no such receiver or integration.
            RuntimeError: the outbox is closed.
        """
        if self._closed:
            raise RuntimeError("the outbox is closed")
        receiver = self._receivers[intent.receiver, intent.integration]
        if self._channels[receiver.channel].put(intent):
            self._idle.clear()
        else:
            self.merged += 1

    async def run(self) -> None:
        """Deliver until closed or cancelled."""
        if self._closed:
            return
        self._stopped.clear()
        try:
            async with asyncio.TaskGroup() as group:
                self._tasks = [
                    group.create_task(self._serve(channel), name=f"outbox {name}")
                    for name, channel in self._channels.items()
                ]
        finally:
            self._stopped.set()

    async def drain(self, timeout_s: float) -> bool:
        """Wait until nothing waits and nothing is in flight.

        Args:
            timeout_s: how long at most, in seconds.

        Returns:
            Whether everything was delivered, or at least tried.
        """
        try:
            async with asyncio.timeout(timeout_s):
                await self._idle.wait()
        except TimeoutError:
            return False
        return True

    async def close(self) -> None:
        """Stop, sends in flight included (`drain` before this is the calm way), and close the receivers."""
        self._closed = True
        for task in self._tasks:
            task.cancel()
        await self._stopped.wait()
        for receiver in self._receivers.values():
            await receiver.close()

    async def _serve(self, channel: _Channel) -> None:
        """Send what waits on one channel, one after the other, for ever."""
        while True:
            await channel.filled.wait()
            # First the pause, then the choice: what is grave and came meanwhile goes first.
            if (pause_s := channel.free_at - self._monotonic()) > 0:
                await self._sleep(pause_s)
            intent = channel.take()
            receiver = self._receivers[intent.receiver, intent.integration]
            channel.sending = True
            try:
                notification = self._compose(intent)
                if notification is not None:
                    result = await receiver.send(notification)
                    # From the end of a send: two that arrive too close count as too many at the other side.
                    channel.free_at = self._monotonic() + receiver.interval_s
                    self._record(notification, result)
            finally:
                channel.sending = False
            if not self.waiting and not self.in_flight:
                self._idle.set()
            # A receiver that never waits must not keep the loop to itself.
            await asyncio.sleep(0)


class _Channel:
    """What waits on one channel, and when it may send again."""

    def __init__(self) -> None:
        self.waiting: dict[_Key, tuple[int, int, Intent]] = {}
        self.filled = asyncio.Event()
        self.free_at = 0.0
        self.sending = False
        self._order: list[tuple[int, int, _Key]] = []
        self._count = itertools.count()

    def put(self, intent: Intent) -> bool:
        """Add an intent, and return whether it is new rather than merged."""
        key = (intent.receiver, intent.integration, intent.group_key)
        there = self.waiting.get(key)
        if there is not None and there[0] <= intent.rank:
            return False
        # One that became graver keeps its place in time; its old entry is stale, and skipped in `take`.
        entry = (intent.rank, there[1] if there is not None else next(self._count), intent)
        self.waiting[key] = entry
        heapq.heappush(self._order, (entry[0], entry[1], key))
        self.filled.set()
        return there is None

    def take(self) -> Intent:
        """Remove and return the intent of the lowest rank, the oldest of these."""
        while True:
            rank, number, key = heapq.heappop(self._order)
            entry = self.waiting.get(key)
            if entry is not None and entry[:2] == (rank, number):
                break
        del self.waiting[key]
        if not self.waiting:
            self._order.clear()
            self.filled.clear()
        return entry[2]
