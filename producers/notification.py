"""Notifications: log something, and have a channel told at once.

A notification is a log record with one field more, `notify`: whatever logs that field notifies, and a shipped
rule of the worker finds it. It goes through the logging module, so every handler gets it; no logger's level
holds back what is asked for so plainly.
"""

from __future__ import annotations

import logging
import sys

from producers.event.objects import safe_text

__all__ = ["notify"]

_TAKEN = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName", "notify"}


def notify(text: str, *, channel: str, level: int | str = logging.INFO, **fields: object) -> None:
    """Log a text of the caller's module, for the worker to tell a channel at once.

    Args:
        text: what to tell; the headline of the message.
        channel: which channel, such as `#deployments`; where the worker's receiver does not list it, the
            receiver's own is told.
        level: how grave it is: a number or a name of the logging module; INFO for a name that there is not.
        fields: what else the record says. One whose name the logging module needs gets a `_` behind it.
    """
    caller = sys._getframe(1)  # noqa: SLF001 - as the logging module does
    logger = logging.getLogger(caller.f_globals.get("__name__", "root"))
    names = logging.getLevelNamesMapping()
    levelno = level if isinstance(level, int) else names.get(str(level).upper(), logging.INFO)
    record = logger.makeRecord(
        logger.name,
        levelno,
        caller.f_code.co_filename,
        caller.f_lineno,
        text,
        (),
        None,
        caller.f_code.co_name,
    )
    # First, so that it stays where an event is cut for its size.
    record.__dict__["notify"] = f"#{safe_text(channel, convert=str).removeprefix('#')}"
    for name, value in fields.items():
        record.__dict__[f"{name}_" if name in _TAKEN else name] = value
    logger.handle(record)
