"""A worker's memory: one process with all three stages, after a million events."""

from __future__ import annotations

import resource
import sys

from benchmarks.detect import DECLARED
from benchmarks.events import application_events
from consumers.rules import SHIPPED, load_rules
from pipeline.correlate.correlate import Correlate
from pipeline.detect.detect import Detect
from pipeline.event import Batch, Partition
from pipeline.notify.group import Integration
from pipeline.notify.notify import Notify
from pipeline.notify.route import Route

__all__ = ["run"]

_BATCH = 2000
_EVENT_MS = 2


def run(events: int = 1_000_000) -> str:
    """Send events through the stages and return a line with the largest memory on the way.

    Args:
        events: how many; their record times are 2 ms apart.
    """
    rules = load_rules([SHIPPED])
    detect = Detect(rules, lateness_ms=30_000, idle_timeout_ms=60_000)
    correlate = Correlate(rules, resolve_timeout_ms=300_000)
    notify = Notify(
        Route("people", ("alertname", "service")), {"people": [Integration("people", 0, edits=True)]}
    )
    partition = Partition("logs", 0)
    payload = application_events(50_000)
    correlate.process([detect.open(partition, DECLARED, 0, 0)], 0)
    before = _largest_mib()
    marks: list[float] = []
    for start in range(0, events, _BATCH):
        values = [payload[(start + i) % len(payload)] for i in range(_BATCH)]
        times = [(start + i) * _EVENT_MS for i in range(_BATCH)]
        now_ms = times[-1]
        found = detect.process(Batch(partition, range(start, start + _BATCH), times, values), now_ms)
        for alert in correlate.process(found, start + 1):
            notify.receive(alert, None, now_ms)
        correlate.changes()
        notify.flush(now_ms)
        notify.changes()
        if (start + _BATCH) % (events // 4) == 0:
            marks.append(_largest_mib())
    quarters = ", ".join(f"{m:.0f}" for m in marks)
    return f"memory: {before:.0f} MiB loaded; largest after each quarter of {events:,} events: {quarters} MiB"


def _largest_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    sys.stdout.write(run() + "\n")
