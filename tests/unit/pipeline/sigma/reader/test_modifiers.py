"""What each modifier makes of a value, which may stand together, and how the others are refused."""

from __future__ import annotations

import base64
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import RuleError
from pipeline.sigma.form import (
    And,
    Compare,
    Exists,
    FieldRef,
    Item,
    Network,
    Node,
    Not,
    Null,
    Or,
    Pattern,
    Test,
    Text,
    TimePart,
    Wild,
)
from pipeline.sigma.reader.encodings import base64_at_any_offset
from pipeline.sigma.reader.modifiers import MODIFIERS, chain_of
from pipeline.sigma.reader.options import Options
from pipeline.sigma.reader.values import Template
from tests.unit.pipeline.sigma.rule_text import item_matches, item_refusal, node_of, rule_of

ANY, ONE, DASH = Wild.ANY, Wild.ONE, Wild.DASH


def cased(*parts: str | Wild) -> Text:
    return Text(parts, cased=True)


@pytest.mark.parametrize(
    ("modifiers", "value", "test"),
    [
        # Where in the value
        ("contains", "a", Text((ANY, "a", ANY))),
        ("contains", "'*a*'", Text((ANY, "a", ANY))),
        ("contains", "''", Text((ANY,))),
        ("contains", "a?b*c", Text((ANY, "a", ONE, "b", ANY, "c", ANY))),
        ("contains", "4625", Text((ANY, "4625", ANY))),
        ("startswith", "a", Text(("a", ANY))),
        ("startswith", "'1.50'", Text(("1.50", ANY))),
        ("endswith", "a", Text((ANY, "a"))),
        ("contains|cased", "a", cased(ANY, "a", ANY)),
        ("cased|contains", "a", cased(ANY, "a", ANY)),
        ("cased|contains", "5", cased(ANY, "5", ANY)),
        ("cased", "a*", cased("a", ANY)),
        # Dashes
        ("windash", "-a", Text((DASH, "a"))),
        (
            "windash",
            "a-b -c /d e/f - --g ―h –i —j",  # noqa: RUF001 — the dashes of `windash`
            Text(("a-b ", DASH, "c ", DASH, "d e/f - -", DASH, "g ", DASH, "h ", DASH, "i ", DASH, "j")),
        ),
        ("windash|contains", "' -a'", Text((ANY, " ", DASH, "a", ANY))),
        ("contains|windash", "' -a'", Text((ANY, " ", DASH, "a", ANY))),
        ("windash|startswith", "/a", Text((DASH, "a", ANY))),
        ("endswith|windash|cased", "/a", cased(ANY, DASH, "a")),
        ("windash", "'*-a*/b?-c'", Text((ANY, DASH, "a", ANY, DASH, "b", ONE, DASH, "c"))),
        ("windash", "-é", Text((DASH, "é"))),
        ("windash", "é-a", Text(("é-a",))),
        # Encodings
        ("base64", "Grüße", cased("R3LDvMOfZQ==")),
        ("base64|contains", "foo", cased(ANY, "Zm9v", ANY)),
        ("base64|startswith", "foo", cased("Zm9v", ANY)),
        ("base64|endswith|cased", "foo", cased(ANY, "Zm9v")),
        ("base64", "'a\\*'", cased("YSo=")),
        ("wide|base64", "cmd", cased("YwBtAGQA")),
        ("utf16le|base64", "cmd", cased("YwBtAGQA")),
        ("utf16be|base64", "cmd", cased("AGMAbQBk")),
        ("utf16|base64", "cmd", cased("//5jAG0AZAA=")),
        ("utf16|base64", "é", cased("//7pAA==")),
        ("wide|base64", "€", cased("rCA=")),
        ("wide", "cé", Text(("c\0\xe9\0",))),
        ("wide", "a*b?", Text(("a\0", ANY, "b\0", ONE, ONE))),
        ("utf16be|contains", "€", Text((ANY, "\x20\xac", ANY))),
        ("utf16", "c", Text(("\xff\xfec\0",))),
        ("cased|wide|base64", "c", cased("YwA=")),
        ("base64|base64", "abc", cased("WVdKag==")),
        ("base64|wide", "a", cased("Y\0Q\0=\0=\0")),
        ("wide|base64|wide|base64|contains", "c", cased(ANY, "WQB3AEEAPQA=", ANY)),
        # Regular expressions
        ("re", "a+", Pattern("a+")),
        ("re", "'a\\*b?'", Pattern("a\\*b?")),
        ("re|i", "a", Pattern("(?i)a")),
        ("re|s|ignorecase|multiline", "a", Pattern("(?ims)a")),
        ("re|contains", "a", Pattern("a")),
        ("re|startswith", "a|b", Pattern("^(?:a|b)")),
        ("re|i|endswith", "a|b", Pattern("(?i)(?:a|b)$")),
        ("re|endswith|dotall", "a", Pattern("(?s)(?:a)$")),
        ("re|startswith|m", "a", Pattern("(?m)\\A(?:a)")),
        ("re|m|endswith", "a", Pattern("(?m)(?:a)\\z")),
        # Numbers, and parts of a time
        *((op, "5", Compare(op, 5)) for op in ("lt", "lte", "gt", "gte")),
        *((p, "5", TimePart(p, "eq", 5)) for p in ("minute", "hour", "day", "week", "month", "year")),
        ("hour|gte", "3", TimePart("hour", "gte", 3)),
        ("year|lt", "2026.5", TimePart("year", "lt", 2026.5)),
        # Others
        ("exists", "true", Exists(value=True)),
        ("exists", "false", Exists(value=False)),
        ("exists", "[true]", Exists(value=True)),
        ("cidr", "10.0.0.0/8", Network("10.0.0.0/8")),
        ("cidr", "10.0.0.1", Network("10.0.0.1/32")),
        ("cidr", "'FD00::/8'", Network("fd00::/8")),
        ("fieldref", "g", FieldRef("g")),
        ("fieldref|contains", "g", FieldRef("g", "contains")),
        ("fieldref|startswith|cased", "g", FieldRef("g", "startswith", cased=True)),
        ("cased|fieldref|endswith", "g", FieldRef("g", "endswith", cased=True)),
        ("fieldref", "'a\\*b'", FieldRef("a*b")),
    ],
)
def test_modifiers_give_one_test(modifiers: str, value: str, test: Test) -> None:
    assert node_of(f"f|{modifiers}: {value}") == Item("f", test)


