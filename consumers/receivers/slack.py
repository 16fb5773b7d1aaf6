"""Slack by bot token: one message a group, edited as counts move, with what is new in its thread.

The first notification posts the group's message; every later one edits it (`chat.update`), so that it always
shows the present state, with a tick when all is over. New alerts and reminders also reply in its thread.
(docs.slack.dev: chat.postMessage, chat.update, rate limits. Semantics, section 4.)
"""

from __future__ import annotations

import collections
import logging
from typing import TYPE_CHECKING, Any

import aiohttp
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from consumers.receivers.blocks import blocks_of, fallback_of, reply_blocks_of
from consumers.receivers.mask import mask
from consumers.receivers.message import message_of, news_of
from consumers.receivers.retry import Answer, Patience, retry_after_s
from pipeline.notify.notification import Notification, Reason, Receipt, Result, Status

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["SlackReceiver", "judge"]

_EVENT_TYPE = "tocsin_notification"
_TRY_AGAIN = frozenset(
    {"ratelimited", "rate_limited", "internal_error", "fatal_error", "service_unavailable", "request_timeout"}
)
# The group's message was deleted, belongs to another app, or is too old for the workspace to edit.
_ROOT_IS_GONE = frozenset({"message_not_found", "cant_update_message", "edit_window_closed"})

_REPLIES = 2  # with the first message three in all
_HOUR_S = 3_600.0
_THREADS = 1_024
_LOOK_BACK = 15  # messages of a channel; more Slack does not give to every app
_LONGEST_THREAD = 100


class SlackReceiver:
    """Delivers to a channel as a bot. It owns its HTTP session, opened by the first send.

    Args:
        token: the bot's (`xoxb-…`), with the scope `chat:write`; with `channels:history` too, a call
            whose answer was lost makes no second message.
        channel: the channel's id, or its name with `#`.
        base_url: of the Web API.
        interval_s: least seconds between two sends.
        patience: how long to try, with its clock; one's own by default.
        channel_label: the label by which a group is made that names its channel; empty for always `channel`.
        channels: those that it may name. A label's text comes from logs, so any other leads to `channel`.
        replies_per_hour: most replies with new alerts in one thread.
    """

    edits = True

    def __init__(
        self,
        token: str,
        channel: str,
        *,
        base_url: str = "https://slack.com/api/",
        interval_s: float = 1.0,
        patience: Patience | None = None,
        channel_label: str = "",
        channels: Iterable[str] = (),
        replies_per_hour: int = _REPLIES,
    ) -> None:
        self._token = token
        self._channel = channel
        self._channel_label = channel_label
        self._channels = {_bare(name): name for name in channels}
        self._base_url = base_url
        self._interval_s = interval_s
        self._patience = patience if patience is not None else Patience()
        self._threads = _Threads(replies_per_hour)
        self._session: aiohttp.ClientSession | None = None
        self._client: AsyncWebClient | None = None

    def __repr__(self) -> str:
        return f"SlackReceiver(channel={self._channel!r}, base_url={self._base_url!r})"

    @property
    def channel(self) -> str:
        """The channel, with the API that it is reached by; of a receiver that chooses one, all of its."""
        chosen = f" by {self._channel_label}" if self._channel_label else ""
        return f"{self._base_url}#{self._channel.removeprefix('#')}{chosen}"

    @property
    def interval_s(self) -> float:
        """Least seconds between two sends on the channel."""
        return self._interval_s

    async def send(self, notification: Notification) -> Result:
        """Post the group's message, or edit it and reply in its thread where there is news."""
        deadline = self._patience.deadline()
        root = notification.receipt
        if notification.reason is Reason.FIRST or root is None or not root.ts:
            return _result(await self._post_root(notification, deadline))
        edit = {"channel": root.channel, "ts": root.ts, **_root(notification)}
        answer = await self._patience.call(lambda: self._once("chat.update", edit), deadline)
        if answer.status is Status.REFUSED and answer.detail in _ROOT_IS_GONE:
            return _result(await self._post_root(notification, deadline))
        if answer.status is Status.SENT and (reply := self._reply(notification, root)):
            answer = await self._post(notification, reply, deadline)
            if answer.status is Status.SENT and notification.reason is Reason.NEW_ALERTS:
                self._threads.replied(root.ts, self._patience.now())
        return Result(answer.status, root if answer.status is Status.SENT else None, answer.detail)

    async def close(self) -> None:
        """Close the session; a later send opens another."""
        session, self._session, self._client = self._session, None, None
        if session is not None:
            await session.close()

    async def _post_root(self, notification: Notification, deadline: float) -> Answer:
        named = notification.group_labels.get(self._channel_label, "")
        channel = self._channels.get(_bare(named), self._channel)
        return await self._post(notification, {"channel": channel, **_root(notification)}, deadline)

    async def _post(self, notification: Notification, message: dict[str, object], deadline: float) -> Answer:
        """Post a message once, even when the answer to a call gets lost on its way."""
        unsure = False

        async def attempt() -> Answer:
            nonlocal unsure
            if unsure and (there := await self._find(notification.id, message)) is not None:
                return Answer(Status.SENT, receipt=there)
            unsure = True
            answer = await self._once("chat.postMessage", {**message, **_AS_WRITTEN})
            unsure = answer.status is Status.FAILED and answer.wait_s is None
            return answer

        return await self._patience.call(attempt, deadline)

    async def _find(self, notification_id: str, message: dict[str, object]) -> Receipt | None:
        """Look for a message by the notification's id, where the token may read the channel's history.

        Slack takes only a channel's id here; by name nothing is found, and the message is posted again.
        """
        where = {"channel": message["channel"], "limit": _LOOK_BACK, "include_all_metadata": True}
        method = "conversations.history"
        if "thread_ts" in message:
            method = "conversations.replies"
            where |= {"ts": message["thread_ts"], "limit": _LONGEST_THREAD}
        try:
            response = await self._connected().api_call(method, http_verb="GET", params=where)
        except (SlackApiError, AttributeError):
            # Of AttributeError see `_once`.
            return None
        messages: list[dict[str, Any]] = response.get("messages", [])
        for found in messages:
            payload = found.get("metadata", {}).get("event_payload", {})
            if payload.get("id") == notification_id and found["ts"] != message.get("thread_ts"):
                return Receipt(channel=str(message["channel"]), ts=found["ts"])
        return None

    def _reply(self, notification: Notification, root: Receipt) -> dict[str, object] | None:
        """Return what a notification says in the thread, or None when the edit says it all."""
        if notification.reason is Reason.NEW_ALERTS and self._threads.calm(root.ts, self._patience.now()):
            message, heading = (
                news_of(notification),
                "New alerts" if len(notification.changed) > 1 else "New alert",
            )
        elif notification.reason is Reason.REPEAT:
            message, heading = (
                message_of(notification),
                "Still going on" if notification.firing else "Reminder",
            )
        else:
            return None
        return {
            "channel": root.channel,
            "thread_ts": root.ts,
            "text": fallback_of(message, heading),
            "blocks": reply_blocks_of(message, heading),
            "metadata": _metadata(notification),
            "reply_broadcast": notification.reason is Reason.REPEAT,
        }

    async def _once(self, method: str, arguments: dict[str, object]) -> Answer:
        client = self._connected()
        try:
            response = await client.api_call(method, json=arguments)
        except SlackApiError as error:
            # slack_sdk raises with its own response, or with aiohttp's when the body is no JSON.
            if isinstance(error.response, aiohttp.ClientResponse):
                return judge(error.response.status, None, error.response.headers)
            return judge(error.response.status_code, error.response.data, error.response.headers)
        except AttributeError:
            # slack_sdk takes an answer of text/plain for a dict; a proxy's page may be one.
            return Answer(Status.FAILED, "unreadable_answer")
        receipt = Receipt(channel=str(response.get("channel", "")), ts=str(response.get("ts", "")))
        return Answer(Status.SENT, receipt=receipt)

    def _connected(self) -> AsyncWebClient:
        if self._client is None:
            log = logging.getLogger("slack_sdk.tocsin")
            # At DEBUG slack_sdk logs whole messages.
            log.setLevel(logging.INFO)
            self._session = aiohttp.ClientSession(trust_env=True)
            self._client = AsyncWebClient(
                self._token, self._base_url, session=self._session, retry_handlers=[], logger=log
            )
            # aiohttp reads the proxy from the environment itself, and heeds NO_PROXY; slack_sdk doesn't.
            self._client.proxy = None
        return self._client


