from __future__ import annotations

import io
import json
import sys
from typing import TYPE_CHECKING, Any

import pytest
from rich.console import Console
from rich.text import Text

from consumers.event_argument import MOST_EVENTS
from consumers.explain import explain
from consumers.explain_view import write_explanation
from pipeline.errors import ConfigError, TocsinError

if TYPE_CHECKING:
    from pathlib import Path

    from consumers.explain import Explanation

RULES = """\
title: Refund Refused
id: 6a1d2f0e-3b4c-4d5e-8f60-718293a4b5c6
name: refused
level: high
logsource: {product: shop, category: application}
detection:
  selection:
    event|contains: [refused, declined]
    amount|gte: 100
  filter_tests:
    user: tester
  condition: selection and not filter_tests
---
title: Refund Repeated
name: repeated
logsource: {product: shop}
detection:
  selection:
    event: refund repeated
  condition: selection
---
title: Many Refunds
name: many
correlation:
  type: event_count
  rules: [refused]
  group-by: [user]
  timespan: 1m
  condition: {gte: 2}
"""
FILTER = """\
title: Not Of The Bank
logsource: {product: shop}
filter:
  rules: [refused]
  selection: {user: bank}
  condition: not selection
"""
FOR_ANY = "the rule is for product shop, category application; neither event nor source"
MATCHING = '{"event": "Refund REFUSED by bank", "amount": 250, "user": "ann"}'


@pytest.fixture
def rules(tmp_path: Path) -> str:
    (tmp_path / "r.yml").write_text(RULES, encoding="utf-8")
    return str(tmp_path / "r.yml")


