"""SIGTERM: what is queued has its chance before the signal ends the process.

Python by itself dies of SIGTERM on the spot, without its exit handlers. We handle it only where nobody else
does, in limited time, and then die of it all the same: nothing but the last records is different. Why so, and
what else could be done, says docs/decisions/0013-signals.md.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys
import time
from typing import TYPE_CHECKING, NoReturn, Protocol

from producers.process import cease, finish, within

if TYPE_CHECKING:
    from types import FrameType

__all__ = ["termination"]


class _Server(Protocol):
    """What we need of a `uvicorn.Server`; this attribute is how programs are to stop it."""

    should_exit: bool


class _Termination:
    """The handler of SIGTERM. It runs in the main thread, behind whatever call that one is just making."""

    def __init__(self) -> None:
        self._server: _Server | None = None
        self.renew()

    def renew(self) -> None:
        """Begin in this process; for a forked child, when its sinks have been renewed."""
        self._pid = os.getpid()
        self._server = None
        self._underway = self._owed = False

    def arm(self) -> None:
        """Handle the signal, if that is left to us, and if this is the main thread, which alone may."""
        found = signal.getsignal(signal.SIGTERM)
        server = None
        if found is not signal.SIG_DFL:
            server = _uvicorn_that_runs(found)
            if server is None:
                return
        elif _handled_in_c():
            return
        try:
            signal.signal(signal.SIGTERM, self)
        except ValueError:
            return
        self._server = server

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Finish all sinks and die of the signal."""
        del frame, number
        if self._server is not None and self._pid == os.getpid():
            self._server.should_exit = self._owed = True
        elif within.waking:
            within.terminated = True
        elif not self._underway:
            # Once: `timeout` and process groups say it twice, and the time is limited as it is.
            self._underway = True
            try:
                # A child that was forked a moment ago has logged nothing, and its locks may be held for ever.
                if self._pid == os.getpid():
                    _finish()
            finally:
                _die()

    def go_on(self) -> None:
        """Make up for a signal that came while this thread was waking or starting one of ours."""
        if within.terminated:
            within.terminated = False
            self(signal.SIGTERM, None)

    def at_exit(self) -> None:
        """Die of the signal that has made a server end in order."""
        if self._owed and self._pid == os.getpid():
            _finish()
            _die()


def _finish() -> None:
    began_s = time.monotonic()
    finish()
    # Other threads have logged meanwhile, and go on.
    cease(began_s)


def _die() -> NoReturn:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.raise_signal(signal.SIGTERM)
    # Still there: process 1 of a container does not die of what it doesn't handle.
    os._exit(128 + signal.SIGTERM)


def _handled_in_c() -> bool:
    """Return whether the kernel knows a handler that Python doesn't, as mod_wsgi and uWSGI set theirs."""
    try:
        with open("/proc/self/status", "rb") as file:  # noqa: PTH123 - pathlib is loaded by nobody else here
            caught = next(line for line in file if line.startswith(b"SigCgt:"))
        return bool(int(caught.split()[1], 16) >> (signal.SIGTERM - 1) & 1)
    except (OSError, StopIteration, ValueError, IndexError):
        # Elsewhere than on Linux nobody can tell.
        return False


def _uvicorn_that_runs(handler: object) -> _Server | None:
    """Return the server that a signal handler is of, if all that this process does is run it.

    uvicorn handles SIGTERM before it imports the service, which is when we come. Having ended in order it
    puts back what was there before, nothing, and dies of the signal. If we stop it ourselves, it just ends.
    """
    server = getattr(handler, "__self__", None)
    known = getattr(sys.modules.get("uvicorn.server"), "Server", None)
    if known is None or not isinstance(server, known):
        return None
    run = getattr(known.run, "__code__", None)
    frame: FrameType | None = sys._getframe()  # noqa: SLF001 - there is no public name for it
    while frame is not None and frame.f_code is not run:
        frame = frame.f_back
    # Within an event loop of somebody else's, the process may go on when the server has ended.
    return server if frame is not None else None


termination = _Termination()

# Before the sinks are finished as they always are, since it does that itself.
atexit.register(termination.at_exit)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=termination.renew)
