"""Every case of the suite against Tocsin's detect stage, in this process; and the suite's own machinery."""

from __future__ import annotations

import asyncio
import functools
import json
import shlex
import sys
import threading
from collections import defaultdict
from typing import TYPE_CHECKING, cast

import pytest
import yaml

from pipeline.sigma.reader.read import MODIFIERS
from tests.conformance.sigma import __main__ as command_line
from tests.conformance.sigma import engine, rsigma
from tests.conformance.sigma.runner import Verdict, _Engine, judge, report, run
from tests.conformance.sigma.suite import SECTIONS, SuiteError, files, load

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from tests.conformance.sigma.engine import Request
    from tests.conformance.sigma.suite import Group

GROUPS = [group for path in files() for group in load(path)]


@functools.cache
def verdicts_of(number: int) -> dict[str, Verdict]:
    group = GROUPS[number]
    return {v.name: v for v in judge(group, engine.answer(cast("Request", group.request())))}


@pytest.mark.parametrize(
    ("number", "name"),
    [
        pytest.param(number, name, id=f"{group.file.removesuffix('.yml')}:{group.line} {name}")
        for number, group in enumerate(GROUPS)
        for name in group.names
    ],
)
def test_case(number: int, name: str) -> None:
    verdict = verdicts_of(number)[name]
    assert not verdict.failure, f"{verdict.place}: {verdict.group.about} {verdict.choice}: {verdict.event}"


# --- the data -------------------------------------------------------------------------------------------


def test_there_are_at_least_five_hundred_cases() -> None:
    assert sum(len(group.names) for group in GROUPS) >= 500


def modifiers_by_id(group: Group) -> Iterator[tuple[str, set[str]]]:
    """Yield each rule of a group with the modifiers that it uses."""
    for text in group.rules:
        for document in yaml.safe_load_all(text):
            if isinstance(document, dict) and "id" in document:
                yield document["id"], set(modifiers_in(document.get("detection")))


def modifiers_in(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from key.split("|")[1:]
            yield from modifiers_in(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from modifiers_in(inner)


def test_every_modifier_has_cases_that_match_and_cases_that_do_not() -> None:
    outcomes: dict[str, set[bool]] = defaultdict(set)
    for group in GROUPS:
        if not group.cases:
            continue
        for rule, modifiers in modifiers_by_id(group):
            for case in group.cases:
                for modifier in modifiers:
                    outcomes[modifier].add(rule in case.expected)
    assert {m: outcomes[m] for m in MODIFIERS} == {m: {True, False} for m in MODIFIERS}


def test_every_group_with_cases_has_both_outcomes() -> None:
    one_sided = [
        f"{group.file}:{group.line}"
        for group in GROUPS
        if group.cases and {i in case.expected for case in group.cases for i in group.labels} != {True, False}
    ]
    assert one_sided == []


def test_no_event_stands_twice_in_a_group_and_no_group_twice() -> None:
    for group in GROUPS:
        events = [case.event for case in group.cases]
        assert len(set(events)) == len(events), f"{group.file}:{group.line}"
    requests = [json.dumps(group.request()) for group in GROUPS]
    assert len(set(requests)) == len(requests)


def test_every_section_that_is_listed_has_cases() -> None:
    assert {group.section for group in GROUPS} == SECTIONS


GROUP = """
- section: 'Rules 2.1.0: Maps'
  rules: [{detection: {s: {V: x}, condition: s}}]
"""


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("a: b", "a file is a list of groups"),
        ("[", "odd.yml: while parsing"),
        ("- {section: 'Rules 2.1.0: Maps', rulez: []}", r"\['rulez'\]"),
        ("- {section: 'Rules 9: Maps', rules: []}", "no such section"),
        (GROUP, "a group has cases"),
        (GROUP + "  refused: true", "and `because`"),
        (GROUP + "  cases: [{name: a, event: {}, match: [other]}]", "'other'"),
        (GROUP + "  cases: [{name: a, match: true}]", "event or raw"),
        (GROUP + "  cases: [{name: null, event: {}, match: true}]", "a case's name is a text"),
        (
            GROUP + "  cases: [{name: a, event: {}, match: true}, {name: a, event: {V: 1}, match: true}]",
            "the same name",
        ),
        (GROUP + "  truth: {of: [a], holds: [b]}", r"the truth table has no \['b'\]"),
        (GROUP.replace("[{", "[5, {"), "a rule is a mapping or a text"),
    ],
)
def test_a_file_that_is_not_in_the_format_is_refused_with_its_place(
    tmp_path: Path, text: str, complaint: str
) -> None:
    path = tmp_path / "odd.yml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(SuiteError, match=complaint) as raised:
        load(path)
    assert "odd.yml" in str(raised.value)


