from __future__ import annotations

import dataclasses
import enum
import string
import threading
import uuid
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from producers.event.encoding import MIN_EVENT_BYTES, Copy, Encoder, Limits
from producers.event.objects import safe_text

ROOM = 256 * 1024
USUAL = Limits()


class Rude:
    """An object whose every way to be shown raises."""

    def __repr__(self) -> str:
        raise RuntimeError("no")

    __str__ = __repr__


class RudeDict(dict[str, object]):
    def items(self) -> Any:
        raise RuntimeError("no")


class Colour(enum.Enum):
    RED = "red"


class Liar(enum.Enum):
    """Would end the process if orjson looked at its value."""

    ONE = 1

    @property
    def value(self) -> object:
        raise RuntimeError("no")


@dataclasses.dataclass(slots=True)
class HalfMade:
    """Likewise: a slot is empty."""

    name: str
    later: int = dataclasses.field(init=False)


texts = st.text(st.characters(codec=None))
anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | texts
    | st.binary()
    | st.datetimes()
    | st.decimals()
    | st.complex_numbers()
    | st.builds(Rude)
    | st.sampled_from(Colour)
    | st.builds(lambda: Liar.ONE)
    | st.builds(HalfMade, st.text())
    | st.builds(lambda: object.__new__(uuid.UUID)),
    lambda inner: (
        st.lists(inner)
        | st.tuples(inner, inner)
        | st.dictionaries(texts | st.integers() | st.tuples(st.text()), inner)
        | st.builds(RudeDict, st.dictionaries(st.just("a"), inner))
    ),
    max_leaves=20,
)


def encode(fields: dict[str, object], limits: Limits = USUAL, room: int = ROOM) -> bytes:
    return Encoder(limits).encode(fields, None, room)[0]


def shown(value: object, limits: Limits = USUAL) -> object:
    return orjson.loads(encode({"v": value}, limits))["v"]


@given(st.dictionaries(texts, anything))
def test_whatever_is_logged_becomes_one_valid_json_line(fields: dict[str, object]) -> None:
    encoded = encode(fields)
    assert isinstance(orjson.loads(encoded), dict)
    assert b"\n" not in encoded


@given(
    st.dictionaries(st.text(string.ascii_letters), st.text(st.characters(codec="utf-8")) | st.integers(-9, 9))
)
def test_plain_fields_come_back_as_they_were(fields: dict[str, object]) -> None:
    assert orjson.loads(encode(fields)) == fields


@given(st.dictionaries(texts, st.none() | st.booleans() | st.integers() | st.floats() | texts, min_size=1))
def test_value_becomes_the_same_whether_it_is_copied_or_not(fields: dict[str, object]) -> None:
    # A list among the values is what has the event copied.
    copied = orjson.loads(encode({**fields, "a list": []}))
    del copied["a list"]
    assert orjson.loads(encode(fields)) == copied


@given(anything)
def test_value_becomes_the_same_at_any_depth(value: object) -> None:
    if not isinstance(value, dict):
        assert shown([value]) == [shown(value)]


@given(st.dictionaries(texts, anything))
def test_copy_of_a_copy_is_the_same(fields: dict[str, object]) -> None:
    once = Copy(Limits()).fields(fields)
    assert orjson.dumps(Copy(Limits()).fields(once)) == orjson.dumps(once)


def test_all_words_of_an_event_are_told() -> None:
    encoder = Encoder(Limits())
    assert encoder.encode({"event": "a", "n": 1, "s": "b"}, None, ROOM)[1:] == (
        {"event": "a", "n": 1, "s": "b"},
        "ab",
    )
    nested = {"event": "a", "request": {"headers": [("cookie", b"c")], "n": 2**70}}
    _, names, texts = encoder.encode(nested, {"own": "o"}, ROOM)
    assert set(names) == {"event", "request", "headers", "cookie", "n"}
    assert texts == 'acookiec1180591620717411303424{"own":"o"}'


