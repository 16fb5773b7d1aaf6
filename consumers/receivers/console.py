"""The console: each message in the terminal as a person would see it in Slack.

A group's message is a panel with a bar in the colour of its severity; an edit is one line; a reply is
indented. In a pipe the same is plain text, a line of log on one line. Nothing of a log acts on the
terminal: control characters were made visible, and rich is never given text as markup.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.box import Box
from rich.console import Console, Group
from rich.padding import Padding
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from consumers.receivers.message import message_of, news_of
from pipeline.notify.notification import Notification, Reason, Receipt, Result, Status

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import RenderableType

    from consumers.receivers.message import Message

__all__ = ["ConsoleReceiver"]

_BAR = Box("▌   \n" * 8)
_CODE = Box("│   \n" * 8)
_COLOURS = {
    "critical": "red",
    "high": "dark_orange",
    "error": "dark_orange",
    "medium": "yellow",
    "warning": "yellow",
    "low": "blue",
}
_INDENT = 4


class ConsoleReceiver:
    """Shows messages on a console.

    Args:
        console: where to; standard output by default.
    """

    edits = True
    channel = "console"
    interval_s = 0.0

    def __init__(self, console: Console | None = None) -> None:
        self._console = console if console is not None else Console()
        self._posted = 0

    def __repr__(self) -> str:
        return "ConsoleReceiver()"

    async def send(self, notification: Notification) -> Result:
        """Show the group's message, or the edit of it and the reply in its thread."""
        try:
            return Result(Status.SENT, self._show(notification))
        except OSError as error:
            # The pipe's reader is gone, or the disk is full.
            return Result(Status.FAILED, detail=type(error).__name__)

    async def close(self) -> None:
        """Nothing is held open."""

    @property
    def _in_colour(self) -> bool:
        # What rich draws with are characters of Unicode.
        return self._console.is_terminal and self._console.encoding.startswith("utf")

    def _show(self, notification: Notification) -> Receipt:
        message = message_of(notification)
        root = notification.receipt
        if root is None or notification.reason is Reason.FIRST:
            self._posted += 1
            self._post(message)
            return Receipt(channel=self.channel, ts=str(self._posted))
        self._edited(message)
        if notification.reason is Reason.NEW_ALERTS:
            self._post(news_of(notification), heading="New: ", indent=_INDENT)
        elif notification.reason is Reason.REPEAT:
            self._write(Text(f"{' ' * _INDENT}↳ also sent to the channel: a reminder", style="dim"))
        return root

    def _edited(self, message: Message) -> None:
        title = (message.title, "bold")
        self._write(Text.assemble(("↻ edited ", "dim"), f"{message.icon} ", title, f"  {message.status}"))

    def _post(self, message: Message, *, heading: str = "", indent: int = 0) -> None:
        if self._in_colour:
            colour = _COLOURS.get(message.severity, "white") if message.firing else "green"
            body = Group(*_body(message, heading, colour))
            panel = Panel(body, box=_BAR, border_style=colour, padding=(0, 1))
            self._console.print(Padding(panel, (0, 0, 0, indent)))
        else:
            self._write(Text("\n".join(" " * indent + line for line in _plain(message, heading))))

    def _write(self, text: Text) -> None:
        if self._in_colour:
            self._console.print(text)
        else:
            # Past rich, which would wrap lines, and which answers a closed pipe by leaving the process.
            self._console.file.write(f"{self._encodable(text.plain)}\n")
            self._console.file.flush()

    def _encodable(self, text: str) -> str:
        """Return text with escapes for the characters that the console's encoding lacks."""
        encoding = self._console.encoding
        return text.encode(encoding, "backslashreplace").decode(encoding)


def _body(message: Message, heading: str, colour: str) -> Iterator[RenderableType]:
    """Yield the parts of a message for a terminal."""
    yield Text(f"{message.icon} {heading}{message.title}", style="bold")
    state, _, rest = message.status.partition(" · ")
    yield Text.assemble((state, f"bold {colour}"), f" · {rest}")
    if message.summary:
        yield Text(message.summary)
    # Two facts a row, as Slack sets them.
    facts = Table.grid(padding=(0, 2, 0, 0))
    cells = [cell for field in message.fields for cell in (Text(field.name, style="dim"), Text(field.value))]
    for row in range(0, len(cells), 4):
        facts.add_row(*cells[row : row + 4])
    yield facts
    for item in message.items:
        state = "" if item.firing else "  ✅ over"
        yield Text.assemble("• ", (item.name, "bold"), f"  {item.says}{state}")
    if message.items_left:
        yield Text(f"… and {message.items_left:,} more", style="dim")
    if message.samples:
        # A line at the side rather than a background, which would need to know the terminal's own.
        yield Panel(Group(*map(Text, message.samples)), box=_CODE, border_style="dim", padding=(0, 1))
    if message.footer:
        yield Text(message.footer, style="dim")


def _plain(message: Message, heading: str) -> Iterator[str]:
    """Yield the lines of a message for a pipe."""
    yield f"{message.icon} {heading}{message.title}"
    yield f"  {message.status}"
    if message.summary:
        yield f"  {message.summary}"
    yield "  " + "  ".join(f"{field.name}: {field.value}" for field in message.fields)
    for item in message.items:
        yield f"  • {item.name}  {item.says}" + ("" if item.firing else "  ✅ over")
    if message.items_left:
        yield f"  … and {message.items_left:,} more"
    for sample in message.samples:
        yield from (f"  | {line}" for line in sample.split("\n"))
    if message.footer:
        yield f"  {message.footer}"
