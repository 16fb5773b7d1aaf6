"""Gunicorn's settings; it reads this file by its name."""

from __future__ import annotations

import logging

import structlog

wsgi_app = "app:app"
workers = 4


class AccessFields(logging.Filter):
    """Makes fields of the atoms of a record of `gunicorn.access`."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Add the fields."""
        match record.args:
            case {"h": client, "m": method, "U": path, "q": query, "s": status, "D": micros}:
                record.client_ip, record.method = client, method
                record.path = f"{path}?{query}" if query else path
                record.status, record.duration_ms = int(status), micros / 1000
        return True


access_log_format = "%(m)s %(U)s %(s)s"
logconfig_dict = {
    "version": 1,
    "disable_existing_loggers": False,
    "filters": {"access": {"()": AccessFields}},
    "handlers": {
        "kafka": {
            "class": "producers.KafkaHandler",
            "service": "shop-web",
        },
    },
    # Gunicorn's own handlers go; what it logs goes to the root's.
    "loggers": {
        "gunicorn.error": {"propagate": True},
        "gunicorn.access": {"propagate": True, "filters": ["access"]},
    },
    "root": {"level": "INFO", "handlers": ["kafka"]},
}


def post_request(_worker: object, _request: object, _environ: object, _response: object) -> None:
    """Forget the request, so that what the worker logs next doesn't bear its id."""
    structlog.contextvars.clear_contextvars()
