"""The spool against a real broker: killed processes, shared and full folders, forks; all to the record."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import orjson
import pytest
from aiokafka import AIOKafkaConsumer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.conftest import Kafka, MakeTopic

ROOT = Path(__file__).parents[2]
LEVELS = ("debug", "info", "warning", "error", "critical")

# Logs until it is told to end; writes a letter for each log call that has returned.
LOG = """
import logging, os, sys, time, producers
from producers.spool import spool
spool._ADOPT_EVERY_S = 0.2
servers, topic, folder, stop, size, limit = sys.argv[1:7]
handler = producers.KafkaHandler(service=sys.argv[7], bootstrap_servers=servers, topic=topic, spool=folder,
    spool_bytes=int(size), flush_timeout_s=float(sys.argv[8]))
log = logging.Logger("shop", logging.DEBUG)
log.addHandler(handler)
def work(count, who):
    for n in range(count):
        level = n % 5
        log.log(10 + 10 * level, "%s %d", who, n, extra={"text": "x" * 100})
        os.write(1, b"diwec"[level:level + 1])
        if n % 100 == 0 and os.path.exists(stop):
            break
"""
WORK = LOG + "work(int(limit), os.getpid())\nwhile not os.path.exists(stop): time.sleep(0.01)\n"


class Received(NamedTuple):
    fields: dict[str, object]
    key: bytes
    source: bytes
    seq: int

    @property
    def level(self) -> str:
        return str(self.fields["level"])


async def read_all(kafka: Kafka, topic: str) -> list[Received]:
    """Return all there is, but what came twice; each source and key has to be in order."""
    consumer = AIOKafkaConsumer(
        topic, bootstrap_servers=kafka.bootstrap_servers, auto_offset_reset="earliest", group_id=None
    )
    received: dict[tuple[bytes, bytes, int], Received] = {}
    last: dict[tuple[bytes, bytes], int] = {}
    async with consumer, asyncio.timeout(60):
        ends = await consumer.end_offsets(consumer.assignment())
        while any([await consumer.position(p) < end for p, end in ends.items()]):
            for records in (await consumer.getmany(timeout_ms=500)).values():
                for record in records:
                    headers = dict(record.headers)
                    found = Received(
                        orjson.loads(record.value), record.key, headers["source"], int(headers["seq"])
                    )
                    name = found.source, found.key, found.seq
                    if name not in received:
                        assert found.seq > last.get(name[:2], -1)
                        last[name[:2]] = found.seq
                        received[name] = found
    return list(received.values())


def split(received: list[Received]) -> tuple[list[Received], Counter[str]]:
    """Return what was logged, and what was dropped by level as the words about it say."""
    dropped: Counter[str] = Counter()
    logged = []
    for record in received:
        by_level = record.fields.get("dropped_by_level")
        if isinstance(by_level, dict):
            dropped.update(by_level)
        elif record.fields["event"] != "last":
            logged.append(record)
    return logged, dropped


def by_letter(letters: bytes) -> Counter[str]:
    return Counter({level: letters.count(level[:1].encode()) for level in LEVELS})


@pytest.fixture
def nobody() -> Iterator[str]:
    """An address where no broker is, nor will be."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{bound.getsockname()[1]}"


async def start(code: str, *arguments: object) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "error", "-c", code, *map(str, arguments)),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def deliver_the_rest(kafka: Kafka, topic: str, folder: Path) -> None:
    """Let another process start, log one record, and end."""
    code = (
        "import logging, sys, producers\n"
        "logging.getLogger().addHandler(producers.KafkaHandler(service='last', bootstrap_servers=sys.argv[1],"
        " topic=sys.argv[2], spool=sys.argv[3], flush_timeout_s=60))\n"
        "logging.error('last')\n"
    )
    last = await start(code, kafka.bootstrap_servers, topic, folder)
    assert await last.communicate() == (b"", b"")
    assert left_in(folder) == []


def left_in(folder: Path) -> list[Path]:
    return list(folder.iterdir())


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.to_thread(os.sched_yield)


@pytest.mark.parametrize("reachable", [True, False])
async def test_what_a_killed_process_has_logged_arrives(
    kafka: Kafka, make_topic: MakeTopic, tmp_path: Path, nobody: str, *, reachable: bool
) -> None:
    topic, folder = await make_topic(partitions=3), tmp_path / "spool"
    servers = kafka.bootstrap_servers if reachable else nobody
    victim = await start(WORK, servers, topic, folder, tmp_path / "never", 2**28, 10**9, "shop", 30)
    assert victim.stdout is not None
    letters = await victim.stdout.readexactly(3_000)
    victim.kill()
    letters += (await victim.communicate())[0]
    await deliver_the_rest(kafka, topic, folder)
    logged, dropped = split(await read_all(kafka, topic))
    # One more may have been written that the process did not come to say.
    assert len(logged) - len(letters) in {0, 1}
    assert [r.seq for r in logged] == list(range(len(logged)))
    assert {(r.key, len(r.source)) for r in logged} == {(b"shop", 16)}
    assert (len({r.source for r in logged}), dropped) == (1, Counter())


