"""The console shows what Slack would, and a log line has no power over the terminal."""

from __future__ import annotations

import io

from rich.console import Console

from consumers.receivers.console import ConsoleReceiver
from pipeline.notify.notification import Reason, Status
from tests.unit.consumers.receivers.builders import alert, notification


def on(*, terminal: bool) -> tuple[ConsoleReceiver, io.StringIO]:
    out = io.StringIO()
    return ConsoleReceiver(
        Console(file=out, force_terminal=terminal, width=100, color_system="truecolor")
    ), out


async def test_pipe_gets_plain_text_with_a_log_line_on_one_line() -> None:
    receiver, out = on(terminal=False)
    result = await receiver.send(notification(alert(texts=("x" * 300,))))
    assert result.status is Status.SENT
    lines = out.getvalue().split("\n")
    assert lines[0] == "🟠 Error burst · payments"
    assert lines[1] == "  Firing · error · 12,345 events since 09:14:03 UTC, last 09:15:05"
    assert f"  | {'x' * 300}" in lines
    assert "\x1b" not in out.getvalue()


async def test_terminal_gets_colours_and_a_bar() -> None:
    receiver, out = on(terminal=True)
    await receiver.send(notification(alert()))
    assert "\x1b[" in out.getvalue()
    assert out.getvalue().count("▌") > 5


async def test_edit_is_one_line_and_keeps_the_receipt() -> None:
    receiver, out = on(terminal=False)
    first = await receiver.send(notification(alert()))
    before = len(out.getvalue())
    over = await receiver.send(notification(alert(over=True), reason=Reason.RESOLVED, receipt=first.receipt))
    assert over.receipt == first.receipt
    [line, end] = out.getvalue()[before:].split("\n")
    assert line.startswith("↻ edited ✅ Error burst · payments  Over · error · 12,345 events")
    assert end == ""


async def test_new_alerts_are_an_edit_and_an_indented_reply() -> None:
    receiver, out = on(terminal=False)
    first = await receiver.send(notification(alert("old")))
    before = len(out.getvalue())
    await receiver.send(
        notification(
            alert("old"), alert("new"), reason=Reason.NEW_ALERTS, receipt=first.receipt, changed=("id-new",)
        )
    )
    lines = out.getvalue()[before:].split("\n")
    assert lines[0].startswith("↻ edited 🟠 Error burst · old, new")
    assert lines[1] == "    🟠 New: Error burst · new"


async def test_repeat_is_said_to_be_heard_in_the_channel() -> None:
    receiver, out = on(terminal=False)
    first = await receiver.send(notification())
    await receiver.send(notification(reason=Reason.REPEAT, receipt=first.receipt))
    assert "also sent to the channel" in out.getvalue()


async def test_no_terminal_escape_of_a_log_passes() -> None:
    hostile = "\x1b]0;owned\x07\x1b[2J\x9b31m [bold red]not markup[/] \u202eevil"
    for terminal in (False, True):
        out = io.StringIO()
        console = Console(file=out, force_terminal=terminal, width=200, no_color=True, color_system=None)
        await ConsoleReceiver(console).send(
            notification(alert(hostile, texts=(hostile,), labels={hostile: hostile}))
        )
        shown = out.getvalue()
        assert not set("\x1b\x07\x9b\u202e") & set(shown)
        assert "[bold red]not markup[/]" in shown


async def test_character_that_the_encoding_lacks_is_escaped() -> None:
    for terminal in (False, True):
        file = io.TextIOWrapper(io.BytesIO(), encoding="latin-1")
        console = Console(file=file, force_terminal=terminal, width=200)
        result = await ConsoleReceiver(console).send(notification(alert("café", texts=("naïve ☃",))))
        assert result.status is Status.SENT
        file.seek(0)
        shown = file.read()
        assert "\\U0001f7e0 Error burst · café" in shown
        assert "naïve \\u2603" in shown


async def test_closed_pipe_is_a_failure_not_a_crash() -> None:
    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    result = await ConsoleReceiver(Console(file=Gone())).send(notification())
    assert (result.status, result.detail) == (Status.FAILED, "BrokenPipeError")
