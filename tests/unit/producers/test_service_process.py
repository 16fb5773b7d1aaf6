"""What a service's process does with the handler: start, fork, end, and no broker."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


def run(code: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=ROOT,
        env={**os.environ, **environment},
    )


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_import_loads_neither_the_client_nor_structlog() -> None:
    code = (
        "import sys, producers, logging\n"
        "handler = producers.KafkaHandler(bootstrap_servers='127.0.0.1:1')\n"
        "print([m for m in ('aiokafka', 'structlog', 'pipeline', 'consumers') if m in sys.modules])"
    )
    done = run(code)
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_script_that_only_changed_its_one_line_says_what_failed(tmp_path: Path) -> None:
    script = (ROOT / "examples" / "legacy_script.py").read_text()
    script = script.replace('service="backup"', f'service="backup", path={str(tmp_path / "log")!r}')
    done = run(script, "/no/such/file")
    (event,) = lines(tmp_path / "log")
    assert (event["level"], event["service"]) == ("error", "backup")
    assert str(event["event"]).startswith("can't back up /no/such/file")
    assert event["exception"]["type"] == "FileNotFoundError"  # type: ignore[index]  # a JSON value
    assert (done.returncode, done.stderr) == (0, "")


def test_last_words_at_exit_are_written(tmp_path: Path) -> None:
    code = (
        "import atexit, logging, sys, producers\n"
        "producers.configure(service='s', path=sys.argv[1])\n"
        "atexit.register(lambda: logging.info('bye'))\n"
        "logging.info('hello')\n"
        "sys.exit(3)"
    )
    assert run(code, str(tmp_path / "log")).returncode == 3
    assert [e["event"] for e in lines(tmp_path / "log")] == ["hello", "bye"]


def test_standard_output_is_a_target() -> None:
    done = run("import logging, producers; producers.configure(path='-', service='s'); logging.info('hello')")
    assert json.loads(done.stdout)["event"] == "hello"


@pytest.mark.parametrize("handlers", ["", "logging.getLogger().addHandler(logging.StreamHandler())\n"])
def test_broker_away_ends_in_time_and_is_said_once(handlers: str) -> None:
    code = (
        "import logging, sys, time, producers\n"
        + handlers
        + "h = producers.configure(service='s', bootstrap_servers=sys.argv[1], flush_timeout_s=1)\n"
        "logging.getLogger().setLevel(logging.WARNING)\n"
        "logging.getLogger('shop').info('quiet')\n"
        "h.handle(logging.makeLogRecord({'msg': 'hello', 'levelno': 30}))\n"
    )
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        server = f"127.0.0.1:{bound.getsockname()[1]}"
        done = run(code, server)
    away, lost = done.stderr.splitlines()
    assert away.startswith(f"tocsin: Kafka at {server} is away (KafkaConnectionError")
    assert lost == f"tocsin: 1 log records were not delivered to Kafka at {server} within 1 s"
    assert done.returncode == 0


def test_two_handlers_share_one_limit_at_exit() -> None:
    code = (
        "import atexit, logging, sys, time\n"
        "atexit.register(lambda: print(time.monotonic() - began < 4))\n"
        "import producers\n"
        "for n in range(4):\n"
        "    h = producers.KafkaHandler(service='s', bootstrap_servers=sys.argv[1], flush_timeout_s=1)\n"
        "    logging.getLogger().addHandler(h)\n"
        "logging.warning('hello')\n"
        "began = time.monotonic()"
    )
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        done = run(code, f"127.0.0.1:{bound.getsockname()[1]}")
    assert done.stdout == "True\n"


def test_forked_child_starts_empty_with_its_own_source_and_thread() -> None:
    code = """
import logging, os, sys, producers
h = producers.KafkaHandler(service='s', bootstrap_servers=sys.argv[1], queue_records=10, flush_timeout_s=0.2)
logging.getLogger().addHandler(h)
for n in range(20):
    logging.warning('parent')
parent = h.sink._buffer._source
child = os.fork()
if child == 0:
    fresh = (h.pending, dict(h.dropped), h.sink._worker, h.sink._buffer._source != parent)
    logging.warning('child')
    print(fresh, h.pending, h.sink._worker._thread.is_alive(), flush=True)
    os._exit(0)
