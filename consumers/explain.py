"""`tocsin explain RULE EVENT`: why a rule fires on an event, or why it does not.

The event takes the way that it takes in a worker: it is decoded, its log source is asked, the prefilter
scans its bytes, and the rule's condition is evaluated, here part by part. The exit code says whether the rule
fires.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec
from rich.console import Console

from consumers.clock import now_ms
from consumers.event_argument import read_events
from consumers.explain_view import write_explanation
from consumers.logsources import parse_logsource, shown_logsource
from consumers.rule_argument import choose_rules, is_file
from consumers.rules import SHIPPED, RuleCache, default_cache, load_usable
from pipeline.decode import FORMATS, Auto, choose
from pipeline.detect.engine import Engine
from pipeline.errors import DecodeError, TocsinError
from pipeline.python_rule import PythonRule, described
from pipeline.sigma.explanation.describe import printable, quoted
from pipeline.sigma.explanation.explain import Explained
from pipeline.sigma.explanation.explain import explain as explain_condition
from pipeline.sigma.form import And
from pipeline.sigma.reader.options import NO_OPTIONS
from pipeline.sigma.witness.witness import witness_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from consumers.event_argument import Given
    from pipeline.decode import Decoder
    from pipeline.event import Event, LogSource
    from pipeline.sigma.form import Rule
    from pipeline.sigma.matcher.match import Matcher
    from pipeline.sigma.reader.options import Options
    from pipeline.sigma.ruleset import RuleSet

__all__ = ["Explanation", "Fact", "explain"]

_MAX_PATTERNS = 4
_MAX_TEXT = 300


class Fact(msgspec.Struct, frozen=True):
    """One thing to know besides the condition.

    Attributes:
        name: what it is about.
        says: what there is to know.
        good: False where it keeps the rule from firing, or should not be.
    """

    name: str
    says: str
    good: bool = True


class Explanation(msgspec.Struct, frozen=True):
    """A rule and an event, explained. All texts can be shown as they are.

    Attributes:
        title: the rule's.
        id: likewise.
        level: likewise.
        place: where the rule stands, file and line.
        event: where the event is from; empty for a text on the command line.
        text: the event as it was written, cut.
        fires: whether an alert or a correlation would hear of the event.
        verdict: the same in words.
        reasons: what keeps the rule from firing.
        facts: log source, prefilter and what else there is.
        explained: the condition, part by part; None for a rule in Python.
    """

    title: str
    id: str
    level: str
    place: str
    event: str
    text: str
    fires: bool
    verdict: str
    reasons: tuple[str, ...]
    facts: tuple[Fact, ...]
    explained: Explained | None


def explain(
    rule: str,
    event: str,
    paths: Sequence[str],
    *,
    options: Options = NO_OPTIONS,
    python: Sequence[str] = (),
    form: Literal["text", "json"] = "text",
    format: str = "auto",  # noqa: A002 - as the option is called
    logsource: str = "",
) -> int:
    """Explain what one or more events are to a rule.

    Args:
        rule: an id, a name, a title or the beginning of one, or a rule file.
        event: JSON, a line of a log, a file (with `:N` for its N-th event), or `-` for standard input.
        paths: rule files and folders; with none, the rule file alone, or what ships.
        options: how rules are read.
        python: files of rules in Python.
        form: a tree for people, or JSON lines for programs.
        format: the decoder of the event.
        logsource: what the event's source declares, as `product=…,service=…,category=…`; or empty.

    Returns:
        0 if a rule fires on an event, else 1.

    Raises:
        TocsinError: there is no such rule or event, or the rule can't be used.
    """
    declared = frozenset({parse_logsource(logsource)}) if logsource else frozenset()
    places = [*paths, rule] if is_file(rule) else list(paths or [SHIPPED])
    loaded = load_usable(places, options, cache=RuleCache(default_cache(), now_ms), python=python)
    rules = loaded.rules
    try:
        chosen = choose_rules(rule, rules)
    except TocsinError as error:
        # The rule that is asked for may be one that can't be used.
        raise next((e for e in loaded.refused if is_file(rule) and e.file == rule), error) from None
    decoder = choose(format)
    out = Console()
    fired = False
    events = list(read_events(event, format=format))
    if isinstance(decoder, Auto):
        for given in events:
            decoder.learn(given.raw)
    for number, given in enumerate(events):
        decoded, problem = _decode(decoder, given)
        for at, one in enumerate(chosen):
            explanation = _explanation(one, given, decoded, problem, declared)
            if applied := _filters(one, rules):
                facts = (*explanation.facts, Fact("filters", ", ".join(applied)))
                explanation = msgspec.structs.replace(explanation, facts=facts)
            fired = fired or explanation.fires
            if form == "json":
                out.file.write(msgspec.json.encode(explanation).decode() + "\n")
                continue
            if number or at:
                out.file.write("\n")
            write_explanation(out, explanation)
    out.file.flush()
    return 0 if fired else 1


def _filters(rule: Rule | PythonRule, rules: RuleSet) -> list[str]:
    """Return the filters that are part of a rule's condition."""
    if isinstance(rule, PythonRule) or not isinstance(rule.condition, And):
        return []
    members = rule.condition.items
    conditions = [*members, *(m.items[0] for m in members if isinstance(m, And) and len(m.items) == 1)]
    return [
        f"{printable(f.about.title)} ({f.about.file}:{f.about.line})"
        for f in rules.filters.values()
        if f.condition in conditions
    ]


