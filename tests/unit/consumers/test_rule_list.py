from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

import pytest
from rich.console import Console

from consumers.rule_list import Only, list_rules
from pipeline.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

RULES = """\
title: Known
id: 6a1d2f0e-3b4c-4d5e-8f60-718293a4b5c6
name: known
level: high
status: stable
logsource: {product: windows, category: process_creation}
detection: {selection: {Image|endswith: '\\known.exe'}, condition: selection}
---
title: Absent
name: absent
level: low
logsource: {product: windows, category: process_creation}
detection: {selection: {Image|endswith: '\\known.exe'}, condition: not selection}
---
title: Fed
name: fed
logsource: {category: application}
detection: {selection: {event: refund refused}, condition: selection}
---
title: Many
name: many
level: critical
correlation: {type: event_count, rules: [fed], group-by: [user], timespan: 1m, condition: {gte: 2}}
"""


@pytest.fixture
def rules(tmp_path: Path) -> str:
    (tmp_path / "r.yml").write_text(RULES, encoding="utf-8")
    return str(tmp_path / "r.yml")


def listed(path: str, **options: Any) -> tuple[int, Any]:
    """List, and return the exit code and what was written. Any: options as they are, JSON as it comes."""
    file = io.StringIO()
    code = list_rules([path], form="json", console=Console(file=file), **options)
    return code, json.loads(file.getvalue())


def text(path: str, **options: Any) -> str:
    """The same for people. Any: as above."""
    file = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True)
    list_rules([path], console=Console(file=file, width=100), **options)
    file.seek(0)
    return file.read()


def test_each_rule_is_listed_with_what_it_is_for_and_leads_to(rules: str) -> None:
    code, listing = listed(rules)
    assert code == 0
    assert [r["title"] for r in listing["rules"]] == ["Many", "Known", "Fed", "Absent"]
    many, known, fed, absent = listing["rules"]
    assert known == {
        "id": "6a1d2f0e-3b4c-4d5e-8f60-718293a4b5c6",
        "title": "Known",
        "level": "high",
        "status": "stable",
        "kind": "detection",
        "place": f"{rules}:1",
        "product": "windows",
        "service": "",
        "category": "process_creation",
        "alerts": True,
        "feeds": [],
        "unfiltered": "",
    }
    assert (many["kind"], many["alerts"], many["level"]) == ("correlation", True, "critical")
    assert (fed["alerts"], fed["feeds"], fed["level"]) == (False, ["many"], "medium")
    assert absent["unfiltered"] == "only negations: not Image ends with '\\known.exe'"


def test_sums_stand_beside_the_rules(rules: str) -> None:
    _, listing = listed(rules)
    assert listing["kinds"] == {"detection": 3, "correlation": 1}
    assert listing["levels"] == {"critical": 1, "high": 1, "medium": 1, "low": 1}
    assert listing["logsources"] == {"windows / * / process_creation": 2, "* / * / application": 1}
    assert (listing["alerting"], listing["unfiltered"]) == (3, 1)


@pytest.mark.parametrize(
    ("only", "titles"),
    [
        ("all", ["Many", "Known", "Fed", "Absent"]),
        ("unfiltered", ["Absent"]),
        ("alerting", ["Many", "Known", "Absent"]),
        ("feeding", ["Fed"]),
        ("correlations", ["Many"]),
    ],
)
def test_some_rules_can_be_asked_for(rules: str, only: Only, titles: list[str]) -> None:
    assert [r["title"] for r in listed(rules, only=only)[1]["rules"]] == titles


@pytest.mark.parametrize(
    ("logsource", "titles"),
    [
        ("product=windows", ["Known", "Absent"]),
        ("product=WINDOWS,category=process_creation", ["Known", "Absent"]),
        ("category=application", ["Fed"]),
        ("product=linux", []),
    ],
)
def test_rules_of_one_log_source_can_be_asked_for(rules: str, logsource: str, titles: list[str]) -> None:
    code, listing = listed(rules, logsource=logsource)
    assert [r["title"] for r in listing["rules"]] == titles
    assert code == (0 if titles else 1)


