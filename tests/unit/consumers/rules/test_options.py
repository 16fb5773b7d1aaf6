"""What the configuration adds to rules: placeholders, processing pipelines, leaving out what is bad."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from consumers.rules import RuleCache, RuleSources, find_processing, load
from consumers.rules.placeholders import placeholder_values
from pipeline.config.model import PlaceholderFile
from pipeline.errors import ConfigError, RuleError
from pipeline.sigma.form import And, Item, Node, Not, Or, Text
from tests.unit.consumers.rules.rule_files import CORRELATION, detection, write

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipeline.sigma.ruleset import RuleSet

MAPPING = """\
name: Ours
priority: {priority}
transformations:
  - id: ours
    type: field_name_mapping
    mapping: {{{old}: {new}}}
"""


def asked(rules: RuleSet, name: str) -> set[tuple[str | None, str]]:
    """Return the fields and texts that a rule asks for."""

    def items(node: Node) -> Iterator[Item]:
        match node:
            case And() | Or():
                for inner in node.items:
                    yield from items(inner)
            case Not():
                yield from items(node.item)
            case Item():
                yield node

    found = items(rules.rules[name].condition)
    return {
        (i.field, "".join(map(str, i.test.parts)) if isinstance(i.test, Text) else str(i.test)) for i in found
    }


# --- placeholders -------------------------------------------------------------------------------------


def test_values_are_written_or_stand_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "admins.txt"
    file.write_text("# who may\nroot\n\n  ansible  \n#nobody\nroot\n", "utf-8")
    values = placeholder_values({"admins": PlaceholderFile(file=str(file)), "ports": [22, "443", 1.5]})
    assert values == {"admins": ("root", "ansible"), "ports": ("22", "443", "1.5")}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "can't be read: No such file"),
        (b"# nothing\n\n", "there is no value in"),
        (b"\xff", "not UTF-8: invalid start byte at byte 0"),
    ],
)
def test_a_file_without_values_is_an_error(tmp_path: Path, content: bytes | None, said: str) -> None:
    file = tmp_path / "admins.txt"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigError, match=said) as error:
        placeholder_values({"admins": PlaceholderFile(file=str(file))})
    assert "placeholders.admins" in str(error.value)


def test_placeholders_reach_the_rules(tmp_path: Path) -> None:
    folder = write(tmp_path / "r", one=detection("one", "{user|expand: '%admins%'}"))
    with pytest.raises(RuleError, match="placeholder"):
        load(RuleSources((folder,)))
    loaded = load(RuleSources((folder,), placeholders={"admins": ["root", "ansible"]}))
    assert asked(loaded.rules, "one") == {("user", "root"), ("user", "ansible")}


# --- pipelines ----------------------------------------------------------------------------------------


def test_a_pipeline_in_a_file_changes_the_fields(tmp_path: Path) -> None:
    folder = write(tmp_path / "r", one=detection("one", "{User: root}"))
    pipeline = tmp_path / "ours.yml"
    cache = RuleCache(tmp_path / "cache", lambda: 0)

    def fields(new: str) -> tuple[set[tuple[str | None, str]], int]:
        pipeline.write_text(MAPPING.format(priority=10, old="User", new=new), "utf-8")
        loaded = load(RuleSources((folder,), pipelines=(str(pipeline),)), cache)
        return asked(loaded.rules, "one"), loaded.read

    assert asked(load(RuleSources((folder,)), cache).rules, "one") == {("User", "root")}
    assert fields("user.name") == ({("user.name", "root")}, 1)
    assert fields("user.name") == ({("user.name", "root")}, 0)
    assert fields("who") == ({("who", "root")}, 1)


def test_pipelines_go_by_priority_whatever_their_order(tmp_path: Path) -> None:
    folder = write(tmp_path / "r", one=detection("one", "{User: root}"))
    first, second = tmp_path / "z.yml", tmp_path / "a.yml"
    first.write_text(MAPPING.format(priority=10, old="User", new="user"), "utf-8")
    second.write_text(MAPPING.format(priority=20, old="user", new="user.name"), "utf-8")
    for order in ((first, second), (second, first)):
        loaded = load(RuleSources((folder,), pipelines=tuple(map(str, order))))
        assert asked(loaded.rules, "one") == {("user.name", "root")}


def test_a_pipeline_that_is_installed_has_a_name() -> None:
    # pySigma has some for its own tests, which it finds under pytest only.
    found = find_processing(["dummy_test"])
    assert found.digest
    assert found.made() is not None


@pytest.mark.parametrize("name", ["dumy_test", "nothing_like_it"])
def test_the_nearest_of_those_installed_is_named(name: str) -> None:
    with pytest.raises(ConfigError, match="dummy_test") as error:
        find_processing([name])
    assert f"no pipeline {name!r}: no such file (seen from {Path.cwd()})" in str(error.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[a]\n", r"p\.yml:1: a pipeline is a mapping"),
        ("name: [\n", r"p\.yml:2: not valid YAML"),
        ("name: T\npriority: 1\ntransformations: [{id: x, type: no_such}]\n", r"p\.yml: .*no_such"),
        ("name: T\npriority: 1\ntransformations: [{id: x}]\n", r"p\.yml: no processing pipeline"),
        ("name: T\npriority: 1\ntransformations: 5\n", r"p\.yml: no processing pipeline"),
    ],
)
def test_a_file_that_is_no_pipeline_is_told(tmp_path: Path, text: str, said: str) -> None:
    folder = write(tmp_path / "r", one=detection("one"))
    (tmp_path / "p.yml").write_text(text, "utf-8")
    with pytest.raises(ConfigError, match=said):
        load(RuleSources((folder,), pipelines=(str(tmp_path / "p.yml"),)))


# --- what is bad --------------------------------------------------------------------------------------


def test_bad_rules_are_left_out_and_the_others_run(tmp_path: Path) -> None:
    folder = write(
        tmp_path / "r",
        bad=detection("bad", "{level|contians: x}") + "---\n" + detection("beside"),
        broken="title: [\n",
        good=detection("good"),
        # It counts a rule that is not there, and so can't be used either.
        many=CORRELATION,
        twice=detection("good"),
    )
    (tmp_path / "r" / "latin.yml").write_bytes(b"title: \xff")
    python = tmp_path / "own.py"
    python.write_text("1 / 0\n")
    with pytest.raises(RuleError, match=r"bad\.yml:4"):
        load(RuleSources((folder,)))
    loaded = load(RuleSources((folder,), (str(python),), skip=True))
    assert set(loaded.rules.targets) == {"beside", "good"}
    assert loaded.kinds == {"detection": 2}
    files = sorted(Path(error.file).name for error in loaded.refused)
    assert files == ["bad.yml", "broken.yml", "latin.yml", "many.yml", "own.py", "twice.yml"]


def test_what_leads_nowhere_is_an_error_all_the_same(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file or folder"):
        load(RuleSources((str(tmp_path / "none"),), skip=True))
