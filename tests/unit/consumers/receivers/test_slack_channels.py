"""The channel that a label names, one of those listed or the receiver's own; and a thread's replies."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from consumers.receivers.retry import Patience
from consumers.receivers.slack import SlackReceiver
from pipeline.notify.notification import Reason, Status
from tests.fakes.slack import Channel, SlackFake
from tests.unit.consumers.receivers.builders import Clock, alert, notification

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

CHANNELS = (Channel("C0ALERTS", "alerts"), Channel("C0DEPLOY", "deployments"), Channel("C0PAY", "payments"))


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def slack(clock: Clock) -> AsyncIterator[SlackFake]:
    async with SlackFake(monotonic=clock, channels=CHANNELS) as slack:
        yield slack


@pytest.fixture
async def receiver(slack: SlackFake, clock: Clock) -> AsyncIterator[SlackReceiver]:
    receiver = SlackReceiver(
        slack.token,
        "C0ALERTS",
        base_url=slack.url,
        patience=Patience(monotonic=clock, sleep=clock.sleep, jitter=lambda: 1.0),
        channel_label="notify",
        channels=["#deployments", "C0PAY"],
        replies_per_hour=3,
    )
    yield receiver
    await receiver.close()


@pytest.mark.parametrize(
    ("label", "channel"),
    [
        ("#deployments", "C0DEPLOY"),
        ("Deployments", "C0DEPLOY"),
        ("#C0PAY", "C0PAY"),
        ("#payments", "C0ALERTS"),
        ("#deployments\n", "C0DEPLOY"),
        ("#", "C0ALERTS"),
        ("", "C0ALERTS"),
        ("##deployments", "C0ALERTS"),
        ("<!channel>", "C0ALERTS"),
        ("#deployments, #alerts", "C0ALERTS"),
    ],
)
async def test_label_leads_to_a_listed_channel_or_to_the_receivers_own(
    slack: SlackFake, receiver: SlackReceiver, label: str, channel: str
) -> None:
    result = await receiver.send(notification(alert(), labels={"notify": label}))
    assert result.status is Status.SENT
    assert [message.channel for message in slack.messages] == [channel]


async def test_group_without_the_label_is_told_in_the_receivers_own(
    slack: SlackFake, receiver: SlackReceiver
) -> None:
    await receiver.send(notification(alert(labels={"notify": "#deployments"}), labels={"service": "web"}))
    assert [message.channel for message in slack.messages] == ["C0ALERTS"]


async def test_edits_and_replies_stay_where_the_message_is(slack: SlackFake, receiver: SlackReceiver) -> None:
    first = await receiver.send(notification(alert("a"), labels={"notify": "#deployments"}))
    await receiver.send(
        notification(
            alert("a"),
            alert("b"),
            reason=Reason.NEW_ALERTS,
            receipt=first.receipt,
            changed=("id-b",),
            labels={"notify": "#deployments"},
        )
    )
    (root,) = slack.roots
    assert len(root.edits) == 1
    assert [reply.channel for reply in slack.replies(root)] == ["C0DEPLOY"]


async def test_thread_gets_as_many_replies_an_hour_as_configured(
    slack: SlackFake, receiver: SlackReceiver, clock: Clock
) -> None:
    first = await receiver.send(notification(alert("a"), labels={"notify": "#deployments"}))

    async def more(name: str) -> None:
        clock.now += 60
        await receiver.send(
            notification(
                alert("a"),
                alert(name),
                reason=Reason.NEW_ALERTS,
                receipt=first.receipt,
                changed=(f"id-{name}",),
                labels={"notify": "#deployments"},
            )
        )

    for n in range(6):
        await more(f"n{n}")
    (root,) = slack.roots
    assert len(slack.replies(root)) == 3
    clock.now += 3_600
    await more("later")
    assert len(slack.replies(root)) == 4


async def test_receiver_that_chooses_holds_up_none_that_does_not(
    slack: SlackFake, receiver: SlackReceiver
) -> None:
    plain = SlackReceiver(slack.token, "C0ALERTS", base_url=slack.url)
    assert plain.channel != receiver.channel
