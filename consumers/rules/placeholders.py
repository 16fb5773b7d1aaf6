"""Placeholders' values: written in the configuration, or a line each in a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.config.model import PlaceholderFile
from pipeline.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["placeholder_values"]


def placeholder_values(
    written: Mapping[str, Sequence[str | int | float] | PlaceholderFile],
) -> dict[str, tuple[str, ...]]:
    """Return each placeholder's values.

    Args:
        written: name → the values, or the file that holds them: one a line; empty lines and those that begin
            with `#` are none.

    Raises:
        ConfigError: a file can't be read, or there is no value.
    """
    found: dict[str, tuple[str, ...]] = {}
    for name, given in written.items():
        place = f"placeholders.{name}"
        values = _lines(given.file, place) if isinstance(given, PlaceholderFile) else map(str, given)
        found[name] = tuple(dict.fromkeys(values))
        if not found[name]:
            where = f"in {given.file}" if isinstance(given, PlaceholderFile) else "here"
            raise ConfigError(
                f"there is no value {where}; a rule with a hole in it finds other things than was meant",
                path=place,
            )
    return found


def _lines(file: str, place: str) -> list[str]:
    try:
        text = Path(file).read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"not UTF-8: {error.reason} at byte {error.start}", file=file, path=place
        ) from error
    except OSError as error:
        raise ConfigError(f"{file} can't be read: {error.strerror or error}", path=place) from error
    lines = (line.strip() for line in text.splitlines())
    return [line for line in lines if line and not line.startswith("#")]
