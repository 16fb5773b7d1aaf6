"""What a log call costs the thread that makes it, against what people use today.

    python -m benchmarks.handler [--peers FOLDER]

Two tables. The first is CPU time an event, of the calling thread and of the whole process: contenders take
turns at bursts, and what they leave to other threads is waited for in between. The second is how long single
calls take at 5,000 a second while the broker is up, away, slow (it answers during a tenth of the time) and
while the queue is full.

`--peers` names a folder with other handlers for Kafka or Loki, made with
`pip install --target FOLDER python-logging-loki kafka-logging-handler`.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import io
import logging
import logging.handlers
import os
import queue
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import orjson
import structlog

from benchmarks.kafka import free_port
from benchmarks.logging_peers import peers
from consumers.broker import Broker
from consumers.kafka.topics import TopicSpec, ensure_topics
from producers import EventRenderer, KafkaHandler, KafkaLoggerFactory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_BURST = 2_000
_ROUNDS = 15
_PACED_CALLS = 20_000
_PACED_BURST = 20
_PACE_S = 0.004
# Stops a process for nine tenths of each second.
_SLOW = """
import os, signal, sys, time
while True:
    os.kill(int(sys.argv[1]), signal.SIGSTOP)
    time.sleep(0.9)
    os.kill(int(sys.argv[1]), signal.SIGCONT)
    time.sleep(0.1)
