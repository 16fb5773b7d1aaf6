r"""Spellings: how a value of an event may stand in its raw bytes, as patterns for Hyperscan.

The rule: whenever the decoded event holds the value, one of its patterns is found in the bytes of the record
with a line feed before and after it; or one of `HATCHES` is. Patterns ignore case, and look at no more than
one byte beyond what they are about. (Design: "Detection, fast".)
"""

from __future__ import annotations

import re
from functools import cache

from pipeline.decode.levels import numeric_spellings, spellings
from pipeline.sigma.subject import text_of

__all__ = ["HATCHES", "level_patterns", "literal_patterns", "number_patterns"]

HATCHES = (
    r"\\u00[2-7][0-9a-f]",  # an ASCII character that JSON has escaped
    r"\\u(?:212a|0130)",  # KELVIN SIGN and I WITH DOT ABOVE, whose lower case holds ASCII
    r"\xe2\x84\xaa|\xc4\xb0",  # the same two in UTF-8
)
"""Where one of these stands, any text may stand unseen: every rule examines the event."""

# --- JSON numbers, which are not always written as they are read ---------------------------------------

_JSON_NUMBER = r"[:,\[][ \t\r\n]*-?"
# Told by its end: to follow each number from its beginning costs twice as much as all the rest.
_EXPONENT = r"[0-9]e[+-]?[0-9]+[ \t\r\n]*[,}\]]"
# A double keeps 15 digits as they are; with more, or an exponent, its text may be another.
_REWRITTEN = frozenset(
    {
        _EXPONENT,
        _JSON_NUMBER + r"0\.0000",
        _JSON_NUMBER + r"[0-9]{20}",
        _JSON_NUMBER
        + "(?:"
        + "|".join(rf"[0-9]{{{n}}}\.[0-9]{{{16 - n}}}" for n in range(1, 16))
        + r"|[0-9]{16,}\.)",
    }
)
# What stands beside a number that is a whole value; letters would be those of a hexadecimal id.
_ASIDE = "[^0-9a-z_]"
_WITHIN_NUMBER = re.compile(r"-?[0-9]*(?:\.[0-9]*)?(?:e[+-]?[0-9]*)?", re.ASCII)
_LONGEST = 64


def literal_patterns(text: str) -> frozenset[str]:
    """Return patterns for a text of printable ASCII, of any case, anywhere in a value."""
    text = text[:_LONGEST].lower()
    pattern = "".join(_escaped(run.group()) for run in re.finditer(r"\\+|[^\\]", text))
    return frozenset({pattern}) | (_REWRITTEN if _WITHIN_NUMBER.fullmatch(text) else frozenset())


def _escaped(run: str) -> str:
    if run[0] == "\\":
        # JSON doubles each; a text format leaves them as they are.
        return rf"\\{{{len(run)},{2 * len(run)}}}"
    if run in "/\"'":
        return rf"\\?{run}"
    return run if run.isalnum() or run in " _-<>=;:,@%&#!~`" else f"\\{run}"


def number_patterns(value: float) -> frozenset[str]:
    """Return patterns for a number as the whole of a value: 404 is not within 14045 or a404b."""
    magnitude = abs(value)
    text = str(text_of(magnitude))
    if magnitude >= 1e9 or "e" in text:
        written = str(int(magnitude)) if magnitude == int(magnitude) else text
        return literal_patterns(text) | literal_patterns(written) | _REWRITTEN
    whole = int(magnitude)
    if whole != magnitude:
        return frozenset({rf"{_ASIDE}0*{whole}\.[0-9]", _EXPONENT})
    patterns = {rf"{_ASIDE}0*{whole}{_ASIDE}", _EXPONENT}
    if whole:
        # 403.99999999999999999 is 404 to a double.
        patterns.add(rf"{_ASIDE}0*{whole - 1}\.99999")
    return frozenset(patterns)


# --- levels -------------------------------------------------------------------------------------------

# What `canonical` strips from a level: blanks, which JSON and logfmt may escape.
_BLANKS = r"(?:[\x09-\x0d\x1c-\x20]|\\[tnrf]|\\u00[01][0-9a-f])*"


@cache
def level_patterns(level: str) -> frozenset[str]:
    """Return patterns for an event whose level is `level`, a canonical one, in any format.

    A level stands where formats have it, so most prose that holds the word is passed over: as a whole value
    of JSON or logfmt, in brackets, in capitals, or before a colon or a separator.
    """
    words = "|".join(spellings(level))
    value = rf"(?:severity_number_)?(?:{words})[0-9]*"
    return frozenset(
        {
            rf'"{_BLANKS}{value}{_BLANKS}"[ \t\r\n]*[,}}\]]',
            rf'="{_BLANKS}{value}{_BLANKS}"',
            rf"={value}[^0-9a-z_]",
            rf"[\[<(:] *(?:{words})[0-9]* *[\]>)]",
            # A time in UTC may end in Z right before it.
            rf"(?-i:[^A-Ya-z_](?:{words.upper()})[^0-9A-Za-z_])",
            rf"[^a-y_](?:{words})(?: {{0,16}}[-|] |:)",
            *numeric_spellings(level),
        }
    )
