"""Rule text → our own form. pySigma reads and validates; every error is given its file and line.

What a modifier means has been settled by pySigma in the values it returns; this module only renames them
into `pipeline.sigma.form`, reads what pySigma does not (operators in capitals), and refuses, with the place,
what is not evaluated.
"""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Literal, cast

import re2
from sigma.conditions import (
    ConditionAND,
    ConditionFieldEqualsValueExpression,
    ConditionNOT,
    ConditionOR,
    ConditionValueExpression,
)
from sigma.exceptions import SigmaError
from sigma.rule import SigmaDetectionItem, SigmaRule
from sigma.types import (
    CompareOperators,
    SigmaBool,
    SigmaCasedString,
    SigmaCIDRExpression,
    SigmaCompareExpression,
    SigmaExists,
    SigmaFieldReference,
    SigmaNull,
    SigmaNumber,
    SigmaRegularExpression,
    SigmaRegularExpressionFlag,
    SigmaString,
    SpecialChars,
)

from pipeline.document import documents
from pipeline.errors import ConfigError, RuleError, nearest
from pipeline.event import LogSource
from pipeline.sigma.correlation import read_correlation
from pipeline.sigma.form import (
    And,
    Compare,
    Correlation,
    Exists,
    FieldRef,
    Item,
    Network,
    Node,
    Not,
    Null,
    Number,
    Or,
    Pattern,
    Rule,
    Test,
    Text,
    Truth,
    Wild,
)
from pipeline.sigma.heading import about, fault, place, refuse_odd_keys

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pipeline.document import Document, Key

__all__ = ["MODIFIERS", "read"]

MODIFIERS = frozenset(
    [
        *("contains", "startswith", "endswith", "all", "cased", "exists", "cidr", "fieldref"),
        *("re", "i", "ignorecase", "m", "multiline", "s", "dotall"),
        *("lt", "lte", "gt", "gte"),
    ]
)
"""The modifiers that are evaluated."""

_OPERATORS: dict[CompareOperators, Literal["lt", "lte", "gt", "gte"]] = {
    CompareOperators.LT: "lt",
    CompareOperators.LTE: "lte",
    CompareOperators.GT: "gt",
    CompareOperators.GTE: "gte",
}
_FLAGS = {
    SigmaRegularExpressionFlag.IGNORECASE: "i",
    SigmaRegularExpressionFlag.MULTILINE: "m",
    SigmaRegularExpressionFlag.DOTALL: "s",
}
_WILDCARDS = {SpecialChars.WILDCARD_MULTI: Wild.ANY, SpecialChars.WILDCARD_SINGLE: Wild.ONE}
_WORD = re.compile(r"[^\s()|]+")
_WORDS = frozenset({"and", "or", "not", "of", "all", "any", "them"})
_LONG_FLAGS = {"i": "ignorecase", "m": "multiline", "s": "dotall"}


def read(text: str, file: str) -> list[Rule | Correlation]:
    """Read all rules of a file's text.

    Args:
        text: one or more YAML documents, each a detection or a correlation.
        file: the name to show in errors.

    Returns:
        The rules in their order. A correlation's references are as written; `RuleSet` resolves them.

    Raises:
        RuleError: a rule can't be used; it names file, line and path.
    """
    try:
        parsed = list(documents(text, file))
    except ConfigError as error:
        raise RuleError(error.message, file=error.file, line=error.line, path=error.path) from error
    rules: list[Rule | Correlation] = []
    for document in parsed:
        if document.data is None:
            continue
        if not isinstance(document.data, dict):
            raise fault(document, "a rule is a mapping with title, logsource and detection")
        refuse_odd_keys(document)
        data = cast("dict[str, Any]", document.data)
        if "correlation" in data:
            rules.append(read_correlation(document, data))
        elif "detection" in data:
            rules.append(_rule(document, data))
        else:
            raise fault(document, _neither(data))
    return rules


def _neither(data: dict[str, Any]) -> str:
    for wanted in ("detection", "correlation"):
        if close := get_close_matches(wanted, data, n=1):
            return f"neither `detection` nor `correlation` is here; is {close[0]!r} meant to be {wanted!r}?"
    return "neither `detection` nor `correlation` is here"


