"""Keys and marks: what is read from files and the environment, and what is written."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from consumers.verify.command import _time_ms
from consumers.verify.keys import read_keys
from consumers.verify.marks import read_marks, write_marks
from pipeline.chain.form import ChainKeys
from pipeline.chain.partition import Mark
from pipeline.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

KEY = b"a key of thirty-two characters!!"
IDS = ChainKeys([KEY]).ids


def test_keys_come_from_files_or_else_from_the_environment(tmp_path: Path) -> None:
    file, other = tmp_path / "key", tmp_path / "other"
    file.write_bytes(KEY + b"\n")
    other.write_bytes(b"x" * 16)
    environ = {"TOCSIN_CHAIN_KEY_FILE": str(file)}
    assert read_keys([], environ).ids == IDS
    assert read_keys([], {"TOCSIN_CHAIN_KEY": KEY.decode()}).ids == IDS
    assert read_keys([str(other)], environ).ids == ChainKeys([b"x" * 16]).ids
    assert len(read_keys([str(other), str(file), str(file)], {}).ids) == 2
    assert KEY.decode() not in f"{read_keys([str(file)], {})!r}"


def test_missing_or_short_key_is_told_without_showing_it(tmp_path: Path) -> None:
    file = tmp_path / "key"
    with pytest.raises(ConfigError, match="no key to verify with: give --key-file, TOCSIN_CHAIN_KEY or"):
        read_keys([], {})
    with pytest.raises(ConfigError, match="key: can't be read: No such file"):
        read_keys([str(file)], {})
    file.write_bytes(b"secret")
    with pytest.raises(ConfigError, match=r"key: a key has 16 to 4,096 bytes, not 6$"):
        read_keys([str(file)], {})
    file.write_bytes(b"s" * 10_000)
    with pytest.raises(ConfigError, match=r"not 4,099$"):
        read_keys([str(file)], {})
    with pytest.raises(ConfigError, match=r"^TOCSIN_CHAIN_KEY: a key has 16 to 4,096 bytes, not 6$"):
        read_keys([], {"TOCSIN_CHAIN_KEY": "secret"})


def test_marks_come_back_as_they_were_written(tmp_path: Path) -> None:
    file = tmp_path / "marks.json"
    assert read_marks(file, "logs") == {}
    marks = {0: Mark(0, 12, bytes(16)), 3: Mark(3, 7, bytes(range(16)))}
    write_marks(file, "logs", marks.values())
    assert read_marks(file, "logs") == marks
    write_marks(file, "logs", [])
    assert read_marks(file, "logs") == {}
    assert list(tmp_path.iterdir()) == [file]


def test_marks_of_another_topic_or_anything_else_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "marks.json"
    write_marks(file, "logs", [])
    with pytest.raises(ConfigError, match="holds the marks of topic 'logs', not of 'other'"):
        read_marks(file, "other")
    for text in "", "[]", "nonsense", '{"topic":"logs","marks":[{"partition":0,"offset":1,"mac":"zz"}]}':
        file.write_text(text)
        with pytest.raises(ConfigError, match="holds no marks of verify-log"):
            read_marks(file, "logs")
    with pytest.raises(ConfigError, match="can't be written: No such file"):
        write_marks(tmp_path / "no" / "marks", "logs", [])
    with pytest.raises(ConfigError, match="can't be read: Is a directory"):
        read_marks(tmp_path, "logs")


@pytest.mark.parametrize("text", ["yesterday", "24", "2026-13-01", "0001-01-01T00:00:00+14:00", ""])
def test_time_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="is neither a time such as 2026-11-24T17:30:00Z nor a duration"):
        _time_ms(text)


def test_times_may_be_moments_or_ages() -> None:
    assert _time_ms("2026-11-24T17:30:00Z") == 1_795_541_400_000
    assert _time_ms("2026-11-24T18:30:00+01:00") == 1_795_541_400_000
    assert _time_ms("24h") > 1_700_000_000_000
    assert _time_ms("999999y") == _time_ms("1960-01-01T00:00:00Z") == 0
