"""Marks: where a log ended when it was last verified, kept where whoever can change the log can't.

A log whose end is cut off looks like one that ends there. What an earlier check saw is what tells them apart.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import msgspec

from pipeline.chain.partition import Mark
from pipeline.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

__all__ = ["read_marks", "write_marks"]


class _Written(msgspec.Struct, frozen=True):
    """One mark in the file.

    Attributes:
        partition: where the record lies.
        offset: likewise.
        mac: its MAC, in hexadecimal.
    """

    partition: int
    offset: int
    mac: str


class _Marks(msgspec.Struct, frozen=True):
    """The file."""

    topic: str
    marks: list[_Written]


def read_marks(path: Path, topic: str) -> dict[int, Mark]:
    """Return the marks of a file by partition; none if there is no file yet.

    Args:
        path: the file.
        topic: which topic they have to be of.

    Raises:
        ConfigError: the file can't be read, or holds something else.
    """
    try:
        marks = msgspec.json.decode(path.read_bytes(), type=_Marks)
        found = {m.partition: Mark(m.partition, m.offset, bytes.fromhex(m.mac)) for m in marks.marks}
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise ConfigError(f"can't be read: {error.strerror}", file=str(path)) from error
    except (msgspec.DecodeError, ValueError) as error:
        raise ConfigError(f"holds no marks of verify-log: {error}", file=str(path)) from error
    if marks.topic != topic:
        raise ConfigError(f"holds the marks of topic {marks.topic!r}, not of {topic!r}", file=str(path))
    return found


def write_marks(path: Path, topic: str, marks: Iterable[Mark]) -> None:
    """Write marks, in the place of the file as a whole.

    Args:
        path: the file.
        topic: which topic they are of.
        marks: one of each partition that has an authentic record.

    Raises:
        ConfigError: the file can't be written.
    """
    written = [_Written(m.partition, m.offset, m.mac.hex()) for m in marks]
    beside = path.with_name(path.name + ".new")
    try:
        with beside.open("wb") as file:
            file.write(msgspec.json.format(msgspec.json.encode(_Marks(topic, written))) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except OSError as error:
        raise ConfigError(f"can't be written: {error.strerror}", file=str(path)) from error
