"""What every sink is: where rendered events go, and what became of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from producers.event.renderer import RenderedEvent

__all__ = ["Sink"]


class Sink(Protocol):
    """A target of events, shared by all threads of a service."""

    @property
    def dropped(self) -> Mapping[str, int]:
        """Events lost so far, by level."""
        ...

    @property
    def pending(self) -> int:
        """Events taken in that have not arrived yet."""
        ...

    def write(self, event: RenderedEvent) -> None:
        """Take an event in. Never raises; what can't be taken is counted as dropped."""
        ...

    def lose(self, level: str) -> None:
        """Count an event that was lost before it got here."""
        ...

    def flush(self, timeout_s: float | None = None) -> bool:
        """Wait until all that has been taken in by now has arrived.

        Args:
            timeout_s: most seconds to wait; None for the sink's own limit.

        Returns:
            Whether it has.
        """
        ...

    def close(self) -> None:
        """Flush, tell a person what remains, let go of all resources; the next `write` begins anew."""
        ...