def as_json(capsys: pytest.CaptureFixture[str], *arguments: Any, **options: Any) -> tuple[int, list[Any]]:
    """Explain, and return the exit code and what was written. Any: options, and JSON, as they come."""
    code = explain(*arguments, form="json", **options)
    return code, [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def one(capsys: pytest.CaptureFixture[str], rule: str, event: str, *paths: str, **options: Any) -> Any:
    """The same of one event. Any: as above."""
    _, (explanation,) = as_json(capsys, rule, event, paths, **options)
    return explanation


def says(explanation: Any, fact: str) -> str:
    """What an explanation tells of something. Any: as above."""
    return str(next(f["says"] for f in explanation["facts"] if f["name"] == fact))


# --- on the terminal -------------------------------------------------------------------------------------


def test_a_rule_that_matches_is_shown_as_a_tree(rules: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert explain("refused", MATCHING, [rules]) == 0
    assert capsys.readouterr().out.splitlines()[:-1] == [
        "✓ Refund Refused  matches",
        f"  high  6a1d2f0e-3b4c-4d5e-8f60-718293a4b5c6  {rules}:1",
        f"  {MATCHING}",
        "",
        "  ✓ all of",
        "  ├─ ✓ selection: all of",
        "  │  ├─ ✓ any of event  'Refund REFUSED by bank'",
        "  │  │  ├─ ✓ event contains 'refused'",
        "  │  │  └─ ✗ event contains 'declined'",
        "  │  └─ ✓ amount ≥ 100  250",
        "  └─ ✓ not filter_tests: user is 'tester'  'ann'",
        "",
        f"  log source  {FOR_ANY} says what",
        "              it is: so it is asked",
    ]


def test_a_rule_that_does_not_match_says_why(rules: str, capsys: pytest.CaptureFixture[str]) -> None:
    event = '{"event": "Refund REFUSED", "Amount": 250, "user": "tester"}'
    assert explain("refused", event, [rules]) == 1
    out = capsys.readouterr().out
    assert out.startswith("✗ Refund Refused  does not match\n")
    assert "  • amount: the field is missing; did you mean 'Amount'?\n" in out
    assert "  • filter_tests holds, and must not: user is 'tester'\n" in out
    assert "  │  └─ ✗ amount ≥ 100  the field is missing; did you mean 'Amount'?\n" in out


def shown(explanation: Explanation, *, terminal: bool, encoding: str = "utf-8", width: int = 100) -> str:
    raw = io.BytesIO()
    file = io.TextIOWrapper(raw, encoding=encoding, newline="")
    console = Console(
        file=file, force_terminal=terminal, width=width, color_system="truecolor" if terminal else None
    )
    write_explanation(console, explanation)
    file.flush()
    return raw.getvalue().decode(encoding)


def explanation_of(monkeypatch: pytest.MonkeyPatch, rule: str, event: str, path: str) -> Explanation:
    caught: list[Explanation] = []
    monkeypatch.setattr(
        "consumers.explain.write_explanation", lambda _, explanation: caught.append(explanation)
    )
    explain(rule, event, [path])
    return caught[0]


def test_colour_is_for_a_terminal_and_red_for_what_is_to_blame(
    rules: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    explanation = explanation_of(monkeypatch, "refused", '{"event": "refused", "amount": 5}', rules)
    coloured = shown(explanation, terminal=True)
    assert "\x1b[1;31m✗ \x1b[0mamount ≥ 100" in coloured
    assert "\x1b[32m✓ \x1b[0m" in coloured
    assert "\x1b" not in shown(explanation, terminal=False)


def test_lines_are_no_wider_than_the_terminal(rules: str, monkeypatch: pytest.MonkeyPatch) -> None:
    event = json.dumps({"event": "refused " + "日本 " * 400, "amount": "x" * 1000})
    explanation = explanation_of(monkeypatch, "refused", event, rules)
    for width in (60, 80, 100):
        lines = Text.from_ansi(shown(explanation, terminal=True, width=width)).plain.splitlines()
        assert max(Text(line).cell_len for line in lines) <= max(width, len(rules) + 60)


def test_what_the_encoding_lacks_is_escaped(rules: str, monkeypatch: pytest.MonkeyPatch) -> None:
    explanation = explanation_of(monkeypatch, "refused", MATCHING, rules)
    assert shown(explanation, terminal=False, encoding="ascii").startswith(
        "\\u2713 Refund Refused  matches\n"
    )


def test_nothing_of_an_event_acts_on_the_terminal(rules: str, capsys: pytest.CaptureFixture[str]) -> None:
    evil = "\x1b[2J\u202e[bold]refused[/bold]\r\x9b31m\u2028"
    explain("refused", json.dumps({"event": evil, evil: evil, "logsource": {"product": evil}}), [rules])
    explain("refused", evil + " x", [rules])
    explain("refused", json.dumps({"event": evil}), [rules], form="json")
    out = capsys.readouterr().out
    assert "[bold]refused[/bold]" in out
    assert all(line.isprintable() for line in out.split("\n"))


# --- which rule ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "rule",
    [
        "refused",
        "REFUSED",
        "6a1d2f0e-3b4c-4d5e-8f60-718293a4b5c6",
        "refund refused",
        "Refund Ref",
    ],
)
def test_a_rule_is_named_by_id_name_or_the_beginning_of_its_title(
    rules: str, capsys: pytest.CaptureFixture[str], rule: str
) -> None:
    assert one(capsys, rule, MATCHING, rules)["title"] == "Refund Refused"


def test_a_file_stands_for_all_its_detections(rules: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, explanations = as_json(capsys, rules, MATCHING, [])
    assert code == 0
    assert [(e["title"], e["fires"]) for e in explanations] == [
        ("Refund Refused", True),
        ("Refund Repeated", False),
    ]


@pytest.mark.parametrize(
    ("rule", "error"),
    [
        ("Refund", "'Refund' is the title of 2 rules; name one by its id:\n  6a1d2f0e"),
        ("refusd", "no rule 'refusd'; did you mean 'refused'?"),
        ("zzz", "no rule 'zzz'; `tocsin rules -v` lists those that are loaded"),
        ("", "no rule ''; "),
        (
            "Many Refunds",
            "'Many Refunds' is a correlation, which is about more than one event; explain a rule that",
        ),
    ],
)
def test_a_rule_that_can_not_be_told_is_an_error(rules: str, rule: str, error: str) -> None:
    with pytest.raises(TocsinError) as raised:
        explain(rule, MATCHING, [rules])
    assert error in str(raised.value)


def test_a_file_without_detections_is_an_error(tmp_path: Path, rules: str) -> None:
    (tmp_path / "f.yml").write_text(FILTER, encoding="utf-8")
    with pytest.raises(TocsinError, match="there is no detection in"):
        explain(str(tmp_path / "f.yml"), MATCHING, [rules])


def test_the_rules_that_ship_are_asked_without_paths(capsys: pytest.CaptureFixture[str]) -> None:
    event = '{"level": "critical", "event": "x", "logsource": {"category": "application"}}'
    assert one(capsys, "critical error", event)["fires"]


def test_filters_are_told(tmp_path: Path, rules: str, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "f.yml").write_text(FILTER, encoding="utf-8")
    explanation = one(capsys, "refused", MATCHING.replace("ann", "bank"), rules, str(tmp_path / "f.yml"))
    assert not explanation["fires"]
    assert says(explanation, "filters") == f"Not Of The Bank ({tmp_path}/f.yml:1)"
    assert not any(f["name"] == "filters" for f in one(capsys, "repeated", MATCHING, rules)["facts"])


PYTHON = """\
from pipeline.python_rule import rule


@rule("0c9f1d52-6f4f-4b3c-9e38-2f1f8a1b9f11", "Odd Amount", needles=["amount"])
def odd(event):
    return event.fields["amount"] % 2 == 1
"""


@pytest.mark.parametrize(
    ("event", "fires", "told"),
    [
        ('{"amount": 5}', True, "returns yes"),
        ('{"amount": 6}', False, "returns no"),
        ('{"total": 6}', False, "raised KeyError: 'amount'; that counts as no match"),
    ],
)
def test_a_rule_in_python_is_asked(
    tmp_path: Path, rules: str, capsys: pytest.CaptureFixture[str], event: str, fires: bool, told: str
) -> None:
    (tmp_path / "odd.py").write_text(PYTHON, encoding="utf-8")
    explanation = one(capsys, "odd amount", event, rules, python=[str(tmp_path / "odd.py")])
    assert (explanation["fires"], explanation["explained"]) == (fires, None)
    assert says(explanation, "function") == told


def test_a_rule_in_python_that_leaves_or_raises_what_has_no_text_is_told_all_the_same(
    tmp_path: Path, rules: str, capsys: pytest.CaptureFixture[str]
) -> None:
    odd = "class Mute(Exception):\n    def __str__(self):\n        raise ValueError\n\n\n" + PYTHON.replace(
        'return event.fields["amount"] % 2 == 1', "raise SystemExit(3) if BODY else Mute"
    )
    for body, told in (("True", "SystemExit"), ("False", "Mute")):
        (tmp_path / "odd.py").write_text(odd.replace("BODY", body), encoding="utf-8")
        explanation = one(capsys, "odd amount", '{"amount": 5}', rules, python=[str(tmp_path / "odd.py")])
        assert not explanation["fires"]
        assert says(explanation, "function").startswith(f"raised {told}")


# --- which event -----------------------------------------------------------------------------------------

LINES = MATCHING + "\n" + '{"event": "refused", "amount": 5}\n'


def written(folder: Path, name: str, text: str) -> str:
    (folder / name).write_text(text, encoding="utf-8")
    return str(folder / name)


def test_each_event_of_a_file_is_explained(
    tmp_path: Path, rules: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path, "e.jsonl", LINES)
    code, explanations = as_json(capsys, "refused", path, [rules])
    assert code == 0
    assert [(e["event"], e["fires"]) for e in explanations] == [(f"{path}:1", True), (f"{path}:2", False)]


@pytest.mark.parametrize("prefix", ["", "@"])
def test_one_event_of_a_file_is_named_by_its_number(
    tmp_path: Path, rules: str, capsys: pytest.CaptureFixture[str], prefix: str
) -> None:
    path = written(tmp_path, "e.jsonl", LINES)
    code, explanations = as_json(capsys, "refused", f"{prefix}{path}:2", [rules])
    assert code == 1
    assert [(e["event"], e["fires"]) for e in explanations] == [(f"{path}:2", False)]


@pytest.mark.parametrize(
    "text",
    [json.dumps(json.loads(MATCHING), indent=2), f"[{MATCHING}]", f"\n{MATCHING}\n\n", MATCHING + "\r\n"],
)
def test_an_event_may_be_printed_in_any_way(
    tmp_path: Path, rules: str, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    assert one(capsys, "refused", written(tmp_path, "e.json", text), rules)["fires"]


def test_a_traceback_is_one_event(tmp_path: Path, rules: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = "2026-11-24 12:00:00,000 - ERROR - refund repeated\nTraceback (most recent call last):\n"
    text += "  x\nKeyError: 1\n"
    event = one(capsys, "repeated", written(tmp_path, "a.log", text), rules)
    assert event["fires"]
    assert event["text"].endswith("KeyError: 1")


def test_standard_input_is_read(
    rules: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(LINES.encode())))
    code, explanations = as_json(capsys, "refused", "-", [rules])
    assert (code, [e["event"] for e in explanations]) == (0, ["standard input:1", "standard input:2"])


def test_a_line_of_a_log_is_an_event(rules: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert one(capsys, "repeated", "2026-11-24 12:00:00,000 - ERROR - refund repeated", rules)["fires"]


def test_what_is_not_of_its_format_is_matched_as_text(rules: str, capsys: pytest.CaptureFixture[str]) -> None:
    explanation = one(capsys, "repeated", '{"event": "refund repeated"', rules, format="json")
    assert not explanation["fires"]
    assert says(explanation, "format").startswith("matched as raw text: not JSON: ")


@pytest.mark.parametrize(
    ("event", "error"),
    [
        ("none.json", "none.json: No such file or directory; an event is a JSON text"),
        ("@none at all.json", "none at all.json: No such file or directory"),
        ("FOLDER", "Is a directory"),
        ("FOLDER/e.jsonl:3", "e.jsonl has 2 events, and no number 3"),
        ("FOLDER/e.jsonl:0", "e.jsonl has 2 events, and no number 0"),
        ("FOLDER/empty", "empty holds no event"),
        ("FOLDER/many", f"many has 1,001 events; up to {MOST_EVENTS:,} are explained at once"),
        ("x" * 5000, "File name too long"),
        ("\0", "null byte"),
    ],
)
def test_an_event_that_is_not_there_is_an_error(tmp_path: Path, rules: str, event: str, error: str) -> None:
    written(tmp_path, "e.jsonl", LINES)
    written(tmp_path, "empty", "\n\n")
    written(tmp_path, "many", MATCHING.join(["\n"] * (MOST_EVENTS + 2)))
    with pytest.raises(TocsinError) as raised:
        explain("refused", event.replace("FOLDER", str(tmp_path)), [rules])
    assert error in str(raised.value)


def test_a_format_that_does_not_exist_is_an_error(rules: str) -> None:
    with pytest.raises(ConfigError, match="did you mean 'json'"):
        explain("refused", MATCHING, [rules], format="jsn")


# --- log source and prefilter ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "declared", "fires", "told"),
    [
        (None, "", True, "neither event nor source says what it is: so it is asked"),
        (
            {"product": "shop", "category": "application"},
            "",
            True,
            "the event says product shop, category application",
        ),
        ({"product": "till"}, "", False, "the event says product till: so it is not asked"),
        (
            None,
            "product=shop,category=application",
            True,
            "the source declares product shop, category application",
        ),
        (None, "product=till", False, "the source declares product till: so it is not asked"),
        # What a source declares in full no event can change.
        (
            {"product": "shop", "category": "application"},
            "product=till,category=x",
            False,
            "so it is not asked",
        ),
        # A product alone leaves the rest to the event.
        ({"product": "shop", "category": "application"}, "product=shop", True, "so it is asked"),
    ],
)
def test_a_rule_for_another_log_source_does_not_fire(
    rules: str,
    capsys: pytest.CaptureFixture[str],
    said: dict[str, str] | None,
    declared: str,
    fires: bool,
    told: str,
) -> None:
    event = json.dumps({**json.loads(MATCHING), **({"logsource": said} if said else {})})
    explanation = one(capsys, "refused", event, rules, logsource=declared)
    assert (explanation["fires"], explanation["explained"]["matched"]) == (fires, True)
    assert told in says(explanation, "log source")
    assert ("log source" in explanation["verdict"]) is not fires


@pytest.mark.parametrize(
    ("declared", "error"),
    [
        ("shop", "no log source: 'shop'; write it as product=windows,service=sysmon"),
        ("prodct=shop", "a log source has no 'prodct'; did you mean 'product'?"),
    ],
)
def test_a_log_source_that_is_none_is_an_error(rules: str, declared: str, error: str) -> None:
    with pytest.raises(ConfigError) as raised:
        explain("refused", MATCHING, [rules], logsource=declared)
    assert str(raised.value) == error


def test_the_prefilter_tells_what_it_looks_for(
    tmp_path: Path, rules: str, capsys: pytest.CaptureFixture[str]
) -> None:
    found = says(one(capsys, "refused", MATCHING, rules), "prefilter")
    assert found.startswith("looks for")
    assert found.endswith("found, the event is examined")
    missed = says(one(capsys, "refused", '{"f": 1}', rules), "prefilter")
    assert missed.endswith("not found, so that the event is never decoded")
    bare = written(
        tmp_path,
        "bare.yml",
        "title: Bare\nname: bare\nlogsource: {product: shop}\n"
        "detection: {selection: {outcome: null}, condition: selection}\n",
    )
    told = says(one(capsys, "bare", '{"f": 1}', bare), "prefilter")
    assert told == "has nothing to look for: the rule must examine every event"
