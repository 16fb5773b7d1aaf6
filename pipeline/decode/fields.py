"""The names every event shares, and which of their values need not stand in the raw bytes.

The rule: a decoder copies values, it does not invent them. The prefilter takes a rule's literals for
witnesses of a match in the raw bytes, and may do so for every field but those in `DERIVED`. Numbers of
JSON are copied as numbers: `1e2` becomes 100.0.
"""

from __future__ import annotations

__all__ = ["CANONICAL", "DERIVED"]

CANONICAL: frozenset[str] = frozenset(
    {
        "environment",
        "event",
        "exception",
        "host",
        "level",
        "logger",
        "pid",
        "service",
        "span_id",
        "timestamp",
        "trace_id",
    }
)
"""The fields of every format (design: "What travels")."""

DERIVED: frozenset[str] = frozenset({"exception", "level", "outcome", "pid", "service", "timestamp"})
"""Top-level fields whose value, or any part of it, a decoder may have rewritten.

`timestamp` is normalised, `level` is one of six words (`levels.spellings` says what to look for
instead), `exception` is read from a traceback, `pid` is a number, `outcome` is `success` or `failure`,
and `service` may be what the source declares.
"""
