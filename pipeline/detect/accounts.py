"""Accounts of sources: which records of a partition are missing, repeated, or out of their order.

A record of Tocsin's handler names its source, and its number among that source's records with the same key
(docs/decisions/0010-accounts-of-sources.md). A number that younger ones have passed is awaited for the
lateness, then counts as lost, and is still known if it comes after all. A record is called repeated only if
its number was certainly read before: what an account doesn't know is examined like any other record.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.detect.silence import Service, Silence, Voice
from pipeline.detect.statements import began_ms, is_goodbye, stated, times_by_key, where
from pipeline.detect.words import OWN_SOURCE, Words

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipeline.detect.words import SourceCounts, SourceEvent
    from pipeline.event import Batch

__all__ = ["Account"]

_MAX_SERIES = 10_000
_MAX_GAPS = 32
_MAX_ALL_GAPS = 10_000
_MAX_NUMBER = 10**18
_MAX_DIGITS = 20
_MAX_SOURCE_BYTES = 64
# The handler cuts names of services at 256 characters; as bytes they are longer, escapes the longest.
_MAX_KEY_BYTES = 4_096
# Time passes in steps of this at the most: a process that was stopped has not listened meanwhile.
_MAX_STEP_MS = 2_000
# How far the clock of a host may be ahead of ours.
_SKEW_MS = 60_000
_NONE: frozenset[int] = frozenset()
_NO_NUMBER = -2


class _Gap:
    """Numbers that were passed over.

    Attributes:
        first: the first of them.
        end: the number behind the last.
        passed_ms: the record time of the record that passed them.
        since_ms: when that was, in milliseconds of listening.
        lost: whether they count as lost.
    """

    __slots__ = ("end", "first", "lost", "passed_ms", "since_ms")

    def __init__(self, first: int, end: int, passed_ms: int, since_ms: int, *, lost: bool = False) -> None:
        self.first = first
        self.end = end
        self.passed_ms = passed_ms
        self.since_ms = since_ms
        self.lost = lost


class _Series(Voice):
    """The records of one source with one key.

    What was read are the numbers from `base` to before `next`, but for the gaps. Below the base nothing is
    known.

    Attributes:
        source: the source.
        service: whose it is.
        host: where it runs; empty for not said.
        base: see above.
        next: see above.
        gaps: in order; none of them is empty.
        latest_ms: its highest record time.
        turn: the batch that it was last heard in.
        begin: the first place of its records in that batch.
        last: the last one.
    """

    __slots__ = ("base", "begin", "gaps", "host", "last", "latest_ms", "next", "service", "source", "turn")

    def __init__(self, source: bytes, service: Service, host: str, base: int) -> None:
        super().__init__()
        self.source = source
        self.service = service
        self.host = host
        self.base = self.next = base
        self.gaps: list[_Gap] = []
        self.latest_ms = 0
        self.turn = self.begin = self.last = 0


class Account:
    """The account of one partition, from where its reading began. Times are milliseconds since the epoch.

    Attributes:
        offset: behind the last record that was entered.
        told_ms: when `tell` was called last.
    """

    def __init__(
        self, counts: SourceCounts, *, opened_ms: int, lateness_ms: int, silence_ms: int = 0, offset: int = 0
    ) -> None:
        """Begin; nothing is known of what was written before.

        Args:
            counts: what is found is counted here.
            opened_ms: the wall clock.
            lateness_ms: how long numbers are awaited before they count as lost.
            silence_ms: how long a regular service is quiet before that is told; 0: it never is.
            offset: where reading begins.
        """
        self.offset = offset
        self.told_ms = opened_ms
        self._counts = counts
        self._opened_ms = opened_ms
        self._lateness_ms = lateness_ms
        self._silence = Silence(silence_ms)
        self._words = Words(counts)
        self._series: dict[tuple[bytes, bytes], _Series] = {}
        self._services: dict[bytes, Service] = {}
        # Those with gaps that don't count as lost yet.
        self._awaiting: dict[_Series, None] = {}
        self._gaps = 0
        self._turn = 0
        # How long the partition has been read to its end, and watched there.
        self._listened_ms = 0

    @property
    def sources(self) -> int:
        """How many sources are known, those of several services once for each."""
        return len(self._series)

    @property
    def silent(self) -> int:
        """How many services are silent."""
        return self._silence.silent

    def take(self, batch: Batch, now_ms: int) -> frozenset[int]:  # noqa: C901, PLR0912 - one hot loop: a call costs more than what it would do
        """Enter the records of a batch, each once and in the order of their offsets.

        Args:
            batch: with its headers and keys.
            now_ms: the wall clock.

        Returns:
            The offsets of records that were read before.
        """
        self.offset = batch.offsets[-1] + 1 if batch.offsets else self.offset
        if not any(batch.headers):
            return _NONE
        self._turn = turn = self._turn + 1
        known = self._series
        heard: list[_Series] = []
        repeated: list[int] = []
        # What the record before was of: a source's records come in runs, and a run is looked up once.
        series: _Series | None = None
        source: bytes | None = None
        key: bytes | None = None
        due = _NO_NUMBER
        for i, (its_key, headers) in enumerate(zip(batch.keys, batch.headers, strict=True)):
            number, its_source = -1, None
            if len(headers) > 1:
                (name, its_source), (other, written) = headers if len(headers) == 2 else headers[:2]
                if name != "source" or other != "seq":
                    its_source, written = stated(headers)
                # To read thousands of digits takes long.
                if written and len(written) <= _MAX_DIGITS:
                    try:
                        number = int(written)
                    except ValueError:
                        its_source = None
                else:
                    its_source = None
            if its_source != source or its_key != key:
                if series is not None:
                    series.next, series.last = due, i - 1
                source, key = its_source, its_key
                series, due = None, _NO_NUMBER
                if source and key is not None:
                    series = known.get((source, key)) or self._begin(
                        source, key, number, batch.values[i], now_ms
                    )
                if series is not None:
                    due = series.next
                    if series.turn != turn:
                        series.turn, series.begin = turn, i
                        heard.append(series)
            if number == due:
                due += 1
            elif series is not None:
                series.next = due
                if self._place(series, number, batch.times_ms[i]):
                    repeated.append(batch.offsets[i])
                due = series.next
        if series is not None:
            series.next, series.last = due, len(batch.headers) - 1
        self._hear(heard, batch, now_ms)
        self._counts.repeated += len(repeated)
        return frozenset(repeated)

    def tell(self, now_ms: int, time_ms: int, *, at_end: bool) -> list[SourceEvent]:
        """Let time pass; return what is to be said of the sources. To be called every second or so.

        Args:
            now_ms: the wall clock.
            time_ms: the time that events about sources are to have.
            at_end: whether the partition has been read to its end, now.
        """
        step_ms, self.told_ms = now_ms - self.told_ms, now_ms
        if at_end:
            self._listened_ms += max(0, min(step_ms, _MAX_STEP_MS))
        for series in list(self._awaiting):
            self._look(series)
        for service, quiet_ms in self._silence.due(self._services.values(), self._listened_ms):
            self._words.silent(service, quiet_ms)
        return self._words.due(now_ms, time_ms)

    # --- sources --------------------------------------------------------------------------------------

    def _begin(
        self, source: bytes, key: bytes, number: int, value: bytes | None, now_ms: int
    ) -> _Series | None:
        """Open the account of a source and key; None where what they say can't be."""
        if not 0 <= number < _MAX_NUMBER or len(source) > _MAX_SOURCE_BYTES or len(key) > _MAX_KEY_BYTES:
            return None
        if source.startswith(OWN_SOURCE):
            return None
        if len(self._series) >= _MAX_SERIES:
            self._make_room()
            # Who began before now may be one that was forgotten.
            self._opened_ms = max(self._opened_ms, now_ms)
        service = self._services.get(key)
        if service is None:
            service = self._services[key] = Service(key)
        environment, host = where(value)
        service.environment = environment or service.environment
        # Of a source that began after our reading every record is here; of others some may stand before.
        whole = self._opened_ms + _SKEW_MS < began_ms(source) <= now_ms + _SKEW_MS
        base = 0 if whole else number
        series = self._series[source, service.key] = _Series(source, service, host, base)
        service.voices.add(series)
        return series

    def _hear(self, heard: Sequence[_Series], batch: Batch, now_ms: int) -> None:
        """Note who was heard in a batch."""
        times_ms = batch.times_ms
        for series in heard:
            series.latest_ms = max(series.latest_ms, times_ms[series.last])
            series.heard_ms = self._listened_ms
        if not self._silence.told:
            return
        # The times of each key's records, if they are needed; few batches are long enough for a pause.
        all_ms: dict[bytes | None, list[int]] | None = None
        for series in heard:
            series.ended = is_goodbye(batch.values[series.last])
            service = series.service
            own_ms: Sequence[int] = (times_ms[series.begin], times_ms[series.last])
            if own_ms[1] - own_ms[0] > self._silence.pause_ms:
                # There may be a long pause within.
                if all_ms is None:
                    all_ms = times_by_key(batch)
                own_ms = all_ms.pop(service.key, own_ms)
            quiet_ms = self._silence.hear(service, own_ms, now_ms, self._listened_ms)
            if quiet_ms is not None:
                self._words.back(service, quiet_ms)

    def _make_room(self) -> None:
        """Forget the sources that have been silent for longest, an eighth of all."""
        oldest = sorted(self._series.items(), key=lambda item: item[1].turn)[: _MAX_SERIES // 8]
        for key, series in oldest:
            del self._series[key]
            while series.gaps:
                self._forget(series)
            self._awaiting.pop(series, None)
            service = series.service
            service.voices.discard(series)
            if not service.voices:
                self._silence.forget(service)
                del self._services[service.key]

    # --- numbers that are not the next ----------------------------------------------------------------

    def _place(self, series: _Series, number: int, time_ms: int) -> bool:
        """Enter a number out of its order; return whether its record was read before."""
        if number >= series.next:
            if number < _MAX_NUMBER:
                self._pass(series, number, time_ms)
            return False
        if number < series.base:
            return False
        for i, gap in enumerate(series.gaps):
            if gap.first <= number < gap.end:
                self._fill(series, i, number)
                return False
        return True

    def _pass(self, series: _Series, number: int, time_ms: int) -> None:
        """Await what is missing before a number."""
        series.gaps.append(_Gap(series.next, number, time_ms, self._listened_ms))
        series.next = number + 1
        self._awaiting[series] = None
        self._gaps += 1
        if len(series.gaps) > _MAX_GAPS or self._gaps > _MAX_ALL_GAPS:
            self._forget(series)

    def _fill(self, series: _Series, i: int, number: int) -> None:
        """Take a number out of a gap: its record has come after all."""
        gap = series.gaps[i]
        if gap.lost:
            self._counts.returned += 1
            self._words.returned(series.service)
        else:
            self._counts.reordered += 1
        behind = _Gap(number + 1, gap.end, gap.passed_ms, gap.since_ms, lost=gap.lost)
        gap.end = number
        left = [g for g in (gap, behind) if g.first < g.end]
        series.gaps[i : i + 1] = left
        self._gaps += len(left) - 1
        if len(series.gaps) > _MAX_GAPS or self._gaps > _MAX_ALL_GAPS:
            self._forget(series)

    def _look(self, series: _Series) -> None:
        """Count as lost what has been awaited for the lateness, by the source's own times or by listening."""
        awaiting = False
        for gap in series.gaps:
            if gap.lost:
                continue
            if (
                series.latest_ms - gap.passed_ms >= self._lateness_ms
                or self._listened_ms - gap.since_ms >= self._lateness_ms
            ):
                self._lose(series, gap)
            else:
                awaiting = True
        if not awaiting:
            del self._awaiting[series]

    def _lose(self, series: _Series, gap: _Gap) -> None:
        gap.lost = True
        self._counts.lose(series.service.name, gap.end - gap.first)
        self._words.lost(series.service, series.source, series.host, gap.first, gap.end - 1)

    def _forget(self, series: _Series) -> None:
        """Forget the oldest gap: nothing is known below its end any more."""
        gap = series.gaps.pop(0)
        self._gaps -= 1
        series.base = gap.end
        if not gap.lost:
            self._lose(series, gap)
