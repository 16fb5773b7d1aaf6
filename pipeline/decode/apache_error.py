"""Apache's error log: the form of 2.2 and before, and that of 2.4 with module, process and error code."""

from __future__ import annotations

import datetime as dt
import re

from pipeline.decode import levels, timestamps
from pipeline.errors import DecodeError
from pipeline.event import Event

__all__ = ["ApacheErrorDecoder"]

_LINE = re.compile(
    r"\[([^\]]{20,40})\] \[(?:([\w-]{1,64}):)?([a-z]{3,8}\d?)\] "
    r"(?:\[pid (\d{1,10})(?::tid (\d{1,20}))?\] )?"
    r"(?:\[(?:client|remote) ([0-9A-Fa-f.:]{2,52})\] )?"
    r"(?:(AH\d{5}): )?",
    re.ASCII,
)
_START = re.compile(rb"\[[A-Z][a-z]{2} [A-Z][a-z]{2} ")


class ApacheErrorDecoder:
    """Lines of an Apache error log, which are in the server's local time.

    Args:
        zone: the server's time zone.
    """

    name = "apache_error"

    def __init__(self, zone: dt.tzinfo = dt.UTC) -> None:
        self._zone = zone

    def starts(self, line: bytes) -> bool:
        """Whether the line begins with a bracketed time."""
        return _START.match(line) is not None

    def decode(self, raw: bytes, record_ms: int) -> Event:
        """Decode one line; `event` includes the error code.

        Raises:
            DecodeError: it is no line of an Apache error log.
        """
        text = raw.decode("utf-8", "replace")
        match = _LINE.match(text)
        level = levels.canonical(match[3]) if match else None
        found = timestamps.apache(match[1], self._zone) if match else None
        if match is None or level is None or found is None:
            raise DecodeError("not a line of an Apache error log")
        _, module, _, pid, thread, peer, code = match.groups()
        time_ms, timed = timestamps.settle(found, record_ms)
        fields: dict[str, object] = {"level": level, "event": text[match.start(7) if code else match.end() :]}
        if timed:
            fields["timestamp"] = timestamps.rfc3339(time_ms)
        if module:
            fields["logger"] = module
        if pid:
            fields["pid"] = int(pid)
        if thread:
            fields["tid"] = int(thread)
        if peer:
            client, colon, port = peer.rpartition(":")
            # An IPv6 address is not bracketed; only 2.4, which names the process, adds the port to it.
            if colon and (pid or ":" not in client) and port.isdecimal():
                fields["src_port"] = int(port)
                peer = client
            fields["src_ip"] = peer
        if code:
            fields["error_code"] = code
        return Event(time_ms, fields, text, timed)