class _Threads:
    """Replies lately made in each thread: in a storm the edits tell the rest."""

    def __init__(self, per_hour: int) -> None:
        self._per_hour = per_hour
        self._times: collections.OrderedDict[str, collections.deque[float]] = collections.OrderedDict()

    def calm(self, ts: str, now: float) -> bool:
        """Whether one more reply would not be too many."""
        times = self._times.get(ts)
        if not times:
            return self._per_hour > 0
        return len(times) < self._per_hour or now - times[0] >= _HOUR_S

    def replied(self, ts: str, now: float) -> None:
        """Count a reply."""
        self._times.setdefault(ts, collections.deque(maxlen=self._per_hour)).append(now)
        self._times.move_to_end(ts)
        if len(self._times) > _THREADS:
            self._times.popitem(last=False)


# No previews of links, no mentions made of names, no markup in the fallback text.
_AS_WRITTEN: dict[str, object] = {
    "unfurl_links": False,
    "unfurl_media": False,
    "mrkdwn": False,
    "link_names": False,
    "parse": "none",
}


def _root(notification: Notification) -> dict[str, object]:
    """Return what the group's message says now."""
    message = message_of(notification)
    return {
        "text": fallback_of(message),
        "blocks": blocks_of(message),
        "metadata": _metadata(notification),
    }


def _metadata(notification: Notification) -> dict[str, object]:
    """Return what says whose message this is, so that it is found again after a crash."""
    return {
        "event_type": _EVENT_TYPE,
        "event_payload": {"id": notification.id, "group": mask(notification.group_key)[:1_000]},
    }


def _bare(channel: str) -> str:
    """Return a channel's name as Slack has it, however it is written."""
    return channel.strip().removeprefix("#").lower()


def _result(answer: Answer) -> Result:
    return Result(answer.status, answer.receipt, answer.detail)


def judge(status: int, body: object, headers: Mapping[str, str]) -> Answer:
    """Say whether an answer that is no success is worth another try.

    What Slack does not document as passing is taken for permanent, so that nothing is sent for ever.

    Args:
        status: of HTTP.
        body: decoded JSON, or anything else when it was none.
        headers: of the response.
    """
    error = body.get("error") if isinstance(body, dict) else None
    detail = error if isinstance(error, str) and error else f"http_{status}"
    if status == 429 or detail in {"ratelimited", "rate_limited"}:
        return Answer(Status.FAILED, "ratelimited", wait_s=retry_after_s(headers))
    if status >= 500 or status == 408 or detail in _TRY_AGAIN:
        return Answer(Status.FAILED, detail)
    if status == 200 and error is None:
        return Answer(Status.FAILED, "unreadable_answer")
    return Answer(Status.REFUSED, detail)
