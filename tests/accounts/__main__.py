"""`python -m tests.accounts [NAME …]`: run the scenarios, all or those named, and print their accounts.

Exits with 1 if one of them does not balance to the record.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path

from consumers.broker import Broker
from tests.accounts.scenarios import SCENARIOS


def main() -> int:
    """Run, print, and return the exit code."""
    names = sys.argv[1:] or list(SCENARIOS)
    if unknown := set(names) - SCENARIOS.keys():
        sys.stderr.write(f"no scenario {', '.join(sorted(unknown))}; there are {', '.join(SCENARIOS)}\n")
        return 2
    head = ("twice", "gaps", "told", "sources")
    _show(f"{'':50}{'logged':>9} ={'received':>9} +{'dropped':>8}" + "".join(f"{h:>9}" for h in head))
    wrong = 0
    for name in names:
        with tempfile.TemporaryDirectory() as place, Broker(Path(place) / "kafka") as broker:
            folder = Path(place) / "account"
            folder.mkdir()
            a = asyncio.run(SCENARIOS[name](broker, folder))
        sign = "=" if a.balanced else "≠"
        figures = (a.seen.twice, a.seen.gaps, a.seen.told, a.seen.sources)
        _show(
            f"{a.why:50}{a.logged:>9,} {sign}{a.received:>9,} +{a.dropped:>8,}"
            + "".join(f"{f:>9,}" for f in figures)
        )
        wrong += not a.balanced
    return int(bool(wrong))


def _show(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