"""


class Contender(NamedTuple):
    """One way to log.

    Attributes:
        name: what it is.
        call: logs one event, the same in all of them; takes a number.
        settle: waits until what was logged is out of the process.
    """

    name: str
    call: Callable[[int], object]
    settle: Callable[[], object]


def _stdlib(handler: logging.Handler) -> Callable[[int], object]:
    logger = logging.Logger("shop.orders", logging.INFO)  # noqa: LOG001 - none of the root's handlers shall listen
    logger.addHandler(handler)

    def call(n: int) -> None:
        logger.info("order %d placed", n, extra={"order_id": n, "customer": "c-00042", "amount": 129.9})

    return call


def _structlog(logger: object, *processors: structlog.typing.Processor) -> Callable[[int], object]:
    log = structlog.wrap_logger(
        logger,
        processors=[structlog.contextvars.merge_contextvars, *processors],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        cache_logger_on_first_use=True,
    ).bind()

    def call(n: int) -> None:
        log.info("order placed", order_id=n, customer="c-00042", amount=129.9)

    return call


@contextlib.contextmanager
def _queue_handler(folder: Path) -> Iterator[Contender]:
    records: queue.SimpleQueue[logging.LogRecord] = queue.SimpleQueue()
    file = logging.FileHandler(folder / "queue.log")
    file.setFormatter(logging.Formatter("%(asctime)s - %(levelname)s - %(message)s"))
    listener = logging.handlers.QueueListener(records, file)  # type: ignore[arg-type]  # typeshed knows queue.Queue only
    listener.start()

    def settle() -> None:
        while not records.empty():
            time.sleep(0.001)

    yield Contender(
        "QueueHandler + QueueListener into a file",
        _stdlib(logging.handlers.QueueHandler(records)),  # type: ignore[arg-type]  # as above
        settle,
    )
    listener.stop()
    file.close()


@contextlib.contextmanager
def _dev_null() -> Iterator[Contender]:
    with io.open(os.devnull, "wb") as sink:  # noqa: UP020 - as structlog's documentation has it
        call = _structlog(
            structlog.BytesLogger(sink),
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(serializer=orjson.dumps),
        )
        yield Contender("structlog + orjson to /dev/null", call, lambda: None)


@contextlib.contextmanager
def _ours(servers: str, topic: str, **options: int) -> Iterator[tuple[Contender, Contender]]:
    handler = KafkaHandler(
        service="orders",
        bootstrap_servers=servers,
        topic=topic,
        flush_timeout_s=0.2,
        **options,  # type: ignore[arg-type]  # limits of the queue, all numbers
    )
    log = _structlog(KafkaLoggerFactory(handler)("shop.orders"), EventRenderer(handler.renderer))

    def settle() -> None:
        handler.flush(30)

    yield (
        Contender("this handler, logging", _stdlib(handler), settle),
        Contender("this handler, structlog", log, settle),
    )
    with contextlib.redirect_stderr(io.StringIO()):
        handler.close()


def _cost(contenders: list[Contender]) -> dict[str, list[tuple[float, float]]]:
    """Return µs of CPU an event, of the calling thread and of the whole process, a pair a round."""
    figures: dict[str, list[tuple[float, float]]] = {c.name: [] for c in contenders}
    for turn in range(_ROUNDS + 1):
        for contender in contenders:
            call = contender.call
            whole, began = time.process_time_ns(), time.thread_time_ns()
            for n in range(_BURST):
                call(n)
            spent_us = (time.thread_time_ns() - began) / 1000 / _BURST
            contender.settle()
            if turn:
                in_all_us = (time.process_time_ns() - whole) / 1000 / _BURST
                figures[contender.name].append((spent_us, in_all_us))
    return figures


def _paced(call: Callable[[int], object]) -> list[int]:
    """Return how long each of many calls took, in nanoseconds, at 5,000 calls a second."""
    took: list[int] = []
    clock = time.perf_counter_ns
    due_s = time.monotonic()
    for n in range(0, _PACED_CALLS, _PACED_BURST):
        for i in range(n, n + _PACED_BURST):
            began = clock()
            call(i)
            took.append(clock() - began)
        due_s += _PACE_S
        time.sleep(max(0.0, due_s - time.monotonic()))
    return sorted(took)


def _row(name: str, took: list[int]) -> str:
    us = [t / 1000 for t in took]
    shown = "".join(f"{us[min(int(len(us) * q), len(us) - 1)]:10.1f}" for q in (0.5, 0.99, 0.999))
    return f"{name:62}{shown}{us[-1]:10.1f}"


@contextlib.contextmanager
def _slowed(pid: int | None) -> Iterator[None]:
    """Let a broker run for a tenth of the time."""
    stalling = subprocess.Popen([sys.executable, "-c", _SLOW, str(pid)])
    try:
        yield
    finally:
        stalling.terminate()
        stalling.wait()
        if pid is not None:
            os.kill(pid, signal.SIGCONT)


def _costs(servers: str, topic: str, folder: Path, others: str | None) -> None:
    with contextlib.ExitStack() as stack:
        ours = stack.enter_context(_ours(servers, topic))
        contenders = [stack.enter_context(_queue_handler(folder)), stack.enter_context(_dev_null()), *ours]
        contenders += [
            Contender(name, _stdlib(handler), lambda: None)
            for name, handler in stack.enter_context(peers(others, servers, topic))
        ]
        figures = _cost(contenders)
    floors = {
        name: statistics.median(own for own, _ in figures[floor.name])
        for floor, names in ((contenders[0], [ours[0].name]), (contenders[1], [ours[1].name]))
        for name in names
    }
    print(f"{'µs of CPU an event':44}  calling thread: median (min–max)   whole process")
    for name, pairs in figures.items():
        values = [own for own, _ in pairs]
        middle = statistics.median(values)
        of = f"   {middle / floors[name]:.2f}× of its floor" if name in floors else ""
        spread = f"({min(values):.2f}–{max(values):.2f})"
        print(f"{name:44} {middle:14.2f} {spread:>15} {statistics.median(a for _, a in pairs):19.2f}{of}")


def _times(broker: Broker, topic: str, folder: Path) -> None:
    print(f"\n{'µs a call took, at 5,000 calls a second':62}{'p50':>10}{'p99':>10}{'p99.9':>10}{'most':>10}")
    with _queue_handler(folder) as floor:
        print(_row(floor.name, _paced(floor.call)))
    with _dev_null() as floor:
        print(_row(floor.name, _paced(floor.call)))
    away = f"127.0.0.1:{free_port()}"
    states: list[tuple[str, str, dict[str, int], bool]] = [
        ("broker up", broker.bootstrap_servers, {}, False),
        ("broker away", away, {}, False),
        ("broker slow", broker.bootstrap_servers, {}, True),
        ("queue full, broker away", away, {"queue_records": 1_000}, False),
    ]
    for state, servers, options, slow in states:
        with contextlib.ExitStack() as stack:
            said = stack.enter_context(contextlib.redirect_stderr(io.StringIO()))
            ours = stack.enter_context(_ours(servers, topic, **options))
            for n in range(2_000):
                ours[0].call(n)
            if slow:
                stack.enter_context(_slowed(broker.pid))
            for contender in ours:
                print(_row(f"{contender.name}, {state}", _paced(contender.call)))
            del said


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--peers", metavar="FOLDER", help="where other handlers are installed")
    others = parser.parse_args().peers
    with tempfile.TemporaryDirectory() as name, Broker(Path(name) / "kafka") as broker:
        topic = f"handler-{uuid.uuid4().hex[:8]}"
        asyncio.run(ensure_topics(broker.bootstrap_servers, [TopicSpec(topic, 1, {})], wait_s=20))
        _costs(broker.bootstrap_servers, topic, Path(name), others)
        _times(broker, topic, Path(name))
    assert threading.active_count() < 8  # noqa: S101 - else something was left running beside what is measured


if __name__ == "__main__":
    main()
