"""The handler in every kind of process: whatever is logged arrives once, from a source of its own."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import http.client
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import orjson
import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from tests.conftest import Kafka, MakeTopic

ROOT = Path(__file__).parents[2]
PROGRAMS = ROOT / "tests" / "programs"


class Received(NamedTuple):
    event: str
    pid: int
    source: bytes
    seq: int
    fields: dict[str, object]


async def received(kafka: Kafka, topic: str) -> list[Received]:
    """Read all that is there. Who logged it has ended, so no more will come."""
    consumer = AIOKafkaConsumer(bootstrap_servers=kafka.bootstrap_servers, group_id=None)
    partition = TopicPartition(topic, 0)
    records = []
    async with consumer, asyncio.timeout(30):
        consumer.assign([partition])
        await consumer.seek_to_beginning(partition)
        end = (await consumer.end_offsets([partition]))[partition]
        while await consumer.position(partition) < end:
            for record in (await consumer.getmany(timeout_ms=1_000)).get(partition, []):
                headers = dict(record.headers)
                fields = orjson.loads(record.value or b"")
                records.append(
                    Received(fields["event"], fields["pid"], headers["source"], int(headers["seq"]), fields)
                )
    return records


def by_source(records: Sequence[Received]) -> dict[bytes, list[Received]]:
    sources = collections.defaultdict(list)
    for record in records:
        sources[record.source].append(record)
    for own in sources.values():
        assert len({r.pid for r in own}) == 1, "two processes share a source"
    return sources


def counted(records: Sequence[Received]) -> collections.Counter[str]:
    """Count the events, having seen that no source lacks a number or has one twice."""
    for own in by_source(records).values():
        assert [r.seq for r in own] == list(range(len(own)))
    return collections.Counter(r.event for r in records)


class Done(NamedTuple):
    status: int
    out: str
    said: list[str]


async def run(program: str, *arguments: str) -> Done:
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-W", "error", str(PROGRAMS / program), *arguments],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    # On a busy machine the broker may take its time, which is said.
    said = [line for line in done.stderr.splitlines() if not line.startswith("tocsin: Kafka at")]
    return Done(done.returncode, done.stdout, said)


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
async def test_child_of_multiprocessing_delivers_however_it_ends(
    kafka: Kafka, make_topic: MakeTopic, method: str
) -> None:
    topic = await make_topic()
    done = await run("children.py", method, kafka.bootstrap_servers, topic)
    assert done.status == 0, done.said
    assert done.out.split() == ["0", "1", "3", "0", str(-signal.SIGTERM)]
    # Nothing but the exception that is meant.
    assert sum(line.startswith("Traceback") for line in done.said) == 1
    assert "ValueError: no more" in done.said
    counts = counted(await received(kafka, topic))
    # A child of a pool may be ended before it has begun.
    assert counts.pop("imported") >= 1
    assert counts == {
        "thread left behind": 20,
        "executor's thread": 20,
        "failing": 20,
        "uncaught exception in child process": 1,
        "exiting": 20,
        "daemon": 20,
        "terminated": 20,
        "pool": 80,
        "executor": 80,
        "parent": 20,
        "in except": 20,
    }


async def test_sigterm_in_the_midst_of_log_calls_loses_nothing_unaccounted(
    kafka: Kafka, make_topic: MakeTopic
) -> None:
    topic = await make_topic()
    done = await run("terminated.py", kafka.bootstrap_servers, topic)
    assert done.status == 0
    # Of what finds no room while the process ends there is no other place to tell.
    assert all(
        line.endswith("came while the process was ending, and were not delivered") for line in done.said
    )
    by_pid = collections.defaultdict(list)
    for source in by_source(await received(kafka, topic)).values():
        by_pid[source[0].pid].append(source)
    lines = done.out.splitlines()
    assert len(lines) == 24
    for line in lines:
        pid, beside, status, logged = map(int, line.split())
        assert status == -signal.SIGTERM
        # There is none if the signal came before the first record.
        (own,) = by_pid[pid] or [[]]
        seqs = [r.seq for r in own]
        assert seqs == sorted(set(seqs))
        dropped = sum(int(str(r.fields.get("dropped", 0))) for r in own)
        missing = seqs[-1] + 1 - len(seqs) if seqs else 0
        if beside:
            # The other thread goes on while the main thread waits; what that drops last is told nobody.
            assert dropped <= missing
        else:
            assert dropped == missing
            told = sum("dropped" in r.fields for r in own)
            assert len(own) - told + dropped in {logged - 1, logged}


async def test_sigterm_while_the_first_record_starts_the_thread_is_not_too_early(
    kafka: Kafka, make_topic: MakeTopic, tmp_path: Path
) -> None:
    topic = await make_topic()
    program = tmp_path / "early.py"
    program.write_text("""
import logging, signal, sys, threading, producers
start = threading.Thread.start
def start_interrupted(thread):
    signal.raise_signal(signal.SIGTERM)
    start(thread)
