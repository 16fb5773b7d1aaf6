"""The largest memory of a process that logs a million events while the broker is away.

    python -m benchmarks.handler_memory

Each contender runs in a process of its own: the handler as it comes, with a spool on disk, and a
`QueueHandler` whose listener waits for a broker that is away, as most handlers do.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile

from benchmarks.kafka import free_port

__all__ = ["run"]

_EVENTS = 1_000_000

_PROGRAM = """
import json, logging, logging.handlers, queue, sys, time
name, servers, spool, count = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
def memory():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) / 1024
logger = logging.Logger("shop.orders", logging.DEBUG)
if name == "queue":
    records = queue.SimpleQueue()
    logger.addHandler(logging.handlers.QueueHandler(records))
    dropped = lambda: 0
else:
    import producers
    options = {"spool": spool} if name == "spool" else {}
    handler = producers.KafkaHandler(bootstrap_servers=servers, flush_timeout_s=0, **options)
    logger.addHandler(handler)
    dropped = lambda: sum(handler.dropped.values())
logger.info("the first")
time.sleep(2)
before = memory()
began = time.perf_counter()
for n in range(count):
    logger.info("order %d placed", n, extra={"order_id": n, "customer": "c-00042", "amount": 129.9})
seconds = time.perf_counter() - began
print(json.dumps({"before": before, "after": memory(), "seconds": seconds, "dropped": dropped()}))
"""


def run(events: int = _EVENTS) -> str:
    """Return a table of the largest memory, in MiB, before and after so many events."""
    lines = [
        f"{events:,} events, broker away{'':18}MiB before    MiB at most    kept or on disk     events/s"
    ]
    for name, shown in (
        ("memory", "this handler (16 MiB of queue)"),
        ("spool", "this handler, spool of 256 MiB"),
        ("queue", "QueueHandler, nobody listens"),
    ):
        with tempfile.TemporaryDirectory() as spool:
            done = subprocess.run(
                [sys.executable, "-c", _PROGRAM, name, f"127.0.0.1:{free_port()}", spool, str(events)],
                capture_output=True,
                check=True,
                text=True,
            )
        got = json.loads(done.stdout)
        lines.append(
            f"{shown:42}{got['before']:12.0f}{got['after']:15.0f}"
            f"{events + 1 - got['dropped']:19,}{events / got['seconds']:13,.0f}"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    sys.stdout.write(run() + "\n")
