"""The events that benchmarks use: what the example service logs, made once."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

__all__ = ["application_events"]

_SERVICE = Path(__file__).resolve().parent.parent / "examples" / "service.py"


def application_events(count: int) -> list[bytes]:
    """Return so many events of the example service, its incidents among them."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "events.jsonl"
        made = min(count, 50_000)
        subprocess.run(
            [
                sys.executable,
                str(_SERVICE),
                "--path",
                str(path),
                "--count",
                str(made),
                "--rate",
                "0",
                "--seed",
                "7",
            ],
            check=True,
            capture_output=True,
        )
        lines = path.read_bytes().splitlines()
    return [lines[i % len(lines)] for i in range(count)]
