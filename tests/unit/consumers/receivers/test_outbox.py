"""The outbox: gravest first, one at a time a channel, what waits is merged, nothing is dropped."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from consumers.receivers.outbox import Outbox
from pipeline.notify.notification import Intent, Notification, Result, Status
from tests.unit.consumers.receivers.builders import Clock, notification

if TYPE_CHECKING:
    from collections.abc import Callable


class Recorder:
    """A receiver that keeps what it was sent, and holds each send while its gate is shut."""

    edits = True

    def __init__(self, channel: str = "c", interval_s: float = 0.0, clock: Clock | None = None) -> None:
        self.channel = channel
        self.interval_s = interval_s
        self.sent: list[str] = []
        self.times: list[float] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.began = asyncio.Event()
        self.third = asyncio.Event()
        self.overlap = 0
        self.most_overlap = 0
        self.closed = False
        self.result = Result(Status.SENT)
        self._clock = clock or Clock()

    async def send(self, notification: Notification) -> Result:
        self.overlap += 1
        self.most_overlap = max(self.most_overlap, self.overlap)
        self.sent.append(notification.group_key)
        self.times.append(self._clock.now)
        self.began.set()
        if len(self.sent) == 3:
            self.third.set()
        try:
            await self.gate.wait()
        finally:
            self.overlap -= 1
        return self.result

    async def close(self) -> None:
        self.closed = True


def intent(group: str, rank: int = 5, receiver: str = "r", integration: int = 0) -> Intent:
    return Intent(receiver=receiver, integration=integration, group_key=group, rank=rank)


class Bench:
    """An outbox with its callbacks and a clock."""

    def __init__(self, *receivers: Recorder, clock: Clock | None = None) -> None:
        self.clock = clock or Clock()
        self.recorded: list[tuple[str, Status]] = []
        self.composed: list[str] = []
        self.mute: set[str] = set()
        self.outbox = Outbox(
            {("r", i): receiver for i, receiver in enumerate(receivers)},
            self.compose,
            lambda n, result: self.recorded.append((n.group_key, result.status)),
            monotonic=self.clock,
            sleep=self.clock.sleep,
        )

    def compose(self, intent: Intent) -> Notification | None:
        self.composed.append(intent.group_key)
        if intent.group_key in self.mute:
            return None
        # A name of its own for each, so that one can see what was sent.
        made = notification()
        return Notification(
            **{**{f: getattr(made, f) for f in made.__struct_fields__}, "group_key": intent.group_key}
        )

    async def deliver(self) -> None:
        """Run until nothing waits."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.outbox.run())
            assert await self.outbox.drain(10)
            await self.outbox.close()


async def test_gravest_goes_first_then_the_oldest() -> None:
    receiver = Recorder()
    bench = Bench(receiver)
    for group, rank in (("a", 5), ("b", 0), ("c", 5), ("d", 0)):
        bench.outbox.submit(intent(group, rank))
    await bench.deliver()
    assert receiver.sent == ["b", "d", "a", "c"]
    assert bench.recorded == [(group, Status.SENT) for group in "bdac"]
    assert receiver.closed


async def test_same_group_waits_once_and_is_composed_at_its_turn() -> None:
    receiver = Recorder()
    bench = Bench(receiver)
    for _ in range(100):
        bench.outbox.submit(intent("a"))
    assert (bench.outbox.waiting, bench.outbox.merged) == (1, 99)
    assert bench.composed == []
    await bench.deliver()
    assert bench.composed == ["a"]


async def test_waiting_group_that_became_graver_moves_up() -> None:
    receiver = Recorder()
    bench = Bench(receiver)
    for group, rank in (("a", 5), ("b", 3), ("a", 0), ("a", 4)):
        bench.outbox.submit(intent(group, rank))
    await bench.deliver()
    assert receiver.sent == ["a", "b"]
    assert bench.outbox.merged == 2


async def test_sends_of_a_channel_keep_their_interval() -> None:
    clock = Clock()
    receiver = Recorder(interval_s=1.0, clock=clock)
    bench = Bench(receiver, clock=clock)
    for group in "abc":
        bench.outbox.submit(intent(group))
    await bench.deliver()
    assert receiver.times == [1_000.0, 1_001.0, 1_002.0]


