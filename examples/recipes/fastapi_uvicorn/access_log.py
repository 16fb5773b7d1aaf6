"""Uvicorn's access log as fields, and the request's id on every event of the request."""

from __future__ import annotations

import contextvars
import logging
import time
import uuid
from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

_began: contextvars.ContextVar[float] = contextvars.ContextVar("began")


class RequestContext:
    """Middleware. A plain one, so that uvicorn itself logs within the same context."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Bind the id, then pass on."""
        if scope["type"] == "http":
            given = dict(scope["headers"]).get(b"x-request-id", b"").decode("latin-1")
            structlog.contextvars.clear_contextvars()
            structlog.contextvars.bind_contextvars(request_id=given or uuid.uuid4().hex)
            _began.set(time.perf_counter())
        await self.app(scope, receive, send)


class AccessFields(logging.Filter):
    """Makes fields of the arguments of a record of `uvicorn.access`."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Add the fields."""
        match record.args:
            case (str(client), method, path, _, status):
                record.client_ip = client.rpartition(":")[0]
                record.method, record.path, record.status = method, path, status
        if began := _began.get(None):
            # Until the response begins: that is when uvicorn logs it.
            record.duration_ms = round((time.perf_counter() - began) * 1000, 1)
        return True
