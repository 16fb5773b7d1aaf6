"""`tocsin rules`: what is loaded, which logs it is for, and what it costs.

First what holds of all: thousands of rules must not hide that ten of them examine every event. `-v` shows
each rule. Nothing of a rule acts on the terminal.
"""

from __future__ import annotations

import sys
from collections import Counter
from typing import TYPE_CHECKING, Literal

import msgspec
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from consumers.clock import now_ms
from consumers.logsources import parse_logsource
from consumers.rules import SHIPPED, RuleCache, default_cache, load_usable
from pipeline.python_rule import PythonRule
from pipeline.sigma.explanation.describe import printable
from pipeline.sigma.form import LEVELS
from pipeline.sigma.reader.options import NO_OPTIONS
from pipeline.sigma.witness.unfiltered import why_unfiltered
from pipeline.sigma.witness.witness import witness_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pipeline.event import LogSource
    from pipeline.sigma.form import About, Rule
    from pipeline.sigma.reader.options import Options
    from pipeline.sigma.ruleset import RuleSet

__all__ = ["Listed", "Only", "list_rules"]

_MAX_ERROR = 1000

Only = Literal["all", "unfiltered", "alerting", "feeding", "correlations"]
"""Which rules to list: all; those without a witness; those that raise alerts; those that only feed others."""

Kind = Literal["detection", "correlation", "python"]

_WIDTH = 100
_MAX_SOURCES = 20
_MAX_UNFILTERED = 20


class Listed(msgspec.Struct, frozen=True):
    """One rule, as it is listed.

    Attributes:
        id: of the rule.
        title: of the rule.
        level: how grave its match is.
        status: as it says.
        kind: what it is.
        place: file and line.
        product: of its log source, as `service` and `category`; empty for a correlation.
        service: likewise.
        category: likewise.
        alerts: whether it raises alerts.
        feeds: ids of the correlations that count it.
        unfiltered: why it has no witness; empty if it has one, or needs none.
    """

    id: str
    title: str
    level: str
    status: str
    kind: Kind
    place: str
    product: str = ""
    service: str = ""
    category: str = ""
    alerts: bool = True
    feeds: tuple[str, ...] = ()
    unfiltered: str = ""


class _Listing(msgspec.Struct, frozen=True):
    """What is written as JSON."""

    kinds: dict[str, int]
    levels: dict[str, int]
    logsources: dict[str, int]
    alerting: int
    unfiltered: int
    rules: list[Listed]


def list_rules(
    paths: Sequence[str],
    *,
    options: Options = NO_OPTIONS,
    python: Sequence[str] = (),
    form: Literal["text", "json"] = "text",
    logsource: str = "",
    only: Only = "all",
    verbose: bool = False,
    console: Console | None = None,
) -> int:
    """List the rules that are loaded.

    Args:
        paths: rule files and folders; with none, what ships.
        options: how rules are read.
        python: files of rules in Python.
        form: tables for people, or one JSON object for programs.
        logsource: only rules whose log source has these parts, as `product=…,category=…`; or empty.
        only: which rules to list.
        verbose: whether to list each rule, not only sums; JSON has them always.
        console: where to; standard output by default.

    Returns:
        0; it is 1 if nothing is left to list.

    Raises:
        TocsinError: a path leads nowhere, or `logsource` is none.
    """
    loaded = load_usable(paths or [SHIPPED], options, cache=RuleCache(default_cache(), now_ms), python=python)
    for error in loaded.refused:
        sys.stderr.write(f"left out: {printable(str(error), _MAX_ERROR)}\n")
    listed = [r for r in _listed(loaded.rules) if _wanted(r, only)]
    if logsource:
        asked = parse_logsource(logsource)
        listed = [r for r in listed if r.kind != "correlation" and _agrees(r, asked)]
    out = console if console is not None else Console()
    listing = _Listing(
        kinds=_counted(r.kind for r in listed),
        levels={level: n for level in reversed(LEVELS) if (n := sum(r.level == level for r in listed))},
        logsources=_counted(_source(r) for r in listed if r.kind != "correlation"),
        alerting=sum(r.alerts for r in listed),
        unfiltered=sum(bool(r.unfiltered) for r in listed),
        rules=listed,
    )
    if form == "json":
        out.file.write(msgspec.json.encode(listing).decode() + "\n")
        out.file.flush()
    else:
        _View(out).show(listing, verbose=verbose)
    return 0 if listed else 1


# --- what there is ------------------------------------------------------------------------------------


def _listed(rules: RuleSet) -> list[Listed]:
    feeds: dict[str, list[str]] = {}
    for correlation in rules.correlations:
        for rule in rules.targets[correlation].rules:
            feeds.setdefault(rule, []).append(correlation)
    found = [
        _detection(rule, alerts=rule.about.id in rules.targets, feeds=feeds.get(rule.about.id, []))
        for rule in rules.rules.values()
    ]
    found += [_listing(c.about, "correlation", alerts=True) for c in rules.correlations.values()]
    order = list(reversed(LEVELS))
    return sorted(found, key=lambda r: (order.index(r.level), r.title.casefold(), r.id))


def _detection(rule: Rule | PythonRule, *, alerts: bool, feeds: list[str]) -> Listed:
    why = ""
    if witness_of(rule) is None:
        why = "no needles are given" if isinstance(rule, PythonRule) else why_unfiltered(rule.condition)
    source = rule.logsource
    listed = _listing(rule.about, "python" if isinstance(rule, PythonRule) else "detection", alerts=alerts)
    return msgspec.structs.replace(
        listed,
        product=printable(source.product),
        service=printable(source.service),
        category=printable(source.category),
        feeds=tuple(map(printable, feeds)),
        unfiltered=why,
    )


