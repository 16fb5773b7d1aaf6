"""What stands between log calls and the thread that delivers: many writers, one taker, exact accounts.

A record stays pending from the log call until it is settled, so that bounds hold for what is on its way
too. What is dropped is counted by level, and its number is used up: the worker sees the gap.
"""

from __future__ import annotations

import binascii
import os
import time
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from producers.event.renderer import RenderedEvent

__all__ = ["LEVELS", "Chunk", "Queue", "Record", "new_source"]

LEVELS = ("debug", "info", "warning", "error", "critical")
"""The levels of events, the least first."""


def new_source() -> bytes:
    """Return the name of a new source, 16 characters: the second in which it began, and 8 random bytes.

    By the second the worker knows whether it has read a source from its first record on.
    """
    began_s = time.time_ns() // 1_000_000_000
    name = binascii.b2a_base64((began_s % 2**32).to_bytes(4, "big") + os.urandom(8), newline=False)
    return name.replace(b"+", b"-").replace(b"/", b"_")


class Record(NamedTuple):
    """One event that waits.

    Attributes:
        event: the event, ready to travel.
        source: names the counter, of one queue in one process; see `new_source`.
        seq: counts the events of a source that have the same key, from 0.
        previous: the seq of the last record before it with the same source and key that was kept, -1 when
            there is none; None where nobody has kept account of it.
    """

    event: RenderedEvent
    source: bytes
    seq: int
    previous: int | None = None


class Chunk(NamedTuple):
    """Records that were taken together, in order.

    Attributes:
        records: what was taken; of one source each, or of several of the same process.
        size_bytes: what they count for.
        era: grows when the queue is given up, so that a late acknowledgement counts nothing.
    """

    records: list[Record]
    size_bytes: int
    era: int


class Queue(Protocol):
    """A bounded queue with many writers and one taker.

    Attributes:
        place: where records wait, as a person calls it.
        lasting: whether what is pending outlives the process.
    """

    place: str
    lasting: bool

    @property
    def accepted(self) -> int:
        """Records taken in so far."""
        ...

    @property
    def pending(self) -> int:
        """Records that are here and not settled yet."""
        ...

    @property
    def awaited(self) -> int:
        """Those of them that were taken in here and have not been given up."""
        ...

    @property
    def pending_bytes(self) -> int:
        """What the pending records count for."""
        ...

    @property
    def empty(self) -> bool:
        """Whether there is nothing to take."""
        ...

    @property
    def dropped(self) -> dict[str, int]:
        """Records lost so far, by level."""
        ...

    def put(self, event: RenderedEvent, *, always: bool = False) -> bool:
        """Take an event in, or count it as dropped; never raise for what happens here.

        Args:
            event: the event.
            always: take it in beyond the bounds; for the rare word about what was dropped.

        Returns:
            Whether the taker is asleep and has to be woken, now, by whoever called.
        """
        ...

    def arm(self) -> bool:
        """Announce that the taker is about to sleep: the next `put` asks for it to be woken.

        Returns:
            Whether there is nothing to take. If there is, the taker may as well stay awake.
        """
        ...

    def take(self, max_bytes: int) -> Chunk:
        """Take the oldest records; they stay pending until they are settled.

        Args:
            max_bytes: where to stop.
        """
        ...

    def settle(self, chunk: Chunk) -> None:
        """Let go of a chunk whose records have arrived, or have been counted as lost."""
        ...

    def abandon(self, chunk: Chunk) -> None:
        """Take a chunk back that nobody will deliver: its records are lost, or wait where they outlast us."""
        ...

    def lose(self, level: str, count: int = 1) -> None:
        """Count records that were lost elsewhere than for lack of room."""
        ...

    def take_untold(self) -> dict[str, int]:
        """Return what was lost since the last call, by level; empty when nothing was."""
        ...

    def wait(self, timeout_s: float, *, inherited: bool = False) -> bool:
        """Wait until all that has been taken in by now is settled, or given up.

        Args:
            timeout_s: most seconds to wait.
            inherited: wait as well for what other processes have left behind.

        Returns:
            Whether it is.
        """
        ...

    def discard(self) -> int:
        """Let nobody wait for what is pending, and return how many records are lost by that."""
        ...

    def shut(self) -> None:
        """Hold up other threads that put something in, where what is pending does not outlive the process."""
        ...

    def freeze(self) -> int:
        """Let no `put` return any more, since the process dies now.

        Returns:
            How many records are lost by that, or were since they were last told of.
        """
        ...

    def tend(self) -> bool:
        """Do what is due once a second, in the thread that delivers.

        Returns:
            Whether there is something to take.
        """
        ...

    def release(self) -> None:
        """Let go of all resources; the next `put` begins anew."""
        ...

    def renew(self) -> None:
        """Start over in a forked child: empty, with a new source and new locks."""
        ...
