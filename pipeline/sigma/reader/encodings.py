"""Encodings: a text as the bytes that attackers hide it in, and these as text again.

UTF-16 stands in a rule as one character for each byte, U+0000 to U+00FF: so it is seen in logs of strings,
and so it goes into Base64. Text that was not encoded goes into Base64 as UTF-8. (Sigma modifiers appendix
2.1.0, "Encoding modifiers".)
"""

from __future__ import annotations

from base64 import b64encode
from typing import TYPE_CHECKING

from pipeline.errors import RuleError
from pipeline.sigma.form import Wild
from pipeline.sigma.reader.values import Choice, Template, joined

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipeline.sigma.reader.values import Part

__all__ = ["LONGEST", "base64", "base64_at_any_offset", "utf16"]

LONGEST = 10_000
"""Characters of an encoded text: no log holds a longer one whole."""

_BYTE_ORDER_MARK = "\xff\xfe"
# Base64 makes 4 characters of 3 bytes. Those that hold bits of a neighbour are left out: at the beginning by
# how many bytes stand before within the three, at the end by how many of the last three are there.
_STARTS = (0, 2, 3)
_ENDS = (None, -3, -2)
# A single byte fills no character of the three when it stands in the middle of them.
_FEWEST_BYTES = 2


def utf16(template: Template, codec: str, *, marked: bool = False) -> Template:
    """Return a text's UTF-16 as one character a byte.

    Args:
        template: the text; its `*` are kept, and a `?` becomes the two bytes of a character.
        codec: `utf-16-le` or `utf-16-be`.
        marked: whether the byte order mark of little-endian UTF-16 stands before it.

    Raises:
        RuleError: it becomes longer than `LONGEST`. No place yet.
    """
    parts: list[Part] = [_BYTE_ORDER_MARK] if marked else []
    for part in template.parts:
        if isinstance(part, str):
            parts.append(part.encode(codec).decode("latin-1"))
        else:
            parts += [part, part] if part is Wild.ONE else [part]
    _check_length(sum(len(part) if isinstance(part, str) else 1 for part in parts))
    return Template(joined(parts), template.cased, encoded=True)


def base64(template: Template) -> Template:
    """Return the Base64 of a text's bytes, whose case counts.

    Raises:
        RuleError: there is a wildcard, or nothing, to encode; or it becomes longer than `LONGEST`. No place
            yet.
    """
    return Template((b64encode(_bytes(template, 1)).decode(),), cased=True)


def base64_at_any_offset(template: Template) -> Choice:
    """Return what is always there of a text within a longer one's Base64, for each of the three offsets.

    Raises:
        RuleError: as of `base64`; or the text is so short that nothing is left of it. No place yet.
    """
    return Choice(tuple(_shifted(_bytes(template, _FEWEST_BYTES))))


def _shifted(data: bytes) -> Iterator[Template]:
    for offset, start in enumerate(_STARTS):
        encoded = b64encode(b"\0" * offset + data).decode()
        yield Template((encoded[start : _ENDS[(len(data) + offset) % 3]],), cased=True)


def _bytes(template: Template, fewest: int) -> bytes:
    if any(isinstance(part, Wild) for part in template.parts):
        raise RuleError("a wildcard can't be encoded; escape it as \\* or \\? to mean the character")
    data = "".join(map(str, template.parts)).encode("latin-1" if template.encoded else "utf-8")
    if len(data) < fewest:
        least = "a character" if fewest == 1 else f"{fewest} bytes"
        raise RuleError(f"there is too little to encode; {least} at least")
    _check_length((len(data) + 2) // 3 * 4)
    return data


def _check_length(characters: int) -> None:
    if characters > LONGEST:
        raise RuleError(
            f"encoded, this text has {characters:,} characters; up to {LONGEST:,} are possible, and a part of"
            " it will do"
        )
