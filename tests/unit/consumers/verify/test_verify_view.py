"""Reports are for people and programs, and do nothing to either."""

from __future__ import annotations

import io
import json

import pytest

from consumers.verify.view import show_json, show_text
from tests.unit.pipeline.chain.written import Written, changed, numbered, verify

ENDS = (
    "1 of 1 series have no end: they go on, were killed, or were cut off, which leaves no trace here;"
    " --marks FILE tells that from check to check"
)
MISSING = "record 4 is missing before this one; it stood behind offset 3"


@pytest.fixture
def written() -> Written:
    written = Written()
    written.write(10)
    written.drop(2)
    written.write(10)
    return written


def test_clean_topic_says_so_and_what_cannot_be_seen(written: Written) -> None:
    file = io.StringIO()
    show_text("logs", verify(written.log), marked=False, file=file)
    assert file.getvalue().splitlines() == [
        "20 records in 1 partition; 20 authentic, of 1 series (source and key)",
        "2 records dropped by the services themselves, which is no tampering",
        "nothing found",
        ENDS,
    ]


def test_findings_tell_where_what_and_whose(written: Written) -> None:
    log = written.log
    file = io.StringIO()
    show_text("logs", verify(numbered([*log[:4], *log[5:]])), marked=True, file=file)
    assert file.getvalue().splitlines() == [
        f"logs/0/4: removed: {MISSING} (source ssssssssssssssss, key shop)",
        "19 records in 1 partition; 19 authentic, of 1 series (source and key)",
        "2 records dropped by the services themselves, which is no tampering",
        "1 finding that no handler leaves: 1 removed",
    ]


def test_beginnings_are_summed_up_for_people_and_listed_for_programs(written: Written) -> None:
    report = verify(written.log[5:], start=5)
    text, structured = io.StringIO(), io.StringIO()
    show_text("logs", report, marked=True, file=text)
    show_json("logs", report, file=structured)
    assert "logs/0/" not in text.getvalue()
    assert "1 series began before the oldest record that was read: by retention, or" in text.getvalue()
    told = json.loads(structured.getvalue())
    assert told["findings"] == [
        {
            "kind": "beginning",
            "partition": 0,
            "offset": 5,
            "count": 1,
            "what": "its records up to 4 stood before the oldest that was read, or were removed",
            "source": "s" * 16,
            "key": "shop",
            "first": 0,
            "last": 4,
        }
    ]
    (partition,) = told["partitions"]
    assert (partition["start"], partition["end"], partition["whole"]) == (5, 20, False)
    assert partition["mark"]["offset"] == 19


@pytest.mark.parametrize("hostile", [b"\x1b[2J" * 500, b"\xff\n\r\0" * 500, "\u202e[bold]".encode() * 200])
def test_hostile_names_stay_short_and_on_their_line(written: Written, hostile: bytes) -> None:
    log = written.log
    log[4] = changed(log[4], source=hostile, key=hostile)
    text, structured = io.StringIO(), io.StringIO()
    show_text("logs", verify(log), marked=True, file=text)
    show_json("logs", verify(log), file=structured)
    lines = text.getvalue().splitlines()
    assert lines[0].startswith("logs/0/4: altered: its MAC does not fit")
    assert all(line.isprintable() and len(line) < 800 for line in lines)
    assert len(lines) == 5
    assert json.loads(structured.getvalue())["findings"][0]["key"].isprintable()
