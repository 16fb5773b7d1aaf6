"""Forked children that log as fast as they can until SIGTERM ends them, each at another moment."""

from __future__ import annotations

import logging
import mmap
import os
import signal
import struct
import sys
import threading
import time

import producers

log = logging.getLogger("service")

CHILDREN = 24
_COUNT = struct.Struct("q")


def main(servers: str, topic: str) -> None:
    # So small a queue is mostly full: while the signal comes, room is made and records are dropped, too.
    producers.configure(
        service="s", bootstrap_servers=servers, topic=topic, queue_records=500, flush_timeout_s=20
    )
    # The client is imported once, here.
    log.info("parent")
    counts = mmap.mmap(-1, CHILDREN * _COUNT.size)
    for n in range(CHILDREN):
        child = os.fork()
        if child == 0:
            talk(counts, n)
        while not _COUNT.unpack_from(counts, n * _COUNT.size)[0]:
            pass
        # From before its thread has started to when that is hard at work.
        time.sleep(n * n / 8_000)
        os.kill(child, signal.SIGTERM)
        _, status = os.waitpid(child, 0)
        (logged,) = _COUNT.unpack_from(counts, n * _COUNT.size)
        print(child, n % 2, os.waitstatus_to_exitcode(status), logged)  # noqa: T201 - read by the test


def talk(counts: mmap.mmap, n: int) -> None:
    if n % 2:
        threading.Thread(target=beside, daemon=True).start()
    logged = 0
    while True:
        # Counted first, so the last one may not have been logged.
        logged += 1
        _COUNT.pack_into(counts, n * _COUNT.size, logged)
        log.log(logging.WARNING if logged % 3 else logging.INFO, "main", extra={"n": logged})


def beside() -> None:
    while True:
        log.info("beside")


if __name__ == "__main__":
    main(*sys.argv[1:])
