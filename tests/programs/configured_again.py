"""Sets up its logging twice, the second time while the first record is still on its way."""

from __future__ import annotations

import logging.config
import sys

servers, topic = sys.argv[1:]
config = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"kafka": {"class": "producers.KafkaHandler", "bootstrap_servers": servers, "topic": topic}},
    "root": {"level": "INFO", "handlers": ["kafka"]},
}
for word in ("first", "second"):
    logging.config.dictConfig(config)
    logging.getLogger("shop").info(word)
