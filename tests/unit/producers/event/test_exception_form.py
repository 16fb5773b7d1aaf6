from __future__ import annotations

import json
import sys

from producers.event.exception import describe_exception, exception_of


def caught(raiser: object) -> BaseException:
    try:
        raiser()  # type: ignore[operator]  # any callable of the tests
    except BaseException as error:  # noqa: BLE001 - whatever the test raises
        return error
    raise AssertionError


def fail(error: BaseException) -> None:
    raise error


def test_type_value_and_frames_are_named() -> None:
    described = describe_exception(caught(lambda: int("x")))
    assert described["type"] == "ValueError"
    assert described["value"] == "invalid literal for int() with base 10: 'x'"
    frames = described["frames"]
    assert isinstance(frames, list)
    assert [frame["function"] for frame in frames] == ["caught", "<lambda>"]
    assert all(frame["file"] == __file__ and frame["line"] > 0 for frame in frames)


def test_type_outside_builtins_has_its_module() -> None:
    assert describe_exception(json.JSONDecodeError("x", "", 0))["type"] == "json.decoder.JSONDecodeError"


def test_cause_goes_before_context_and_suppressed_context_is_left_out() -> None:
    def explicit() -> None:
        try:
            fail(KeyError("context"))
        except KeyError:
            raise ValueError("top") from OSError("cause")

    def suppressed() -> None:
        try:
            fail(KeyError("context"))
        except KeyError:
            raise ValueError("top") from None

    def implicit() -> None:
        try:
            fail(KeyError("context"))
        except KeyError:
            raise ValueError("top")  # noqa: B904 - the implicit chain is what is tested

    assert describe_exception(caught(explicit))["cause"]["type"] == "OSError"  # type: ignore[index]  # a JSON value
    assert "cause" not in describe_exception(caught(suppressed))
    assert describe_exception(caught(implicit))["cause"]["type"] == "KeyError"  # type: ignore[index]  # a JSON value


def test_chain_that_bites_its_tail_ends() -> None:
    one, two = ValueError("one"), ValueError("two")
    one.__cause__, two.__cause__ = two, one
    described = describe_exception(one)
    assert "cause" not in described["cause"]  # type: ignore[operator]  # a JSON value


def test_long_chain_is_cut() -> None:
    error: BaseException = ValueError("0")
    for n in range(1, 100):
        link = ValueError(str(n))
        link.__cause__ = error
        error = link
    depth, described = 0, describe_exception(error)
    while described := described.get("cause"):  # type: ignore[assignment]  # a JSON value
        depth += 1
    assert depth == 4


def test_deep_recursion_keeps_the_innermost_frames() -> None:
    def dig(n: int) -> None:
        if n == 0:
            raise ValueError("bottom")
        dig(n - 1)

    described = describe_exception(caught(lambda: dig(200)))
    assert len(described["frames"]) == 50  # type: ignore[arg-type]  # a JSON value
    assert described["frames_omitted"] == 203 - 50


def test_first_members_of_a_group_are_shown() -> None:
    group = ExceptionGroup("many", [ValueError(str(n)) for n in range(9)])
    assert [m["value"] for m in describe_exception(group)["exceptions"]] == ["0", "1", "2", "3", "4"]  # type: ignore[attr-defined]  # a JSON value


def test_exception_whose_str_raises_has_a_placeholder() -> None:
    class RudeError(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    assert describe_exception(RudeError())["value"] == "<unprintable RudeError>"


def test_exc_info_means_the_same_in_all_its_forms() -> None:
    error = ValueError("x")
    assert exception_of(error) is error
    assert exception_of((ValueError, error, None)) is error
    assert exception_of((None, None, None)) is None
    assert exception_of(None) is None
    assert exception_of(False) is None
    try:
        raise error
    except ValueError:
        assert exception_of(True) is error
        assert exception_of(sys.exc_info()) is error
