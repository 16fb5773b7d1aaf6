"""Levels: the six canonical ones, and every way in which formats spell them.

The tables here are the whole truth: decoders turn a raw level into a canonical one through them only, and
the prefilter learns from `spellings` and `numeric_spellings` what a level may look like in the raw bytes.
"""

from __future__ import annotations

__all__ = [
    "LEVELS",
    "SPELLINGS",
    "canonical",
    "numeric_spellings",
    "of_otel_number",
    "of_syslog_severity",
    "of_windows_level",
    "spellings",
]

LEVELS: tuple[str, ...] = ("debug", "info", "notice", "warning", "error", "critical")
"""The canonical levels, mildest first."""

SPELLINGS: dict[str, str] = {
    "debug": "debug",
    "trace": "debug",
    "verbose": "debug",
    "fine": "debug",
    "finer": "debug",
    "finest": "debug",
    "info": "info",
    "information": "info",
    "informational": "info",
    "success": "info",
    "notice": "notice",
    "warning": "warning",
    "warn": "warning",
    "error": "error",
    "err": "error",
    "severe": "error",
    "critical": "critical",
    "crit": "critical",
    "fatal": "critical",
    "alert": "critical",
    "emerg": "critical",
    "emergency": "critical",
    "panic": "critical",
    "dpanic": "critical",
}
"""Lower-case spelling to canonical level. A suffix of digits (`trace4`, OpenTelemetry's `ERROR2`) and the
prefix of OpenTelemetry's enumeration (`SEVERITY_NUMBER_`) are taken off before the look-up."""

# pino and bunyan.
_NUMBERS: dict[int, str] = {10: "debug", 20: "debug", 30: "info", 40: "warning", 50: "error", 60: "critical"}

# OpenTelemetry's log data model, "Field: SeverityNumber": four numbers a range, from 1.
_OTEL_RANGES: tuple[str, ...] = ("debug", "debug", "info", "warning", "error", "critical")

# RFC 5424, table 2.
_SEVERITIES: tuple[str, ...] = (
    "critical",
    "critical",
    "critical",
    "error",
    "warning",
    "notice",
    "info",
    "debug",
)
_FACILITIES = 24

# winmeta.xml: what a Windows event's `Level` means; 0 is "always".
_WINDOWS: tuple[str, ...] = ("info", "critical", "error", "warning", "info", "debug")
_WINDOWS_SPELLINGS: dict[object, str] = {
    spelling: level for number, level in enumerate(_WINDOWS) for spelling in (number, str(number))
}


def canonical(value: object) -> str | None:
    """Return the canonical level of a spelling or of pino's number, or None when it is neither."""
    if type(value) is str:
        known = SPELLINGS.get(value)
        if known is not None:
            return known
        # Lower-casing may shorten to ASCII what is not (the Kelvin sign): such text is no level.
        if len(value) > 32 or not value.isascii():
            return None
        key = value.strip().lower()
        return SPELLINGS.get(key) or SPELLINGS.get(key.removeprefix("severity_number_").rstrip("0123456789"))
    return _NUMBERS.get(value) if type(value) is int else None


def of_otel_number(value: object) -> str | None:
    """Return the canonical level of OpenTelemetry's SeverityNumber (1 to 24, or its enumeration's name)."""
    if type(value) is int:
        return _OTEL_RANGES[(value - 1) // 4] if 1 <= value <= 24 else None
    return canonical(value)


def of_syslog_severity(severity: int) -> str:
    """Return the canonical level of a syslog severity, 0 (emergency) to 7 (debug)."""
    return _SEVERITIES[severity]


def of_windows_level(value: object) -> str | None:
    """Return the canonical level of a Windows event's `Level`, a number or one as a text; else None."""
    return _WINDOWS_SPELLINGS.get(value) if type(value) in (int, str) else None


def spellings(level: str) -> tuple[str, ...]:
    """Return the lower-case literals of which one stands in the raw bytes of an event of this level.

    They hold case-insensitively and but for JSON's escapes, together with `numeric_spellings`: an event has
    a level only if it contains a literal of this function or matches a pattern of that one. A level that is
    not canonical stays as it was written.
    """
    found = tuple(spelling for spelling, known in SPELLINGS.items() if known == level)
    return found or (level.lower(),)


def numeric_spellings(level: str) -> tuple[str, ...]:
    """Return regular expressions (as Hyperscan and `re` take them) of the level's numeric forms."""
    patterns: list[str] = []
    pino = [str(number) for number, known in _NUMBERS.items() if known == level]
    if pino:
        patterns.append(rf'"level"\s*:\s*(?:{"|".join(pino)})[\s,}}]')
    otel = [str(n) for n in range(1, 25) if of_otel_number(n) == level]
    if otel:
        patterns.append(rf'"[Ss]everityNumber"\s*:\s*(?:{"|".join(otel)})[\s,}}]')
    severities = [s for s, known in enumerate(_SEVERITIES) if known == level]
    priorities = [str(8 * facility + s) for facility in range(_FACILITIES) for s in severities]
    if priorities:
        patterns.append(f"<(?:{'|'.join(priorities)})>")
    windows = "".join(str(number) for number, known in enumerate(_WINDOWS) if known == level)
    if windows:
        # An element with attributes is an object: its number is not looked for.
        patterns.append(rf'"[Ll]evel"\s*:\s*(?:["-]*[{windows}]["\s,}}]|\{{)')
    return tuple(patterns)
