"""A WSGI application that logs five events a request, for gunicorn; it counts as `service` does."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING

import producers
from tests.accounts.service import SLOTS, Counters

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_FOLDER = Path(os.environ["ACCOUNT_FOLDER"])
_EVENTS = 5
_counters = Counters(_FOLDER / "counters")
_logger = logging.Logger("account", logging.DEBUG)  # noqa: LOG001 - root's handlers are not asked
handler = producers.KafkaHandler(
    service="account",
    topic=os.environ["ACCOUNT_TOPIC"],
    flush_timeout_s=30,
    **json.loads(os.environ["ACCOUNT_OPTIONS"]),
)
_logger.addHandler(handler)
_logged: dict[int, int] = {}


def application(environ: dict[str, object], start: Callable[..., object]) -> Iterable[bytes]:
    """Log, and answer."""
    del environ
    pid = os.getpid()
    # Workers of one gunicorn are numbered close to each other.
    slot = pid % SLOTS
    for _ in range(_EVENTS):
        n = _logged.get(pid, 0)
        _logger.info("event %d", n, extra={"slot": slot, "n": n})
        _logged[pid] = n + 1
        _counters.set(slot, n + 1)
    start("204 No Content", [])
    return []
