"""Exceptions as data: type, value and frames, with the chain of causes, all bounded.

Frames are read from the traceback alone; no source file is opened while a service logs.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from producers.event.encoding import safe_text

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["describe_exception", "exception_of"]

_VALUE_LIMIT = 4_096
_MAX_FRAMES = 50
_MAX_CHAIN = 5
_MAX_MEMBERS = 5


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
            return sys.exc_info()[1] if exc_info else None


def describe_exception(error: BaseException) -> dict[str, object]:
    """Return `type`, `value` and `frames` (outermost first) of an exception.

    Beside them, where they apply: `frames_omitted` (how many of the outermost are left out), `cause`
    (the exception it was raised from or while handling), `exceptions` (the first of a group).
    """
    return _describe(error, _MAX_CHAIN, set())


def _describe(error: BaseException, links: int, seen: set[int]) -> dict[str, object]:
    seen.add(id(error))
    frames, omitted = _frames(error.__traceback__)
    described: dict[str, object] = {
        "type": _type_name(type(error)),
        "value": safe_text(error, _VALUE_LIMIT, str),
        "frames": frames,
    }
    if omitted:
        described["frames_omitted"] = omitted
    if links <= 1:
        return described
    if isinstance(error, BaseExceptionGroup):
        members = [e for e in error.exceptions[:_MAX_MEMBERS] if id(e) not in seen]
        described["exceptions"] = [_describe(member, links - 1, seen) for member in members]
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if cause is not None and id(cause) not in seen:
        described["cause"] = _describe(cause, links - 1, seen)
    return described


def _frames(traceback: TracebackType | None) -> tuple[list[dict[str, object]], int]:
    """Return the innermost frames, and how many outer ones are left out."""
    links: list[TracebackType] = []
    while traceback is not None:
        links.append(traceback)
        traceback = traceback.tb_next
    frames: list[dict[str, object]] = [
        {
            "file": link.tb_frame.f_code.co_filename,
            "line": link.tb_lineno,
            "function": link.tb_frame.f_code.co_name,
        }
        for link in links[-_MAX_FRAMES:]
    ]
    return frames, max(0, len(links) - _MAX_FRAMES)


def _type_name(kind: type[BaseException]) -> str:
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
