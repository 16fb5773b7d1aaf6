"""Patience has bounds, whatever the other side asks for."""

from __future__ import annotations

import pytest

from consumers.receivers.retry import Answer, Patience, retry_after_s
from pipeline.notify.notification import Status
from tests.unit.consumers.receivers.builders import Clock


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ("17", 17.0),
        ("86400", 3600.0),
        ("9" * 4000, 3600.0),
        ("-5", 30.0),
        ("1_0", 30.0),
        ("Fri, 1 Jan", 30.0),
    ],
)
def test_wait_that_is_asked_for_is_kept_within_reason(said: str, seconds: float) -> None:
    assert retry_after_s({"Retry-After": said}) == seconds


async def test_one_that_asks_for_no_wait_is_not_hammered() -> None:
    clock = Clock()
    patience = Patience(give_up_s=60, monotonic=clock, sleep=clock.sleep, jitter=lambda: 1.0)
    calls = 0

    async def attempt() -> Answer:
        nonlocal calls
        calls += 1
        return Answer(Status.FAILED, "ratelimited", wait_s=0.0)

    answer = await patience.call(attempt, patience.deadline())
    assert answer.status is Status.FAILED
    assert calls == len(clock.slept) + 1 < 10
