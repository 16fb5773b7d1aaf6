"""A script with `logging.basicConfig`, and the one line that sends its events to Kafka as well.

    pip install tocsin
    python basic_config.py /srv/photos /srv/letters

What it wrote to standard error, it still does. What ends it with a traceback arrives as well.
"""

from __future__ import annotations

import logging
import pathlib
import sys

import producers

logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
producers.configure(service="backup")  # the line

log = logging.getLogger("backup")


def main(folders: list[str]) -> None:
    """Count the files in folders."""
    for folder in folders:
        try:
            count = len(list(pathlib.Path(folder).iterdir()))
        except FileNotFoundError:
            log.exception("can't back up %s", folder)
        else:
            log.info("backed up %s", folder, extra={"files": count})


if __name__ == "__main__":
    main(sys.argv[1:])
