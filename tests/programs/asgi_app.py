"""What uvicorn serves: each request logs five records, and the app says when it comes and goes."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, Any

import producers

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

log = logging.getLogger("service")

producers.configure(service="web", topic=os.environ["TOPIC"], flush_timeout_s=30)


# Any: as the ASGI specification types its events.
async def app(
    scope: dict[str, Any],
    receive: Callable[[], Awaitable[dict[str, Any]]],
    send: Callable[[dict[str, Any]], Awaitable[None]],
) -> None:
    if scope["type"] == "lifespan":
        await receive()
        log.info("up")
        await send({"type": "lifespan.startup.complete"})
        await receive()
        # The last thing before uvicorn puts the signals back and dies of SIGTERM.
        log.info("down")
        await send({"type": "lifespan.shutdown.complete"})
        return
    for _ in range(5):
        log.info("request")
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body", "body": b""})
