"""What a person must know of a spool: each thing is said once on standard error."""

from __future__ import annotations

import os

from producers.process import say

__all__ = ["Notes"]


class Notes:
    """Collects what is to be said until no lock is held: standard error may be the service's own object."""

    def __init__(self, place: str) -> None:
        """Begin with nothing said.

        Args:
            place: the folder's path.
        """
        self._place = place
        self._troubled = False
        self._damaged = False
        self.waiting: list[str] = []

    def trouble(self, error: OSError) -> None:
        """Note that the disk says no."""
        if not self._troubled:
            self._troubled = True
            why = os.strerror(error.errno) if error.errno else str(error)
            self.waiting.append(
                f"can't keep log records in {self._place} ({why}); they are counted and dropped"
            )

    def well(self) -> None:
        """Note that it says yes again."""
        self._troubled = False

    def damage(self, path: str) -> None:
        """Note that something in a file can't be read."""
        if not self._damaged:
            self._damaged = True
            self.waiting.append(f"{path} is damaged; what can't be read of it is counted as dropped")

    def speak(self) -> None:
        """Say what is to be said. The caller holds no lock."""
        while self.waiting:
            say(self.waiting.pop(0))
