"""What nobody has handled becomes records: warnings, uncaught exceptions, and what asyncio finds."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

import producers
from producers import hooks

ROOT = Path(__file__).parents[3]


def run(code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "default", "-c", code, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=ROOT,
        env=dict(os.environ),
    )


CONFIGURE = """
import gc, logging, sys, threading, warnings, producers
producers.configure(service='s', path=sys.argv[1])
"""


def events(tmp_path: Path, code: str) -> tuple[list[dict[str, object]], subprocess.CompletedProcess[str]]:
    """Run a service that is configured with a file, and return what it logged."""
    path = tmp_path / "log"
    done = run(CONFIGURE + code, path)
    return [json.loads(line) for line in path.read_text().splitlines()], done


def exception(event: dict[str, object]) -> tuple[object, object]:
    described = event["exception"]
    assert isinstance(described, dict)
    return described["type"], described["value"]


def test_warning_becomes_a_record_with_its_place(tmp_path: Path) -> None:
    (event,), done = events(tmp_path, "warnings.warn('100 % old', DeprecationWarning)")
    assert (event["logger"], event["level"], event["event"]) == ("py.warnings", "warning", "100 % old")
    assert (event["category"], event["file"], event["line"]) == ("DeprecationWarning", "<string>", 4)
    assert done.stderr == ""


def test_warning_for_a_file_goes_to_the_file(tmp_path: Path) -> None:
    logged, done = events(tmp_path, "warnings.showwarning('old', UserWarning, 'x.py', 1, sys.stderr)")
    assert logged == []
    assert "UserWarning: old" in done.stderr


def test_uncaught_exception_is_logged_with_its_chain_and_still_printed(tmp_path: Path) -> None:
    code = """
try:
    {}['key']
except KeyError as error:
    raise ValueError('no such order') from error
"""
    (event,), done = events(tmp_path, code)
    assert (event["logger"], event["level"]) == ("uncaught", "critical")
    assert event["event"] == "uncaught exception"
    assert exception(event) == ("ValueError", "no such order")
    assert event["exception"]["cause"]["type"] == "KeyError"  # type: ignore[index]  # a JSON value
    assert done.returncode == 1
    assert done.stderr.count("ValueError: no such order") == 1


@pytest.mark.parametrize("error", ["KeyboardInterrupt", "SystemExit(3)", "SystemExit('bye')"])
def test_end_that_was_asked_for_is_no_exception(tmp_path: Path, error: str) -> None:
    logged, _ = events(tmp_path, f"raise {error}")
    assert logged == []


def test_exception_that_ends_a_thread_is_logged_with_the_thread(tmp_path: Path) -> None:
    code = """
def work():
    raise OSError('disk')
for name in ('worker-7', 'worker-8'):
    thread = threading.Thread(target=work, name=name)
    thread.start()
    thread.join()
thread = threading.Thread(target=sys.exit)
thread.start()
thread.join()
"""
    logged, done = events(tmp_path, code)
    assert [(e["logger"], e["level"], e["event"], e["thread_name"], exception(e)) for e in logged] == [
        ("uncaught", "error", "uncaught exception in thread", name, ("OSError", "disk"))
        for name in ("worker-7", "worker-8")
    ]
    assert done.stderr.count("OSError: disk") == 2
    assert done.returncode == 0


def test_what_a_finalizer_raises_is_logged(tmp_path: Path) -> None:
    code = """
class Connection:
    def __del__(self):
        raise OSError('already closed')
connection = Connection()
del connection
"""
    (event,), done = events(tmp_path, code)
    assert (event["logger"], event["level"], event["event"]) == ("uncaught", "error", "unraisable exception")
    assert exception(event) == ("OSError", "already closed")
    assert event["where"] == "Exception ignored in"
    assert "Connection.__del__" in str(event["object"])
    assert "OSError: already closed" in done.stderr


def test_what_asyncio_finds_arrives_with_the_task_and_its_exception(tmp_path: Path) -> None:
    code = """
import asyncio
async def refresh():
    raise ValueError('stale')
