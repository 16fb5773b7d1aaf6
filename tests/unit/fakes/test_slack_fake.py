"""The fake against Slack's documentation: each test is named by what the documentation says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from tests.fakes.slack import TOKEN, Channel, Failure, SlackFake

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def slack(clock: Clock) -> AsyncIterator[SlackFake]:
    channels = (
        Channel("C0ALERTS", "alerts"),
        Channel("C0OTHER", "other"),
        Channel("C0OLD", "old", archived=True),
        Channel("C0PRIVATE", "private", member=False),
    )
    async with SlackFake(monotonic=clock, channels=channels) as slack:
        yield slack


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.fixture
def client(slack: SlackFake, session: aiohttp.ClientSession) -> AsyncWebClient:
    return client_of(slack, session, TOKEN)


def client_of(slack: SlackFake, session: aiohttp.ClientSession, token: str | None) -> AsyncWebClient:
    client = AsyncWebClient(token, slack.url, session=session, retry_handlers=[])
    client.proxy = None
    return client


async def call(client: AsyncWebClient, method: str = "chat.postMessage", **arguments: Any) -> Any:
    """Return the answer of a call: a dict when it is taken, or the error's name."""
    arguments = {"channel": "C0ALERTS", **arguments}
    try:
        return (await client.api_call(method, json=arguments)).data
    except SlackApiError as error:
        return error.response["error"]


def section(text: str, kind: str = "mrkdwn") -> dict[str, Any]:
    return {"type": "section", "text": {"type": kind, "text": text}}


def header(text: str, kind: str = "plain_text") -> dict[str, Any]:
    return {"type": "header", "text": {"type": kind, "text": text}}


async def test_post_returns_channel_id_ts_and_message(slack: SlackFake, client: AsyncWebClient) -> None:
    answer = await call(client, channel="#alerts", text="hi")
    assert (answer["ok"], answer["channel"], answer["message"]["text"]) == (True, "C0ALERTS", "hi")
    assert answer["ts"] == slack.messages[0].ts


async def test_no_token_is_not_authed(slack: SlackFake, session: aiohttp.ClientSession) -> None:
    assert await call(client_of(slack, session, None), text="hi") == "not_authed"


async def test_wrong_token_is_invalid_auth(slack: SlackFake, session: aiohttp.ClientSession) -> None:
    assert await call(client_of(slack, session, "xoxb-wrong"), text="hi") == "invalid_auth"


async def test_auth_test_tells_who_the_token_is(client: AsyncWebClient) -> None:
    assert (await call(client, "auth.test"))["team"] == "Fake"


async def test_unknown_method_is_an_error(client: AsyncWebClient) -> None:
    assert await call(client, "chat.shout") == "unknown_method"


@pytest.mark.parametrize(
    ("channel", "error"),
    [("C0NONE", "channel_not_found"), ("#private", "not_in_channel"), ("C0OLD", "is_archived")],
)
async def test_channel_must_exist_be_joined_and_not_archived(
    client: AsyncWebClient, channel: str, error: str
) -> None:
    assert await call(client, channel=channel, text="hi") == error


async def test_message_without_text_or_blocks_is_no_text(client: AsyncWebClient) -> None:
    assert await call(client) == "no_text"
    assert await call(client, text="") == "no_text"
    assert (await call(client, blocks=[section("x")]))["ok"]


async def test_text_over_40000_characters_is_truncated_with_a_warning(
    slack: SlackFake, client: AsyncWebClient
) -> None:
    assert "warning" not in await call(client, text="x" * 40_000)
    assert (await call(client, text="x" * 40_001))["warning"] == "message_truncated"
    assert len(slack.messages[1].text) == 40_000


async def test_update_of_over_40000_characters_is_msg_too_long(client: AsyncWebClient) -> None:
    ts = (await call(client, text="hi"))["ts"]
    assert await call(client, "chat.update", ts=ts, text="x" * 40_001) == "msg_too_long"


GOOD = [
    [section("x") for _ in range(50)],
    [header("x" * 150)],
    [section("x" * 3_000)],
    [{"type": "section", "fields": [{"type": "mrkdwn", "text": "x" * 1_300}] * 10}],
    [{"type": "section", "fields": [{"type": "plain_text", "text": "x" * 2_000, "emoji": False}]}],
    [{"type": "context", "elements": [{"type": "plain_text", "text": "x"}] * 10}],
    [{"type": "divider"}],
    [
        {
            "type": "actions",
            "elements": [
                {"type": "button", "text": {"type": "plain_text", "text": "x" * 75}, "value": "v" * 2_000}
            ],
        }
    ],
]
BAD = [
    "text",
    [section("x") for _ in range(51)],
    [{"type": "marquee"}],
    ["x"],
    [header("x" * 151)],
    [header("😀" * 76)],
    [header("x", "mrkdwn")],
    [header("")],
    [section("x" * 3_001)],
    [section("")],
    [section("x", "markdown")],
    [{"type": "section"}],
    [{"type": "section", "text": "x"}],
    [{"type": "section", "text": {"type": "plain_text", "text": "x", "verbatim": True}}],
    [{"type": "section", "fields": [{"type": "mrkdwn", "text": "x"}] * 11}],
    [{"type": "section", "fields": [{"type": "mrkdwn", "text": "x" * 2_001}]}],
    [{"type": "section", "block_id": "x" * 256, "text": {"type": "mrkdwn", "text": "x"}}],
    [{"type": "context", "elements": []}],
    [{"type": "context", "elements": [{"type": "plain_text", "text": "x"}] * 11}],
    [{"type": "actions", "elements": []}],
    [{"type": "actions", "elements": [{"type": "slider"}]}],
    [{"type": "actions", "elements": [{"type": "button", "text": {"type": "plain_text", "text": "x" * 76}}]}],
    [
        {
            "type": "actions",
            "elements": [
                {"type": "button", "text": {"type": "plain_text", "text": "x"}, "value": "v" * 2_001}
            ],
        }
    ],
]


