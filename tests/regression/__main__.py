"""SigmaHQ's regression data: each case's event must fire its rules, with all rules loaded at once.

    python -m tests.regression RULES CASES

RULES is a folder, CASES a file of JSON lines with `rule_ids` and `events`. Each event goes through the
whole detect stage, prefilter and log sources included, as one of a source that declares nothing. What fires
besides is listed. Neither is part of the project: they are under licences of their own.
"""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

import orjson

from benchmarks.sigma import load_all
from pipeline.detect.detect import Detect, Source
from pipeline.detection import Detection
from pipeline.event import Batch, Partition

_NOW_MS = 1_795_537_450_000


def main(rules: str, cases: str) -> int:
    """Run all cases; return 1 if one does not fire."""
    loaded = load_all(rules)
    detect = Detect(loaded, lateness_ms=30_000, idle_timeout_ms=60_000)
    source = Partition("cases")
    detect.open(source, Source("auto"), 0, _NOW_MS)
    others: Counter[str] = Counter()
    fired = events = 0
    silent: list[str] = []
    lines = Path(cases).read_bytes().splitlines()
    for case in map(orjson.loads, lines):
        found: set[str] = set()
        for event in case["events"]:
            values = [orjson.dumps(event)]
            records = detect.process(Batch(source, [events], [_NOW_MS], values), _NOW_MS)
            found |= {r.rule for r in records if isinstance(r, Detection)}
            events += 1
        wanted = set(case["rule_ids"])
        if wanted <= found:
            fired += 1
        else:
            silent.append(f"{case['path']}: {', '.join(wanted - found)} did not fire")
        others.update(found - wanted)
    for line in silent:
        sys.stdout.write(line + "\n")
    sys.stdout.write(f"{fired} of {len(lines)} cases fire, {len(loaded.rules):,} rules loaded\n")
    sys.stdout.write(f"{others.total()} other matches in {events} events:\n")
    for rule, count in others.most_common():
        about = loaded.rules[rule].about
        sys.stdout.write(f"  {count:3} {about.level:13} {about.title} ({rule})\n")
    return 1 if silent else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