def test_a_log_source_that_is_none_is_an_error(rules: str) -> None:
    with pytest.raises(ConfigError, match="no log source: 'windows'"):
        list_rules([rules], logsource="windows")


def test_sums_come_first_and_rules_only_when_asked_for(rules: str) -> None:
    short = text(rules)
    assert short.startswith(
        "3 detections, 1 correlation\n3 raise alerts, 1 only feed correlations\n"
        "1 critical, 1 high, 1 medium, 1 low\n"
    )
    assert "     2  windows / * / process_creation\n" in short
    assert "1 without a witness: they examine every event\n" in short
    assert "only negations: not Image ends with" in short
    assert "Known" not in short
    long = text(rules, verbose=True)
    assert long.startswith(short)
    for told in (
        "6a1d2f0e-3b4c-4d5e-8f60-718293a4b5c6",
        f"{rules}:1"[:40],
        "feeds many",
        "correlation",
        "stable",
    ):
        assert told in long


def test_where_every_rule_has_a_witness_that_is_said(rules: str) -> None:
    assert "every rule has a witness" in text(rules, only="feeding")


def test_thousands_of_rules_have_a_short_summary(tmp_path: Path) -> None:
    rule = "title: R{n}\nname: r{n}\nlogsource: {{product: p{n}}}\n"
    rule += "detection: {{selection: {{f: needle}}, condition: not selection}}\n"
    (tmp_path / "r.yml").write_text("---\n".join(rule.format(n=n) for n in range(60)), encoding="utf-8")
    short = text(str(tmp_path / "r.yml"))
    assert len(short.splitlines()) < 100
    assert "    40  of 40 others\n" in short
    assert "… and 40 others; -v lists them" in short
    assert "others" not in text(str(tmp_path / "r.yml"), verbose=True).split("examine every event")[1]


def test_colour_is_for_a_terminal(rules: str) -> None:
    file = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True)
    list_rules([rules], verbose=True, console=Console(file=file, force_terminal=True, width=100))
    file.seek(0)
    assert "\x1b[1m3 detections" in file.read()
    assert "\x1b" not in text(rules, verbose=True)


def test_nothing_of_a_rule_acts_on_the_terminal(tmp_path: Path) -> None:
    evil = RULES.replace("title: Absent", 'title: "A[red]b\\e[2J\\u202ec"')
    (tmp_path / "r.yml").write_text(evil, encoding="utf-8")
    told = text(str(tmp_path / "r.yml"), verbose=True)
    assert "A[red]b␛[2J\\u202ec" in told
    assert all(line.isprintable() for line in told.split("\n"))


def test_rules_in_python_are_listed(tmp_path: Path, rules: str) -> None:
    code = "from pipeline.python_rule import rule\n\n\n"
    code += "@rule('0c9f1d52-6f4f-4b3c-9e38-2f1f8a1b9f11', 'Odd')\ndef odd(event):\n    return True\n"
    (tmp_path / "odd.py").write_text(code, encoding="utf-8")
    _, listing = listed(rules, python=[str(tmp_path / "odd.py")])
    (odd,) = [r for r in listing["rules"] if r["kind"] == "python"]
    assert (odd["title"], odd["unfiltered"]) == ("Odd", "no needles are given")
    assert "1 rule in Python" in text(rules, python=[str(tmp_path / "odd.py")])


def test_rules_that_can_not_be_used_are_told_and_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bad.yml").write_text("title: X\n", encoding="utf-8")
    good = "title: Good\nlogsource: {category: a}\ndetection: {s: {f: v}, condition: s}\n"
    (tmp_path / "good.yml").write_text(good, encoding="utf-8")
    assert list_rules([str(tmp_path)]) == 0
    told = capsys.readouterr()
    assert "1 detection" in told.out
    assert told.err.startswith(f"left out: {tmp_path / 'bad.yml'}:1: neither `detection`")
