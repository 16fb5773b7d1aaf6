"""An asyncio service that handles SIGTERM itself, as most do."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys

import producers

log = logging.getLogger("service")

SERVERS, TOPIC = sys.argv[1:]


async def fail() -> None:
    raise ValueError("stale")


async def main() -> None:
    told = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, told.set)
    for n in range(100):
        log.info("working")
        if n == 50:
            task = asyncio.create_task(fail(), name="refresh-prices")
            await asyncio.wait({task})
            del task
    signal.raise_signal(signal.SIGTERM)
    await told.wait()
    log.info("told to end")


producers.configure(service="async", bootstrap_servers=SERVERS, topic=TOPIC, flush_timeout_s=20)
asyncio.run(main())
log.info("ended")
