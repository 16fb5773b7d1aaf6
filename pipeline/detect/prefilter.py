"""The prefilter: which records of a batch could match which rules, told from raw bytes in one scan.

The values of a batch are joined and scanned once by a Hyperscan database of all witnesses; a hit's position
tells the record. Whatever is not reported is certain not to match. (Design: "Detection, fast".)
"""

from __future__ import annotations

from bisect import bisect_left
from itertools import accumulate
from typing import TYPE_CHECKING

import hyperscan

from pipeline.sigma.spelling import HATCHES
from pipeline.sigma.witness import witness

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pipeline.sigma.form import Rule

__all__ = ["Prefilter"]

_SEPARATOR = b"\n"
# Hyperscan takes at most 4 GiB a scan; far less keeps a batch's copy small.
_MAX_SCAN_BYTES = 64 * 1024 * 1024


class Prefilter:
    """One scan for a fixed set of rules.

    Attributes:
        always: ids of the rules without a witness; they must see every event.
    """

    def __init__(self, rules: Sequence[Rule]) -> None:
        """Compile the database of all witnesses of `rules`."""
        wanted: dict[str, set[str]] = {}
        always: list[str] = []
        for rule in rules:
            found = witness(rule.condition)
            if found is None:
                always.append(rule.about.id)
                continue
            for pattern in found.patterns:
                wanted.setdefault(pattern, set()).add(rule.about.id)
        everyone = frozenset(r.about.id for r in rules) - set(always)
        self.always: tuple[str, ...] = tuple(always)
        self._database: hyperscan.Database | None = None
        self._rules: list[frozenset[str]] = []
        if not everyone:
            return
        expressions = [p.encode("latin-1") for p in wanted] + [h.encode("latin-1") for h in HATCHES]
        self._rules = [frozenset(ids) for ids in wanted.values()] + [everyone] * len(HATCHES)
        self._database = hyperscan.Database(mode=hyperscan.HS_MODE_BLOCK)
        self._database.compile(
            expressions=expressions,
            ids=list(range(len(expressions))),
            elements=len(expressions),
            flags=[hyperscan.HS_FLAG_CASELESS] * len(expressions),
        )

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
        joined = _SEPARATOR.join((b"", *values, b""))
        hits: list[tuple[int, int]] = []

        def on_hit(pattern: int, _start: int, end: int, _flags: int, _context: object) -> None:
            hits.append((end, pattern))

        database.scan(joined, match_event_handler=on_hit)
        if not hits:
            return {}
        # separators[i] stands before record i. A hit may end with the separator behind its record, for a
        # pattern may ask what follows a value; one that spans records is no more than a needless look.
        separators = list(accumulate(map((1).__add__, map(len, values)), initial=0))
        rules = self._rules
        records: dict[int, frozenset[str]] = {}
        for end, pattern in hits:
            record = bisect_left(separators, end - 1) - 1
            known = records.get(record)
            records[record] = rules[pattern] if known is None else known | rules[pattern]
        return records
