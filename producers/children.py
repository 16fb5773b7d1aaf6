"""Children of multiprocessing and Celery: they end by `os._exit`, behind finalizers of their own.

Their registries are the only way in: what is registered to run after a fork runs in the child, when what the
parent had to finalize has been forgotten; and a finalizer runs when the child's work has ended. Children of
billiard are registered there, too; but those of Celery's pool end without it, behind a signal of Celery's.
"""

from __future__ import annotations

import os
import sys
import threading
from typing import TYPE_CHECKING, Any, Final

from producers.process import finish

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["children"]

# Before and behind whatever else a child has to finalize.
_FIRST: Final = 1_000
_LAST: Final = -1_000


class _Children:
    """Sees to it that a child finishes its sinks, and tells of the exception that ends it."""

    def __init__(self) -> None:
        self.on_error: Callable[[BaseException], object] | None = None
        """Told of the exception that ends a child, which no hook of Python's is."""
        self._watched = self._watched_celery = False
        self._armed_in = 0
        self._handled: BaseException | None = None

    def watch(self) -> None:
        """Do so for the children to come, and for this process if it is one; cheap to repeat."""
        celery = getattr(sys.modules.get("celery.signals"), "worker_process_shutdown", None)
        if celery is not None and not self._watched_celery:
            self._watched_celery = True
            celery.connect(_finish_child_of_celery, weak=False)
        self.look()

    def look(self) -> None:
        """Watch multiprocessing alone, which takes no lock that the fork of a child may have left behind."""
        util = sys.modules.get("multiprocessing.util")
        process = sys.modules.get("multiprocessing.process")
        if util is None or process is None:
            return
        if not self._watched:
            self._watched = True
            util.register_after_fork(self, _Children._arm)
        current = process.current_process()
        # Those of billiard know no parent but its id. Spawned children run nothing after a fork, and say what
        # they are only while they import their main module.
        child = process.parent_process() or getattr(current, "_parent_pid", None)
        if (child or getattr(current, "_inheriting", False)) and self._armed_in != os.getpid():
            self._arm()

    def _arm(self) -> None:
        # Any: a module that is not imported here.
        util: Any = sys.modules["multiprocessing.util"]
        self._armed_in = os.getpid()
        # Forked in an `except` block of the parent's.
        self._handled = sys.exc_info()[1]
        util.Finalize(None, self._begin, exitpriority=_FIRST)
        util.Finalize(None, self._end, exitpriority=_LAST)

    def _begin(self) -> None:
        error = sys.exc_info()[1]
        if self.on_error is not None and error is not None and error is not self._handled:
            self.on_error(error)

    def _end(self) -> None:
        finish()
        if _others():
            # They are waited for next, as the child ends, and so is this one. To wait here would hold up just
            # what tells the threads of an executor to go.
            threading.Thread(target=_finish_after_others, name="tocsin-exit").start()


def _finish_child_of_celery(**_: object) -> None:
    finish()


def _others() -> list[threading.Thread]:
    """Return the threads that keep the process alive, but for the main thread and this one."""
    known = (threading.main_thread(), threading.current_thread())
    return [thread for thread in threading.enumerate() if not thread.daemon and thread not in known]


def _finish_after_others() -> None:
    while others := _others():
        for thread in others:
            thread.join()
    finish()


children = _Children()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=children.look)
