"""Slack by incoming webhook: posts only, since a webhook can neither edit nor reply.

The webhook's address is its secret: it stands in no log, error, metric or repr.
(docs.slack.dev, "Sending messages using incoming webhooks".)
"""

from __future__ import annotations

import hashlib
import re

import aiohttp
import orjson

from consumers.receivers.blocks import blocks_of, fallback_of
from consumers.receivers.message import message_of
from consumers.receivers.retry import Answer, Patience
from consumers.receivers.slack import judge
from pipeline.notify.notification import Notification, Reason, Result, Status

__all__ = ["SlackWebhookReceiver"]

_ERROR = re.compile(r"[a-z_]{1,64}")
_READ_BYTES = 1_024


class SlackWebhookReceiver:
    """Delivers to the channel that a webhook was made for. It owns its HTTP session.

    Args:
        url: of the webhook, secret.
        interval_s: least seconds between two sends.
        patience: how long to try, with its clock; one's own by default.
    """

    edits = False

    def __init__(
        self,
        url: str,
        *,
        interval_s: float = 1.0,
        patience: Patience | None = None,
    ) -> None:
        self._url = url
        self._interval_s = interval_s
        self._patience = patience if patience is not None else Patience()
        self._session: aiohttp.ClientSession | None = None

    def __repr__(self) -> str:
        return f"SlackWebhookReceiver({self.channel})"

    @property
    def channel(self) -> str:
        """A name for the webhook that does not give it away."""
        return f"webhook-{hashlib.sha256(self._url.encode()).hexdigest()[:12]}"

    @property
    def interval_s(self) -> float:
        """Least seconds between two sends on the channel."""
        return self._interval_s

    async def send(self, notification: Notification) -> Result:
        """Post the group's present state; an `UPDATE` is worth no message of its own."""
        if notification.reason is Reason.UPDATE:
            return Result(Status.SENT, notification.receipt, "not worth a message")
        message = message_of(notification)
        body = orjson.dumps(
            {
                "text": fallback_of(message),
                "blocks": blocks_of(message),
                "unfurl_links": False,
                "unfurl_media": False,
                "mrkdwn": False,
            }
        )
        answer = await self._patience.call(lambda: self._once(body), self._patience.deadline())
        return Result(answer.status, answer.receipt, answer.detail)

    async def close(self) -> None:
        """Close the session; a later send opens another."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _once(self, body: bytes) -> Answer:
        if self._session is None:
            self._session = aiohttp.ClientSession(trust_env=True)
        headers = {"Content-Type": "application/json; charset=utf-8"}
        async with self._session.post(
            self._url, data=body, headers=headers, allow_redirects=False
        ) as response:
            said = (await response.content.read(_READ_BYTES)).decode("utf-8", "replace").strip()
            if response.status == 200:
                return Answer(Status.SENT)
            error = {"error": said} if _ERROR.fullmatch(said) else None
            return judge(response.status, error, response.headers)
