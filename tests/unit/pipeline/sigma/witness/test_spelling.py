"""Spellings: what a value's bytes may be, and that the patterns find each."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.sigma.witness.spelling import DASH, HATCHES, literal_patterns, name_patterns, unhidden
from tests.unit.calls import calls_of


def found(patterns: frozenset[str], raw: bytes) -> bool:
    """Say whether a record would be hit, its hidden forms included."""
    records = (raw, *unhidden(raw)) if hatched(raw) else (raw,)
    return any(hit(pattern, record) for pattern in patterns for record in records)


def hit(pattern: str, raw: bytes) -> bool:
    return re.search(pattern.encode("latin-1"), b"\n" + raw + b"\n", re.IGNORECASE) is not None


def hatched(raw: bytes) -> bool:
    return any(hit(pattern, raw) for pattern in HATCHES)


# --- what hides ASCII -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "outcome"),
    [
        (rb'{"f":"\u0061"}', True),
        (rb'{"f":"\\\u007A"}', True),
        (rb'{"f":"\\u0061"}', False),
        (rb'{"f":"\\\\u0061"}', False),
        (rb'{"f":"\u00e9"}', False),
        (rb'{"f":"\u0009"}', False),
        (rb'{"f":"\u212A"}', True),
        ("{'f':'\u212a'}".encode(), True),
        ("\u0130".encode(), True),
        ("\u017f".encode(), True),
    ],
)
def test_hatch_opens_where_ascii_may_be_hidden(raw: bytes, outcome: bool) -> None:
    assert hatched(raw) is outcome


@pytest.mark.parametrize(
    ("raw", "as_text", "as_json"),
    [
        (rb"\u0061\u005A", rb"\u0061\u005A", b"aZ"),
        (rb"\\u0061", rb"\\u0061", rb"\\u0061"),
        (rb"\\\u0061", rb"\\\u0061", rb"\\a"),
        (rb"\u0022\u005c\/\n", rb"\u0022\u005c\/\n", rb"\"\\\/\n"),
        (rb"\u212a\u0130\u017F", rb"\u212a\u0130\u017F", b"ki\xcc\x87s"),
        ("\u212a\u0130\u017f".encode(), b"ki\xcc\x87s", b"ki\xcc\x87s"),
        (rb"\u00e9\u0009\ud83d\ude00", rb"\u00e9\u0009\ud83d\ude00", rb"\u00e9\u0009\ud83d\ude00"),
        (b"\\", b"\\", b"\\"),
        (b"\xff\\u0041", b"\xff\\u0041", b"\xffA"),
        (rb"\\\u0041\u0042\n\u0043\\", rb"\\\u0041\u0042\n\u0043\\", rb"\\AB\nC\\"),
        (rb"\u0041\u", rb"\u0041\u", rb"A\u"),
        (b"\n\\u0041\n\\\n", b"\n\\u0041\n\\\n", b"\nA\n\\\n"),
        (b"", b"", b""),
    ],
)
def test_what_was_hidden_is_shown(raw: bytes, as_text: bytes, as_json: bytes) -> None:
    assert unhidden(raw) == (as_text, as_json)


@pytest.mark.parametrize("unit", [rb"\\", rb"\"", rb"\n\t", rb"\u00e9", b"\xe2\x84\xaa", b"\xc4\xb0\xc5\xbf"])
def test_what_hides_nothing_more_takes_no_call_each(unit: bytes) -> None:
    assert calls_of(lambda: unhidden(unit * 1000)) == calls_of(lambda: unhidden(b"x"))


@given(st.text(max_size=20))
def test_showing_what_was_hidden_changes_no_value_but_for_case(text: str) -> None:
    escaped = "".join(
        f"\\u{ord(c):04x}" if ord(c) < 0x10000 and not c.isspace() else json.dumps(c)[1:-1] for c in text
    )
    if re.search("[\ud800-\udfff]", text):
        return
    shown = json.loads(f'"{unhidden(escaped.encode())[1].decode()}"', strict=False)
    assert shown.lower().replace("\u017f", "s") == text.lower().replace("\u017f", "s")


# --- texts beyond ASCII -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "raw"),
    [
        ("caf\u00e9", "café"),
        ("caf\u00e9", "CAFÉ"),
        ("caf\u00e9", r'"caf\u00e9"'),
        ("caf\u00e9", r'"CAF\u00C9"'),
        ("\u00e5", "\u212b"),
        ("\u00e5", r"\u212B"),
        ("\u03bf\u03b4\u03bf\u03c2", "ΟΔΟΣ"),
        ("\u03bf\u03b4\u03bf\u03c3", "ΟΔΟΣ"),
        ("\u03c2", r"\u03a3"),
        ("\u03c2", "\u03c3"),
        ("\u03c3", r"\u03c2"),
        ("\U0001f600", "😀"),
        ("\U0001f600", r"\uD83D\ude00"),
        ("\U00010428", "\U00010400"),
        ("\u017ft", "\u017fT"),
        ("\u017ft", r"\u017ft"),
        ("i\u0307x", "\u0130X"),
        ("i\u0307x", r"\u0130x"),
        (f"a{DASH}b", "a-b"),
        (f"a{DASH}b", r"a\/b"),
        (f"a{DASH}b", "a\u2014b"),
        (f"a{DASH}b", r"a\u2015b"),
    ],
)
def test_every_way_of_writing_a_text_is_found(text: str, raw: str) -> None:
    assert found(literal_patterns(text), raw.encode())


@pytest.mark.parametrize(
    ("text", "raw"),
    [("caf\u00e9", "cafe"), ("caf\u00e9", r"caf\u00e8"), ("\u0438", "\u0439"), (f"a{DASH}b", "a+b")],
)
def test_other_characters_are_passed_over(text: str, raw: str) -> None:
    assert not found(literal_patterns(text), raw.encode())


@given(st.text(st.characters(min_codepoint=0x80, exclude_categories=["Cs"]), min_size=1, max_size=6))
def test_whatever_folds_to_a_text_is_found(text: str) -> None:
    folded = text.lower().replace("\ufffd", "")
    written = text.replace("\ufffd", "")
    assert found(literal_patterns(folded), written.encode())
    assert found(literal_patterns(folded), json.dumps(written).encode())
    assert found(
        literal_patterns(folded),
        json.dumps(written.upper() if written.upper().lower() == folded else written).encode(),
    )


# --- names --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "raw"),
    [
        ("Image", '{"Image":1}'),
        ("Image", '{"Image" : 1}'),
        ("Image", r'{"\u0049mage":1}'),
        ("Image", '{"Data":[{"Name":"Image","#text":""}]}'),
        ("a.b.c", '{"a":{"b":{"c":1}}}'),
        ("a.b.c", '{"a.b.c":1}'),
        ("a.b", "a.b=1"),
        ("a.b", '<1>1 t h a - - [a b=""]'),
        ("x/y", r'{"x\/y":1}'),
        ("Execution_ProcessID", '{"Execution":{"ProcessID":1}}'),
        ("Execution_ProcessID", '{"Execution":\n{"@ProcessID":1}}'),
        ("Execution_ProcessID", '{"Execution_ProcessID":1}'),
        ("Process_Name", '{"Process Name":1}'),
        ("ProcessName", '{"Process Name":1}'),
    ],
)
def test_name_is_found_where_names_stand(field: str, raw: str) -> None:
    patterns = name_patterns(field, flag=False)
    assert patterns is not None
    assert found(patterns, raw.encode())


@pytest.mark.parametrize(
    "raw", ["x Image y", '{"event":"the Image of"}', '{"ParentImage":"x"}', '{"Imaged":1}']
)
def test_name_is_passed_over_elsewhere(raw: str) -> None:
    patterns = name_patterns("Image", flag=False)
    assert patterns is not None
    assert not found(patterns, raw.encode())


@pytest.mark.parametrize(
    "raw", ["ts=1 debug", "debug ts=1", 'x debug"', "[debug]", "<1>1 t h a - - [debug ]"]
)
def test_flag_is_found_without_a_value(raw: str) -> None:
    patterns = name_patterns("debug", flag=True)
    assert patterns is not None
    assert found(patterns, raw.encode())


@pytest.mark.parametrize("field", ["naïve", "", "a.", "x" * 129, "tab\t"])
def test_name_that_may_be_written_otherwise_has_no_patterns(field: str) -> None:
    assert name_patterns(field, flag=False) is None