def _rule(document: Document, data: dict[str, Any]) -> Rule:
    detection = data["detection"]
    if not isinstance(detection, dict):
        raise fault(document, "a detection is a mapping of search identifiers and a condition", "detection")
    heading = about(document, data, {"d": detection, "l": data.get("logsource")})
    for item, path in _items(detection, ("detection",)):
        _check_item(document, *item, path)
    conditions = _conditions(document, detection)
    try:
        rule = SigmaRule.from_dict(
            {**data, "detection": {**detection, "condition": [text for text, _ in conditions]}},
            collect_errors=True,
        )
    except SigmaError as error:
        raise fault(document, str(error), "detection") from error
    if rule.errors:
        raise fault(document, str(rule.errors[0]), place(data, rule.errors[0], "detection"))
    nodes: list[Node] = []
    for condition, (_, path) in zip(rule.detection.parsed_condition, conditions, strict=True):
        try:
            nodes.append(_node(document, condition.parsed))
        except SigmaError as error:
            raise fault(document, str(error), *path) from error
    source = rule.logsource
    return Rule(
        about=heading,
        logsource=LogSource(source.product or "", source.service or "", source.category or ""),
        condition=nodes[0] if len(nodes) == 1 else Or(tuple(nodes)),
    )


# --- items: checked one by one, for pySigma's errors about them don't say where ------------------------


def _items(value: object, path: tuple[Key, ...]) -> Iterator[tuple[tuple[str, object], tuple[Key, ...]]]:
    """Yield each (name with modifiers, value) of a detection, and where it stands."""
    if isinstance(value, dict):
        for key, inner in value.items():
            here = (*path, key)
            if len(path) > 1:
                yield (key, inner), here
            elif key not in ("condition", "timeframe"):
                yield from _items(inner, here)
    elif isinstance(value, list) and value:
        for index, inner in enumerate(value):
            yield from _items(inner, (*path, index))
    else:
        yield ("", value), path


def _check_item(document: Document, name: str, value: object, path: tuple[Key, ...]) -> None:
    field, *modifiers = name.split("|")
    for modifier in modifiers:
        if modifier not in MODIFIERS:
            hint = nearest(modifier, MODIFIERS)
            raise fault(document, f"modifier {modifier!r} is not known here; {hint}", *path)
    if value == []:
        raise fault(document, "an empty list matches nothing", *path)
    if "re" in modifiers:
        _check_regexes(document, modifiers, value, path)
    try:
        item = SigmaDetectionItem.from_mapping(name, cast("Any", value))
    except SigmaError as error:
        message = str(error)
        if "incompatible to value type" in message:  # pySigma names its classes, not what was written
            message = f"{value!r} is of no type that |{'|'.join(modifiers)} works on"
        raise fault(document, message, *path) from error
    if not field:
        for part in item.value:
            if not isinstance(part, SigmaString | SigmaNumber | SigmaBool | SigmaRegularExpression):
                raise fault(document, "a keyword is a text, a number or a regular expression", *path)


def _sources(value: object, path: tuple[Key, ...]) -> Iterator[tuple[str, tuple[Key, ...]]]:
    if isinstance(value, str):
        yield value, path
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _sources(inner, (*path, index))


def _check_regexes(document: Document, modifiers: list[str], value: object, path: tuple[Key, ...]) -> None:
    if not {"startswith", "endswith"}.isdisjoint(modifiers):
        raise fault(document, "anchor a regular expression with ^ and $ instead", *path)
    flags = "".join(f for f in "ims" if not {f, _LONG_FLAGS[f]}.isdisjoint(modifiers))
    options = re2.Options()
    options.log_errors = False
    for source, at in _sources(value, path):
        try:
            re2.compile(_flagged(source, flags), options)
        except re2.error as error:
            reason = error.args[0].decode() if isinstance(error.args[0], bytes) else str(error)
            message = f"the regular expression {source!r} can't be matched in linear time (RE2): {reason}"
            raise fault(document, message, *at) from error


def _flagged(source: str, flags: str) -> str:
    return f"(?{flags}){source}" if flags else source


