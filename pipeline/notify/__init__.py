"""Notifying: alerts into groups, groups into few messages, each said once."""

from __future__ import annotations

from pipeline.notify.group import Integration
from pipeline.notify.matchers import (
    Matcher,
    Operator,
    all_match,
    parse_matcher,
    parse_matchers,
    show_matchers,
)
from pipeline.notify.notification import Intent, Notification, Reason, Receipt, Result, Status
from pipeline.notify.notify import Limits, Notify, Stats
from pipeline.notify.route import ALL_LABELS, Route, Router, group_key
from pipeline.notify.stages import STAGES, Stage

__all__ = [
    "ALL_LABELS",
    "STAGES",
    "Integration",
    "Intent",
    "Limits",
    "Matcher",
    "Notification",
    "Notify",
    "Operator",
    "Reason",
    "Receipt",
    "Result",
    "Route",
    "Router",
    "Stage",
    "Stats",
    "Status",
    "all_match",
    "group_key",
    "parse_matcher",
    "parse_matchers",
    "show_matchers",
]
