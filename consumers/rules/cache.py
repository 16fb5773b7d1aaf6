"""The cache of rules: what reading a file came to, under a key made of all that could change it.

It saves time and nothing else: what is damaged, not ours or can't be written is done without, and said once.
Nothing is taken from a folder or a file that another user could have written to.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import structlog

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["Databases", "Entries", "RuleCache", "default_cache"]

_PACK = "rules.pack"
_MAGIC = b"tocsin-rules 1\n"
_DIGEST_BYTES = hashlib.sha256().digest_size
_DAY_MS = 86_400_000
_UNUSED_DAYS = 30
_TOLD_DAYS = 7
# Of what this load did not use so much stays: the rules of another configuration, or of another branch.
_MAX_UNUSED_BYTES = 32 * 1024 * 1024
_MAX_FILE_BYTES = 512 * 1024 * 1024
_DATABASES = 16
_OTHERS_MAY_WRITE = stat.S_IWGRP | stat.S_IWOTH
_TEMPORARY = ".new-"
_ABANDONED_S = 3600
_log = structlog.get_logger("tocsin.rules")


def default_cache() -> Path:
    """Return where what was made of rules is kept: below TOCSIN_CACHE, or else the user's cache directory."""
    if chosen := os.environ.get("TOCSIN_CACHE"):
        return Path(chosen) / "rules"
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "tocsin" / "rules"
    except RuntimeError:
        # A user without a name has no home, as may be in a container.
        return Path(tempfile.gettempdir()) / f"tocsin-{os.geteuid()}" / "rules"


