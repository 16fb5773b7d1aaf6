"""The interpreter's last resorts: what nobody has handled becomes records.

Warnings, and exceptions that end the process, a thread or a finalizer, are logged, so that they arrive where
all else does. A hook never raises, is put in place once, and runs the one that it found there: a traceback
still stands on standard error. Who replaces a hook of ours keeps theirs.
"""

from __future__ import annotations

import difflib
import logging
import sys
import threading
import warnings
from typing import TYPE_CHECKING, Any, Final, TextIO

from producers.children import children
from producers.event.objects import safe_text
from producers.process import within

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from types import ModuleType, TracebackType

    from producers.handler import KafkaHandler

__all__ = ["HOOKS", "capture", "check"]

_UNCAUGHT = "uncaught"
# Whose finalizers, in a thread of ours, complain of the delivery of records.
_DELIVERY = frozenset({"aiokafka", "asyncio", "producers"})


class _Hook:
    """One of Python's hooks: ours stands in front of the one that was there."""

    def __init__(self, module: ModuleType, name: str, log: Callable[..., bool]) -> None:
        """Prepare; nothing is changed yet.

        Args:
            module: where Python looks the hook up.
            name: its name there.
            log: takes the hook's arguments; returns whether nobody else has to hear of it.
        """
        self._module = module
        self._name = name
        self._log = log
        self._active = self._placed = False
        # Threads that are in it: what comes of its own record, such as a handler that warns, is not logged.
        self._inside: set[int] = set()
        # Any: each hook has arguments of its own.
        self._previous: Callable[..., Any] = getattr(module, name)

    def set(self, *, active: bool) -> None:
        """Put it in place, or take it away; where another stands in front of it, only turn it on or off."""
        self._active = active
        found = getattr(self._module, self._name)
        if active and found is not self and (not self._placed or found is self._previous):
            self._previous, self._placed = found, True
            setattr(self._module, self._name, self)
        elif not active and found is self:
            self._placed = False
            setattr(self._module, self._name, self._previous)

    def __call__(self, *args: Any) -> None:  # Any: as said
        """Log, then do what would have been done without us."""
        done = False
        try:
            thread = threading.get_ident()
            if self._active and thread not in self._inside:
                self._inside.add(thread)
                try:
                    done = self._log(*args)
                finally:
                    self._inside.discard(thread)
        except Exception:  # noqa: BLE001 - another handler may raise, and at its end the interpreter is half gone
            done = False
        if not done:
            self._previous(*args)


class _Log:
    """What the hooks log, and the handler that brings it away before the process ends."""

    def __init__(self) -> None:
        self.handler: KafkaHandler | None = None

    def warning(
        self,
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> bool:
        """Log a warning, unless a file was named for it."""
        del line
        # Of a thread of ours it may be about delivery, and come with every record that tells of it.
        if file is not None or within.background:
            return False
        place = {"category": category.__name__, "file": filename, "line": lineno}
        logging.getLogger("py.warnings").warning("%s", safe_text(message, convert=str), extra=place)
        return True

    def uncaught(
        self, kind: type[BaseException], error: BaseException, traceback: TracebackType | None
    ) -> bool:
        """Log what ends the process, and bring it away in limited time: the previous hook may not return."""
        del traceback
        if not issubclass(kind, KeyboardInterrupt | SystemExit):
            logging.getLogger(_UNCAUGHT).critical("uncaught exception", exc_info=error)
            # At a prompt nothing ends.
            if self.handler is not None and not hasattr(sys, "ps1"):
                self.handler.flush()
        return False

    def child(self, error: BaseException) -> None:
        """Log what ends a child of `multiprocessing`, which prints it and asks no hook."""
        if not isinstance(error, KeyboardInterrupt | SystemExit):
            name = sys.modules["multiprocessing.process"].current_process().name
            logging.getLogger(_UNCAUGHT).critical(
                "uncaught exception in child process", exc_info=error, extra={"process_name": name}
            )

    def thread(self, args: threading.ExceptHookArgs) -> bool:
        """Log what ends a thread."""
        if not issubclass(args.exc_type, SystemExit) and not within.background:
            name = args.thread.name if args.thread is not None else ""
            logging.getLogger(_UNCAUGHT).error(
                "uncaught exception in thread", exc_info=args.exc_value, extra={"thread_name": name}
            )
        return False

    def unraisable(self, args: sys.UnraisableHookArgs) -> bool:
        """Log what a finalizer or a callback raised, which nobody can catch."""
        module = getattr(args.object, "__module__", None)
        top = module.partition(".")[0] if isinstance(module, str) else ""
        if not (within.background and top in _DELIVERY):
            # As text: to keep the object itself would bring it back to life.
            place = {"where": args.err_msg or "Exception ignored in", "object": safe_text(args.object)}
            logging.getLogger(_UNCAUGHT).error("unraisable exception", exc_info=args.exc_value, extra=place)
        return False


_log = _Log()
_hooks: Final = {
    "warnings": _Hook(warnings, "showwarning", _log.warning),
    "excepthook": _Hook(sys, "excepthook", _log.uncaught),
    "threading": _Hook(threading, "excepthook", _log.thread),
    "unraisable": _Hook(sys, "unraisablehook", _log.unraisable),
}
HOOKS: Final = tuple(_hooks)
"""The names of the hooks: warnings, excepthook, threading and unraisable."""


def check(names: Collection[str]) -> None:
    """Raise ValueError for a name of no hook, TypeError for one text instead of names."""
    if isinstance(names, str):
        raise TypeError(f"hooks must be a list of names, not the text {names!r}")
    for name in names:
        if name not in _hooks:
            near = difflib.get_close_matches(name, _hooks, 1)
            meant = f"is {near[0]} meant?" if near else f"valid: {', '.join(_hooks)}"
            raise ValueError(f"hook {name!r} is unknown; {meant}")


def capture(names: Collection[str], handler: KafkaHandler | None) -> None:
    """Log what these hooks are told from now on, and no other's.

    Args:
        names: some of `HOOKS`.
        handler: flushed before an uncaught exception ends the process.

    Raises:
        ValueError: a name of no hook.
    """
    check(names)
    _log.handler = handler
    for name, hook in _hooks.items():
        hook.set(active=name in names)
    children.on_error = _log.child if "excepthook" in names else None
