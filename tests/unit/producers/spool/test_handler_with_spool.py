"""The handler's options for the spool, and what a service sees of it without a broker."""

from __future__ import annotations

import logging
import os
import re
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from producers import KafkaHandler

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[4]


@pytest.fixture
def nobody() -> Iterator[str]:
    """An address where no broker is, nor will be."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{bound.getsockname()[1]}"


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


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"path": "-", "spool": "spool"}, "give either path or spool, not both"),
        ({"spool_sync": "often"}, "spool_sync 'often' is unknown; valid: never, interval, always"),
        ({"spool_bytes": 10}, "spool_bytes must be at least 2097152, not 10"),
        ({"max_event_bytes": 2**24}, "spool_bytes must be at least"),
    ],
)
def test_wrong_option_is_named(tmp_path: Path, options: dict[str, object], message: str) -> None:
    spool_bytes = 2**24
    with pytest.raises(ValueError, match=re.escape(message)):
        KafkaHandler(**{"spool": tmp_path, "spool_bytes": spool_bytes, **options})  # type: ignore[arg-type]  # wrong on purpose


def test_folder_that_can_not_be_used_is_known_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=re.escape(f"spool can't use the folder {tmp_path / 'file'}: ")):
        KafkaHandler(spool=tmp_path / "file")


def test_environment_names_the_folder_unless_there_is_a_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOCSIN_SPOOL", str(tmp_path / "spool"))
    KafkaHandler(path=tmp_path / "log").close()
    assert not (tmp_path / "spool").exists()
    KafkaHandler().close()
    assert (tmp_path / "spool").is_dir()
    KafkaHandler(spool=tmp_path / "other").close()
    assert (tmp_path / "other").is_dir()


def test_nothing_is_begun_before_the_first_record() -> None:
    code = (
        "import logging, os, sys, tempfile, threading, producers\n"
        "with tempfile.TemporaryDirectory() as folder:\n"
        "    handler = producers.KafkaHandler(bootstrap_servers='127.0.0.1:1', spool=folder)\n"
        "    print([m for m in ('aiokafka', 'structlog') if m in sys.modules],"
        " os.listdir(folder), threading.active_count())\n"
    )
    done = run(code)
    assert (done.stdout, done.stderr) == ("[] [] 1\n", "")


def test_without_a_spool_nothing_of_it_is_loaded() -> None:
    code = (
        "import sys, producers\n"
        "producers.KafkaHandler(bootstrap_servers='127.0.0.1:1')\n"
        "print([m for m in sys.modules if m.startswith('producers.spool')])\n"
    )
    assert run(code).stdout == "[]\n"


@pytest.mark.parametrize("handlers", ["", "logging.getLogger().addHandler(logging.StreamHandler())\n"])
def test_broker_away_at_exit_loses_nothing_and_is_said_once(
    tmp_path: Path, nobody: str, handlers: str
) -> None:
    code = (
        "import logging, os, sys, producers\n"
        + handlers
        + "h = producers.configure(service='s', bootstrap_servers=sys.argv[1], spool=sys.argv[2],"
        " flush_timeout_s=0.5)\n"
        "logging.getLogger().setLevel(logging.WARNING)\n"
        "for n in range(3): h.handle(logging.makeLogRecord({'msg': 'hello', 'levelno': 30}))\n"
        "print(h.pending, h.dropped)\n"
    )
    folder = tmp_path / "spool"
    for expected in (3, 6):
        done = run(code, nobody, str(folder))
        away, waiting = done.stderr.splitlines()
        assert away.startswith(f"tocsin: Kafka at {nobody} is away (KafkaConnectionError")
        assert away.endswith(f"; log records wait in {folder}")
        assert waiting == f"tocsin: {expected} log records wait in {folder} for the next start"
        assert (done.returncode, done.stdout) == (0, "3 {}\n")


def test_closed_handler_leaves_its_records_to_the_next(tmp_path: Path, nobody: str) -> None:
    for expected in (1, 2):
        handler = KafkaHandler(bootstrap_servers=nobody, spool=tmp_path, flush_timeout_s=0.2)
        handler.handle(logging.makeLogRecord({"msg": "hello", "levelno": 30}))
        handler.close()
        assert (handler.pending, handler.dropped) == (expected, {})
        handler.close()
        assert handler.pending == expected


def test_process_that_ends_without_exit_handlers_loses_nothing(tmp_path: Path, nobody: str) -> None:
    code = (
        "import logging, os, sys, producers\n"
        "h = producers.configure(service='s', bootstrap_servers=sys.argv[1], spool=sys.argv[2],"
        " flush_timeout_s=0.2)\n"
        "logging.info('hello')\n"
        "os._exit(0)\n"
    )
    run(code, nobody, str(tmp_path))
    handler = KafkaHandler(bootstrap_servers=nobody, spool=tmp_path, flush_timeout_s=0.2)
    handler.handle(logging.makeLogRecord({"msg": "hello", "levelno": 30}))
    handler.close()
    assert handler.pending == 2
