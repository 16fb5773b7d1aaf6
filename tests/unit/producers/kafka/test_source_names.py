"""Names of sources: no two alike, and the worker can tell when each began."""

from __future__ import annotations

import time

from pipeline.detect.statements import began_ms
from producers.kafka.queue import new_source


def test_name_says_to_the_worker_when_the_source_began() -> None:
    before_ms = time.time_ns() // 1_000_000_000 * 1_000
    for _ in range(1_000):
        # Many, as the signs of base64 that are no letters are rare.
        name = new_source()
        assert len(name) == 16
        assert before_ms <= began_ms(name) <= time.time_ns() // 1_000_000


def test_no_two_sources_have_one_name() -> None:
    assert len({new_source() for _ in range(10_000)}) == 10_000
