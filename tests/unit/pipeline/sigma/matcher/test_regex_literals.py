"""Literals of regular expressions: wherever RE2 finds the one, one of the other stands."""

from __future__ import annotations

import pytest
import re2
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pipeline.sigma.matcher.regex_literals import required_literals


@pytest.mark.parametrize(
    ("regex", "literals"),
    [
        ("abc", {"abc"}),
        ("(?i)PowerShell", {"powershell"}),
        (r"cmd\.exe", {"cmd.exe"}),
        (r"\\\\server\\share", {"\\\\server\\share"}),
        (r"^abc$", {"abc"}),
        (r"\babc\B", {"abc"}),
        (r"ab.*cdef", {"cdef"}),
        (r"foo|barbaz", {"foo", "barbaz"}),
        (r"(?:foo|bar)baz", {"foobaz", "barbaz"}),
        (r"(?P<name>foo)bar", {"foobar"}),
        (r"(?<name>foo)bar", {"foobar"}),
        (r"a[bc]d", {"abd", "acd"}),
        (r"a[B-D]e", {"abe", "ace", "ade"}),
        (r"[Aa]b", {"ab"}),
        (r"[]x]y", {"]y", "xy"}),
        (r"[-x]y", {"-y", "xy"}),
        (r"ab+c", {"ab"}),
        (r"(ab){3}", {"ababab"}),
        (r"ab{2,}c", {"abb"}),
        (r"ab?cd", {"abcd", "acd"}),
        (r"ab??cd", {"abcd", "acd"}),
        (r"ab{0}cd", {"acd"}),
        (r"abc*de", {"ab"}),
        (r"\x41\x{42}\103", {"abc"}),
        (r"a\Q.*\Eb", {"a.*b"}),
        (r"a\Q.*", {"a.*"}),
        (r"a{,3}b", {"a{,3}b"}),
        (r"ab(?i)*cd", {"cd"}),
        (r"ab\Q\E*cd", {"cd"}),
        (r"a{b", {"a{b"}),
        (r"ab\dcdef", {"cdef"}),
        (r"ab\pLcdef", {"cdef"}),
        (r"ab\p{Greek}cdef", {"cdef"}),
        (r"ab[[:alpha:]]cdef", {"cdef"}),
        (r"ab[^c]cdef", {"cdef"}),
        ("abécdef", {"cdef"}),
        (r"ab\ncdef", {"cdef"}),
        (r"abc\x{212a}", {"abc"}),
        (r"exe|\.exe", {"exe"}),
    ],
)
def test_literals_are_read(regex: str, literals: set[str]) -> None:
    assert required_literals(regex) == literals
    assert re2.compile(regex)


@pytest.mark.parametrize(
    "regex",
    [
        "",
        "a*",
        "(abc)?",
        "abc|",
        "abc|d*",
        r"\d{4}",
        ".",
        "[^a]",
        "(?i)é",
        r"\n",
        "a{0,5}",
        "(abc){0}",
        "[[:digit:]]+",
    ],
)
def test_expression_that_needs_no_text_has_none(regex: str) -> None:
    assert required_literals(regex) is None
    assert re2.compile(regex)


@pytest.mark.parametrize(
    "regex",
    [
        "(?=a)bc",
        r"(a)\1",
        "(abc",
        "abc)",
        "[abc",
        "a{01}bc",
        r"\Zabc",
        "(?x)a b",
        "*a",
        "\\",
        "[b-a]c",
        r"\8ab",
    ],
)
def test_what_is_not_understood_has_none(regex: str) -> None:
    assert required_literals(regex) is None


def test_deep_and_large_expressions_end() -> None:
    assert required_literals("(" * 2000 + "a" + ")" * 2000) is None
    assert required_literals("(?:abc){1000}") == {"abc" * 4}
    assert required_literals("|".join(f"word{n}" for n in range(1000))) is None
    long = required_literals("x" * 10_000)
    assert long is not None
    assert all(set(text) == {"x"} for text in long)
    assert required_literals("[ab]" * 40 + "cdefgh") is not None


# --- pairs of an expression and a text that it is found in ------------------------------------------------