def within(*literals: str) -> Or:
    return Or(tuple(Item("f", cased(ANY, literal, ANY)) for literal in literals))


NETWORK = Item("f", Network("::1/128"))
FOO = within("Zm9v", "Zvb", "mb2")
A, B = (Item("f", Text((ANY, c, ANY))) for c in "ab")


@pytest.mark.parametrize(
    ("item", "node"),
    [
        ("f|contains|all: [a, b]", And((A, B))),
        ("f|all|contains: [a, b]", And((A, B))),
        ("f|all|contains: a", A),
        ("f|neq|contains: a", Not(A)),
        ("f|contains|neq: [a, b]", Not(Or((A, B)))),
        ("f|contains|all|neq: [a, b]", Not(And((A, B)))),
        ("f|neq: null", Not(Item("f", Null()))),
        ("f|neq|re: x", Not(Item("f", Pattern("x")))),
        ("f|lt|neq: 5", Not(Item("f", Compare("lt", 5)))),
        ("f|hour|neq: 5", Not(Item("f", TimePart("hour", "eq", 5)))),
        ("f|cidr|neq: 10.0.0.0/8", Not(Item("f", Network("10.0.0.0/8")))),
        ("f|cidr: [10.0.0.0/8, '::1']", Or((Item("f", Network("10.0.0.0/8")), NETWORK))),
        ("f|fieldref|all: [g, h]", And((Item("f", FieldRef("g")), Item("f", FieldRef("h"))))),
        ("f|base64offset|contains: foo", FOO),
        ("f|base64offset|contains|all: [foo, bar]", And((FOO, within("YmFy", "Jhc", "iYX")))),
        ("f|wide|base64offset|contains: cmd", within("YwBtAGQA", "MAbQBkA", "jAG0AZA")),
        # Keywords
        ("'|contains': a", Item(None, Text((ANY, "a", ANY)))),
        ("'|cased': [a, b]", Or((Item(None, cased("a")), Item(None, cased("b"))))),
        ("'|re|i|all': [a, b]", And((Item(None, Pattern("(?i)a")), Item(None, Pattern("(?i)b"))))),
        ("'|windash': -a", Item(None, Text((DASH, "a")))),
        ("'|neq': a", Not(Item(None, Text(("a",))))),
        ("'|wide|base64': cmd", Item(None, cased("YwBtAGQA"))),
        ("'|base64offset': foo", Or(tuple(Item(None, cased(t)) for t in ("Zm9v", "Zvb", "mb2")))),
    ],
)  # fmt: skip
def test_modifiers_of_an_item_link_and_negate_its_values(item: str, node: Node) -> None:
    assert node_of(item) == node


