"""Log sources on the command line: `product=windows,category=process_creation`, and how one is shown."""

from __future__ import annotations

from pipeline.errors import ConfigError, nearest
from pipeline.event import LogSource

__all__ = ["parse_logsource", "shown_logsource"]

_PARTS = ("product", "service", "category")


def parse_logsource(text: str) -> LogSource:
    """Return the log source that a text names; parts that it leaves out are empty.

    Raises:
        ConfigError: it is not of the form `product=…,service=…,category=…`.
    """
    parts: dict[str, str] = {}
    for written in filter(None, (part.strip() for part in text.split(","))):
        name, equals, value = written.partition("=")
        if not equals or not value:
            raise ConfigError(f"no log source: {written!r}; write it as product=windows,service=sysmon")
        if name not in _PARTS:
            raise ConfigError(f"a log source has no {name!r}; {nearest(name, _PARTS)}")
        parts[name] = value
    return LogSource(**parts)


def shown_logsource(source: LogSource) -> str:
    """Return a log source for people; `any` where it leaves all open."""
    parts = [f"{name} {value}" for name in _PARTS if (value := getattr(source, name))]
    return ", ".join(parts) or "any"
