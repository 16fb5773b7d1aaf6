from __future__ import annotations

import pytest
from sigma.processing.pipeline import ProcessingPipeline

from pipeline.sigma.lint import Finding, lint_set
from pipeline.sigma.reader.options import Options

IDS = ["929a690e-bef0-4204-a928-ef5e620d6fcc", "afcd6a2f-7b58-4b4a-a6d0-3a3a4d4a3c1d"]


def detection(title: str, name: str = "", rule_id: str = "", source: str = "category: application") -> str:
    named = (f"id: {rule_id}\n" if rule_id else "") + (f"name: {name}\n" if name else "")
    return (
        f"title: {title}\n{named}level: high\nlogsource: {{{source}}}\n"
        "detection: {s: {event: shop}, condition: s}\n"
    )


def correlation(title: str, rules: str, name: str = "") -> str:
    named = f"name: {name}\n" if name else ""
    return (
        f"title: {title}\n{named}level: high\ncorrelation:\n    type: event_count\n    rules: {rules}\n"
        "    timespan: 1m\n    condition: {gte: 2}\n"
    )


def filtering(rules: str, source: str = "category: application") -> str:
    return (
        f"title: F\nlogsource: {{{source}}}\nfilter:\n    rules: {rules}\n    s: {{user: x}}\n"
        "    condition: not s\n"
    )


def found(*texts: str) -> list[Finding]:
    files = [(f"{number}.yml", text) for number, text in enumerate(texts)]
    return lint_set(files, disabled=["no-id"])


def told(*texts: str) -> list[tuple[str, str, int, str]]:
    return [(f.check, f.file, f.line, f.message) for f in found(*texts)]


def test_rules_that_differ_are_no_finding() -> None:
    assert told(detection("A", "a", IDS[0]), detection("B", "b", IDS[1])) == []


def test_an_id_that_stands_twice_is_an_error_at_the_second() -> None:
    said = told(detection("A", "a", IDS[0]), detection("B", "b", IDS[0]))
    assert said == [
        ("duplicate-id", "1.yml", 2, f"{IDS[0]!r} is the id or name of the rule in 0.yml:2 already")
    ]


def test_a_name_may_not_be_that_of_a_correlation_either() -> None:
    (finding,) = found(detection("A", "a"), correlation("B", "[a]", "a"))
    assert (finding.check, finding.severity, finding.path) == ("duplicate-id", "error", "name")


def test_a_rule_whose_name_is_its_id_stands_once() -> None:
    assert told(detection("A", IDS[0], IDS[0])) == []


def test_a_title_that_two_rules_share_is_a_warning() -> None:
    (finding,) = found(detection("A", "a"), detection("A", "b"))
    assert (finding.check, finding.severity) == ("duplicate-title", "warning")
    assert (finding.file, finding.line, finding.path) == ("1.yml", 1, "title")


def test_references_lead_from_file_to_file_by_id_and_name() -> None:
    assert told(correlation("C", f"[a, {IDS[1]}]"), detection("A", "a"), detection("B", "", IDS[1])) == []


def test_a_correlations_reference_that_leads_nowhere_is_an_error_at_the_reference() -> None:
    (finding,) = found(detection("A", "errors"), correlation("C", "[errors, erors]"))
    assert (finding.check, finding.severity, finding.path) == (
        "wrong-reference",
        "error",
        "correlation.rules[1]",
    )
    assert (finding.file, finding.line, finding.column) == ("1.yml", 5, 21)
    assert finding.message == "no rule 'erors'; did you mean 'errors'?"


def test_a_filters_reference_that_leads_nowhere_is_an_error_and_not_told_twice() -> None:
    (finding,) = found(detection("A", "errors"), filtering("[erors]"))
    assert (finding.check, finding.severity, finding.path) == ("wrong-reference", "error", "filter.rules[0]")


