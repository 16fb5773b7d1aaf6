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


def test_members_of_a_group_have_causes_of_their_own() -> None:
    def member() -> None:
        raise ValueError("member") from OSError("cause")

    group = ExceptionGroup("many", [caught(member), ExceptionGroup("inner", [KeyError("k")])])  # type: ignore[list-item]  # no exit
    first, second = describe_exception(group)["exceptions"]  # type: ignore[misc]  # a JSON value
    assert first["cause"]["value"] == "cause"
    assert [frame["function"] for frame in first["frames"]] == ["caught", "member"]
    assert second["exceptions"][0]["type"] == "KeyError"


def test_omitted_members_and_causes_are_counted() -> None:
    group = ExceptionGroup("many", [ValueError(str(n)) for n in range(9)])
    assert describe_exception(group)["exceptions_omitted"] == 4
    error: BaseException = ValueError("0")
    for n in range(1, 9):
        link = ValueError(str(n))
        link.__context__ = error
        error = link
    described = describe_exception(error)
    for _ in range(4):
        described = described["cause"]  # type: ignore[assignment]  # a JSON value
    assert described["cause_omitted"] is True


def test_tree_of_groups_is_bounded() -> None:
    def tree(depth: int) -> Exception:
        if not depth:
            return ValueError("leaf")
        return ExceptionGroup("g", [tree(depth - 1) for _ in range(5)])

    def count(described: dict[str, object]) -> int:
        return 1 + sum(count(member) for member in described.get("exceptions", ()))  # type: ignore[attr-defined]  # a JSON value

    assert count(describe_exception(tree(5))) == 20


def test_notes_are_told() -> None:
    error = ValueError("x")
    error.add_note("while paying")
    error.add_note("order 17")
    assert describe_exception(error)["notes"] == ["while paying", "order 17"]
    assert "notes" not in describe_exception(ValueError("x"))
    error.__notes__ = "no list"  # type: ignore[assignment]  # on purpose
    assert describe_exception(error)["notes"] == ["no list"]
    error.__notes__ = ["n" * 9_000] * 30
    described = describe_exception(error)
    assert (len(described["notes"]), described["notes_omitted"]) == (10, 20)  # type: ignore[arg-type]  # a JSON value
    assert len(described["notes"][0]) == 1_025  # type: ignore[index]  # a JSON value


def test_syntax_error_says_where() -> None:
    described = describe_exception(caught(lambda: compile("a b", "shop.py", "exec")))
    assert (described["type"], described["value"]) == ("SyntaxError", "invalid syntax (shop.py, line 1)")


def test_recursion_without_end_is_bounded() -> None:
    def dig() -> None:
        dig()

    described = describe_exception(caught(dig))
    assert described["type"] == "RecursionError"
    assert len(described["frames"]) == 50  # type: ignore[arg-type]  # a JSON value


def test_traceback_that_was_deleted_leaves_no_frames() -> None:
    error = caught(lambda: int("x"))
    error.__traceback__ = None
    assert describe_exception(error)["frames"] == []


def test_exception_that_resists_at_every_attribute_is_told_by_its_type() -> None:
    class Meta(type):
        @property
        def __module__(cls) -> str:  # type: ignore[override]  # on purpose
            raise RuntimeError

    def refuse(_: object) -> object:
        raise RuntimeError

    class RudeError(Exception):
        __cause__ = property(refuse)  # type: ignore[assignment]  # on purpose
        __notes__ = property(refuse)  # type: ignore[assignment]  # likewise
        __str__ = refuse  # type: ignore[assignment]  # likewise

    class RuderError(RudeError, metaclass=Meta):
        __traceback__ = property(refuse)  # type: ignore[assignment]  # likewise

    described = describe_exception(caught(lambda: fail(RudeError())))
    assert described["value"] == "<unprintable RudeError>"
    assert len(described["frames"]) == 3  # type: ignore[arg-type]  # a JSON value
    assert describe_exception(RuderError()) == {
        "type": "<unprintable Meta>",
        "value": "<unprintable RuderError>",
        "frames": [],
    }


class Showing:
    """What is run to raise an exception with local variables."""

    def __init__(self) -> None:
        self.shown = 0

    def __repr__(self) -> str:
        self.shown += 1
        return "Showing()"


def seen(error: BaseException, secrets: frozenset[str] = frozenset()) -> list[dict[str, object]]:
    described = describe_exception(error, lambda name: "[masked]" if name in secrets else None)
    return [frame.get("locals", {}) for frame in described["frames"]]  # type: ignore[attr-defined]  # a JSON value


def test_local_variables_are_left_out_unless_asked_for() -> None:
    described = describe_exception(caught(lambda: int("x")))
    assert not any("locals" in frame for frame in described["frames"])  # type: ignore[attr-defined]  # a JSON value


def test_local_variables_are_shown_and_secret_ones_not_even_looked_at() -> None:
    token, amount = Showing(), Showing()

    def pay() -> None:
        order, key = 17, token
        del key
        password = token
        paid = amount
        raise ValueError((order, password, paid) and "no")

    *_, innermost = seen(caught(pay), frozenset({"password", "token"}))
    assert innermost == {
        "order": "17",
        "password": "[masked]",
        "paid": "Showing()",
        "amount": "Showing()",
        "token": "[masked]",
    }
    assert (token.shown, amount.shown) == (0, 2)


def test_local_variables_are_bounded_the_innermost_first() -> None:
    def dig(depth: int) -> None:
        large = ["x" * 100] * 1_000_000
        text, number, rude = "y" * 100_000, 10**5_000, RudeLocal()
        if depth:
            dig(depth - 1)
        raise ValueError((large, text, number, rude) and "x")

    shown = seen(caught(lambda: dig(40)))
    assert sum(name != "…" for frame in shown for name in frame) == 100
    assert set(shown[-1]) == {"depth", "large", "text", "number", "rude", "dig"}
    assert shown[0] == {}
    assert all(len(str(value)) <= 1_000 for frame in shown for value in frame.values())
    assert shown[-1]["rude"] == "<unprintable RudeLocal>"


class RudeLocal:
    def __repr__(self) -> str:
        raise RuntimeError


def test_many_variables_of_one_frame_are_cut() -> None:
    names = [f"v{n}" for n in range(50)]
    code = "def f():\n " + ";".join(f"{name}=1" for name in names) + ";raise ValueError\n"
    space: dict[str, object] = {}
    exec(code, space)  # noqa: S102 - fifty variables are not for writing down
    *_, innermost = seen(caught(space["f"]))
    assert list(innermost) == [*names[:20], "…"]


def test_variables_of_a_module_are_not_local() -> None:
    code = compile("secret_plan = 1\nraise ValueError", "module.py", "exec")
    assert seen(caught(lambda: exec(code, {})))[-1] == {}  # noqa: S102 - as an import does