# --- conditions ---------------------------------------------------------------------------------------


def _conditions(document: Document, detection: dict[str, Any]) -> list[tuple[str, tuple[Key, ...]]]:
    """Return each condition as pySigma reads it, and where it stands; several are alternatives."""
    path = ("detection", "condition")
    if "condition" not in detection:
        raise fault(document, "the detection has no `condition`", "detection")
    written = detection["condition"]
    listed = written if isinstance(written, list) else [written]
    places = [(*path, i) for i in range(len(listed))] if isinstance(written, list) else [path]
    if not listed:
        raise fault(document, "the condition is empty", *path)
    return [(_condition(document, c, detection, at), at) for c, at in zip(listed, places, strict=True)]


def _condition(document: Document, written: object, detection: dict[str, Any], path: tuple[Key, ...]) -> str:
    if not isinstance(written, str) or not written.strip():
        raise fault(
            document, f"a condition is a text such as `selection and not filter`, not {written!r}", *path
        )
    if "|" in written:
        raise fault(document, "Sigma has no pipes any more; write a correlation to count events", *path)
    identifiers = detection.keys() - {"condition", "timeframe"}

    def word(match: re.Match[str]) -> str:
        text = match.group()
        if text in identifiers or "*" in text or text == "1":
            return text
        if text.lower() in _WORDS:
            return text.lower()
        if text.isdigit():
            raise fault(document, f"there is `1 of`, `any of` and `all of`, but no `{text} of`", *path)
        hint = nearest(text, identifiers) if identifiers else "there is none"
        raise fault(document, f"no search identifier {text!r}; {hint}", *path)

    return _WORD.sub(word, written)


def _node(document: Document, parsed: Any) -> Node:  # Any: pySigma's tree is a loose union
    match parsed:
        case ConditionAND():
            return And(tuple(_node(document, a) for a in parsed.args))
        case ConditionOR():
            return Or(tuple(_node(document, a) for a in parsed.args))
        case ConditionNOT():
            return Not(_node(document, parsed.args[0]))
        case ConditionFieldEqualsValueExpression():
            return Item(parsed.field, _test(document, parsed.value))
        case ConditionValueExpression():
            return Item(None, _test(document, parsed.value))
        case _:
            raise fault(document, f"can't evaluate {type(parsed).__name__}", "detection", "condition")


# --- values -------------------------------------------------------------------------------------------


def _test(document: Document, value: Any) -> Test:  # Any: of pySigma's types each has attributes of its own
    for kind, made in _TESTS.items():
        if isinstance(value, kind):
            return made(value)
    raise fault(document, f"can't evaluate a value of type {type(value).__name__}", "detection")


def _parts(value: SigmaString) -> tuple[str | Wild, ...]:
    return tuple(p if isinstance(p, str) else _WILDCARDS[cast("SpecialChars", p)] for p in value.s)


def _pattern(value: SigmaRegularExpression) -> Pattern:
    return Pattern(_flagged(str(value.regexp), "".join(sorted(_FLAGS[f] for f in value.flags))))


def _reference(value: SigmaFieldReference) -> FieldRef:
    match value.starts_with, value.ends_with:
        case True, True:
            return FieldRef(value.field, "contains")
        case True, False:
            return FieldRef(value.field, "startswith")
        case False, True:
            return FieldRef(value.field, "endswith")
        case _:
            return FieldRef(value.field)


# What is evaluated, first match first: a cased string is a string as well.
_TESTS: dict[type, Callable[[Any], Test]] = {
    SigmaCasedString: lambda v: Text(_parts(v), cased=True),
    SigmaString: lambda v: Text(_parts(v)),
    SigmaNumber: lambda v: Number(v.number),
    SigmaBool: lambda v: Truth(v.boolean),
    SigmaNull: lambda _: Null(),
    SigmaExists: lambda v: Exists(v.exists),
    SigmaRegularExpression: _pattern,
    SigmaCIDRExpression: lambda v: Network(str(v.network)),
    SigmaCompareExpression: lambda v: Compare(_OPERATORS[v.op], v.number.number),
    SigmaFieldReference: _reference,
}
