from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from producers.event.renderer import RenderedEvent
from producers.file import FileSink

if TYPE_CHECKING:
    from collections.abc import Mapping


def notice(dropped: Mapping[str, int]) -> RenderedEvent:
    return RenderedEvent(b"dropped %d" % sum(dropped.values()), b"k", 0, "warning")


def event(value: bytes, level: str = "info") -> RenderedEvent:
    return RenderedEvent(value, b"k", 0, level)


def test_events_are_appended_as_lines(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"before\n")
    sink = FileSink(str(path), notice)
    sink.write(event(b"one"))
    sink.write(event(b"two"))
    assert path.read_bytes() == b"before\none\ntwo\n"
    sink.close()


def test_file_that_was_renamed_away_is_opened_anew(tmp_path: Path) -> None:
    path = tmp_path / "log"
    sink = FileSink(str(path), notice)
    sink.write(event(b"one"))
    path.rename(tmp_path / "log.1")
    sink.write(event(b"two"))
    assert (tmp_path / "log.1").read_bytes() == b"one\n"
    assert path.read_bytes() == b"two\n"
    sink.close()


def test_closed_sink_opens_again(tmp_path: Path) -> None:
    path = tmp_path / "log"
    sink = FileSink(str(path), notice)
    sink.write(event(b"one"))
    sink.close()
    sink.write(event(b"two"))
    assert path.read_bytes() == b"one\ntwo\n"
    sink.close()


def test_path_that_cannot_be_opened_is_known_at_once(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        FileSink(str(tmp_path / "no" / "log"), notice)


def test_what_cannot_be_written_is_counted_and_told_once_there_and_later_in_the_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    sink = FileSink(str(folder / "log"), notice)
    sink.write(event(b"one"))
    folder.rename(tmp_path / "away")
    sink.write(event(b"two", "error"))
    sink.write(event(b"three"))
    assert sink.dropped == {"error": 1, "info": 1}
    assert capsys.readouterr().err.count("can't write log records") == 1
    folder.mkdir()
    sink.write(event(b"four"))
    assert (folder / "log").read_bytes() == b"four\ndropped 2\n"
    sink.close()


def test_standard_error_that_logs_makes_no_circle(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []

    class Logs:
        def write(self, text: str) -> None:
            said.append(text)
            sink.write(event(b"said", "error"))

        def flush(self) -> None:
            raise RuntimeError("reentrant call inside <_io.BufferedWriter name='<stderr>'>")

    sink = FileSink("/dev/full", notice)
    monkeypatch.setattr(sys, "stderr", Logs())
    sink.write(event(b"one"))
    assert len(said) == 1
    assert sink.dropped == {"info": 1, "error": 1}
    sink.close()


def test_full_disk_is_no_reason_to_raise(capsys: pytest.CaptureFixture[str]) -> None:
    assert Path("/dev/full").exists()
    sink = FileSink("/dev/full", notice)
    sink.write(event(b"one"))
    assert sink.dropped == {"info": 1}
    assert "No space left" in capsys.readouterr().err
    sink.close()
