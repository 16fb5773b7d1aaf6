"""The folder of a spool: the names in it, how much it holds, and whether it can be used at all.

Several processes share it and none rules it: what there is, is what the folder lists. Files whose names are
not of our form are left alone.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import sys

try:
    import fcntl
except ImportError:  # Windows
    _HAS_LOCKS = False
else:
    _HAS_LOCKS = True

__all__ = ["FILE_MODE", "Folder", "lock"]

FILE_MODE = 0o600
_FOLDER_MODE = 0o700
_JOURNAL = re.compile(r"tocsin-([0-9a-f]{16})\.journal", re.ASCII)
_SEGMENT = re.compile(r"tocsin-([0-9a-f]{16})-([0-9]{8})\.segment", re.ASCII)
# Not a fault of the folder, and over some time: no reason for a service not to start.
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE})


class Folder:
    """A folder that holds journals.

    Attributes:
        path: absolute, so that a service may change its directory.
    """

    def __init__(self, path: str) -> None:
        """Make the folder if it is not there, and try whether files can be made and locked in it.

        Args:
            path: the folder's path.

        Raises:
            ValueError: this platform can't lock files or allocate room for them.
            OSError: the folder can't be made or used.
        """
        if not (_HAS_LOCKS and hasattr(os, "posix_fallocate") and hasattr(os, "fdatasync")):
            raise ValueError(f"spool needs flock, posix_fallocate and fdatasync; {sys.platform} lacks them")
        self.path = os.path.abspath(path)  # noqa: PTH100 - text from here on: pathlib costs in a log call
        try:
            os.makedirs(self.path, _FOLDER_MODE, exist_ok=True)  # noqa: PTH103 - likewise
            self._probe()
        except OSError as error:
            if error.errno not in _FULL:
                raise OSError(
                    error.errno, f"spool can't use the folder {self.path}: {os.strerror(error.errno or 0)}"
                ) from error

    def _probe(self) -> None:
        # If the process is killed in here, a journal without records is left: it is cleared away.
        path = self.journal_path(os.urandom(8).hex())
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, FILE_MODE)
        try:
            os.posix_fallocate(descriptor, 0, 1)
            # Others may be at it already, since to them it looks like one left behind.
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        finally:
            os.close(descriptor)
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)  # noqa: PTH108 - as above

    def journal_path(self, name: str) -> str:
        """Return the path of the file that a journal is locked by."""
        return f"{self.path}/tocsin-{name}.journal"

    def segment_path(self, name: str, number: int) -> str:
        """Return the path of one of a journal's segments."""
        return f"{self.path}/tocsin-{name}-{number:08}.segment"

    def journals(self) -> list[str]:
        """Return the names of the journals that are there.

        Raises:
            OSError: the folder can't be read.
        """
        return sorted(match[1] for entry in self._entries() if (match := _JOURNAL.fullmatch(entry)))

    def segments(self, name: str) -> list[int]:
        """Return the numbers of a journal's segments, the oldest first.

        Raises:
            OSError: the folder can't be read.
        """
        matches = (_SEGMENT.fullmatch(entry) for entry in self._entries())
        return sorted(int(match[2]) for match in matches if match and match[1] == name)

    def _entries(self) -> list[str]:
        # All at once: a log call that is broken off in the midst would leave an iterator open.
        return os.listdir(self.path)  # noqa: PTH208 - as above

    def used_bytes(self) -> int:
        """Return how much all journals take together, whoever they belong to.

        Raises:
            OSError: the folder can't be read.
        """
        used_bytes = 0
        for entry in self._entries():
            if _SEGMENT.fullmatch(entry):
                try:
                    used_bytes += os.lstat(f"{self.path}/{entry}").st_size
                except FileNotFoundError:
                    # Delivered meanwhile.
                    continue
        return used_bytes

    def sync(self) -> None:
        """Have what files there are on the disk.

        Raises:
            OSError: the disk says no.
        """
        descriptor = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def lock(descriptor: int) -> bool:
    """Lock a journal's file without waiting.

    Returns:
        Whether it is ours now; it is not when another has locked it, or has deleted it meanwhile.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return os.fstat(descriptor).st_nlink > 0
    except OSError:
        return False
