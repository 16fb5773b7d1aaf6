"""Gunicorn's settings; it reads this file by its name.

The app is loaded before gunicorn says anything, so that Django's LOGGING is gunicorn's as well.
"""

from __future__ import annotations

wsgi_app = "shop.wsgi:application"
workers = 2
preload_app = True
