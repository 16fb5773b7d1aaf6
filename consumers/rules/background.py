"""Heavy work beside work that must not wait: what a thread does so that others get their turn.

Python's threads take turns of 5 ms, and the collector of garbage looks at every object at once: with some
thousand rules that is 0.2 s (`benchmarks/reload.py`).
"""

from __future__ import annotations

import contextlib
import gc
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["calm"]

# A scan calls back for every hit, and each call waits for its turn.
_TURN_S = 0.0005


@contextlib.contextmanager
def calm() -> Iterator[None]:
    """Let the body make many objects that stay. It is for one thread at a time.

    The collector pauses meanwhile, and never looks at what is there at the end: nothing of it is a cycle, so
    that counting references is enough to free it.
    """
    collecting, turn_s = gc.isenabled(), sys.getswitchinterval()
    gc.disable()
    sys.setswitchinterval(min(turn_s, _TURN_S))
    try:
        yield
        gc.freeze()
    finally:
        sys.setswitchinterval(turn_s)
        if collecting:
            gc.enable()
