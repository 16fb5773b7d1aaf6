"""Rule text → our own form: detections, correlations and filters, each error with its file, line and path.

What values, modifiers and conditions mean is decided here and in the modules that this one calls. pySigma
validates what a rule says about itself, and runs the processing pipelines of the configuration.
"""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, cast

import msgspec

from pipeline.document import each_document
from pipeline.errors import ConfigError, RuleError
from pipeline.event import LogSource
from pipeline.sigma.form import And, Correlation, Filter, Node, Or, Rule
from pipeline.sigma.reader.collection import collected
from pipeline.sigma.reader.conditions import check_size, parse
from pipeline.sigma.reader.correlation import group_fields, read_correlation
from pipeline.sigma.reader.heading import about, extended, fault, sigma_rule
from pipeline.sigma.reader.modifiers import MODIFIERS
from pipeline.sigma.reader.options import NO_OPTIONS, Options
from pipeline.sigma.reader.placeholders import Fillings
from pipeline.sigma.reader.processing import processed
from pipeline.sigma.reader.search import is_search, named, read_search, resolved

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from sigma.rule import SigmaRule

    from pipeline.document import Document, Key

__all__ = ["MODIFIERS", "read", "read_each"]

_KINDS = ("detection", "correlation", "filter")


def read(text: str, file: str, options: Options = NO_OPTIONS) -> list[Rule | Correlation | Filter]:
    """Read all rules of a file's text.

    Args:
        text: one or more YAML documents, each a detection, a correlation or a filter.
        file: the name to show in errors.
        options: the values of placeholders, and a processing pipeline.

    Returns:
        The rules in their order. References are as written; `RuleSet` resolves them.

    Raises:
        RuleError: a rule can't be used; it names file, line and path.
    """
    rules: list[Rule | Correlation | Filter] = []
    for rule in read_each(text, file, options):
        if isinstance(rule, RuleError):
            raise rule
        rules.append(rule)
    return rules


def read_each(
    text: str, file: str, options: Options = NO_OPTIONS
) -> Iterator[Rule | Correlation | Filter | RuleError]:
    """Yield each rule of a file's text, or what is wrong with it, so that one does not hide the others.

    Args:
        text: as of `read`.
        file: as of `read`.
        options: as of `read`.

    Yields:
        Rules in their order, errors in the places of those that can't be used. What follows text that is no
        YAML can't be told apart any more: its error is the last.
    """
    try:
        for document in collected(each_document(text, file)):
            yield document if isinstance(document, RuleError) else _rule_or_error(document, options)
    except ConfigError as error:
        yield RuleError(error.message, file=error.file, line=error.line, path=error.path)


def _rule_or_error(document: Document, options: Options) -> Rule | Correlation | Filter | RuleError:
    data = cast("dict[str, Any]", document.data)  # Any: a YAML document's values
    try:
        match [kind for kind in _KINDS if kind in data]:
            case ["detection"]:
                return _rule(document, data, options)
            case ["correlation"]:
                return read_correlation(document, data, options)
            case ["filter"]:
                return _filter(document, data, options)
            case [first, second, *_]:
                return fault(
                    document, f"it is either a {first} or a {second}; separate them by `---`", second
                )
            case _:
                return fault(document, _neither(data))
    except RuleError as error:
        return error


def _neither(data: dict[str, Any]) -> str:
    for wanted in _KINDS:
        if close := get_close_matches(wanted, data, n=1):
            return f"neither `detection` nor `correlation` is here; is {close[0]!r} meant to be {wanted!r}?"
    return "neither `detection` nor `correlation` is here, nor `filter`"


def _rule(document: Document, data: dict[str, Any], options: Options) -> Rule:
    detection = data["detection"]
    if not isinstance(detection, dict):
        raise fault(document, "a detection is a mapping of search identifiers and a condition", "detection")
    heading = about(document, data, {"d": detection, "l": data.get("logsource")})
    logsource, written, condition, more = _read_body(document, data, "detection", options)
    group_by = group_fields(document, data)
    if group_by:
        more.append(msgspec.json.encode(group_by).decode())
    return Rule(
        about=extended(heading, *more),
        logsource=logsource,
        condition=condition,
        written=written,
        group_by=group_by,
    )


def _filter(document: Document, data: dict[str, Any], options: Options) -> Filter:
    body = data["filter"]
    if not isinstance(body, dict):
        raise fault(document, "a filter is a mapping of rules, search identifiers and a condition", "filter")
    if "logsource" not in data:
        raise fault(document, "a filter needs a logsource, which contains those of its rules", "filter")
    # Which rules it is for is no part of what it finds in them.
    content = {key: value for key, value in body.items() if key != "rules"}
    heading = about(document, data, {"f": content, "l": data.get("logsource")})
    rules = _filtered_rules(document, body)
    if isinstance(body.get("condition"), list):
        raise fault(document, "a filter has one condition, no list of them", "filter", "condition")
    logsource, written, condition, more = _read_body(document, data, "filter", options)
    return Filter(
        about=extended(heading, *more),
        logsource=logsource,
        rules=rules,
        condition=condition,
        written=written,
    )


