"""What every receiver is: something that delivers a notification and says what came of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from pipeline.notify.notification import Notification, Result

__all__ = ["Receiver"]


class Receiver(Protocol):
    """One integration of a receiver, as configured."""

    @property
    def edits(self) -> bool:
        """Whether a message that was sent can be changed; if so, `UPDATE` notifications are welcome."""
        ...

    @property
    def channel(self) -> str:
        """What shares one rate limit (a Slack channel, a webhook); sends of one channel never overlap."""
        ...

    @property
    def interval_s(self) -> float:
        """Least seconds between two sends on the channel; 0 for no limit."""
        ...

    async def send(self, notification: Notification) -> Result:
        """Deliver one notification; every outcome the receiver documents is a `Result`, not an error."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...
