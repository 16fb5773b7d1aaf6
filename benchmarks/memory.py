"""A worker's memory: a real process with all three stages on a real Kafka, after a million events."""

from __future__ import annotations

import asyncio
import os
import sys

from benchmarks.events import application_events
from benchmarks.kafka import PARTITIONS, Topic, broker
from benchmarks.worker import worker
from consumers.kafka.topics import TopicNames, ensure_topics, topic_specs

__all__ = ["run"]

_CONFIG = """\
kafka: {{bootstrap_servers: "{servers}", group: "{prefix}", topic_prefix: "{prefix}."}}
sources: [{{kafka: logs, logsource: [{{category: application}}, {{category: webserver}}]}}]
rules: [shipped]
web: {{port: 0}}
route: {{receiver: file, group_by: [alertname, service], group_wait: 1s, group_interval: 10s}}
receivers: [{{name: file, jsonl_configs: [{{path: /dev/null}}]}}]
"""


async def run(events: int = 1_000_000) -> str:
    """Let a worker read events and return a line with its largest memory on the way.

    Args:
        events: how many, written in four portions.
    """
    portion = application_events(events // 4)
    marks: list[float] = []
    async with broker() as servers:
        prefix = f"memory-{os.getpid()}"
        await ensure_topics(servers, topic_specs(TopicNames.prefixed(f"{prefix}."), PARTITIONS), wait_s=20)
        topic = Topic(servers, f"{prefix}.logs")
        async with worker(_CONFIG.format(servers=servers, prefix=prefix)) as one:
            before = one.largest_mib()
            began = asyncio.get_running_loop().time()
            for _ in range(4):
                await topic.fill(portion)
                async with asyncio.timeout(120):
                    while await one.figure("tocsin_events_total") < topic.events:  # noqa: ASYNC110 — asked over HTTP
                        await asyncio.sleep(0.05)
                marks.append(one.largest_mib())
            seconds = asyncio.get_running_loop().time() - began
    quarters = ", ".join(f"{m:.0f}" for m in marks)
    return (
        f"worker: {before:.0f} MiB when ready; largest after each quarter of {events:,} events:"
        f" {quarters} MiB (written and read in {seconds:.0f} s)"
    )


if __name__ == "__main__":
    sys.stdout.write(asyncio.run(run()) + "\n")
