"""Slack's blocks for a message, within every limit that Slack has.

Log text stands in code blocks or in plain text objects, which Slack does not read for markup, and every
mrkdwn object is `verbatim`, so that Slack makes no links and no mentions by itself. The sum over all
blocks stays under 9,500 characters: Slack says about 13,200, but has been seen to take 9,597 and refuse
11,341 (slackapi/bolt-js issues 2509 and 2867).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from consumers.receivers.mrkdwn import clip, code_block, escape, inline_code

if TYPE_CHECKING:
    from collections.abc import Sequence

    from consumers.receivers.message import Field, Item, Message

__all__ = ["Block", "blocks_of", "fallback_of", "reply_blocks_of"]

Block = dict[str, object]

_HEADER = 150
_EVIDENCE = 2_950
_FIELD = 250
_ITEM = 120
_STATUS = 400
_FALLBACK = 1_000


def blocks_of(message: Message) -> list[Block]:
    """Return the blocks of a group's message."""
    title = clip(f"{message.icon} {message.title}", _HEADER)
    return [
        {"type": "header", "text": _plain(title)},
        _status(message),
        *_summary(message),
        *_fields(message.fields),
        *_evidence(message),
    ]


def reply_blocks_of(message: Message, heading: str) -> list[Block]:
    """Return the blocks of a reply in a group's thread.

    Args:
        message: what the reply is about.
        heading: our own words for why there is a reply.
    """
    title = f"{message.icon} *{heading}* {inline_code(message.title, 2 * _HEADER)}"
    # One alert has no items that tell about it, so its fields do.
    return [
        _section(title),
        _status(message),
        *_fields(() if message.items else message.fields),
        *_evidence(message),
    ]


def fallback_of(message: Message, heading: str = "") -> str:
    """Return the escaped text that Slack shows where it shows no blocks: on a locked phone, in search."""
    return clip(escape(f"{heading}: {message.text}" if heading else message.text), _FALLBACK)


def _evidence(message: Message) -> list[Block]:
    """Return what both kinds of message end with: alerts, log lines, ids."""
    blocks: list[Block] = []
    if message.items:
        lines = [_item(item) for item in message.items]
        if message.items_left:
            lines.append(f"… and {message.items_left:,} more")
        blocks.append(_section("\n".join(lines)))
    if message.samples:
        blocks.append(_section(code_block(message.samples, _EVIDENCE)))
    if message.footer:
        blocks.append({"type": "context", "elements": [_plain(message.footer)]})
    return blocks


def _status(message: Message) -> Block:
    state, _, rest = message.status.partition(" · ")
    return _section(clip(f"*{escape(state)}* · {escape(rest)}", _STATUS))


def _summary(message: Message) -> list[Block]:
    return [{"type": "section", "text": _plain(message.summary)}] if message.summary else []


def _fields(fields: Sequence[Field]) -> list[Block]:
    if not fields:
        return []
    return [
        {
            "type": "section",
            "fields": [_mrkdwn(f"{_name(f.name)}\n{inline_code(f.value, _FIELD)}") for f in fields],
        }
    ]


def _name(name: str) -> str:
    """Return a field's name in bold; a label's name comes from a rule, and may hold what ends bold type."""
    return inline_code(name, 60) if set(name) & set("*~`&<>") else f"*{name}*"


def _item(item: Item) -> str:
    state = "" if item.firing else " · ✅ over"
    return f"• {inline_code(item.name, _ITEM)} {escape(item.says)}{state}"


def _section(text: str) -> Block:
    return {"type": "section", "text": _mrkdwn(text)}


def _mrkdwn(text: str) -> Block:
    return {"type": "mrkdwn", "text": text, "verbatim": True}


def _plain(text: str) -> Block:
    return {"type": "plain_text", "text": text, "emoji": False}
