"""Where a stage's state outlives the process: SQLite beside files, compacted topics on Kafka.

A stage gives the changes of its state as (key, value) pairs; None removes a key. A store keeps them so that
`load` returns what the last `commit` left. The stage's input position is committed after or with the
changes, never before: whatever is applied twice is recognised by the stage.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["Change", "Store"]

Change = tuple[str, bytes | None]


class Store(Protocol):
    """The state of one shard of one stage."""

    async def load(self) -> Mapping[str, bytes]:
        """Return all that was kept, by key."""
        ...

    async def save(self, changes: Sequence[Change]) -> None:
        """Keep changes; they are durable when this returns."""
        ...
