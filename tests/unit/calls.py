"""Counting calls: what a thing costs, in a figure that no other process changes."""

from __future__ import annotations

import gc
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


def calls_of(function: Callable[[], object]) -> int:
    """Count the calls within a call, of Python's and of C's functions."""
    made = 0

    def count_one(_frame: object, event: str, _argument: object) -> None:
        nonlocal made
        made += event in ("call", "c_call")

    before, collecting = sys.getprofile(), gc.isenabled()
    # The collector calls back whoever asked for it (Hypothesis does), whenever it happens to run.
    gc.disable()
    sys.setprofile(count_one)
    try:
        function()
    finally:
        sys.setprofile(before)
        if collecting:
            gc.enable()
    return made
