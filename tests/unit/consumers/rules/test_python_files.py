"""Rules in Python: which files are loaded, and what is said of those that can't be."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from consumers.rules import RuleSources, load, load_rules
from consumers.rules.python_files import python_rules
from pipeline.detect.detect import Detect, Source
from pipeline.detection import Detection
from pipeline.errors import ConfigError, RuleError
from pipeline.event import Batch, Partition
from tests.unit.consumers.rules.rule_files import detection, write

if TYPE_CHECKING:
    from pathlib import Path

_IMPORT = "from pipeline.python_rule import rule\n"


def _rule(name: str, says: str = "True") -> str:
    return f"\n@rule('{name}', 'T {name}')\ndef {name}(event):\n    return {says}\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "own rules.py"


def test_all_rules_of_a_file_are_loaded_in_their_order(file: Path) -> None:
    file.write_text(_IMPORT + _rule("second") + _rule("first") + "again = first\n")
    assert [r.about.id for r in python_rules(str(file))] == ["second", "first"]


def test_each_load_runs_the_file_as_it_is_now(file: Path) -> None:
    file.write_text(_IMPORT + _rule("one", "1 == 1"))
    (first,) = python_rules(str(file))
    file.write_text(_IMPORT + _rule("one", "1 == 2"))
    (second,) = python_rules(str(file))
    assert (first.function(None), second.function(None)) == (True, False)  # type: ignore[arg-type]  # not looked at
    assert first.about.hash != second.about.hash
    assert python_rules(str(file))[0].about.hash == second.about.hash


def test_dataclasses_and_type_hints_work_in_a_file(file: Path) -> None:
    text = "from __future__ import annotations\nimport dataclasses\nimport typing\n" + _IMPORT
    text += "@dataclasses.dataclass\nclass C:\n    n: typing.ClassVar[int] = 1\n    m: int = 2\n"
    text += "assert typing.get_type_hints(C)['m'] is int\n" + _rule("one", "C().m == 2")
    file.write_text(text)
    assert python_rules(str(file))[0].function(None)  # type: ignore[arg-type]  # not looked at


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("x = 1\n", 0, "there is no rule here"),
        (_IMPORT + "\n1 / 0\n" + _rule("one"), 3, "ZeroDivisionError: division by zero"),
        (_IMPORT + "def f():\n    raise KeyError('k')\n\nf()\n", 3, "KeyError: 'k'"),
        ("class Odd(Exception):\n def __str__(self): return 1\nraise Odd\n", 3, "Odd"),
        (" x = 1\n", 1, "IndentationError: unexpected indent"),
        ("x = [\n", 1, r"SyntaxError: '\[' was never closed"),
        ("import json\njson.loads('{')\n", 2, "JSONDecodeError"),
        ("import no_such_module_at_all\n", 1, "No module named 'no_such_module_at_all'"),
        ("raise SystemExit(3)\n", 1, "SystemExit: 3"),
        ("x = '\udcff'\n", 1, "SyntaxError: .*codec can't decode byte 0xff"),
        ("x = '\0'\n", 0, "null bytes"),
        (_IMPORT + _rule("one") + _rule("one").replace("def one", "def two"), 7, "rule in line 3 already"),
        (_IMPORT + "@rule('one', 'T', level='odd')\ndef f(event): pass\n", 2, "no such level: 'odd'"),
    ],
)
def test_a_file_that_can_not_be_used_is_told_with_the_line(
    file: Path, text: str, line: int, said: str
) -> None:
    file.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(RuleError, match=said) as error:
        python_rules(str(file))
    assert error.value.file == str(file)
    assert error.value.line == line


def test_a_load_that_fails_leaves_the_module_before(file: Path) -> None:
    file.write_text("N = 1\n" + _IMPORT + _rule("one"))
    (rule,) = python_rules(str(file))
    name = rule.function.__module__
    module = sys.modules[name]
    file.write_text("1 / 0\n")
    with pytest.raises(RuleError):
        python_rules(str(file))
    assert sys.modules[name] is module


def test_a_file_that_is_not_there_is_an_error_of_the_configuration(file: Path) -> None:
    with pytest.raises(ConfigError, match=r"python_rules: .*own rules\.py can't be read: No such file"):
        python_rules(str(file))


def test_rules_in_python_run_beside_the_others(tmp_path: Path, file: Path) -> None:
    folder = write(tmp_path / "r", one=detection("one", "{event: boom}"))
    file.write_text(_IMPORT + _rule("two", "event.fields['event'] == 'boom'"))
    rules = load_rules([folder], python=[str(file)])
    detect = Detect(rules, lateness_ms=0, idle_timeout_ms=0)
    partition = Partition("p")
    detect.open(partition, Source("json"), 0, 1)
    found = detect.process(Batch(partition, [0], [1], [b'{"event":"boom"}']), 1)
    assert [d.target for d in found if isinstance(d, Detection)] == ["one", "two"]
    assert detect.python.calls == {"two": 1}


def test_the_id_of_a_sigma_rule_is_taken(tmp_path: Path, file: Path) -> None:
    folder = write(tmp_path / "r", one=detection("one"))
    file.write_text(_IMPORT + _rule("one"))
    with pytest.raises(
        RuleError, match=r"own rules\.py:3: 'one' is the id or name of a rule in .*one\.yml:1"
    ):
        load_rules([folder], python=[str(file)])
    loaded = load(RuleSources((folder,), (str(file),), skip=True))
    assert loaded.kinds == {"detection": 1}
    assert len(loaded.refused) == 1


def test_files_are_never_taken_from_folders(tmp_path: Path) -> None:
    folder = write(tmp_path / "r", one=detection("one"))
    (tmp_path / "r" / "evil.py").write_text("raise SystemExit\n")
    assert set(load_rules([folder]).rules) == {"one"}
