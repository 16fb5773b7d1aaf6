"""What a service's process does with the handler: start, fork, end, and no broker."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

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


@contextlib.contextmanager
def no_broker() -> Iterator[str]:
    """An address where nobody listens, for as long as it lasts."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{bound.getsockname()[1]}"


def test_import_loads_no_more_than_the_logging_module_does() -> None:
    code = (
        "import sys, threading, logging, producers\n"
        "producers.KafkaHandler\n"
        "print([m for m in ('aiokafka', 'asyncio', 'multiprocessing', 'structlog') if m in sys.modules])\n"
        "logging.getLogger().addHandler(producers.KafkaHandler(bootstrap_servers='127.0.0.1:1'))\n"
        "print([t.name for t in threading.enumerate()])\n"
    )
    done = run(code)
    assert (done.stdout, done.stderr) == ("[]\n['MainThread']\n", "")


def test_handler_loads_neither_the_client_nor_structlog() -> None:
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


@pytest.mark.parametrize("again", ["dictConfig", "fileConfig"])
def test_configuring_again_does_not_wait_for_a_broker_that_is_away(again: str) -> None:
    # Both close the handlers under the lock that the delivering thread needs to get a logger.
    code = """
import io, logging.config, sys, time
config = {'version': 1, 'disable_existing_loggers': False, 'root': {'level': 'INFO', 'handlers': ['kafka']}}
options = {'class': 'producers.KafkaHandler', 'bootstrap_servers': sys.argv[1], 'flush_timeout_s': 4}
config['handlers'] = {'kafka': options}
logging.config.dictConfig(config)
(first,) = logging.getLogger().handlers
logging.getLogger('x').info('one')
began = time.monotonic()
if sys.argv[2] == 'dictConfig':
    logging.config.dictConfig(config)
else:
    text = '[loggers]\\nkeys=root\\n[handlers]\\nkeys=\\n[formatters]\\nkeys=\\n[logger_root]\\nhandlers=\\n'
    logging.config.fileConfig(io.StringIO(text))
print(time.monotonic() - began < 2, first.pending)
"""
    with no_broker() as server:
        done = run(code, server, again)
    assert done.stdout.split() == ["True", "1"]
    assert done.stderr.count("1 log records were not delivered") == 1
    assert done.returncode == 0


def test_sink_that_fails_at_the_end_keeps_no_other_from_ending_in_order(tmp_path: Path) -> None:
    code = """
import logging, sys
from producers import KafkaHandler, process
class Broken:
    def renew(self): pass
    def finish(self, began_s): raise OSError('disk')
handler = KafkaHandler(path=sys.argv[1])
handler.sink.lose('info')
broken = [Broken() for _ in range(20)]
for each in broken: process.join(each)
"""
    done = run(code, str(tmp_path / "log"))
    assert len(lines(tmp_path / "log")) == 1
    assert done.stderr.splitlines() == ["tocsin: a sink did not end in order (OSError: disk)"] * 20
    assert done.returncode == 0


def test_record_that_is_only_kept_is_no_loss_behind_the_exit_handlers() -> None:
    code = """
import logging, sys, producers
handler = producers.configure(
    service='s', bootstrap_servers='127.0.0.1:1', recorder=True, control_topic='control', flush_timeout_s=0.2
)
class Connection:
    def __del__(self, log=logging.debug, recorder=handler.recorder, write=sys.stdout.write):
        log('closed late')
        write(str(recorder.kept))
connection = Connection()
"""
    done = run(code)
    assert (done.stdout, done.stderr, done.returncode) == ("1", "", 0)


def test_records_logged_while_the_process_ends_do_not_make_it_wait_again() -> None:
    code = """
import atexit, sys, time
# Before the logging module, whose exit handler flushes once more.
atexit.register(lambda: print(time.monotonic() - began < 1.9))
import logging
atexit.register(lambda: logging.info('behind the exit handler of ours'))
import producers
producers.configure(service='s', bootstrap_servers=sys.argv[1], flush_timeout_s=1)
logging.warning('hello')
began = time.monotonic()
"""
    with no_broker() as server:
        done = run(code, server)
    assert done.stdout == "True\n"
    lost = f"tocsin: 1 log records were not delivered to Kafka at {server} within 1 s"
    assert done.stderr.splitlines()[1:] == [lost, lost]


def test_finalizer_that_logs_behind_the_exit_handlers_is_told_of_once() -> None:
    code = """
import logging, sys, producers
producers.configure(service='s', bootstrap_servers=sys.argv[1])
class Connection:
    def __del__(self, logging=logging):
        for n in range(3):
            logging.info('closed late')
connection = Connection()
"""
    with no_broker() as server:
        done = run(code, server)
    assert (done.returncode, done.stderr) == (
        0,
        "tocsin: log records that come behind the interpreter's exit handlers are not delivered\n",
    )


