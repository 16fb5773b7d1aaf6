"""Rule files, found on disk: by name, or in folders that are searched whole."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.errors import ConfigError, RuleError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["CASES_SUFFIX", "SHIPPED", "place_of", "read_text", "rule_files", "shipped_rules", "walk"]

CASES_SUFFIX = ".cases.yml"
SHIPPED = "shipped"
_SUFFIXES = (".yml", ".yaml")


def shipped_rules() -> Path:
    """Return the folder of the rules that ship: in the wheel, or beside the packages in a checkout."""
    consumers = Path(__file__).resolve().parents[1]
    installed = consumers / "shipped_rules"
    return installed if installed.is_dir() else consumers.parent / "rules"


def place_of(path: str) -> Path:
    """Return the file or folder that a path in the configuration means."""
    return shipped_rules() if path == SHIPPED else Path(path)


def rule_files(paths: Iterable[str]) -> list[Path]:
    """Return the rule files under `paths` (files, or folders searched whole), sorted, cases left out.

    What is in a folder whose name begins with a dot, or has such a name itself, is left out: a repository's
    own affairs, an editor's drafts, the older versions beside what Kubernetes mounts.

    Raises:
        ConfigError: a path does not exist, or a folder holds no rule.
    """
    files: list[Path] = []
    for path in paths:
        place = place_of(path)
        if place.suffix == ".py":
            raise ConfigError(f"{path} is no Sigma; name rules in Python under `python_rules`", path="rules")
        if place.is_file():
            found = [place]
        elif place.is_dir():
            try:
                found = sorted(Path(entry.path) for entry in walk(str(place)))
            except OSError as error:
                raise ConfigError(
                    f"{error.filename} can't be read: {error.strerror}", path="rules"
                ) from error
        else:
            raise ConfigError(f"no such file or folder: {path} (seen from {Path.cwd()})", path="rules")
        if not found:
            raise ConfigError(f"there is no rule (*.yml) in {path}", path="rules")
        files.extend(found)
    return list(dict.fromkeys(files))


def walk(folder: str) -> Iterator[os.DirEntry[str]]:
    """Yield the rule files in a folder and the folders in it; links to folders are not followed.

    Raises:
        OSError: a folder can't be read.
    """
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if entry.is_dir(follow_symlinks=False):
                yield from walk(entry.path)
            elif entry.name.endswith(_SUFFIXES) and not entry.name.endswith(CASES_SUFFIX) and entry.is_file():
                yield entry


def read_text(file: Path) -> str:
    """Return a rule file's text.

    Raises:
        RuleError: it can't be read, or is not UTF-8.
    """
    try:
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise RuleError(f"not UTF-8: {error.reason} at byte {error.start}", file=str(file)) from error
    except OSError as error:
        raise RuleError(error.strerror or str(error), file=str(file)) from error
