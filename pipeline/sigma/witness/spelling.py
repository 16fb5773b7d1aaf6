r"""Spellings: how a value of an event may stand in its raw bytes, as patterns for Hyperscan.

The rule: whenever the decoded event holds the value, one of its patterns is found in the bytes of the record
with a line feed before and after it, or, where one of `HATCHES` is found, in one of `unhidden`. Patterns
ignore case, and look at no more than one byte beyond what they are about. (Design: "Detection, fast".)
"""

from __future__ import annotations

import re
import sys
from functools import cache
from itertools import product

from pipeline.decode.levels import numeric_spellings, spellings
from pipeline.sigma.matcher.subject import text_of

__all__ = [
    "DASH",
    "HATCHES",
    "UNSPELLED",
    "level_patterns",
    "literal_patterns",
    "name_patterns",
    "number_patterns",
    "unhidden",
]

HATCHES = (
    r"[^\\](?:\\\\)*\\u00[2-7][0-9a-f]",  # an ASCII character that JSON has escaped
    r"\\u(?:212a|0130|017f)",  # KELVIN SIGN, I WITH DOT ABOVE, LONG S: folding makes ASCII of them
    r"\xe2\x84\xaa|\xc4\xb0|\xc5\xbf",  # the same three in UTF-8
)
"""Where one of these stands, a text may stand unseen; it is seen in one of `unhidden`."""

DASH = "\0"
"""Stands in a literal for any of the five dashes of `Wild.DASH`; no literal holds a NUL itself."""

UNSPELLED = re.compile("[\x01-\x1f\x7f\ud800-\udfff\ufffd]+")
"""What a literal may not hold: control characters, and what stands for bytes that are no UTF-8."""

_LONGEST = 64
_RUNS = re.compile(r"\\+|[^\\]")
# Names are cut by some decoders, at 255 characters or more; far below that none is.
_LONGEST_NAME = 128

# --- what hides ASCII ----------------------------------------------------------------------------------

# What `str.lower`, or a regular expression that ignores case, makes of them.
_FOLDING = {"212a": b"k", "0130": b"i\xcc\x87", "017f": b"s"}
_RAW_FOLDING = {b"\xe2\x84\xaa": b"k", b"\xc4\xb0": b"i\xcc\x87", b"\xc5\xbf": b"s"}
_CODE = rb"u(?:00[2-7][0-9A-Fa-f]|212[Aa]|0130|017[Ff])"
# A record is cut where an escape shows something. Escapes are read from left to right, so that a doubled
# backslash begins none; what shows nothing is one piece, however many escapes are in it.
_PIECES = re.compile(rb"\\" + _CODE + rb"|(?:[^\\]++|(?:\\\\)++|\\(?!" + _CODE + rb")(?:.|\Z))++", re.DOTALL)


def _shown() -> dict[bytes, bytes]:
    """Return what each escape shows, by how it may be written."""
    found = dict(_FOLDING)
    for number in range(0x20, 0x80):
        char = bytes([number])
        found[f"{number:04x}"] = b"\\" + char if char in b'"\\' else char
    return {
        rf"\u{''.join(written)}".encode(): shown
        for code, shown in found.items()
        for written in product(*({digit, digit.upper()} for digit in code))
    }


def unhidden(raw: bytes) -> tuple[bytes, ...]:
    """Return a record with ASCII as itself that folding or JSON's escapes hide.

    The first is as a text format is read, in which a backslash is one; the second as JSON is.
    """
    for hiding, shown in _RAW_FOLDING.items():
        raw = raw.replace(hiding, shown)
    # One look-up a piece and no call: what is hostile is full of escapes.
    return raw, b"".join([_SHOWN.get(piece, piece) for piece in _PIECES.findall(raw)])


_SHOWN = _shown()

# --- texts ----------------------------------------------------------------------------------------------

_JSON_NUMBER = r"[:,\[][ \t\r\n]*-?"
# Told by its end: to follow each number from its beginning costs twice as much as all the rest.
_EXPONENT = r"[0-9]e[+-]?[0-9]+[ \t\r\n]*[,}\]]"
# A double keeps 15 digits as they are; with more, or an exponent, its text may be another.
_REWRITTEN = frozenset(
    {
        _EXPONENT,
        _JSON_NUMBER + r"0\.0000",
        _JSON_NUMBER + r"[0-9]{20}",
        # Integers have 64 bits: of the negative ones some that don't fit have 19 digits.
        r"[:,\[][ \t\r\n]*-[0-9]{19}",
        _JSON_NUMBER
        + "(?:"
        + "|".join(rf"[0-9]{{{n}}}\.[0-9]{{{16 - n}}}" for n in range(1, 16))
        + r"|[0-9]{16,}\.)",
    }
)
# A sign may be that of the exponent.
_WITHIN_NUMBER = re.compile(r"[+-]?[0-9]*(?:\.[0-9]*)?(?:e[+-]?[0-9]*)?", re.ASCII)
# Hyphen, slash, en dash, em dash, horizontal bar.
_DASHES = r"(?:-|\\?/|\xe2\x80[\x93-\x95]|\\u201[345])"