@pytest.mark.parametrize("blocks", GOOD)
async def test_blocks_at_their_limits_are_taken(client: AsyncWebClient, blocks: Any) -> None:
    assert (await call(client, text="hi", blocks=blocks))["ok"]


@pytest.mark.parametrize("blocks", BAD)
async def test_blocks_beyond_their_limits_are_invalid_blocks(client: AsyncWebClient, blocks: Any) -> None:
    assert await call(client, text="hi", blocks=blocks) == "invalid_blocks"


async def test_invalid_blocks_says_where(client: AsyncWebClient) -> None:
    with pytest.raises(SlackApiError) as caught:
        await client.api_call(
            "chat.postMessage", json={"channel": "C0ALERTS", "blocks": [section("x" * 3_001)]}
        )
    assert caught.value.response["errors"] == [
        "must be less than 3001 characters [json-pointer:/blocks/0/text/text]"
    ]


async def test_more_than_13200_characters_over_all_blocks_is_msg_blocks_too_long(
    client: AsyncWebClient,
) -> None:
    assert (await call(client, blocks=[section("x" * 2_640)] * 5))["ok"]
    assert await call(client, blocks=[section("x" * 2_641)] * 5) == "msg_blocks_too_long"


async def test_reply_needs_a_message_that_starts_a_thread(
    slack: SlackFake, client: AsyncWebClient, clock: Clock
) -> None:
    ts = (await call(client, text="root"))["ts"]
    reply = await call(client, text="reply", thread_ts=ts, reply_broadcast=True)
    assert [m.text for m in slack.replies(slack.roots[0])] == ["reply"]
    assert slack.messages[1].broadcast
    clock.now += 10
    assert await call(client, text="lost", thread_ts="1.0") == "thread_not_found"
    assert await call(client, text="deep", thread_ts=reply["ts"]) == "cannot_reply_to_message"
    clock.now += 10
    assert await call(client, text="astray", thread_ts=ts, channel="C0OTHER") == "thread_not_found"


async def test_update_replaces_the_content_and_keeps_the_ts(slack: SlackFake, client: AsyncWebClient) -> None:
    posted = await call(client, text="one", metadata={"event_type": "t", "event_payload": {"id": "1"}})
    answer = await call(client, "chat.update", ts=posted["ts"], text="two", blocks=[section("b")])
    [message] = slack.messages
    assert (answer["ts"], message.text, message.edits) == (posted["ts"], "two", [("one", [])])
    assert message.metadata == {"event_type": "t", "event_payload": {"id": "1"}}


async def test_update_of_an_unknown_ts_is_message_not_found(client: AsyncWebClient) -> None:
    assert await call(client, "chat.update", ts="1.0", text="x") == "message_not_found"


async def test_update_needs_the_channels_id(client: AsyncWebClient) -> None:
    ts = (await call(client, text="hi"))["ts"]
    assert await call(client, "chat.update", channel="#alerts", ts=ts, text="x") == "channel_not_found"


async def test_update_of_anothers_message_is_cant_update_message(
    slack: SlackFake, client: AsyncWebClient, session: aiohttp.ClientSession
) -> None:
    slack.other_tokens["xoxb-of-another"] = "B0ANOTHER"
    ts = (await call(client_of(slack, session, "xoxb-of-another"), text="hi"))["ts"]
    assert await call(client, "chat.update", ts=ts, text="x") == "cant_update_message"


async def test_metadata_needs_type_and_payload(client: AsyncWebClient) -> None:
    assert await call(client, text="x", metadata={"event_type": "t"}) == "invalid_metadata_format"


async def test_history_and_replies_show_metadata_when_asked(client: AsyncWebClient) -> None:
    metadata = {"event_type": "t", "event_payload": {"id": "1"}}
    ts = (await call(client, text="root", metadata=metadata))["ts"]
    await call(client, text="reply", thread_ts=ts)
    params = {"channel": "C0ALERTS", "include_all_metadata": True}
    history = await client.api_call("conversations.history", http_verb="GET", params=params)
    assert [m["metadata"] for m in history["messages"]] == [metadata]
    replies = await client.api_call(
        "conversations.replies", http_verb="GET", params={**params, "ts": ts, "limit": 10}
    )
    assert [m["text"] for m in replies["messages"]] == ["root", "reply"]
    bare = await client.api_call("conversations.history", http_verb="GET", params={"channel": "C0ALERTS"})
    assert "metadata" not in bare["messages"][0]