@pytest.mark.parametrize(
    ("item", "told"),
    [
        ("f|containz: a", "modifier 'containz' is not known here; did you mean 'contains'?"),
        ("f|: a", "modifier '' is not known here"),
        ("f|contains|contains: a", "|contains stands here twice"),
        ("f|neq|neq: a", "|neq stands here twice"),
        ("f|re|i|ignorecase: a", "|ignorecase, which is |i, stands here twice"),
        ("f|wide|utf16le: a", "|utf16le can't follow |wide"),
        ("f|base64offset|base64offset: abc", "|base64offset stands here twice"),
        ("f|base64offset|base64: abc", "|base64 can't follow |base64offset"),
        # Two that don't go together
        ("f|contains|startswith: a", "|contains and |startswith don't go together"),
        ("f|re|startswith|endswith: a", "|startswith and |endswith don't go together"),
        ("f|contains|re: a", "|re can't follow |contains: it takes a text in quotes, before anything else"),
        ("f|cased|re: a", "|re can't follow |cased"),
        ("f|expand|re: a", "|re can't follow |expand"),
        ("f|wide|re: a", "|re can't follow |wide"),
        ("f|re|cased: a", "|cased and |re don't go together: a regular expression respects case"),
        ("f|re|windash: a", "|windash can't follow |re"),
        ("f|re|base64: a", "|base64 can't follow |re"),
        ("f|contains|base64: a", "|base64 can't follow |contains"),
        ("f|contains|base64offset: a", "|base64offset can't follow |contains"),
        ("f|contains|wide: a", "|wide can't follow |contains"),
        ("f|wide|utf16be: a", "|utf16be can't follow |wide"),
        ("f|base64offset|startswith: abc", "after |base64offset there may be |contains"),
        ("f|base64offset|endswith: abc", "|endswith can't follow |base64offset"),
        ("f|base64|expand: abc", "|expand can't follow |base64"),
        ("f|windash|base64: a", "|windash and |base64 don't go together: what is encoded has one spelling"),
        ("f|base64offset|windash: abc", "|windash and |base64offset don't go together"),
        ("f|wide|windash: a", "|windash and |wide don't go together"),
        ("f|exists|neq: true", "|exists and |neq don't go together: it looks at presence alone"),
        ("f|all|exists: true", "|exists and |all don't go together"),
        ("f|exists|contains: true", "|exists and |contains don't go together"),
        ("f|gt|lt: 5", "|lt can't follow |gt: it takes a number, without quotes"),
        ("f|gt|hour: 5", "|hour can't follow |gt"),
        ("f|hour|day: 5", "|day can't follow |hour"),
        ("f|hour|contains: 5", "|contains can't follow |hour"),
        ("f|cidr|contains: 10.0.0.0/8", "|contains can't follow |cidr"),
        ("f|contains|cidr: 10.0.0.0/8", "|cidr can't follow |contains"),
        ("f|contains|fieldref: a", "|fieldref can't follow |contains"),
        ("f|fieldref|expand: a", "|fieldref and |expand don't go together"),
        ("f|windash|fieldref: a", "|fieldref and |windash don't go together"),
        ("f|cased|cidr: 10.0.0.0/8", "|cidr and |cased don't go together: an address is compared as"),
        ("f|i: a", "'a' is of no type that |i works on: it takes a regular expression, so it follows |re"),
        ("f|i|re: a", "|re can't follow |i"),
        # One, and the value
        ("f|contains: null", "null is of no type that |contains works on: it takes a text"),
        ("f|contains: [a, true]", "f|contains[1]: true is of no type that |contains works on"),
        ("f|windash: 5", "5 is of no type that |windash works on"),
        ("f|base64: 5", "5 is of no type that |base64 works on"),
        ("f|re: 5", "5 is of no type that |re works on: it takes a text in quotes"),
        ("f|cased: null", "null is of no type that |cased works on"),
        ("f|cased|gt: 5", "|gt works on"),
        ("f|expand: [a, 5]", "f|expand[1]: 5 is of no type that |expand works on"),
        ("f|expand: true", "true is of no type that |expand works on"),
        ("f|gt: '5'", "'5' is of no type that |gt works on: it takes a number, without quotes"),
        ("f|lte: null", "null is of no type that |lte works on"),
        ("f|hour: '3'", "'3' is of no type that |hour works on"),
        ("f|hour|gte: true", "true is of no type that |hour works on"),
        ("f|exists: 'true'", "'true' is of no type that |exists works on: it takes true or false"),
        ("f|exists: 1", "1 is of no type that |exists works on"),
        ("f|exists: [true, false]", "|exists takes one value, not a list of 2"),
        ("f|cidr: 5", "5 is of no type that |cidr works on"),
        ("f|cidr: 10.0.0.1/8", "10.0.0.1/8 has host bits set; its network is 10.0.0.0/8"),
        ("f|cidr: 'fd00::1/8'", "its network is fd00::/8"),
        ("f|cidr: [10.0.0.0/8, 10.0.0.0/33]", "f|cidr[1]: Invalid CIDR expression: '10.0.0.0/33'"),
        ("f|cidr: 10.0.0.*", "Networks must not contain wildcards"),
        ("f|fieldref: 'a*'", "Field references must not contain wildcards"),
        ("f|fieldref: ''", "Field references must not be empty"),
        (r"f|expand: 'C:\%p%'", r"\%p% is no placeholder, for its first % is escaped; write \\%p% to"),
        ("f|base64: 'a*'", "a wildcard can't be encoded"),
        ("f|base64: ''", "there is too little to encode; a character at least"),
        ("f|base64offset|contains: a", "there is too little to encode; 2 bytes at least"),
        (f"f|re: {'a' * 10001}", "a regular expression of 10,001 characters; up to 10,000 are possible"),
        ("f|re|startswith: 'a)(b'", "the regular expression 'a)(b' can't be matched"),
        ("f|re|endswith: '\\Qa'", "can't be matched in linear time (RE2): missing )"),
    ],
)  # fmt: skip
def test_what_is_not_legal_is_refused_by_name(item: str, told: str) -> None:
    error = item_refusal(item)
    assert told in error
    assert error.startswith("r.yml:6: detection.s.f|")


