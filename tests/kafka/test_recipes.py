"""The recipes in `examples/recipes`: each is started, used, told to stop, and read back from Kafka."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
import re
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
import pytest
from aiokafka import AIOKafkaConsumer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from tests.conftest import Kafka, MakeTopic

RECIPES = Path(__file__).parents[2] / "examples" / "recipes"
BIN = Path(sys.executable).parent
PORT = re.compile(r"http://127\.0\.0\.1:(\d+)")


@dataclasses.dataclass(frozen=True)
class Event:
    """An event that has arrived.

    Attributes:
        fields: its JSON, of any type each.
        source: names the counter that `seq` comes from.
        seq: which of its source it is.
    """

    fields: dict[str, Any]
    source: bytes
    seq: int

    def __getitem__(self, name: str) -> Any:
        return self.fields.get(name)

    @property
    def functions(self) -> list[str]:
        """Where its exception was raised, outermost first."""
        return [frame["function"] for frame in self["exception"]["frames"]]


class Started:
    """A recipe that runs, and what has arrived of it so far."""

    def __init__(self, process: asyncio.subprocess.Process, consumer: AIOKafkaConsumer) -> None:
        self._process = process
        self._consumer = consumer
        self.events: list[Event] = []

    async def until(self, wanted: Callable[[Event], bool], count: int = 1) -> list[Event]:
        """Wait until so many of the wanted have arrived."""
        async with asyncio.timeout(30):
            while len(found := [event for event in self.events if wanted(event)]) < count:
                assert self._process.returncode is None, f"it ended after {len(self.events)} events"
                await self._poll()
        return found

    async def port(self) -> int:
        """Wait until the server says where it listens."""
        (said,) = await self.until(lambda event: PORT.search(event["event"]) is not None)
        return int(PORT.findall(said["event"])[0])

    async def stop(self) -> tuple[int | None, str]:
        """Send SIGTERM, as what runs a service does; return the exit code and what was written."""
        self._process.send_signal(signal.SIGTERM)
        return await self.end()

    async def end(self) -> tuple[int | None, str]:
        """Wait for the end; return the exit code and what was written, to either stream."""
        async with asyncio.timeout(30):
            written, _ = await self._process.communicate()
        return self._process.returncode, written.decode()

    async def rest(self) -> list[Event]:
        """Return all that the recipe logged, by time, now that it has ended; nothing may be missing."""
        async with asyncio.timeout(30):
            (partition,) = self._consumer.assignment()
            end = (await self._consumer.end_offsets([partition]))[partition]
            while await self._consumer.position(partition) < end:
                await self._poll()
        assert without_gaps(self.events)
        # What the handler itself says at the end of a process is no recipe's. Processes deliver side by side,
        # so their events arrive in any order.
        of_recipe = [event for event in self.events if event["logger"] != "producers"]
        return sorted(of_recipe, key=lambda event: event["timestamp"])

    async def _poll(self) -> None:
        for records in (await self._consumer.getmany(timeout_ms=1_000)).values():
            for record in records:
                headers = dict(record.headers)
                fields = orjson.loads(record.value or b"")
                self.events.append(Event(fields, headers["source"], int(headers["seq"])))


class Start:
    """Starts a recipe on a topic of its own."""

    def __init__(self, kafka: Kafka, topic: str, stack: contextlib.AsyncExitStack, folder: Path) -> None:
        self.topic = topic
        self._servers = kafka.bootstrap_servers
        self._stack = stack
        self._folder = folder
        self.environment = {
            "PATH": os.environ["PATH"],
            # Gunicorn puts a socket there.
            "HOME": str(folder),
            "KAFKA_BOOTSTRAP_SERVERS": self._servers,
            "PYTHONDONTWRITEBYTECODE": "1",
            "TOCSIN_TOPIC": topic,
        }

    async def __call__(
        self, *command: str, cwd: str | Path = "", environment: Mapping[str, str] | None = None
    ) -> Started:
        """Start a command of the virtual environment in the recipes' folder, or one below it."""
        process = await asyncio.create_subprocess_exec(
            str(BIN / command[0]),
            *command[1:],
            cwd=RECIPES / cwd,
            env={**self.environment, **(environment or {})},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        self._stack.push_async_callback(self._kill, process)
        consumer = AIOKafkaConsumer(
            self.topic, bootstrap_servers=self._servers, auto_offset_reset="earliest", group_id=None
        )
        return Started(process, await self._stack.enter_async_context(consumer))

    @staticmethod
    async def _kill(process: asyncio.subprocess.Process) -> None:
        if process.returncode is None:
            process.kill()
        # Shown when the test has failed: this may say why.
        written, _ = await process.communicate()
        sys.stdout.write(written.decode())


@pytest.fixture
async def start(kafka: Kafka, make_topic: MakeTopic, tmp_path: Path) -> AsyncIterator[Start]:
    async with contextlib.AsyncExitStack() as stack:
        yield Start(kafka, await make_topic(name="recipe"), stack, tmp_path)


async def request(port: int, method: str, path: str, **headers: str) -> int:
    """Make a request on a connection of its own; return the status."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", "Connection: close", "Content-Length: 0"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        writer.write("\r\n".join([*lines, "", ""]).encode())
        return int((await reader.read()).split(b" ", 2)[1])
    finally:
        writer.close()
        await writer.wait_closed()


def has(**fields: object) -> Callable[[Event], bool]:
    return lambda event: all(event[name] == value for name, value in fields.items())


def one(events: list[Event], **fields: object) -> Event:
    """Return the one event with these fields."""
    (event,) = [event for event in events if has(**fields)(event)]
    return event


def without_gaps(events: list[Event]) -> bool:
    """Whether each source's numbers are all there, once and in order."""
    numbers: dict[bytes, list[int]] = {}
    for event in events:
        numbers.setdefault(event.source, []).append(event.seq)
    return all(found == list(range(len(found))) for found in numbers.values())


async def visit(server: Started) -> tuple[list[Event], int | None, str]:
    """Make the three requests that every web recipe answers, the last one while it is told to stop."""
    port = await server.port()
    assert await request(port, "GET", "/orders/7?page=2", X_User="ada", X_Request_ID="r-shown") == 200
    assert await request(port, "POST", "/orders/7/refund", X_Request_ID="r-failed") == 500
    slow = asyncio.create_task(request(port, "GET", "/report", X_Request_ID="r-slow"))
    await server.until(has(event="report begun"))
    code, written = await server.stop()
    assert await slow == 200
    return await server.rest(), code, written


def check_requests(events: list[Event], *, service: str, access: str, errors: str, orders: str) -> None:
    """Check what every web recipe's events have in common.

    Args:
        events: what arrived.
        service: of every event.
        access: the logger of one event for each request.
        errors: the logger that an unhandled exception comes from.
        orders: the app's own logger.
    """
    assert {event["service"] for event in events} == {service}
    logged = [(e["method"], e["path"], e["status"], e["client_ip"]) for e in events if e["logger"] == access]
    assert logged == [
        ("GET", "/orders/7?page=2", 200, "127.0.0.1"),
        ("POST", "/orders/7/refund", 500, "127.0.0.1"),
        ("GET", "/report", 200, "127.0.0.1"),
    ]
    for event in events:
        if event["logger"] == access:
            assert 0 < event["duration_ms"] < 20_000
    assert one(events, logger=access, request_id="r-slow")["duration_ms"] >= 1_000
    shown = one(events, event="order shown")
    assert (shown["logger"], shown["level"], shown["order_id"]) == (orders, "info", 7)
    # The request's id and its user are on all that was logged because of it, and nowhere else.
    of_requests = {(e["request_id"], e["user"]) for e in events if e["request_id"]}
    assert of_requests == {("r-shown", "ada"), ("r-failed", "nobody"), ("r-slow", "nobody")}
    assert len([e for e in events if e["request_id"] == "r-shown"]) == 2
    assert len([e for e in events if e["request_id"] == "r-failed"]) == 2
    assert len([e for e in events if e["request_id"] == "r-slow"]) == 3
    failed = one(events, level="error")
    assert (failed["logger"], failed["request_id"]) == (errors, "r-failed")
    assert failed["exception"]["type"] == "ZeroDivisionError"
    assert failed.functions[-1] == "refund"


@pytest.mark.parametrize("way", ["configuration file", "from Python"])
async def test_fastapi_under_uvicorn(start: Start, way: str) -> None:
    if way == "from Python":
        server = await start("python", "serve.py", cwd="fastapi_uvicorn", environment={"PORT": "0"})
    else:
        command = ("uvicorn", "app:app", "--log-config", "log_config.json", "--port", "0")
        server = await start(*command, cwd="fastapi_uvicorn")
    events, code, written = await visit(server)
    # When it has shut down, uvicorn dies of the signal that told it to.
    assert (code, written) == (-signal.SIGTERM, "")
    check_requests(
        events, service="shop-api", access="uvicorn.access", errors="uvicorn.error", orders="shop.orders"
    )
    said = [str(event["event"]) for event in events if event["logger"] == "uvicorn.error"]
    assert said[0].startswith("Started server process")
    assert said[-1].startswith("Finished server process")


@pytest.mark.parametrize("options", [(), ("--preload",)], ids=["each loads the app", "preloaded"])
async def test_flask_under_gunicorn_with_four_workers(start: Start, options: tuple[str, ...]) -> None:
    server = await start("gunicorn", "--bind", "127.0.0.1:0", *options, cwd="flask_gunicorn")
    events, code, written = await visit(server)
    assert (code, written) == (0, "")
    check_requests(events, service="shop-web", access="gunicorn.access", errors="app", orders="app")
    said = [str(event["event"]) for event in events if event["logger"] == "gunicorn.error"]
    assert sum(text.startswith("Booting worker") for text in said) == 4
    assert sum(text.startswith("Worker exiting") for text in said) == 4
    assert len({event["pid"] for event in events}) == len({event.source for event in events}) == 5
    assert said[-1] == "Shutting down: Master"


async def test_django_under_gunicorn(start: Start) -> None:
    server = await start("gunicorn", "--bind", "127.0.0.1:0", cwd="django_gunicorn")
    missing = await request(await server.port(), "GET", "/nowhere", X_Request_ID="r-missing")
    events, code, written = await visit(server)
    assert (missing, code, written) == (404, 0, "")
    not_found = one(events, level="warning")
    assert (not_found["logger"], not_found["request_id"]) == ("django.request", "r-missing")
    check_requests(
        [event for event in events if event["request_id"] != "r-missing"],
        service="shop-admin",
        access="shop.requests",
        errors="django.request",
        orders="shop.orders",
    )
    assert len({event.source for event in events if event["logger"] == "gunicorn.error"}) == 3


async def test_celery_with_two_children(start: Start, tmp_path: Path) -> None:
    environment = {"PYTHONPATH": str(RECIPES / "celery_prefork")}
    call = "import tasks; print(tasks.refund.delay(7).id, tasks.pack.delay(8).id)"
    queued = await start("python", "-c", call, cwd=tmp_path, environment=environment)
    code, ids = await queued.end()
    assert code == 0
    failing, packing = ids.split()
    command = ("celery", "-A", "tasks", "worker", "--loglevel", "INFO", "--concurrency", "2")
    worker = await start(*command, cwd=tmp_path, environment=environment)
    await worker.until(has(event="packing begun"))
    code, written = await worker.stop()
    events = await worker.rest()
    assert code == 0
    # The banner is Celery's; what it logs is not there as well.
    assert "INFO" not in written
    assert {event["service"] for event in events} == {"shop-tasks"}
    assert {event["logger"] for event in events} >= {
        "celery.app.trace",
        "celery.apps.worker",
        "celery.worker.strategy",
        "tasks",
    }
    # The worker was told to stop while it packed, and lost neither the task nor its last event.
    of_packing = [event for event in events if event["task_id"] == packing]
    assert [(e["task"], e["level"], e["logger"]) for e in of_packing] == [
        ("tasks.pack", "info", "tasks"),
        ("tasks.pack", "info", "tasks"),
        ("tasks.pack", "info", "celery.app.trace"),
    ]
    assert of_packing[1].fields.items() >= {"event": "packed", "order_id": 8}.items()
    assert of_packing[2]["data"].items() >= {"name": "tasks.pack", "return_value": "8"}.items()
    failed = one(events, level="error")
    assert (failed["logger"], failed["task"], failed["task_id"]) == (
        "celery.app.trace",
        "tasks.refund",
        failing,
    )
    assert failed["exception"]["type"] == "ZeroDivisionError"
    assert failed.functions[-1] == "refund"


async def test_script_with_basic_config_keeps_what_it_had(start: Start, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "1.jpg").touch()
    # The last one is not what the script expects.
    folders = [str(tmp_path / "photos"), str(tmp_path / "gone"), __file__]
    run = await start("python", "basic_config.py", *folders)
    code, written = await run.end()
    done, failed, last = events = await run.rest()
    assert code == 1
    assert {event["service"] for event in events} == {"backup"}
    assert (done["event"], done["files"], done["logger"]) == (f"backed up {folders[0]}", 1, "backup")
    assert (failed["level"], failed["logger"], failed.functions[0]) == ("error", "backup", "main")
    assert (last["level"], last["exception"]["type"]) == ("critical", "NotADirectoryError")
    lines = written.splitlines()
    assert lines[0].endswith(f"INFO backed up {folders[0]}")
    assert lines[1].endswith(f"ERROR can't back up {folders[1]}")
    assert lines[-1].startswith("NotADirectoryError")


async def test_asyncio_worker_finishes_the_jobs_that_are_begun(start: Start) -> None:
    worker = await start("python", "asyncio_worker.py")
    await worker.until(has(event="job failed"), count=2)
    code, written = await worker.stop()
    events = await worker.rest()
    assert (code, written) == (0, "")
    assert {(e["service"], e["logger"]) for e in events} == {("mailer", "shop.mail")}
    begun = one(events, event="told to stop")["begun"]
    assert events[-1]["event"] == "stopped"
    for job in range(1, begun + 1):
        ends = "job failed" if job % 3 == 0 else "job done"
        assert [event["event"] for event in events if event["job"] == job] == ["job begun", ends]
    failed = next(event for event in events if event["event"] == "job failed")
    assert (failed["level"], failed["job"], failed.functions) == ("error", 3, ["work", "send_mail"])
    forgotten = one(events, event="Task exception was never retrieved")
    assert (forgotten["level"], forgotten["task"], forgotten.functions) == ("error", "warm-up", ["warm_up"])
