"""Positions: which file has been read, and how far.

A path is only a name: a file is told by device, inode and its first bytes, as an inode number is given to a
new file once the old one is gone.
"""

from __future__ import annotations

import hashlib
import os

import msgspec

from pipeline.errors import TocsinError

__all__ = ["HEAD_BYTES", "Position", "SourceError", "covers", "fingerprint", "named", "starts_as"]

HEAD_BYTES = 256
"""Bytes at a file's beginning that its fingerprint covers, or as many as there are."""


class SourceError(TocsinError):
    """A file or standard input can't be read."""


class Position(msgspec.Struct, frozen=True):
    """How far one path has been read.

    Attributes:
        path: the path, absolute, as it was given.
        device: of the file that was read.
        inode: of the file that was read; after a rotation no longer the path's.
        offset: where reading goes on, in bytes (of the text, if the file is compressed). No event before it
            is missing, and none after it has been handed out.
        fingerprint: of the file's beginning, see `fingerprint`.
    """

    path: str
    device: int
    inode: int
    offset: int
    fingerprint: str = ""


def named(path: str) -> str:
    """Return a path as partitions are named: undecodable bytes would not survive the JSON they travel in."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def fingerprint(head: bytes) -> str:
    """Return the fingerprint of a file by its first bytes; empty for none.

    It says how many bytes it covers, so that it still holds when a short file has grown.
    """
    if not head:
        return ""
    return f"{len(head)}:{hashlib.blake2b(head, digest_size=16).hexdigest()}"


def starts_as(head: bytes, print_: str) -> bool:
    """Whether a file that begins with `head` is, or has grown out of, the one with this fingerprint."""
    if not print_:
        return True
    covered = covers(print_)
    return len(head) >= covered and fingerprint(head[:covered]) == print_


def covers(print_: str) -> int:
    """Return how many bytes a fingerprint covers; 0 for one that says nothing."""
    length = print_.partition(":")[0]
    return int(length) if length.isascii() and length.isdigit() else 0