class _Folder:
    """A folder that is ours alone, or that we do without.

    Attributes:
        usable: whether it is used; once something is wrong with it, it no longer is.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.usable = True
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            found = path.lstat()
        except OSError as error:
            self.give_up(error.strerror or str(error))
            return
        if not stat.S_ISDIR(found.st_mode):
            self.give_up("it is no folder")
        elif problem := _foreign(found):
            self.give_up(problem)

    def give_up(self, reason: str) -> None:
        """Do without from now on, and say so."""
        if self.usable:
            self.usable = False
            _log.warning("the cache of rules is done without", folder=str(self.path), reason=reason)

    def read(self, name: str) -> bytes | None:
        """Return a file's content, or None if there is none or it is not to be used."""
        if not self.usable:
            return None
        try:
            descriptor = os.open(self.path / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            with os.fdopen(descriptor, "rb") as file:
                found = os.fstat(file.fileno())
                if not stat.S_ISREG(found.st_mode) or found.st_size > _MAX_FILE_BYTES:
                    self.give_up(f"{name} is no file of a cache")
                elif problem := _foreign(found):
                    self.give_up(f"{name}: {problem}")
                else:
                    return file.read()
        except FileNotFoundError:
            pass
        except OSError as error:
            self.give_up(f"{name}: {error.strerror or error}")
        return None

    def write(self, name: str, *parts: bytes) -> None:
        """Replace a file, all of it or nothing."""
        if not self.usable:
            return
        try:
            descriptor, temporary = tempfile.mkstemp(prefix=_TEMPORARY, dir=self.path)
            try:
                with os.fdopen(descriptor, "wb") as file:
                    file.writelines(parts)
                Path(temporary).replace(self.path / name)
            except BaseException:
                Path(temporary).unlink(missing_ok=True)
                raise
        except OSError as error:
            self.give_up(f"{name}: {error.strerror or error}")

    def sweep(self, suffix: str, keep: int) -> None:
        """Delete what a crash has left, and of the files with a suffix all but the newest."""
        if not self.usable:
            return
        # Whoever else uses the folder may have been there first.
        with contextlib.suppress(OSError):
            found = sorted(((e.stat().st_mtime, e.path) for e in os.scandir(self.path)), reverse=True)
            abandoned_s = time.time_ns() / 1e9 - _ABANDONED_S
            old = [p for s, p in found if Path(p).name.startswith(_TEMPORARY) and s < abandoned_s]
            old += [p for _, p in found if p.endswith(suffix)][keep:]
            for path in old:
                Path(path).unlink(missing_ok=True)


def _foreign(found: os.stat_result) -> str:
    """Return why what is found can't be trusted, or nothing."""
    if found.st_uid != os.geteuid():
        return "it belongs to another user"
    if found.st_mode & _OTHERS_MAY_WRITE:
        return "others may write to it"
    return ""


class _Entry(msgspec.Struct, array_like=True):
    """What came of one file, and the day it was last used: days since the epoch."""

    day: int
    value: bytes


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(dict[bytes, _Entry])


class Entries:
    """The cache's entries during one load.

    Attributes:
        hits: how often something was there.
        added: how much was put in.
    """

    def __init__(self, kept: dict[bytes, _Entry], today: int) -> None:
        self._kept = kept
        self._today = today
        self._used: dict[bytes, _Entry] = {}
        self._stale = False
        self.hits = 0
        self.added = 0

    def get(self, key: bytes) -> bytes | None:
        """Return what is kept under a key, or None."""
        entry = self._used.get(key) or self._kept.get(key)
        if entry is None:
            return None
        self.hits += 1
        self._stale = self._stale or entry.day < self._today - _TOLD_DAYS
        entry.day = self._today
        self._used[key] = entry
        return entry.value

    def put(self, key: bytes, value: bytes) -> None:
        """Keep a value."""
        self.added += 1
        self._used[key] = _Entry(self._today, value)

    def changed(self) -> dict[bytes, _Entry] | None:
        """Return what to keep from now on, or None if it is what is kept already."""
        if not (self.added or self._stale):
            return None
        left = _MAX_UNUSED_BYTES
        kept = dict(self._used)
        for key, entry in sorted(self._kept.items(), key=lambda item: -item[1].day):
            if key not in kept and entry.day >= self._today - _UNUSED_DAYS and len(entry.value) <= left:
                left -= len(entry.value)
                kept[key] = entry
        return kept


class Databases:
    """Keeps compiled databases (`pipeline.detect.prefilter.DatabaseStore`), the newest few of them.

    What is in them is checked by whoever loads them.
    """

    def __init__(self, folder: _Folder) -> None:
        self._folder = folder

    def load(self, key: str) -> bytes | None:
        """Return what was saved under a key, or None."""
        name = _named(key)
        data = self._folder.read(name)
        if data is not None:
            # What is used is new, so that it stays; if it has gone meanwhile, that is as well.
            with contextlib.suppress(OSError):
                os.utime(self._folder.path / name)
        return data

    def save(self, key: str, data: bytes) -> None:
        """Keep `data`; where that can't be, it is made anew another time."""
        self._folder.write(_named(key), data)
        self._folder.sweep(".hsdb", _DATABASES)


def _named(key: str) -> str:
    # A key becomes the name of a file, so it is made one whatever it holds.
    return hashlib.sha256(key.encode()).hexdigest() + ".hsdb"


class RuleCache:
    """A folder with one pack of what came of rule files, read and written whole, and databases beside it.

    Attributes:
        databases: keeps compiled databases.
    """

    def __init__(self, folder: Path, clock_ms: Callable[[], int]) -> None:
        """Look at the folder, or make it.

        Args:
            folder: where the cache is; it is this user's alone.
            clock_ms: the wall clock, which says what has not been used for long.
        """
        self._folder = _Folder(folder)
        self._clock_ms = clock_ms
        self.databases = Databases(self._folder)

    @contextlib.contextmanager
    def entries(self) -> Iterator[Entries]:
        """Yield the entries for one load; what it has added is kept afterwards, even where it failed."""
        entries = Entries(self._read(), self._clock_ms() // _DAY_MS)
        try:
            yield entries
        finally:
            if (kept := entries.changed()) is not None:
                data = _ENCODER.encode(kept)
                self._folder.write(_PACK, _MAGIC, hashlib.sha256(data).digest(), data)

    def _read(self) -> dict[bytes, _Entry]:
        data = self._folder.read(_PACK)
        if data is None:
            return {}
        begin = len(_MAGIC) + _DIGEST_BYTES
        content = memoryview(data)[begin:]
        if data[:begin] == _MAGIC + hashlib.sha256(content).digest():
            with contextlib.suppress(msgspec.DecodeError):
                return _DECODER.decode(content)
        folder = str(self._folder.path)
        _log.warning("the cache of rules is damaged, or of another version; it is made anew", folder=folder)
        return {}