def literal_patterns(text: str) -> frozenset[str]:
    """Return patterns for a folded text, anywhere in a value; it holds nothing that is `UNSPELLED`."""
    text = text[:_LONGEST]
    numeric = _WITHIN_NUMBER.fullmatch(text.replace(DASH, "-")) is not None
    return frozenset({_written(text)}) | (_REWRITTEN if numeric else frozenset())


@cache
def _escaped(run: str) -> str:
    if run[0] == "\\":
        # JSON doubles each; a text format leaves them as they are.
        return rf"\\{{{len(run)},{2 * len(run)}}}"
    if run == DASH:
        return _DASHES
    if not run.isascii():
        return _foreign(run)
    if run in "/\"'":
        return rf"\\?{run}"
    return run if run.isalnum() or run in " _-<>=;:,@%&#!~`" else f"\\{run}"


def _foreign(char: str) -> str:
    """Return a pattern for a folded character beyond ASCII: in UTF-8, or as JSON may escape it."""
    ways: list[str] = ["s"] if char == "\u017f" else []
    for source in _unfolded().get(char, (char,)):
        ways.append("".join(rf"\x{byte:02x}" for byte in source.encode()))
        units = source.encode("utf-16-be").hex()
        ways.append("".join(rf"\\u{units[i : i + 4]}" for i in range(0, len(units), 4)))
    return f"(?:{'|'.join(ways)})"


@cache
def _unfolded() -> dict[str, tuple[str, ...]]:
    """Return, for each character beyond ASCII that folding yields, all that yield it, itself included."""
    found: dict[str, list[str]] = {}
    for char in map(chr, range(0x80, sys.maxunicode + 1)):
        if (folded := char.lower()) != char and len(folded) == 1:
            found.setdefault(folded, [folded]).append(char)
    # Which of the two small sigmas a capital becomes depends on what follows it.
    found["\u03c2"] = found["\u03c3"] = ["\u03c2", "\u03c3", "\u03a3"]
    return {char: tuple(sources) for char, sources in found.items()}


# --- numbers: JSON's are not always written as they are read ---------------------------------------------

# What stands beside a number that is a whole value; letters would be those of a hexadecimal id.
_ASIDE = "[^0-9a-z_]"


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


# --- names of fields -------------------------------------------------------------------------------------


@cache
def name_patterns(field: str, *, flag: bool, aliases: tuple[str, ...] = ()) -> frozenset[str] | None:
    """Return patterns for the last part of a dotted name, where names stand; None if it can't be looked for.

    In JSON that is a quoted text, be it a key or (OpenTelemetry's attributes, Windows' `Data`) a value; in
    the text formats it is what stands before a `=`. Of Windows' names some are made (`decode.windows_event`):
    an element and its attribute are joined by an underscore, and a space before a capital is left out.

    Args:
        field: the name, as a rule has it.
        flag: whether a value that is not written will do: logfmt's flags, syslog's structured data.
        aliases: names that in JSON stand for the last part as well.
    """
    name = field.rpartition(".")[2]
    if not name or len(field) > _LONGEST_NAME or not (name.isascii() and name.isprintable()):
        return None
    # What goes before a name in a text is not asked: beyond 256 characters logfmt begins another.
    after = r"[\x00-\x20\x7f-\xff=\"\]]" if flag else "="
    # Names in lower case are Winlogbeat's, and keys as they stand.
    others = (_quoted(a) if a != a.lower() else {f'[".]{_written(a)}"'} for a in aliases)
    patterns = {f"{_written(name)}{after}"}.union(_quoted(name), *others)
    return frozenset(pattern.lower() for pattern in patterns)


def _quoted(name: str) -> set[str]:
    patterns = {f'[".]{_unspaced(name)}"'}
    elements = [_unspaced(name[: at.start()]) for at in re.finditer("_", name) if at.start()]
    if elements:
        patterns.add(rf'[".](?:{"|".join(elements)})"[ \t\r\n]*:[ \t\r\n]*\{{')
    return patterns


def _unspaced(name: str) -> str:
    """Return a pattern for a name that may have been written with spaces."""
    first, *rest = _RUNS.findall(name)
    return _escaped(first) + "".join(map(_spaced, rest))


def _spaced(run: str) -> str:
    if run.isupper() or run.isdigit():
        return f" *{run}"
    return "[_ ]" if run == "_" else _escaped(run)


def _written(text: str) -> str:
    return "".join(map(_escaped, _RUNS.findall(text)))


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
