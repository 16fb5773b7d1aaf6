"""Children of every kind that multiprocessing has; each says in its records what it is."""

from __future__ import annotations

import concurrent.futures
import logging
import multiprocessing
import os
import sys
import threading
from typing import TYPE_CHECKING, Any

import producers

if TYPE_CHECKING:
    from multiprocessing.synchronize import Event

log = logging.getLogger("service")

METHOD, SERVERS, TOPIC = sys.argv[1:]
# Spawned children and the fork server import this module as well, and configure themselves by that.
producers.configure(service="children", bootstrap_servers=SERVERS, topic=TOPIC, flush_timeout_s=30)
log.info("imported")


def talk(name: str, count: int = 20) -> None:
    for _ in range(count):
        log.info(name)


def talk_and_wait(name: str, said: Event) -> None:
    talk(name)
    said.set()
    threading.Event().wait()


def leave_a_thread() -> None:
    threading.Thread(target=talk_when_main_has_ended).start()
    # A thread of an executor waits until the interpreter tells it to go.
    concurrent.futures.ThreadPoolExecutor().submit(talk, "executor's thread").result()


def talk_when_main_has_ended() -> None:
    threading.main_thread().join()
    talk("thread left behind")


def fail() -> None:
    talk("failing")
    raise ValueError("no more")


def exit_at_once() -> None:
    talk("exiting")
    sys.exit(3)


# Any: the type of contexts has no public name that knows of processes.
def in_turn(context: Any) -> list[int | None]:
    exits = []
    for target in (leave_a_thread, fail, exit_at_once):
        child = context.Process(target=target)
        child.start()
        child.join()
        exits.append(child.exitcode)
    daemon = context.Process(target=talk, args=("daemon",), daemon=True)
    daemon.start()
    daemon.join()
    said = context.Event()
    terminated = context.Process(target=talk_and_wait, args=("terminated", said))
    terminated.start()
    said.wait()
    terminated.terminate()
    terminated.join()
    return [*exits, daemon.exitcode, terminated.exitcode]


def main() -> None:
    context: Any = multiprocessing.get_context(METHOD)
    print(*in_turn(context))  # noqa: T201 - read by the test
    # Leaving the block ends the pool's children by SIGTERM.
    with context.Pool(2) as pool:
        pool.map(talk, ["pool"] * 4, chunksize=1)
    with concurrent.futures.ProcessPoolExecutor(2, mp_context=context) as executor:
        list(executor.map(talk, ["executor"] * 4))
    talk("parent")
    try:
        os.environ["TOCSIN_NOT_THERE"]
    except KeyError:
        # In an `except` block, which a forked child inherits.
        child = context.Process(target=talk, args=("in except",))
        child.start()
        child.join()


if __name__ == "__main__":
    main()
