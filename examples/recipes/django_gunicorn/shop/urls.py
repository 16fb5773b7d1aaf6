"""Three views of a shop."""

from __future__ import annotations

import logging
import time

from django.http import HttpRequest, JsonResponse
from django.urls import path

log = logging.getLogger("shop.orders")


def show(_request: HttpRequest, order_id: int) -> JsonResponse:
    """Show an order."""
    log.info("order shown", extra={"order_id": order_id})
    return JsonResponse({"order_id": order_id})


def refund(_request: HttpRequest, order_id: int) -> JsonResponse:
    """Fail: the exception arrives with its frames."""
    return JsonResponse({"share": order_id / 0})


def report(_request: HttpRequest) -> JsonResponse:
    """Take a second; told to stop meanwhile, gunicorn waits for it."""
    log.info("report begun")
    time.sleep(1)
    log.info("report made")
    return JsonResponse({"report": "all is well"})


urlpatterns = [
    path("orders/<int:order_id>", show),
    path("orders/<int:order_id>/refund", refund),
    path("report", report),
]
