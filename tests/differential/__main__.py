"""The differential test at length, on any rules and events.

    python -m tests.differential RULES… --events FILE --seed N --count N

Events are those of the file, changed here and there, and ones made so that the rules fire. Exits with 1 if
the prefilter would have hidden a match, and shows each.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

import orjson

from consumers.rules import rule_files
from pipeline.errors import RuleError
from pipeline.sigma.form import Rule
from pipeline.sigma.reader.read import read
from tests.differential.compare import Comparison
from tests.differential.made_rules import made_rules
from tests.differential.stream import events

if TYPE_CHECKING:
    from collections.abc import Sequence

_BATCH = 200
_SHOWN = 20


def _rules(paths: Sequence[str]) -> list[Rule]:
    found: list[Rule] = []
    for file in rule_files(paths):
        try:
            found += [r for r in read(file.read_text(encoding="utf-8"), str(file)) if isinstance(r, Rule)]
        except RuleError as error:
            print(f"left out: {error}", file=sys.stderr)  # noqa: T201 — a command
    return found


def _given(path: str) -> list[bytes]:
    """Return a file's lines; a line that lists events under `events` stands for these."""
    found: list[bytes] = []
    for line in Path(path).read_bytes().splitlines():
        try:
            parsed = orjson.loads(line)
        except orjson.JSONDecodeError:
            parsed = None
        if isinstance(parsed, dict) and isinstance(parsed.get("events"), list):
            found += [orjson.dumps(event) for event in parsed["events"]]
        else:
            found.append(line)
    return found


def main(arguments: Sequence[str]) -> int:
    """Run, print what was found, and return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.differential", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("rules", nargs="*", help="files and folders of rules")
    parser.add_argument("--events", help="a file of events, one a line")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=3000, help="events to compare")
    parser.add_argument("--made", type=int, default=200, help="rules made at random besides")
    options = parser.parse_args(arguments)
    random = Random(options.seed)
    rules = [*_rules(options.rules), *made_rules(random, options.made)]
    given = _given(options.events) if options.events else []
    comparison = Comparison(rules)
    began = time.monotonic()
    stream = events(rules, given, random)
    left = options.count
    while left > 0:
        comparison.run(list(itertools.islice(stream, min(_BATCH, left))))
        left -= _BATCH
    for miss in comparison.misses[:_SHOWN]:
        print(f"MISSED {miss.rule.about.id} {miss.rule.condition}\n       {miss.raw!r}")  # noqa: T201 — a program's output
    print(  # noqa: T201 — likewise
        f"{comparison.comparisons:,} comparisons of {options.count:,} events with {len(rules):,} rules "
        f"in {time.monotonic() - began:.0f} s: {comparison.matches:,} matches "
        f"of {len(comparison.fired):,} rules, {comparison.candidates:,} candidates, "
        f"{len(comparison.misses):,} misses"
    )
    return 1 if comparison.misses else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