async def test_grave_one_that_comes_during_the_pause_goes_first() -> None:
    clock = Clock()
    receiver = Recorder(interval_s=1.0, clock=clock)
    bench = Bench(receiver, clock=clock)
    slept = clock.sleep

    async def sleep(seconds: float) -> None:
        if len(clock.slept) == 0:
            bench.outbox.submit(intent("grave", 0))
        await slept(seconds)

    bench.outbox._sleep = sleep
    bench.outbox.submit(intent("a"))
    bench.outbox.submit(intent("b"))
    await bench.deliver()
    assert receiver.sent == ["a", "grave", "b"]


async def test_two_integrations_of_one_channel_never_overlap() -> None:
    one, two = Recorder("same"), Recorder("same")
    bench = Bench(one, two)
    one.gate.clear()
    async with asyncio.TaskGroup() as group:
        group.create_task(bench.outbox.run())
        bench.outbox.submit(intent("a", integration=0))
        bench.outbox.submit(intent("a", integration=1))
        await one.began.wait()
        for _ in range(20):
            await asyncio.sleep(0)
        assert two.sent == []
        one.gate.set()
        assert await bench.outbox.drain(10)
        assert two.sent == ["a"]
        await bench.outbox.close()


async def test_patient_channel_holds_up_no_other() -> None:
    slow, fast = Recorder("slow"), Recorder("fast")
    bench = Bench(slow, fast)
    slow.gate.clear()
    async with asyncio.TaskGroup() as group:
        group.create_task(bench.outbox.run())
        bench.outbox.submit(intent("a", integration=0))
        await slow.began.wait()
        for name in "bcd":
            bench.outbox.submit(intent(name, integration=1))
        await fast.third.wait()
        assert bench.outbox.in_flight == 1
        slow.gate.set()
        assert await bench.outbox.drain(10)
        await bench.outbox.close()
    assert fast.sent == ["b", "c", "d"]


async def test_news_during_a_send_are_sent_after_it() -> None:
    receiver = Recorder()
    bench = Bench(receiver)
    receiver.gate.clear()
    async with asyncio.TaskGroup() as group:
        group.create_task(bench.outbox.run())
        bench.outbox.submit(intent("a"))
        await receiver.began.wait()
        bench.outbox.submit(intent("a"))
        assert bench.outbox.merged == 0
        receiver.gate.set()
        assert await bench.outbox.drain(10)
        await bench.outbox.close()
    assert receiver.sent == ["a", "a"]


async def test_group_with_nothing_to_say_any_more_costs_no_turn() -> None:
    clock = Clock()
    receiver = Recorder(interval_s=1.0, clock=clock)
    bench = Bench(receiver, clock=clock)
    bench.mute = {"a", "b"}
    for group in "abc":
        bench.outbox.submit(intent(group))
    await bench.deliver()
    assert receiver.times == [1_000.0]
    assert bench.recorded == [("c", Status.SENT)]


@pytest.mark.parametrize("status", [Status.FAILED, Status.REFUSED])
async def test_what_failed_is_recorded_and_not_sent_again(status: Status) -> None:
    receiver = Recorder()
    receiver.result = Result(status, detail="x")
    bench = Bench(receiver)
    bench.outbox.submit(intent("a"))
    await bench.deliver()
    assert receiver.sent == ["a"]
    assert bench.recorded == [("a", status)]


async def test_drain_gives_up_in_time_and_close_ends_a_send_in_flight() -> None:
    receiver = Recorder()
    bench = Bench(receiver)
    receiver.gate.clear()
    async with asyncio.TaskGroup() as group:
        group.create_task(bench.outbox.run())
        bench.outbox.submit(intent("a"))
        await receiver.began.wait()
        assert not await bench.outbox.drain(0)
        await bench.outbox.close()
    assert bench.recorded == []
    assert receiver.closed


async def test_closed_outbox_takes_nothing_and_does_not_run() -> None:
    bench = Bench(Recorder())
    assert await bench.outbox.drain(0)
    await bench.outbox.close()
    await bench.outbox.run()
    with pytest.raises(RuntimeError, match="closed"):
        bench.outbox.submit(intent("a"))


async def test_unknown_receiver_is_an_error_of_the_caller() -> None:
    with pytest.raises(KeyError):
        Bench(Recorder()).outbox.submit(intent("a", receiver="nobody"))


async def test_error_of_a_callback_ends_the_run() -> None:
    bench = Bench(Recorder())

    def broken(intent: Intent) -> Notification | None:
        raise ZeroDivisionError

    compose: Callable[[Intent], Notification | None] = broken
    bench.outbox._compose = compose
    bench.outbox.submit(intent("a"))
    with pytest.raises(ExceptionGroup) as caught:
        await bench.outbox.run()
    assert caught.group_contains(ZeroDivisionError)
    assert bench.outbox.in_flight == 0
