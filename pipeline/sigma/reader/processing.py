"""Processing pipelines: a rule's searches → pySigma's items, through a pipeline, and back.

A pipeline changes fields, values, conditions and log sources to those of the events at hand. pySigma's own
types carry the values there and back (`pysigma_types`). (pySigma 2.0, "Processing pipelines".)
"""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import TYPE_CHECKING

from msgspec.structs import replace
from sigma.conditions import ConditionAND, ConditionOR
from sigma.modifiers import SigmaRegularExpressionModifier
from sigma.rule import SigmaDetection, SigmaDetectionItem, SigmaDetections

from pipeline.errors import RuleError
from pipeline.sigma.form import FieldRef
from pipeline.sigma.reader.pysigma_types import from_pysigma, to_pysigma
from pipeline.sigma.reader.search import Block, Line
from pipeline.sigma.reader.values import Choice, Placeholder, Regex, Template

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sigma.correlations import SigmaCorrelationRule
    from sigma.processing.pipeline import ProcessingPipeline
    from sigma.rule import SigmaRule

    from pipeline.sigma.reader.search import Search
    from pipeline.sigma.reader.values import Value

__all__ = ["apply", "processed"]


def processed(
    rule: SigmaRule, searches: Mapping[str, Search], conditions: list[str], pipeline: ProcessingPipeline
) -> tuple[dict[str, Search], list[str]]:
    """Apply a pipeline to what a rule finds.

    Args:
        rule: the heading and log source, as pySigma's rule; the pipeline changes them in place.
        searches: what stands under each search identifier.
        conditions: the texts of the conditions.
        pipeline: what to apply.

    Returns:
        The searches, and as many conditions, after it.

    Raises:
        RuleError: the pipeline refuses the rule, or makes of it what can't be evaluated. No place yet.
    """
    rule.detection = SigmaDetections({n: _detection(s) for n, s in searches.items()}, list(conditions))
    apply(pipeline, rule)
    after = [condition.condition for condition in rule.detection.parsed_condition]
    if len(after) != len(conditions):
        raise RuleError("the processing pipeline changes how many conditions there are")
    return {name: _back(detection) for name, detection in rule.detection.detections.items()}, after


def apply(pipeline: ProcessingPipeline, rule: SigmaRule | SigmaCorrelationRule) -> None:
    """Apply a pipeline to pySigma's rule, in place.

    Raises:
        RuleError: the pipeline refuses the rule. No place yet.
    """
    try:
        pipeline.apply(rule)
    except Exception as error:  # a pipeline's steps are anyone's code, and a rule may be what they stumble on
        reason = str(error) or type(error).__name__
        raise RuleError(f"the processing pipeline refuses the rule: {reason}") from error


class _Negated(SigmaDetection):
    """What is inside must not match. Outside of the items, since a mapping may make several of one."""


@dataclasses.dataclass
class _Item(SigmaDetectionItem):
    """An item that remembers where it stands, and whether case counts: some steps make new strings."""

    path: tuple[str | int, ...] = ()
    cased: bool = False


def _detection(search: Search) -> SigmaDetection:
    there = _there(search)
    return there if isinstance(there, SigmaDetection) else SigmaDetection([there], item_linking=ConditionAND)


def _there(search: Search) -> SigmaDetection | SigmaDetectionItem:
    """Return a search as pySigma's: a line as an item, or several where that keeps their linking."""
    if search.negated:
        return _Negated([_there(replace(search, negated=False))], item_linking=ConditionAND)
    linking = ConditionAND if search.every else ConditionOR
    if isinstance(search, Block):
        return SigmaDetection([_there(member) for member in search.members], item_linking=linking)
    if search.every and len(search.values) > 1 and any(map(_has_placeholders, search.values)):
        # Among the values of one item, those of a placeholder would be linked as all others are.
        alone = [replace(search, values=(value,), every=False) for value in search.values]
        return SigmaDetection([_there(line) for line in alone], item_linking=ConditionAND)
    return _Item(
        search.field,
        [],
        [to_pysigma(value) for value in search.values],
        linking,
        auto_modifiers=False,
        path=search.path,
        cased=any(map(_is_cased, search.values)),
    )


def _is_cased(value: Value) -> bool:
    if isinstance(value, Choice):
        return any(map(_is_cased, value.values))
    return isinstance(value, Template | FieldRef) and value.cased


def _has_placeholders(value: Value) -> bool:
    return isinstance(value, Template | Regex) and any(isinstance(p, Placeholder) for p in value.parts)


def _back(there: SigmaDetection | SigmaDetectionItem) -> Search:
    if isinstance(there, SigmaDetection):
        members = tuple(_back(member) for member in there.detection_items)
        every = there.item_linking is ConditionAND
        return Block(members, every, negated=isinstance(there, _Negated))
    if not there.value:
        raise RuleError(f"the processing pipeline leaves no value for the field {there.field!r}")
    cased, path = (there.cased, there.path) if isinstance(there, _Item) else (False, ())
    # Only a pipeline's own conditions have modifiers here: ours have been applied.
    as_written = SigmaRegularExpressionModifier in there.modifiers
    back = partial(from_pysigma, cased=cased, as_written=as_written, keyword=there.field is None)
    return Line(
        there.field,
        tuple(map(back, there.value)),
        there.value_linking is ConditionAND,
        there.negated,
        path,
    )
