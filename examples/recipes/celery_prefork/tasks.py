"""Celery with prefork: what tasks and the worker log as events on Kafka, a task's id on each of its own.

    pip install tocsin celery
    celery -A tasks worker --loglevel INFO --concurrency 2
    python -c "import tasks; tasks.pack.delay(7)"

The queue is a folder, so that this runs by itself; put your broker's URL in its place.
"""

from __future__ import annotations

import pathlib
import time

import structlog
from celery import Celery, Task, signals
from celery.utils.log import get_task_logger

import producers

QUEUE = pathlib.Path("queue")
QUEUE.mkdir(exist_ok=True)
app = Celery("tasks", broker="filesystem://")
app.conf.broker_transport_options = {"data_folder_in": str(QUEUE), "data_folder_out": str(QUEUE)}
log = get_task_logger(__name__)


@signals.setup_logging.connect
def set_up_logging(loglevel: int, **_: object) -> None:
    """Take the place of Celery's own set-up: no handler of its own, no hijacked root logger."""
    producers.configure(service="shop-tasks", level=loglevel)


@signals.task_prerun.connect
def bind(task_id: str, task: Task, **_: object) -> None:
    """Put the task's id and name on every event of it."""
    structlog.contextvars.bind_contextvars(task_id=task_id, task=task.name)


@signals.task_postrun.connect
def unbind(**_: object) -> None:
    """Forget the task."""
    structlog.contextvars.clear_contextvars()


@app.task
def pack(order_id: int) -> int:
    """Take a second; told to stop meanwhile, the worker waits for it."""
    log.info("packing begun", extra={"order_id": order_id})
    time.sleep(1)
    log.info("packed", extra={"order_id": order_id})
    return order_id


@app.task
def refund(order_id: int) -> float:
    """Fail: the exception arrives with its frames."""
    return order_id / 0
