from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from consumers.rules import SHIPPED, load_rules, rule_files, shipped_rules
from pipeline.errors import ConfigError, RuleError

if TYPE_CHECKING:
    from pathlib import Path

RULE = """\
title: One
name: one
logsource: {category: application}
detection: {s: {level: error}, condition: s}
"""


def test_folders_are_searched_whole_and_cases_left_out(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    for name in ("b/one.yml", "a.yaml", "a.cases.yml", "README.md"):
        (tmp_path / name).write_text(RULE, encoding="utf-8")
    assert rule_files([str(tmp_path)]) == [tmp_path / "a.yaml", tmp_path / "b" / "one.yml"]


def test_a_file_named_twice_is_read_once(tmp_path: Path) -> None:
    (tmp_path / "one.yml").write_text(RULE, encoding="utf-8")
    assert set(load_rules([str(tmp_path), str(tmp_path / "one.yml")]).rules) == {"one"}


def test_the_rules_that_ship_can_be_named() -> None:
    files = rule_files([SHIPPED])
    assert files
    assert all(f.is_relative_to(shipped_rules()) for f in files)


def test_a_path_that_leads_nowhere_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file or folder"):
        load_rules([str(tmp_path / "none")])


def test_a_folder_without_rules_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.cases.yml").write_text("cases: []", encoding="utf-8")
    with pytest.raises(ConfigError, match="there is no rule"):
        load_rules([str(tmp_path)])


def test_a_rule_that_is_no_text_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "one.yml").write_bytes(b"title: \xff")
    with pytest.raises(RuleError, match=r"one\.yml: not UTF-8: invalid start byte at byte 7"):
        load_rules([str(tmp_path)])


def test_a_reference_may_lead_to_another_file(tmp_path: Path) -> None:
    (tmp_path / "one.yml").write_text(RULE, encoding="utf-8")
    correlation = "title: M\nname: many\ncorrelation:\n  type: event_count\n  rules: [one]\n"
    correlation += "  timespan: 1m\n  condition: {gte: 2}\n"
    (tmp_path / "many.yml").write_text(correlation, encoding="utf-8")
    assert set(load_rules([str(tmp_path)]).targets) == {"many"}


def test_the_same_name_in_two_files_names_both(tmp_path: Path) -> None:
    for name in ("a.yml", "b.yml"):
        (tmp_path / name).write_text(RULE, encoding="utf-8")
    with pytest.raises(RuleError, match=r"b\.yml:1: .*a\.yml:1"):
        load_rules([str(tmp_path)])


@pytest.mark.parametrize("name", [".git/one.yml", "..2026_data/one.yml", ".draft.yml"])
def test_what_begins_with_a_dot_is_left_out(tmp_path: Path, name: str) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    for file in (name, "one.yml"):
        (tmp_path / file).write_text(RULE, encoding="utf-8")
    assert rule_files([str(tmp_path)]) == [tmp_path / "one.yml"]


def test_a_link_to_a_rule_is_one_and_a_link_to_a_folder_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "one.yml").write_text(RULE, encoding="utf-8")
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "linked.yml").symlink_to(tmp_path / "elsewhere" / "one.yml")
    (tmp_path / "rules" / "folder").symlink_to(tmp_path / "elsewhere")
    assert rule_files([str(tmp_path / "rules")]) == [tmp_path / "rules" / "linked.yml"]
