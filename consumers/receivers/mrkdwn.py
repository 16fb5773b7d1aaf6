"""Slack's text format, and how text from logs stays text in it.

Slack reads `&`, `<` and `>` as markup (`<!channel>` calls everybody), so they are escaped wherever text is
shown. Limits are counted in UTF-16 units, the strictest reading of "characters", and after escaping.
(docs.slack.dev, "Formatting message text".)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["clip", "code_block", "escape", "inline_code", "width"]

_FENCE = "```"
_ELLIPSIS = "…"
_GRAVE = "\u02cb"
_LONGEST_ENTITY = len("&amp;")


def width(text: str) -> int:
    """Return the length of `text` in UTF-16 units."""
    if text.isascii():
        return len(text)
    return len(text) + sum(character > "\uffff" for character in text)


def escape(text: str) -> str:
    """Return `text` with the three characters escaped that Slack reads as markup."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def clip(text: str, limit: int) -> str:
    """Return `text` cut to `limit` UTF-16 units, with `…` where something was cut off.

    Neither an entity of escaped text (`&amp;`) nor a character is cut in half.

    Args:
        text: escaped or plain.
        limit: units at most, the `…` included; at least 1.
    """
    if width(text) <= limit:
        return text
    kept = text.encode("utf-16-le")[: 2 * (limit - 1)].decode("utf-16-le", "ignore")
    entity = kept.rfind("&", max(0, len(kept) - _LONGEST_ENTITY + 1))
    if entity >= 0 and ";" not in kept[entity:]:
        kept = kept[:entity]
    return kept.rstrip() + _ELLIPSIS


def code_block(texts: Sequence[str], limit: int) -> str:
    """Return texts one below the other as a block of code that nothing in them can end.

    What short ones leave of the room goes to the long ones. Texts of several lines are set apart.

    Args:
        texts: raw, at least one; they are escaped here.
        limit: units at most, the fences included.
    """
    # Of the backticks of a run no three stay together: a zero-width space stands in each pair.
    shown = [escape(text).replace("``", "`\u200b`") for text in texts]
    apart = "\n\n" if any("\n" in text for text in texts) else "\n"
    room = limit - 2 * len(_FENCE) - 2 - len(apart) * (len(shown) - 1)
    by_width = sorted(range(len(shown)), key=lambda i: width(shown[i]))
    for done, i in enumerate(by_width):
        shown[i] = clip(shown[i], room // (len(shown) - done))
        room -= width(shown[i])
    return f"{_FENCE}\n{apart.join(shown)}\n{_FENCE}"


def inline_code(text: str, limit: int) -> str:
    """Return `text` as code within a line.

    Args:
        text: raw, on one line; it is escaped here, and a backtick becomes one that marks nothing.
        limit: units at most, the backticks included.
    """
    return f"`{clip(escape(text).replace('`', _GRAVE), limit - 2)}`"
