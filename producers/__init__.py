"""What a service imports: log records become JSON events on Kafka, without ever hurting the service.

Names load when they are first asked for, so that a service that uses only the handler never pays for
structlog, and nobody pays for the Kafka client before the first record is on its way.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from producers.configuration import configure
    from producers.handler import KafkaHandler
    from producers.logger import EventRenderer, KafkaLoggerFactory
    from producers.notification import notify

__all__ = ["EventRenderer", "KafkaHandler", "KafkaLoggerFactory", "configure", "notify"]

_HOMES = {
    "EventRenderer": "producers.logger",
    "KafkaHandler": "producers.handler",
    "KafkaLoggerFactory": "producers.logger",
    "configure": "producers.configuration",
    "notify": "producers.notification",
}


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        module = importlib.import_module(home)
    except ImportError:
        # Libraries in C refuse to be loaded in a subinterpreter, each in words of its own.
        importlib.import_module("producers.process").require_main_interpreter()
        raise
    return getattr(module, name)
