"""What becomes of objects: the manual's table is what really happens."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from producers.event.encoding import Encoder, Limits
from tests.objects import tables

if TYPE_CHECKING:
    from collections.abc import ItemsView, Iterator

PAGE = Path(__file__).parents[4] / "docs" / "objects.md"


def shown(value: object) -> Any:  # Any: a JSON value
    return orjson.loads(Encoder(Limits()).encode({"v": value}, None, 256 * 1024)[0])["v"]


def test_manual_shows_what_really_becomes_of_objects() -> None:
    page = PAGE.read_text()
    made = tables()
    assert len(made) == 10
    for heading, table in made.items():
        assert f"## {heading}\n" in page
        assert table in page, f"{PAGE} is old; python -m tests.objects prints the table {heading!r}"


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_what_is_no_exception_goes_through(error: type[BaseException]) -> None:
    class Interrupted:
        def __repr__(self) -> str:
            raise error

    with pytest.raises(error):
        shown([Interrupted()])


def test_no_generator_is_advanced() -> None:
    made = iter([1, 2, 3])
    generator = (n for n in made)
    shown([generator, made])
    assert list(generator) == [1, 2, 3]


def test_what_a_dataclass_hides_stays_hidden() -> None:
    @dataclasses.dataclass
    class Login:
        user: str
        card: str = dataclasses.field(repr=False)

        @property
        def derived(self) -> str:
            raise AssertionError

    assert shown(Login("ada", "4111")) == {"user": "ada"}


def test_attribute_that_raises_takes_no_other_with_it() -> None:
    @dataclasses.dataclass
    class Order:
        number: int
        total: int

    class Broken(Order):
        @property
        def total(self) -> int:  # type: ignore[override]  # on purpose
            raise RuntimeError

        @total.setter
        def total(self, _: int) -> None: ...

    assert shown(Broken(17, 5)) == {"number": 17, "total": "<unprintable>"}


def test_mapping_without_an_end_is_cut() -> None:
    class Lazy(Mapping[str, int]):
        def __getitem__(self, name: str) -> int:
            return 1

        def __len__(self) -> int:
            return 1

        def __iter__(self) -> Iterator[str]:
            n = 0
            while True:
                yield str(n)
                n += 1

        def items(self) -> ItemsView[str, int]:
            return ((name, 1) for name in self)  # type: ignore[return-value]  # as some libraries do

    assert len(shown(Lazy())) == 1_000


def test_object_that_calls_itself_something_else_is_not_believed() -> None:
    class Liar:
        @property
        def __class__(self) -> type:  # type: ignore[override]  # as mocks do
            return dict

        def __repr__(self) -> str:
            return "Liar()"

    assert shown(Liar()) == "Liar()"


def test_metaclass_that_raises_does_no_harm() -> None:
    class Meta(type):
        def __getattribute__(cls, name: str) -> object:
            raise RuntimeError

        def __repr__(cls) -> str:
            raise RuntimeError

    class Made(metaclass=Meta):
        def __repr__(self) -> str:
            raise RuntimeError

    assert shown(Made()) == "<unprintable Made>"
    assert shown(Made) == "<unprintable Meta>"


def test_object_that_waits_for_another_thread_holds_up_nobody_else() -> None:
    waiting, go_on = threading.Event(), threading.Event()

    class Slow:
        def __repr__(self) -> str:
            waiting.set()
            go_on.wait(20)
            return "slow"

    result: list[object] = []
    thread = threading.Thread(target=lambda: result.append(shown(Slow())))
    thread.start()
    assert waiting.wait(20)
    assert shown({"a": 1}) == {"a": 1}
    go_on.set()
    thread.join(20)
    assert result == ["slow"]
