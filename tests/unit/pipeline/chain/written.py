"""A topic in memory, written as a handler's delivery writes it: chained, with drops and failures."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.chain.form import ChainKeys, StoredRecord
from pipeline.chain.topic import TopicCheck
from producers.event.renderer import RenderedEvent
from producers.kafka.chain import Chain
from producers.kafka.queue import Record

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pipeline.chain.finding import Finding
    from pipeline.chain.partition import Limits, Mark
    from pipeline.chain.topic import TopicReport

__all__ = ["KEY", "OTHER_KEY", "Written", "changed", "kinds", "verify"]

KEY = b"0123456789abcdef0123456789abcdef"
OTHER_KEY = b"another key than the one above"


class Written:
    """A topic, and the handlers that write to it with one key."""

    def __init__(self, topic: str = "logs", key: bytes = KEY) -> None:
        self.chain = Chain(key, topic)
        self.partitions: dict[int, list[StoredRecord]] = {0: []}
        self._seqs: dict[tuple[bytes, bytes], int] = {}
        self._times = 1_700_000_000_000

    @property
    def log(self) -> list[StoredRecord]:
        return self.partitions[0]

    def event(self, source: bytes = b"s" * 16, key: bytes = b"shop", value: bytes = b"") -> Record:
        """The next record of a source and key, not sent yet."""
        seq = self._seqs.get((source, key), 0)
        self._seqs[source, key] = seq + 1
        self._times += 1
        value = value or b'{"event":"%s %d"}' % (key, seq)
        return Record(RenderedEvent(value, key, self._times, "info"), source, seq)

    def events(self, count: int, source: bytes = b"s" * 16, key: bytes = b"shop") -> list[Record]:
        return [self.event(source, key) for _ in range(count)]

    def drop(self, count: int, source: bytes = b"s" * 16, key: bytes = b"shop") -> None:
        """Log what finds no room: its numbers are used up."""
        self.events(count, source, key)

    def send(
        self, records: list[Record], partition: int = 0, *, stored: bool = True, acknowledged: bool = True
    ) -> None:
        """Send a batch, as `Delivery._send_share` does."""
        links = self.chain.links(partition)
        log = self.partitions.setdefault(partition, [])
        for record in records:
            event = record.event
            headers = (("source", record.source), ("seq", b"%d" % record.seq), links.header(record))
            if stored:
                log.append(StoredRecord(len(log), event.time_ms, event.key, event.value, headers))
        if acknowledged:
            self.chain.arrived(records)

    def write(self, count: int, source: bytes = b"s" * 16, key: bytes = b"shop") -> None:
        """Log and send some events, as one batch."""
        self.send(self.events(count, source, key))


def changed(record: StoredRecord, **changes: object) -> StoredRecord:
    """Return a record with other attributes; a header by its name."""
    headers = tuple((name, changes.pop(name, value)) for name, value in record.headers)
    whole = {f: getattr(record, f) for f in record.__struct_fields__} | {"headers": headers} | changes
    return StoredRecord(**whole)  # type: ignore[arg-type]  # as the test says


def numbered(log: Iterable[StoredRecord], start: int = 0) -> list[StoredRecord]:
    """Return records with offsets that leave no hole: whoever rewrites a log can give new ones."""
    return [changed(record, offset=start + n) for n, record in enumerate(log)]


def verify(
    log: Iterable[StoredRecord] | Mapping[int, Iterable[StoredRecord]],
    *keys: bytes,
    topic: str = "logs",
    start: int = 0,
    end: int | None = None,
    known: Mark | None = None,
    limits: Limits | None = None,
    allow_unchained: bool = False,
    max_findings: int = 1_000,
) -> TopicReport:
    """Verify a log, or the logs of several partitions."""
    check = TopicCheck(
        topic,
        ChainKeys(keys or (KEY,)),
        allow_unchained=allow_unchained,
        limits=limits,
        max_findings=max_findings,
    )
    logs = log if isinstance(log, dict) else {0: log}
    for number, records in logs.items():
        one = check.partition(number, start=start, whole=start == 0, known=known)
        for record in records:
            one.record(record)
        one.finish(one.end if end is None else end)
    return check.finish()


def kinds(found: TopicReport | Iterable[Finding]) -> list[tuple[str, int]]:
    """Return kind and offset of each finding."""
    findings = getattr(found, "findings", found)
    return [(f.kind.value, f.offset) for f in findings]
