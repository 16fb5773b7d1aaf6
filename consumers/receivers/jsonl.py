"""JSON lines: one object a notification, for whatever reads on.

Secrets are masked here too. Control characters stay as they are, since JSON escapes them.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from typing import TYPE_CHECKING

import msgspec

from consumers.receivers.mask import mask
from pipeline.notify.notification import Result, Status

if TYPE_CHECKING:
    from pathlib import Path

    from pipeline.alert import Alert
    from pipeline.notify.notification import Notification

__all__ = ["JsonLinesReceiver", "line_of"]

_STDOUT = 1


class JsonLinesReceiver:
    """Appends to a file, or writes to standard output.

    Args:
        path: the file, made when it isn't there; None for standard output.
    """

    # Each line is a newer state of its group, so the last one has the final counts.
    edits = True
    interval_s = 0.0

    def __init__(self, path: Path | None = None) -> None:
        self._path = path

    def __repr__(self) -> str:
        return f"JsonLinesReceiver({str(self._path or '-')!r})"

    @property
    def channel(self) -> str:
        """The file, so that two receivers of one file take turns."""
        return f"jsonl:{self._path or '-'}"

    async def send(self, notification: Notification) -> Result:
        """Write one line."""
        try:
            await asyncio.to_thread(self._write, line_of(notification))
        except OSError as error:
            return Result(Status.FAILED, detail=error.strerror or type(error).__name__)
        return Result(Status.SENT, notification.receipt)

    async def close(self) -> None:
        """Nothing is held open between two lines."""

    def _write(self, line: bytes) -> None:
        if self._path is None:
            # Past the stream's buffer, which would keep a line that failed and write it with the next one.
            _write_all(_STDOUT, line)
            return
        descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            _write_all(descriptor, line)
        finally:
            os.close(descriptor)


def _write_all(descriptor: int, line: bytes) -> None:
    """Write a line whole, or as far as the other side lets us not at all."""
    written = 0
    try:
        while written < len(line):
            written += os.write(descriptor, line[written:])
    except OSError:
        if written:
            # A disk that is full takes a part; left there, it would spoil the next line. A pipe keeps it.
            with contextlib.suppress(OSError):
                os.ftruncate(descriptor, os.fstat(descriptor).st_size - written)
        raise


def line_of(notification: Notification) -> bytes:
    """Return a notification as a line of JSON with all its fields, and `severity` and `count` beside them."""
    masked = msgspec.structs.replace(
        notification,
        group_key=mask(notification.group_key),
        group_labels=_masked(notification.group_labels),
        alerts=tuple(_masked_alert(alert) for alert in notification.alerts),
    )
    document = msgspec.to_builtins(masked, order="deterministic")
    document["severity"] = notification.severity
    document["count"] = notification.count
    return msgspec.json.encode(document) + b"\n"


def _masked_alert(alert: Alert) -> Alert:
    samples = tuple(msgspec.structs.replace(sample, text=mask(sample.text)) for sample in alert.samples)
    return msgspec.structs.replace(
        alert, labels=_masked(alert.labels), annotations=_masked(alert.annotations), samples=samples
    )


def _masked(texts: dict[str, str]) -> dict[str, str]:
    return {name: mask(text) for name, text in texts.items()}
