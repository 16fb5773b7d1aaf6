"""Delivery finds what is in the buffer, whoever forgot to wake it."""

from __future__ import annotations

import asyncio
import os

from producers.event.renderer import RenderedEvent
from producers.kafka.buffer import Buffer
from producers.kafka.delivery import Delivery, KafkaTarget


async def test_record_that_nobody_woke_the_delivery_for_is_taken() -> None:
    buffer = Buffer(1_000, 10)
    target = KafkaTarget("127.0.0.1:1", "logs", None, linger_ms=0)
    task = asyncio.create_task(Delivery(buffer, target, lambda: False).run())
    # Let it fall asleep; a log call that a signal breaks off then leaves a record and wakes nobody.
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert buffer.put(RenderedEvent(b"x", b"k", 0, "error"))
    async with asyncio.timeout(20):
        while not buffer.empty:
            await asyncio.to_thread(os.sched_yield)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert buffer.dropped == {"error": 1}
