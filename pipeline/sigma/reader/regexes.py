"""Regular expressions of rules: put together, and checked for what RE2 can do in linear time.

They are unanchored, respect case unless `i` says otherwise, and know no lookaround and no references back.
(Sigma modifiers appendix 2.1.0, "Regular expression"; semantics section 1.)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import re2

from pipeline.errors import RuleError

if TYPE_CHECKING:
    from pipeline.sigma.reader.values import Regex

__all__ = ["LONGEST", "source_of"]

LONGEST = 10_000
"""Characters of a regular expression: what is longer is a list, and belongs into one."""


def source_of(regex: Regex) -> str:
    """Return the regular expression as RE2 takes it, flags and anchors written into it.

    Raises:
        RuleError: RE2 doesn't take it; the error says why, and has no place yet.
    """
    written = "".join(map(str, regex.parts))
    if len(written) > LONGEST:
        raise RuleError(
            f"a regular expression of {len(written):,} characters; up to {LONGEST:,} are possible, and a list"
            " of several is one test as well"
        )
    flags = f"(?{regex.flags})" if regex.flags else ""
    _check(written, flags + written)
    if regex.how == "contains":
        return flags + written
    # Each line has a beginning and an end of its own once `m` is set; the value has one.
    begin, end = (r"\A", r"\z") if "m" in regex.flags else ("^", "$")
    before = begin if regex.how in {"startswith", "equals"} else ""
    after = end if regex.how in {"endswith", "equals"} else ""
    anchored = f"{flags}{before}(?:{written}){after}"
    _check(written, anchored)
    return anchored


def _check(written: str, source: str) -> None:
    options = re2.Options()
    options.log_errors = False
    try:
        re2.compile(source, options)
    except re2.error as error:
        reason = error.args[0].decode() if isinstance(error.args[0], bytes) else str(error)
        raise RuleError(
            f"the regular expression {written!r} can't be matched in linear time (RE2): {reason}"
        ) from error
