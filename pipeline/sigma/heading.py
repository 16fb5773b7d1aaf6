"""What every rule says about itself, whichever kind it is, and how an error in one is told."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Any

import msgspec

from pipeline.document import shown
from pipeline.errors import RuleError, nearest
from pipeline.sigma.form import About

if TYPE_CHECKING:
    from sigma.exceptions import SigmaError

    from pipeline.document import Document, Key

__all__ = ["about", "fault", "place", "refuse_odd_keys"]

_LEVELS = ("informational", "low", "medium", "high", "critical")
_MAX_TEXT = 2000
_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


def fault(document: Document, message: str, *path: Key) -> RuleError:
    """Return (not raise) an error that points at `path` in a rule's document."""
    return RuleError(message.rstrip("."), file=document.file, line=document.line(*path), path=shown(path))


def place(data: dict[str, Any], error: SigmaError, default: str) -> str:  # Any: a YAML document's values
    """Return the top-level key that an error of pySigma speaks of, or `default`."""
    # SigmaDateError is about `date`, SigmaTitleError about `title`; others only say so.
    name = type(error).__name__.removeprefix("Sigma").removesuffix("Error").lower()
    words = f" {error} ".lower()
    return next((key for key in data if key == name or f" {key} " in words), default)


def refuse_odd_keys(document: Document) -> None:
    """Raise when a key of the document is no text, as `5`, `on` and `null` are none in YAML."""
    waiting: list[tuple[object, tuple[Key, ...]]] = [(document.data, ())]
    while waiting:
        value, path = waiting.pop()
        if isinstance(value, dict):
            for key, inner in value.items():
                if not isinstance(key, str):
                    raise fault(document, f"the key {key!r} is no text here; put it into quotes", *path)
                waiting.append((inner, (*path, key)))
        elif isinstance(value, list):
            waiting.extend((inner, (*path, index)) for index, inner in enumerate(value))


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
    if data.get("id") and _UUID.fullmatch(data["id"]) is None:
        raise fault(document, f"the id is no UUID: {data['id']!r}", "id")
    level = data.get("level", "medium")
    if level not in _LEVELS:
        raise fault(document, f"no such level: {level!r}; {nearest(str(level), _LEVELS)}", "level")
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


def _strings(value: object) -> tuple[str, ...]:
    return tuple(str(v) for v in value) if isinstance(value, list) else ()
