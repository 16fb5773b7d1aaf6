"""What gunicorn serves: each request logs five records, `/hang` one, and then waits for ever."""

from __future__ import annotations

import atexit
import logging
import os
import threading
from typing import TYPE_CHECKING

import producers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

log = logging.getLogger("service")

producers.configure(service="web", topic=os.environ["TOPIC"], flush_timeout_s=30)
log.info("loaded")
atexit.register(log.info, "gone")


def application(environ: dict[str, object], start: Callable[..., object]) -> Iterable[bytes]:
    if environ["PATH_INFO"] == "/hang":
        log.info("hangs")
        threading.Event().wait()
    for _ in range(5):
        log.info("request")
    start("200 OK", [("Content-Length", "0")])
    return [b""]
