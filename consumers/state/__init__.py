"""State on one machine: positions and the stages' state in one SQLite file."""

from __future__ import annotations

from consumers.state.sqlite import Database, StateError

__all__ = ["Database", "StateError"]
