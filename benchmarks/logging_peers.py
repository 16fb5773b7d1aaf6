"""Other handlers that send logs somewhere, for `benchmarks.handler`; one that isn't installed is left out."""

from __future__ import annotations

import contextlib
import importlib
import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import logging
    from collections.abc import Iterator

__all__ = ["peers"]

# What Loki answers to a push, over a connection that is kept.
_LOKI = """
import http.server
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(204)
        self.end_headers()
    def log_message(self, *_):
        pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(server.server_port, flush=True)
server.serve_forever()
"""


@contextlib.contextmanager
def peers(folder: str | None, servers: str, topic: str) -> Iterator[list[tuple[str, logging.Handler]]]:
    """Yield other handlers, each with its name.

    Args:
        folder: where they are installed; None for none.
        servers: Kafka's `host:port`.
        topic: the topic to send to.
    """
    if folder is None:
        yield []
        return
    sys.path.append(folder)
    with contextlib.ExitStack() as stack:
        found: list[tuple[str, logging.Handler]] = []
        with contextlib.suppress(ImportError):
            found.append(_kafka(servers, topic))
        with contextlib.suppress(ImportError):
            found.append(stack.enter_context(_loki()))
        yield found
        for _, handler in found:
            handler.close()


def _kafka(servers: str, topic: str) -> tuple[str, logging.Handler]:
    module = importlib.import_module("kafka_logger.handlers")
    handler: logging.Handler = module.KafkaLoggingHandler(
        servers, topic, security_protocol="PLAINTEXT", flush_interval=1.0
    )
    return "kafka-logging-handler", handler


@contextlib.contextmanager
def _loki() -> Iterator[tuple[str, logging.Handler]]:
    module = importlib.import_module("logging_loki")
    server = subprocess.Popen([sys.executable, "-c", _LOKI], stdout=subprocess.PIPE, text=True)
    try:
        if server.stdout is None:
            raise OSError("the server says no port")
        port = int(server.stdout.readline())
        yield (
            "python-logging-loki",
            module.LokiHandler(url=f"http://127.0.0.1:{port}/loki/api/v1/push", version="1"),
        )
    finally:
        server.terminate()
        server.wait()
