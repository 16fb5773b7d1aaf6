"""FastAPI under uvicorn: requests, errors and uvicorn's own logs as events on Kafka.

    pip install tocsin fastapi uvicorn
    uvicorn app:app --log-config log_config.json

`serve.py` does the same without a configuration file.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Annotated

import structlog
from access_log import RequestContext
from fastapi import Depends, FastAPI, Header

log = logging.getLogger("shop.orders")


async def current_user(x_user: Annotated[str, Header()] = "nobody") -> str:
    """Who asks; from here on every event of the request says it."""
    structlog.contextvars.bind_contextvars(user=x_user)
    return x_user


app = FastAPI(dependencies=[Depends(current_user)])
app.add_middleware(RequestContext)


@app.get("/orders/{order_id}")
async def show(order_id: int) -> dict[str, int]:
    """Show an order."""
    log.info("order shown", extra={"order_id": order_id})
    return {"order_id": order_id}


@app.post("/orders/{order_id}/refund")
async def refund(order_id: int) -> dict[str, float]:
    """Fail: the exception arrives with its frames."""
    return {"share": order_id / 0}


@app.get("/report")
async def report() -> dict[str, str]:
    """Take a second; told to stop meanwhile, uvicorn waits for it."""
    log.info("report begun")
    await asyncio.sleep(1)
    log.info("report made")
    return {"report": "all is well"}
