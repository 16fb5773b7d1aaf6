"""Run all evil pairs through decoder, prefilter and matcher, and tell what each took, the longest last.

python -m tests.evil [--size BYTES]
"""

from __future__ import annotations

import argparse
import sys
import time
from itertools import pairwise
from typing import TYPE_CHECKING

from pipeline.decode import choose
from pipeline.detect.prefilter import Prefilter
from pipeline.sigma.matcher.match import compile_rule
from pipeline.sigma.matcher.subject import Subject
from tests.evil.pairs import pairs

if TYPE_CHECKING:
    from tests.evil.pairs import Pair

_RECORD_MS = 1_795_537_450_000


def timed(pair: Pair) -> tuple[list[float], bool]:
    """Return the seconds of compiler, decoder, prefilter and matcher, and whether the outcome is right.

    A worker would spare itself the matcher where the prefilter finds nothing; here it never does.
    """
    marks = [time.perf_counter()]
    matcher, prefilter = compile_rule(pair.rule), Prefilter([pair.rule])
    marks.append(time.perf_counter())
    event = choose("auto").decode(pair.raw, _RECORD_MS)
    marks.append(time.perf_counter())
    prefilter.candidates([pair.raw])
    marks.append(time.perf_counter())
    outcome = matcher(Subject(event))
    marks.append(time.perf_counter())
    return [after - before for before, after in pairwise(marks)], outcome is pair.matches


def main(size: int) -> int:
    """Run all; return 1 if an outcome is not as it must be."""
    taken: list[tuple[float, str]] = []
    wrong = 0
    for pair in pairs(size):
        spent, right = timed(pair)
        wrong += not right
        steps = "".join(f"{1000 * seconds:9.1f}" for seconds in spent)
        note = "" if right else "  WRONG OUTCOME"
        taken.append(
            (sum(spent), f"{len(pair.raw) / 1e6:7.2f}{steps}{1000 * sum(spent):9.1f}  {pair.name}{note}")
        )
    sys.stdout.write("     MB  compile   decode  prefilt    match    total ms\n")
    for _, line in sorted(taken):
        sys.stdout.write(line + "\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument(
        "--size", type=int, default=1_000_000, help="bytes of each event, about (default: 1 MB)"
    )
    sys.exit(main(asked.parse_args().size))
