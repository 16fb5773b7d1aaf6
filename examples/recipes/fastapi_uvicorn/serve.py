"""The same app, started from Python: `python serve.py`."""

from __future__ import annotations

import logging
import os

import uvicorn
from access_log import AccessFields

import producers

if __name__ == "__main__":
    producers.configure(service="shop-api")
    logging.getLogger("uvicorn.access").addFilter(AccessFields())
    # Without a configuration of its own all that uvicorn logs goes to the root's handlers.
    uvicorn.run("app:app", port=int(os.environ.get("PORT", "8000")), log_config=None)
