"""Rule files: found on disk, read whole, handed to the core as one set."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.errors import ConfigError, RuleError
from pipeline.sigma.read import read
from pipeline.sigma.ruleset import RuleSet

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pipeline.sigma.form import Correlation, Rule

__all__ = ["CASES_SUFFIX", "SHIPPED", "load_rules", "rule_files", "shipped_rules"]

CASES_SUFFIX = ".cases.yml"
SHIPPED = "shipped"
_SUFFIXES = {".yml", ".yaml"}


def shipped_rules() -> Path:
    """Return the folder of the rules that ship: in the wheel, or beside the packages in a checkout."""
    here = Path(__file__).resolve().parent
    installed = here / "shipped_rules"
    return installed if installed.is_dir() else here.parent / "rules"


def rule_files(paths: Iterable[str]) -> list[Path]:
    """Return the rule files under `paths` (files, or folders searched whole), sorted, cases left out.

    Raises:
        ConfigError: a path does not exist, or a folder holds no rule.
    """
    files: list[Path] = []
    for path in paths:
        place = shipped_rules() if path == SHIPPED else Path(path)
        if place.is_file():
            found = [place]
        elif place.is_dir():
            found = sorted(f for f in place.rglob("*") if f.suffix in _SUFFIXES and f.is_file())
            found = [f for f in found if not f.name.endswith(CASES_SUFFIX)]
        else:
            raise ConfigError(f"no such file or folder: {path} (seen from {Path.cwd()})", path="rules")
        if not found:
            raise ConfigError(f"there is no rule (*.yml) in {path}", path="rules")
        files.extend(found)
    return list(dict.fromkeys(files))


def load_rules(paths: Iterable[str]) -> RuleSet:
    """Read all rules under `paths`.

    Raises:
        ConfigError: a path leads nowhere.
        RuleError: a rule can't be used; it names file, line and path within.
    """
    loaded: list[Rule | Correlation] = []
    for file in rule_files(paths):
        try:
            text = file.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise RuleError(f"not UTF-8: {error.reason} at byte {error.start}", file=str(file)) from error
        except OSError as error:
            raise RuleError(error.strerror or str(error), file=str(file)) from error
        loaded.extend(read(text, str(file)))
    return RuleSet(loaded)
