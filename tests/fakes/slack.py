"""A Slack on loopback that takes and refuses what the real one documents.

`async with SlackFake() as slack:` serves the Web API at `slack.url` and one incoming webhook at
`slack.webhook_url`. What was posted is in `slack.messages`, each with its edits; `slack.render(message)` is
what a reader sees, and `slack.mentions(message)` whom it would call.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections import deque
from typing import TYPE_CHECKING, Any, Self

from aiohttp import web

from tests.fakes.slack_blocks import BLOCK_TEXT_LIMIT, block_text_length, mentions, problem, rendered

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["TOKEN", "Channel", "Failure", "Posted", "SlackFake"]

TOKEN = "xoxb-of-the-fake-bot"  # noqa: S105 - it opens nothing but this

_TEXT_LIMIT = 40_000
_FIRST_TS = 1_700_000_000


@dataclasses.dataclass
class Channel:
    """A channel of the workspace."""

    id: str
    name: str
    member: bool = True
    archived: bool = False


@dataclasses.dataclass
class Posted:
    """A message as it stands, with what it said before."""

    channel: str
    ts: str
    author: str
    text: str
    blocks: list[dict[str, Any]]
    metadata: dict[str, Any] | None = None
    thread_ts: str | None = None
    broadcast: bool = False
    link_names: bool = False
    edits: list[tuple[str, list[dict[str, Any]]]] = dataclasses.field(default_factory=list)


@dataclasses.dataclass(frozen=True)
class Failure:
    """What happens to one of the next calls.

    `error` is Slack's own word with HTTP 200, `status` an HTTP status without JSON; `drop` ends the
    connection before the call is read, `lose` after it was done.
    """

    error: str = ""
    status: int = 0
    drop: bool = False
    lose: bool = False
    retry_after: int | None = None
    body: str = "oops"
    content_type: str = "text/html"


class _Bucket:
    """Takes `per_s` calls a second and `burst` at once; afterwards nothing until `Retry-After` has passed."""

    def __init__(self, per_s: float, burst: float, now: float) -> None:
        self._per_s = per_s
        self._burst = burst
        self._level = burst
        self._at = now
        self.closed_until = -math.inf

    def take(self, now: float) -> int:
        """Return 0 when the call is allowed, or else the seconds to wait."""
        if now < self.closed_until:
            return max(1, math.ceil(self.closed_until - now))
        self._level = min(self._burst, self._level + (now - self._at) * self._per_s)
        self._at = now
        if self._level >= 1 - 1e-9:
            self._level -= 1
            return 0
        wait = max(1, math.ceil((1 - self._level) / self._per_s))
        self.closed_until = now + wait
        return wait


class _RefusedError(Exception):
    """A call that Slack answers with `ok: false`."""

    def __init__(self, error: str, **more: object) -> None:
        super().__init__(error)
        self.answer = {"ok": False, "error": error, **more}


class SlackFake:
    """The server. Limits: `posts_per_s` a channel with `burst` at once, `updates_per_min` for the app."""

    def __init__(
        self,
        *,
        token: str = TOKEN,
        channels: tuple[Channel, ...] = (Channel("C0ALERTS", "alerts"),),
        posts_per_s: float = 1.0,
        burst: float = 3.0,
        updates_per_min: float = 60.0,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.token = token
        self.other_tokens: dict[str, str] = {}
        self.channels = {channel.id: channel for channel in channels}
        self.messages: list[Posted] = []
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.throttled = 0
        self.abuse = 0
        self.uneditable: dict[str, str] = {}
        self._failures: deque[Failure] = deque()
        self._monotonic = monotonic
        self._posts_per_s, self._burst, self._updates_per_min = posts_per_s, burst, updates_per_min
        self._buckets: dict[str, _Bucket] = {}
        self._runner: web.AppRunner | None = None
        self._origin = ""

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=16 * 2**20)
        app.router.add_route("*", "/api/{method}", self._api)
        app.router.add_post("/services/{team}/{hook}/{secret}", self._webhook)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        self._origin = f"http://{host}:{port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._runner is not None
        await self._runner.cleanup()

    # What tests ask and arrange.

    @property
    def url(self) -> str:
        """The base URL of the Web API."""
        return f"{self._origin}/api/"

    @property
    def webhook_url(self) -> str:
        """An incoming webhook of the first channel."""
        return f"{self._origin}/services/T0TEAM/B0HOOK/secretOfTheHook"

    @property
    def roots(self) -> list[Posted]:
        """Messages that stand in a channel themselves."""
        return [message for message in self.messages if message.thread_ts is None]

    def replies(self, root: Posted) -> list[Posted]:
        """Return the messages in a thread."""
        return [message for message in self.messages if message.thread_ts == root.ts]

    def fail(self, *failures: Failure) -> None:
        """Let the next calls fail, one each."""
        self._failures.extend(failures)

    def delete(self, message: Posted) -> None:
        """Delete a message as a person would."""
        self.messages.remove(message)

    def render(self, message: Posted) -> str:
        """Return what a reader sees of a message."""
        return rendered(message.text, message.blocks)

    def mentions(self, message: Posted) -> list[str]:
        """Return whom a message calls."""
        return mentions(message.text, message.blocks, link_names=message.link_names)

    # The Web API.

    async def _api(self, request: web.Request) -> web.StreamResponse:
        method = request.match_info["method"]
        failure = self._failures.popleft() if self._failures else None
        if failure is not None and (scripted := self._scripted(request, failure)):
            return scripted
        handler = _METHODS.get(method, SlackFake._unknown)
        try:
            author = self._author(request)
            arguments = await _arguments(request)
            self.calls.append((method, arguments))
            answer = {"ok": True, **handler(self, author, arguments)}
        except _RefusedError as refused:
            answer = refused.answer
        headers = {}
        status = 200
        if (wait := answer.pop("retry_after", None)) is not None:
            status, headers = 429, {"Retry-After": str(wait)}
        if failure is not None and failure.lose:
            _cut(request)
        return web.json_response(answer, status=status, headers=headers)

    def _scripted(self, request: web.Request, failure: Failure) -> web.Response | None:
        headers = {} if failure.retry_after is None else {"Retry-After": str(failure.retry_after)}
        if failure.drop:
            _cut(request)
            return web.Response()
        if failure.error:
            status = 429 if failure.error == "ratelimited" else 200
            return web.json_response({"ok": False, "error": failure.error}, status=status, headers=headers)
        if failure.status:
            return web.Response(
                status=failure.status, text=failure.body, content_type=failure.content_type, headers=headers
            )
        return None

    def _author(self, request: web.Request) -> str:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme != "Bearer" or not token:
            raise _RefusedError("not_authed")
        if token == self.token:
            return "B0TOCSIN"
        if token in self.other_tokens:
            return self.other_tokens[token]
        raise _RefusedError("invalid_auth")

    def _channel(self, name: object, *, by_id: bool = False) -> Channel:
        found = self.channels.get(str(name))
        if found is None and not by_id:
            found = next((c for c in self.channels.values() if c.name == str(name).removeprefix("#")), None)
        if found is None:
            raise _RefusedError("channel_not_found")
        if found.archived:
            raise _RefusedError("is_archived")
        if not found.member:
            raise _RefusedError("not_in_channel")
        return found

    def _limit(self, what: str, per_s: float, burst: float) -> None:
        now = self._monotonic()
        bucket = self._buckets.setdefault(what, _Bucket(per_s, burst, now))
        inside = now < bucket.closed_until
        if wait := bucket.take(now):
            self.throttled += 1
            self.abuse += inside
            raise _RefusedError("ratelimited", retry_after=wait)

    def _limit_posts(self, channel: Channel) -> None:
        self._limit(f"post {channel.id}", self._posts_per_s, self._burst)

    def _unknown(self, author: str, arguments: dict[str, Any]) -> dict[str, Any]:
        raise _RefusedError("unknown_method")

    def _auth_test(self, author: str, arguments: dict[str, Any]) -> dict[str, Any]:
        return {"url": "https://fake.slack.com/", "team": "Fake", "user": "tocsin", "bot_id": author}

    def _post(self, author: str, arguments: dict[str, Any]) -> dict[str, Any]:
        channel = self._channel(arguments.get("channel"))
        self._limit_posts(channel)
        blocks, text, metadata = _content(arguments)
        thread_ts = arguments.get("thread_ts")
        if thread_ts is not None:
            root = self._find(channel, thread_ts)
            if root is None:
                raise _RefusedError("thread_not_found")
            if root.thread_ts is not None:
                raise _RefusedError("cannot_reply_to_message")
        warning: dict[str, Any] = {}
        if len(text) > _TEXT_LIMIT:
            text = text[:_TEXT_LIMIT]
            warning = {
                "warning": "message_truncated",
                "response_metadata": {"warnings": ["message_truncated"]},
            }
        message = self._add(channel, author, text, blocks)
        message.metadata = metadata
        message.thread_ts = thread_ts
        message.broadcast = bool(arguments.get("reply_broadcast"))
        message.link_names = bool(arguments.get("link_names")) or arguments.get("parse") == "full"
        return {"channel": channel.id, "ts": message.ts, "message": _as_json(message), **warning}

    def _update(self, author: str, arguments: dict[str, Any]) -> dict[str, Any]:
        channel = self._channel(arguments.get("channel"), by_id=True)
        self._limit("update", self._updates_per_min / 60, self._updates_per_min)
        message = self._find(channel, arguments.get("ts"))
        if message is None:
            raise _RefusedError("message_not_found")
        if message.author != author:
            raise _RefusedError("cant_update_message")
        if message.ts in self.uneditable:
            raise _RefusedError(self.uneditable[message.ts])
        blocks, text, metadata = _content(arguments)
        if len(text) > _TEXT_LIMIT:
            raise _RefusedError("msg_too_long")
        message.edits.append((message.text, message.blocks))
        message.text, message.blocks = text, blocks
        message.metadata = metadata if metadata is not None else message.metadata
        return {"channel": channel.id, "ts": message.ts, "text": text, "message": _as_json(message)}

    def _history(self, author: str, arguments: dict[str, Any]) -> dict[str, Any]:
        channel = self._channel(arguments.get("channel"), by_id=True)
        found = [m for m in self.roots if m.channel == channel.id]
        return _page(found[::-1], arguments)

    def _replies(self, author: str, arguments: dict[str, Any]) -> dict[str, Any]:
        root = self._find(self._channel(arguments.get("channel"), by_id=True), arguments.get("ts"))
        if root is None:
            raise _RefusedError("thread_not_found")
        return _page([root, *self.replies(root)], arguments)

    def _find(self, channel: Channel, ts: object) -> Posted | None:
        return next((m for m in self.messages if m.channel == channel.id and m.ts == ts), None)

    def _add(self, channel: Channel, author: str, text: str, blocks: list[dict[str, Any]]) -> Posted:
        last = float(self.messages[-1].ts) if self.messages else _FIRST_TS
        message = Posted(channel.id, f"{last + 1:.6f}", author, text, blocks)
        self.messages.append(message)
        return message

    # Incoming webhooks.

    async def _webhook(self, request: web.Request) -> web.StreamResponse:
        failure = self._failures.popleft() if self._failures else None
        if failure is not None and (scripted := self._scripted(request, failure)):
            return scripted
        if f"{self._origin}{request.path}" != self.webhook_url:
            return web.Response(status=404, text="no_service")
        try:
            self._hook(await request.json())
        except ValueError:
            return web.Response(status=400, text="invalid_payload")
        except _RefusedError as refused:
            if wait := refused.answer.get("retry_after"):
                return web.Response(status=429, text="rate_limited", headers={"Retry-After": str(wait)})
            status = {"channel_is_archived": 410}.get(str(refused), 400)
            return web.Response(status=status, text=str(refused))
        if failure is not None and failure.lose:
            _cut(request)
        return web.Response(text="ok")

    def _hook(self, arguments: dict[str, Any]) -> None:
        self.calls.append(("webhook", arguments))
        channel = next(iter(self.channels.values()))
        if channel.archived:
            raise _RefusedError("channel_is_archived")
        self._limit_posts(channel)
        blocks, text, _ = _content(arguments)
        self._add(channel, "B0HOOK", text[:_TEXT_LIMIT], blocks)


_METHODS: dict[str, Callable[[SlackFake, str, dict[str, Any]], dict[str, Any]]] = {
    "auth.test": SlackFake._auth_test,
    "chat.postMessage": SlackFake._post,
    "chat.update": SlackFake._update,
    "conversations.history": SlackFake._history,
    "conversations.replies": SlackFake._replies,
}


async def _arguments(request: web.Request) -> dict[str, Any]:
    if request.content_type == "application/json":
        try:
            body = await request.json()
        except ValueError:
            raise _RefusedError("invalid_json") from None
        if not isinstance(body, dict):
            raise _RefusedError("json_not_object")
        return body
    return {**request.query, **await request.post()}


def _content(arguments: dict[str, Any]) -> tuple[list[dict[str, Any]], str, dict[str, Any] | None]:
    """Return blocks, text and metadata of a message that Slack would take."""
    text = arguments.get("text") or ""
    blocks = arguments.get("blocks") or []
    if not text and not blocks:
        raise _RefusedError("no_text")
    if wrong := problem(blocks):
        raise _RefusedError(
            "invalid_blocks", errors=[wrong], response_metadata={"messages": [f"[ERROR] {wrong}"]}
        )
    if block_text_length(blocks) > BLOCK_TEXT_LIMIT:
        raise _RefusedError("msg_blocks_too_long")
    metadata = arguments.get("metadata")
    if metadata is not None and not (
        isinstance(metadata, dict)
        and isinstance(metadata.get("event_type"), str)
        and isinstance(metadata.get("event_payload"), dict)
    ):
        raise _RefusedError("invalid_metadata_format")
    return blocks, text, metadata


def _as_json(message: Posted, *, with_metadata: bool = True) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "type": "message",
        "ts": message.ts,
        "bot_id": message.author,
        "text": message.text,
        "blocks": message.blocks,
    }
    if message.thread_ts is not None:
        shown["thread_ts"] = message.thread_ts
    if with_metadata and message.metadata is not None:
        shown["metadata"] = message.metadata
    return shown


def _page(messages: list[Posted], arguments: dict[str, Any]) -> dict[str, Any]:
    limit = int(arguments.get("limit", 100))
    with_metadata = str(arguments.get("include_all_metadata", "")).lower() in {"1", "true"}
    shown = [_as_json(message, with_metadata=with_metadata) for message in messages[:limit]]
    return {"messages": shown, "has_more": len(messages) > limit}


def _cut(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.abort()
