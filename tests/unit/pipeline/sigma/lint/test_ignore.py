from __future__ import annotations

import pytest

from pipeline.sigma.lint import Finding, lint
from tests.unit.pipeline.sigma.lint.rules import SOURCE, of

BARE = f"title: T\n{SOURCE}detection:\n    s: {{event: shop, level: fatal}}\n    condition: s\n"


def checks(text: str) -> list[str]:
    return [f.check for f in lint(text, "r.yml")]


def test_without_a_comment_all_is_told() -> None:
    assert checks(BARE) == ["no-id", "no-level", "level-spelling"]


def test_a_comment_on_a_line_is_about_that_line() -> None:
    ignored = BARE.replace("level: fatal}", "level: fatal} # tocsin: ignore[level-spelling]")
    assert checks(ignored) == ["no-id", "no-level"]
    elsewhere = BARE.replace("condition: s", "condition: s # tocsin: ignore[level-spelling]")
    assert checks(elsewhere) == ["no-id", "no-level", "level-spelling"]


@pytest.mark.parametrize("head", ["", "---\n", "# a licence\n\n"])
def test_a_comment_before_the_first_key_is_about_the_whole_document(head: str) -> None:
    assert checks(f"{head}# tocsin: ignore[no-level, level-spelling]\n{BARE}") == ["no-id"]


def test_a_comment_above_the_separator_of_the_first_document_is_about_it() -> None:
    assert checks(f"# tocsin: ignore[no-level]\n---\n{BARE}") == ["no-id", "level-spelling"]


def test_a_document_is_not_hidden_by_the_comment_of_another() -> None:
    text = f"{BARE}---\n# tocsin: ignore[no-id, no-level, level-spelling]\n{BARE}"
    assert [f.line for f in lint(text, "r.yml")] == [1, 1, 4]
    text = f"# tocsin: ignore[no-id, no-level, level-spelling]\n{BARE}---\n{BARE}"
    assert {f.line for f in lint(text, "r.yml")} == {8, 11}


def test_a_comment_at_the_end_of_a_document_is_not_about_the_next() -> None:
    text = f"{BARE}# tocsin: ignore[no-id]\n---\n{BARE}"
    assert [f.line for f in lint(text, "r.yml") if f.check == "no-id"] == [1, 8]


@pytest.mark.parametrize(
    "text",
    [
        BARE + "description: 'no # tocsin: ignore[no-id]'\n",
        "description: |\n    # tocsin: ignore[no-id]\n" + BARE,
        BARE.replace("title: T", "title: T#tocsin:ignore[no-id]"),
    ],
)
def test_what_only_looks_like_a_comment_hides_nothing(text: str) -> None:
    assert "no-id" in checks(text)


@pytest.mark.parametrize(
    ("comment", "said"),
    [
        ("ignore[no-levle]", "no such check: 'no-levle'; did you mean 'no-level'?"),
        ("ignore[load]", "the check 'load' can't be turned off: the rule would not run all the same"),
        ("ignore", "a comment that ignores names its checks: `# tocsin: ignore[no-level]`"),
        ("ignore[ , ]", "a comment that ignores names its checks: `# tocsin: ignore[no-level]`"),
    ],
)
def test_a_comment_that_turns_nothing_off_is_a_warning(comment: str, said: str) -> None:
    (finding,) = of("unknown-check", f"{BARE}falsepositives: [none] # tocsin: {comment}\n")
    assert (finding.severity, finding.message) == ("warning", said)
    assert (finding.line, finding.column) == (6, 24)


def test_an_error_is_told_whatever_a_comment_says() -> None:
    text = BARE.replace("condition: s", "condition: nobody # tocsin: ignore[load]")
    assert "load" in checks(text)


def test_checks_can_be_turned_off_by_the_caller() -> None:
    assert [f.check for f in lint(BARE, "r.yml", disabled=["no-id", "load"])] == [
        "no-level",
        "level-spelling",
    ]


def test_findings_name_the_rule() -> None:
    (finding,) = of(
        "level-spelling", BARE.replace("title: T", "title: Refused\nid: 929a690e-bef0-4204-a928-ef5e620d6fcc")
    )
    assert isinstance(finding, Finding)
    assert (finding.title, finding.rule_id) == ("Refused", "929a690e-bef0-4204-a928-ef5e620d6fcc")
    assert (finding.file, finding.line, finding.column) == ("r.yml", 5, 22)