threading.Thread.start = start_interrupted
logging.getLogger().addHandler(
    producers.KafkaHandler(bootstrap_servers=sys.argv[1], topic=sys.argv[2], flush_timeout_s=20))
logging.warning('first')
print('not reached')
""")
    done = await run(str(program), kafka.bootstrap_servers, topic)
    assert done == (-signal.SIGTERM, "", [])
    assert counted(await received(kafka, topic)) == {"first": 1}


@pytest.mark.parametrize(
    ("kind", "logged"),
    [
        ("threads", {"main has ended": 50, "exit handler": 1, "exit handler from before": 1}),
        ("no-threads", {"first record": 1, "exit handler": 1, "exit handler from before": 1}),
    ],
)
async def test_last_words_arrive_whoever_says_them(
    kafka: Kafka, make_topic: MakeTopic, kind: str, logged: dict[str, int]
) -> None:
    topic = await make_topic()
    done = await run("last_words.py", kind, kafka.bootstrap_servers, topic)
    assert done == (0, "", [])
    assert counted(await received(kafka, topic)) == logged


async def test_asyncio_service_that_handles_sigterm_ends_in_its_own_way(
    kafka: Kafka, make_topic: MakeTopic
) -> None:
    topic = await make_topic()
    done = await run("async_service.py", kafka.bootstrap_servers, topic)
    assert (done.status, done.said) == (0, [])
    records = await received(kafka, topic)
    (failed,) = [r for r in records if r.fields["logger"] == "asyncio"]
    assert "refresh-prices" in failed.event
    assert counted(records) - collections.Counter([failed.event]) == {
        "working": 100,
        "told to end": 1,
        "ended": 1,
    }


async def test_64_threads_keep_one_account(kafka: Kafka, make_topic: MakeTopic) -> None:
    topic = await make_topic()
    done = await run("threads.py", kafka.bootstrap_servers, topic)
    assert (done.status, done.said) == (0, [])
    records = await received(kafka, topic)
    assert counted(records) == {"event": 64 * 200}
    threads = collections.defaultdict(list)
    for record in records:
        threads[record.fields.get("thread", record.fields.get("thread_"))].append(record.fields["k"])
    assert len(threads) == 64
    assert all(ks == list(range(200)) for ks in threads.values())


class Server:
    """A web server in a process of its own, and what it says on standard error."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.said = ""
        self.port = 0

    async def says(self, pattern: str, times: int = 1) -> str:
        """Wait until it has said something so often; return the first group of the last."""
        assert self.process.stderr is not None
        async with asyncio.timeout(40):
            while len(found := re.findall(pattern, self.said)) < times:
                line = await self.process.stderr.readline()
                assert line, self.said
                self.said += line.decode()
        return str(found[-1])

    async def ask(self, times: int) -> None:
        for _ in range(times):
            await asyncio.to_thread(self._ask)

    def _ask(self) -> None:
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)) as connection:
            while connection.sock is None:
                # uvicorn says that it is ready a moment before it listens.
                with contextlib.suppress(ConnectionRefusedError):
                    connection.connect()
            connection.request("GET", "/")
            assert connection.getresponse().status == 200

    async def hang(self) -> None:
        """Make one request that is never answered."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(b"GET /hang HTTP/1.1\r\nHost: s\r\n\r\n")
        await reader.read()
        writer.close()
        await writer.wait_closed()

    async def end(self) -> int:
        """Stop it by SIGTERM, and return its exit status."""
        self.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(40):
            _, said = await self.process.communicate()
        self.said += said.decode()
        assert self.process.returncode is not None
        return self.process.returncode


@contextlib.asynccontextmanager
async def serving(kafka: Kafka, topic: str, *command: str) -> AsyncIterator[Server]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", *command),
        cwd=ROOT,
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap_servers,
            "TOPIC": topic,
        },
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        # So that its own children can't outlive a test that fails.
        start_new_session=True,
    )
    server = Server(process)
    try:
        server.port = int(await server.says(r"(?:Listening at:|running on) http://127\.0\.0\.1:(\d+)"))
        yield server
    finally:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
            await process.communicate()


@pytest.mark.parametrize(
    ("workers", "preload", "arguments"),
    [(4, True, ["--preload"]), (2, False, ["--threads", "4"])],
    ids=["preloaded", "threads"],
)
async def test_gunicorn_delivers_from_all_its_processes(
    kafka: Kafka, make_topic: MakeTopic, workers: int, preload: bool, arguments: list[str]
) -> None:
    topic = await make_topic()
    gunicorn = ["gunicorn", "--workers", str(workers), "--bind", "127.0.0.1:0", *arguments]
    async with serving(kafka, topic, *gunicorn, "tests.programs.wsgi_app") as server:
        await server.says("Booting worker", workers)
        await server.ask(20)
        server.process.send_signal(signal.SIGHUP)
        await server.says("Booting worker", 2 * workers)
        await server.says("Worker exiting", workers)
        await server.ask(20)
        assert await server.end() == 0
    records = await received(kafka, topic)
    counts = counted(records)
    loaded = 1 if preload else 2 * workers
    # Preloaded, the master has loaded the app, too, and says so in its own name.
    assert counts == {"request": 200, "loaded": loaded, "gone": 2 * workers + preload}
    assert len(by_source(records)) == 2 * workers + preload
    assert len({r.pid for r in records if r.event == "request"}) >= 2


async def test_worker_that_gunicorn_aborts_delivers_what_it_logged(
    kafka: Kafka, make_topic: MakeTopic
) -> None:
    topic = await make_topic()
    # Preloaded, a worker boots in much less than the time after which it is aborted.
    gunicorn = ["gunicorn", "--bind", "127.0.0.1:0", "--preload", "--timeout", "2", "tests.programs.wsgi_app"]
    async with serving(kafka, topic, *gunicorn) as server:
        await server.hang()
        aborted = int(await server.says(r"WORKER TIMEOUT \(pid:(\d+)\)"))
        await server.says("Booting worker", 2)
        assert await server.end() == 0
    records = await received(kafka, topic)
    assert counted(records)["gone"] == server.said.count("Booting worker") + 1
    assert [r.event for r in records if r.pid == aborted] == ["hangs", "gone"]


async def changed(app: Path, server: Server) -> None:
    """Change a file until uvicorn sees it: it may not have looked at the file before."""
    while True:
        await asyncio.to_thread(app.touch)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1):
                await server.says("detected changes")
                return


async def test_uvicorn_that_reloads_delivers_the_last_words_of_each_round(
    kafka: Kafka, make_topic: MakeTopic, tmp_path: Path
) -> None:
    topic = await make_topic()
    app = tmp_path / "asgi_app.py"
    shutil.copy(PROGRAMS / "asgi_app.py", app)
    uvicorn = ["uvicorn", "--port", "0", "--app-dir", str(tmp_path), "asgi_app:app"]
    async with serving(kafka, topic, *uvicorn, "--reload", "--reload-dir", str(tmp_path)) as server:
        await server.says("Application startup complete")
        await server.ask(20)
        await changed(app, server)
        await server.says("Application startup complete", 2)
        await server.ask(20)
        assert await server.end() == 0
    records = await received(kafka, topic)
    assert counted(records) == {"up": 2, "request": 200, "down": 2}
    assert len(by_source(records)) == 2


async def test_uvicorn_alone_delivers_its_last_words_and_still_dies_of_the_signal(
    kafka: Kafka, make_topic: MakeTopic
) -> None:
    topic = await make_topic()
    uvicorn = ["uvicorn", "--port", "0", "--app-dir", str(PROGRAMS), "asgi_app:app"]
    async with serving(kafka, topic, *uvicorn) as server:
        await server.ask(3)
        assert await server.end() == -signal.SIGTERM
    assert counted(await received(kafka, topic)) == {"up": 1, "request": 15, "down": 1}


async def test_child_of_celerys_pool_delivers_what_still_waits(
    kafka: Kafka, make_topic: MakeTopic, tmp_path: Path
) -> None:
    topic = await make_topic()
    (tmp_path / "queue").mkdir()
    done = tmp_path / "done"
    environment = {
        **os.environ,
        "PYTHONPATH": f"{ROOT}{os.pathsep}{PROGRAMS}",
        "KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap_servers,
        "TOPIC": topic,
        "QUEUE": str(tmp_path / "queue"),
        "DONE": str(done),
    }
    queue = [sys.executable, "-c", "import celery_pool; celery_pool.pack.delay()"]
    await asyncio.to_thread(subprocess.run, queue, check=True, timeout=60, env=environment, cwd=tmp_path)
    command = ("-m", "celery", "-A", "celery_pool", "worker", "--concurrency", "1", "-P", "prefork")
    with (tmp_path / "out").open("wb") as out:
        worker = await asyncio.create_subprocess_exec(
            sys.executable, *command, stdout=out, stderr=out, env=environment, cwd=tmp_path
        )
    try:
        async with asyncio.timeout(60):
            while not done.exists():  # noqa: ASYNC110 - another process makes it
                await asyncio.sleep(0.05)
            worker.terminate()
            await worker.wait()
    finally:
        if worker.returncode is None:
            worker.kill()
            await worker.wait()
    assert worker.returncode == 0, (tmp_path / "out").read_text()
    counts = counted(await received(kafka, topic))
    assert counts["packed"] == 1
    assert any(event.startswith("Task celery_pool.pack") and "succeeded" in event for event in counts)


async def test_configuring_again_loses_nothing(kafka: Kafka, make_topic: MakeTopic) -> None:
    topic = await make_topic()
    done = await run("configured_again.py", kafka.bootstrap_servers, topic)
    assert (done.status, done.said) == (0, [])
    assert counted(await received(kafka, topic)) == {"first": 1, "second": 1}
