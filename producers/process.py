"""The process that a sink lives in: its forks, its end, and the code of ours that runs in it.

A sink that joins is renewed in a forked child and finished when the interpreter ends (children of
multiprocessing and SIGTERM: see children.py and signals.py). Whatever the interpreter does, a service never
waits longer for its sinks than they were told to.
"""

from __future__ import annotations

import atexit
import logging
import os
import sys
import threading
import time
import weakref
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "MAX_RENDERING",
    "Member",
    "Within",
    "cease",
    "configures_logging",
    "finish",
    "hush",
    "importing",
    "join",
    "require_main_interpreter",
    "say",
    "within",
]

# One more than a log call: what an object logs while it is rendered is wanted, without end it is not.
MAX_RENDERING = 2
_ERROR = 40
_IMPORT_S = 5.0


class Member(Protocol):
    """What takes part in the process's life."""

    def renew(self) -> None:
        """Start over in a forked child: no threads, no locks held, nothing queued."""
        ...

    def finish(self, began_s: float) -> object:
        """Get rid of what is queued, in limited time, which `time.monotonic() - began_s` of has passed."""
        ...

    def cease(self, began_s: float) -> None:
        """Take nothing more, since the process dies behind this; deliver what other threads still logged."""
        ...


class Within(threading.local):
    """Whether the current thread runs our own code, whose log records must not feed back to us.

    Attributes:
        rendering: how many log calls are under way: one, and those that are made while it renders.
        background: whether the thread is ours.
        waking: whether it is about to start or wake a thread of ours, which has to wait for that.
        terminated: whether a signal came meanwhile.
    """

    rendering = 0
    background = False
    waking = False
    terminated = False

    def feeds_back(self, logger: str, levelno: int) -> bool:
        """Whether a record is about the delivery of other records.

        In a thread of ours these are the client's, and what asyncio says about our own loop. All else comes
        from the service: a finalizer runs in whichever thread happens to collect garbage.

        Args:
            logger: the name of the record's logger.
            levelno: the record's level.
        """
        if not self.background:
            return False
        return (
            logger == "aiokafka"
            or logger.startswith("aiokafka.")
            or (logger == "asyncio" and levelno < _ERROR)
        )


within = Within()
_members: weakref.WeakSet[Member] = weakref.WeakSet()


class _Quiet(logging.Filter):
    """Drops what the Kafka client logs in a thread of ours: we say ourselves what a person must know."""

    def filter(self, record: logging.LogRecord) -> bool:
        del record
        return not within.background


_quiet = _Quiet()


def require_main_interpreter() -> None:
    """Refuse to work in a subinterpreter: it has no signals, forks or daemon threads to deliver with.

    Raises:
        RuntimeError: this is one.
    """
    if not _is_main_interpreter():
        raise RuntimeError(
            "producers works in Python's main interpreter only, and this is a subinterpreter; under mod_wsgi,"
            " set WSGIApplicationGroup %{GLOBAL}"
        )


def _is_main_interpreter() -> bool:
    # Python has no public name for it before 3.14. Where none of these is there, nobody made a subinterpreter
    # with them either.
    asked: Callable[[], bool] | None = getattr(sys.modules["_thread"], "_is_main_interpreter", None)
    if asked is not None:
        return asked()
    try:
        import _xxsubinterpreters  # type: ignore[import-not-found]  # noqa: PLC0415 - CPython's own, untyped
    except ImportError:
        return True
    return bool(_xxsubinterpreters.get_current() == _xxsubinterpreters.get_main())


def join(member: Member) -> None:
    """Let a sink take part from now on, for as long as something else refers to it."""
    _members.add(member)


def finish() -> None:
    """Finish all sinks; runs by itself when the interpreter ends."""
    began_s = time.monotonic()
    for member in _joined():
        try:
            member.finish(began_s)
        except Exception as error:  # noqa: BLE001 - whatever it is, the others want to end in order, too
            say(f"a sink did not end in order ({type(error).__name__}: {error})")


def cease(began_s: float) -> None:
    """Let all sinks that are finished take nothing more: the process dies behind this.

    Args:
        began_s: since when the limit of time runs, as of `time.monotonic()`.
    """
    for member in _joined():
        member.cease(began_s)


def _joined() -> list[Member]:
    while True:
        try:
            return list(_members)
        except RuntimeError:
            # Another thread has just made a sink.
            continue


def configures_logging() -> bool:
    """Return whether this thread holds the logging module's lock, as in `dictConfig`, which closes handlers.

    Until it lets go of it, other threads may get no logger, nor log: to wait for one of ours is in vain.
    """
    owned: Callable[[], bool] | None = getattr(getattr(logging, "_lock", None), "_is_owned", None)
    return owned is not None and owned()


def hush(client: str) -> None:
    """Keep what a client library logs in our own threads from every handler, and from standard error.

    Args:
        client: the library's top logger; those below it that exist by now are included.
    """
    for name in list(logging.root.manager.loggerDict):
        if name == client or name.startswith(client + "."):
            logging.getLogger(name).addFilter(_quiet)


def say(text: str) -> None:
    """Tell a person something on standard error; a service that has none is not told."""
    try:
        sys.stderr.write(f"tocsin: {text}\n")
        sys.stderr.flush()
    except Exception:  # noqa: BLE001 - an object of the service's may stand there, which raises anything
        # Closed, full, in use by the code that a signal broke off, or None (pythonw, daemons).
        return


def _renew() -> None:
    within.rendering, within.background = 0, False
    within.waking, within.terminated = False, False
    for member in _joined():
        member.renew()


class _Importing:
    """Keeps forks and our imports apart: a child forked in the midst of one is left with half a module."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held = False

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def before_fork(self) -> None:
        # In limited time: who forks while it imports, too, may be who we wait for.
        self._held = self._lock.acquire(timeout=_IMPORT_S)

    def after_fork(self) -> None:
        if self._held:
            self._held = False
            self._lock.release()

    def renew(self) -> None:
        self._lock = threading.Lock()
        self._held = False


importing = _Importing()
"""Held by a thread of ours while it imports."""

atexit.register(finish)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=importing.before_fork,
        after_in_parent=importing.after_fork,
        after_in_child=importing.renew,
    )
    os.register_at_fork(after_in_child=_renew)