@pytest.mark.parametrize(
    ("modifiers", "value"),
    [
        *((m, "5") for m in ("lt", "lte", "gt", "gte", "minute", "hour", "day", "week", "month", "year")),
        ("exists", "true"),
        ("cidr", "10.0.0.0/8"),
        ("fieldref", "g"),
        ("startswith", "a"),
        ("re|endswith", "a"),
    ],
)
def test_keyword_has_no_modifier_that_needs_a_field(modifiers: str, value: str) -> None:
    name = modifiers.rsplit("|", maxsplit=1)[-1]
    told = f"a keyword is a text, a number or a regular expression: |{name} needs a field"
    assert told in item_refusal(f"'|{modifiers}': {value}")


VALUES = {"exists": "true", "cidr": "10.0.0.0/8"} | dict.fromkeys(
    ("lt", "lte", "gt", "gte", "minute", "hour", "day", "week", "month", "year"), "5"
)


@pytest.mark.parametrize("modifier", sorted(MODIFIERS))
def test_every_modifier_is_read(modifier: str) -> None:
    before = "re|" if modifier in {"i", "ignorecase", "m", "multiline", "s", "dotall"} else ""
    assert rule_of(f"s: {{'f|{before}{modifier}': {VALUES.get(modifier, 'xy')}}}\ncondition: s\n")


def _legal(names: tuple[str, ...]) -> bool:
    options = Options(placeholders={"p": ("xy",)})
    for value in ("xy", "5", "true", "10.0.0.0/8"):
        try:
            node_of(f"f|{'|'.join(names)}: {value}", options)
        except RuleError:
            continue
        return True
    return False


def test_pairs_that_are_legal_are_these_and_no_others() -> None:
    names = sorted(
        MODIFIERS.keys() - {"wide", "ignorecase", "multiline", "dotall", "m", "s", "lte", "gt", "gte"}
    )
    names = [n for n in names if n not in {"minute", "day", "week", "month", "year", "utf16be", "utf16"}]
    legal = {f"{a}|{b}" for a, b in itertools.permutations(names, 2) if _legal((a, b))}
    either = {f"{a}|{b}" for a, b in itertools.permutations(names, 2) if {"all", "neq"} & {a, b}}
    either -= {p for p in either if "exists" in p.split("|") or p in {"i|all", "i|neq", "all|i", "neq|i"}}
    texts = {"contains", "startswith", "endswith", "windash", "cased", "expand"}
    places = {"contains", "startswith", "endswith"}
    free = {f"{a}|{b}" for a, b in itertools.permutations(texts, 2) if not {a, b} <= places}
    encoders = ("utf16le", "base64", "base64offset")
    encoded = {f"{a}|{e}" for e in encoders for a in ("cased", "expand")}
    encoded |= {f"{e}|{a}" for e in encoders for a in ("cased", "contains", "startswith", "endswith")}
    encoded -= {"base64offset|startswith", "base64offset|endswith"}
    encoded |= {"utf16le|base64", "utf16le|base64offset", "base64|utf16le", "base64|base64offset"}
    regexes = {f"re|{a}" for a in (*places, "expand", "i")}
    references = {f"fieldref|{a}" for a in (*places, "cased")} | {"cased|fieldref"}
    others = {"hour|lt", "expand|cidr"}
    assert legal == either | free | encoded | regexes | references | others


