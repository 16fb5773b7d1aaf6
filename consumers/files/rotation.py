"""Rotation: which files to read, one after the other, so that a path's log is read whole.

A log that is rotated goes on under other names beside its own: `auth.log.1`, `auth.log-20260418`,
`auth.log.2.gz`. A reader that was in one of them reads the rest of it, then those that came after it, then
the path itself. Names only say the order; a file is recognised by its inode or its content.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from consumers.files.opened import DamagedError, OpenedFile
from consumers.files.position import SourceError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from consumers.files.position import Position

__all__ = ["Chain", "resume", "successors"]

# `.1`, `.12.gz`, `-20260418`, `.2026-04-18_12`, `-20260418-1776499200.gz`
_SUFFIX = re.compile(r"[.-](\d[\d._T:-]{0,40}?)(?:\.gz)?\Z", re.ASCII)
# A counter has few digits; whatever has more is a date, or seconds since 1970.
_COUNTER_DIGITS = 4
# Fewer bytes at the beginning may be the same by chance (a date, a host's name).
_LEAST_COPIED = 64
# A directory that is being rotated at this moment is looked at again, so often.
_LOOKS = 5


class Chain(msgspec.Struct, frozen=True):
    """Files to read one after the other.

    Attributes:
        files: open; the first is to be read from `offset`, the others from their beginning, and the last is
            the path itself, if it is there.
        offset: where to begin in the first.
        found: whether the file of the position was found; if not, what was left of it is missing.
    """

    files: Sequence[OpenedFile]
    offset: int
    found: bool


def resume(path: str, position: Position | None) -> Chain:
    """Open what is to be read of a path, going on from where a reader has been.

    Args:
        path: the log's path, absolute.
        position: where the reader was; None to begin with the path itself.

    Returns:
        The chain; empty when the path is not there (yet), for then a rotation may be under way.

    Raises:
        OSError: a file of it can't be opened.
        SourceError: the path is no regular file, or damaged gzip.
    """
    try:
        current = OpenedFile(path)
    except FileNotFoundError:
        return Chain((), 0, found=True)
    if position is None:
        return Chain((current,), 0, found=True)
    with contextlib.ExitStack() as undo:
        undo.callback(current.close)
        if current.holds(position):
            undo.pop_all()
            return Chain((current,), position.offset, found=True)
        old = _find(path, position)
        if old is None:
            undo.pop_all()
            return Chain((current,), 0, found=False)
    # The path is opened anew with the others, as by now it may have been rotated once more.
    try:
        return Chain((old, *successors(path, old)), position.offset, found=True)
    except (OSError, SourceError):
        old.close()
        raise


def successors(path: str, old: OpenedFile, *, looks: int = _LOOKS) -> list[OpenedFile]:
    """Open what came after a file that was rotated away, oldest first, ending with the path itself.

    Args:
        path: the log's path, absolute.
        old: the file that had this path, or is a copy of it.
        looks: how often to look if the names change meanwhile.

    Raises:
        OSError: a file of it can't be opened; `FileNotFoundError` if the path itself is not there.
        SourceError: the path is no regular file.
    """
    before = _names(path)
    opened: list[OpenedFile] = []
    with contextlib.ExitStack() as undo:
        for name in (*_between(path, before, old), path):
            try:
                file = OpenedFile(name)
            except DamagedError:
                # Lost, or still being written; the ones after it are neither.
                continue
            undo.callback(file.close)
            if file.identity != old.identity:
                opened.append(file)
        if looks <= 1 or _names(path) == before:
            undo.pop_all()
            return opened
    return successors(path, old, looks=looks - 1)


def _find(path: str, position: Position) -> OpenedFile | None:
    """Find the file of a position among the rotated ones: by its inode, or else the newest copy of it."""
    siblings = _names(path)
    same = [name for name, identity in siblings.items() if identity == (position.device, position.inode)]
    if (found := _first(same, lambda file: file.holds(position))) is not None:
        return found
    newest = sorted(siblings, key=lambda name: _age(name[len(path) :]))
    return _first(
        [name for name in newest if name != path], lambda file: file.copies(position, _LEAST_COPIED)
    )


def _first(names: Sequence[str], wanted: Callable[[OpenedFile], bool]) -> OpenedFile | None:
    for name in names:
        try:
            file = OpenedFile(name)
        except (FileNotFoundError, PermissionError, SourceError):
            # Gone, or nothing that a reader of this log can have been in.
            continue
        if wanted(file):
            return file
        file.close()
    return None


def _names(path: str) -> dict[str, tuple[int, int]]:
    """Return device and inode of the path and of every file beside it that is a rotated one by its name."""
    names: dict[str, tuple[int, int]] = {}
    try:
        beside = os.listdir(os.path.dirname(path))  # noqa: PTH208, PTH120 - paths are text here
    except PermissionError:
        # A folder may let one open a file and not list it.
        beside = [os.path.basename(path)]  # noqa: PTH119 - paths are text here
    base = os.path.basename(path)  # noqa: PTH119 - paths are text here
    for name in beside:
        if not name.startswith(base) or not (name == base or _SUFFIX.fullmatch(name, len(base))):
            continue
        full = path + name[len(base) :]
        # One that vanishes between listing and looking is there under its new name next time.
        with contextlib.suppress(FileNotFoundError):
            status = os.stat(full, follow_symlinks=full == path)  # noqa: PTH116 - paths are text here
            if stat.S_ISREG(status.st_mode):
                names[full] = (status.st_dev, status.st_ino)
    # While a file is being compressed it is there twice, and the second not whole.
    return {
        name: identity
        for name, identity in names.items()
        if name.removesuffix(".gz") not in names.keys() - {name}
    }


def _between(path: str, names: Mapping[str, tuple[int, int]], old: OpenedFile) -> list[str]:
    """Return the rotated files that are newer than one of them, oldest first."""
    ages = {name: _age(name[len(path) :]) for name in names if name != path}
    own = next((ages[name] for name in ages if names[name] == old.identity), None)
    if own is None:
        return []
    newer = [name for name, age in ages.items() if age[0] == own[0] and age[1] < own[1]]
    return sorted(newer, key=ages.__getitem__, reverse=True)


def _age(suffix: str) -> tuple[int, tuple[int, ...]]:
    """Return a rotated name's kind (0 counted, 1 dated) and its age: the lower, the newer."""
    matched = _SUFFIX.fullmatch(suffix)
    numbers = [int(n) for n in re.findall(r"\d+", matched[1])] if matched else []
    if len(numbers) == 1 and numbers[0] < 10**_COUNTER_DIGITS:
        return 0, (numbers[0],)
    return 1, tuple(-n for n in numbers)
