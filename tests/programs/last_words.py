"""A process that logs from everywhere while it ends."""

from __future__ import annotations

import atexit
import logging
import sys
import threading

log = logging.getLogger("service")

# Runs behind the exit handler of ours.
atexit.register(log.info, "exit handler from before")

import producers  # noqa: E402 - as said

KIND, SERVERS, TOPIC = sys.argv[1:]
producers.configure(service="s", bootstrap_servers=SERVERS, topic=TOPIC, flush_timeout_s=20)
atexit.register(log.info, "exit handler")
still_there = threading.Event()


def talk() -> None:
    still_there.set()
    while True:
        log.debug("never taken")


def go_on() -> None:
    threading.main_thread().join()
    for _ in range(50):
        log.info("main has ended")


def refuse(*_: object) -> None:
    raise RuntimeError("can't create new thread at interpreter shutdown")


def end() -> None:
    # As of Python 3.12.
    threading._start_new_thread = refuse  # type: ignore[attr-defined]  # where the module looks it up
    log.info("first record")


if KIND == "no-threads":
    atexit.register(end)
else:
    threading.Thread(target=talk, daemon=True).start()
    still_there.wait()
    threading.Thread(target=go_on).start()