def test_short_forms_become_full_documents_and_events(tmp_path: Path) -> None:
    path = tmp_path / "short.yml"
    path.write_text(
        GROUP + "  field: V\n  hits: [x]\n  misses: ['5']\n  truth: {of: [V], holds: [V]}\n", encoding="utf-8"
    )
    (group,) = load(path)
    document = yaml.safe_load(group.rules[0])
    assert document.keys() == {"title", "id", "logsource", "detection"}
    assert [(c.event, bool(c.expected)) for c in group.cases] == [
        ('{"V": "x"}', True),
        ('{"V": "5"}', False),
        ("{}", False),
        ('{"V": 1}', True),
    ]
    assert group.cases[0].expected == (document["id"],)


# --- the runner -----------------------------------------------------------------------------------------


def command(body: str) -> list[str]:
    """Return an engine of a few lines of Python."""
    return [sys.executable, "-c", "import json, os, sys\n" + body]


ANSWERS = """
for line in sys.stdin:
    request = json.loads(line)
    print(json.dumps({"matches": [%s for event in request["events"]]}), flush=True)
"""


async def ask(groups: Sequence[Group], body: str, timeout_s: float = 5.0) -> list[Verdict]:
    return [v async for v in run(groups, command(body), timeout_s=timeout_s)]


def two_groups() -> list[Group]:
    """Return two groups of one rule each, with several cases."""
    return [g for g in GROUPS if g.file == "values.yml" and len(g.labels) == 1][:2]


async def test_an_engine_that_answers_wrong_fails_the_cases_it_gets_wrong() -> None:
    groups = two_groups()
    verdicts = await ask(groups, ANSWERS % "[]")
    cases = [case for group in groups for case in group.cases]
    assert [bool(v.failure) for v in verdicts] == [bool(case.expected) for case in cases]
    assert {v.failure for v in verdicts} == {"", "it should have matched"}


async def test_an_engine_that_names_other_rules_fails_all() -> None:
    verdicts = await ask(two_groups(), ANSWERS % '["nobody"]')
    assert all(v.failure for v in verdicts)


async def test_an_engine_that_crashes_fails_the_group_and_runs_anew_for_the_next() -> None:
    marker = "if '{}' in json.loads(line)['events']: sys.exit('out of order')"
    body = f'for line in sys.stdin:\n    {marker}\n    print(\'{{"refused": "no"}}\', flush=True)'
    refusals = [g for g in GROUPS if g.refused][:1]
    first, second = two_groups()
    verdicts = await ask([*refusals, first, *refusals, second], body)
    by_group = [{v.failure for v in verdicts if v.group is g} for g in (refusals[0], first, second)]
    assert by_group[0] == {"the engine ended with status 1: out of order"}
    assert by_group[1] == by_group[2] == {"the rules were refused: no"}


async def test_an_engine_that_hangs_fails_the_group_after_its_time() -> None:
    groups = two_groups()
    verdicts = await ask(groups, "for line in sys.stdin: pass", timeout_s=0.3)
    assert {v.failure for v in verdicts} == {"no answer within 0.3 s"}
    assert len(verdicts) == sum(len(g.cases) for g in groups)


