"""64 threads that log at once, half of them through structlog."""

from __future__ import annotations

import logging
import sys
import threading

import structlog

import producers

log = logging.getLogger("service")

THREADS, EACH = 64, 200
producers.configure(service="s", bootstrap_servers=sys.argv[1], topic=sys.argv[2], flush_timeout_s=30)
ready = threading.Barrier(THREADS)


def talk(n: int) -> None:
    ready.wait()
    if n % 2:
        bound = structlog.get_logger()
        for k in range(EACH):
            bound.info("event", thread=n, k=k)
    else:
        for k in range(EACH):
            log.info("event", extra={"thread_": n, "k": k})


for n in range(THREADS):
    threading.Thread(target=talk, args=(n,)).start()