def _decode(decoder: Decoder, given: Given) -> tuple[Event, str]:
    """Return the event, and why it is taken as text where it is not of its format."""
    try:
        event = decoder.decode(given.raw, now_ms())
    except DecodeError as error:
        return FORMATS["text"].decode(given.raw, now_ms()), printable(str(error))
    if given.raw.lstrip()[:1] == b"{" and not event.structured:
        # Who writes JSON wants to know that it is none.
        return event, _why_no_json(given.raw)
    return event, ""


def _why_no_json(raw: bytes) -> str:
    try:
        FORMATS["json"].decode(raw, now_ms())
    except DecodeError as error:
        return printable(str(error))
    return ""


def _explanation(
    rule: Rule | PythonRule, given: Given, event: Event, problem: str, declared: frozenset[LogSource]
) -> Explanation:
    engine = Engine([rule], declared, None, _python_matcher)
    wanted = engine.wanted(event.logsources)
    applies = rule.about.id in engine.matchers and (wanted is None or rule.about.id in wanted)
    facts = [_logsource_fact(rule, event, declared, applies=applies)]
    if problem:
        facts.append(Fact("format", f"matched as raw text: {problem}", good=False))
    explained: Explained | None = None
    reasons: tuple[str, ...] = ()
    if isinstance(rule, PythonRule):
        matched, says = _asked(rule, event)
        facts.append(Fact("function", says, good=matched))
    else:
        explained = explain_condition(rule, event)
        matched, reasons = explained.matched, explained.reasons
    examined, says = _prefilter(rule, given.raw)
    facts.append(Fact("prefilter", says, good=examined or not matched))
    about = rule.about
    verdict = "matches" if matched else "does not match"
    if matched and not applies:
        verdict = "does not fire: its condition holds, but it is for another log source"
        reasons = (facts[0].says,)
    return Explanation(
        title=printable(about.title),
        id=printable(about.id),
        level=about.level,
        place=f"{about.file}:{about.line}",
        event=printable(given.place),
        text=printable(event.text, _MAX_TEXT),
        fires=matched and applies,
        verdict=verdict,
        reasons=reasons,
        facts=tuple(facts),
        explained=explained,
    )


def _logsource_fact(
    rule: Rule | PythonRule, event: Event, declared: frozenset[LogSource], *, applies: bool
) -> Fact:
    said = [f"the event says {shown_logsource(s)}" for s in event.logsources[:3]]
    said += [f"the source declares {shown_logsource(s)}" for s in declared]
    told = "; ".join(said) or "neither event nor source says what it is"
    agrees = "so it is asked" if applies else "so it is not asked"
    return Fact(
        "log source",
        f"the rule is for {shown_logsource(rule.logsource)}; {printable(told)}: {agrees}",
        applies,
    )


def _prefilter(rule: Rule | PythonRule, raw: bytes) -> tuple[bool, str]:
    """Return whether the rule would be asked about the event at all, and why."""
    engine = Engine([rule], frozenset(), None, _python_matcher)
    found = witness_of(rule)
    if found is None or engine.always:
        return True, "has nothing to look for: the rule must examine every event"
    patterns = sorted(found.patterns, key=lambda p: (-len(p), p))
    listed = ", ".join(quoted(p) for p in patterns[:_MAX_PATTERNS])
    if len(patterns) > _MAX_PATTERNS:
        listed = f"{len(patterns):,} patterns, among them {listed}"
    if engine.prefilter.candidates([raw]):
        return True, f"looks for {listed}: found, the event is examined"
    return False, f"looks for {listed}: not found, so that the event is never decoded"


def _python_matcher(rule: PythonRule) -> Matcher:
    return lambda subject: rule(subject.event)


def _asked(rule: PythonRule, event: Event) -> tuple[bool, str]:
    try:
        matched = rule(event)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever a rule does is what is to be told
        return False, printable(f"raised {described(error)}; that counts as no match")
    return matched, "returns yes" if matched else "returns no"
