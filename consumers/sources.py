"""Sources: what the configuration and the command line declare of them, as the detect stage takes it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import structlog

from pipeline.detect.source import Source
from pipeline.errors import ConfigError
from pipeline.event import Event, LogSource
from pipeline.sigma.form import Rule
from pipeline.sigma.matcher.subject import Subject

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipeline.config.model import SourceConfig
    from pipeline.detect.detect import Detect

__all__ = ["declared_source", "file_sources", "warn_of_universal"]

_log = structlog.get_logger("tocsin.rules")


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
    return Source(
        declared.format,
        logsources,
        service=declared.service,
        zone=zone,
        silence_ms=declared.silence.ms,
    )


def file_sources(
    named: Sequence[str], default: Source, configured: Sequence[SourceConfig]
) -> dict[str, Source]:
    """Return the files to read, absolute, and what is declared of each; none means standard input.

    Args:
        named: files on the command line, or `-` alone; without any the configured ones are read.
        default: what holds of those that are not configured.
        configured: the sources of the configuration.

    Raises:
        ConfigError: there is nothing to read.
    """
    declared = {str(path): declared_source(s) for s in configured if s.file for path in _expand(s.file)}
    if list(named) == ["-"]:
        return {}
    if named:
        return {p: declared.get(p, default) for p in map(os.path.abspath, named)}
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


def warn_of_universal(detect: Detect, source: Source) -> None:
    """Compile for a source; warn of rules that match whatever is no log of theirs, if it declares none.

    Such a rule says what must not be in an event, and relies on its log source for the rest.
    """
    engine = detect.engine(source)
    if source.logsources:
        return
    nothing = Subject(Event(0, {}, "", structured=True))
    for rule_id in engine.always:
        rule = detect.rules.rules[rule_id]
        if isinstance(rule, Rule) and rule.logsource != LogSource() and engine.matchers[rule_id](nothing):
            _log.warning(
                "a rule will match every event, as its source declares no log source; declare one, with"
                " `logsource` or --logsource",
                title=rule.about.title,
                file=rule.about.file,
            )