@pytest.mark.parametrize("library", ["multiprocessing", "billiard"])
@pytest.mark.parametrize("logs_before", [True, False])
def test_child_waits_for_the_broker_and_says_what_is_lost(library: str, logs_before: bool) -> None:
    code = """
import importlib, logging, sys, producers
server, library, logs_before = sys.argv[1:]
multiprocessing = importlib.import_module(library)
def work():
    logging.warning('hello')
    logging.warning('hello')
producers.configure(service='s', bootstrap_servers=server, flush_timeout_s=0.5)
if logs_before == 'True':
    logging.warning('hello')
child = multiprocessing.get_context('fork').Process(target=work)
child.start()
child.join()
"""
    with no_broker() as server:
        done = run(code, server, library, str(logs_before))
    lost = f"log records were not delivered to Kafka at {server} within 0.5 s"
    said = [line for line in done.stderr.splitlines() if "not delivered" in line]
    assert said == [f"tocsin: {n} {lost}" for n in ([2, 1] if logs_before else [2])]


def test_sigterm_ends_the_process_in_time_and_says_what_is_lost() -> None:
    code = """
import logging, signal, sys, threading, producers
producers.configure(service='s', bootstrap_servers=sys.argv[1], flush_timeout_s=0.5)
logging.warning('hello')
signal.raise_signal(signal.SIGTERM)
print('not reached')
"""
    with no_broker() as server:
        done = run(code, server)
    assert (done.returncode, done.stdout) == (-signal.SIGTERM, "")
    assert done.stderr.splitlines()[1:] == [
        f"tocsin: 1 log records were not delivered to Kafka at {server} within 0.5 s"
    ]


def test_sigterm_that_comes_again_changes_nothing() -> None:
    code = """
import logging, os, signal, sys, threading, producers
handler = producers.configure(service='s', bootstrap_servers=sys.argv[1], flush_timeout_s=0.5)
logging.warning('hello')
flush = handler.sink.flush
def flush_and_hear_it_again(timeout_s):
    signal.raise_signal(signal.SIGTERM)
    return flush(timeout_s)
handler.sink.flush = flush_and_hear_it_again
signal.raise_signal(signal.SIGTERM)
"""
    with no_broker() as server:
        done = run(code, server)
    assert done.returncode == -signal.SIGTERM
    assert "1 log records were not delivered" in done.stderr


def test_sigterm_that_does_not_kill_still_ends_the_process() -> None:
    code = """
import logging, signal, sys, _thread, producers
logging.getLogger().addHandler(producers.KafkaHandler(bootstrap_servers=sys.argv[1]))
# As for process 1 of a container, which its own signals don't kill.
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
_thread.interrupt_main(signal.SIGTERM)
print('not reached')
"""
    with no_broker() as server:
        done = run(code, server)
    assert (done.returncode, done.stdout, done.stderr) == (128 + signal.SIGTERM, "", "")


@pytest.mark.parametrize(
    ("code", "handles"),
    [
        ("producers.KafkaHandler(); producers.configure()", True),
        ("thread = threading.Thread(target=producers.KafkaHandler); thread.start(); thread.join()", False),
        ("producers.configure(flush_on_sigterm=False); logging.info('hello')", False),
        ("producers.configure(path='-')", False),
        ("signal.signal(signal.SIGTERM, signal.SIG_IGN); producers.configure()", False),
        ("signal.signal(signal.SIGTERM, print); producers.configure()", False),
        ("producers.configure(); signal.signal(signal.SIGTERM, print); logging.info('hello')", False),
        # In C, behind the back of the signal module, as mod_wsgi and uWSGI do.
        ("import faulthandler; faulthandler.register(signal.SIGTERM); producers.configure()", False),
        # Made elsewhere, or given back meanwhile: from the first record on.
        (
            "t = threading.Thread(target=producers.configure); t.start(); t.join(); logging.info('hello')",
            True,
        ),
        ("producers.configure(); signal.signal(signal.SIGTERM, signal.SIG_DFL); logging.info('hello')", True),
    ],
)
def test_sigterm_is_handled_where_nobody_else_does(code: str, handles: bool) -> None:
    code = f"""
import logging, os, signal, threading, producers
{code}
print(getattr(signal.getsignal(signal.SIGTERM), '__module__', None) == 'producers.signals', flush=True)
os._exit(0)
"""
    with no_broker() as server:
        done = run(code, KAFKA_BOOTSTRAP_SERVERS=server)
    assert done.stdout == f"{handles}\n"


