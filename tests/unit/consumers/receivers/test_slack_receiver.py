"""Slack by bot: one message a group, edited; patience where it helps, none where it doesn't."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

import pytest

from consumers.receivers.retry import Patience
from consumers.receivers.slack import SlackReceiver
from pipeline.notify.notification import Reason, Receipt, Status
from tests.fakes.slack import TOKEN, Channel, Failure, SlackFake
from tests.unit.consumers.receivers.builders import Clock, alert, notification

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def slack(clock: Clock) -> AsyncIterator[SlackFake]:
    channels = (
        Channel("C0ALERTS", "alerts"),
        Channel("C0OLD", "old", archived=True),
        Channel("C0X", "x", member=False),
    )
    async with SlackFake(monotonic=clock, channels=channels) as slack:
        yield slack


def receiver_for(
    slack: SlackFake, clock: Clock, channel: str = "C0ALERTS", **patience: float
) -> SlackReceiver:
    return SlackReceiver(
        slack.token,
        channel,
        base_url=slack.url,
        patience=Patience(monotonic=clock, sleep=clock.sleep, jitter=lambda: 1.0, **patience),
    )


@pytest.fixture
async def receiver(slack: SlackFake, clock: Clock) -> AsyncIterator[SlackReceiver]:
    receiver = receiver_for(slack, clock)
    yield receiver
    await receiver.close()


async def test_first_notification_posts_and_gives_a_receipt(
    slack: SlackFake, receiver: SlackReceiver
) -> None:
    result = await receiver.send(notification(alert()))
    [root] = slack.messages
    assert result.status is Status.SENT
    assert result.receipt == Receipt("C0ALERTS", root.ts)
    assert "Error burst · payments" in slack.render(root)
    assert root.text.startswith("🟠 Error burst · payments: Firing")
    assert root.metadata == {
        "event_type": "tocsin_notification",
        "event_payload": {"id": "n-1", "group": "{}/{alertname=Error burst}"},
    }


async def test_counts_and_the_end_edit_the_same_message(slack: SlackFake, receiver: SlackReceiver) -> None:
    root = (await receiver.send(notification(alert(count=1)))).receipt
    for count in (10, 100):
        result = await receiver.send(notification(alert(count=count), reason=Reason.UPDATE, receipt=root))
        assert result.receipt == root
    some = notification(alert("a"), alert("b", over=True), reason=Reason.SOME_RESOLVED, receipt=root)
    assert (await receiver.send(some)).status is Status.SENT
    await receiver.send(notification(alert(count=123_456, over=True), reason=Reason.RESOLVED, receipt=root))
    [message] = slack.messages
    assert len(message.edits) == 4
    assert slack.render(message).startswith("✅ Error burst · payments\n*Over* · error · 123,456 events")


async def test_new_alerts_edit_the_message_and_reply_in_its_thread(
    slack: SlackFake, receiver: SlackReceiver
) -> None:
    root = (await receiver.send(notification(alert("old")))).receipt
    news = notification(
        alert("old"), alert("new"), reason=Reason.NEW_ALERTS, receipt=root, changed=("id-new",), id="n-2"
    )
    result = await receiver.send(news)
    assert result.receipt == root
    [message] = slack.roots
    [reply] = slack.replies(message)
    assert "in 2 alerts" in slack.render(message)
    assert "New alert" in slack.render(reply)
    assert "new" in slack.render(reply)
    assert "`old`" not in slack.render(reply)
    assert not reply.broadcast


async def test_storm_makes_at_most_three_messages_of_a_group(
    slack: SlackFake, receiver: SlackReceiver
) -> None:
    root = (await receiver.send(notification(alert("svc-0")))).receipt
    for i in range(1, 20):
        alerts = [alert(f"svc-{k}", 1_000 * i) for k in range(i + 1)]
        result = await receiver.send(
            notification(*alerts, reason=Reason.NEW_ALERTS, receipt=root, changed=(f"id-svc-{i}",))
        )
        assert result.status is Status.SENT
    assert len(slack.messages) == 3
    assert "380,000 events in 20 alerts" in slack.render(slack.roots[0])


async def test_thread_speaks_again_after_an_hour(
    slack: SlackFake, receiver: SlackReceiver, clock: Clock
) -> None:
    root = (await receiver.send(notification())).receipt
    for _ in range(4):
        await receiver.send(notification(reason=Reason.NEW_ALERTS, receipt=root))
    clock.now += 3_601
    await receiver.send(notification(reason=Reason.NEW_ALERTS, receipt=root))
    assert len(slack.messages) == 4


async def test_repeat_is_heard_in_the_channel(slack: SlackFake, receiver: SlackReceiver) -> None:
    root = (await receiver.send(notification())).receipt
    await receiver.send(notification(reason=Reason.REPEAT, receipt=root))
    [reply] = slack.replies(slack.roots[0])
    assert reply.broadcast
    assert reply.text.startswith("Still going on: ")


@pytest.mark.parametrize("error", ["cant_update_message", "edit_window_closed"])
async def test_message_that_cannot_be_edited_is_posted_anew(
    slack: SlackFake, receiver: SlackReceiver, error: str
) -> None:
    root = (await receiver.send(notification())).receipt
    assert root is not None
    slack.uneditable[root.ts] = error
    result = await receiver.send(notification(reason=Reason.UPDATE, receipt=root))
    assert result.status is Status.SENT
    assert result.receipt == Receipt("C0ALERTS", slack.messages[-1].ts)
    assert len(slack.messages) == 2


async def test_deleted_message_is_posted_anew_without_a_reply(
    slack: SlackFake, receiver: SlackReceiver
) -> None:
    root = (await receiver.send(notification())).receipt
    slack.delete(slack.messages[0])
    result = await receiver.send(notification(reason=Reason.NEW_ALERTS, receipt=root))
    [message] = slack.messages
    assert message.thread_ts is None
    assert result.receipt == Receipt("C0ALERTS", message.ts)


async def test_channel_by_name_is_edited_by_its_id(slack: SlackFake, clock: Clock) -> None:
    receiver = receiver_for(slack, clock, "#alerts")
    root = (await receiver.send(notification())).receipt
    assert root is not None
    assert root.channel == "C0ALERTS"
    assert (await receiver.send(notification(reason=Reason.UPDATE, receipt=root))).status is Status.SENT
    await receiver.close()


@pytest.mark.parametrize(
    ("channel", "error"),
    [("C0NONE", "channel_not_found"), ("C0OLD", "is_archived"), ("C0X", "not_in_channel")],
)
async def test_wrong_channel_is_refused_at_once(
    slack: SlackFake, clock: Clock, channel: str, error: str
) -> None:
    receiver = receiver_for(slack, clock, channel)
    result = await receiver.send(notification())
    assert (result.status, result.detail, result.receipt) == (Status.REFUSED, error, None)
    assert clock.slept == []
    await receiver.close()


@pytest.mark.parametrize(
    "error",
    [
        *("invalid_auth", "account_inactive", "token_revoked", "missing_scope"),
        *("msg_too_long", "invalid_blocks", "no_text", "something_undocumented"),
    ],
)
async def test_permanent_error_is_refused_and_not_tried_again(
    slack: SlackFake, receiver: SlackReceiver, clock: Clock, error: str
) -> None:
    slack.fail(Failure(error=error))
    result = await receiver.send(notification())
    assert (result.status, result.detail) == (Status.REFUSED, error)
    assert clock.slept == []


@pytest.mark.parametrize(
    "failure",
    [
        *(
            Failure(error=e)
            for e in ("internal_error", "fatal_error", "service_unavailable", "request_timeout")
        ),
        *(Failure(status=s) for s in (500, 502, 503, 408)),
        Failure(status=200),
        Failure(status=200, content_type="text/plain"),
        Failure(status=503, content_type="application/json"),
        Failure(status=503, content_type="text/plain"),
        Failure(drop=True),
    ],
)
async def test_passing_failure_is_tried_again(
    slack: SlackFake, receiver: SlackReceiver, clock: Clock, failure: Failure
) -> None:
    # The look whether the message is there already takes the second one.
    slack.fail(failure, failure)
    result = await receiver.send(notification())
    assert result.status is Status.SENT
    assert len(slack.messages) == 1
    assert clock.slept[0] == 0.5


async def test_message_whose_answer_was_lost_is_not_posted_twice(
    slack: SlackFake, receiver: SlackReceiver
) -> None:
    slack.fail(Failure(lose=True))
    result = await receiver.send(notification())
    assert result.status is Status.SENT
    assert result.receipt == Receipt("C0ALERTS", slack.messages[0].ts)
    slack.fail(Failure(error="internal_error"), Failure(lose=True))
    await receiver.send(notification(reason=Reason.NEW_ALERTS, receipt=result.receipt, id="n-2"))
    assert len(slack.messages) == 2


async def test_reply_whose_answer_was_lost_is_not_posted_twice(
    slack: SlackFake, receiver: SlackReceiver
) -> None:
    root = (await receiver.send(notification())).receipt
    news = notification(reason=Reason.NEW_ALERTS, receipt=root, id="n-2")
    # `Failure()` lets the edit pass.
    slack.fail(Failure(), Failure(lose=True))
    assert (await receiver.send(news)).status is Status.SENT
    assert len(slack.messages) == 2


async def test_retry_after_is_kept_to_the_second(
    slack: SlackFake, receiver: SlackReceiver, clock: Clock
) -> None:
    slack.fail(Failure(error="ratelimited", retry_after=17))
    assert (await receiver.send(notification())).status is Status.SENT
    assert clock.slept == [17.0]


async def test_429_without_json_is_patience_too(
    slack: SlackFake, receiver: SlackReceiver, clock: Clock
) -> None:
    slack.fail(Failure(status=429, retry_after=3), Failure(status=429))
    assert (await receiver.send(notification())).status is Status.SENT
    assert clock.slept == [3.0, 30.0]


async def test_hundred_messages_without_a_pause_never_abuse_the_limit(
    slack: SlackFake, receiver: SlackReceiver
) -> None:
    for i in range(100):
        assert (await receiver.send(notification(id=f"n-{i}"))).status is Status.SENT
    assert len(slack.messages) == 100
    assert slack.throttled > 0
    assert slack.abuse == 0


async def test_wait_longer_than_our_patience_fails_and_is_still_kept(slack: SlackFake, clock: Clock) -> None:
    receiver = receiver_for(slack, clock, give_up_s=60)
    slack.fail(Failure(error="ratelimited", retry_after=90))
    for passed in (0, 20):
        clock.now += passed
        result = await receiver.send(notification())
        assert (result.status, result.detail) == (Status.FAILED, "ratelimited")
    assert slack.calls == []
    clock.now += 20
    assert (await receiver.send(notification())).status is Status.SENT
    assert clock.slept == [50.0]
    await receiver.close()


async def test_outage_is_given_up_with_the_last_word_for_it(slack: SlackFake, clock: Clock) -> None:
    receiver = receiver_for(slack, clock, give_up_s=60)
    slack.fail(*[Failure(status=503)] * 100)
    result = await receiver.send(notification())
    assert (result.status, result.detail) == (Status.FAILED, "http_503")
    assert clock.slept == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0]
    await receiver.close()


async def test_slack_that_never_answers_is_a_timeout(clock: Clock) -> None:
    hung_up = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()
        await writer.wait_closed()
        hung_up.set()

    async with await asyncio.start_server(silent, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        patience = Patience(
            timeout_s=0.05, give_up_s=0, monotonic=clock, sleep=clock.sleep, jitter=lambda: 0.0
        )
        receiver = SlackReceiver(TOKEN, "C0", base_url=f"http://127.0.0.1:{port}/api/", patience=patience)
        result = await receiver.send(notification())
        assert (result.status, result.detail) == (Status.FAILED, "timeout")
        await receiver.close()
        await hung_up.wait()


async def test_slack_that_is_not_there_fails(clock: Clock) -> None:
    patience = Patience(give_up_s=1, monotonic=clock, sleep=clock.sleep)
    receiver = SlackReceiver(TOKEN, "C0", base_url="http://127.0.0.1:1/api/", patience=patience)
    result = await receiver.send(notification())
    assert (result.status, result.detail) == (Status.FAILED, "ClientConnectorError")
    await receiver.close()


async def test_token_shows_nowhere(slack: SlackFake, clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    receiver = receiver_for(slack, clock)
    slack.fail(Failure(error="invalid_auth"))
    refused = await receiver.send(notification())
    sent = await receiver.send(notification())
    assert slack.token not in f"{receiver!r}{receiver.channel}{refused}{sent}{caplog.text}"
    await receiver.close()


async def test_log_line_calls_nobody_and_stays_code(slack: SlackFake, receiver: SlackReceiver) -> None:
    line = "<!channel> <@U123> @here ``` <http://evil|click> password=hunter2"
    await receiver.send(notification(alert("<!here>", texts=(line,))))
    [root] = slack.messages
    assert slack.mentions(root) == []
    assert "<!channel> <@U123> @here" in slack.render(root)
    assert "hunter2" not in str(slack.calls)
    assert slack.calls[0][1]["unfurl_links"] is False


async def test_closed_receiver_opens_again(slack: SlackFake, receiver: SlackReceiver) -> None:
    await receiver.close()
    await receiver.send(notification())
    await receiver.close()
    await receiver.close()
    assert (await receiver.send(notification())).status is Status.SENT
