"""What every rule says about itself, whichever kind it is, and how an error in one is told."""

from __future__ import annotations

import datetime as dt
import hashlib
import re
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec.structs import replace
from sigma.exceptions import SigmaError
from sigma.rule import SigmaRule
from sigma.rule.base import check_alias_expansion

from pipeline.document import shown
from pipeline.errors import RuleError, nearest
from pipeline.sigma.form import LEVELS, About

if TYPE_CHECKING:
    from pipeline.document import Document, Key

__all__ = ["about", "extended", "fault", "place", "refuse_odd_content", "sigma_rule"]

_MAX_TEXT = 2000
_DEEPEST = 60
_STAND_IN = {"selection": {"field": "value"}, "condition": "selection"}
_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_SCALARS = (str, int, float, type(None))
# Keys of one's own are allowed, and may hold dates as well; the values of searches are told with their hint.
_NO_DATES = frozenset(
    [
        *("title", "id", "name", "taxonomy", "related", "status", "description", "license", "references"),
        *("author", "tags", "logsource", "fields", "falsepositives", "level", "scope", "correlation"),
    ]
)


def fault(document: Document, message: str, *path: Key) -> RuleError:
    """Return (not raise) an error that points at `path` in a rule's document."""
    return RuleError(message.rstrip("."), file=document.file, line=document.line(*path), path=shown(path))


def place(data: dict[str, Any], error: SigmaError, default: str) -> str:  # Any: a YAML document's values
    """Return the top-level key that an error of pySigma speaks of, or `default`."""
    # SigmaDateError is about `date`, SigmaIdentifierError about `id`; others only say so, in words among
    # which `id` is also that of another rule.
    name = type(error).__name__.removeprefix("Sigma").removesuffix("Error").lower()
    name = {"identifier": "id", "tag": "tags"}.get(name, name)
    if name in data:
        return name
    words = f" {error} ".lower().replace(" tag ", " tags ")
    return next((key for key in sorted(data, key=len, reverse=True) if f" {key} " in words), default)


def refuse_odd_content(document: Document) -> None:
    """Raise when a document is no mapping, or holds what no rule does.

    Raises:
        RuleError: a key is no text, as `5`, `on` and `null` are none in YAML; a value is of no type that
            rules have, or a number beyond all that events hold; it nests too deeply; or its aliases stand for
            more than anyone has written.
    """
    if not isinstance(document.data, dict):
        raise fault(document, "a rule is a mapping with title, logsource and detection")
    try:
        check_alias_expansion(document.data)
    except SigmaError as error:
        raise fault(document, str(error)) from error
    waiting: list[tuple[object, tuple[Key, ...]]] = [(document.data, ())]
    while waiting:
        value, path = waiting.pop()
        if len(path) > _DEEPEST:
            raise fault(document, f"nested too deeply; {_DEEPEST} levels are possible", *path)
        if isinstance(value, dict):
            for key, inner in value.items():
                if not isinstance(key, str):
                    _refuse_odd_scalar(document, key, path)
                    raise fault(document, f"the key {key!r} is no text here; put it into quotes", *path)
                waiting.append((inner, (*path, key)))
        elif isinstance(value, list):
            waiting.extend((inner, (*path, index)) for index, inner in enumerate(value))
        else:
            _refuse_odd_scalar(document, value, path)


def _refuse_odd_scalar(document: Document, value: object, path: tuple[Key, ...]) -> None:
    if isinstance(value, int) and _beyond_a_double(value):
        # Nor does Python write so many digits into a message.
        raise fault(document, "Invalid number: no event holds one as large; put it into quotes", *path)
    if isinstance(value, dt.date) and path and path[0] in _NO_DATES:
        raise fault(document, f"a date; put {value.isoformat()} into quotes to mean the text", *path)
    if not isinstance(value, (*_SCALARS, dt.date)):
        kind = type(value).__name__
        raise fault(
            document, f"Unsupported type: {kind}; a value is a text, a number, true, false or null", *path
        )


def _beyond_a_double(value: int) -> bool:
    try:
        float(value)
    except OverflowError:
        return True
    return False


def about(document: Document, data: dict[str, Any], meaning: object) -> About:  # Any: as above
    """Read what a rule says about itself.

    Args:
        document: where it stands.
        data: the rule.
        meaning: the part of it that decides what it finds; its hash tells one content from another.

    Raises:
        RuleError: title, id, name or level are not what they must be.
    """
    title = data.get("title")
    if not isinstance(title, str) or not title.strip():
        raise fault(document, "a rule needs a title", "title")
    for key in ("id", "name"):
        if data.get(key) is not None and not isinstance(data[key], str):
            raise fault(document, f"the {key} is no text: {data[key]!r}", key)
    if data.get("id") is not None and _UUID.fullmatch(data["id"]) is None:
        raise fault(document, f"the id is no UUID: {data['id']!r}", "id")
    level = data.get("level", "medium")
    if level not in LEVELS:
        raise fault(document, f"no such level: {level!r}; {nearest(str(level), LEVELS)}", "level")
    digest = hashlib.sha256(msgspec.json.encode(meaning, order="deterministic")).hexdigest()[:16]
    return About(
        id=data.get("id") or data.get("name") or f"{title.strip()}-{digest}",
        name=data.get("name") or "",
        title=title.strip(),
        hash=digest,
        level=level,
        status=str(data.get("status") or ""),
        description=" ".join(str(data.get("description") or "").split())[:_MAX_TEXT],
        tags=_strings(data.get("tags")),
        references=_strings(data.get("references")),
        falsepositives=_strings(data.get("falsepositives")),
        file=document.file,
        line=document.line(),
    )


def extended(about: About, *more: str) -> About:
    """Return the same with a hash over more of what decides what is found; and its id, if made of it."""
    if not more:
        return about
    digest = hashlib.sha256("\n".join((about.hash, *more)).encode()).hexdigest()[:16]
    own = f"{about.title}-{about.hash}"
    new_id = f"{about.title}-{digest}" if about.id == own else about.id
    return replace(about, id=new_id, hash=digest)


def sigma_rule(document: Document, data: dict[str, Any], kind: str) -> SigmaRule:  # Any: as above
    """Return pySigma's rule with this heading and log source, for what it validates and its pipelines.

    Args:
        document: where it stands.
        data: the rule, or filter.
        kind: the key of what it finds, `detection` or `filter`. A stand-in takes its place, since what is
            found is read without pySigma.

    Raises:
        RuleError: something in the heading is not what it must be.
    """
    heading = {key: value for key, value in data.items() if key != kind}
    if isinstance(heading.get("related"), list):
        heading["related"] = [_related(item) for item in heading["related"]]
    try:
        rule = SigmaRule.from_dict({**heading, "detection": _STAND_IN}, collect_errors=True)
    except SigmaError as error:
        raise fault(document, str(error)) from error
    if rule.errors:
        raise fault(document, str(rule.errors[0]), place(data, rule.errors[0], kind))
    return rule


def _related(item: object) -> object:
    # The first specification's word, in thousands of rules.
    if isinstance(item, dict) and item.get("type") == "obsoletes":
        return {**item, "type": "obsolete"}
    return item


def _strings(value: object) -> tuple[str, ...]:
    return tuple(str(v) for v in value) if isinstance(value, list) else ()
