"""Tocsin behind the suite's protocol: the whole detect stage, prefilter included.

One JSON object a line comes in on standard input, one goes out on standard output:
`python -m tests.conformance.sigma.engine`.
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, TypedDict, cast

from pipeline.detect.detect import Detect, Source
from pipeline.detection import Detection
from pipeline.errors import RuleError
from pipeline.event import Batch, LogSource, Partition
from pipeline.sigma.reader.options import Options
from pipeline.sigma.reader.read import read
from pipeline.sigma.ruleset import RuleSet

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["answer"]

_NOW_MS = 1_767_225_600_000
_PARTITION = Partition("conformance")


class Request(TypedDict):
    """What an engine is sent for a group."""

    rules: Sequence[str]
    filters: Sequence[str]
    placeholders: Mapping[str, Sequence[str]]
    logsource: Mapping[str, str] | None
    events: Sequence[str]


def answer(request: Request) -> dict[str, object]:
    """Return the ids of the rules that match each event, or why the rules were refused."""
    options = Options(placeholders={name: tuple(v) for name, v in request["placeholders"].items()})
    texts = [*request["rules"], *request["filters"]]
    try:
        rules = RuleSet(
            [rule for n, text in enumerate(texts) for rule in read(text, f"{n}.yml", options=options)]
        )
    except RuleError as error:
        return {"refused": str(error)}
    said = request["logsource"]
    source = Source("json", (LogSource(**said),) if said else ())
    detect = Detect(rules, lateness_ms=0, idle_timeout_ms=1)
    detect.open(_PARTITION, source, 0, _NOW_MS)
    count = len(request["events"])
    values = [event.encode() for event in request["events"]]
    batch = Batch(_PARTITION, range(count), [_NOW_MS] * count, values)
    matches: list[list[str]] = [[] for _ in range(count)]
    for found in detect.process(batch, _NOW_MS):
        if isinstance(found, Detection):
            for match in found.matches:
                matches[match.offset].append(found.rule)
    return {"matches": matches}


def main() -> None:
    """Answer each line until there is none."""
    for line in sys.stdin:
        sys.stdout.write(json.dumps(answer(cast("Request", json.loads(line)))) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
