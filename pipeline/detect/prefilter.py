"""The prefilter: which records of a batch could match which rules, told from raw bytes in one scan.

The values of a batch are joined and scanned once by a Hyperscan database of all witnesses; a hit's position
tells the record. A record in which escapes or folding may hide something is scanned once more, without them.
Whatever is not reported is certain not to match. (Design: "Detection, fast".)
"""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from itertools import accumulate
from typing import TYPE_CHECKING, Protocol

import hyperscan

from pipeline.sigma.witness.spelling import HATCHES, unhidden
from pipeline.sigma.witness.witness import witness_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pipeline.sigma.form import Rule
    from pipeline.sigma.witness.witness import Needled

__all__ = ["DatabaseStore", "Prefilter"]

_SEPARATOR = b"\n"
# Hyperscan takes at most 4 GiB a scan; far less keeps a batch's copy small.
_MAX_SCAN_BYTES = 64 * 1024 * 1024
_FLAGS = hyperscan.HS_FLAG_CASELESS
_MODE = hyperscan.HS_MODE_BLOCK
_PATTERN_BITS = 32
_PATTERN_MASK = (1 << _PATTERN_BITS) - 1
_DIGEST_BYTES = hashlib.sha256().digest_size
# Sets of hits whose rules are kept, for most events hit the same few patterns; and of how many rules.
_MAX_KNOWN = 1024
_MAX_KNOWN_RULES = 256


class DatabaseStore(Protocol):
    """Keeps compiled databases between runs."""

    def load(self, key: str) -> bytes | None:
        """Return what was saved under a key, or None."""
        ...

    def save(self, key: str, data: bytes) -> None:
        """Keep `data`; where that can't be, it is made anew another time."""
        ...


class Prefilter:
    """One scan for a fixed set of rules.

    Attributes:
        always: ids of the rules without a witness; they must see every event.
    """

    def __init__(self, rules: Sequence[Rule | Needled], databases: DatabaseStore | None = None) -> None:
        """Compile the database of all witnesses of `rules`, or take it from `databases`."""
        wanted: dict[str, list[str]] = {}
        always: list[str] = []
        for rule in rules:
            found = witness_of(rule)
            if found is None:
                always.append(rule.about.id)
                continue
            for pattern in sorted(found.patterns):
                wanted.setdefault(pattern, []).append(rule.about.id)
        self.always: tuple[str, ...] = tuple(always)
        self._rules: list[frozenset[str]] = [frozenset(ids) for ids in wanted.values()]
        self._known: dict[frozenset[int], frozenset[str]] = {}
        self._database: hyperscan.Database | None = None
        if wanted:
            expressions = [pattern.encode("latin-1") for pattern in (*wanted, *HATCHES)]
            self._database = _database(expressions, databases)

    def candidates(self, values: Sequence[bytes]) -> Mapping[int, frozenset[str]]:
        """Return, for the position of each record that could match, the ids of the rules it could match.

        Args:
            values: the raw records of one batch.
        """
        database = self._database
        if database is None or not values:
            return {}
        if len(values) > 1 and sum(map(len, values)) > _MAX_SCAN_BYTES:
            half = len(values) // 2
            found = dict(self.candidates(values[:half]))
            found.update((i + half, ids) for i, ids in self.candidates(values[half:]).items())
            return found
        records = _hits(database, values)
        hatch = len(self._rules)
        found = {}
        for record, patterns in records.items():
            if max(patterns) >= hatch:
                for hits in _hits(database, unhidden(values[record])).values():
                    patterns.update(hits)
                patterns.difference_update(range(hatch, hatch + len(HATCHES)))
            if patterns:
                found[record] = self._of(frozenset(patterns))
        return found

    def _of(self, patterns: frozenset[int]) -> frozenset[str]:
        known = self._known.get(patterns)
        if known is not None:
            return known
        ids = frozenset[str]().union(*(self._rules[p] for p in patterns))
        if len(ids) <= _MAX_KNOWN_RULES:
            if len(self._known) >= _MAX_KNOWN:
                self._known.clear()
            self._known[patterns] = ids
        return ids


def _hits(database: hyperscan.Database, values: Sequence[bytes]) -> dict[int, set[int]]:
    """Return the patterns that hit each record, by its position."""
    # End and pattern in one integer each: a list of tuples would keep the garbage collector busy.
    hits: list[int] = []
    append = hits.append

    def on_hit(pattern: int, _start: int, end: int, _flags: int, _context: object) -> None:
        append(end << _PATTERN_BITS | pattern)

    database.scan(_SEPARATOR.join((b"", *values, b"")), match_event_handler=on_hit)
    if not hits:
        return {}
    # separators[i] stands before record i. A hit may end with the separator behind its record, for a
    # pattern may ask what follows a value; one that spans records is no more than a needless look.
    separators = list(accumulate(map((1).__add__, map(len, values)), initial=0))
    records: dict[int, set[int]] = {}
    begin, beyond, known = 0, 0, set[int]()
    for hit in hits:
        # Most are in the record of the one before.
        if not begin <= hit < beyond:
            record = bisect_left(separators, (hit >> _PATTERN_BITS) - 1) - 1
            begin = separators[record] + 2 << _PATTERN_BITS
            beyond = separators[record + 1] + 2 << _PATTERN_BITS
            known = records.setdefault(record, set())
        known.add(hit & _PATTERN_MASK)
    return records


def _database(expressions: Sequence[bytes], store: DatabaseStore | None) -> hyperscan.Database:
    """Return the database of some expressions, whose ids are their positions."""
    if store is None:
        return _compiled(expressions)
    version: str = hyperscan.__version__  # type: ignore[attr-defined]  # its stubs lack it
    settings = f"{version} {_MODE} {_FLAGS}".encode()
    # Lengths keep expressions apart.
    named = b"".join(b"%d:%b" % (len(e), e) for e in (settings, *expressions))
    key = hashlib.sha256(named).hexdigest()
    kept = store.load(key)
    database = None if kept is None else _loaded(key, kept)
    if database is None:
        database = _compiled(expressions)
        data = hyperscan.dumpb(database)
        store.save(key, _digest(key, data) + data)
    return database


def _digest(key: str, data: bytes) -> bytes:
    return hashlib.sha256(key.encode() + data).digest()


def _loaded(key: str, kept: bytes) -> hyperscan.Database | None:
    """Return the database that was saved under a key, or None if this is another, or not of this machine."""
    data = kept[_DIGEST_BYTES:]
    if kept[:_DIGEST_BYTES] != _digest(key, data):
        return None
    try:
        database = hyperscan.loadb(data, _MODE)
        database.scratch = hyperscan.Scratch(database)
        database.scan(_SEPARATOR, match_event_handler=lambda *_: None)
    except hyperscan.error:
        return None
    return database


def _compiled(expressions: Sequence[bytes]) -> hyperscan.Database:
    database = hyperscan.Database(mode=_MODE)
    database.compile(
        expressions=expressions,
        ids=list(range(len(expressions))),
        elements=len(expressions),
        flags=[_FLAGS] * len(expressions),
    )
    return database