def test_cycle_is_cut_at_a_depth() -> None:
    cycle: list[object] = []
    cycle.append(cycle)
    assert encode({"v": cycle, "w": 1}).endswith(b',"w":1,"truncated":true}')


def test_container_that_resists_takes_no_other_field_with_it() -> None:
    assert orjson.loads(encode({"a": RudeDict(x=2**80), "b": "kept"})) == {
        "a": {"x": str(2**80)},
        "b": "kept",
    }


def test_names_that_become_the_same_text_take_no_value_from_each_other() -> None:
    assert shown({1: "a", "1": "b", "1_": "c"}) == {"1": "a", "1_": "b", "1__": "c"}


def test_name_that_is_no_text_becomes_none_that_is_reserved() -> None:
    class Level:
        def __repr__(self) -> str:
            return "level"

    fields: Any = {"event": "x", Level(): "spoofed"}
    encoded, *_ = Encoder(Limits(), frozenset({"level", "event"})).encode(fields, None, ROOM)
    assert orjson.loads(encoded) == {"event": "x", "level_": "spoofed"}


@pytest.mark.parametrize(
    ("fields", "limits", "left"),
    [
        ({"a": [[[1]]]}, Limits(max_depth=2), {"a": [["…"]], "truncated": True}),
        ({"a": {"b": {}}}, Limits(max_depth=1), {"a": {"b": "…"}, "truncated": True}),
        ({"a": [[1]]}, Limits(max_depth=2), {"a": [[1]]}),
        ({"a": [1, 2, 3]}, Limits(max_fields=3), {"a": [1, 2, "…"], "truncated": True}),
        ({"a": {"b": 1, "c": 2}}, Limits(max_fields=2), {"a": {"b": 1, "…": "…"}, "truncated": True}),
        ({"a": 1, "b": 2, "c": 3}, Limits(max_fields=2), {"a": 1, "b": 2, "truncated": True}),
        ({"a": [1, 2], "b": "x"}, Limits(max_fields=3), {"a": [1, "…"], "b": "x", "truncated": True}),
        ({"a": [1, 2], "b": "x"}, Limits(max_fields=4), {"a": [1, 2], "b": "x"}),
        ({"a": "xyz", "b": ["xyz"]}, Limits(max_text=2), {"a": "xy…", "b": ["xy…"], "truncated": True}),
        ({"a": "xyz"}, Limits(max_text=3), {"a": "xyz"}),
        ({"n" * 65: "x"}, Limits(max_text=2), {"n" * 64 + "…": "x", "truncated": True}),
        ({"n" * 64: "x"}, Limits(max_text=2, max_depth=0), {"n" * 64: "x"}),
        ({"n" * 100: "x"}, Limits(max_text=99), {"n" * 99 + "…": "x", "truncated": True}),
    ],
)
def test_what_is_beyond_a_limit_is_cut_and_said(
    fields: dict[str, object], limits: Limits, left: dict[str, object]
) -> None:
    assert orjson.loads(encode(fields, limits)) == left


@given(
    st.dictionaries(texts, anything, min_size=1),
    st.builds(Limits, st.just(ROOM), st.integers(0, 5), st.integers(1, 30), st.integers(1, 40)),
)
def test_no_event_is_beyond_its_limits(fields: dict[str, object], limits: Limits) -> None:
    values = 0

    def measure(value: object, depth: int) -> None:
        nonlocal values
        values += 1
        if isinstance(value, str):
            assert len(value.replace("\\u", "").removesuffix("…")) <= 6 * limits.max_text
        if isinstance(value, dict | list):
            assert depth < limits.max_depth
            for inner in value.values() if isinstance(value, dict) else value:
                measure(inner, depth + 1)

    event = orjson.loads(encode(fields, limits))
    truncated = event.pop("truncated", False) is True
    for value in event.values():
        measure(value, 0)
    # Where something ends, a mark says so.
    assert values <= limits.max_fields + (limits.max_fields + 1 if truncated else 0)