async def main():
    task = asyncio.create_task(refresh(), name='refresh-prices')
    await asyncio.wait({task})
    del task
    asyncio.get_running_loop().call_soon(lambda: 1 / 0)
    await asyncio.sleep(0)
asyncio.run(main())
"""
    logged, _ = events(tmp_path, code)
    retrieved = next(e for e in logged if str(e["event"]).startswith("Task exception was never retrieved"))
    assert (retrieved["logger"], retrieved["level"]) == ("asyncio", "error")
    assert exception(retrieved) == ("ValueError", "stale")
    assert "refresh-prices" in str(retrieved["event"])
    callback = next(e for e in logged if str(e["event"]).startswith("Exception in callback"))
    assert exception(callback) == ("ZeroDivisionError", "division by zero")
    assert len(logged) == 2


def test_exception_handler_of_the_services_own_loop_stays(tmp_path: Path) -> None:
    code = """
import asyncio
async def main():
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda loop, context: print('mine', repr(context['exception'])))
    loop.call_soon(lambda: 1 / 0)
    await asyncio.sleep(0)
asyncio.run(main())
"""
    logged, done = events(tmp_path, code)
    assert logged == []
    assert done.stdout == "mine ZeroDivisionError('division by zero')\n"


def test_configuring_twice_logs_once(tmp_path: Path) -> None:
    code = """
producers.configure(service='s', path=sys.argv[1])
producers.configure(service='s', path=sys.argv[1])
warnings.warn('old')
thread = threading.Thread(target=lambda: 1 / 0)
thread.start()
thread.join()
raise ValueError
"""
    logged, done = events(tmp_path, code)
    assert [e["event"] for e in logged] == ["old", "uncaught exception in thread", "uncaught exception"]
    assert done.stderr.count("Traceback") == 2


def test_hook_that_replaced_ours_is_kept(tmp_path: Path) -> None:
    code = """
def hook(kind, error, traceback):
    print('theirs', kind.__name__)
    chained(kind, error, traceback)
chained, sys.excepthook = sys.excepthook, hook
producers.configure(service='s', path=sys.argv[1])
raise ValueError
"""
    (event,), done = events(tmp_path, code)
    assert event["event"] == "uncaught exception"
    assert done.stdout == "theirs ValueError\n"
    assert done.stderr.count("Traceback") == 1


def test_hook_behind_another_is_turned_off_and_on(tmp_path: Path) -> None:
    code = """
def hook(*args):
    chained(*args)
chained, sys.excepthook = sys.excepthook, hook
producers.configure(service='s', path=sys.argv[1], hooks=())
sys.excepthook(ValueError, ValueError('off'), None)
producers.configure(service='s', path=sys.argv[1])
sys.excepthook(ValueError, ValueError('on'), None)
"""
    (event,), done = events(tmp_path, code)
    assert exception(event) == ("ValueError", "on")
    assert done.stderr.splitlines() == ["ValueError: off", "ValueError: on"]


def test_hook_that_was_put_back_is_taken_again(tmp_path: Path) -> None:
    code = """
sys.excepthook = sys.__excepthook__
producers.configure(service='s', path=sys.argv[1])
raise ValueError
"""
    (event,), done = events(tmp_path, code)
    assert event["event"] == "uncaught exception"
    assert done.stderr.count("Traceback") == 1


def test_without_hooks_python_is_as_before(tmp_path: Path) -> None:
    code = """
producers.configure(service='s', path=sys.argv[1], hooks=())
print(sys.excepthook is sys.__excepthook__, threading.excepthook is threading.__excepthook__,
    sys.unraisablehook is sys.__unraisablehook__, warnings.showwarning is warnings._showwarning_orig)
"""
    logged, done = events(tmp_path, code)
    assert logged == []
    assert done.stdout == "True True True True\n"


def test_one_hook_of_choice(tmp_path: Path) -> None:
    code = """
