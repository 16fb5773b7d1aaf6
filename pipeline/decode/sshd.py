"""What sshd and PAM say in their messages, as fields: who, from where, with what outcome.

Fields: `user`, `src_ip` (or `src_host`, where a name was logged; `src_address` is whichever it was),
`src_port`, `auth_method`, `outcome` (`success`, `failure`). A user name is what an attacker typed: it may
hold spaces and look like the rest of the message, so each pattern takes the last address on the line, the one
sshd added. Every repeat is bounded, and each pattern is tried at one place only.
"""

from __future__ import annotations

import re
from typing import NamedTuple

__all__ = ["from_message", "from_pam"]

_SUCCESS = "success"
_FAILURE = "failure"

# sshd cuts its messages at 1,024 bytes before PAM and syslog add theirs.
_USER = r"(?P<user>.{0,2048})"
_ADDRESS = r"(?P<address>\S{1,256})"
_PORT = r"(?: port (?P<port>\d{1,5})(?!\w))?"
_KIND = r"(?:(?:invalid|illegal) user )?"
# Where a name stands before the address, only the port says where it ends.
_NAMED = rf"(?:(?:invalid|authenticating) )?user {_USER} {_ADDRESS} port (?P<port>\d{{1,5}})"
_END = r"(?: \[preauth\])?$"
_IP = re.compile(r"\d{1,3}(?:\.\d{1,3}){3}|(?=[^:]{0,4}:)[0-9A-Fa-f:.]{2,45}(?:%\w{1,16})?", re.ASCII)


class _Saying(NamedTuple):
    """A kind of message: its pattern, and what it says of the attempt."""

    pattern: re.Pattern[str]
    outcome: str = ""


def _saying(pattern: str, outcome: str = "") -> _Saying:
    return _Saying(re.compile(pattern, re.ASCII), outcome)


# First word of the message → what it may be. `error: ` and `fatal: ` in front are taken off.
_SSHD: dict[str, tuple[_Saying, ...]] = {
    "Failed": (
        _saying(
            rf"Failed (?P<method>\S{{1,64}}) for {_KIND}{_USER} from {_ADDRESS}{_PORT}(?: ssh2?)?"
            rf"(?:: |{_END})",
            _FAILURE,
        ),
    ),
    "Accepted": (
        _saying(
            rf"Accepted (?P<method>\S{{1,64}}) for {_USER} from {_ADDRESS}{_PORT}(?: ssh2?)?(?:: |$)",
            _SUCCESS,
        ),
    ),
    "Postponed": (_saying(rf"Postponed (?P<method>\S{{1,64}}) for {_KIND}{_USER} from {_ADDRESS}{_PORT}"),),
    "Invalid": (_saying(rf"Invalid user {_USER} from {_ADDRESS}{_PORT} ?{_END}", _FAILURE),),
    "Illegal": (_saying(rf"Illegal user {_USER} from {_ADDRESS}{_PORT} ?{_END}", _FAILURE),),
    "User": (_saying(rf"User {_USER} from {_ADDRESS} not allowed because ", _FAILURE),),
    "maximum": (
        _saying(
            r"maximum authentication attempts exceeded for "
            rf"{_KIND}{_USER} from {_ADDRESS}{_PORT}(?: ssh2?)?{_END}",
            _FAILURE,
        ),
    ),
    "input_userauth_request:": (
        _saying(rf"input_userauth_request: (?:invalid|illegal) user (?P<user>.{{0,2048}}?){_END}"),
    ),
    "Connection": (
        _saying(rf"Connection (?:closed|reset) by {_NAMED}{_END}"),
        _saying(rf"Connection (?:closed|reset) by {_ADDRESS}{_PORT}{_END}"),
        _saying(rf"Connection from {_ADDRESS}{_PORT}"),
    ),
    "Disconnected": (
        _saying(rf"Disconnected from {_NAMED}{_END}"),
        _saying(rf"Disconnected from {_ADDRESS}{_PORT}{_END}"),
    ),
    "Disconnecting:": (
        _saying(
            rf"Disconnecting: Too many authentication failures for (?P<user>.{{0,2048}}?){_END}", _FAILURE
        ),
    ),
    "Disconnecting": (
        _saying(rf"Disconnecting {_NAMED}: "),
        _saying(rf"Disconnecting {_ADDRESS} port (?P<port>\d{{1,5}}): "),
    ),
    "Received": (_saying(rf"Received disconnect from {_ADDRESS}(?: port (?P<port>\d{{1,5}}))?: ?\d"),),
    "Did": (_saying(rf"Did not receive identification string from {_ADDRESS}{_PORT}"),),
    "Bad": (_saying(rf"Bad protocol version identification .{{0,2048}} from {_ADDRESS}{_PORT}$"),),
    "Unable": (_saying(rf"Unable to negotiate with {_ADDRESS}{_PORT}: "),),
    "reverse": (
        _saying(
            r"reverse mapping checking getaddrinfo for (?P<host>\S{1,256}) \[(?P<address>[^\]\s]{1,64})\]"
        ),
    ),
    "Address": (_saying(rf"Address {_ADDRESS} maps to (?P<host>\S{{1,256}}), but this does not map back"),),
    "ROOT": (_saying(rf"ROOT LOGIN REFUSED FROM {_ADDRESS}{_PORT}", _FAILURE),),
}

_PAM_PREFIX = re.compile(r"pam_\w{1,32}\(\S{1,128}\): |PAM (?:\d{1,6} more )?", re.ASCII)
# `ruser` is the client's to choose and must not bring a `rhost` of its own: the last one counts.
_PAM: dict[str, tuple[_Saying, ...]] = {
    "authentication": (
        _saying(
            r"authentication failures?; logname=\S{0,256} uid=\S{0,32} euid=\S{0,32} tty=\S{0,256} "
            r"ruser=.{0,2048} rhost=(?P<address>\S{0,256})(?: {1,4}user=(?P<user>.{0,2048}?))? ?$",
            _FAILURE,
        ),
    ),
    "session": (
        _saying(r"session opened for user (?P<user>.{0,2048}?)(?:\(uid=\d{1,10}\))? by "),
        _saying(r"session closed for user (?P<user>.{0,2048}?) ?$"),
    ),
}


def from_message(message: str) -> dict[str, object]:
    """Return what a message of sshd says, PAM's within it included; empty when that is nothing known."""
    head = message.removeprefix("error: ").removeprefix("fatal: ")
    return _read(_SSHD, head) or from_pam(message)


def from_pam(message: str) -> dict[str, object]:
    """Return what a message of PAM says, whichever program wrote it."""
    prefix = _PAM_PREFIX.match(message)
    return _read(_PAM, message[prefix.end() :] if prefix else message)


def _read(sayings: dict[str, tuple[_Saying, ...]], message: str) -> dict[str, object]:
    for saying in sayings.get(message[:32].partition(" ")[0], ()):
        match = saying.pattern.match(message)
        if match is not None:
            return _fields(match.groupdict(), saying.outcome)
    return {}


def _fields(parts: dict[str, str | None], outcome: str) -> dict[str, object]:
    fields: dict[str, object] = {}
    if user := parts.get("user"):
        fields["user"] = user
    if method := parts.get("method"):
        fields["auth_method"] = method
    if address := parts.get("address"):
        fields["src_address"] = address
        fields["src_ip" if _IP.fullmatch(address) else "src_host"] = address
    if host := parts.get("host"):
        fields["src_host"] = host
    if port := parts.get("port"):
        fields["src_port"] = int(port)
    if outcome:
        fields["outcome"] = outcome
    return fields
