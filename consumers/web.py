"""The web endpoints: `/metrics` for Prometheus, `/healthz` and `/readyz` for whoever runs the worker."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from aiohttp import web

from pipeline.errors import TocsinError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from consumers.metrics import Metrics

__all__ = ["serve_web"]


@asynccontextmanager
async def serve_web(
    host: str, port: int, metrics: Metrics, ready: Callable[[], str | None]
) -> AsyncIterator[int]:
    """Serve while the context lasts.

    Args:
        host: the address to listen on.
        port: the port; 0 takes any free one.
        metrics: what `/metrics` shows.
        ready: returns what is not ready yet, or None when everything is.

    Yields:
        The port that is listened on.

    Raises:
        TocsinError: the port can't be had.
    """

    async def show_metrics(_: web.Request) -> web.Response:
        return web.Response(
            body=metrics.render(), headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"}
        )

    async def healthy(_: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def readiness(_: web.Request) -> web.Response:
        missing = ready()
        return web.Response(text=f"{missing}\n" if missing else "ready\n", status=503 if missing else 200)

    app = web.Application()
    app.add_routes(
        [web.get("/metrics", show_metrics), web.get("/healthz", healthy), web.get("/readyz", readiness)]
    )
    runner = web.AppRunner(app, access_log=None, handle_signals=False)
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port)
        try:
            await site.start()
        except OSError as error:
            reason = error.strerror or error
            raise TocsinError(
                f"can't serve metrics on {host}:{port}: {reason}; choose another port with --web-port or"
                " `web.port` (0: any free one), or turn it off with `web: {enabled: false}`"
            ) from error
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()
