"""An existing script that logs to a file, after the one line that changes.

Before:

    logging.basicConfig(filename="backup.log", format="%(asctime)s - %(levelname)s - %(message)s")
"""

from __future__ import annotations

import logging
import pathlib
import sys

import producers

producers.configure(service="backup")


def main(paths: list[str]) -> None:
    """Read files, and log those that can't be read."""
    for path in paths:
        try:
            pathlib.Path(path).read_bytes()
        except OSError as error:
            logging.error("can't back up %s: %s", path, error)  # noqa: LOG015, TRY400 - it is as it was


if __name__ == "__main__":
    main(sys.argv[1:])