def test_sigterm_in_a_child_that_is_not_renewed_yet_meets_no_lock() -> None:
    code = """
import logging, os, signal, sys, threading
# Before ours, which renews the handler.
os.register_at_fork(after_in_child=lambda: signal.raise_signal(signal.SIGTERM))
import producers
handler = producers.configure(bootstrap_servers=sys.argv[1], flush_timeout_s=0.1)
logging.info('hello')
held, release = threading.Event(), threading.Event()
def hold():
    with handler.sink._buffer._lock:
        held.set()
        release.wait()
thread = threading.Thread(target=hold)
thread.start()
held.wait()
child = os.fork()
assert child
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
release.set()
thread.join()
"""
    with no_broker() as server:
        done = run(code, server)
    assert done.stdout == f"{-signal.SIGTERM}\n", done.stderr


def test_child_that_uvicorn_forks_dies_of_sigterm() -> None:
    code = """
import multiprocessing, os, signal, sys, time, producers, uvicorn
async def app(scope, receive, send): pass
class Config(uvicorn.Config):
    def load(self):
        # As an application that is imported here.
        producers.configure(bootstrap_servers=sys.argv[1], flush_timeout_s=0.1)
        child = os.fork()
        if child == 0:
            signal.raise_signal(signal.SIGTERM)
            os._exit(1)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
        super().load()
        signal.raise_signal(signal.SIGTERM)
uvicorn.Server(Config(app, port=0, lifespan='off', log_config=None)).run()
print('ended in order', flush=True)
"""
    with no_broker() as server:
        done = run(code, server)
    assert done.stdout == f"{-signal.SIGTERM}\nended in order\n"
    assert done.returncode == -signal.SIGTERM, done.stderr


def test_uvicorn_in_a_loop_of_the_services_own_keeps_its_signal() -> None:
    code = """
import asyncio, signal, sys, producers, uvicorn
async def app(scope, receive, send): pass
class Config(uvicorn.Config):
    def load(self):
        before = signal.getsignal(signal.SIGTERM)
        producers.configure(bootstrap_servers=sys.argv[1], flush_timeout_s=0.1)
        print(signal.getsignal(signal.SIGTERM) == before)
        super().load()
        signal.raise_signal(signal.SIGINT)
try:
    asyncio.run(uvicorn.Server(Config(app, port=0, lifespan='off', log_config=None)).serve())
except KeyboardInterrupt:
    pass
"""
    with no_broker() as server:
        done = run(code, server)
    assert (done.returncode, done.stdout) == (0, "True\n"), done.stderr


def test_interrupt_ends_in_order_and_says_what_is_lost() -> None:
    code = """
import logging, signal, sys, producers
producers.configure(service='s', bootstrap_servers=sys.argv[1], flush_timeout_s=0.1)
logging.warning('hello')
signal.raise_signal(signal.SIGINT)
"""
    with no_broker() as server:
        done = run(code, server)
    assert done.returncode
    assert "KeyboardInterrupt" in done.stderr
    assert done.stderr.endswith(
        f"tocsin: 1 log records were not delivered to Kafka at {server} within 0.1 s\n"
    )


@pytest.mark.parametrize("make", ["producers.KafkaHandler()", "producers.configure(path='-')"])
@pytest.mark.parametrize("isolated", [True, False])
def test_subinterpreter_is_refused(make: str, isolated: bool) -> None:
    code = f"""
import _xxsubinterpreters, os
interpreter = _xxsubinterpreters.create(isolated={isolated})
try:
    _xxsubinterpreters.run_string(interpreter, "import sys; sys.path.insert(0, ''); import producers; {make}")
except _xxsubinterpreters.RunFailedError as error:
    print(error, flush=True)
# A subinterpreter that has loaded libraries in C is not always taken apart without a crash.
os._exit(0)
"""
    done = run(code)
    assert done.stdout == (
        "<class 'RuntimeError'>: producers works in Python's main interpreter only, and this is a"
        " subinterpreter; under mod_wsgi, set WSGIApplicationGroup %{GLOBAL}\n"
    )


def test_subinterpreter_that_a_library_refuses_first_is_refused_in_the_same_words() -> None:
    code = """
import _xxsubinterpreters, os
interpreter = _xxsubinterpreters.create()
try:
    # As of Python 3.12, libraries in C that don't know of subinterpreters raise this themselves.
    _xxsubinterpreters.run_string(interpreter, "import sys; sys.path.insert(0, '');"
        "sys.modules['orjson'] = None; from producers import KafkaHandler")
except _xxsubinterpreters.RunFailedError as error:
    print(error, flush=True)
os._exit(0)
"""
    done = run(code)
    assert done.stdout.startswith("<class 'RuntimeError'>: producers works in Python's main interpreter only")


def test_library_that_is_missing_is_named_in_the_main_interpreter() -> None:
    done = run("import sys; sys.modules['orjson'] = None; from producers import KafkaHandler")
    assert "ModuleNotFoundError: import of orjson halted" in done.stderr


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
