"""Trying again: what a call came to, and how long to be patient with it.

Retries are ours alone (slack_sdk's are off). A wait that the other side asks for is kept to the second and
outlives the call; otherwise waits double, with jitter, so that many workers don't come back at once.
"""

from __future__ import annotations

import asyncio
import random
import time
from typing import TYPE_CHECKING

import aiohttp
import msgspec

from pipeline.notify.notification import Receipt, Status

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

__all__ = ["Answer", "Patience", "retry_after_s"]

_FIRST_WAIT_S = 0.5
_LONGEST_WAIT_S = 30.0
_MOST_TRIES = 100
# Slack always says how long to wait; should something between us and it forget to, this is its usual.
_UNSAID_WAIT_S = 30.0
# Slack asks for seconds, or a few minutes. What asks for days has it wrong, and nobody would hear of it.
_LONGEST_ASKED_S = 3_600.0


class Answer(msgspec.Struct, frozen=True):
    """What one call came to.

    Attributes:
        status: `FAILED` means that trying again may help.
        detail: the other side's own word for it.
        wait_s: the least time before the next call, in seconds, when it was asked for.
        receipt: where the message is, when it was taken.
    """

    status: Status
    detail: str = ""
    wait_s: float | None = None
    receipt: Receipt | None = None


class Patience:
    """Makes the calls of one channel, again where that may help. It owns the time before which none may go.

    Args:
        timeout_s: limit of one call.
        give_up_s: limit of one send with all its calls and waits.
        monotonic: the clock, in seconds.
        sleep: waits so many seconds.
        jitter: a number of [0, 1) each time.
    """

    def __init__(
        self,
        *,
        timeout_s: float = 10.0,
        give_up_s: float = 120.0,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._timeout_s = timeout_s
        self._give_up_s = give_up_s
        self._monotonic = monotonic
        self._sleep = sleep
        self._jitter = jitter
        self._not_before = 0.0

    def now(self) -> float:
        """Return the time on the clock, in seconds."""
        return self._monotonic()

    def deadline(self) -> float:
        """Return when a send that starts now is given up, on the clock."""
        return self._monotonic() + self._give_up_s

    async def call(self, attempt: Callable[[], Awaitable[Answer]], deadline: float) -> Answer:
        """Make a call until it is taken, refused, or the deadline would pass.

        Args:
            attempt: makes the call once.
            deadline: from `deadline()`; several calls of one send share it.
        """
        answer = Answer(Status.FAILED, "ratelimited")
        for tries in range(_MOST_TRIES):
            now = self._monotonic()
            if self._not_before > now:
                if self._not_before > deadline:
                    return answer
                await self._sleep(self._not_before - now)
            answer = await self._once(attempt)
            if answer.status is not Status.FAILED:
                return answer
            # One that asks for no wait at all gets ours.
            if answer.wait_s:
                self._not_before = self._monotonic() + answer.wait_s
                continue
            wait_s = min(_LONGEST_WAIT_S, _FIRST_WAIT_S * 2.0**tries) * (0.5 + self._jitter() / 2)
            if self._monotonic() + wait_s > deadline:
                return answer
            await self._sleep(wait_s)
        return answer

    async def _once(self, attempt: Callable[[], Awaitable[Answer]]) -> Answer:
        try:
            async with asyncio.timeout(self._timeout_s):
                return await attempt()
        except TimeoutError:
            return Answer(Status.FAILED, "timeout")
        except (aiohttp.ClientError, OSError) as error:
            # The name only: the text of such an error may hold the address, which for a webhook is secret.
            return Answer(Status.FAILED, type(error).__name__)


def retry_after_s(headers: Mapping[str, str]) -> float:
    """Return the seconds to wait that a 429 asks for, an hour at most."""
    said = headers.get("Retry-After", "")
    # Only digits: int() alone would take "1_0" and "-5" as well.
    if not (said.isascii() and said.isdigit()):
        return _UNSAID_WAIT_S
    return min(float(said[:9]), _LONGEST_ASKED_S)
