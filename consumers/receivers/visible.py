r"""Making what can't be seen visible: log text is shown, it never acts.

A control character could drive a terminal, a bidirectional override could show a line as another one,
and a lone surrogate breaks whatever encodes it. Each becomes a character that only stands for it: `␛`
for escape, `\u202e` for an override. Newlines and tabs of a text of several lines stay.
"""

from __future__ import annotations

__all__ = ["one_line", "visible"]

# Zero-width joiners are left alone: Persian and emoji need them, and they only join.
_INVISIBLE = (
    *range(0x80, 0xA0),
    0xAD,
    0x61C,
    0x200B,
    0x200E,
    0x200F,
    *range(0x2028, 0x202F),
    *range(0x2060, 0x2070),
    0xFEFF,
    *range(0xE0000, 0xE0080),
)
_SHOWN: dict[int, str] = {
    **{code: chr(0x2400 + code) for code in range(0x20) if chr(code) not in "\n\t"},
    0x7F: "␡",
    **{code: ascii(chr(code))[1:-1] for code in _INVISIBLE},
    **dict.fromkeys(range(0xD800, 0xE000), "\ufffd"),
}
_ON_ONE_LINE = {**_SHOWN, ord("\n"): "␊", ord("\t"): " "}


def visible(text: str) -> str:
    r"""Return `text` with every control and invisible character shown; `\n` and `\t` stay."""
    if text.isprintable():
        return text
    return text.replace("\r\n", "\n").translate(_SHOWN)


def one_line(text: str) -> str:
    """Return `text` as `visible` does, on one line."""
    if text.isprintable():
        return text
    return text.replace("\r\n", "\n").translate(_ON_ONE_LINE)
