"""Rules: found, read or taken from a cache, watched, and reloaded while they run."""

from __future__ import annotations

from consumers.rules.background import calm
from consumers.rules.cache import RuleCache, default_cache
from consumers.rules.files import CASES_SUFFIX, SHIPPED, rule_files, shipped_rules
from consumers.rules.gate import Gate
from consumers.rules.live import Figures, LiveRules
from consumers.rules.loading import Loaded, RuleSources, load, load_rules, load_usable, reading_options
from consumers.rules.processing import Processing, find_processing
from consumers.rules.python_errors import PythonErrors

__all__ = [
    "CASES_SUFFIX",
    "SHIPPED",
    "Figures",
    "Gate",
    "LiveRules",
    "Loaded",
    "Processing",
    "PythonErrors",
    "RuleCache",
    "RuleSources",
    "calm",
    "default_cache",
    "find_processing",
    "load",
    "load_rules",
    "load_usable",
    "reading_options",
    "rule_files",
    "shipped_rules",
]
