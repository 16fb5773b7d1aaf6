"""A service that logs and keeps its own count of it, in a file that survives any way to die.

Event `n` of slot `s` is counted after its log call has returned. So a process that is killed may have
logged one event more a slot than it has counted: the one that was under way.
"""

from __future__ import annotations

import argparse
import json
import logging
import mmap
import os
import struct
import sys
import threading
import time
from pathlib import Path

import producers

SLOTS = 512
_LEVELS = (logging.DEBUG, logging.INFO, logging.INFO, logging.WARNING, logging.ERROR)


class Counters:
    """How many log calls have returned, by slot; shared by all processes that open the file."""

    def __init__(self, path: Path) -> None:
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), SLOTS * 8)

    def set(self, slot: int, count: int) -> None:
        struct.pack_into("<Q", self._map, slot * 8, count)

    @staticmethod
    def create(path: Path) -> None:
        path.write_bytes(bytes(SLOTS * 8))

    @staticmethod
    def read(path: Path) -> dict[int, int]:
        counts = struct.unpack(f"<{SLOTS}Q", path.read_bytes())
        return {slot: count for slot, count in enumerate(counts) if count}


class Service:
    """Logs at a rate, in as many threads or forked children as it is told."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self._counters = Counters(options.folder / "counters")
        self._logger = logging.Logger("account", logging.DEBUG)  # noqa: LOG001 - root's handlers are not asked
        self.handler = producers.KafkaHandler(
            service="account",
            bootstrap_servers=options.servers,
            topic=options.topic,
            flush_timeout_s=options.flush_timeout,
            **json.loads(options.options),
        )
        self._logger.addHandler(self.handler)

    def log(self, slot: int) -> None:
        """Log in one slot until the count or the time is reached."""
        options = self._options
        slot += options.slots_from
        began = time.monotonic()
        n = 0
        while (not options.count or n < options.count) and (
            not options.seconds or time.monotonic() - began < options.seconds
        ):
            self._logger.log(_LEVELS[n % len(_LEVELS)], "event %d", n, extra={"slot": slot, "n": n})
            n += 1
            self._counters.set(slot, n)
            if options.rate and (ahead_s := n / options.rate - (time.monotonic() - began)) > 0.002:
                time.sleep(ahead_s)

    def threads(self) -> None:
        """Log in all threads at once."""
        threads = [threading.Thread(target=self.log, args=(n,)) for n in range(self._options.threads)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def forks(self) -> None:
        """Log, and meanwhile fork children that log."""
        logging_thread = threading.Thread(target=self.log, args=(0,))
        logging_thread.start()
        children = []
        for slot in range(1, self._options.forks + 1):
            child = os.fork()
            if child == 0:
                self.log(slot)
                self.end()
                # As a script ends: with its exit handlers. The thread of the parent is not there.
                sys.exit(0)
            children.append(child)
            time.sleep(0.02)
        logging_thread.join()
        for child in children:
            os.waitpid(child, 0)

    def end(self) -> None:
        """Close the handler, and report what it counted."""
        self.handler.close()
        report = self._options.folder / f"report-{os.getpid()}.json"
        report.write_text(json.dumps(dict(self.handler.dropped)))


def main() -> None:
    """Log until told to end."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--servers", required=True)
    parser.add_argument("--topic", required=True)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--rate", type=float, default=0, help="events a second of each slot; 0: no limit")
    parser.add_argument("--count", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--forks", type=int, default=0)
    parser.add_argument("--slots-from", type=int, default=0, help="number of the first slot")
    parser.add_argument("--flush-timeout", type=float, default=30)
    parser.add_argument("--options", default="{}", help="of the handler, as JSON")
    options = parser.parse_args()
    service = Service(options)
    if options.forks:
        service.forks()
    else:
        service.threads()
    service.end()


if __name__ == "__main__":
    main()
