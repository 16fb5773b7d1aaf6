"""Rules in Python: a function over the event, for what Sigma has no words for.

A function says yes or no to one event, and everything after that is as with any rule: its match becomes a
detection, its alert is routed by the same labels. It must not wait, read or write anything, nor change the
event.

    from pipeline.python_rule import rule

    @rule("7f0c7f1e-5a0e-4a3c-9d39-0f6f5a2b7c11", "A large invoice", level="high", needles=["invoice"])
    def large_invoice(event):
        return event.fields.get("event") == "invoice sent" and event.fields.get("total", 0) > 10_000
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping

import msgspec

from pipeline.errors import RuleError
from pipeline.event import Event, LogSource
from pipeline.sigma.form import LEVELS, About

__all__ = ["Predicate", "PythonRule", "rule"]

_SHORTEST = 2

Predicate = Callable[[Event], bool]


class PythonRule(msgspec.Struct, frozen=True):
    """A rule whose condition is a function.

    Attributes:
        about: as of every rule.
        logsource: the kind of log that it applies to.
        function: says whether an event matches.
        needles: texts of which at least one stands, in whatever case, in every event that matches; with
            none given, every event of the log source is examined.
    """

    about: About
    logsource: LogSource
    function: Predicate
    needles: tuple[str, ...] = ()

    def __call__(self, event: Event) -> bool:
        """Return what the function says, so that a test can call what it has decorated."""
        return bool(self.function(event))


def rule(
    rule_id: str,
    title: str,
    *,
    level: str = "medium",
    logsource: Mapping[str, str] | None = None,
    needles: Iterable[str] = (),
    status: str = "",
    description: str = "",
    tags: Iterable[str] = (),
) -> Callable[[Predicate], PythonRule]:
    """Make a rule of the function that follows.

    Args:
        rule_id: a UUID of its own; what silences and correlations refer to.
        title: one line for people.
        level: `informational`, `low`, `medium`, `high` or `critical`.
        logsource: `product`, `service`, `category`, as in a Sigma rule; none applies everywhere.
        needles: texts of which one stands in every event that matches: the others need not be parsed.
        status: as in a Sigma rule.
        description: what it finds.
        tags: ATT&CK and other tags.

    Raises:
        RuleError: id, title, level, log source or a needle are not what they must be.
    """

    def made(function: Predicate) -> PythonRule:
        code = getattr(function, "__code__", None)
        file = code.co_filename if code else ""
        line = code.co_firstlineno if code else 0

        def refuse(message: str) -> RuleError:
            return RuleError(message, file=file, line=line)

        if not rule_id or not title:
            raise refuse("a rule in Python needs an id and a title")
        if level not in LEVELS:
            raise refuse(f"no such level: {level!r}; valid: {', '.join(LEVELS)}")
        source = dict(logsource or {})
        if odd := source.keys() - {"product", "service", "category"}:
            raise refuse(f"a log source has product, service and category, not {', '.join(sorted(odd))}")
        wanted = (needles,) if isinstance(needles, str) else tuple(needles)
        if short := [n for n in wanted if len(n) < _SHORTEST]:
            raise refuse(f"the needle {short[0]!r} is too short: at least {_SHORTEST} characters")
        about = About(
            id=rule_id,
            name="",
            title=title,
            # Whoever loads the file folds its content in: another content is another rule to open alerts.
            hash=hashlib.sha256(repr((rule_id, sorted(source.items()), wanted)).encode()).hexdigest()[:16],
            level=level,
            status=status,
            description=description or " ".join((function.__doc__ or "").split()),
            tags=tuple(tags),
            file=file,
            line=line,
        )
        return PythonRule(about, LogSource(**source), function, wanted)

    return made
