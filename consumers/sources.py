"""Sources: what the configuration and the command line declare of them, as the detect stage takes it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pipeline.detect.source import Source
from pipeline.errors import ConfigError
from pipeline.event import LogSource

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipeline.config.model import SourceConfig

__all__ = ["declared_source", "file_sources"]


def declared_source(declared: SourceConfig) -> Source:
    """Return a source as the configuration declares it.

    Raises:
        ConfigError: its time zone does not exist.
    """
    written = declared.logsource if isinstance(declared.logsource, list) else [declared.logsource]
    logsources = tuple(LogSource(s.product, s.service, s.category) for s in written)
    try:
        zone = ZoneInfo(declared.timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ConfigError(
            f"no such time zone: {declared.timezone!r}; write it as Europe/Vienna", path="sources"
        ) from error
    return Source(declared.format, logsources, service=declared.service, zone=zone)


def file_sources(named: Sequence[str], format_: str, configured: Sequence[SourceConfig]) -> dict[str, Source]:
    """Return the files to read, absolute, and what is declared of each; none means standard input.

    Args:
        named: files on the command line, or `-` alone; without any the configured ones are read.
        format_: the format of those that are not configured.
        configured: the sources of the configuration.

    Raises:
        ConfigError: there is nothing to read.
    """
    declared = {str(path): declared_source(s) for s in configured if s.file for path in _expand(s.file)}
    if list(named) == ["-"]:
        return {}
    if named:
        return {p: declared.get(p, Source(format_)) for p in map(os.path.abspath, named)}
    if not declared and not any(s.stdin for s in configured):
        raise ConfigError("nothing to read: name files, or `-` for standard input")
    return declared


def _expand(pattern: str) -> list[Path]:
    """Return the files that a pattern names now; a name without wildcards stands for itself."""
    path = Path(os.path.abspath(pattern))  # noqa: PTH100 — `absolute` keeps `..`, and the reader does not
    parts = path.parts
    wild = next((i for i, part in enumerate(parts) if any(c in part for c in "*?[")), None)
    if wild is None:
        return [path]
    return sorted(Path(*parts[:wild]).glob(str(Path(*parts[wild:]))))
