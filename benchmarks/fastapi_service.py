"""What logging costs a web service under load: one FastAPI app that logs in several ways.

    python -m benchmarks.fastapi_service

Each contender is a uvicorn process of its own that serves the same app: five log calls a request, an id bound
to each request's context. They stand ready side by side and are loaded in turn, over connections that
are kept, by this process. Beside requests a second stands the CPU time that a request took in the server, in
its main thread and in others: on a machine that does other work as well it is the steadier figure.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import os
import selectors
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from aiokafka import AIOKafkaConsumer, TopicPartition

from benchmarks.kafka import broker, free_port
from consumers.kafka.topics import TopicSpec, ensure_topics

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from fastapi import FastAPI

    Log: TypeAlias = "Callable[..., object]"

__all__ = ["main"]

_CALLS = 5
_CONNECTIONS = 16
_TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")


class Contender(NamedTuple):
    """One way to log.

    Attributes:
        name: what it is.
        log: a name in `_LOGS`.
        stdout: where the server's standard output goes: `null`, `file` or `pipe`.
    """

    name: str
    log: str
    stdout: str


_FLOOR = Contender("no logging", "nothing", "null")
_OURS = Contender("this handler, structlog", "ours", "null")
_CONTENDERS = (
    _FLOOR,
    Contender("structlog, orjson, to /dev/null", "orjson", "null"),
    Contender("structlog, orjson, into a file", "orjson", "file"),
    Contender("structlog, orjson, into a pipe", "orjson", "pipe"),
    Contender("structlog, json and print, to /dev/null", "json", "null"),
    Contender("structlog, json and print, into a pipe", "json", "pipe"),
    _OURS,
    Contender("this handler, logging", "logging", "null"),
)


# The service ------------------------------------------------------------------------------------------------


def _stdout(*, orjson: bool) -> Log:
    import structlog  # noqa: PLC0415 - the process that measures needs none of it

    if orjson:
        # As structlog's page on performance has it.
        import orjson as encoder  # noqa: PLC0415 - likewise

        renderer = structlog.processors.JSONRenderer(serializer=encoder.dumps)
    else:
        renderer = structlog.processors.JSONRenderer()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.BytesLoggerFactory() if orjson else structlog.PrintLoggerFactory(),
        cache_logger_on_first_use=True,
    )
    log: Log = structlog.get_logger().info
    return log


def _ours(topic: str) -> Log:
    import structlog  # noqa: PLC0415 - likewise

    import producers  # noqa: PLC0415 - likewise

    producers.configure(service="orders", topic=topic)
    log: Log = structlog.get_logger("shop.orders").info
    return log


def _logging(topic: str) -> Log:
    import producers  # noqa: PLC0415 - likewise

    producers.configure(service="orders", topic=topic)
    logger = logging.getLogger("shop.orders")

    def log(event: str, **fields: object) -> None:
        logger.info(event, extra=fields)

    return log


# Given the topic.
_LOGS: dict[str, Callable[[str], Log | None]] = {
    "nothing": lambda _: None,
    "orjson": lambda _: _stdout(orjson=True),
    "json": lambda _: _stdout(orjson=False),
    "ours": _ours,
    "logging": _logging,
}


def _app(log: Log | None) -> FastAPI:
    from fastapi import FastAPI  # noqa: PLC0415 - likewise
    from structlog.contextvars import bind_contextvars, clear_contextvars  # noqa: PLC0415 - likewise

    app = FastAPI()

    @app.get("/orders/{order_id}")
    async def order(order_id: int) -> dict[str, object]:
        clear_contextvars()
        bind_contextvars(request_id=uuid.uuid4().hex)
        if log is not None:
            log("request received", method="GET", path="/orders", client_ip="198.51.100.7")
            log("customer found", customer="c-00042", tier="gold")
            log("order loaded", order_id=order_id, items=3, amount=129.9)
            log("price checked", order_id=order_id, currency="EUR", discount=0.05)
            log("request answered", status=200, duration_ms=1.25)
        return {"order_id": order_id, "state": "placed"}

    return app


def _serve(log: str, port: int, topic: str) -> None:
    import uvicorn  # noqa: PLC0415 - likewise

    app = _app(_LOGS[log](topic))
    uvicorn.run(app, host="127.0.0.1", port=port, log_config=None, log_level="warning", access_log=False)


class Figures(NamedTuple):
    """What a round of load came to.

    Attributes:
        requests: how many were answered.
        a_second: of them.
        main_us: CPU time of the server's main thread a request, in µs.
        others_us: that of its other threads.
    """

    requests: int
    a_second: float
    main_us: float
    others_us: float


class _Server:
    """A contender's process, ready to be loaded."""

    def __init__(self, process: subprocess.Popen[bytes], port: int) -> None:
        self._process = process
        self._port = port

    def load(self, seconds: float) -> Figures:
        """Make requests for so long; return what that took."""
        before = self._cpu_s()
        requests, in_time = _load(self._port, seconds)
        main_s, others_s = (after - earlier for after, earlier in zip(self._cpu_s(), before, strict=True))
        return Figures(requests, in_time / seconds, main_s / requests * 1e6, others_s / requests * 1e6)

    def _cpu_s(self) -> tuple[float, float]:
        """Return the CPU time of the main thread, and of all others."""
        spent = {}
        for task in Path(f"/proc/{self._process.pid}/task").iterdir():
            # Behind the name, which is in parentheses and may hold anything.
            fields = (task / "stat").read_text().rpartition(")")[2].split()
            spent[int(task.name)] = (int(fields[11]) + int(fields[12])) / _TICKS_A_SECOND
        own = spent.pop(self._process.pid)
        return own, sum(spent.values())


