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
    _slim(consumer)
    records = await consumer.getmany(timeout_ms=0, max_records=max_records)
    if records:
        return records
    # Nothing there yet. Waiting takes a single record the ordinary way; what came with it is slimmed then.
    first = await consumer.getmany(timeout_ms=timeout_ms, max_records=1)
    if not first or max_records == 1:
        return first
    _slim(consumer)
    rest = await consumer.getmany(timeout_ms=0, max_records=max_records and max_records - 1)
    return {tp: [*first.get(tp, ()), *rest.get(tp, ())] for tp in {**first, **rest}}


def _slim(consumer: AIOKafkaConsumer) -> None:
    """Replace the builder of every partition that has been fetched and not been read yet."""
    fetched = getattr(getattr(consumer, "_fetcher", None), "_records", None)
    if not isinstance(fetched, dict):
        return
    for result in fetched.values():
        records = getattr(result, "_partition_records", None)
        if records is not None and hasattr(records, "_consumer_record"):
            records._consumer_record = _as_it_is  # noqa: SLF001 — the one place; see above


def _as_it_is(_partition: object, record: object) -> object:
    return record
