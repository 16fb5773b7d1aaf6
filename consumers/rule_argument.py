"""A rule on the command line: its id, its name, its title or the beginning of one, or a file of rules."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.errors import TocsinError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pipeline.python_rule import PythonRule
    from pipeline.sigma.form import About, Rule
    from pipeline.sigma.ruleset import RuleSet

__all__ = ["choose_rules", "is_file"]

_MAX_LISTED = 8


def is_file(rule: str) -> bool:
    """Return whether an argument names a file of rules that exists."""
    try:
        return Path(rule).is_file()
    except (OSError, ValueError):
        return False


def choose_rules(rule: str, rules: RuleSet) -> list[Rule | PythonRule]:
    """Return the rules that an argument names: one, or all detections of a file.

    Args:
        rule: an id, a name, a title, the beginning of a title that no other has, or a file.
        rules: all that are loaded.

    Raises:
        TocsinError: it names none, or several.
    """
    loaded: list[Rule | PythonRule] = list(rules.rules.values())
    if is_file(rule):
        place = Path(rule).resolve()
        chosen = [r for r in loaded if Path(r.about.file).resolve() == place]
        if not chosen:
            raise TocsinError(f"there is no detection in {rule}")
        return chosen
    folded = rule.strip().casefold()
    exact = [r for r in loaded if folded in _names(r.about)]
    if exact:
        return [_only(rule, exact)]
    begun = [r for r in loaded if folded and r.about.title.casefold().startswith(folded)]
    correlations = [
        c
        for c in rules.correlations.values()
        if folded in _names(c.about) or (folded and not begun and c.about.title.casefold().startswith(folded))
    ]
    if correlations:
        counted = ", ".join(rules.targets[correlations[0].about.id].rules)
        raise TocsinError(
            f"{correlations[0].about.title!r} is a correlation, which is about more than one event; explain a"
            f" rule that it counts: {counted}"
        )
    if begun:
        return [_only(rule, begun)]
    raise TocsinError(f"no rule {rule!r}; {_hint(rule, loaded)}")


def _names(about: About) -> set[str]:
    return {about.id.casefold(), about.name.casefold(), about.title.casefold()} - {""}


def _only(rule: str, found: list[Rule | PythonRule]) -> Rule | PythonRule:
    if len(found) == 1:
        return found[0]
    listed = "".join(f"\n  {r.about.id}  {r.about.title}" for r in found[:_MAX_LISTED])
    more = f"\n  … and {len(found) - _MAX_LISTED:,} more" if len(found) > _MAX_LISTED else ""
    raise TocsinError(f"{rule!r} is the title of {len(found):,} rules; name one by its id:{listed}{more}")


def _hint(rule: str, loaded: Iterable[Rule | PythonRule]) -> str:
    names: dict[str, str] = {}
    for found in loaded:
        names |= {
            name.casefold(): name for name in (found.about.title, found.about.name, found.about.id) if name
        }
    close = difflib.get_close_matches(rule.casefold(), names, n=1, cutoff=0.5)
    if close:
        return f"did you mean {names[close[0]]!r}?"
    within = [title for folded, title in names.items() if rule.casefold() in folded]
    if within:
        return f"did you mean {within[0]!r}?"
    return "`tocsin rules -v` lists those that are loaded"
