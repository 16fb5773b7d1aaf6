"""Control: the topic over which a worker asks services for what their recorders keep.

Asking is never worth a delay of what was found: it takes a second at the most, and where Kafka does not take
a request it is said once and left alone for a while.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec
import structlog
from aiokafka.errors import KafkaError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from aiokafka import AIOKafkaProducer

    from pipeline.alert import Alert
    from pipeline.control import RecorderRequest, RecorderRequests

__all__ = ["Control"]

_WITHIN_S = 1.0
_PAUSE_MS = 300_000
_log = structlog.get_logger("tocsin.control")


class Control:
    """Writes requests for one process that correlates."""

    def __init__(self, requests: RecorderRequests, topic: str, clock_ms: Callable[[], int]) -> None:
        """Begin with nothing asked.

        Args:
            requests: decides what to ask for.
            topic: the name of the topic.
            clock_ms: the wall clock.
        """
        self._requests = requests
        self._topic = topic
        self._clock_ms = clock_ms
        self._encoder = msgspec.json.Encoder()
        self._paused_until_ms = 0

    async def ask(self, producer: AIOKafkaProducer, alerts: Sequence[Alert]) -> None:
        """Ask for what alerts that have just changed make worth asking for; never raises for Kafka.

        Args:
            producer: the stage's.
            alerts: as they stand now.
        """
        now_ms = self._clock_ms()
        requests = self._requests.requests(alerts, now_ms) if alerts else []
        if not requests or now_ms < self._paused_until_ms:
            return
        try:
            # A topic that is not there is waited for, by aiokafka itself for long.
            async with asyncio.timeout(_WITHIN_S):
                sent = [await self._send(producer, request) for request in requests]
                await asyncio.wait(sent)
            for future in sent:
                future.result()
        except (KafkaError, TimeoutError) as error:
            self._paused_until_ms = now_ms + _PAUSE_MS
            _log.warning(
                "services can't be asked for what their recorders keep",
                topic=self._topic,
                error=str(error) or type(error).__name__,
            )
            return
        for request in requests:
            _log.info(
                "asked a service for what its recorders keep",
                service=request.service,
                alert=request.alert,
                traces=len(request.traces) or "all",
            )

    async def _send(self, producer: AIOKafkaProducer, request: RecorderRequest) -> asyncio.Future[Any]:
        value = self._encoder.encode(request)
        key = request.key.encode("utf-8", "replace")
        future: asyncio.Future[Any] = await producer.send(self._topic, value=value, key=key)
        # Where nobody waits for it any more its error is nobody's.
        future.add_done_callback(_looked_at)
        return future


def _looked_at(future: asyncio.Future[Any]) -> None:
    if not future.cancelled():
        future.exception()
