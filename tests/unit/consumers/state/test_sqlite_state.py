from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumers.files import Position
from consumers.state import Database, StateError

POSITION = Position("/var/log/auth.log", 2049, 77, 1234, "3:abc")


def test_what_is_committed_is_there_after_reopening(tmp_path: Path) -> None:
    with contextlib.closing(Database(tmp_path / "state.db")) as database:
        database.commit([POSITION], {"notify": [("a", b"1"), ("b", b"2")], "correlate": [("a", b"3")]})
    with contextlib.closing(Database(tmp_path / "state.db")) as database:
        assert database.position(POSITION.path) == POSITION
        assert database.load("notify") == {"a": b"1", "b": b"2"}
        assert database.load("correlate") == {"a": b"3"}
        assert database.load("detect") == {}
        assert database.position("/elsewhere") is None


def test_state_without_a_file_lives_in_memory() -> None:
    with contextlib.closing(Database(None)) as database:
        database.commit([POSITION], {"notify": [("a", b"1")]})
        assert database.position(POSITION.path) == POSITION
        assert database.load("notify") == {"a": b"1"}


@given(
    st.lists(
        st.lists(
            st.tuples(st.text(st.characters(), max_size=3), st.none() | st.binary(max_size=4)), max_size=6
        ),
        max_size=6,
    )
)
def test_commits_add_up_as_in_a_dict(commits: list[list[tuple[str, bytes | None]]]) -> None:
    expected: dict[str, bytes] = {}
    with contextlib.closing(Database(None)) as database:
        for changes in commits:
            database.commit(changes={"notify": changes})
            for key, value in changes:
                if value is None:
                    expected.pop(key, None)
                else:
                    expected[key] = value
        assert database.load("notify") == expected


def test_names_that_are_no_unicode_and_the_largest_numbers_are_kept() -> None:
    odd = Position(os.fsdecode(b"/var/log/\xff.log"), 2**64 - 1, 2**64 - 1, 2**63 - 1)
    with contextlib.closing(Database(None)) as database:
        database.commit([odd], {"notify": [("\ud800\0", b"\0")]})
        assert database.position(odd.path) == odd
        assert database.load("notify") == {"\ud800\0": b"\0"}


def test_a_failed_commit_leaves_everything_as_it_was() -> None:
    with contextlib.closing(Database(None)) as database:
        database.commit([POSITION], {"notify": [("a", b"1")]})
        moved = Position(POSITION.path, 1, 2, 3)
        with pytest.raises(StateError):
            database.commit([moved], {"notify": [("a", b"2")], "correlate": [("b", object())]})  # type: ignore[list-item] # what SQLite can't store, to make it fail
        assert database.position(POSITION.path) == POSITION
        assert database.load("notify") == {"a": b"1"}
        database.commit([moved])
        assert database.position(POSITION.path) == moved


def test_a_second_user_of_the_file_is_told_who_has_it(tmp_path: Path) -> None:
    (tmp_path / "link.db").symlink_to(tmp_path / "state.db")
    with (
        contextlib.closing(Database(tmp_path / "state.db")),
        pytest.raises(StateError, match=rf"link\.db: in use by another process \({os.getpid()}\)"),
    ):
        Database(tmp_path / "link.db")
    Database(tmp_path / "state.db").close()


def test_state_outlives_a_killed_process_and_so_does_not_its_lock(tmp_path: Path) -> None:
    script = (
        "import os, signal, sys; from pathlib import Path\n"
        "from consumers.state import Database\n"
        "database = Database(Path(sys.argv[1]))\n"
        "database.commit(changes={'notify': [('a', b'1')]})\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, tmp_path / "state.db"], check=False, cwd=Path(__file__).parents[4]
    )
    assert done.returncode == -signal.SIGKILL
    with contextlib.closing(Database(tmp_path / "state.db")) as database:
        assert database.load("notify") == {"a": b"1"}


def test_only_the_owner_can_read_the_state(tmp_path: Path) -> None:
    with contextlib.closing(Database(tmp_path / "state.db")) as database:
        database.commit(changes={"notify": [("a", b"1")]})
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert set(modes.values()) == {0o600}, modes


def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    Database(path).close()
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 7")
    with pytest.raises(
        StateError, match=r"state\.db: written by a newer Tocsin \(schema 7, this one knows 1\)"
    ):
        Database(path)


def test_another_programs_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mail.db"
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE letters (body)")
    with pytest.raises(StateError, match=r"mail\.db: an SQLite file of another program"):
        Database(path)


def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    path.write_bytes(b"no database" * 1000)
    with pytest.raises(StateError, match=r"state\.db: not a usable SQLite file"):
        Database(path)
    assert path.read_bytes() == b"no database" * 1000


def test_a_damaged_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    with contextlib.closing(Database(path)) as database:
        database.commit(changes={"notify": [(str(i), bytes(500)) for i in range(200)]})
    data = bytearray(path.read_bytes())
    data[8192:40960] = b"\xff" * (40960 - 8192)
    path.write_bytes(data)
    with pytest.raises(StateError, match=r"state\.db: not a usable SQLite file"):
        Database(path)
    assert path.read_bytes() == bytes(data)


def test_a_refused_file_is_let_go_of(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    path.write_bytes(b"no database" * 1000)
    with pytest.raises(StateError):
        Database(path)
    path.unlink()
    Database(path).close()


def test_a_missing_folder_is_named() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "gone" / "state.db"
        with pytest.raises(StateError, match=r"gone/state\.db.*No such file or directory"):
            Database(path)


def test_using_a_closed_database_is_an_error(tmp_path: Path) -> None:
    database = Database(tmp_path / "state.db")
    database.close()
    database.close()
    with pytest.raises(StateError, match="closed"):
        database.load("notify")


def test_the_state_file_can_be_copied_once_closed(tmp_path: Path) -> None:
    with contextlib.closing(Database(tmp_path / "state.db")) as database:
        database.commit([POSITION])
    shutil.copy(tmp_path / "state.db", tmp_path / "copy.db")
    with contextlib.closing(Database(tmp_path / "copy.db")) as database:
        assert database.position(POSITION.path) == POSITION