async def test_an_engine_that_reads_nothing_and_does_not_end_is_killed() -> None:
    verdicts = await ask(two_groups()[:1], "import threading; threading.Event().wait()", timeout_s=0.2)
    assert {v.failure for v in verdicts} == {"no answer within 0.2 s"}


async def test_an_engine_that_is_not_there_fails_all() -> None:
    verdicts = [v async for v in run(two_groups(), ["/nowhere/engine"])]
    assert all(v.failure.startswith("the engine can't be started") for v in verdicts)


@pytest.mark.parametrize(
    ("answer", "failure"),
    [
        ("hello", "no JSON object: b'hello\\n'"),
        ("[]", "no JSON object: b'[]\\n'"),
        ("{}", "no answer to"),
        ('{"matches": []}', "no answer to"),
        ('{"matches": "all"}', "no answer to"),
    ],
)
async def test_an_answer_in_another_form_fails_the_group(answer: str, failure: str) -> None:
    verdicts = await ask(two_groups(), f"for line in sys.stdin: print({answer!r}, flush=True)")
    assert all(v.failure.startswith(failure) for v in verdicts)


async def test_an_engine_that_answers_twice_fails_that_group_and_shifts_no_other() -> None:
    groups = two_groups()
    twice = """
for line in sys.stdin:
    request = json.loads(line)
    told = json.dumps({"matches": [[] for event in request["events"]]}) + "\\n"
    os.write(1, (told * (2 if request["events"] == %r else 1)).encode())
"""
    verdicts = await ask(groups, twice % groups[0].request()["events"])
    first, second = ([v.failure for v in verdicts if v.group is g] for g in groups)
    assert all(failure.startswith("more than one line") for failure in first)
    assert [bool(f) for f in second] == [bool(case.expected) for case in groups[1].cases]


async def test_a_second_answer_that_comes_late_is_not_taken_for_the_next() -> None:
    groups = two_groups()
    late = """
import threading
for line in sys.stdin:
    told = json.dumps({"matches": [[] for event in json.loads(line)["events"]]}) + "\\n"
    os.write(1, told.encode())
    threading.Timer(0.05, os.write, (1, told.encode())).start()
"""
    async with _Engine(command(late), 5.0) as engine:
        assert isinstance(await engine.ask(groups[0].request()), dict)
        assert engine._process is not None
        assert engine._process.stdout is not None
        async with asyncio.timeout(5):
            while not engine._process.stdout._buffer:  # type: ignore[attr-defined]  # its stubs lack it
                await asyncio.to_thread(threading.Event().wait, 0.001)
        assert str(await engine.ask(groups[1].request())).startswith("more than one line")
        assert isinstance(await engine.ask(groups[1].request()), dict)


@pytest.mark.parametrize("found", ["5", "[5]", "null"])
def test_an_answer_that_is_no_list_of_ids_fails_the_case(found: str) -> None:
    group = two_groups()[0]
    verdicts = judge(group, {"matches": [json.loads(found)] * len(group.cases)})
    assert all(v.failure == f"no list of ids: {found}" for v in verdicts)


def test_rules_that_must_not_load_fail_where_they_do() -> None:
    group = next(g for g in GROUPS if g.refused)
    assert judge(group, {"matches": [[]]})[0].failure == "the rules were not refused"
    assert judge(group, {"refused": "so"})[0].failure == ""
    assert judge(group, "it broke")[0].failure == "it broke"


