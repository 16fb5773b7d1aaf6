"""Exceptions as data: type, value and frames, with the chain of causes, all bounded.

Frames are read from the traceback alone; no source file is opened while a service logs. Local variables are
shown only where the service asks for them, the innermost first, and never one whose name is a secret's.
"""

from __future__ import annotations

import collections
import reprlib
import sys
from itertools import islice
from typing import TYPE_CHECKING

from producers.event.objects import plain_text, safe_text, unprintable

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType, TracebackType

__all__ = ["describe_exception", "exception_of"]

_VALUE_LIMIT = 4_096
_NAME_LIMIT = 256
_NOTE_LIMIT = 1_024
_LOCAL_LIMIT = 256
_MAX_NOTES = 10
_MAX_FRAMES = 50
_MAX_CHAIN = 5
_MAX_MEMBERS = 5
# Of one event, with all causes and members.
_MAX_EXCEPTIONS = 20
_MAX_LOCALS = 100
_MAX_LOCALS_OF_A_FRAME = 20


def exception_of(exc_info: object) -> BaseException | None:
    """Return the exception that an `exc_info` argument means.

    Args:
        exc_info: an exception, a tuple as of `sys.exc_info()`, or True for the one being handled.
    """
    match exc_info:
        case BaseException():
            return exc_info
        case (_, BaseException() as error, _):
            return error
        case tuple():
            return None
        case _:
            return sys.exc_info()[1] if _is_true(exc_info) else None


def describe_exception(
    error: BaseException, conceals: Callable[[str], str | None] | None = None
) -> dict[str, object]:
    """Return `type`, `value` and `frames` (outermost first) of an exception.

    Beside them, where they apply: `frames_omitted` (how many of the outermost are left out), `notes`, `cause`
    (the exception it was raised from or while handling), `exceptions` (the first of a group),
    `exceptions_omitted` and `cause_omitted`. A frame has `file`, `line`, `function`, perhaps `locals`.

    Args:
        error: the exception.
        conceals: shows local variables: given the name of one, it returns what stands for its value, or None
            if that may be seen. None to leave them all out.
    """
    return _Description(conceals).of(error, _MAX_CHAIN)


def _is_true(value: object) -> bool:
    try:
        return bool(value)
    except Exception:  # noqa: BLE001 - an array of numpy, or whatever else won't say
        return True


class _Shown(reprlib.Repr):
    """Bounds what is looked at, where `repr` alone would first write out all of a list."""

    def __init__(self) -> None:
        super().__init__()
        self.maxstring = self.maxother = _LOCAL_LIMIT

    def repr_instance(self, x: object, level: int) -> str:
        del level
        return safe_text(x, _LOCAL_LIMIT)


class _Description:
    """One exception's, with what is left of the limits that hold for all of it."""

    def __init__(self, conceals: Callable[[str], str | None] | None) -> None:
        self._conceals = conceals
        self._seen: set[int] = set()
        self._locals_left = _MAX_LOCALS
        self._shown = _Shown()

    def of(self, error: BaseException, links: int) -> dict[str, object]:
        self._seen.add(id(error))
        described: dict[str, object] = {
            "type": _type_name(type(error)),
            "value": safe_text(error, _VALUE_LIMIT, str),
        }
        try:
            self._add_frames(described, error.__traceback__)
            self._add_notes(described, error)
            self._add_others(described, error, links)
        except Exception:  # noqa: BLE001 - a class of the service's own may override any attribute
            described.setdefault("frames", [])
        return described

    def _add_frames(self, described: dict[str, object], traceback: TracebackType | None) -> None:
        links: collections.deque[TracebackType] = collections.deque(maxlen=_MAX_FRAMES)
        count = 0
        while traceback is not None:
            links.append(traceback)
            count += 1
            traceback = traceback.tb_next
        frames: list[dict[str, object]] = [
            {
                "file": link.tb_frame.f_code.co_filename,
                "line": link.tb_lineno,
                "function": link.tb_frame.f_code.co_name,
            }
            for link in links
        ]
        described["frames"] = frames
        if count > _MAX_FRAMES:
            described["frames_omitted"] = count - _MAX_FRAMES
        if self._conceals is not None:
            for link, frame in zip(reversed(links), reversed(frames), strict=True):
                if self._locals_left <= 0:
                    break
                shown = self._locals(link.tb_frame, self._conceals)
                if shown:
                    frame["locals"] = shown

    def _locals(self, frame: FrameType, conceals: Callable[[str], str | None]) -> dict[str, object]:
        variables = frame.f_locals
        if variables is frame.f_globals:
            # A module's are not local, and most of them are what it imports.
            return {}
        shown: dict[str, object] = {}
        most = min(_MAX_LOCALS_OF_A_FRAME, self._locals_left)
        for name, value in islice(list(variables.items()), most):
            text = name if type(name) is str else safe_text(name, _NAME_LIMIT, str)
            hidden = conceals(text)
            shown[text] = safe_text(value, _LOCAL_LIMIT, self._shown.repr) if hidden is None else hidden
        self._locals_left -= len(shown)
        if len(variables) > most:
            shown["…"] = "…"
        return shown

    def _add_notes(self, described: dict[str, object], error: BaseException) -> None:
        notes = getattr(error, "__notes__", None)
        if notes is None:
            return
        told = notes if isinstance(notes, list | tuple) else [notes]
        described["notes"] = [safe_text(note, _NOTE_LIMIT, str) for note in islice(told, _MAX_NOTES)]
        if len(told) > _MAX_NOTES:
            described["notes_omitted"] = len(told) - _MAX_NOTES

    def _add_others(self, described: dict[str, object], error: BaseException, links: int) -> None:
        if isinstance(error, BaseExceptionGroup):
            members = [member for member in error.exceptions if id(member) not in self._seen]
            told = [self.of(m, links - 1) for m in members[:_MAX_MEMBERS] if self._may_go_on(links)]
            described["exceptions"] = told
            if len(members) > len(told):
                described["exceptions_omitted"] = len(members) - len(told)
        cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
        if cause is not None and id(cause) not in self._seen:
            if self._may_go_on(links):
                described["cause"] = self.of(cause, links - 1)
            else:
                described["cause_omitted"] = True

    def _may_go_on(self, links: int) -> bool:
        return links > 1 and len(self._seen) < _MAX_EXCEPTIONS


def _type_name(kind: type[BaseException]) -> str:
    try:
        name = plain_text(kind.__qualname__)
        if kind.__module__ != "builtins":
            name = f"{kind.__module__}.{name}"
    except Exception:  # noqa: BLE001 - a metaclass of the service's own
        name = unprintable(kind)
    return name[:_NAME_LIMIT]
