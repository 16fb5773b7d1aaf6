"""A correlation's text → `Correlation`.

pySigma checks its parts (Sigma correlation rules specification 2.1.0; semantics section 2). Thresholds are
read here, since it knows no ranges (`gt: 5, lte: 10`).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from sigma.correlations import SigmaCorrelationCondition, SigmaCorrelationRule
from sigma.exceptions import SigmaError

from pipeline.errors import RuleError, nearest
from pipeline.sigma.form import Correlation, CorrelationType
from pipeline.sigma.reader.heading import about, extended, fault, place
from pipeline.sigma.reader.options import NO_OPTIONS, Options
from pipeline.sigma.reader.processing import apply

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipeline.document import Document

__all__ = ["read_correlation"]

_KEYS = ("type", "rules", "group-by", "timespan", "condition", "aliases", "generate")
_BOUNDS = ("eq", "neq", "gt", "gte", "lt", "lte")


def read_correlation(document: Document, data: dict[str, Any], options: Options = NO_OPTIONS) -> Correlation:
    """Read one correlation. Its references stay as written.

    Args:
        document: where it stands.
        data: the rule. (Any: a YAML document's values.)
        options: a processing pipeline renames its fields as it does those of rules.

    Raises:
        RuleError: it can't be used.
    """
    body = data["correlation"]
    if not isinstance(body, dict):
        raise fault(document, "a correlation is a mapping", "correlation")
    heading = about(document, data, body)
    for key in body:
        if key not in _KEYS:
            raise fault(document, f"no such key: {key!r}; {nearest(key, _KEYS)}", "correlation", key)
    kind = _kind(document, body)
    bounds, fields = _condition(document, body, kind)
    # A stand-in that pySigma takes for what has been read already.
    stand_in = {"gte": 1, **({"field": list(fields)} if fields else {})}
    rule = _checked(document, {**data, "correlation": {**body, "condition": stand_in}})
    if options.processing is not None:
        try:
            apply(options.processing, rule)
        except RuleError as error:
            raise fault(document, error.message, "correlation") from error
        fields = _fields(rule)
        if options.processing_digest:
            heading = extended(heading, options.processing_digest)
    return Correlation(
        about=heading,
        type=kind,
        rules=_references(document, body),
        group_by=tuple(rule.group_by or ()),
        timespan_ms=rule.timespan.seconds * 1000,
        bounds=bounds,
        fields=fields,
        aliases={a.alias: {str(r.reference): str(f) for r, f in a.mapping.items()} for a in rule.aliases},
        generate=bool(rule.generate),
    )


def _kind(document: Document, body: dict[str, Any]) -> CorrelationType:
    written, known = body.get("type"), [t.value for t in CorrelationType]
    if written is None:
        raise fault(document, f"a correlation needs a type: {', '.join(known)}", "correlation")
    if written not in known:
        hint = nearest(str(written), known)
        raise fault(document, f"no such correlation type here: {written!r}; {hint}", "correlation", "type")
    return CorrelationType(written)


def _checked(document: Document, data: dict[str, Any]) -> SigmaCorrelationRule:
    try:
        rule = SigmaCorrelationRule.from_dict(data, collect_errors=True)
    except SigmaError as error:
        raise fault(document, str(error), "correlation") from error
    if rule.errors:
        first = rule.errors[0]
        inner = place(data["correlation"], first, "")
        path = ("correlation", inner) if inner else (place(data, first, "correlation"),)
        raise fault(document, str(first), *path)
    return rule


def _fields(rule: SigmaCorrelationRule) -> tuple[str, ...]:
    counted = rule.condition.fieldref if isinstance(rule.condition, SigmaCorrelationCondition) else None
    return (counted,) if isinstance(counted, str) else tuple(counted or ())


def _references(document: Document, body: dict[str, Any]) -> tuple[str, ...]:
    written = body.get("rules")
    listed = [written] if isinstance(written, str) else written
    if not isinstance(listed, list) or not listed:
        raise fault(document, "a correlation needs the rules that it counts", "correlation", "rules")
    for position, reference in enumerate(listed):
        if not isinstance(reference, str):
            message = f"a rule is named by its id or name, not by {reference!r}"
            raise fault(document, message, "correlation", "rules", position)
    return tuple(listed)


def _condition(
    document: Document, body: dict[str, Any], kind: CorrelationType
) -> tuple[tuple[tuple[str, float], ...], tuple[str, ...]]:
    """Return the bounds, and the fields whose values are counted."""
    condition = body.get("condition")
    path = ("correlation", "condition")
    if not isinstance(condition, dict):
        raise fault(document, "a count needs a condition such as {gte: 10}", *path)
    written = condition.get("field") or []
    fields = [written] if isinstance(written, str) else written
    if not isinstance(fields, list) or not all(isinstance(f, str) for f in fields):
        raise fault(document, f"`field` is a field's name or a list of them, not {written!r}", *path, "field")
    if kind is CorrelationType.VALUE_COUNT and not fields:
        raise fault(document, "value_count needs `field` in its condition", *path)
    if kind is CorrelationType.EVENT_COUNT and "field" in condition:
        raise fault(document, "event_count counts events; with `field` it is a value_count", *path, "field")
    bounds = tuple(_bounds(document, condition))
    if not bounds:
        raise fault(document, "a count needs a threshold such as gte: 10", *path)
    return bounds, tuple(fields)


def _bounds(document: Document, condition: dict[str, Any]) -> Iterator[tuple[str, float]]:
    for key, value in condition.items():
        if key == "field":
            continue
        path = ("correlation", "condition", key)
        if key not in _BOUNDS:
            raise fault(document, f"no such operator: {key!r}; {nearest(key, _BOUNDS)}", *path)
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise fault(document, f"a threshold is a number, not {value!r}", *path)
        yield key, value