@pytest.mark.parametrize("names", [("contains", "all"), ("contains", "cased", "windash"), ("re", "i", "s")])
def test_order_of_what_does_not_depend_on_it_is_free(names: tuple[str, ...]) -> None:
    orders = itertools.permutations(names)
    kept = [o for o in orders if o[0] == "re" or "re" not in names]
    assert len({repr(node_of(f"f|{'|'.join(o)}: [-a, b]")) for o in kept}) == 1


@pytest.mark.parametrize("modifier", ["contains", "startswith", "endswith", "cased", "cased|contains"])
@pytest.mark.parametrize("value", ["1.0", "1.10", "[a, 2.5]"])
def test_a_number_with_a_point_is_no_text_of_which_a_part_could_be_looked_for(
    modifier: str, value: str
) -> None:
    told = item_refusal(f"f|{modifier}: {value}")
    assert f"|{modifier.split('|', maxsplit=1)[0]} looks at a text, and " in told
    assert "put it into quotes" in told


def test_what_is_encoded_again_and_again_is_refused() -> None:
    assert rule_of("s: {f|base64|wide|base64|base64offset: ab}\ncondition: s\n")
    told = item_refusal("f|base64|base64|base64|base64|base64: ab")
    assert "encoded more than 4 times" in told
    assert "80 modifiers; up to 20 are possible" in item_refusal(f"f{'|base64' * 80}: ab")


@pytest.mark.parametrize("modifiers", ["base64", "base64offset", "wide", "utf16", "wide|base64"])
def test_a_text_that_becomes_too_long_by_its_encoding_is_refused(modifiers: str) -> None:
    told = item_refusal(f"f|{modifiers}: {'a' * 9000}")
    assert "r.yml:6: detection.s.f|" in told
    assert "characters; up to 10,000 are possible" in told


def test_modifiers_that_go_together_are_checked_once() -> None:
    assert chain_of(("contains", "all"), keyword=False) is chain_of(("contains", "all"), keyword=False)


@given(st.binary(max_size=5), st.text(min_size=1, max_size=6), st.binary(max_size=5))
def test_text_is_found_at_any_offset_of_base64(before: bytes, text: str, after: bytes) -> None:
    data = text.encode()
    if len(data) > 1:
        found = base64_at_any_offset(Template((text,))).values[len(before) % 3]
        assert found.parts[0] in base64.b64encode(before + data + after).decode()


def test_dashes_of_all_kinds_are_found_and_no_product_is_made() -> None:
    item = "f|windash|contains: ' -a -b -c -d -e -f'"
    assert isinstance(node_of(item), Item)
    assert item_matches(item, {"f": "x /A –B —C ―D -E /f"})  # noqa: RUF001 — the dashes of `windash`
    assert not item_matches(item, {"f": "x /a -b -c -d -e +f"})


def test_placeholders_values_have_their_dashes_where_windash_is() -> None:
    options = Options(placeholders={"p": ("-x", "a-b")})
    dashed = Or((Item("f", Text(("y ", DASH, "x"))), Item("f", Text(("y a-b",)))))
    assert node_of("f|expand|windash: 'y %p%'", options) == dashed
    plain = Or((Item("f", Text(("y -x",))), Item("f", Text(("y a-b",)))))
    assert node_of("f|windash|expand: 'y %p%'", options) == plain


def test_placeholders_are_filled_before_what_needs_the_whole_text() -> None:
    options = Options(placeholders={"p": ("foo", "bar")})
    foo, bar = (Item("f", cased(text)) for text in ("Zm9v", "YmFy"))
    assert node_of("f|expand|base64: '%p%'", options) == Or((foo, bar))
    assert node_of("f|expand|base64|all: ['%p%', foo]", options) == And((Or((foo, bar)), foo))
