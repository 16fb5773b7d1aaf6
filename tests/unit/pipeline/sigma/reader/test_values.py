r"""What stands in a rule's YAML: its type, and the wildcards and escapes of a text (semantics, section 1)."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pipeline.errors import RuleError
from pipeline.sigma.form import And, Item, Node, Null, Number, Or, Text, Truth, Wild
from pipeline.sigma.reader.values import joined, parts_of, typed
from tests.unit.pipeline.sigma.rule_text import node_of

ANY, ONE = Wild.ANY, Wild.ONE


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("", ()),
        ("abc", ("abc",)),
        ("*", (ANY,)),
        ("a*c?", ("a", ANY, "c", ONE)),
        ("**", (ANY,)),
        ("*?*", (ANY, ONE, ANY)),
        ("??", (ONE, ONE)),
        (r"\*", ("*",)),
        (r"a\?c", ("a?c",)),
        (r"a\\*", ("a\\", ANY)),
        (r"a\\\*", ("a\\*",)),
        (r"a\\\\*", ("a\\\\", ANY)),
        (r"a\b", (r"a\b",)),
        (r"a\\b", (r"a\b",)),
        (r"a\\\b", (r"a\\b",)),
        (r"a\\\\b", (r"a\\b",)),
        ("a\\", ("a\\",)),
        (r"a\\", ("a\\",)),
        ("*\\", (ANY, "\\")),
        (r"C:\Windows\*\x.exe", (r"C:\Windows*\x.exe",)),
        (r"C:\Windows\\*\x.exe", ("C:\\Windows\\", ANY, r"\x.exe")),
        ("a\n*", ("a\n", ANY)),
    ],
)
def test_text_has_wildcards_and_escapes(text: str, parts: tuple[str | Wild, ...]) -> None:
    assert parts_of(text) == parts


_PARTS = st.lists(st.text(r"\*?ab", min_size=1) | st.sampled_from([ANY, ONE]), max_size=6)


@given(_PARTS)
@example(["\\", ANY])
def test_every_sequence_of_parts_can_be_written(parts: list[str | Wild]) -> None:
    signs = {ANY: "*", ONE: "?"}
    written = "".join(re.sub(r"[\\*?]", r"\\\g<0>", p) if isinstance(p, str) else signs[p] for p in parts)
    assert parts_of(written) == joined(parts)


@given(st.text(r"\*?ab"))
def test_parts_of_any_text_are_joined(text: str) -> None:
    parts = parts_of(text)
    assert parts == joined(parts)
    assert sum(len(p) if isinstance(p, str) else 1 for p in parts) <= len(text)


FIVE = Item(None, Number(5))
X, Y = Item("f", Text(("x",))), Item("f", Text(("y",)))


@pytest.mark.parametrize(
    ("item", "node"),
    [
        ("f: ''", Item("f", Text(()))),
        ("f: null", Item("f", Null())),
        ("f:", Item("f", Null())),
        ("f: true", Item("f", Truth(value=True))),
        ("f: 'true'", Item("f", Text(("true",)))),
        ("f: 5", Item("f", Number(5))),
        ("f: 5.0", Item("f", Number(5))),
        ("f: -1.5", Item("f", Number(-1.5))),
        ("f: '5'", Item("f", Text(("5",)))),
        ("f: 9007199254740993", Item("f", Number(9007199254740993))),
        ("f: [x, null]", Or((X, Item("f", Null())))),
        ("f: [x]", X),
        ("f: x\ng: y", And((X, Item("g", Text(("y",)))))),
        ("[{f: x}, {f: y}]", Or((X, Y))),
        ("[{f: x}]", X),
        ("[{f: x, g: 1}, z, 5]", Or((And((X, Item("g", Number(1)))), Item(None, Text(("z",))), FIVE))),
        ("abc", Item(None, Text(("abc",)))),
        ("[a*c, 5]", Or((Item(None, Text(("a", ANY, "c"))), Item(None, Number(5))))),
        ("[true]", Item(None, Text(("true",)))),
        ("'|all': [a, b]", And((Item(None, Text(("a",))), Item(None, Text(("b",)))))),
        ("'': a", Item(None, Text(("a",)))),
    ],
)  # fmt: skip
def test_value_has_its_type_and_structure_its_links(item: str, node: Node) -> None:
    assert node_of(item) == node
    assert repr(node_of(item)) == repr(node)  # 5 and 5.0 are equal, but not rendered so


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 10**400, b"x", {1}, [1], {"a": 1}])
def test_what_no_event_can_hold_is_no_value(value: object) -> None:
    with pytest.raises(RuleError):
        typed(value)
