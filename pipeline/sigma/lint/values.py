"""Checks of texts and their wildcards, alone and beside the others of their list."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.sigma.form import Number, Truth, Wild
from pipeline.sigma.lint.finding import Check, Doubt
from pipeline.sigma.matcher.subject import text_of
from pipeline.sigma.matcher.text import shape_of
from pipeline.sigma.reader.values import parts_of, typed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pipeline.sigma.lint.draft import Draft, Value, Written
    from pipeline.sigma.matcher.text import Shape

__all__ = ["CHECKS"]

# Where a modifier, or a keyword, has wildcards of its own: before the value, after it.
_OUTER = {
    "contains": (True, True),
    "startswith": (False, True),
    "endswith": (True, False),
    "": (True, True),
}
# Characters that are looked at in the lists of one rule; 20,000 hashes need a twentieth of it.
_MOST_WORK = 30_000_000
_WORK_OF_A_PART = 50


def _any_value(draft: Draft) -> Iterator[Doubt]:
    for item in draft.items:
        if not item.is_text:
            continue
        for value in item.values:
            if isinstance(value.value, str) and set(parts_of(value.value)) == {Wild.ANY}:
                if item.field:
                    message = f"any text will do; if `{item.field}|exists: true` is meant, write that"
                else:
                    message = "a keyword that every event has"
                yield Doubt(message, value.path)


def _needless_wildcard(draft: Draft) -> Iterator[Doubt]:
    for item in draft.items:
        modifier = next((m for m in item.modifiers if m in _OUTER), "")
        if not item.is_text or (item.field and not modifier):
            continue
        before, after = _OUTER[modifier]
        for value in item.values:
            parts = parts_of(value.value) if isinstance(value.value, str) else ()
            if len(parts) > 1 and ((before and parts[0] is Wild.ANY) or (after and parts[-1] is Wild.ANY)):
                reason = f"|{modifier} has them already" if modifier else "keywords are found anywhere"
                yield Doubt(f"{value.value!r} needs no `*` at its ends: {reason}", value.path)


def _duplicate_value(draft: Draft) -> Iterator[Doubt]:
    for item in draft.items:
        folds = item.is_text and "cased" not in item.modifiers
        seen: dict[str, object] = {}
        for value in item.values:
            text = text_of(value.value)
            if text is None:
                continue
            first = seen.get(key := text.lower() if folds else text)
            if first is None:
                seen[key] = value.value
            elif first == value.value:
                yield Doubt(f"{value.value!r} stands in this list already", value.path)
            else:
                yield Doubt(f"{value.value!r} is the same as {first!r} further up", value.path)


def _unquoted_value(draft: Draft) -> Iterator[Doubt]:
    for item in draft.items:
        if not item.is_text:
            continue
        for value in item.values:
            test = typed(value.value)
            if not isinstance(test, Number | Truth):
                continue
            text = str(text_of(test.value))
            written = draft.document.written(*value.path)
            if written is not None and written.lower() != text:
                kind = "number" if isinstance(test, Number) else "truth value"
                message = f"{written} is the {kind} {text}; write '{written}' to mean the text"
                yield Doubt(message, value.path)


def _covered_value(draft: Draft) -> Iterator[Doubt]:
    work = _Work(_MOST_WORK)
    for item in draft.items:
        if item.is_text and len(item.values) > 1:
            found = list(_covered(item, work))
            for needless, other in found[:1]:
                more = f"; {len(found) - 1} more of this list are needless too" if len(found) > 1 else ""
                says = "says as much" if "all" in item.modifiers else "matches all that it does"
                yield Doubt(f"{needless.value!r} is needless: {other.value!r} {says}{more}", needless.path)


def _covered(item: Written, work: _Work) -> Iterator[tuple[Value, Value]]:
    """Yield each needless value with one that makes it so, of those that there is work left for."""
    shapes = [
        (value, shape)
        for value in item.values
        if isinstance(value.value, str) and (shape := shape_of(item.text(value.value))) is not None
    ]
    cover = _Cover(shapes, work)
    told: set[Value] = set()
    for value, shape in shapes:
        if (other := cover.of(shape)) is not None:
            # All must hold: there it is the wider one that says nothing new.
            needless, reason = (other, value) if "all" in item.modifiers else (value, other)
            if needless not in told:
                told.add(needless)
                yield needless, reason


class _Work:
    """How much may still be looked at; texts of many lengths would take the cube of theirs."""

    def __init__(self, left: int) -> None:
        self._left = left

    def take(self, length: int) -> bool:
        """Return whether a part of this length may be looked at as well."""
        self._left -= length + _WORK_OF_A_PART
        return self._left > 0


class _Cover:
    """Finds the value that matches all that another one does, as far as there is work left."""

    def __init__(self, shapes: Iterable[tuple[Value, Shape]], work: _Work) -> None:
        self._work = work
        self._by: dict[str, dict[str, Value]] = {"contains": {}, "startswith": {}, "endswith": {}}
        for value, (how, literal) in shapes:
            if how in self._by:
                self._by[how].setdefault(literal, value)
        self._lengths = {how: sorted({len(text) for text in held}) for how, held in self._by.items()}

    def of(self, shape: Shape) -> Value | None:
        """Return the value that covers a shape, or None; a shape does not cover itself."""
        how, text = shape
        for kind, held in self._by.items():
            if kind != "contains" and how not in ("equals", kind):
                continue
            for length in self._lengths[kind]:
                if length > len(text):
                    break
                if kind == how and length == len(text):
                    continue
                for part in _cut(text, length, kind):
                    if not self._work.take(length):
                        return None
                    if part in held:
                        return held[part]
        return None


def _cut(text: str, length: int, kind: str) -> Iterator[str]:
    """Yield the parts of a text that a shorter one may be equal to."""
    if kind == "startswith":
        yield text[:length]
    elif kind == "endswith":
        yield text[len(text) - length :]
    else:
        for start in range(len(text) - length + 1):
            yield text[start : start + length]


CHECKS = (
    Check(
        "any-value",
        "info",
        "a value that is only `*`",
        "It matches any text, the empty one as well, but no null: close to `exists`, and slower to read.",
        "Write `field|exists: true` if presence is what counts.",
        _any_value,
    ),
    Check(
        "unquoted-value",
        "warning",
        "a number or a truth value that is written otherwise than events write it",
        "YAML reads `1.10` as 1.1, `017` as 15, `1:30` as 90, `0x1F` as 31, `on` and `yes` as true: what is"
        " found is that, not what is written.",
        "Put it into quotes; or write the number as it is.",
        _unquoted_value,
    ),
    Check(
        "needless-wildcard",
        "info",
        "a `*` where the modifier has one already",
        "It says nothing; who reads it looks for a difference.",
        "Leave it out.",
        _needless_wildcard,
    ),
    Check(
        "duplicate-value",
        "warning",
        "a value that stands in its list twice, case aside",
        "Mostly it was meant to be another one.",
        "Correct it or leave it out.",
        _duplicate_value,
    ),
    Check(
        "covered-value",
        "info",
        "a value that another one of its list makes needless",
        "With `contains`, `foo` finds `foobar` too: the longer one says nothing; with `|all` it is the"
        " shorter.",
        "Leave it out, unless the shorter one is a mistake.",
        _covered_value,
    ),
)
