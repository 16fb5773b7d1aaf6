"""What Slack's documentation says about blocks: the limits, and what a reader of them would see.

(docs.slack.dev, "Block Kit" and "Formatting message text".) Lengths are counted in UTF-16 units.
"""

from __future__ import annotations

import html
import re
from typing import Any

__all__ = ["BLOCK_TEXT_LIMIT", "block_text_length", "mentions", "problem", "rendered"]

BLOCK_TEXT_LIMIT = 13_200
_BLOCKS = 50
_CALLS = re.compile(r"<(!(?:channel|here|everyone|subteam\^\w+)|@[UW]\w+)(?:\|[^>]*)?>")
_NAMES = re.compile(r"(?<!\w)@(?:channel|here|everyone)\b")
_LINK = re.compile(r"<(https?://[^|>]+)(?:\|([^>]*))?>")


def _width(text: str) -> int:
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def problem(blocks: Any) -> str | None:
    """Return what is wrong with a message's blocks, or None."""
    if not isinstance(blocks, list):
        return "must be an array [json-pointer:/blocks]"
    if len(blocks) > _BLOCKS:
        return "no more than 50 items allowed [json-pointer:/blocks]"
    for number, block in enumerate(blocks):
        at = f"/blocks/{number}"
        if not isinstance(block, dict) or block.get("type") not in _CHECKS:
            return f"unsupported type [json-pointer:{at}/type]"
        if _width(str(block.get("block_id", ""))) > 255:
            return f"must be less than 256 characters [json-pointer:{at}/block_id]"
        if wrong := _CHECKS[block["type"]](block, at):
            return wrong
    return None


def _text(found: Any, at: str, limit: int, *, plain_only: bool = False) -> str | None:
    if not isinstance(found, dict):
        return f"missing required field: text [json-pointer:{at}]"
    kinds = {"plain_text"} if plain_only else {"plain_text", "mrkdwn"}
    if found.get("type") not in kinds:
        return f"unsupported type: {found.get('type')} [json-pointer:{at}/type]"
    allowed = {"type", "text", "emoji"} if found["type"] == "plain_text" else {"type", "text", "verbatim"}
    if extra := set(found) - allowed:
        return f"no more properties allowed: {min(extra)} [json-pointer:{at}]"
    text = found.get("text")
    if not isinstance(text, str) or not text:
        return f"must be more than 0 characters [json-pointer:{at}/text]"
    if _width(text) > limit:
        return f"must be less than {limit + 1} characters [json-pointer:{at}/text]"
    return None


def _divider(block: dict[str, Any], at: str) -> str | None:
    return None


def _header(block: dict[str, Any], at: str) -> str | None:
    return _text(block.get("text"), f"{at}/text", 150, plain_only=True)


def _section(block: dict[str, Any], at: str) -> str | None:
    fields = block.get("fields")
    if "text" not in block and not fields:
        return f"missing required field: text or fields [json-pointer:{at}]"
    if "text" in block and (wrong := _text(block["text"], f"{at}/text", 3_000)):
        return wrong
    if fields is None:
        return None
    if not isinstance(fields, list) or len(fields) > 10:
        return f"no more than 10 items allowed [json-pointer:{at}/fields]"
    return next(filter(None, (_text(f, f"{at}/fields/{i}", 2_000) for i, f in enumerate(fields))), None)


def _context(block: dict[str, Any], at: str) -> str | None:
    elements = block.get("elements")
    if not isinstance(elements, list) or not 1 <= len(elements) <= 10:
        return f"from 1 to 10 items allowed [json-pointer:{at}/elements]"
    return next(filter(None, (_text(e, f"{at}/elements/{i}", 3_000) for i, e in enumerate(elements))), None)


def _actions(block: dict[str, Any], at: str) -> str | None:
    elements = block.get("elements")
    if not isinstance(elements, list) or not 1 <= len(elements) <= 25:
        return f"from 1 to 25 items allowed [json-pointer:{at}/elements]"
    for number, element in enumerate(elements):
        here = f"{at}/elements/{number}"
        if not isinstance(element, dict) or element.get("type") != "button":
            return f"unsupported type [json-pointer:{here}/type]"
        if wrong := _text(element.get("text"), f"{here}/text", 75, plain_only=True):
            return wrong
        if _width(str(element.get("value", ""))) > 2_000:
            return f"must be less than 2001 characters [json-pointer:{here}/value]"
    return None


_CHECKS = {
    "header": _header,
    "section": _section,
    "context": _context,
    "actions": _actions,
    "divider": _divider,
}


def _texts(blocks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return all text objects, in the order of reading."""
    found = []
    for block in blocks:
        if "text" in block:
            found.append(block["text"])
        found += block.get("fields", [])
        found += [e if block["type"] == "context" else e["text"] for e in block.get("elements", [])]
    return found


def block_text_length(blocks: list[dict[str, Any]]) -> int:
    """Return the characters of all blocks together."""
    return sum(_width(text["text"]) for text in _texts(blocks))


def mentions(text: str, blocks: list[dict[str, Any]], *, link_names: bool) -> list[str]:
    """Return whom a message would call: `!channel`, `@U123`, …"""
    called = _CALLS.findall(text) + (_NAMES.findall(text) if link_names else [])
    for found in _texts(blocks):
        if found["type"] == "mrkdwn":
            called += _CALLS.findall(found["text"])
            if not found.get("verbatim"):
                called += _NAMES.findall(found["text"])
    return called


def rendered(text: str, blocks: list[dict[str, Any]]) -> str:
    """Return what a reader sees: the blocks, or the text where there are none. Entities are unescaped."""
    if not blocks:
        return _shown({"type": "mrkdwn", "text": text})
    return "\n".join(_shown(found) for found in _texts(blocks))


def _shown(found: dict[str, Any]) -> str:
    if found["type"] == "plain_text":
        return str(found["text"])
    text = _LINK.sub(lambda link: link[2] or link[1], found["text"])
    return html.unescape(text)
