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
import inspect
from collections.abc import Callable, Iterable, Mapping

import msgspec

from pipeline.errors import RuleError
from pipeline.event import Event, LogSource
from pipeline.sigma.form import LEVELS, About

__all__ = ["Predicate", "PythonRule", "described", "rule"]

_SHORTEST = 2
_MAX_ERROR_CHARS = 500

_DEFERRED = (inspect.iscoroutinefunction, inspect.isgeneratorfunction, inspect.isasyncgenfunction)

Predicate = Callable[[Event], bool]


class PythonRule(msgspec.Struct, frozen=True):
    """A rule whose condition is a function.

    Attributes:
        about: as of every rule.
        logsource: the kind of log that it applies to.
        function: says whether an event matches.
        needles: texts of which at least one stands as written, in whatever case, in the bytes of every event
            that matches (see `rule`), in alphabetical order; with none, every event of the log source is
            examined.
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
        needles: texts of which one stands in every event that matches: the others need not be parsed. It must
            stand in the bytes as they were written, but for case and JSON's escapes: what a decoder makes up
            is not there (`decode.fields.DERIVED`: `exception`, `level`, `outcome`, `pid`, `service`,
            `timestamp`), nor are numbers in the notation that Python has for them.
        status: as in a Sigma rule.
        description: what it finds.
        tags: ATT&CK and other tags.

    Raises:
        RuleError: id, title, level, log source or a needle are not what they must be, or the function is one
            that is awaited or iterated over: what it returns would always count as yes.
    """

    def made(function: Predicate) -> PythonRule:
        code = getattr(function, "__code__", None)
        file = code.co_filename if code else ""
        line = code.co_firstlineno if code else 0

        def refuse(message: str) -> RuleError:
            return RuleError(message, file=file, line=line)

        if any(asked(f) for asked in _DEFERRED for f in (function, getattr(function, "__call__", None))):  # noqa: B004 — an object's own may be such a one
            raise refuse("a rule in Python is a plain function: it can be neither awaited nor iterated over")
        if not rule_id or not title:
            raise refuse("a rule in Python needs an id and a title")
        if level not in LEVELS:
            raise refuse(f"no such level: {level!r}; valid: {', '.join(LEVELS)}")
        source = dict(logsource or {})
        if odd := source.keys() - {"product", "service", "category"}:
            raise refuse(f"a log source has product, service and category, not {', '.join(sorted(odd))}")
        # In an order of their own, for a set's differs from process to process.
        wanted = tuple(sorted({needles} if isinstance(needles, str) else set(needles)))
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


def described(error: BaseException) -> str:
    """Return the kind of an error that a rule's code raised, and what it says if that can be had.

    Its text is the code's as well, and may raise in turn.
    """
    name = type(error).__name__
    try:
        return f"{name}: {error}"[:_MAX_ERROR_CHARS]
    except (Exception, SystemExit):  # noqa: BLE001 — whatever it is, there is no text
        return name
