"""Django: requests, errors and the server's own logs as events on Kafka.

    pip install tocsin django gunicorn
    gunicorn

or, while developing, `python -m django runserver --noreload --settings shop.settings`.
"""

from __future__ import annotations

import os

SECRET_KEY = os.environ.get("SECRET_KEY", "not for production")
ALLOWED_HOSTS = ["127.0.0.1", "localhost"]
ROOT_URLCONF = "shop.urls"
WSGI_APPLICATION = "shop.wsgi.application"
MIDDLEWARE = ["shop.middleware.log_request"]
USE_TZ = True

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {
        "kafka": {
            "class": "producers.KafkaHandler",
            "service": "shop-admin",
        },
    },
    # The handlers of Django and gunicorn go; what they log goes to the root's.
    "loggers": {
        "django": {"level": "INFO"},
        "django.server": {"propagate": False},  # runserver's own log of requests
        "gunicorn.error": {"propagate": True},
    },
    "root": {"level": "INFO", "handlers": ["kafka"]},
}