producers.configure(service='s', path=sys.argv[1], hooks=['excepthook'])
warnings.warn('old')
raise ValueError
"""
    (event,), done = events(tmp_path, code)
    assert event["event"] == "uncaught exception"
    assert "UserWarning: old" in done.stderr


def test_bare_handler_leaves_pythons_hooks_alone(tmp_path: Path) -> None:
    code = """
import logging, sys, threading, warnings, producers
logging.getLogger().addHandler(producers.KafkaHandler(path=sys.argv[1]))
print(sys.excepthook is sys.__excepthook__, threading.excepthook is threading.__excepthook__,
    sys.unraisablehook is sys.__unraisablehook__, warnings.showwarning is warnings._showwarning_orig)
"""
    assert run(code, tmp_path / "log").stdout == "True True True True\n"


def test_wrong_name_of_a_hook_says_which_is_meant_and_changes_nothing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"hook 'warning' is unknown; is warnings meant\?"):
        producers.configure(path=tmp_path / "log", hooks=["warning"])
    with pytest.raises(ValueError, match="hook 'x' is unknown; valid: warnings, excepthook, threading, unr"):
        producers.configure(path=tmp_path / "log", hooks=["x"])
    assert not (tmp_path / "log").exists()


def test_handler_that_raises_stops_no_hook(tmp_path: Path) -> None:
    code = """
class Broken(logging.Handler):
    def handle(self, record):
        raise RuntimeError('broken handler')
logging.getLogger().addHandler(Broken())
warnings.warn('old')
thread = threading.Thread(target=lambda: 1 / 0)
thread.start()
thread.join()
raise ValueError('at last')
"""
    logged, done = events(tmp_path, code)
    assert len(logged) == 3
    for printed in ("UserWarning: old", "ZeroDivisionError", "ValueError: at last"):
        assert printed in done.stderr
    assert "broken handler" not in done.stderr


def test_handler_that_warns_of_each_record_is_not_warned_of_without_end(tmp_path: Path) -> None:
    code = """
class Old(logging.Handler):
    def emit(self, record):
        warnings.warn('emit is old', DeprecationWarning)
warnings.simplefilter('always')
logging.getLogger().addHandler(Old())
warnings.warn('first')
logging.getLogger('x').info('hello')
"""
    logged, done = events(tmp_path, code)
    # What the handler says of our own record of a warning is said as without us.
    assert [e["event"] for e in logged] == ["first", "hello", "emit is old"]
    assert done.stderr.count("DeprecationWarning: emit is old") == 2


def test_uncaught_exception_waits_for_the_broker_once_and_in_limited_time() -> None:
    code = """
import sys, time, producers
def hook(*args):
    print(0.5 <= time.monotonic() - began < 30, args[0].__name__)
sys.excepthook = hook
producers.configure(service='s', bootstrap_servers=sys.argv[1], flush_timeout_s=0.5)
began = time.monotonic()
raise ValueError
"""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        server = f"127.0.0.1:{bound.getsockname()[1]}"
        done = run(code, server)
    assert done.stdout == "True ValueError\n"
    assert done.stderr.endswith(
        f"tocsin: 1 log records were not delivered to Kafka at {server} within 0.5 s\n"
    )


def test_exception_that_ends_a_child_of_multiprocessing_is_logged(tmp_path: Path) -> None:
    code = """
import multiprocessing
def work():
    raise OSError('disk')
def leave():
    sys.exit(1)
context = multiprocessing.get_context('fork')
try:
    {}['key']
except KeyError:
    # What the parent handles just now is not what ends the child.
    for target in (work, leave, int):
        child = context.Process(target=target, name=target.__name__)
        child.start()
        child.join()
"""
    (event,), done = events(tmp_path, code)
    assert (event["logger"], event["level"]) == ("uncaught", "critical")
    assert (event["event"], event["process_name"]) == ("uncaught exception in child process", "work")
    assert exception(event) == ("OSError", "disk")
    assert done.stderr.count("OSError: disk") == 1


def test_one_text_is_no_list_of_hooks() -> None:
    with pytest.raises(TypeError, match="hooks must be a list of names, not the text 'warnings'"):
        hooks.check("warnings")
