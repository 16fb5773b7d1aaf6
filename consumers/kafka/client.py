"""The Kafka client: how every consumer and producer of a worker is made and started."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.helpers import create_ssl_context

if TYPE_CHECKING:
    from pipeline.config.model import Kafka

__all__ = ["Client"]

_MAX_RECORD_BYTES = 2 * 1024 * 1024
_FETCH_BYTES = 4 * 1024 * 1024


class Client:
    """Makes consumers and producers with the options of the configuration.

    Attributes:
        options: what every client of aiokafka takes: where the brokers are, and how to speak to them.
        group: prefix of the consumer groups.
    """

    def __init__(self, kafka: Kafka) -> None:
        """Take the options over."""
        self.group = kafka.group
        # Any: aiokafka's options are of all types.
        self.options: dict[str, Any] = {"bootstrap_servers": kafka.bootstrap_servers, **kafka.client}
        if str(kafka.client.get("security_protocol", "")).endswith("SSL"):
            self.options["ssl_context"] = create_ssl_context(
                cafile=self.options.pop("ssl_cafile", None),
                certfile=self.options.pop("ssl_certfile", None),
                keyfile=self.options.pop("ssl_keyfile", None),
            )

    def consumer(self, stage: str) -> AIOKafkaConsumer:
        """Return a consumer of a stage's group, not started; it begins with the oldest record there is."""
        return AIOKafkaConsumer(
            **self.options,
            client_id=f"tocsin-{stage}",
            group_id=f"{self.group}-{stage}",
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
            max_partition_fetch_bytes=_FETCH_BYTES,
            fetch_max_wait_ms=100,
            max_poll_interval_ms=300_000,
            session_timeout_ms=10_000,
            heartbeat_interval_ms=2_000,
        )

    def producer(self, stage: str) -> AIOKafkaProducer:
        """Return a producer, not started: idempotent, so that what it repeats the broker keeps once."""
        return AIOKafkaProducer(
            **self.options,
            client_id=f"tocsin-{stage}",
            enable_idempotence=True,
            compression_type="lz4",
            max_request_size=_MAX_RECORD_BYTES,
            linger_ms=0,
        )
