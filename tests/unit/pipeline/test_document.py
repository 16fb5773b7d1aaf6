from __future__ import annotations

import pytest

from pipeline.document import Broken, Document, Place, documents, each_document
from pipeline.errors import ConfigError

TEXT = """\
# a comment
route:
  receiver: a
  routes:
    - receiver: b
      group_by: [x, y]
    - receiver: c
---
second: true
"""


def one(text: str) -> Document:
    (document,) = documents(text, "c.yml")
    return document


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ((), 2),
        (("route",), 2),
        (("route", "receiver"), 3),
        (("route", "routes", 1), 7),
        (("route", "routes", 0, "group_by"), 6),
        (("route", "routes", 0, "group_by", 1), 6),
        (("route", "routes", 0, "missing"), 5),
        (("route", "routes", 9), 4),
        (("nothing",), 2),
    ],
)
def test_line_is_that_of_the_value_or_of_its_nearest_ancestor(path: tuple[str | int, ...], line: int) -> None:
    first, _ = documents(TEXT, "c.yml")
    assert first.line(*path) == line


@pytest.mark.parametrize(
    ("path", "place"),
    [
        ((), (2, 1)),
        (("route",), (2, 1)),
        (("route", "receiver"), (3, 3)),
        (("route", "routes", 1), (7, 7)),
        (("route", "routes", 0, "group_by"), (6, 7)),
        (("route", "routes", 0, "group_by", 1), (6, 21)),
        (("route", "routes", 0, "missing"), (5, 7)),
        (("route", "routes", 9), (4, 3)),
        (("nothing",), (2, 1)),
    ],
)
def test_place_is_that_of_the_key_or_of_the_element(
    path: tuple[str | int, ...], place: tuple[int, int]
) -> None:
    first, _ = documents(TEXT, "c.yml")
    assert first.place(*path) == Place(*place)
    assert first.place(*path).line == first.line(*path)


def test_columns_count_characters_not_bytes() -> None:
    assert one("{ä𝄞: 1, b: 2}").place("b") == (1, 9)


def test_lines_count_over_all_documents_of_a_text() -> None:
    _, second = documents(TEXT, "c.yml")
    assert second.data == {"second": True}
    assert second.line("second") == 9


def test_error_names_file_line_and_path() -> None:
    first, _ = documents(TEXT, "c.yml")
    assert (
        str(first.error("no good", "route", "routes", 0, "group_by"))
        == "c.yml:6: route.routes[0].group_by: no good"
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: 1\nb: 2\na: 3\n", "c.yml:3: a: this key stands here twice"),
        ("x:\n  - a: 1\n    a: 2\n", "c.yml:3: x[0].a: this key stands here twice"),
        ("a: [1\n", "c.yml:2: not valid YAML: did not find expected ',' or ']'"),
        ("a: *nobody\n", "c.yml:1: not valid YAML: found undefined alias"),
        ("? [a, b]\n: 1\n", "c.yml:1: not valid YAML: found unhashable key"),
        ("a: 2026-13-45\n", "c.yml:1: not valid YAML: a value is none of its type"),
        ("a: !!bool maybe\n", "c.yml:1: not valid YAML: a value is none of its type"),
        (
            "a: !!python/name:os.system x\n",
            "c.yml:1: not valid YAML: could not determine a constructor for the tag",
        ),
        ("b: x\na:\n- 1\n- !!int x\n", "c.yml:4: not valid YAML: a value is none of its type"),
        (f"b: x\na: {'1:' * 200}0.5\n", "c.yml:2: not valid YAML: a value is none of its type"),
        (f"b: x\na: {'9' * 5000}\n", "c.yml:2: not valid YAML: a value is none of its type"),
        ("b: x\na: !!str &a {=: *a}\n", "c.yml:2: not valid YAML: nested too deeply"),
        ("a: \x00\n", "c.yml: not valid YAML: "),
        ("a: \ud800\n", "c.yml: not valid YAML: half a surrogate pair"),
        ("[" * 5000, "c.yml:1: not valid YAML: exceeded maximum nesting depth"),
    ],
)
def test_what_is_no_yaml_is_told_with_its_place(text: str, said: str) -> None:
    with pytest.raises(ConfigError) as raised:
        list(documents(text, "c.yml"))
    assert str(raised.value).startswith(said)


def test_keys_of_different_types_are_no_duplicates() -> None:
    assert one("1: a\n'1': b\n").data == {1: "a", "1": "b"}


def test_merge_keys_may_repeat_what_they_merge() -> None:
    assert one("b: &b {x: 1}\na:\n  <<: *b\n  x: 2\n").data == {"b": {"x": 1}, "a": {"x": 2}}


def test_aliases_of_aliases_cost_no_more_than_they_are_written() -> None:
    levels = "\n".join(f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 9)}]" for n in range(1, 30))
    document = one(f"l0: &l0 [x]\n{levels}\n")
    assert document.line("l29") == 30


def test_alias_within_itself_ends() -> None:
    assert one("a: &a [*a]\n").line("a") == 1


def test_empty_text_has_no_documents_and_empty_document_is_null() -> None:
    assert list(documents("", "c.yml")) == []
    assert [d.data for d in documents("---\n---\na: 1\n", "c.yml")] == [None, {"a": 1}]


@pytest.mark.parametrize("bad", ["a: 2024-99-01", "a: 1\na: 2", "a: !!python/name:x y", "? [x]\n: 1"])
def test_a_document_that_cannot_be_used_does_not_hide_those_after_it(bad: str) -> None:
    first, broken, last = each_document(f"x: 1\n---\n{bad}\n---\ny: 2\n", "c.yml")
    assert isinstance(broken, Broken)
    assert broken.error.line in (3, 4)
    assert [d.data for d in (first, last) if isinstance(d, Document)] == [{"x": 1}, {"y": 2}]


def test_the_keys_of_a_broken_document_are_known() -> None:
    (broken,) = each_document("action: global\ndate: 2024-99-01\n? [a]\n: 1\n", "c.yml")
    assert isinstance(broken, Broken)
    assert broken.keys == {"action", "date"}


def test_a_key_of_aliases_costs_no_more_than_it_is_written() -> None:
    levels = "\n".join(f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 9)}]" for n in range(1, 30))
    with pytest.raises(ConfigError, match="found unhashable key"):
        one(f"l0: &l0 [x]\n{levels}\n? *l29\n: 1\n")


def test_merge_keys_of_merge_keys_cost_no_more_than_they_are_written() -> None:
    levels = "\n".join(f"l{n}: &l{n} {{<<: [{', '.join([f'*l{n - 1}'] * 9)}]}}" for n in range(1, 30))
    with pytest.raises(ConfigError, match="its merge keys lay more than 10,000 keys under this mapping"):
        one(f"l0: &l0 {{x: 1}}\n{levels}\n")


@pytest.mark.parametrize(
    ("path", "written"),
    [
        (("a",), "0x1F"),
        (("b", 0), "1.10"),
        (("b", 1), None),
        (("b", 2), None),
        (("b",), None),
        (("c",), None),
        (("d", "a"), "on"),
    ],
)
def test_written_is_what_stands_there_unquoted(path: tuple[str | int, ...], written: str | None) -> None:
    assert one("a: 0x1F\nb: [1.10, '1.10']\nd: {a: on}\n").written(*path) == written
