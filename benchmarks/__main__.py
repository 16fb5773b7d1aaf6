"""`make bench`: every benchmark, one after the other, each in a process of its own."""

from __future__ import annotations

import subprocess
import sys

_ALL = ("detect", "memory", "latency")


def main() -> int:
    """Run the benchmarks that are named on the command line, or all; return 1 if one fails."""
    failed = 0
    for name in sys.argv[1:] or _ALL:
        if name not in _ALL:
            sys.stderr.write(f"no benchmark {name!r}; there are {', '.join(_ALL)}\n")
            return 2
        sys.stdout.write(f"--- {name}\n")
        sys.stdout.flush()
        failed |= subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], check=False).returncode != 0
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
