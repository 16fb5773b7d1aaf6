"""A correlation's text → `Correlation`.

pySigma checks its parts (Sigma correlation rules specification 2.1.0; semantics section 2). Thresholds are
read here, since it knows no ranges (`gt: 5, lte: 10`).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from sigma.correlations import SigmaCorrelationCondition, SigmaCorrelationRule
from sigma.exceptions import SigmaError, SigmaTimespanError

from pipeline.errors import RuleError, nearest
from pipeline.sigma.form import Correlation, CorrelationType
from pipeline.sigma.reader.heading import about, extended, fault, place
from pipeline.sigma.reader.options import NO_OPTIONS, Options
from pipeline.sigma.reader.processing import apply

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipeline.document import Document, Key

__all__ = ["group_fields", "read_correlation"]

_KEYS = ("type", "rules", "group-by", "timespan", "condition", "aliases", "generate")
_BOUNDS = ("eq", "neq", "gt", "gte", "lt", "lte")
_LONGEST_S = 10 * 31_556_952
"""Ten of Sigma's years, in seconds: nothing is kept for longer, and a window must end some day."""
_DIGITS = 12
_TOO_LONG = "a timespan of more than ten years; 30m, 12h and 7d are timespans"


def read_correlation(document: Document, data: dict[str, Any], options: Options = NO_OPTIONS) -> Correlation:
    """Read one correlation, its timespan in milliseconds. Its references stay as written.

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
    references = _references(document, body)
    group_by = group_fields(document, body, "correlation")
    aliases = _aliases(document, body)
    _check_length(document, body)
    bounds, fields = _condition(document, body, kind)
    # A stand-in that pySigma takes for what has been read already.
    stand_in = {"gte": 1, **({"field": list(fields)} if fields else {})}
    rule = _checked(document, {**data, "correlation": {**body, "condition": stand_in}})
    if rule.timespan.seconds > _LONGEST_S:
        raise fault(document, _TOO_LONG, "correlation", "timespan")
    if options.processing is not None:
        try:
            apply(options.processing, rule)
        except RuleError as error:
            raise fault(document, error.message, "correlation") from error
        fields = _fields(rule)
        group_by = tuple(rule.group_by or ())
        aliases = {a.alias: {str(r.reference): str(f) for r, f in a.mapping.items()} for a in rule.aliases}
        if options.processing_digest:
            heading = extended(heading, options.processing_digest)
    return Correlation(
        about=heading,
        type=kind,
        rules=references,
        group_by=group_by,
        timespan_ms=rule.timespan.seconds * 1000,
        bounds=bounds,
        fields=fields,
        aliases=aliases,
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
        if isinstance(first, SigmaTimespanError):
            raise fault(document, str(first), "correlation", "timespan")
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


def group_fields(document: Document, body: dict[str, Any], *above: Key) -> tuple[str, ...]:
    """Return the fields that make a group.

    Args:
        document: where they are written.
        body: what may hold `group-by`. (Any: a YAML document's values.)
        above: where it stands in the document.

    Raises:
        RuleError: they are no names of fields.
    """
    written = body.get("group-by")
    if written is None:
        return ()
    path = (*above, "group-by")
    if not isinstance(written, str | list):
        raise fault(document, f"`group-by` is a field's name or a list of them, not {written!r}", *path)
    for position, field in enumerate(written if isinstance(written, list) else [written]):
        if not isinstance(field, str) or not field.strip():
            at = (*path, position) if isinstance(written, list) else path
            raise fault(document, f"a group is made of fields' names, not of {field!r}", *at)
    return tuple(written) if isinstance(written, list) else (written,)


def _aliases(document: Document, body: dict[str, Any]) -> dict[str, dict[str, str]]:
    """Return alias → rule as it is referred to → the field that stands for it there."""
    written = body.get("aliases")
    if written is None:
        return {}
    path = ("correlation", "aliases")
    if not isinstance(written, dict):
        raise fault(document, "`aliases` map a name to the field for each rule: {user: {rule: field}}", *path)
    for alias, fields in written.items():
        if not isinstance(fields, dict) or not fields:
            message = f"an alias maps rules to fields, as in {{{alias}: {{rule: field}}}}; not {fields!r}"
            raise fault(document, message, *path, alias)
        for reference, field in fields.items():
            if not isinstance(field, str) or not field.strip():
                raise fault(document, f"a field's name is a text, not {field!r}", *path, alias, reference)
    return {alias: dict(fields) for alias, fields in written.items()}


def _check_length(document: Document, body: dict[str, Any]) -> None:
    """Raise when a timespan has more digits than are read; pySigma says what else is wrong with one."""
    written = body.get("timespan")
    if isinstance(written, str) and len(written) > _DIGITS:
        raise fault(document, _TOO_LONG, "correlation", "timespan")


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
    if not isinstance(fields, list) or not all(isinstance(f, str) and f.strip() for f in fields):
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