def _filtered_rules(document: Document, body: dict[str, Any]) -> tuple[str, ...]:
    if "rules" not in body:
        raise fault(document, "a filter needs `rules`: their ids or names in a list, or `any`", "filter")
    written = body["rules"]
    if isinstance(written, str):
        return () if written.lower() == "any" else (written,)
    if not isinstance(written, list):
        message = f"`rules` are ids or names in a list, or `any`; not {written!r}"
        raise fault(document, message, "filter", "rules")
    if not written:
        raise fault(document, "a filter for no rule; name them or write `any`", "filter", "rules")
    for position, reference in enumerate(written):
        if not isinstance(reference, str):
            message = f"a rule is named by its id or name, not by {reference!r}"
            raise fault(document, message, "filter", "rules", position)
    return tuple(written)


# --- what a rule or a filter finds --------------------------------------------------------------------------


def _read_body(
    document: Document, data: dict[str, Any], kind: str, options: Options
) -> tuple[LogSource, LogSource, Node, list[str]]:
    """Return what a rule or filter finds.

    Returns:
        Its log source; the one that is written where a pipeline has changed it, else an empty one; the
        condition as a tree; and what else than the text decides what is found.
    """
    body = data[kind]
    fillings = Fillings(options.placeholders)
    searches = {
        name: read_search(document, value, (kind, name), fillings)
        for name, value in body.items()
        if is_search(kind, name, value)
    }
    conditions = _conditions(document, body, kind)
    rule = sigma_rule(document, data, kind)
    written, source = frozenset(searches), _logsource(rule)
    if options.processing is not None:
        _nodes(document, conditions, dict.fromkeys(searches, And(())))
        try:
            searches, texts = processed(rule, searches, [text for text, _ in conditions], options.processing)
        except RuleError as error:
            raise fault(document, error.message, kind) from error
        conditions = [(text, path) for text, (_, path) in zip(texts, conditions, strict=True)]
    found: dict[str, Node | None] = {}
    for name, search in searches.items():
        node = resolved(document, search, fillings)
        # An identifier that a pipeline has added is none that the rule's readers know.
        found[name] = node if node is None or name not in written else named(node, name)
    nodes = _nodes(document, conditions, found)
    if not nodes:
        raise fault(document, "the processing pipeline has dropped all that the condition asks for", kind)
    condition = nodes[0] if len(nodes) == 1 else Or(tuple(nodes))
    try:
        check_size(condition)
    except RuleError as error:
        raise fault(document, error.message, kind, "condition") from error
    after = _logsource(rule)
    before = LogSource() if after == source else source
    return after, before, condition, _beyond_the_text(options, fillings)


def _logsource(rule: SigmaRule) -> LogSource:
    source = rule.logsource
    return LogSource(source.product or "", source.service or "", source.category or "")


def _beyond_the_text(options: Options, fillings: Fillings) -> list[str]:
    more = []
    if options.processing is not None and options.processing_digest:
        more.append(options.processing_digest)
    if fillings.used:
        more.append(msgspec.json.encode(fillings.used, order="deterministic").decode())
    return more


def _conditions(document: Document, body: dict[str, Any], kind: str) -> list[tuple[str, tuple[Key, ...]]]:
    """Return each condition, and where it stands; several are alternatives."""
    path = (kind, "condition")
    if "condition" not in body:
        raise fault(document, f"the {kind} has no `condition`", kind)
    written = body["condition"]
    if written == []:
        raise fault(document, "the condition is empty", *path)
    conditions: list[tuple[str, tuple[Key, ...]]] = []
    for position, text in enumerate(written if isinstance(written, list) else [written]):
        at = (*path, position) if isinstance(written, list) else path
        if not isinstance(text, str) or not text.strip():
            message = f"a condition is a text such as `selection and not filter`, not {text!r}"
            raise fault(document, message, *at)
        conditions.append((text, at))
    return conditions


def _nodes(
    document: Document, conditions: list[tuple[str, tuple[Key, ...]]], searches: Mapping[str, Node | None]
) -> list[Node]:
    nodes = []
    for text, path in conditions:
        try:
            node = parse(text, searches)
        except RuleError as error:
            raise fault(document, error.message, *path) from error
        if node is not None:
            nodes.append(node)
    return nodes
