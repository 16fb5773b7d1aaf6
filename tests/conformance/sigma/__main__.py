"""The suite's command line: `python -m tests.conformance.sigma`; see `docs/conformance.md`."""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import shlex
import sys
from typing import TYPE_CHECKING, Any

from tests.conformance.sigma.runner import EngineError, Verdict, report, run
from tests.conformance.sigma.suite import SuiteError, files, load

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.conformance.sigma.suite import Group


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the suite; return the exit code: 0 if all cases pass, 1 if not, 2 if it can't be run."""
    parser = argparse.ArgumentParser(prog="python -m tests.conformance.sigma", description=__doc__)
    parser.add_argument("--engine", metavar="COMMAND", help="what answers; Tocsin's own engine if not given")
    parser.add_argument("--only", nargs="+", metavar="FILE", default=[], help="these data files alone")
    parser.add_argument("--timeout", type=float, default=10.0, metavar="S", help="seconds a group; 10")
    parser.add_argument("--verbose", action="store_true", help="show the cases that pass as well")
    parser.add_argument("--json", action="store_true", help="the summary as one JSON object")
    parser.add_argument(
        "--dump", action="store_true", help="run nothing; print every group as a JSON line, in full"
    )
    options = parser.parse_args(arguments)
    try:
        groups = [group for path in files(options.only) for group in load(path)]
    except SuiteError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    if options.dump:
        for group in groups:
            sys.stdout.write(json.dumps(_dumped(group), ensure_ascii=False) + "\n")
        return 0
    command = (
        shlex.split(options.engine)
        if options.engine
        else [sys.executable, "-m", "tests.conformance.sigma.engine"]
    )
    try:
        verdicts = asyncio.run(_run(groups, command, options.timeout))
    except EngineError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    summary = report(verdicts)
    if options.json:
        sys.stdout.write(json.dumps(summary, ensure_ascii=False, indent=2) + "\n")
    else:
        _show(verdicts, summary, verbose=options.verbose)
    return 1 if summary["failed"] else 0


async def _run(groups: Sequence[Group], command: Sequence[str], timeout_s: float) -> list[Verdict]:
    return [verdict async for verdict in run(groups, command, timeout_s=timeout_s)]


def _show(verdicts: Sequence[Verdict], summary: dict[str, Any], *, verbose: bool) -> None:  # Any: of report()
    for _, of_group in itertools.groupby(verdicts, key=lambda v: id(v.group)):
        _show_group(list(of_group), verbose=verbose)
    for heading in ("files", "sections"):
        sys.stdout.write(f"\n{'passed':>8} {'failed':>8}  {heading}\n")
        for name, counts in summary[heading].items():
            sys.stdout.write(f"{counts['passed']:>8} {counts['failed']:>8}  {name}\n")
    sys.stdout.write("\n")
    for name, counts in (
        ("what the specification says", summary["specified"]),
        ("choices where it leaves open", summary["choices"]),
        ("in all", summary),
    ):
        sys.stdout.write(f"{counts['passed']:>8} {counts['failed']:>8}  {name}\n")


def _show_group(verdicts: Sequence[Verdict], *, verbose: bool) -> None:
    place = verdicts[0].place
    if len(verdicts) > 1 and verdicts[0].whole:
        choice = " [choice]" if verdicts[0].choice else ""
        sys.stdout.write(f"FAILED {place}{choice} all {len(verdicts)} cases: {verdicts[0].failure}\n")
        return
    for verdict in verdicts:
        if verdict.failure:
            choice = " [choice]" if verdict.choice else ""
            sys.stdout.write(f"FAILED {place}{choice} {verdict.name}: {verdict.failure}\n")
        elif verbose:
            sys.stdout.write(f"passed {place} {verdict.name}\n")


def _dumped(group: Group) -> dict[str, object]:
    request = group.request()
    if group.refused:
        expected: dict[str, object] = {"refused": group.refused}
    else:
        expected = {"matches": [list(case.expected) for case in group.cases]}
    return {
        "place": f"{group.file}:{group.line}",
        "section": group.section,
        "about": group.about,
        "choice": group.choice,
        "cases": list(group.names),
        "choices": [case.choice or group.choice for case in group.cases],
        "request": request,
        "expected": expected,
    }


if __name__ == "__main__":
    try:
        sys.exit(main())
    except BrokenPipeError:
        # Whoever read has seen enough; Python would complain again when it closes the stream.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