def test_own_field_named_truncated_is_kept_beside_ours() -> None:
    fields: dict[str, object] = {"truncated": "mine", "a": "0123456789"}
    assert orjson.loads(encode(fields, Limits(max_text=9))) == {
        "truncated": True,
        "a": "012345678…",
        "truncated_": "mine",
    }


@pytest.mark.parametrize(
    "value",
    [
        "x" * 10_000_000,
        "\x00" * 3_000_000,
        ["y" * 9_000] * 1_000,
        {"k" * 9_000 + str(n): n for n in range(999)},
    ],
)
def test_oversize_event_is_cut_and_says_so(value: object) -> None:
    encoded = encode({"event": "first", "v": value}, Limits(MIN_EVENT_BYTES), MIN_EVENT_BYTES)
    assert len(encoded) <= MIN_EVENT_BYTES
    event = orjson.loads(encoded)
    assert (event["event"], event["truncated"]) == ("first", True)


def test_smallest_event_has_room_for_the_largest_words() -> None:
    worst = "\x00" * 100_000
    fields: dict[str, object] = {worst + str(n): {worst: [worst] * 9} for n in range(100)}
    room = MIN_EVENT_BYTES - 8_192
    own = {"exception": {"frames": [{"file": worst}] * 50}}
    assert len(Encoder(Limits(MIN_EVENT_BYTES)).encode(fields, own, room)[0]) <= room


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"max_event_bytes": 10}, "max_event_bytes must be at least 32768, not 10"),
        ({"max_fields": 9}, "max_fields must be at least 10, not 9"),
        ({"max_text": 0}, "max_text must be at least 1, not 0"),
        ({"max_depth": -1}, "max_depth must be 0 to 100, not -1"),
        ({"max_depth": 101}, "max_depth must be 0 to 100, not 101"),
    ],
)
def test_limit_that_nothing_could_keep_is_refused(limits: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Limits(**limits).check()


def test_container_that_empties_itself_while_it_is_encoded_does_no_harm() -> None:
    # What orjson would read after it was freed.
    class Emptying:
        def __repr__(self) -> str:
            members.clear()
            named.clear()
            return "done"

    texts = [str(n) * 50 for n in range(100)]
    members: list[object] = [Emptying(), *texts]
    named: dict[str, object] = {"first": Emptying(), **dict.fromkeys(texts)}
    assert shown(members) == ["done", *texts]
    members.append(1)
    named |= {"first": Emptying(), **dict.fromkeys(texts)}
    assert shown(named) == {"first": "done", **dict.fromkeys(texts)}


def test_containers_that_other_threads_change_do_no_harm() -> None:
    shared: dict[str, object] = {}
    listed: list[object] = []
    ended = threading.Event()

    def change() -> None:
        n = 0
        while not ended.is_set():
            n += 1
            shared[str(n % 100)] = n
            listed.append(n)
            if n % 50 == 0:
                shared.clear()
                listed.clear()

    thread = threading.Thread(target=change)
    thread.start()
    try:
        for _ in range(300):
            event = orjson.loads(encode({"shared": shared, "listed": listed, "rude": Rude()}))
            assert isinstance(event["shared"], dict)
            assert isinstance(event["listed"], list)
    finally:
        ended.set()
        thread.join()


def test_work_on_an_event_is_bounded_by_its_size() -> None:
    worst = "\x00" * 100_000
    encoded = encode({worst + str(n): [worst] for n in range(999)}, Limits(), 2**40)
    # Beside what the event may have, only short beginnings.
    assert len(encoded) < 6 * (256 * 1024 + 32_768 + 2 * 999 * 300)


def test_text_is_cut_after_its_limit() -> None:
    assert safe_text("abcdef", 3, str) == "abc…"