os.waitpid(child, 0)
print(h.pending, dict(h.dropped), h.sink._worker._thread.is_alive())
"""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        done = run(code, f"127.0.0.1:{bound.getsockname()[1]}")
    assert done.stdout.splitlines() == [
        "(0, {}, None, True) 1 True",
        "10 {'warning': 10} True",
    ]


def test_too_many_open_files_delay_the_thread_and_lose_nothing() -> None:
    code = """
import os, resource, sys, structlog, producers
h = producers.configure(service='s', bootstrap_servers=sys.argv[1], flush_timeout_s=0.2)
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
taken = []
try:
    while True:
        taken.append(os.open(os.devnull, os.O_RDONLY))
except OSError:
    pass
log = structlog.get_logger()
log.error('one')
print(h.pending, dict(h.dropped), h.sink._worker)
for descriptor in taken:
    os.close(descriptor)
log.error('two')
print(h.pending, dict(h.dropped), h.sink._worker._thread.is_alive())
"""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        done = run(code, f"127.0.0.1:{bound.getsockname()[1]}")
    assert done.stdout.splitlines() == ["1 {} None", "2 {} True"], done.stderr
    assert "Traceback" not in done.stderr


def test_log_call_that_a_signal_breaks_off_stops_no_later_one() -> None:
    code = """
import logging, sys, producers
h = producers.configure(service='s', bootstrap_servers=sys.argv[1], flush_timeout_s=0.2)
class TimeLimit(BaseException): pass
def broken(): raise TimeLimit
# What a signal handler raises can come up between any two steps; here, before the thread is there.
h.sink._wake = broken
try:
    logging.error('broken off')
except TimeLimit:
    del h.sink._wake
logging.error('next')
print(h.pending, h.sink._worker._thread.is_alive())
"""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        done = run(code, f"127.0.0.1:{bound.getsockname()[1]}")
    assert done.stdout == "2 True\n", done.stderr


def test_fork_while_other_threads_log_does_not_lock_up(tmp_path: Path) -> None:
    code = """
import logging, os, sys, threading, producers
producers.configure(service='s', path=sys.argv[1])
stop = threading.Event()
def talk():
    while not stop.is_set():
        logging.info('thread')
threads = [threading.Thread(target=talk) for _ in range(3)]
for thread in threads:
    thread.start()
for n in range(30):
    child = os.fork()
    if child == 0:
        logging.info('child')
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
stop.set()
for thread in threads:
    thread.join()
"""
    done = run(code, str(tmp_path / "log"))
    assert (done.returncode, done.stderr) == (0, "")
    assert sum(e["event"] == "child" for e in lines(tmp_path / "log")) == 30


def test_example_service_repeats_itself_by_its_seed(tmp_path: Path) -> None:
    def once(name: str) -> list[dict[str, object]]:
        subprocess.run(
            [
                *(sys.executable, "examples/service.py", "--path", tmp_path / name, "--rate", "0"),
                *("--count", "4000", "--start-time", "2024-01-01T00:00:00", "--seed", "7"),
            ],
            check=True,
            capture_output=True,
            cwd=ROOT,
            timeout=60,
        )
        return [{k: v for k, v in e.items() if k != "pid"} for e in lines(tmp_path / name)]

    events = once("one")
    assert events == once("two")
    assert len(events) == 4000
    failed = [e for e in events if e["service"] == "payments" and e["level"] == "error" and "exception" in e]
    assert len(failed) == 40
    text = json.dumps(events)
    for needle in (
        "UNION SELECT",
        "../../etc/passwd",
        "<!channel>",
        "<script>",
        '"critical"',
        "login failed",
    ):
        assert needle in text
    assert max(str(e["timestamp"]) for e in failed) < "2024-01-01T00:00:03"


def test_example_service_storm_is_nothing_but_unique_errors(tmp_path: Path) -> None:
    subprocess.run(
        [
            *(sys.executable, "examples/service.py", "--path", tmp_path / "log", "--rate", "0"),
            *("--count", "500", "--errors", "--services", "50"),
        ],
        check=True,
        capture_output=True,
        cwd=ROOT,
        timeout=60,
    )
    events = lines(tmp_path / "log")
    assert {e["level"] for e in events} == {"error"}
    assert sorted(e["n"] for e in events) == list(range(500))  # type: ignore[type-var]  # a JSON value
    assert len({e["service"] for e in events}) == 50
