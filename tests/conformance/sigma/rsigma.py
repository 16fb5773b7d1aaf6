"""rsigma behind the suite's protocol: `--engine "python -m tests.conformance.sigma.rsigma --binary PATH"`.

Rules and filters become files of a temporary folder, placeholders a pipeline, the log source options; each
event is evaluated by a run of its own, so that an answer can't be taken for another's. (rsigma 0.23.)
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.conformance.sigma.engine import Request

__all__ = ["answer"]


def answer(request: Request, binary: str) -> dict[str, object]:
    """Return the ids of the rules that match each event, or why the rules were refused."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rules = folder / "rules"
        rules.mkdir()
        for number, text in enumerate([*request["rules"], *request["filters"]]):
            (rules / f"{number:03}.yml").write_text(text, encoding="utf-8")
        command = [binary, "--output-format", "ndjson", "engine", "eval", "--rules", str(rules)]
        command += ["--input-format", "json"]
        if request["placeholders"]:
            # JSON is YAML.
            pipeline = folder / "pipeline.yml"
            pipeline.write_text(json.dumps(_pipeline(request)), encoding="utf-8")
            command += ["--pipeline", str(pipeline)]
        if said := request["logsource"]:
            parts = ",".join(f"{part}={value}" for part, value in said.items())
            command += ["--logsource-routing", "--event-logsource", parts]
        matches: list[list[str]] = []
        event = folder / "event.ndjson"
        for text in request["events"]:
            event.write_text(text + "\n", encoding="utf-8")
            done = subprocess.run(
                [*command, "--event", f"@{event}"], capture_output=True, check=False, timeout=60
            )
            said_so = done.stderr.decode(errors="replace").strip()
            if done.returncode != 0 or "parse errors" in said_so:
                return {"refused": said_so}
            found = {json.loads(line)["rule_id"] for line in done.stdout.splitlines() if line.strip()}
            matches.append(sorted(found))
        return {"matches": matches}


def _pipeline(request: Request) -> dict[str, object]:
    return {
        "name": "placeholders",
        "priority": 1,
        "vars": {name: list(values) for name, values in request["placeholders"].items()},
        "transformations": [{"id": "placeholders", "type": "value_placeholders"}],
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Answer each line until there is none."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--binary", default="rsigma", help="where rsigma is")
    binary = parser.parse_args(arguments).binary
    for line in sys.stdin:
        sys.stdout.write(json.dumps(answer(cast("Request", json.loads(line)), binary)) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
