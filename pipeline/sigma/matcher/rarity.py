"""Rarity: how seldom a text stands in log events, so that of several witnesses the rarest is looked for.

A text is as rare as it is long, but for what every event of a kind holds: names of fields, paths, URLs, and
digits, which are part of times and ids. The figures only choose; a bad choice costs time, never a match.
"""

from __future__ import annotations

from functools import cache

__all__ = ["name_worth", "worth"]

# A field's name, which other kinds of events don't hold: better than three letters, worse than four.
_NAME_WORTH = 3.5
_COMMON_WORTH = 1.0
_FREQUENT_WORTH = 4.0
# Longer texts are no rarer in practice; of them the smallest number is the cheapest.
_ENOUGH = 8.0

# Counted in application events and Windows events: what nearly each of them holds.
_EVERYWHERE = (
    *("#attributes", "accept", "account", "application", "client", "connection", "create", "environment"),
    *("error", "event", "exception", "failed", "false", "host", "info", "logger", "message", "null"),
    *("password", "record", "request", "response", "server", "service", "status", "timestamp", "true"),
    *("user-agent", "username", "version", "warning"),
    *("127.0.0.1", "192.168.", "get /", "http/1.1", "http://www.", "https://", "post /"),
    *(".com", ".dll", ".exe", ".html", ".json", ".php", ".py"),
    *("commandline", "directory", "imphash=", "integritylevel", "originalfilename", "processid", "sha256="),
    *("c:\\program files (x86)\\", "c:\\users\\administrator\\appdata\\local\\temp\\"),
    *("c:\\windows\\system32\\", "c:\\windows\\syswow64\\", "eventdata", "nt authority\\system"),
    *("microsoft corporation", "microsoft-windows-security-auditing", "microsoft-windows-sysmon/operational"),
    *("schemas.microsoft.com/win/2004/08/events/event", "system.exe", "windows operating system"),
)
# What so many of one kind hold that anything else beside it is to be preferred.
_FREQUENT = (
    "c:\\windows\\system32\\cmd.exe",
    "\\desktop\\",
    "\\downloads\\",
    "\\explorer.exe",
    "\\powershell.exe",
    "\\rundll32.exe",
    "\\services.exe",
    "\\svchost.exe",
    "c:\\windows\\system32\\windowspowershell\\v1.0\\powershell.exe",
)
_NAMES = frozenset(
    {
        *(
            "data",
            "description",
            "details",
            "error",
            "event",
            "host",
            "id",
            "level",
            "log",
            "message",
            "method",
        ),
        *("msg", "name", "path", "service", "source", "status", "text", "time", "timestamp", "type", "url"),
        *("user", "value", "version"),
    }
)


@cache
def worth(text: str) -> float:
    """Return how good a folded literal is as a witness; roughly the length of one as rare."""
    if any(text in common for common in _EVERYWHERE):
        return min(_COMMON_WORTH, len(text) / 2)
    if text.isdigit():
        # Digits are all over times and ids.
        return max(len(text) - 2.0, 0.5)
    if any(text in frequent for frequent in _FREQUENT):
        return min(_FREQUENT_WORTH, len(text))
    return min(_ENOUGH, len(text))


def name_worth(name: str) -> float:
    """Return how good the last part of a field's name is as a witness."""
    return _COMMON_WORTH if name.lower() in _NAMES else _NAME_WORTH
