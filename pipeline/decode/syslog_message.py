"""Syslog: RFC 3164 as daemons really write it, RFC 5424, and rsyslog's file form with RFC 3339 times.

`service` is the program, `level` the severity of the priority where one is written. What sshd and PAM say in
their messages becomes fields, see `sshd`.
"""

from __future__ import annotations

import datetime as dt
import re

from pipeline.decode import levels, sshd, timestamps
from pipeline.errors import DecodeError
from pipeline.event import Event

__all__ = ["SyslogDecoder"]

_PRI = re.compile(r"<(0|[1-9]\d{0,2})>", re.ASCII)
_MAX_PRI = 191
_BSD = re.compile(
    r"([A-Z][a-z]{2} {1,2}\d{1,2} \d\d:\d\d:\d\d(?:\.\d{1,9})?) (?:(\S{1,255}) )?(?=\S)",
    re.ASCII,
)
_ISO = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:\d\d)) (\S{1,255}) ", re.ASCII)
# The program may be followed by a version (`syslogd 1.4.1:`) and led by two dashes (`-- root[2421]:`).
_TAG = re.compile(
    r"(?:-- )?(?P<program>[^\s:\[\]]{1,128})(?: \d[\d.]{0,15})?(?:\[(?P<pid>\d{1,10})\])?:(?: |$)", re.ASCII
)
_MODERN = re.compile(
    r"([1-9]\d?) (-|\S{1,40}) (-|\S{1,255}) (-|\S{1,255}) (-|\S{1,128}) (-|\S{1,128}) (?=-|\[)", re.ASCII
)
_ELEMENT = re.compile(r'\[([^\s=\]"]{1,255})', re.ASCII)
_PARAM = re.compile(r' ([^\s=\]"]{1,255})="((?:[^"\\\]]|\\.)*+)"', re.ASCII | re.DOTALL)
_MAX_PARAMS = 1000
_REPEATED = re.compile(r"message repeated (\d{1,9}) times?: \[ ?", re.ASCII)
_START = re.compile(
    rb"<\d{1,3}>|[A-Z][a-z]{2} {1,2}\d{1,2} \d\d:\d\d:\d\d|\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\S{1,16} \S{1,255} "
)


class SyslogDecoder:
    """Syslog messages, without the framing of their transport.

    Args:
        zone: what the times of RFC 3164, which name neither zone nor year, are in.
    """

    name = "syslog"

    def __init__(self, zone: dt.tzinfo = dt.UTC) -> None:
        self._zone = zone

    def starts(self, line: bytes) -> bool:
        """Whether the line begins with a priority or a time."""
        return _START.match(line) is not None

    def decode(self, raw: bytes, record_ms: int) -> Event:
        """Decode one message.

        Raises:
            DecodeError: it has neither a priority nor a syslog time in front.
        """
        text = raw.decode("utf-8", "replace")
        fields: dict[str, object] = {}
        position = 0
        priority = _PRI.match(text)
        if priority is not None:
            if int(priority[1]) > _MAX_PRI:
                raise DecodeError("a syslog priority is at most 191")
            position = priority.end()
            modern = _MODERN.match(text, position)
            if modern is not None:
                found = self._modern(fields, text, modern)
            else:
                found = self._bsd(fields, text, position, record_ms)
            fields["level"] = levels.of_syslog_severity(int(priority[1]) % 8)
        elif _START.match(raw) is None:
            raise DecodeError("neither a priority nor a syslog time in front")
        else:
            found = self._bsd(fields, text, 0, record_ms)
            if found is None:
                raise DecodeError("the time in front does not exist")
        time_ms, timed = timestamps.settle(found, record_ms)
        if timed:
            fields["timestamp"] = timestamps.rfc3339(time_ms)
        _enrich(fields)
        return Event(time_ms, fields, text, timed)

    def _bsd(self, fields: dict[str, object], text: str, position: int, record_ms: int) -> int | None:
        """Read RFC 3164 or rsyslog's file form; without a time all is message (RFC 3164, 4.3.3)."""
        match = _BSD.match(text, position)
        if match is not None:
            found = timestamps.syslog(match[1], self._zone, record_ms)
        else:
            match = _ISO.match(text, position)
            found = timestamps.iso(match[1], self._zone) if match else None
        if match is None or found is None:
            fields["event"] = text[position:]
            return None
        start = match.end()
        tag = _TAG.match(text, start)
        host = match[2]
        if tag is None and match.re is _ISO:
            # Any text may begin with such a time; only host and program make it syslog.
            fields["event"] = text[position:]
            return None
        if host and tag is None and (tag := _TAG.match(text, match.start(2))) is not None:
            # No host was written: what stood in its place is the program.
            host = None
        if host:
            fields["host"] = host
        if tag is not None:
            start = tag.end()
            program = tag["program"]
            # `sshd(pam_unix)`: the program is sshd.
            fields["service"] = program.partition("(")[0] or program
            fields["program"] = program
            if tag["pid"]:
                fields["pid"] = int(tag["pid"])
        fields["event"] = text[start:]
        return found

    def _modern(self, fields: dict[str, object], text: str, match: re.Match[str]) -> int | None:
        """Read RFC 5424."""
        _, moment, host, program, pid, message_id = match.groups()
        position = _structured(fields, text, match.end())
        if text[position : position + 1] == " ":
            position += 1
        fields["event"] = text[position:].removeprefix("\ufeff")
        named = {"host": host, "service": program, "program": program, "msgid": message_id}
        fields.update((name, value) for name, value in named.items() if value != "-")
        if pid != "-":
            fields["pid"] = int(pid) if pid.isascii() and pid.isdecimal() and len(pid) <= 10 else pid
        return timestamps.iso(moment, self._zone) if moment[4:5] == "-" else None


def _structured(fields: dict[str, object], text: str, position: int) -> int:
    r"""Read structured data into an object a SD-ID, and return where it ends.

    Of a value's escapes `\"` and `\\` are undone, as in JSON; `\]` stays, for the value must stand in the
    bytes. A name that repeats has a list. What is beyond the bound is left to the message.
    """
    if text[position] == "-":
        return position + 1
    count = 0
    while count < _MAX_PARAMS and (element := _ELEMENT.match(text, position)) is not None:
        count += 1
        end = element.end()
        values: dict[str, object] = {}
        while count < _MAX_PARAMS and (param := _PARAM.match(text, end)) is not None:
            count += 1
            end = param.end()
            name, value = param[1], param[2]
            if "\\" in value:
                value = value.replace('\\"', '"').replace("\\\\", "\\")
            before = values.get(name)
            if isinstance(before, list):
                before.append(value)
            else:
                values[name] = value if before is None else [before, value]
        fields[element[1]] = values
        ended = text[end : end + 1] == "]"
        if not ended and count < _MAX_PARAMS:
            raise DecodeError("structured data that doesn't end")
        position = end + ended
    return position


def _enrich(fields: dict[str, object]) -> None:
    message = fields["event"]
    if type(message) is not str:
        return
    repeated = _REPEATED.match(message)
    if repeated is not None:
        fields["repeated"] = int(repeated[1])
        message = message[repeated.end() :].removesuffix("]")
    service = fields.get("service")
    if type(service) is str and service.startswith("sshd"):
        fields.update(sshd.from_message(message))
    else:
        fields.update(sshd.from_pam(message))