@pytest.mark.parametrize(
    ("rules", "source"),
    [("any", "category: Application"), ("[a]", "category: application"), ("a", "category: application")],
)
def test_a_filter_that_applies_is_no_finding(rules: str, source: str) -> None:
    assert told(detection("A", "a"), filtering(rules, source)) == []


@pytest.mark.parametrize("source", ["category: proxy", "category: application, product: shop"])
def test_a_filter_that_applies_to_no_rule_is_a_warning(source: str) -> None:
    (finding,) = found(detection("A", "a"), filtering("any", source))
    assert (finding.check, finding.severity, finding.file) == ("idle-filter", "warning", "1.yml")


def test_a_filter_with_another_log_source_than_the_rule_it_names_is_an_error() -> None:
    (finding,) = found(detection("A", "a"), filtering("[a]", "category: proxy"))
    assert (finding.check, finding.severity, finding.path) == ("wrong-reference", "error", "filter.rules[0]")
    assert "log source" in finding.message
    assert (finding.line, finding.column) == (4, 13)


@pytest.mark.parametrize("other", ["c", "f"])
def test_a_filter_for_what_is_no_detection_is_an_error(other: str) -> None:
    texts = [detection("A", "a"), correlation("C", "[a]", "c"), "name: f\n" + filtering("any")]
    (finding,) = found(*texts, filtering(f"[a, {other}]").replace("title: F", "title: G"))
    assert (finding.check, finding.file, finding.path) == ("wrong-reference", "3.yml", "filter.rules[1]")


def test_a_correlation_that_counts_a_filter_is_an_error() -> None:
    (finding,) = found(detection("A"), "name: f\n" + filtering("any"), correlation("C", "f"))
    assert (finding.check, finding.file, finding.path) == ("wrong-reference", "2.yml", "correlation.rules")


def test_an_alias_for_a_rule_that_there_is_not_is_an_error_at_the_alias() -> None:
    aliased = correlation("C", "[a]") + "    group-by: [who]\n    aliases:\n        who: {a: user, b: name}\n"
    (finding,) = found(detection("A", "a"), aliased)
    assert (finding.check, finding.path) == ("wrong-reference", "correlation.aliases.who.b")


def test_what_one_rule_refers_to_wrongly_is_not_told_of_another() -> None:
    texts = [detection("A", "a"), correlation("C", "[b]", "c"), correlation("D", "[a]", "d")]
    assert [(f.file, f.check) for f in found(*texts)] == [("1.yml", "wrong-reference")]


def test_two_rules_alike_without_id_and_name_stand_twice() -> None:
    assert [f.check for f in found(detection("A"), detection("A"))] == ["duplicate-id", "duplicate-title"]


def test_a_wrong_reference_can_be_hidden_for_what_is_not_linted_with_it() -> None:
    hidden = correlation("C", "[elsewhere] # tocsin: ignore[wrong-reference]")
    assert told(detection("A"), hidden) == []


def test_a_comment_hides_what_is_said_about_the_set() -> None:
    hidden = f"# tocsin: ignore[idle-filter]\n{filtering('any', 'category: proxy')}"
    assert told(detection("A"), hidden) == []


def test_findings_come_by_file_in_the_order_given() -> None:
    texts = [detection("Z", "z"), detection("A", "a", IDS[0]), detection("Z", "a")]
    assert [(f.file, f.check) for f in found(*texts)] == [
        ("2.yml", "duplicate-title"),
        ("2.yml", "duplicate-id"),
    ]
    assert [f.file for f in lint_set([("b", "a: ["), ("a", "a: [")])] == ["b", "a"]


def test_a_filter_is_for_rules_by_the_log_source_that_is_written() -> None:
    steps = "transformations:\n- {type: change_logsource, category: other}\n"
    options = Options(processing=ProcessingPipeline.from_yaml(steps))
    for source, idle in (("category: application", False), ("category: other", True)):
        files = [("r.yml", detection("T")), ("f.yml", filtering("any", source))]
        checks = [f.check for f in lint_set(files, options, disabled=["no-id"])]
        assert ("idle-filter" in checks) is idle
