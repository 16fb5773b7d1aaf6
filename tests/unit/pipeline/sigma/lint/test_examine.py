from __future__ import annotations

import pytest

from pipeline.sigma.lint import lint
from pipeline.sigma.reader.options import Options
from tests.unit.pipeline.sigma.lint.rules import HEAD, SOURCE, item, of, rule

GOOD = rule("s: {event: shop}\ncondition: s")


@pytest.mark.parametrize(
    ("text", "place", "path"),
    [
        (rule("s: {event: shop}\ncondition: nobody"), (7, 5), "detection.condition"),
        (item("user.name|startswth: a"), (8, 9), "detection.s.user.name|startswth"),
        (item("user|re: [a, '(']"), (8, 0), ""),
        (GOOD.replace("level: high", "level: hihg"), (3, 1), "level"),
    ],
)
def test_what_does_not_load_is_an_error_with_its_place(text: str, place: tuple[int, int], path: str) -> None:
    (finding,) = of("load", text)
    assert finding.severity == "error"
    assert finding.line == place[0]
    if path:
        assert (finding.column, finding.path) == (place[1], path)


def test_an_error_in_one_document_does_not_hide_the_others() -> None:
    bad = rule("s: {event: shop}\ncondition: nobody")
    text = f"{bad}---\n{GOOD.replace('level: high', '')}---\n{bad}"
    assert [f.check for f in lint(text, "r.yml")] == ["load", "no-level", "load"]


def test_the_head_of_a_rule_that_does_not_load_is_looked_at() -> None:
    text = rule("s: {event: shop, level: fatal}\ncondition: nobody", head="title: T\nlevel: high\n")
    assert [f.check for f in lint(text, "r.yml")] == ["no-id", "load"]


@pytest.mark.parametrize("text", ["a: [1\n", "a: 1\na: 2\n", "a: \x00\n", "- 1\n", "'text'\n", "1: 2\n"])
def test_what_is_no_rule_at_all_is_one_error(text: str) -> None:
    assert [(f.check, f.severity) for f in lint(text, "r.yml")] == [("load", "error")]


@pytest.mark.parametrize("text", ["", "---\n", "# nothing\n"])
def test_a_text_without_documents_has_no_findings(text: str) -> None:
    assert lint(text, "r.yml") == []


def test_what_was_read_before_broken_yaml_is_looked_at() -> None:
    text = f"{GOOD.replace('level: high', '')}---\na: [1\n"
    assert [f.check for f in lint(text, "r.yml")] == ["no-level", "load"]


def test_what_documents_share_counts_as_each_ones_own() -> None:
    shared = f"action: global\nlevel: high\n{SOURCE}"
    one = (
        "title: One\nid: 929a690e-bef0-4204-a928-ef5e620d6fcc\ndetection: {s: {event: shop}, condition: s}\n"
    )
    assert [f.check for f in lint(f"{shared}---\n{one}", "r.yml")] == ["old-action"]


def test_placeholders_are_filled_from_the_options() -> None:
    text = item("user|expand: '%admins%'")
    assert [f.check for f in lint(text, "r.yml")] == ["load"]
    assert of("load", text)[0].path == "detection.s.user|expand"
    assert "load" not in {f.check for f in lint(text, "r.yml", Options(placeholders={"admins": ("root",)}))}


def test_an_expression_that_only_its_placeholder_completes_is_not_judged() -> None:
    text = item("user|re|expand: '(a%rest%'")
    found = lint(text, "r.yml", Options(placeholders={"rest": ("b)",)}))
    assert [f.check for f in found] == ["sigma-skipped"]


def test_findings_stand_in_the_order_of_the_text() -> None:
    head = f"{HEAD}date: 2026/01/31\nreferences: [a, b]\n"
    text = rule("s: {event: shop}\ncondition: s", head=head)
    found = [(f.line, f.column, f.check) for f in lint(text, "r.yml")]
    assert found == [(4, 1, "slash-date"), (5, 14, "reference-no-url"), (5, 17, "reference-no-url")]


def test_a_broken_document_is_one_error_at_its_own_place() -> None:
    bad = GOOD.replace("level: high", "level: high\ndate: 2024-99-01")
    twice = GOOD.replace("level: high", "level: high\nlevel: low")
    found = lint(f"{GOOD}---\n{bad}---\n{twice}---\n{GOOD.replace('level: high', '')}", "r.yml")
    assert [(f.check, f.line, f.path, f.rule_id) for f in found if f.check == "load"] == [
        ("load", 12, "", ""),
        ("load", 21, "level", ""),
    ]
    assert found[-1].check == "no-level"


def test_a_check_speaks_so_often_in_one_file_and_says_that_there_is_more() -> None:
    values = "\n".join(f"    - '*v{n}'" for n in range(300))
    found = of("needless-wildcard", item(f"user|contains:\n{values}"))
    assert len(found) == 200
    assert "200 are told" in found[-1].message
    assert "are told" not in found[-2].message
    many = "---\n".join(GOOD.replace("level: high\n", "") for _ in range(250))
    assert len(of("no-level", many)) == 200


def test_many_selections_are_looked_at_in_time_that_grows_with_them() -> None:
    selections = "\n".join(f"s{n}: {{user: '*v{n}*', EventID: '{n}'}}" for n in range(2000))
    found = lint(rule(f"{selections}\ncondition: 1 of s*"), "r.yml")
    assert {f.path for f in found if f.check == "sigma:number_as_string"} == {
        f"detection.s{n}.EventID" for n in range(200)
    }
