r"""Checks of regular expressions: most of what they are asked is said better without one.

An expression is found anywhere in the value, so `.*` at its ends says nothing; a text alone is found faster
and earlier as a text, since the prefilter then knows what to look for. (Semantics section 1: unanchored,
case respected but for `|i`.)
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import re2

from pipeline.sigma.form import Item, Pattern, Rule
from pipeline.sigma.lint.finding import Check, Doubt
from pipeline.sigma.reader.modifiers import flags_of
from pipeline.sigma.witness.witness import witness

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipeline.sigma.lint.draft import Draft, Value, Written

__all__ = ["CHECKS"]

# Texts with nothing in common: what finds all of them finds everything.
_UNLIKE = ("", "\x00", "q7", "~ \u00fc\n", "A" * 99)
_PLAIN = re.compile(r"(?:[^\\.^$|?*+()\[\]{}]|\\[^A-Za-z0-9])+", re.DOTALL)
_IGNORES_CASE = "(?i)"


def _regexes(draft: Draft) -> Iterator[tuple[Written, Value, str]]:
    for item in draft.items:
        # What a placeholder stands for may be what makes it an expression.
        if "re" in item.modifiers and "expand" not in item.modifiers:
            for value in item.values:
                if isinstance(value.value, str):
                    yield item, value, value.value


def _flagged(item: Written, source: str) -> str:
    flags = flags_of(item.modifiers)
    return f"(?{flags}){source}" if flags else source


def _finds_everything(item: Written, source: str) -> bool:
    options = re2.Options()
    options.log_errors = False
    search = re2.compile(_flagged(item, source), options).search
    return all(search(text) is not None for text in _UNLIKE)


def _regex_everything(draft: Draft) -> Iterator[Doubt]:
    for item, value, source in _regexes(draft):
        if _finds_everything(item, source):
            yield Doubt(f"{source!r} is found in every text", value.path)


def _regex_ends(draft: Draft) -> Iterator[Doubt]:
    for item, value, source in _regexes(draft):
        bare = _without_ends(source)
        if bare != source and not _finds_everything(item, source):
            yield Doubt(f"{source!r} is found anywhere as it is: {bare!r} means the same", value.path)


def _regex_plain(draft: Draft) -> Iterator[Doubt]:
    for item, value, source in _regexes(draft):
        if (said := _plainly(item, source)) is not None:
            modifiers, text = said
            yield Doubt(f"{source!r} needs no expression: `{item.field}{modifiers}: {text}`", value.path)


def _regex_no_literal(draft: Draft) -> Iterator[Doubt]:
    if not isinstance(draft.loaded, Rule) or witness(draft.loaded.condition) is not None:
        return
    for item, value, source in _regexes(draft):
        if witness(Item(item.field or None, Pattern(_flagged(item, source)))) is None:
            yield Doubt(f"{source!r} holds no text that an event could be told by", value.path)


def _without_ends(source: str) -> str:
    r"""Return an expression without `.*` at its ends, which an unanchored one has anyway."""
    if "\\Q" in source:
        return source
    bare = re.sub(r"^(?:\.\*\??)+", "", source)
    # `\.*` is any number of dots.
    return re.sub(r"(?<!\\)(?P<escaped>(?:\\\\)*)(?:\.\*\??)+$", r"\g<escaped>", bare)


def _plainly(item: Written, source: str) -> tuple[str, str] | None:
    """Return the modifiers and the value that mean the same as an expression, if some do."""
    flags = flags_of(item.modifiers)
    if source.startswith(_IGNORES_CASE):
        source, flags = source.removeprefix(_IGNORES_CASE), flags + "i"
    bare = _without_ends(source)
    begins, ends = bare.startswith("^"), bare.endswith("$") and not bare.endswith("\\$")
    text = bare.removeprefix("^")
    text = text.removesuffix("$") if ends else text
    if (
        not _PLAIN.fullmatch(text)
        or ("m" in flags and (begins or ends))
        or (not item.field and (begins or ends))
    ):
        return None
    how = {(True, True): "", (True, False): "|startswith", (False, True): "|endswith"}.get(
        (begins, ends), "|contains"
    )
    how = how if item.field else ""
    cased = "" if "i" in flags else "|cased"
    literal = re.sub(r"\\(.)", r"\1", text, flags=re.DOTALL)
    return how + cased, re.sub(r"[*?]|\\(?=[*?\\])", r"\\\g<0>", literal)


CHECKS = (
    Check(
        "regex-everything",
        "warning",
        "a regular expression that is found in every text",
        "An expression that may match nothing at all is found everywhere: `a*`, `.*`, `(x|)`.",
        "Write `field|exists: true`, or `+` for `*`.",
        _regex_everything,
    ),
    Check(
        "regex-ends",
        "info",
        "`.*` at the ends of a regular expression",
        "An expression is found anywhere in the value, so it says nothing.",
        "Leave it out.",
        _regex_ends,
    ),
    Check(
        "regex-plain",
        "info",
        "a regular expression that is a plain text",
        "`contains`, `startswith`, `endswith` or equality say the same, are faster, and have no escapes to"
        " get wrong.",
        "Write what the message says; without `cased` if case does not matter.",
        _regex_plain,
    ),
    Check(
        "regex-no-literal",
        "info",
        "a regular expression without any literal, in a rule that has nothing else to be told by",
        "It is what makes the rule examine every event.",
        "Put a text that the events must have beside it, in the same AND.",
        _regex_no_literal,
    ),
)