@contextlib.contextmanager
def _server(contender: Contender, folder: Path, servers: str, topic: str) -> Iterator[_Server]:
    port = free_port()
    with contextlib.ExitStack() as stack:
        stdout: int = subprocess.DEVNULL
        if contender.stdout == "file":
            stdout = stack.enter_context((folder / f"{port}.log").open("wb")).fileno()
        elif contender.stdout == "pipe":
            # What collects a container's logs.
            reader = stack.enter_context(
                subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)  # noqa: S607 - any
            )
            if reader.stdin is None:
                raise OSError("no pipe")
            stdout = reader.stdin.fileno()
        process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.fastapi_service", "--serve", contender.log, str(port), topic],
            stdout=stdout,
            env={**os.environ, "KAFKA_BOOTSTRAP_SERVERS": servers},
        )
        try:
            _answering(port, process)
            yield _Server(process, port)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


def _answering(port: int, process: subprocess.Popen[bytes]) -> None:
    for _ in range(600):
        with contextlib.suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port)):
            return
        if process.poll() is not None:
            break
        time.sleep(0.05)
    raise OSError("the server does not answer")


# The load ---------------------------------------------------------------------------------------------------

_REQUEST = b"GET /orders/1207 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"


class _Connection:
    """A connection with one request at a time on its way."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.sendall(_REQUEST)
        answer = b""
        while not answer.endswith(b"}"):
            answer += self._read()
            if not answer.startswith(b"HTTP/1.1 200"):
                raise OSError(f"an answer that was not expected: {answer[:100]!r}")
        # All answers have the same length, so that nothing more has to be looked at.
        self._size = self._left = len(answer)

    def ask(self) -> None:
        """Send the request."""
        self.socket.sendall(_REQUEST)

    def take(self) -> bool:
        """Read what has come; return whether that was the end of an answer, and ask again if so."""
        self._left -= len(self._read())
        if self._left > 0:
            return False
        self._left = self._size
        self.ask()
        return True

    def end(self) -> None:
        """Wait for the answer that is on its way."""
        while self._left > 0:
            self._left -= len(self._read())

    def _read(self) -> bytes:
        read = self.socket.recv(65_536)
        if not read:
            raise OSError("the server hangs up")
        return read


def _load(port: int, seconds: float) -> tuple[int, int]:
    """Keep all connections busy for so long; return how many requests were answered, and how many in time."""
    answered = 0
    with contextlib.ExitStack() as stack, selectors.DefaultSelector() as selector:
        connections = [_Connection(port) for _ in range(_CONNECTIONS)]
        for connection in connections:
            stack.enter_context(connection.socket)
            selector.register(connection.socket, selectors.EVENT_READ, connection)
            connection.ask()
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            for key, _ in selector.select(1):
                answered += key.data.take()
        for connection in connections:
            connection.end()
    return answered + 2 * _CONNECTIONS, answered


# The measurement --------------------------------------------------------------------------------------------


def _rounds(servers: str, topic: str, rounds: int, seconds: float) -> dict[Contender, list[Figures]]:
    figures: dict[Contender, list[Figures]] = {contender: [] for contender in _CONTENDERS}
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        ready = {
            contender: stack.enter_context(_server(contender, Path(folder), servers, topic))
            for contender in _CONTENDERS
        }
        for turn in range(rounds + 1):
            for contender, server in ready.items():
                # The first round warms up.
                figure = server.load(seconds if turn else 1)
                figures[contender].append(figure)
    return figures


def _table(figures: dict[Contender, list[Figures]]) -> str:
    def middle(contender: Contender, name: str) -> float:
        return statistics.median(float(getattr(figure, name)) for figure in figures[contender][1:])

    columns = f"{'requests/s':>11} {'(min–max)':>15}{'µs CPU a request: main':>25}{'others':>8}"
    lines = [f"{'':38}{columns}{'this handler to it':>20}"]
    ours = [f.a_second for f in figures[_OURS][1:]]
    for contender, found in figures.items():
        rates = [figure.a_second for figure in found[1:]]
        # Of each round on its own: its contenders met the same neighbours.
        ratio = statistics.median(own / other for own, other in zip(ours, rates, strict=True))
        spread = f"({min(rates):,.0f}–{max(rates):,.0f})"
        lines.append(
            f"{contender.name:38}{statistics.median(rates):11,.0f} {spread:>15}"
            f"{middle(contender, 'main_us'):25.0f}{middle(contender, 'others_us'):8.0f}{ratio:19.2f}×"
        )
    return "\n".join(lines)


async def _main(rounds: int, seconds: float) -> str:
    topic = f"fastapi-{uuid.uuid4().hex[:8]}"
    async with broker() as servers:
        await ensure_topics(servers, [TopicSpec(topic, 1, {"retention.ms": "-1"})], wait_s=20)
        figures = await asyncio.to_thread(_rounds, servers, topic, rounds, seconds)
        arrived = await _arrived(servers, topic)
    logged = _CALLS * sum(
        figure.requests
        for contender in _CONTENDERS
        if contender.log in {"ours", "logging"}
        for figure in figures[contender]
    )
    return (
        f"{_table(figures)}\nevents logged through this handler: {logged:,}; arrived in Kafka: {arrived:,},"
        " with what each process says at its end"
    )


async def _arrived(servers: str, topic: str) -> int:
    consumer = AIOKafkaConsumer(bootstrap_servers=servers)
    await consumer.start()
    try:
        partition = TopicPartition(topic, 0)
        end: int = (await consumer.end_offsets([partition]))[partition]
        return end
    finally:
        await consumer.stop()


def main() -> None:
    """Measure, or be one of the servers that are measured."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=7, help="how many rounds count")
    parser.add_argument("--seconds", type=float, default=3, help="how long each contender is loaded a round")
    parser.add_argument("--serve", nargs=3, metavar=("LOG", "PORT", "TOPIC"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        log, port, topic = options.serve
        _serve(log, int(port), topic)
    else:
        print(asyncio.run(_main(options.rounds, options.seconds)))


if __name__ == "__main__":
    main()
