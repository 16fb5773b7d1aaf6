"""SQLite: where files have been read to, and what the stages remember, in one file and one transaction.

Positions and state are committed together, so after a crash neither is ahead of the other. A file that can't
be read or is another program's is refused by name and left as it is; it is never replaced.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from consumers.files.position import Position
from pipeline.errors import TocsinError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from consumers.store import Change

__all__ = ["Database", "StateError"]

_APPLICATION_ID = 0x746F6373  # "tocs"
_SCHEMA = 1

# Names are blobs, since neither a path nor a key taken from a log need be valid Unicode; numbers of devices
# and inodes are text, since they may be unsigned 64 bits, which SQLite's integers don't hold.
_TABLES = """
CREATE TABLE positions (
    path BLOB PRIMARY KEY,
    device TEXT NOT NULL,
    inode TEXT NOT NULL,
    offset INTEGER NOT NULL,
    fingerprint TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE state (
    stage TEXT NOT NULL,
    key BLOB NOT NULL,
    value BLOB NOT NULL,
    PRIMARY KEY (stage, key)
) WITHOUT ROWID;
"""


class StateError(TocsinError):
    """The state file can't be used, or what it holds can't be read or written."""


class Database:
    """One state file, held by this process alone until `close`; calls from several threads take turns.

    Commits are durable when they return (WAL with `synchronous=FULL`, an fsync each): a notification leaves
    the machine after the commit that records it, so losing that commit to a power cut would repeat it.

    Args:
        path: the file, made if it isn't there; None keeps the state in memory.

    Raises:
        StateError: the file is held by another process, damaged, not Tocsin's, or of a newer Tocsin.
    """

    def __init__(self, path: Path | None) -> None:
        self._name = str(path) if path is not None else "state in memory"
        self.kept = path is not None
        """Whether anything outlives the process."""
        self._turn = threading.Lock()
        with contextlib.ExitStack() as undo:
            if path is not None:
                # Two names of one file must meet at one lock.
                path = Path(os.path.realpath(path))
                undo.callback(os.close, self._lock(path))
            with self._told():
                self._connection = sqlite3.connect(
                    ":memory:" if path is None else path,
                    isolation_level=None,
                    check_same_thread=False,
                )
                undo.callback(self._connection.close)
                self._prepare(in_memory=path is None)
            self._undo = undo.pop_all()

    def commit(
        self,
        positions: Sequence[Position] = (),
        changes: Mapping[str, Sequence[Change]] | None = None,
    ) -> None:
        """Keep positions and changes of state, all of them or none; they are durable when this returns.

        Args:
            positions: how far files have been read; of several for one path the last counts.
            changes: by stage, (key, value) pairs in order; None as a value removes the key.

        Raises:
            StateError: they could not be written.
        """
        with self._turn, self._told(), self._transaction():
            self._connection.executemany(
                "INSERT OR REPLACE INTO positions VALUES (?, ?, ?, ?, ?)",
                [
                    (os.fsencode(p.path), str(p.device), str(p.inode), p.offset, p.fingerprint)
                    for p in positions
                ],
            )
            for stage, pairs in (changes or {}).items():
                last = dict(pairs)
                self._connection.executemany(
                    "DELETE FROM state WHERE stage = ? AND key = ?",
                    [(stage, _encode(key)) for key, value in last.items() if value is None],
                )
                self._connection.executemany(
                    "INSERT OR REPLACE INTO state VALUES (?, ?, ?)",
                    [(stage, _encode(key), value) for key, value in last.items() if value is not None],
                )

    def load(self, stage: str) -> dict[str, bytes]:
        """Return all that a stage has kept, by key.

        Raises:
            StateError: it could not be read.
        """
        with self._turn, self._told():
            rows = self._connection.execute("SELECT key, value FROM state WHERE stage = ?", (stage,))
            return {key.decode("utf-8", "surrogatepass"): value for key, value in rows}

    def position(self, path: str) -> Position | None:
        """Return how far a file has been read, or None if it never was.

        Raises:
            StateError: it could not be read.
        """
        with self._turn, self._told():
            row = self._connection.execute(
                "SELECT device, inode, offset, fingerprint FROM positions WHERE path = ?",
                (os.fsencode(path),),
            ).fetchone()
        if row is None:
            return None
        device, inode, offset, fingerprint = row
        return Position(path, int(device), int(inode), offset, fingerprint)

    def close(self) -> None:
        """Let go of the file and its lock; may be called twice."""
        with self._turn:
            self._undo.close()

    def _lock(self, path: Path) -> int:
        """Take the lock file beside the state file, and make the state file, readable by its owner only."""
        lock = path.with_name(path.name + ".lock")
        try:
            descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StateError(f"{self._name}: can't make {lock}: {error.strerror}") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.truncate(descriptor, 0)
            os.write(descriptor, b"%d\n" % os.getpid())
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        except BlockingIOError as error:
            holder = os.read(descriptor, 20).decode("ascii", "replace").strip()
            os.close(descriptor)
            raise StateError(
                f"{self._name}: in use by another process" + (f" ({holder})" if holder else "")
            ) from error
        except OSError as error:
            os.close(descriptor)
            raise StateError(f"{self._name}: {error.strerror}") from error
        # The lock file stays when the lock goes: removing it would let two processes each lock their own.
        return descriptor

    def _prepare(self, *, in_memory: bool) -> None:
        version, owner, tables = (
            self._number("PRAGMA user_version"),
            self._number("PRAGMA application_id"),
            self._number("SELECT count(*) FROM sqlite_master"),
        )
        if owner != _APPLICATION_ID and (owner or version or tables):
            raise StateError(f"{self._name}: an SQLite file of another program; name a file of its own")
        if version > _SCHEMA:
            raise StateError(
                f"{self._name}: written by a newer Tocsin (schema {version}, this one knows {_SCHEMA}); "
                "use that one, or name another file"
            )
        if (damage := self._word("PRAGMA quick_check(1)")) != "ok":
            raise StateError(self._damaged(damage))
        if not in_memory and (mode := self._word("PRAGMA journal_mode = WAL")) != "wal":
            raise StateError(f"{self._name}: its file system takes no write-ahead log (only {mode!r})")
        self._connection.execute("PRAGMA synchronous = FULL")
        if version == 0:
            # The version is last: a crash on the way leaves an empty file, which is begun again.
            self._connection.executescript(
                f"BEGIN; PRAGMA application_id = {_APPLICATION_ID}; {_TABLES}"
                f"PRAGMA user_version = {_SCHEMA}; COMMIT;"
            )

    def _number(self, query: str) -> int:
        return int(self._connection.execute(query).fetchone()[0])

    def _word(self, query: str) -> str:
        return str(self._connection.execute(query).fetchone()[0])

    def _damaged(self, what: str) -> str:
        return (
            f"{self._name}: not a usable SQLite file ({what}); it is left as it is: "
            "restore it from a backup, or move it away to begin without state"
        )

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            # Some errors (a full disk) have rolled back already.
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.OperationalError, sqlite3.ProgrammingError) as error:
            raise StateError(f"{self._name}: {error}") from error
        except sqlite3.DatabaseError as error:
            raise StateError(self._damaged(str(error))) from error


def _encode(key: str) -> bytes:
    return key.encode("utf-8", "surrogatepass")
