"""Lean polling: records as aiokafka's C parser made them, without a Python object built for each.

`getmany` makes a ConsumerRecord of every record, which costs more than scanning it does. A fetched
partition builds them through one method of its own, which is replaced here, on that one object, before it is
read: what comes out has the same `offset`, `timestamp`, `key`, `value` and `headers`. Where aiokafka's inside
looks different from what is expected, nothing is replaced and ConsumerRecords come out: slower, not wrong.
Measured: `benchmarks/detect.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from aiokafka import AIOKafkaConsumer, TopicPartition

__all__ = ["poll_lean"]


async def poll_lean(
    consumer: AIOKafkaConsumer, timeout_ms: int, max_records: int | None = None
) -> Mapping[TopicPartition, Sequence[Any]]:
    """Return the next records of each partition, as `getmany` does.

    Args:
        consumer: a started consumer without deserializers.
        timeout_ms: how long to wait when nothing has been fetched, in milliseconds.
        max_records: how many records to return at the most.
    """
    records = _slim(consumer) and await consumer.getmany(timeout_ms=0, max_records=max_records)
    if records:
        return records  # type: ignore[no-any-return]  # aiokafka is untyped
    # Nothing there yet. What arrives while this waits comes the ordinary way.
    return await consumer.getmany(timeout_ms=timeout_ms, max_records=max_records)  # type: ignore[no-any-return]


def _slim(consumer: AIOKafkaConsumer) -> bool:
    """Replace the builder of every partition that has been fetched and not been read yet."""
    fetched = getattr(getattr(consumer, "_fetcher", None), "_records", None)
    if not isinstance(fetched, dict):
        return True
    for result in fetched.values():
        records = getattr(result, "_partition_records", None)
        if records is not None and hasattr(records, "_consumer_record"):
            records._consumer_record = _as_it_is  # noqa: SLF001 — the one place; see above
    return True


def _as_it_is(_partition: object, record: object) -> object:
    return record