def _listing(about: About, kind: Kind, *, alerts: bool) -> Listed:
    return Listed(
        id=printable(about.id),
        title=printable(about.title),
        level=about.level,
        status=printable(about.status),
        kind=kind,
        place=f"{about.file}:{about.line}",
        alerts=alerts,
    )


def _wanted(rule: Listed, only: Only) -> bool:
    match only:
        case "all":
            return True
        case "unfiltered":
            return bool(rule.unfiltered)
        case "alerting":
            return rule.alerts
        case "feeding":
            return not rule.alerts
        case "correlations":
            return rule.kind == "correlation"


def _agrees(rule: Listed, asked: LogSource) -> bool:
    pairs = ((rule.product, asked.product), (rule.service, asked.service), (rule.category, asked.category))
    return all(not wanted or has.lower() == wanted.lower() for has, wanted in pairs)


def _source(rule: Listed) -> str:
    return " / ".join(part or "*" for part in (rule.product, rule.service, rule.category))


def _counted(values: Iterable[str]) -> dict[str, int]:
    return dict(Counter(values).most_common())


# --- how it is shown ----------------------------------------------------------------------------------


class _View:
    """Tables on a console; owns nothing."""

    def __init__(self, console: Console) -> None:
        self._console = console
        width = console.width if console.is_terminal else _WIDTH
        self._coloured = console.is_terminal and console.encoding.startswith("utf")
        self._width = width

    def show(self, listing: _Listing, *, verbose: bool) -> None:
        """Show the sums, then what is dear, then each rule if asked for."""
        kinds = ", ".join(f"{n:,} {_plural(kind, n)}" for kind, n in listing.kinds.items()) or "no rules"
        levels = ", ".join(f"{n:,} {level}" for level, n in listing.levels.items())
        feeding = len(listing.rules) - listing.alerting
        self._write(Text.assemble((kinds, "bold")))
        self._write(
            Text(f"{listing.alerting:,} raise alerts, {feeding:,} only feed correlations", style="dim")
        )
        self._write(Text(levels, style="dim"))
        self._sources(listing)
        self._unfiltered(listing, verbose=verbose)
        if verbose:
            self._rules(listing)

    def _sources(self, listing: _Listing) -> None:
        if not listing.logsources:
            return
        table = self._table("rules", "product / service / category")
        table.columns[0].justify = "right"
        shown = list(listing.logsources.items())
        # A last line that stands for one would take the place of it.
        cut = _MAX_SOURCES if len(shown) > _MAX_SOURCES + 1 else len(shown)
        for source, count in shown[:cut]:
            table.add_row(f"{count:,}", Text(source))
        if rest := shown[cut:]:
            table.add_row(f"{sum(n for _, n in rest):,}", Text(f"of {len(rest):,} others", style="dim"))
        self._titled("Log sources", table)

    def _unfiltered(self, listing: _Listing, *, verbose: bool) -> None:
        bare = [r for r in listing.rules if r.unfiltered]
        if not bare:
            self._write(Text("every rule has a witness: what no rule could want is never decoded"))
            return
        table = self._table("rule", "why")
        shown = bare if verbose else bare[:_MAX_UNFILTERED]
        for rule in shown:
            table.add_row(Text.assemble(rule.title, "\n", (rule.place, "dim")), Text(rule.unfiltered))
        if len(shown) < len(bare):
            table.add_row(Text(f"… and {len(bare) - len(shown):,} others; -v lists them", style="dim"), "")
        self._titled(f"{len(bare):,} without a witness: they examine every event", table)

    def _rules(self, listing: _Listing) -> None:
        table = self._table("level", "rule", "log source")
        for rule in listing.rules:
            notes: list[str] = [rule.kind] if rule.kind != "detection" else []
            notes += [rule.status] if rule.status else []
            notes += [] if rule.alerts else [f"feeds {', '.join(rule.feeds)}"]
            about = Text.assemble(rule.title, "\n", (f"{rule.id}\n{rule.place}", "dim"))
            if notes:
                about.append(f"\n{', '.join(notes)}", "dim")
            source = "" if rule.kind == "correlation" else _source(rule)
            table.add_row(Text(rule.level), about, Text(source))
        self._titled("Rules", table)

    def _table(self, *columns: str) -> Table:
        table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, header_style="dim")
        for name in columns:
            table.add_column(name, overflow="fold")
        return table

    def _titled(self, title: str, table: Table) -> None:
        self._write(Text.assemble("\n", (title, "bold")))
        console = self._console
        if self._coloured:
            console.print(table)
            return
        plain = Console(width=self._width, color_system=None, force_terminal=False, highlight=False)
        with plain.capture() as captured:
            plain.print(table)
        self._plain(captured.get())

    def _write(self, text: Text) -> None:
        if self._coloured:
            self._console.print(text, highlight=False)
        else:
            self._plain(text.plain + "\n")

    def _plain(self, text: str) -> None:
        # Past rich, which answers a closed pipe by leaving the process.
        encoding = self._console.encoding
        lines = "".join(f"{line.rstrip()}\n" for line in text.splitlines())
        self._console.file.write(lines.encode(encoding, "backslashreplace").decode(encoding))
        self._console.file.flush()


def _plural(kind: str, count: int) -> str:
    name = "rule in Python" if kind == "python" else kind
    if count == 1:
        return name
    return "rules in Python" if kind == "python" else f"{name}s"
