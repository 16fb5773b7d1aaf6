"""The prefilter against plain evaluation: it may err towards too many, never towards too few."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.decode import choose
from pipeline.decode.levels import LEVELS
from pipeline.detect.prefilter import Prefilter
from pipeline.sigma.form import Exists, Item, Not, Number, Pattern, Rule, Text, Wild
from pipeline.sigma.matcher.match import compile_rule
from pipeline.sigma.matcher.subject import Subject
from tests.unit.pipeline.detect.drawn import nodes, record, record_of_a_level, rule_of
from tests.unit.pipeline.detect.shipped import SHIPPED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipeline.sigma.matcher.match import Matcher

RECORD_MS = 1_795_537_450_000
ONE = settings(deadline=None, max_examples=400)


def evaluated(rules: Sequence[Rule]) -> dict[str, Matcher]:
    return {rule.about.id: compile_rule(rule) for rule in rules}


def assert_none_is_missed(prefilter: Prefilter, matchers: dict[str, Matcher], values: Sequence[bytes]) -> int:
    """Compare, and return how many matches there were."""
    found = prefilter.candidates(values)
    assert found.keys() <= set(range(len(values)))
    decoder = choose("auto")
    matches = 0
    for position, raw in enumerate(values):
        subject = Subject(decoder.decode(raw, RECORD_MS))
        matching = {identity for identity, matcher in matchers.items() if matcher(subject)}
        matches += len(matching)
        missed = matching - found.get(position, frozenset()) - set(prefilter.always)
        assert not missed, (missed, raw)
    return matches


def test_nothing_that_is_always_examined_is_a_candidate_too() -> None:
    rules = [rule_of("a", Item("f", Text(("attack",)))), rule_of("b", Not(Item("f", Text(("attack",)))))]
    prefilter = Prefilter(rules)
    assert prefilter.always == ("b",)
    assert prefilter.candidates([b"", b"an attack"]) == {1: frozenset({"a"})}


# --- generated rules and events -----------------------------------------------------------------------


@st.composite
def rules_and_records(draw: st.DrawFn) -> tuple[list[Rule], list[bytes]]:
    conditions = draw(st.lists(nodes, min_size=1, max_size=4))
    records = [draw(record(draw(st.sampled_from(conditions)))) for _ in range(draw(st.integers(1, 4)))]
    return [rule_of(f"r{n}", c) for n, c in enumerate(conditions)], records


@ONE
@given(rules_and_records())
def test_no_match_of_generated_rules_is_missed(drawn: tuple[list[Rule], list[bytes]]) -> None:
    rules, records = drawn
    assert_none_is_missed(Prefilter(rules), evaluated(rules), records)


# --- the rules that ship --------------------------------------------------------------------------------

SHIPPED_MATCHERS = evaluated(SHIPPED)
SHIPPED_PREFILTER = Prefilter(SHIPPED)


@ONE
@given(st.data())
def test_no_match_of_the_rules_that_ship_is_missed(data: st.DataObject) -> None:
    rule = data.draw(st.sampled_from(SHIPPED), label="rule")
    records = data.draw(st.lists(record(rule.condition), min_size=1, max_size=3), label="records")
    assert_none_is_missed(SHIPPED_PREFILTER, SHIPPED_MATCHERS, records)


def test_rules_that_ship_all_have_a_witness() -> None:
    assert SHIPPED
    assert SHIPPED_PREFILTER.always == ()


OF_LEVEL = {name: rule_of(name, Item("level", Text((name,)))) for name in LEVELS}
OF_LEVEL_MATCHERS = evaluated(list(OF_LEVEL.values()))
OF_LEVEL_PREFILTER = Prefilter(list(OF_LEVEL.values()))


@settings(deadline=None, max_examples=1000)
@given(st.lists(record_of_a_level(), min_size=1, max_size=4))
def test_no_level_is_missed_in_any_format(records: list[bytes]) -> None:
    assert_none_is_missed(OF_LEVEL_PREFILTER, OF_LEVEL_MATCHERS, records)


@settings(deadline=None, max_examples=200)
@given(st.data())
def test_no_text_within_a_level_is_missed(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from([*LEVELS, "weird"]), label="name")
    start = data.draw(st.integers(0, len(name) - 2))
    part = name[start : data.draw(st.integers(start + 2, len(name)))]
    field = data.draw(st.sampled_from([None, "level"]))
    rule = rule_of("r", Item(field, Text((Wild.ANY, part, Wild.ANY))))
    records = data.draw(st.lists(record_of_a_level(), min_size=1, max_size=4), label="records")
    assert_none_is_missed(Prefilter([rule]), evaluated([rule]), [*records, b'{"level":"weird"}'])


# --- what hides, one by one -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "test"),
    [
        (rb'{"f":"\u0061ttack"}', Text(("attack",))),
        (rb'{"f":"a\u0054tack"}', Text(("attack",))),
        (rb'{"f":"a\/b"}', Text(("a/b",))),
        (rb'{"f":"a\"b\u0027"}', Text(("a\"b'",))),
        (rb'{"f":"a\\b"}', Text(("a\\b",))),
        (rb'{"f":"a\\\"b"}', Text(('a\\"b',))),
        (rb'{"f":"ro\u212Aet"}', Text(("roket",))),
        (b'{"f":"ro\xe2\x84\xaaet"}', Text(("roket",))),
        (rb'{"f":"\u0130x"}', Text(("i\u0307x",))),
        (rb'{"f":"caf\u00e9 attack"}', Text(("café attack",))),
        (b'{"f":"ATTACK"}', Text(("attack",))),
        (b'{"f":"x\\tattack"}', Text((Wild.ANY, "\tattack"))),
        (b'{"f":404}', Number(404)),
        (b'{"f":404.0}', Number(404)),
        (b'{"f":4.04e2}', Number(404)),
        (b'{"f":\n40400E-2}', Number(404)),
        (b'{"f":403.99999999999999999999}', Number(404)),
        (b'{"f":[1,404]}', Number(404)),
        (b'{"f":"404"}', Number(404)),
        (b'{"f":-404}', Number(-404)),
        (b'{"f":404.50}', Number(404.5)),
        (b'{"f":-9500000000000000001}', Number(-9500000000000000000)),
        (b'{"f":-9223372036854775809}', Text(("-9.223372036854776e+18",))),
        (b'{"f":1e22}', Text(("1e+22",))),
        (b'{"f":0.00001}', Text(("1e-05",))),
        (b'{"f":100000000000000000000}', Text(("1e+20",))),
        (b'{"f":0.0999999999999999999999}', Text(("0.1",))),
        (b'{"f":true}', Text(("true",))),
        (b"level=x f=404", Number(404)),
    ],
)
def test_way_of_writing_hides_nothing(raw: bytes, test: Text | Number) -> None:
    rule = rule_of("r", Item("f", test))
    assert assert_none_is_missed(Prefilter([rule]), evaluated([rule]), [raw]) == 1


@pytest.mark.parametrize("text", ["+22", "e+22", "+2", "1e+22"])
def test_keyword_within_a_number_is_found_where_it_begins_with_a_sign(text: str) -> None:
    rule = rule_of("r", Item(None, Text((text,))))
    assert assert_none_is_missed(Prefilter([rule]), evaluated([rule]), [b'{"f":1e22}']) == 1


@pytest.mark.parametrize(
    ("raw", "item"),
    [
        (b'{"level":50}', Item(None, Text(("error",)))),
        (b'{"level":"FATAL"}', Item(None, Text(("critical",)))),
        (b"<11>Nov 24 12:34:56 h app: x", Item(None, Text(("rro",)))),
        (b'{"level":50}', Item("level", Text(("err", Wild.ANY)))),
        (b'{"level":"weird"}', Item("level", Text(("we", Wild.ANY)))),
        (b'{"level":["ERROR"]}', Item("level", Text(("error",)))),
        (b'{"exception":"KeyError: x"}', Item("exception", Text(("KeyError", Wild.ANY)))),
        (b'{"error":{"type":"KeyError"}}', Item("exception.type", Text(("keyerror",)))),
        (
            b'{"Event":{"System":{"EventID":1},"UserData":{"A B":{"@Name":"q"}}}}',
            Item("AB_Name", Exists(True)),
        ),
        (
            b'{"Event":{"System":{"EventID":1},"UserData":{"A B":{"#attributes":{"Name":"q"}}}}}',
            Item("A_B_Name", Exists(True)),
        ),
    ],
)
def test_what_a_decoder_renames_is_found(raw: bytes, item: Item) -> None:
    rule = rule_of("r", item)
    prefilter = Prefilter([rule])
    assert prefilter.always == ()
    assert assert_none_is_missed(prefilter, evaluated([rule]), [raw]) == 1


def test_keyword_neither_finds_nor_needs_what_a_decoder_made_up() -> None:
    rule = rule_of("r", Item(None, Text(("failure",))))
    line = b"<14>Nov 24 12:34:56 h sshd[1]: Failed password for root from 192.0.2.7 port 1 ssh2"
    assert assert_none_is_missed(Prefilter([rule]), evaluated([rule]), [line]) == 0


@pytest.mark.parametrize("test", [Text(("abcdef",)), Pattern("abcdef"), Number(123456)])
@pytest.mark.parametrize("field", ["timestamp", "outcome", "pid", "service"])
def test_field_that_a_decoder_makes_up_has_no_witness(field: str, test: Text | Pattern | Number) -> None:
    assert Prefilter([rule_of("r", Item(field, test))]).always == ("r",)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        # What the texts without a name are called is taken already.
        ("System.Data", b'"EventData":"text","StringInserts":["a"]'),
        ("EventData.Data", b'"Data":"own","EventData":"text"'),
    ],
)
def test_dotted_name_that_a_decoder_makes_of_a_taken_one_has_no_witness(name: str, data: bytes) -> None:
    raw = b'{"EventID":1,"SourceName":"Microsoft-Windows-X","RecordNumber":7,' + data + b"}"
    rule = rule_of("r", Item(name, Exists(True)))
    prefilter = Prefilter([rule])
    assert assert_none_is_missed(prefilter, evaluated([rule]), [raw]) == 1
    assert prefilter.always == ("r",)


def test_status_with_leading_zeros_is_found() -> None:
    rule = rule_of("r", Item("bytes", Number(404)))
    line = b'192.0.2.7 - - [24/Nov/2026:12:34:56 +0000] "GET / HTTP/1.1" 200 000404'
    assert assert_none_is_missed(Prefilter([rule]), evaluated([rule]), [line]) == 1


@pytest.mark.parametrize(
    ("raw", "outcome"),
    [
        (b'{"level":"error"}', True),
        (b'{"level" : "ERR"}', True),
        (b'{"level":"\\terror2 "}', True),
        (b'{"severityText":"SEVERITY_NUMBER_ERROR","body":"x"}', True),
        (b'{"level":50}', True),
        (b"<11>Nov 24 12:34:56 h app: x", True),
        (b"2026-11-24 12:34:56 ERROR x", True),
        (b"2026-11-24 12:34:56 [err] x", True),
        (b"level=err msg=x", True),
        (b'{"level":"info","event":"an error of mine, errors, terror"}', False),
        (b'{"level":"info","error":null,"err":0}', False),
        (b'{"level":"info","event":"FooError in errno, stderr"}', False),
        (b'{"level":50000}', False),
        (b"<14>Nov 24 12:34:56 h app: no error here", False),
    ],
)
def test_level_is_looked_for_where_levels_stand(raw: bytes, outcome: bool) -> None:
    prefilter = Prefilter([rule_of("r", Item("level", Text(("error",))))])
    assert bool(prefilter.candidates([raw])) is outcome


@pytest.mark.parametrize(
    "raw",
    [
        b'{"id":14045}',
        b'{"trace":"a4044b"}',
        b'{"id":"9f404e"}',
        b'{"t":"12:34:56.404123"}',
        b'{"status":40}',
        b'{"status":1404}',
    ],
)
def test_number_within_digits_is_passed_over(raw: bytes) -> None:
    assert Prefilter([rule_of("r", Item("status", Number(404)))]).candidates([raw]) == {}


# --- records and their borders --------------------------------------------------------------------------

R = frozenset({"r"})


@pytest.mark.parametrize(
    ("batch", "expected"),
    [
        ([], {}),
        ([b""], {}),
        ([b"", b"", b"attack", b""], {2: R}),
        ([b"attack", b"x"], {0: R}),
        ([b"x", b"attack"], {1: R}),
        ([b"attack", b"attack"], {0: R, 1: R}),
        ([b"atta", b"ck"], {}),
        ([b"x\nattack\n", b"y"], {0: R}),
        ([b"\nattack", b"\n\n", b"attack\n\n"], {0: R, 2: R}),
        ([b"a\n\nb", b"", b"attack"], {2: R}),
    ],
)
def test_hit_belongs_to_its_record(batch: list[bytes], expected: dict[int, frozenset[str]]) -> None:
    assert Prefilter([rule_of("r", Item("f", Text(("attack",))))]).candidates(batch) == expected


@pytest.mark.parametrize(
    ("batch", "expected"),
    [
        ([b"404"], {0: R}),
        ([b"404", b"x"], {0: R}),
        ([b"x", b"404"], {1: R}),
        ([b"404", b"404", b"404"], {0: R, 1: R, 2: R}),
        ([b"404", b""], {0: R}),
        ([b"", b"404", b"", b""], {1: R}),
        ([b"1", b"404", b"1"], {1: R}),
        ([b"1404", b"4041"], {}),
        ([b"40", b"4"], {}),
        ([b"x 404\n", b"y"], {0: R}),
    ],
)
def test_number_that_ends_its_record_belongs_to_it(
    batch: list[bytes], expected: dict[int, frozenset[str]]
) -> None:
    """What follows a number is looked at as well: at the end of a record that is the separator."""
    assert Prefilter([rule_of("r", Item("status", Number(404)))]).candidates(batch) == expected


@given(
    st.lists(
        st.lists(st.sampled_from([b"\n", b"404", b"x", b"attack", b"4"]), max_size=4).map(b"".join),
        max_size=6,
    )
)
def test_records_of_a_batch_do_not_touch_each_other(batch: list[bytes]) -> None:
    rules = [rule_of("r", Item("status", Number(404))), rule_of("s", Item("f", Text(("attack",))))]
    prefilter = Prefilter(rules)
    alone = {i: found[0] for i, raw in enumerate(batch) if (found := prefilter.candidates([raw]))}
    assert prefilter.candidates(batch) == alone


def test_batch_beyond_one_scan_is_scanned_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.detect.prefilter._MAX_SCAN_BYTES", 16)
    prefilter = Prefilter([rule_of("r", Item("f", Text(("attack",))))])
    batch = [b"x" * 30, b"attack", b"", b"an attack of many", b"x", b"attack"]
    assert prefilter.candidates(batch) == {1: R, 3: R, 5: R}


def test_without_rules_nothing_is_a_candidate() -> None:
    assert Prefilter([]).candidates([b"attack"]) == {}
    only_always = Prefilter([rule_of("r", Not(Item("f", Text(("x",)))))])
    assert (only_always.candidates([b"x"]), only_always.always) == ({}, ("r",))


def test_rules_that_share_a_literal_are_all_candidates() -> None:
    rules = [rule_of("r", Item("f", Text(("attack",)))), rule_of("s", Item(None, Text(("ATTACK",))))]
    assert Prefilter(rules).candidates([b"attack"]) == {0: frozenset({"r", "s"})}


@settings(deadline=None)
@given(st.lists(st.binary(max_size=40), max_size=5))
def test_any_bytes_are_scanned(batch: list[bytes]) -> None:
    assert_none_is_missed(SHIPPED_PREFILTER, SHIPPED_MATCHERS, batch)


# --- what hides is looked through ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (rb'{"f":"\u003cb\u003e"}', {}),
        (rb'{"f":"\u003cscript"}', {0: frozenset({"s"})}),
        (rb'{"f":"\u0061ttack <script"}', {0: frozenset({"r", "s"})}),
        (rb'{"f":"\\u0061ttack"}', {}),
        ('{"f":"\u212aelvin"}'.encode(), {0: frozenset({"k"})}),
        (rb"\u0041 is no escape here: kelvin", {0: frozenset({"k"})}),
        ("\\u0041\u212aelvin".encode(), {0: frozenset({"k", "t"})}),
    ],
)
def test_escape_makes_a_candidate_for_what_it_hides_and_no_more(
    raw: bytes, expected: dict[int, frozenset[str]]
) -> None:
    wanted = {"r": "attack", "s": "<script", "k": "kelvin", "t": "\\u0041k"}
    prefilter = Prefilter([rule_of(name, Item("f", Text((text,)))) for name, text in wanted.items()])
    assert prefilter.candidates([raw]) == expected
    assert prefilter.candidates([b"x", raw, b"y"]) == {i + 1: ids for i, ids in expected.items()}


# --- databases that are kept --------------------------------------------------------------------------------


class Kept:
    """A store in memory; counts what it was asked."""

    def __init__(self) -> None:
        self.data: dict[str, bytes] = {}
        self.saved = 0

    def load(self, key: str) -> bytes | None:
        return self.data.get(key)

    def save(self, key: str, data: bytes) -> None:
        self.data[key] = data
        self.saved += 1


ATTACK = [rule_of("r", Item("f", Text(("attack",)))), rule_of("s", Item("g", Text(("defence",))))]
FOUND = {1: R, 2: frozenset({"s"})}
BATCH = [b"x", b"an attack", b"a defence"]


def test_database_is_compiled_once() -> None:
    store = Kept()
    assert Prefilter(ATTACK, store).candidates(BATCH) == FOUND
    assert Prefilter(ATTACK, store).candidates(BATCH) == FOUND
    assert store.saved == 1


def test_rules_that_look_for_the_same_share_a_database() -> None:
    store = Kept()
    Prefilter(ATTACK, store)
    renamed = [rule_of("q", Item("f", Text(("attack",)))), *ATTACK[1:]]
    assert Prefilter(renamed, store).candidates(BATCH) == {1: frozenset({"q"}), 2: frozenset({"s"})}
    assert store.saved == 1


def test_other_expressions_are_another_database() -> None:
    store = Kept()
    Prefilter(ATTACK, store)
    assert Prefilter(ATTACK[:1], store).candidates(BATCH) == {1: R}
    assert Prefilter(list(reversed(ATTACK)), store).candidates(BATCH) == FOUND
    assert store.saved == len(store.data) == 3


@pytest.mark.parametrize("damage", ["empty", "short", "flipped", "noise", "foreign"])
def test_damaged_database_is_compiled_anew(damage: str) -> None:
    store, other = Kept(), Kept()
    Prefilter(ATTACK, store)
    Prefilter([rule_of("r", Item("f", Text(("elsewhere",)))), ATTACK[1]], other)
    ((key, data),) = store.data.items()
    flipped = bytearray(data)
    flipped[len(data) // 2] ^= 1
    store.data[key] = {
        "empty": b"",
        "short": data[: len(data) // 2],
        "flipped": bytes(flipped),
        "noise": b"\0" * len(data),
        "foreign": next(iter(other.data.values())),
    }[damage]
    assert Prefilter(ATTACK, store).candidates(BATCH) == FOUND
    assert store.data == {key: data}
    assert store.saved == 2


def test_database_that_hyperscan_refuses_is_compiled_anew() -> None:
    store = Kept()
    Prefilter(ATTACK, store)
    ((key, data),) = store.data.items()
    # Made for another version, as its own digest says: the database's header is another.
    database = bytearray(data[32:])
    database[4] ^= 0xFF
    store.data[key] = hashlib.sha256(key.encode() + database).digest() + database
    assert Prefilter(ATTACK, store).candidates(BATCH) == FOUND
    assert store.saved == 2


def test_without_witnesses_no_database_is_asked_for() -> None:
    store = Kept()
    assert Prefilter([rule_of("r", Not(Item("f", Text(("x",)))))], store).always == ("r",)
    assert store.data == {}
