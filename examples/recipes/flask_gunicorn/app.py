"""Flask under gunicorn with 4 workers: requests, errors and gunicorn's own logs as events on Kafka.

    pip install tocsin flask gunicorn
    gunicorn

All else stands in `gunicorn.conf.py`.
"""

from __future__ import annotations

import time
import uuid

import structlog
from flask import Flask, request

app = Flask(__name__)


@app.before_request
def bind() -> None:
    """Put the request's id and its user on every event of it."""
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(
        request_id=request.headers.get("X-Request-ID") or uuid.uuid4().hex,
        user=request.headers.get("X-User", "nobody"),
    )


@app.get("/orders/<int:order_id>")
def show(order_id: int) -> dict[str, int]:
    """Show an order."""
    app.logger.info("order shown", extra={"order_id": order_id})
    return {"order_id": order_id}


@app.post("/orders/<int:order_id>/refund")
def refund(order_id: int) -> dict[str, float]:
    """Fail: the exception arrives with its frames."""
    return {"share": order_id / 0}


@app.get("/report")
def report() -> dict[str, str]:
    """Take a second; told to stop meanwhile, gunicorn waits for it."""
    app.logger.info("report begun")
    time.sleep(1)
    app.logger.info("report made")
    return {"report": "all is well"}