LETTERS = st.sampled_from("abkKsSiI.-\\/7_ \u00e9\n")
QUANTIFIERS = st.sampled_from(
    [
        ("", 1, 1),
        ("+", 1, 3),
        ("*", 0, 3),
        ("?", 0, 1),
        ("{2}", 2, 2),
        ("{1,3}", 1, 3),
        ("{0}", 0, 0),
        ("{2,}?", 2, 4),
    ]
)


@st.composite
def single(draw: st.DrawFn) -> tuple[str, str]:
    """Draw an expression for one character, and that character."""
    char = draw(LETTERS)
    quoted = re2.escape(char)
    code = ord(char)
    ways = [
        quoted,
        rf"\x{{{code:x}}}",
        rf"\Q{char}\E" if char != "\\" else quoted,
        f"[{quoted}]",
        f"[{quoted}q]",
        f"[^{re2.escape('q')}]",
        r"(?s:.)",
        f"(?i:{re2.escape(char.swapcase())})",
        f"(?i:[{re2.escape(char.swapcase())}])",
        r"[[:ascii:]]" if char.isascii() else "[[:^ascii:]]",
        rf"{quoted}|\d",
    ]
    if char.isascii():
        ways.append(rf"\x{code:02x}")
    regex = draw(st.sampled_from(ways))
    folded = {"k": "\u212a", "K": "\u212a", "s": "\u017f", "S": "\u017f"}
    if regex.startswith("(?i:") and char in folded and draw(st.booleans()):
        char = folded[char]
    return f"(?:{regex})", char


def joined(inner: st.SearchStrategy[tuple[str, str]]) -> st.SearchStrategy[tuple[str, str]]:
    return st.lists(inner, min_size=1, max_size=4).map(
        lambda pairs: ("".join(r for r, _ in pairs), "".join(t for _, t in pairs))
    )


@st.composite
def either(draw: st.DrawFn, inner: st.SearchStrategy[tuple[str, str]]) -> tuple[str, str]:
    (first, one), (second, other) = draw(inner), draw(inner)
    return f"(?:{first}|{second})", draw(st.sampled_from([one, other]))


@st.composite
def grouped(draw: st.DrawFn, inner: st.SearchStrategy[tuple[str, str]]) -> tuple[str, str]:
    regex, text = draw(inner)
    return draw(
        st.sampled_from([f"({regex})", f"(?P<n>{regex})", f"^{regex}", f"{regex}$", f"(?s){regex}"])
    ), text


@st.composite
def several(draw: st.DrawFn, inner: st.SearchStrategy[tuple[str, str]]) -> tuple[str, str]:
    """Draw an expression repeated, with as many copies of its text."""
    regex, text = draw(inner)
    written, least, most = draw(QUANTIFIERS)
    return f"(?:{regex}){written}", text * draw(st.integers(least, most))


PAIRS = st.recursive(
    single(),
    lambda inner: st.one_of(joined(inner), either(inner), grouped(inner), several(inner)),
    max_leaves=14,
)


def folded(text: str) -> str:
    return text.lower().replace("\u017f", "s")


@settings(deadline=None, max_examples=1500)
@given(PAIRS, st.sampled_from(["", "x", "ab", "\n"]), st.sampled_from(["", "y", "kS"]))
def test_literal_stands_wherever_the_expression_is_found(
    pair: tuple[str, str], before: str, after: str
) -> None:
    regex, text = pair
    options = re2.Options()
    options.log_errors = False
    try:
        compiled = re2.compile(regex, options)
    except re2.error:
        assume(False)
    text = before + text + after
    if compiled.search(text) is None:
        return
    literals = required_literals(regex)
    assert literals is None or any(literal in folded(text) for literal in literals)


@settings(deadline=None, max_examples=400)
@given(st.text("ab\\[](){}|*+?^$.-1,QE:iP<>xd", max_size=14), st.text("ab1-.", max_size=6))
def test_no_text_is_read_wrongly(regex: str, text: str) -> None:
    options = re2.Options()
    options.log_errors = False
    literals = required_literals(regex)
    try:
        compiled = re2.compile(regex, options)
    except re2.error:
        return
    found = compiled.search(text)
    if literals is not None and found is not None:
        assert any(literal in folded(text) for literal in literals)
