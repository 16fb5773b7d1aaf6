"""One event for each request, and the request's id on every event of it."""

from __future__ import annotations

import logging
import time
import uuid
from typing import TYPE_CHECKING

import structlog
from django.core.signals import request_finished
from django.dispatch import receiver

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.http import HttpRequest, HttpResponse

log = logging.getLogger("shop.requests")


def log_request(respond: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Middleware; the first in the list, so that the others' events have the id as well."""

    def middleware(request: HttpRequest) -> HttpResponse:
        began = time.perf_counter()
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(
            request_id=request.headers.get("X-Request-ID") or uuid.uuid4().hex,
            user=request.headers.get("X-User", "nobody"),
        )
        response = respond(request)
        fields = {
            "method": request.method,
            "path": request.get_full_path(),
            "status": response.status_code,
            "duration_ms": round((time.perf_counter() - began) * 1000, 1),
            "client_ip": request.META["REMOTE_ADDR"],
        }
        log.info("%s %s", request.method, request.path, extra=fields)
        return response

    return middleware


@receiver(request_finished)
def forget_request(**_: object) -> None:
    """Not before this: Django logs a 404 when the middleware is through."""
    structlog.contextvars.clear_contextvars()
