"""Matchers are read and applied as Alertmanager does."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.notify import Matcher, Operator, all_match, parse_matcher, parse_matchers, show_matchers

EQ, NE, RE, NR = Operator.EQUAL, Operator.NOT_EQUAL, Operator.MATCHES, Operator.NOT_MATCHES


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("{}", []),
        ("{ }", []),
        ("{foo=bar}", [("foo", EQ, "bar")]),
        ("{foo=bar,}", [("foo", EQ, "bar")]),
        ("foo=bar,", [("foo", EQ, "bar")]),
        ("foo != bar", [("foo", NE, "bar")]),
        ("{foo=~[a-z]+}", [("foo", RE, "[a-z]+")]),
        ("foo!~[a-z]+", [("foo", NR, "[a-z]+")]),
        ("{foo=🙂bar}", [("foo", EQ, "🙂bar")]),
        ('{"foo"="bar"}', [("foo", EQ, "bar")]),
        ('{"über uns"="a, b"}', [("über uns", EQ, "a, b")]),
        (r'foo="\xf0\x9f\x99\x82"', [("foo", EQ, "🙂")]),
        (r'foo="\U0001f642\u00e4\101"', [("foo", EQ, "🙂äA")]),
        (r'foo="\"bar\"\n\t\\"', [("foo", EQ, '"bar"\n\t\\')]),
        ("{foo=bar,bar!=baz}", [("foo", EQ, "bar"), ("bar", NE, "baz")]),
        ('foo="bar" , bar=~"baz|x" ', [("foo", EQ, "bar"), ("bar", RE, "baz|x")]),
        ("host.name=web-1:80", [("host.name", EQ, "web-1:80")]),
        ('foo=""', [("foo", EQ, "")]),
        # What only the classic grammar takes.
        ("foo=", [("foo", EQ, "")]),
        ("foo=bar baz", [("foo", EQ, "bar baz")]),
        (r'foo=~"pay\d+"', [("foo", RE, r"pay\d+")]),
        (r"foo=~10\.0\..*", [("foo", RE, r"10\.0\..*")]),
        ('foo="a\nb"', [("foo", EQ, "a\nb")]),
        ("foo=bar}", [("foo", EQ, "bar")]),
        (r'{quote="She said: \"Hi, ladies!\""}', [("quote", EQ, 'She said: "Hi, ladies!"')]),
    ],
)
def test_text_is_read(text: str, expected: list[tuple[str, Operator, str]]) -> None:
    assert [(m.name, m.operator, m.value) for m in parse_matchers(text)] == expected


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (",", "expected a label name, found ','"),
        ("{,}", "expected a label name, found ',' at column 2"),
        ("{", "expected a comma or a closing brace, found the end"),
        ("foo", "expected an operator (=, !=, =~ or !~), found the end"),
        ("=bar", "expected a label name"),
        ('""="bar"', "needs a label name"),
        ("ünter=a b", "expected a comma or the end, found 'b' at column 9"),
        ('foo="bar', "expected a label value, found '\"' at column 5"),
        ('foo=~"("', "no regular expression that RE2 takes: missing )"),
        (r'foo=~"(a)\\1"', "no regular expression that RE2 takes"),
        (r'"foo"="\xf0\x9f"', "escape that means nothing"),
        ('foo==bar="', "expected a label value"),
    ],
)
def test_error_says_what_was_expected_and_where(text: str, says: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the text is compared below
        parse_matchers(text)
    assert says in str(caught.value)


@pytest.mark.parametrize(("text", "number"), [("", 0), ("a=b,c=d", 2)])
def test_one_matcher_is_one(text: str, number: int) -> None:
    with pytest.raises(ValueError, match=f"expected one matcher, found {number}"):
        parse_matcher(text)


@pytest.mark.parametrize(
    ("matcher", "labels", "expected"),
    [
        ("a=b", {"a": "b"}, True),
        ("a=b", {"a": "bb"}, False),
        ("a=b", {}, False),
        ('a=""', {}, True),
        ('a!=""', {}, False),
        ("a!=b", {}, True),
        ("a=~b.*", {"a": "bcd"}, True),
        ("a=~b", {"a": "abc"}, False),
        ("a=~b|c", {"a": "cd"}, False),
        ("a=~.*", {}, True),
        ("a=~.+", {}, False),
        ("a!~.+", {}, True),
        ("a!~b", {"a": "b"}, False),
        ("a=~.+", {"a": "b\nc"}, True),
        ("a=~.+", {"a": "\ud800"}, True),
        ("a=~(x+x+)+y", {"a": "x" * 5_000}, False),
    ],
)
def test_missing_label_is_empty_and_expressions_are_anchored(
    matcher: str, labels: dict[str, str], expected: bool
) -> None:
    assert parse_matcher(matcher).matches(labels) is expected


def test_all_of_them_must_match() -> None:
    both = parse_matchers("a=b,c!=d")
    assert all_match(both, {"a": "b"})
    assert not all_match(both, {"a": "b", "c": "d"})
    assert all_match((), {})


texts = st.text(st.characters(codec="utf-8"), max_size=20)


@given(st.lists(st.tuples(texts.filter(bool), st.sampled_from([EQ, NE]), texts), max_size=4))
def test_what_is_shown_is_read_back(parts: list[tuple[str, Operator, str]]) -> None:
    matchers = tuple(Matcher(*part) for part in parts)
    assert parse_matchers(show_matchers(matchers)) == matchers


@given(st.text(st.sampled_from('{}=~!,"\\ anx0\n'), max_size=30))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        matchers = parse_matchers(text)
    except ValueError:
        return
    assert parse_matchers(show_matchers(matchers)) == matchers
