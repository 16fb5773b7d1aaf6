r"""Access logs: the common and the combined format of Apache and nginx.

Beside our names stand those of Sigma's web server rules (`cs-method`, `cs-uri-query`, …), which keep the `-`
of an empty value as those rules know it. A request that is no HTTP request line, as scanners send them, is
kept whole as the URL, for that is where rules look.
"""

from __future__ import annotations

import datetime as dt
import re

from pipeline.decode import timestamps
from pipeline.decode.plain_text import stands_alone
from pipeline.errors import DecodeError
from pipeline.event import Event

__all__ = ["AccessDecoder"]

_HEAD = r'(?:(\S{1,256}:\d{1,5}) )?(\S{1,256}) (\S{1,256}) ([^\[\]]{1,1024}) \[([^\]]{1,40})\] "'
_LINE = re.compile(
    _HEAD
    + r'((?:[^"\\]|\\.)*+)" (\d{3}) (\d{1,20}|-)(?: "((?:[^"\\]|\\.)*+)" "((?:[^"\\]|\\.)*+)")?(?=\s|$)',
    re.ASCII | re.DOTALL,
)
# Servers that don't escape quotes: the request ends at the last place that can be its end.
_LOOSE = re.compile(_HEAD + r'(.*)" (\d{3}) (\d{1,20}|-)()()(?=\s|$)', re.ASCII | re.DOTALL)
_METHOD = re.compile(r"[A-Z][A-Z_-]{0,31}")


class AccessDecoder:
    """Access log lines, with or without a virtual host in front.

    Args:
        zone: what times without an offset are in.
    """

    name = "access"

    def __init__(self, zone: dt.tzinfo = dt.UTC) -> None:
        self._zone = zone

    def starts(self, line: bytes) -> bool:
        """Whether the line stands alone; other programs' tracebacks may run between those of the log."""
        return stands_alone(line)

    def decode(self, raw: bytes, record_ms: int) -> Event:
        """Decode one line.

        Raises:
            DecodeError: it is no access log line.
        """
        text = raw.decode("utf-8", "replace")
        match = _LINE.match(text) or _LOOSE.match(text)
        if match is None:
            raise DecodeError("not a line of the common or combined log format")
        vhost, client, _, user, moment, request, status, size, referer, agent = match.groups()
        time_ms, timed = timestamps.settle(timestamps.access(moment, self._zone), record_ms)
        fields: dict[str, object] = {
            "event": request,
            "src_ip": client,
            "status": int(status),
            "c-ip": client,
            "cs-username": user,
            "sc-status": int(status),
        }
        if timed:
            fields["timestamp"] = timestamps.rfc3339(time_ms)
        if vhost:
            fields["cs-host"] = vhost.rpartition(":")[0]
        if user != "-":
            fields["user"] = user
        if size != "-":
            fields["bytes"] = fields["sc-bytes"] = int(size)
        _request(fields, request)
        for value, ours, sigmas in (
            (referer, "referer", "cs-referer"),
            (agent, "user_agent", "cs-user-agent"),
        ):
            if value:
                fields[sigmas] = value
                if value != "-":
                    fields[ours] = value
        return Event(time_ms, fields, text, timed)


def _request(fields: dict[str, object], request: str) -> None:
    method, _, rest = request.partition(" ")
    target, _, protocol = rest.rpartition(" ")
    if not protocol.startswith("HTTP/"):
        # HTTP/0.9, or a target cut short.
        target, protocol = rest, ""
    if not target or _METHOD.fullmatch(method) is None:
        method, target, protocol = "", request, ""
    if method:
        fields["method"] = fields["cs-method"] = method
    if protocol:
        fields["protocol"] = fields["cs-version"] = protocol
    fields["url"] = fields["cs-uri-query"] = target
    fields["cs-uri-stem"] = target.partition("?")[0]
