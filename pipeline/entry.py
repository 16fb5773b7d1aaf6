"""The `tocsin` script: the entry point, or a word on what is not installed.

A service that only logs installs no worker; whoever calls the command there should not see a traceback.
"""

from __future__ import annotations

import sys

__all__ = ["main"]


def main() -> int:
    """Run the command line; return the exit code, 2 where the worker's packages are missing."""
    try:
        from pipeline.consumer import main as run  # noqa: PLC0415 — what is missing is to be told
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] in ("pipeline", "consumers", "producers"):
            raise
        sys.stderr.write(
            f"tocsin: {error.name} is not installed; the worker needs: pip install 'tocsin[worker]'\n"
        )
        return 2
    return run()
