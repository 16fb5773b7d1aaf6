"""Files and standard input: read once or followed, through rotations, with positions to go on from."""

from __future__ import annotations

from consumers.files.batch import Counts, FileBatch
from consumers.files.position import Position, SourceError, named
from consumers.files.reader import FileReader
from consumers.files.stdin import StdinReader

__all__ = ["Counts", "FileBatch", "FileReader", "Position", "SourceError", "StdinReader", "named"]