async def test_survivors_deliver_what_killed_processes_leave_in_a_folder_that_is_too_small_for_all(
    kafka: Kafka, make_topic: MakeTopic, tmp_path: Path
) -> None:
    topic, folder, stop = await make_topic(partitions=2), tmp_path / "spool", tmp_path / "stop"
    workers = [
        await start(WORK, kafka.bootstrap_servers, topic, folder, stop, 6 * 2**20, 8_000, f"s{n % 3}", 60)
        for n in range(5)
    ]
    letters = b""
    for victim in workers[:3]:
        assert victim.stdout is not None
        letters += await victim.stdout.readexactly(2_000)
        victim.kill()
        letters += (await victim.communicate())[0]
    # They are gone when their journals are: one is left to each survivor.
    reading = [asyncio.create_task(worker.communicate()) for worker in workers[3:]]
    await until(lambda: len(list(folder.glob("*.journal"))) <= 2)
    stop.touch()
    for task in reading:
        out, errors = await task
        assert errors == b""
        letters += out
    assert [path for path in left_in(folder) if path.suffix == ".segment"] == []
    # A word about losses may be left over: a survivor can find them when it has said its last one.
    await deliver_the_rest(kafka, topic, folder)
    logged, dropped = split(await read_all(kafka, topic))
    found = Counter(r.level for r in logged) + dropped
    assert 0 <= found.total() - len(letters) <= 3
    assert not by_letter(letters) - found
    assert dropped["debug"] > 0
    assert set(dropped) <= {"debug", "info", "warning", "error", "critical"}


async def test_full_spool_is_counted_by_level_and_waits_for_the_next_start(
    kafka: Kafka, make_topic: MakeTopic, tmp_path: Path, nobody: str
) -> None:
    topic, folder, stop = await make_topic(), tmp_path / "spool", tmp_path / "stop"
    full = await start(WORK, nobody, topic, folder, stop, 8 * 2**20, 40_000, "shop", 0.2)
    assert full.stdout is not None
    letters = await full.stdout.readexactly(40_000)
    stop.touch()
    out, errors = await full.communicate()
    letters += out
    away, waiting = errors.decode().splitlines()
    assert away.startswith(f"tocsin: Kafka at {nobody} is away (")
    assert away.endswith(f"log records wait in {folder}")
    await deliver_the_rest(kafka, topic, folder)
    logged, dropped = split(await read_all(kafka, topic))
    # And the word about what was dropped.
    assert waiting == f"tocsin: {len(logged) + 1} log records wait in {folder} for the next start"
    kept = Counter(r.level for r in logged)
    assert kept + dropped == by_letter(letters)
    assert 0 < kept["debug"] < kept["info"] < kept["warning"] < kept["error"]
    assert abs(kept["error"] - kept["critical"]) <= 1
    assert dropped["error"] > 0
    seqs = [r.seq for r in logged]
    assert seqs == sorted(seqs)


FORK = (
    LOG
    + """
import threading
threads = [threading.Thread(target=work, args=(1_500, f"thread {n}")) for n in range(2)]
for thread in threads:
    thread.start()
children = []
for n in range(8):
    child = os.fork()
    if child == 0:
        work(150, f"child {n}")
        if n % 2:
            os.kill(os.getpid(), 9)
        if n % 4:
            os._exit(0)
        sys.exit(0)
    children.append(child)
    work(50, "parent")
for thread in threads:
    thread.join()
for child in children:
    os.waitpid(child, 0)
work(50, "end")
"""
)


async def test_forks_under_load_lose_nothing(kafka: Kafka, make_topic: MakeTopic, tmp_path: Path) -> None:
    topic, folder = await make_topic(), tmp_path / "spool"
    forking = await start(
        FORK, kafka.bootstrap_servers, topic, folder, tmp_path / "never", 2**28, 0, "shop", 60
    )
    out, errors = await forking.communicate()
    assert (forking.returncode, errors) == (0, b"")
    await deliver_the_rest(kafka, topic, folder)
    logged, dropped = split(await read_all(kafka, topic))
    assert len(out) == 2 * 1_500 + 8 * 200 + 50
    assert (Counter(r.level for r in logged), dropped) == (by_letter(out), Counter())
    counts = Counter(str(r.fields["event"]).rsplit(" ", 1)[0] for r in logged)
    assert counts == {
        **{f"thread {n}": 1_500 for n in range(2)},
        **{f"child {n}": 150 for n in range(8)},
        "parent": 400,
        "end": 50,
    }
    for source in {r.source for r in logged}:
        own = [r.seq for r in logged if r.source == source]
        assert own == list(range(len(own)))


def test_process_that_ends_with_the_broker_there_leaves_nothing(kafka: Kafka, tmp_path: Path) -> None:
    code = (
        "import logging, sys, producers\n"
        "logging.getLogger().addHandler(producers.KafkaHandler(bootstrap_servers=sys.argv[1],"
        " topic='nowhere', spool=sys.argv[2], flush_timeout_s=0.1))\n"
        "print(logging.getLogger().handlers[0].pending)\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, kafka.bootstrap_servers, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=ROOT,
    )
    assert (done.stdout, done.stderr, list(tmp_path.iterdir())) == ("0\n", "", [])
