"""Progress of reading files: a bar on a terminal, nothing in a pipe; and the summary at the end."""

from __future__ import annotations

import asyncio
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.filesize import decimal
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeElapsedColumn

from consumers.wording import some

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from consumers.embedded import Summary

__all__ = ["progress", "show_summary"]

_INTERVAL_S = 0.2


@asynccontextmanager
async def progress(
    console: Console | None,
    total: Callable[[], int | None],
    done: Callable[[], int],
    events: Callable[[], int],
    alerts: Callable[[], int],
) -> AsyncIterator[None]:
    """Show a bar while the context lasts, if there is a terminal to show it on.

    Args:
        console: the terminal that messages go to, or None if they go elsewhere: then the bar has standard
            error for itself.
        total: bytes there are, or None where nobody knows: then there is no bar.
        done: bytes read.
        events: events read.
        alerts: alerts raised.
    """
    if not sys.stderr.isatty() or total() is None:
        yield
        return
    bar = Progress(
        TextColumn("reading"),
        BarColumn(),
        DownloadColumn(),
        TextColumn("{task.fields[rate]:>9,.0f} events/s"),
        TextColumn("{task.fields[alerts]} alerts"),
        TimeElapsedColumn(),
        console=console or Console(stderr=True),
        transient=True,
    )
    with bar:
        task = bar.add_task("reading", total=total(), rate=0.0, alerts=0)

        async def refresh() -> None:
            while True:
                elapsed = max(bar.tasks[0].elapsed or 0.0, 1e-3)
                bar.update(task, total=total(), completed=done(), rate=events() / elapsed, alerts=alerts())
                await asyncio.sleep(_INTERVAL_S)

        refresher = asyncio.create_task(refresh())
        try:
            yield
        finally:
            refresher.cancel()


def show_summary(summary: Summary, seconds: float, first_alert_s: float | None) -> None:
    """Say on standard error what a run has done.

    Args:
        summary: the figures.
        seconds: how long it took.
        first_alert_s: seconds from the start to the first alert; None if there was none.
    """
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    rate = summary.events / max(seconds, 1e-3)
    console.print(
        f"\n{some(summary.events, 'event')} ({decimal(summary.bytes)})"
        f" in {seconds:.1f} s, {rate:,.0f} events/s;"
        f" {some(summary.matches, 'match', 'matches')}"
        + (f", {summary.late:,} too late for their window" if summary.late else "")
        + (f", {summary.undecodable:,} matched as raw text" if summary.undecodable else "")
    )
    total = sum(summary.alerts.values())
    if total:
        first = f", the first after {first_alert_s:.1f} s" if first_alert_s is not None else ""
        console.print(f"{some(total, 'alert')}{first}:")
        for title, n in sorted(summary.alerts.items(), key=lambda item: (-item[1], item[0])):
            console.print(f"  {n:>5}  {title}", markup=False)
    else:
        console.print("no alerts")
    failed = f", {summary.failed} failed" if summary.failed else ""
    console.print(f"{some(summary.sent, 'notification')} sent{failed}")
