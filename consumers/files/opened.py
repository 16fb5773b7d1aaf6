"""Opened files: one regular file, plain or gzip, read forwards in blocks.

Whoever opens it is never made to wait: what isn't a regular file (a pipe, a device, a folder) is refused.
"""

from __future__ import annotations

import contextlib
import gzip
import os
import stat
import zlib
from typing import TYPE_CHECKING

from consumers.files.position import HEAD_BYTES, Position, SourceError, covers, fingerprint, starts_as

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["DamagedError", "OpenedFile"]

_GZIP_MAGIC = b"\x1f\x8b"


class DamagedError(SourceError):
    """Compressed data ends early or makes no sense; what came before it was good."""


class OpenedFile:
    """An open file; owns its descriptor and how far it has been read.

    Args:
        path: the file. If its name ends in `.gz` and its content is gzip, the text in it is read.

    Raises:
        OSError: it can't be opened.
        SourceError: it is no regular file.
        DamagedError: it is gzip that can't be read.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        with contextlib.ExitStack() as undo:
            # Non-blocking, since opening a pipe that nobody writes to would wait for ever.
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
            undo.callback(os.close, descriptor)
            status = os.fstat(descriptor)
            if stat.S_ISDIR(status.st_mode):
                raise SourceError(f"{path}: a folder; name the files in it")
            if not stat.S_ISREG(status.st_mode):
                raise SourceError(f"{path}: not a regular file; send it to standard input and name it `-`")
            self._raw = undo.enter_context(open(descriptor, "rb", buffering=0, closefd=False))
            self.identity = (status.st_dev, status.st_ino)
            self._gzip: gzip.GzipFile | None = None
            if path.endswith(".gz") and os.pread(descriptor, 2, 0) == _GZIP_MAGIC:
                self._gzip = undo.enter_context(gzip.GzipFile(fileobj=self._raw))
            self._offset = 0
            self._head = self._read_head()
            self._undo = undo.pop_all()

    @property
    def compressed(self) -> bool:
        """Whether it is gzip; such a file is complete, nothing is added to it."""
        return self._gzip is not None

    @property
    def offset(self) -> int:
        """How far it has been read, in bytes of its text."""
        return self._offset

    @property
    def disk_offset(self) -> int:
        """How far it has been read, in bytes on the disk."""
        # Compressed text is buffered, and some has been, to see how it begins.
        return self._raw.tell() if self._offset else 0

    @property
    def size(self) -> int:
        """Its size now, in bytes on the disk.

        Raises:
            OSError: it can't be told.
        """
        return os.fstat(self._raw.fileno()).st_size

    @property
    def mtime_ms(self) -> int:
        """When it was last written to, milliseconds since the epoch.

        Raises:
            OSError: it can't be told.
        """
        return os.fstat(self._raw.fileno()).st_mtime_ns // 1_000_000

    def read(self, size: int) -> bytes:
        """Return the next bytes of the text, at most `size`; none at its end.

        Raises:
            OSError: the disk's.
            DamagedError: it is gzip that can't be read further.
        """
        with self._damage_told():
            # `read1`, since `read` would lose what precedes the damage.
            data = self._raw.read(size) if self._gzip is None else self._gzip.read1(size)
        self._offset += len(data or b"")
        return data or b""

    def skip(self, offset: int) -> None:
        """Go straight to a place in the text; a compressed file stays where it is, for it can't.

        Args:
            offset: where, in bytes.
        """
        if self._gzip is None:
            self._offset = self._raw.seek(offset)

    def unchanged(self) -> bool:
        """Whether it only grew since it was opened; not so when it was truncated or written anew.

        Raises:
            OSError: it can't be told.
        """
        if self._gzip is not None:
            return True
        head = self._read_head()
        if self.size < self._offset or not head.startswith(self._head):
            return False
        self._head = head
        return True

    def position(self, path: str, offset: int) -> Position:
        """Return the position at an offset of this file, to be kept under the path that led to it.

        Args:
            path: the path being read, which this file may have lost.
            offset: in bytes of the text.

        Raises:
            OSError: its beginning can't be read.
        """
        if len(self._head) < HEAD_BYTES:
            self.unchanged()
        return Position(path, *self.identity, offset, fingerprint(self._head))

    def holds(self, position: Position) -> bool:
        """Whether it is the very file that a position is in."""
        return (
            self.identity == (position.device, position.inode)
            and starts_as(self._head, position.fingerprint)
            and (self.compressed or self.size >= position.offset)
        )

    def copies(self, position: Position, least_bytes: int) -> bool:
        """Whether it is a copy, compressed or not, of the file that a position is in.

        Args:
            position: in the file that may have been copied.
            least_bytes: how many bytes must be known to be the same.
        """
        return (
            covers(position.fingerprint) >= least_bytes
            and starts_as(self._head, position.fingerprint)
            and (self.compressed or self.size >= position.offset)
        )

    def close(self) -> None:
        """Let go of it; may be called twice."""
        self._undo.close()

    def _read_head(self) -> bytes:
        if self._gzip is None:
            return os.pread(self._raw.fileno(), HEAD_BYTES, 0)
        with self._damage_told():
            head = self._gzip.read(HEAD_BYTES)
            self._gzip.rewind()
        return head

    @contextlib.contextmanager
    def _damage_told(self) -> Iterator[None]:
        try:
            yield
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise DamagedError(f"{self.path}: damaged gzip data: {error}") from error
