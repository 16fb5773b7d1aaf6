"""What the configuration adds to the reading of rules: placeholders' values, and a processing pipeline.

Importing this costs nothing: pySigma is only named here for its types.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sigma.processing.pipeline import ProcessingPipeline

__all__ = ["NO_OPTIONS", "Options"]


@dataclass(frozen=True)
class Options:
    """How rules are read.

    Attributes:
        placeholders: name → the values that `%name%` stands for where the modifier `expand` is used.
        processing: what changes a rule's fields, values and log source to those of the events; or None.
        processing_digest: tells one `processing` from another; part of the hash of the rules it changes.
    """

    placeholders: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    processing: ProcessingPipeline | None = None
    processing_digest: str = ""


NO_OPTIONS = Options()
"""Rules as they are written."""
