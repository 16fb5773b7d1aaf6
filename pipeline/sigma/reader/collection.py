"""Collections: several rules in one file, and what they share.

Documents are separated by `---`. One with `action: global` is no rule, but laid under those that come after
it, until the next one or `action: reset`; `action: repeat` lays the document before under its own. What the
later document says counts. Correlations and filters share nothing. (Sigma specification 1.0, "Rule
collections"; rules of today seldom use them.)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from pipeline.document import Broken, Document
from pipeline.errors import RuleError, nearest
from pipeline.sigma.reader.heading import fault, refuse_odd_content

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pipeline.document import Key, Place

__all__ = ["collected"]

_ACTIONS = ("global", "repeat", "reset")
_ALONE = frozenset({"correlation", "filter"})


class _Layers(Document):
    """A document with others under it; a place is looked for in each, from the topmost down."""

    def __init__(self, top: Document, data: dict[str, Any], below: Document) -> None:
        self.file = top.file
        self.data = data
        self._top = top
        self._below = below

    def place(self, *path: Key) -> Place:
        """Return the place of what stands at `path`, in the document that it comes from."""
        nearer = self._below if _reach(self._below.data, path) > _reach(self._top.data, path) else self._top
        return nearer.place(*path)


def collected(documents: Iterable[Document | Broken]) -> Iterator[Document | RuleError]:
    """Yield each document that is to be a rule, with all that it shares.

    Args:
        documents: those of one file; empty ones are passed over.

    Yields:
        Documents whose `data` is a mapping with texts as keys; and an error for each document that is none,
        or whose action is not known. A broken one with an action is the last: those after it may lean on it.
    """
    shared: Document | None = None
    last: Document | None = None
    for document in documents:
        if isinstance(document, Broken):
            error = document.error
            yield RuleError(error.message, file=error.file, line=error.line, path=error.path)
            if "action" in document.keys:
                return
            last = None
            continue
        if document.data is None:
            continue
        try:
            refuse_odd_content(document)
            data = cast("dict[str, Any]", document.data)
            action = _action(document, data)
            if action == "reset":
                shared = None
            elif action == "global":
                shared = last = _without_action(document, data)
            elif action == "repeat":
                if last is None:
                    raise fault(document, "there is no document before this one to repeat", "action")
                last = _laid(_without_action(document, data), last)
                yield last
            else:
                alone = not _ALONE.isdisjoint(data)
                whole = document if alone or shared is None else _laid(document, shared)
                last = last if alone else whole
                yield whole
        except RuleError as refused:
            yield refused


def _action(document: Document, data: dict[str, Any]) -> str:  # Any: a YAML document's values
    action = data.get("action", "")
    if "action" in data and action not in _ACTIONS:
        raise fault(document, f"no such action: {action!r}; {nearest(str(action), _ACTIONS)}", "action")
    if action == "reset" and len(data) > 1:
        key = next(key for key in data if key != "action")
        raise fault(document, "`action: reset` stands alone; separate what follows by `---`", key)
    return str(action)


def _without_action(document: Document, data: dict[str, Any]) -> Document:
    bare = {key: value for key, value in data.items() if key != "action"}
    return _Layers(document, bare, document)


def _laid(top: Document, below: Document) -> Document:
    merged = _merged(cast("dict[str, Any]", below.data), cast("dict[str, Any]", top.data))
    return _Layers(top, merged, below)


def _merged(below: dict[str, Any], top: dict[str, Any]) -> dict[str, Any]:
    both = {**below, **top}
    for key in below.keys() & top.keys():
        if isinstance(below[key], dict) and isinstance(top[key], dict):
            both[key] = _merged(below[key], top[key])
    return both


def _reach(value: object, path: tuple[Key, ...]) -> int:
    """Return how many steps of a path lead somewhere."""
    for steps, key in enumerate(path):
        inner: dict[Any, Any] = value if isinstance(value, dict) else {}  # Any: as above
        if isinstance(value, list):
            inner = dict(enumerate(value))
        if key not in inner:
            return steps
        value = inner[key]
    return len(path)
