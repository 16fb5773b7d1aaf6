"""A Celery app that does nothing for its logging but `configure`: its pool's children end by `os._exit`."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from celery import Celery, signals

import producers

QUEUE = Path(os.environ["QUEUE"])
app = Celery("celery_pool", broker="filesystem://")
app.conf.broker_transport_options = {"data_folder_in": str(QUEUE), "data_folder_out": str(QUEUE)}


@signals.setup_logging.connect
def set_up_logging(**_: object) -> None:
    # What waits for company for so long is lost where nobody waits for it.
    producers.configure(service="celery", linger_ms=6_000, flush_timeout_s=20, topic=os.environ["TOPIC"])


@app.task
def pack() -> None:
    logging.getLogger("shop").info("packed")
    Path(os.environ["DONE"]).touch()
