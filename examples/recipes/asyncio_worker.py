"""A worker of asyncio: a job's id on each of its events, errors of forgotten tasks, an orderly end.

    pip install tocsin
    python asyncio_worker.py

It mails until it gets SIGTERM or Ctrl-C.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import signal
from typing import Any

import structlog

import producers

log = structlog.get_logger("shop.mail")


async def work(job: int) -> None:
    """Do one job. A task has a context of its own, so what it binds is on its events alone."""
    structlog.contextvars.bind_contextvars(job=job)
    log.info("job begun")
    try:
        await send_mail(job)
    except OSError:
        log.exception("job failed")
    else:
        log.info("job done")


async def send_mail(job: int) -> None:
    """Take a moment; every third mail fails."""
    await asyncio.sleep(0.3)
    if job % 3 == 0:
        raise ConnectionResetError(104, "Connection reset by peer")


async def warm_up() -> None:
    """Fail, and nobody waits for it."""
    raise LookupError("no cache")


def report(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Log what nobody caught. Without this asyncio's logger does, in the same way but for the name."""
    task = context.get("future")
    name = task.get_name() if isinstance(task, asyncio.Task) else None
    log.error(context["message"], exc_info=context.get("exception"), task=name)


async def main() -> None:
    """Begin ten jobs a second until told to stop; then let those finish that are begun."""
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(report)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    loop.create_task(warm_up(), name="warm-up")  # noqa: RUF006 - forgotten, to show what becomes of it
    async with asyncio.TaskGroup() as jobs:
        for job in itertools.count(1):
            jobs.create_task(work(job))
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), 0.1)
                break
        log.info("told to stop", begun=job)
    log.info("stopped")


if __name__ == "__main__":
    producers.configure(service="mailer")
    asyncio.run(main())
