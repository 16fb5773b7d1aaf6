"""Delivery: the receivers as configured, and the outbox between them and the notify stage's shards."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from consumers.receivers.console import ConsoleReceiver
from consumers.receivers.jsonl import JsonLinesReceiver
from consumers.receivers.outbox import Outbox
from consumers.receivers.retry import Patience
from consumers.receivers.slack import SlackReceiver
from consumers.receivers.slack_webhook import SlackWebhookReceiver
from pipeline.notify.group import Integration
from pipeline.notify.notification import Notification, Result, Status

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from rich.console import Console

    from consumers.metrics import Metrics
    from consumers.receivers.receiver import Receiver
    from pipeline.config.model import Config, SlackConfig
    from pipeline.notify.notification import Intent
    from pipeline.notify.notify import Notify

__all__ = ["Built", "Delivery", "build_receivers"]

Built = dict[tuple[str, int], "tuple[Receiver, Integration]"]
"""Each integration, by the receiver's name and its position within it."""

_log = structlog.get_logger("tocsin.notify")


def build_receivers(config: Config, used: set[str], console: Console | None = None) -> Built:
    """Make each integration of each receiver that a route leads to.

    Args:
        config: the configuration, checked.
        used: names of the receivers that are routed to; others may lack their secrets.
        console: the terminal for those that write to one; its own for each unless given.
    """
    built: Built = {}
    patience: dict[str, Patience] = {}
    for receiver in config.receivers:
        if receiver.name not in used:
            continue
        made: list[tuple[Receiver, bool]] = [
            (_slack(config, slack, patience), slack.send_resolved) for slack in receiver.slack_configs
        ]
        made += [(ConsoleReceiver(console), c.send_resolved) for c in receiver.console_configs]
        made += [
            (JsonLinesReceiver(None if c.path == "-" else Path(c.path)), c.send_resolved)
            for c in receiver.jsonl_configs
        ]
        for index, (one, send_resolved) in enumerate(made):
            integration = Integration(receiver.name, index, one.edits, send_resolved)
            built[receiver.name, index] = one, integration
    return built


def _slack(config: Config, slack: SlackConfig, patience: dict[str, Patience]) -> Receiver:
    interval_s = slack.interval.ms / 1000
    token = slack.app_token or config.global_.slack_app_token
    if slack.api_url or not token:
        url = slack.api_url or config.global_.slack_api_url
        return SlackWebhookReceiver(url.reveal(), interval_s=interval_s, patience=_of(patience, url.reveal()))
    base = slack.app_url or config.global_.slack_app_url
    # Receivers of one channel share what Slack said of it; one that chooses has several.
    shared = _of(patience, f"{base} {slack.channel} {slack.channel_label}")
    return SlackReceiver(
        token.reveal(),
        slack.channel,
        base_url=base,
        interval_s=interval_s,
        patience=shared,
        channel_label=slack.channel_label,
        channels=slack.channels,
        replies_per_hour=slack.replies_per_hour,
    )


def _of(patience: dict[str, Patience], key: str) -> Patience:
    return patience.setdefault(key, Patience())


class Delivery:
    """What sends for all shards of the notify stage in this process.

    Attributes:
        shards: the shards that are owned now, by partition (0 where there is one).
        outbox: what waits and what is under way.
        sent: notifications that were delivered.
        failed: notifications that were not, whether for now or for good.
        on_recorded: called after each outcome, so that the ledger can be kept at once.
    """

    def __init__(
        self,
        receivers: Built,
        names: set[str],
        clock_ms: Callable[[], int],
        metrics: Metrics,
    ) -> None:
        """Begin without shards.

        Args:
            receivers: the integrations.
            names: of all receivers that are routed to; one may have no integration and tell nobody.
            clock_ms: the wall clock.
            metrics: where outcomes are counted.
        """
        self.shards: dict[int, Notify] = {}
        self.sent = 0
        self.failed = 0
        self.on_recorded: Callable[[], None] = lambda: None
        self._clock_ms = clock_ms
        self._metrics = metrics
        # Group keys and integrations of what is being sent; and while nothing may be, what wanted to.
        self._under_way: set[tuple[str, str, int]] = set()
        self._arrived = asyncio.Event()
        self._held: list[Intent] | None = None
        each = {key: receiver for key, (receiver, _) in receivers.items()}
        self.outbox = Outbox(each, self._compose, self._record)
        self.integrations: dict[str, list[Integration]] = {name: [] for name in sorted(names)}
        for (name, _), (_, integration) in receivers.items():
            self.integrations[name].append(integration)

    def submit(self, intents: Sequence[Intent]) -> None:
        """Queue intents."""
        for intent in intents:
            self.outbox.submit(intent)

    async def hold(self, within_s: float) -> None:
        """Begin no more sends, and wait until those under way have come to an end.

        Args:
            within_s: how long at most, in seconds.
        """
        if self._held is None:
            self._held = []
        try:
            async with asyncio.timeout(within_s):
                while self._under_way:
                    self._arrived.clear()
                    await self._arrived.wait()
        except TimeoutError:
            # They may be told once more: what comes of them is nobody's to record.
            _log.warning("messages were still under way", count=len(self._under_way))

    @asynccontextmanager
    async def paused(self, within_s: float) -> AsyncIterator[None]:
        """Hold sends back while shards change hands; those that were due meanwhile follow.

        Args:
            within_s: how long to wait for those under way, in seconds.
        """
        await self.hold(within_s)
        try:
            yield
        finally:
            held, self._held = self._held or [], None
            self.submit(held)

    def _owner(self, group_key: str) -> Notify | None:
        return next((s for s in self.shards.values() if s.owns(group_key)), None)

    def _compose(self, intent: Intent) -> Notification | None:
        # A shard that went to another worker takes its groups along: nothing is to be said here.
        shard = self._owner(intent.group_key)
        if shard is None:
            return None
        if self._held is not None:
            self._held.append(intent)
            return None
        notification = shard.compose(intent, self._clock_ms())
        if notification is not None:
            self._under_way.add((intent.group_key, intent.receiver, intent.integration))
        return notification

    def _record(self, notification: Notification, result: Result) -> None:
        now_ms = self._clock_ms()
        self._under_way.discard((notification.group_key, notification.receiver, notification.integration))
        self._arrived.set()
        shard = self._owner(notification.group_key)
        if shard is not None:
            shard.record(notification, result, now_ms)
        self._metrics.sent(notification, result, now_ms)
        if result.status is Status.SENT:
            self.sent += 1
        else:
            self.failed += 1
            _log.error(
                "notification was refused" if result.status is Status.REFUSED else "notification has failed",
                receiver=notification.receiver,
                group=notification.group_labels,
                reason=result.detail,
                retried=result.status is Status.FAILED,
            )
        self.on_recorded()
