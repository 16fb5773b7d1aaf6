"""What files look like from outside: enough to see that one has changed, come or gone."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from consumers.rules.files import place_of, walk
from pipeline.config.model import PlaceholderFile

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator

    from consumers.rules.loading import RuleSources

__all__ = ["Seen", "look"]

Seen = dict[str, tuple[int, int, int, int]]
"""Path → device, inode, size and time of the last change in nanoseconds."""


def look(sources: RuleSources) -> Seen:
    """Look at all files that rules are made of; what is not there is left out.

    Args:
        sources: where the rules are.
    """
    seen: Seen = {}
    for path in sources.paths:
        place = place_of(path)
        # What can't be seen now is a change like any other: loading says what is wrong.
        try:
            if place.is_dir():
                seen.update((entry.path, _mark(entry.stat())) for entry in walk(str(place)))
            else:
                seen[str(place)] = _mark(place.stat())
        except OSError:
            seen[str(place)] = (0, 0, 0, 0)
    for path in _others(sources):
        try:
            seen[path] = _mark(Path(path).stat())
        except OSError:
            seen[path] = (0, 0, 0, 0)
    return seen


def _others(sources: RuleSources) -> Iterator[str]:
    yield from sources.python
    yield from sources.pipelines
    yield from (given.file for given in sources.placeholders.values() if isinstance(given, PlaceholderFile))


def _mark(found: os.stat_result) -> tuple[int, int, int, int]:
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns
