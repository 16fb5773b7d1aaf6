"""What the chain costs: the thread that delivers, the wire, and whoever verifies.

    python -m benchmarks.chain

Two handlers, one with a key, take turns at sending the same events to a Kafka of their own. Counted is the
CPU time of their delivering threads, and what the broker has on its disk afterwards, which is what came over
the wire. Then the chained topic is verified.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import statistics
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import orjson

from benchmarks.events import application_events
from consumers.broker import Broker
from consumers.kafka.topics import TopicSpec, ensure_topics
from consumers.verify.command import VerifyOptions, verify_log
from pipeline.config.model import Kafka
from producers import KafkaHandler
from producers.event.renderer import RenderedEvent

if TYPE_CHECKING:
    from collections.abc import Iterator

_EVENTS = 20_000
_ROUNDS = 7
_CODECS = ("gzip", "lz4", None)
_KEY = os.urandom(32).hex().encode()


class Sender(NamedTuple):
    """A handler and the thread that delivers for it."""

    handler: KafkaHandler
    thread: threading.Thread

    def cpu_us(self) -> float:
        """Return the thread's CPU time, in microseconds."""
        ident = self.thread.ident
        assert ident is not None  # noqa: S101 - it has delivered
        return time.clock_gettime(time.pthread_getcpuclockid(ident)) * 1e6

    def send(self, events: list[RenderedEvent]) -> float:
        """Send some events; return the microseconds that each of them took."""
        began = self.cpu_us()
        for event in events:
            self.handler.sink.write(event)
        self.handler.flush(60)
        assert self.handler.pending == 0  # noqa: S101 - else the figure means nothing
        assert not self.handler.dropped  # noqa: S101 - likewise
        return (self.cpu_us() - began) / len(events)


@contextlib.contextmanager
def _sender(servers: str, topic: str, codec: str | None, key: bytes | None) -> Iterator[Sender]:
    handler = KafkaHandler(
        service="bench", bootstrap_servers=servers, topic=topic, compression=codec, chain_key=key
    )
    before = set(threading.enumerate())
    handler.sink.write(RenderedEvent(b"{}", b"bench", 1_700_000_000_000, "info"))
    handler.flush(60)
    (thread,) = set(threading.enumerate()) - before
    yield Sender(handler, thread)
    handler.close()


def _rendered(lines: list[bytes]) -> list[RenderedEvent]:
    now_ms = time.time_ns() // 1_000_000
    return [
        RenderedEvent(line, str(orjson.loads(line).get("service", "")).encode(), now_ms + n, "info")
        for n, line in enumerate(lines)
    ]


def _stored_bytes(folder: Path, topic: str) -> int:
    return sum(log.stat().st_size for log in folder.glob(f"data/{topic}-*/*.log"))


def _measure(servers: str, folder: Path, codec: str | None, events: list[RenderedEvent]) -> str:
    """Return a line of the table."""
    plain, chained = f"plain-{codec}", f"chained-{codec}"
    topics = [TopicSpec(name, 1, {"retention.ms": "-1"}) for name in (plain, chained)]
    asyncio.run(ensure_topics(servers, topics, wait_s=20))
    figures: dict[str, list[float]] = {plain: [], chained: []}
    with _sender(servers, plain, codec, None) as one, _sender(servers, chained, codec, _KEY) as other:
        for turn in range(_ROUNDS + 1):
            for name, sender in ((plain, one), (chained, other)):
                spent_us = sender.send(events)
                if turn:
                    figures[name].append(spent_us)
    sent = len(events) * (_ROUNDS + 1)
    bytes_each = [_stored_bytes(folder, name) / sent for name in (plain, chained)]
    before, after = (statistics.median(figures[name]) for name in (plain, chained))
    spread = ", ".join(f"{min(f):.2f}–{max(f):.2f}" for f in figures.values())
    return (
        f"{codec or 'none':5}  {before:6.2f}  {after:7.2f}  {after - before:+6.2f}   ({spread})"
        f"   {bytes_each[0]:6.1f}  {bytes_each[1]:7.1f}  {bytes_each[1] - bytes_each[0]:+6.1f}"
    )


def main() -> None:
    """Print the table, and how fast a topic is verified."""
    events = _rendered(application_events(_EVENTS))
    size = statistics.mean(len(event.value) for event in events)
    with tempfile.TemporaryDirectory() as name, Broker(Path(name), java_options=("-Xmx1g",)) as broker:
        print(f"{_EVENTS:,} events of {size:.0f} bytes, {_ROUNDS} rounds; medians")
        print("codec  CPU of the delivering thread, µs a record      bytes a record, as stored")
        print("        plain  chained    more                             plain  chained    more")
        for codec in _CODECS:
            print(_measure(broker.bootstrap_servers, Path(name), codec, events))
        key_file = Path(name) / "key"
        key_file.write_bytes(_KEY)
        records = _EVENTS * (_ROUNDS + 1)
        began, began_cpu = time.perf_counter(), time.process_time()
        with contextlib.redirect_stdout(io.StringIO()):
            options = VerifyOptions("chained-gzip", [str(key_file)])
            code = asyncio.run(verify_log(Kafka(bootstrap_servers=broker.bootstrap_servers), options))
        assert code == 0, "what was just written is not as it was written"  # noqa: S101 - then nothing was measured
        spent, cpu = time.perf_counter() - began, time.process_time() - began_cpu
        print(f"verify-log: {records / spent:,.0f} records/s, {cpu / records * 1e6:.1f} µs of CPU a record")


if __name__ == "__main__":
    main()