async def test_one_message_a_second_a_channel_with_short_bursts(
    slack: SlackFake, client: AsyncWebClient, clock: Clock
) -> None:
    for _ in range(3):
        assert (await call(client, text="x"))["ok"]
    with pytest.raises(SlackApiError) as caught:
        await client.chat_postMessage(channel="C0ALERTS", text="x")
    assert caught.value.response.status_code == 429
    assert caught.value.response.headers["Retry-After"] == "1"
    assert caught.value.response["error"] == "ratelimited"
    assert (await call(client, channel="C0OTHER", text="another channel has its own"))["ok"]
    assert (slack.throttled, slack.abuse) == (1, 0)
    for _ in range(5):
        clock.now += 1
        assert (await call(client, text="x"))["ok"]


async def test_posting_on_within_retry_after_is_abuse(
    slack: SlackFake, client: AsyncWebClient, clock: Clock
) -> None:
    for _ in range(4):
        await call(client, text="x")
    clock.now += 0.5
    assert await call(client, text="x") == "ratelimited"
    assert (slack.throttled, slack.abuse) == (2, 1)
    clock.now += 0.5
    assert (await call(client, text="x"))["ok"]


async def test_updates_have_a_limit_a_minute(slack: SlackFake, client: AsyncWebClient, clock: Clock) -> None:
    ts = (await call(client, text="x"))["ts"]
    answers = [await call(client, "chat.update", ts=ts, text="y") for _ in range(61)]
    assert answers[-1] == "ratelimited"
    assert all(answer["ok"] for answer in answers[:-1])
    clock.now += 1
    assert (await call(client, "chat.update", ts=ts, text="y"))["ok"]


async def test_entities_are_unescaped_for_the_reader(slack: SlackFake, client: AsyncWebClient) -> None:
    await call(client, text="&lt;b&gt; &amp; <https://x.y|link>")
    assert slack.render(slack.messages[0]) == "<b> & link"


@pytest.mark.parametrize(
    ("message", "called"),
    [
        ({"text": "<!channel> and <@U123|bob>"}, ["!channel", "@U123"]),
        ({"text": "&lt;!channel&gt; @here"}, []),
        ({"text": "@here", "link_names": True}, ["@here"]),
        ({"blocks": [section("<!here>")]}, ["!here"]),
        ({"blocks": [section("<!here>", "plain_text")]}, []),
        ({"blocks": [section("@everyone")]}, ["@everyone"]),
        (
            {"blocks": [{"type": "section", "text": {"type": "mrkdwn", "text": "@here", "verbatim": True}}]},
            [],
        ),
    ],
)
async def test_mentions_call_only_as_unescaped_sequences_or_parsed_names(
    slack: SlackFake, client: AsyncWebClient, message: dict[str, Any], called: list[str]
) -> None:
    await call(client, **message)
    assert slack.mentions(slack.messages[0]) == called


async def hook(session: aiohttp.ClientSession, url: str, body: Any) -> tuple[int, str]:
    sent: dict[str, Any] = {"data": body} if isinstance(body, str) else {"json": body}
    async with session.post(url, **sent) as response:
        return response.status, await response.text()


async def test_webhook_answers_in_plain_text(
    slack: SlackFake, session: aiohttp.ClientSession, clock: Clock
) -> None:
    url = slack.webhook_url
    assert await hook(session, url, {"text": "hi"}) == (200, "ok")
    assert slack.messages[0].text == "hi"
    assert await hook(session, f"{url}x", {"text": "hi"}) == (404, "no_service")
    assert await hook(session, url, "{") == (400, "invalid_payload")
    assert await hook(session, url, {}) == (400, "no_text")
    assert await hook(session, url, {"blocks": [section("")]}) == (400, "invalid_blocks")
    assert await hook(session, url, {"text": "hi"}) == (429, "rate_limited")
    clock.now += 5
    slack.channels["C0ALERTS"].archived = True
    assert await hook(session, url, {"text": "hi"}) == (410, "channel_is_archived")


async def test_scripted_failures_happen_once_each_in_order(slack: SlackFake, client: AsyncWebClient) -> None:
    slack.fail(Failure(status=503), Failure(error="fatal_error"), Failure(drop=True), Failure(lose=True))
    with pytest.raises(SlackApiError) as caught:
        await client.chat_postMessage(channel="C0ALERTS", text="x")
    assert caught.value.response.status_code == 503
    assert await call(client, text="x") == "fatal_error"
    with pytest.raises(aiohttp.ServerDisconnectedError):
        await call(client, text="x")
    assert slack.messages == []
    with pytest.raises(aiohttp.ServerDisconnectedError):
        await call(client, text="x")
    assert len(slack.messages) == 1
    assert (await call(client, text="x"))["ok"]
