"""Slack by webhook: posts what is worth a message, and never shows its address."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest

from consumers.receivers.retry import Patience
from consumers.receivers.slack_webhook import SlackWebhookReceiver
from pipeline.notify.notification import Reason, Status
from tests.fakes.slack import Failure, SlackFake
from tests.unit.consumers.receivers.builders import Clock, alert, notification

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def slack(clock: Clock) -> AsyncIterator[SlackFake]:
    async with SlackFake(monotonic=clock) as slack:
        yield slack


@pytest.fixture
async def receiver(slack: SlackFake, clock: Clock) -> AsyncIterator[SlackWebhookReceiver]:
    patience = Patience(give_up_s=60, monotonic=clock, sleep=clock.sleep, jitter=lambda: 1.0)
    receiver = SlackWebhookReceiver(slack.webhook_url, patience=patience)
    yield receiver
    await receiver.close()


@pytest.mark.parametrize("reason", [reason for reason in Reason if reason is not Reason.UPDATE])
async def test_every_reason_but_an_update_is_a_message(
    slack: SlackFake, receiver: SlackWebhookReceiver, reason: Reason
) -> None:
    assert (await receiver.send(notification(reason=reason))).status is Status.SENT
    assert "Error burst · payments" in slack.render(slack.messages[0])


async def test_update_is_no_message(slack: SlackFake, receiver: SlackWebhookReceiver) -> None:
    assert (await receiver.send(notification(reason=Reason.UPDATE))).status is Status.SENT
    assert slack.messages == []
    assert not receiver.edits


@pytest.mark.parametrize(
    ("failure", "detail"),
    [
        (Failure(status=403, body="invalid_token"), "invalid_token"),
        (Failure(status=404, body="no_service"), "no_service"),
        (Failure(status=410, body="channel_is_archived"), "channel_is_archived"),
        (Failure(status=400, body="invalid_blocks"), "invalid_blocks"),
        (Failure(status=403, body="<html>" * 10_000), "http_403"),
        (Failure(status=302, body=""), "http_302"),
    ],
)
async def test_permanent_answer_is_refused(
    slack: SlackFake, receiver: SlackWebhookReceiver, clock: Clock, failure: Failure, detail: str
) -> None:
    slack.fail(failure)
    result = await receiver.send(notification())
    assert (result.status, result.detail) == (Status.REFUSED, detail)
    assert clock.slept == []


@pytest.mark.parametrize(
    ("failure", "wait"),
    [
        (Failure(status=500, body="rollup_error"), 0.5),
        (Failure(status=503), 0.5),
        (Failure(drop=True), 0.5),
        (Failure(status=429, retry_after=7, body="rate_limited"), 7.0),
    ],
)
async def test_passing_answer_is_tried_again(
    slack: SlackFake, receiver: SlackWebhookReceiver, clock: Clock, failure: Failure, wait: float
) -> None:
    slack.fail(failure)
    assert (await receiver.send(notification())).status is Status.SENT
    assert clock.slept == [wait]


async def test_limit_is_never_abused(slack: SlackFake, receiver: SlackWebhookReceiver) -> None:
    for i in range(50):
        assert (await receiver.send(notification(id=f"n-{i}"))).status is Status.SENT
    assert slack.abuse == 0


async def test_outage_is_given_up(slack: SlackFake, receiver: SlackWebhookReceiver) -> None:
    slack.fail(*[Failure(status=500)] * 100)
    assert (await receiver.send(notification())).status is Status.FAILED


async def test_address_shows_nowhere(
    slack: SlackFake, receiver: SlackWebhookReceiver, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    slack.fail(*[Failure(drop=True)] * 100)
    failed = await receiver.send(notification())
    assert failed.status is Status.FAILED
    assert "secretOfTheHook" not in f"{receiver!r}{receiver.channel}{failed}{caplog.text}"


async def test_log_line_calls_nobody(slack: SlackFake, receiver: SlackWebhookReceiver) -> None:
    await receiver.send(notification(alert(texts=("<!channel> @everyone",))))
    assert slack.mentions(slack.messages[0]) == []
