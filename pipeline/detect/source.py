"""Sources: what is declared of one, and what is known of each of its partitions while it is read."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

import msgspec

from pipeline.decode import Auto, choose
from pipeline.event import LogSource

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipeline.decode import Decoder
    from pipeline.detect.accounts import Account

__all__ = ["Reader", "Source"]

# Events of a source without a time of their own, and none with one, before the record's time stands for it.
_MAX_UNTIMED = 16


class Source(msgspec.Struct, frozen=True):
    """What is declared of a source.

    Attributes:
        format: a decoder's name, or `auto`.
        logsources: what kinds of log it holds; empty means unknown: rules of every log source apply, unless
            an event says which it is of. Else a rule applies where each part that it sets is declared so; one
            that declares a product only leaves service and category to events that say them.
        siblings: how many partitions it has.
        service: the service of events that don't name theirs.
        zone: of times written without an offset.
        timed: whether record timestamps are the events' own times, as on Kafka; a file's are not, so that
            the watermark comes from the events.
        silence_ms: how long a service that is heard regularly is quiet before that is told, in milliseconds;
            0: it never is.
    """

    format: str = "auto"
    logsources: tuple[LogSource, ...] = ()
    siblings: int = 1
    service: str = ""
    zone: dt.tzinfo = dt.UTC
    timed: bool = True
    silence_ms: int = 0


class Reader:
    """What is known of one partition."""

    __slots__ = (
        "_learning",
        "_passing",
        "account",
        "caught_up",
        "decoder",
        "heard_ms",
        "highest_ms",
        "offset",
        "source",
        "untimed",
        "untimed_ms",
    )

    def __init__(self, source: Source, now_ms: int, account: Account) -> None:
        self.source = source
        self.account = account
        self.decoder: Decoder = choose(source.format, source.zone)
        self._learning = self.decoder if isinstance(self.decoder, Auto) else None
        self._passing = 0
        self.offset = 0
        self.highest_ms = 0
        self.heard_ms = now_ms
        self.caught_up = False
        # While no event has had a time of its own: how many had none, and when the last was read.
        self.untimed = 0
        self.untimed_ms = 0

    def look(self, values: Sequence[bytes]) -> None:
        """Let the decoder learn the format from a batch that is about to be examined.

        Which records it is shown depends on their places alone, never on what is decoded: otherwise one rule
        more would change what the others find.
        """
        if self._learning is None:
            return
        at = self._passing
        while at < len(values):
            at += 1 + self._learning.learn(values[at])
        self._passing = at - len(values)

    def known_ms(self, *, settled: bool) -> int:
        """Return the highest time; where events have none, and enough were seen, when they were read."""
        if self.highest_ms or not (settled or self.untimed >= _MAX_UNTIMED):
            return self.highest_ms
        return self.untimed_ms
