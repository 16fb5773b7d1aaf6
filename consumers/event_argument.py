"""An event on the command line: its text, a file that holds it, or `-` for standard input.

A file is read into events as a worker reads it, but for an object or a list of objects in JSON, however they
are printed. One event of several is named by its number: `events.jsonl:3`.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import msgspec
import orjson

from pipeline.decode import Joiner, choose
from pipeline.errors import TocsinError

__all__ = ["MOST_EVENTS", "Given", "read_events"]

MOST_EVENTS = 1000
"""Of one file; of more, one has to be named."""

_MAX_BYTES = 64 * 1024 * 1024
_NUMBERED = re.compile(r"(?P<path>.+):(?P<number>[0-9]{1,9})")


class Given(msgspec.Struct, frozen=True):
    """One event, not decoded yet.

    Attributes:
        raw: its bytes.
        place: where it is from, as people say it; empty for a text on the command line.
    """

    raw: bytes
    place: str = ""


def read_events(argument: str, *, format: str) -> list[Given]:  # noqa: A002 - as the option is called
    """Return the events that an argument names.

    Args:
        argument: JSON or a line of a log, `@file` or a file's path, with `:N` for its N-th event, or `-`.
        format: the decoder's name; it says where events begin.

    Raises:
        TocsinError: there is no such file or event, or there are too many.
    """
    if argument == "-":
        return _framed(sys.stdin.buffer.read(_MAX_BYTES + 1), "standard input", format)
    named = argument.removeprefix("@")
    path, number = named, 0
    if not _exists(path) and (match := _NUMBERED.fullmatch(named)):
        path, number = match["path"], int(match["number"])
    if named == argument and (argument[:1] in ("{", "[") or _is_a_line(argument, path)):
        return [Given(argument.encode("utf-8", "surrogateescape"))]
    events = _framed(_read(path), path, format)
    if named != path and not 1 <= number <= len(events):
        raise TocsinError(f"{path} has {len(events):,} events, and no number {number}")
    if named != path:
        return [events[number - 1]]
    if len(events) > MOST_EVENTS:
        raise TocsinError(
            f"{path} has {len(events):,} events; up to {MOST_EVENTS:,} are explained at once: name one by its"
            f" number, {path}:1"
        )
    return events


def _exists(path: str) -> bool:
    try:
        return Path(path).exists()
    except (OSError, ValueError):  # a text that is too long for a path, or holds a NUL
        return False


def _is_a_line(argument: str, path: str) -> bool:
    return not _exists(path) and any(char.isspace() for char in argument)


def _read(path: str) -> bytes:
    try:
        with Path(path).open("rb") as file:
            return file.read(_MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else "") or str(error)
        raise TocsinError(
            f"{path}: {reason}; an event is a JSON text, a line of a log, a file, or - for standard input"
        ) from error


def _framed(data: bytes, place: str, format: str) -> list[Given]:  # noqa: A002 - as above
    if len(data) > _MAX_BYTES:
        raise TocsinError(f"{place} is larger than {_MAX_BYTES // 1024 // 1024} MiB")
    found = _printed(data)
    if found is None:
        joiner = Joiner(choose(format))
        found = [framed.data for framed in (*joiner.feed(data, 0, 0), *joiner.drain())]
    if not found:
        raise TocsinError(f"{place} holds no event")
    if len(found) == 1:
        return [Given(found[0], place)]
    return [Given(raw, f"{place}:{number}") for number, raw in enumerate(found, 1)]


def _printed(data: bytes) -> list[bytes] | None:
    """Return the objects of one JSON document, if the data is one."""
    try:
        document = orjson.loads(data)
    except orjson.JSONDecodeError:
        return None
    if isinstance(document, dict):
        return [data.strip()]
    if isinstance(document, list) and all(isinstance(element, dict) for element in document):
        return [orjson.dumps(element) for element in document]
    return None
