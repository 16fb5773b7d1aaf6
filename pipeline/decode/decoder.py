"""What every decoder is: bytes of one format in, one event out, nothing remembered.

Whatever a decoder puts into the fields stands literally in the bytes (but for JSON's escapes), so that
the prefilter can look for it there; the exceptions are named in `fields.DERIVED`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from pipeline.event import Event

__all__ = ["Decoder"]


class Decoder(Protocol):
    """One log format. Decoders are pure and share no state; only `Auto` learns, one per source."""

    @property
    def name(self) -> str:
        """The format's name in the configuration, `json`, `basic`, `syslog`, `access`, `logfmt` and so on."""
        ...

    def starts(self, line: bytes) -> bool:
        """Whether a physical line of a file begins a new event (else it continues the one before)."""
        ...

    def decode(self, raw: bytes, record_ms: int) -> Event:
        """Decode the bytes of one event.

        Args:
            raw: the event without its line end; inner newlines belong to it.
            record_ms: the record's own timestamp, used where the event has none or an absurd one
                (more than a day after it, or before 1980), in milliseconds since the epoch.

        Raises:
            DecodeError: the bytes are not of this format.
        """
        ...
