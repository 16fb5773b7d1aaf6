"""Forks: none happens while another thread opens and locks a journal's file.

The child would have a copy of that descriptor without knowing, and with it the lock: a parent that is killed
would seem to live on, and its records would wait for the child to end as well.
"""

from __future__ import annotations

import os
import threading
import weakref
from typing import Protocol

__all__ = ["Locked", "join"]

_PATIENCE_S = 0.5


class Locked(Protocol):
    """What has a lock that it holds while it opens files."""

    def hold(self, timeout_s: float) -> bool:
        """Take the lock; return whether that worked in time."""
        ...

    def let_go(self) -> None:
        """Release it."""
        ...


_all: weakref.WeakSet[Locked] = weakref.WeakSet()
_held = threading.local()


def join(locked: Locked) -> None:
    """Hold this lock around forks from now on, for as long as something else refers to its owner."""
    _all.add(locked)


def _joined() -> list[Locked]:
    while True:
        try:
            return list(_all)
        except RuntimeError:
            # Another thread has just made one.
            continue


def _before() -> None:
    # Not for ever: it may be held by a thread that waits for ours.
    _held.now = [locked for locked in _joined() if locked.hold(_PATIENCE_S)]


def _after_in_parent() -> None:
    held, _held.now = _held.now, []
    for locked in held:
        locked.let_go()


if hasattr(os, "register_at_fork"):
    # The child makes new locks.
    os.register_at_fork(before=_before, after_in_parent=_after_in_parent)
