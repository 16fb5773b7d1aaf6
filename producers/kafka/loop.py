"""The event loop of the thread that delivers: it needs no other thread, so it works until the very end."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import selectors
    from collections.abc import Callable

__all__ = ["DeliveryLoop"]


class DeliveryLoop(asyncio.SelectorEventLoop):
    """An event loop that resolves names in its own thread.

    The default executor takes no work while the interpreter ends, which is just when the first record of
    a short script is on its way; and nobody but the records waits for this thread.
    """

    def __init__(self, selector: selectors.BaseSelector) -> None:
        """Begin with a selector.

        Raises:
            OSError: there are too many open files.
        """
        try:
            super().__init__(selector)
        except OSError:
            # Half made it would be complained about when it is collected.
            asyncio.BaseEventLoop.close(self)
            selector.close()
            raise

    async def getaddrinfo(  # type: ignore[override]  # typeshed spells out each argument
        self, host: str | None, port: int | str | None, **options: int
    ) -> list[Any]:
        """Resolve a name, as `socket.getaddrinfo` does; the result is Any as it is there."""
        return socket.getaddrinfo(host, port, **options)

    def run_in_executor(
        self, executor: object, func: Callable[..., Any], *args: object
    ) -> asyncio.Future[Any]:
        """Run a step of a login, the one thing that the client has an executor for; Any as it is there.

        Its result, which may hold a password, is not even in the repr of what waits for it.
        """
        del executor
        done = self.create_future()
        try:
            done.set_result(func(*args))
        except Exception as error:  # noqa: BLE001 - whatever it is belongs to whoever waits
            done.set_exception(error)
        return done