def test_the_report_counts_by_file_and_section_and_tells_choices_apart() -> None:
    chosen = next(g for g in GROUPS if g.choice and g.cases)
    specified = two_groups()[0]
    verdicts = [
        *judge(chosen, "broken"),
        *judge(specified, {"matches": [c.expected for c in specified.cases]}),
    ]
    # JSON has lists, not tuples.
    verdicts = [v if v.group is chosen else Verdict(v.group, v.name, v.event, "") for v in verdicts]
    summary = report(verdicts)
    assert summary["failed"] == len(chosen.cases)
    assert summary["choices"] == {"passed": 0, "failed": len(chosen.cases)}
    assert summary["specified"] == {"passed": len(specified.cases), "failed": 0}
    assert summary["files"][chosen.file]["failed"] == len(chosen.cases)
    assert summary["sections"][specified.section]["passed"] >= len(specified.cases)
    assert summary["failures"][0]["failure"] == "broken"


# --- the command line, and the engines behind it ----------------------------------------------------------


def test_the_command_line_passes_our_own_engine(capsys: pytest.CaptureFixture[str]) -> None:
    assert command_line.main(["--only", "logsource", "all.yml", "--verbose"]) == 0
    output = capsys.readouterr().out
    assert "logsource.yml" in output
    assert "FAILED" not in output
    assert "passed all.yml:3 " in output


def test_the_command_line_fails_another(capsys: pytest.CaptureFixture[str]) -> None:
    careless = shlex.join(command("for line in sys.stdin: print(json.dumps({'matches': []}), flush=True)"))
    assert command_line.main(["--engine", careless, "--only", "logsource", "--json"]) == 1
    summary = json.loads(capsys.readouterr().out)
    assert summary["passed"] == 0
    assert all(f["failure"].startswith("no answer to ") for f in summary["failures"])


def test_the_command_line_ends_soon_where_there_is_no_engine(capsys: pytest.CaptureFixture[str]) -> None:
    silent = shlex.join(command("for line in sys.stdin: pass"))
    assert command_line.main(["--engine", silent, "--only", "logsource", "--timeout", "0.1"]) == 2
    assert "none of the first 5 groups was answered: no answer within 0.1 s" in capsys.readouterr().err
    assert command_line.main(["--engine", "/nowhere/engine"]) == 2
    assert "the engine can't be started" in capsys.readouterr().err


def test_the_command_line_names_the_files_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert command_line.main(["--only", "valuez"]) == 2
    assert "no file 'valuez'; there are all, arrays" in capsys.readouterr().err


def test_the_dump_is_the_suite_in_full(capsys: pytest.CaptureFixture[str]) -> None:
    assert command_line.main(["--dump"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["request"] for line in lines] == [group.request() for group in GROUPS]
    for line, group in zip(lines, GROUPS, strict=True):
        assert ("refused" in line["expected"]) == bool(group.refused)
        assert len(line["cases"]) == len(line["request"]["events"])


FAKE_RSIGMA = """#!{python}
import json, pathlib, sys
arguments = sys.argv
folder = pathlib.Path(arguments[arguments.index("--rules") + 1])
texts = [path.read_text() for path in sorted(folder.iterdir())]
event = pathlib.Path(arguments[arguments.index("--event") + 1][1:]).read_text()
if any("refuse me" in text for text in texts):
    sys.exit("Error compiling rules: no")
print("Loaded", len(texts), "rules", file=sys.stderr)
if "hit" in event:
    print(json.dumps({{"rule_id": "1", "told": [a for a in arguments if "=" in a or "pipeline" in a]}}))
"""


def test_the_adapter_of_rsigma_writes_files_and_reads_matches(tmp_path: Path) -> None:
    binary = tmp_path / "rsigma"
    binary.write_text(FAKE_RSIGMA.format(python=sys.executable), encoding="utf-8")
    binary.chmod(0o700)
    request: Request = {
        "rules": ["title: a"],
        "filters": ["title: b"],
        "placeholders": {"x": ["y"]},
        "logsource": {"product": "p", "service": "s"},
        "events": ['{"a": "hit"}', '{"a": 1}'],
    }
    assert rsigma.answer(request, str(binary)) == {"matches": [["1"], []]}
    refused = rsigma.answer({**request, "rules": ["title: refuse me"]}, str(binary))
    assert "Error compiling rules: no" in str(refused["refused"])
