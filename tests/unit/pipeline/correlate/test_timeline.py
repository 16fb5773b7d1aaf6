from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.correlate.timeline import Episode, Timeline
from pipeline.correlate.window import WINDOWS
from pipeline.sigma.form import CorrelationType
from tests.unit.pipeline.correlate.streams import RESOLVE_MS, Bounds, rules_of


def timeline(bounds: Bounds, *, timespan_ms: int = 2000, distinct: bool = False) -> Timeline:
    rules = rules_of(bounds=bounds, timespan_ms=timespan_ms, distinct=distinct)
    return Timeline(rules.targets["many"], RESOLVE_MS)


def fired(line: Timeline, *times: int, values: str = "") -> Episode | None:
    for i, time_ms in enumerate(times):
        line.step(time_ms, values[i] if values else None)
    return line.episode


@pytest.mark.parametrize(
    ("times", "fires"),
    [
        ((0, 1000, 1999), True),
        # The timespan is open at its old end: an event exactly that old has left.
        ((0, 1000, 2000), False),
        ((5, 5, 5), True),
        ((0, 1999, 3998), False),
        ((0, 1999, 2000, 2500), True),
    ],
)
def test_window_slides(times: tuple[int, ...], fires: bool) -> None:
    assert (fired(timeline((("gte", 3),)), *times) is not None) is fires


def test_window_begins_with_its_first_event_and_is_spent() -> None:
    line = timeline((("gte", 2),))
    assert fired(line, 0, 5000, 5500) == Episode(5000, 5500, 5500, 2)
    # Further events extend what is open; none begins another one.
    assert fired(line, 5600, 5700, 5800) == Episode(5000, 5500, 5800, 5)
    ended = line.step(5800 + RESOLVE_MS + 1, None)
    assert ended == Episode(5000, 5500, 5800, 5, ended=True)
    assert line.episode is None


def test_an_episode_lasts_until_the_resolve_timeout_has_passed() -> None:
    line = timeline((("gte", 1),))
    fired(line, 0)
    assert line.settle(RESOLVE_MS) is None
    assert line.settle(RESOLVE_MS + 1) == Episode(0, 0, 0, 1, ended=True)


@pytest.mark.parametrize(
    ("values", "fires"), [("abc", True), ("aab", False), ("aabbc", True), ("aaaa", False)]
)
def test_values_are_counted_once_each(values: str, fires: bool) -> None:
    line = timeline((("gte", 3),), distinct=True)
    assert (fired(line, *range(len(values)), values=values) is not None) is fires


def test_a_value_that_has_left_the_window_counts_no_more() -> None:
    line = timeline((("gte", 3),), distinct=True)
    assert fired(line, 0, 1500, 2500, values="abc") is None
    assert fired(line, 2600, values="a") is not None


@pytest.mark.parametrize(
    ("bounds", "times", "until", "count"),
    [
        ((("lt", 3),), (0, 100), 1999, None),
        ((("lt", 3),), (0, 100), 2000, 2),
        ((("lt", 3),), (0, 100, 200), 2099, None),
        # The first timespan held three; the one that the second event opens holds two.
        ((("lt", 3),), (0, 100, 200), 2100, 2),
        ((("eq", 2),), (0, 100), 1500, None),
        ((("eq", 2),), (0, 100), 2000, 2),
        ((("eq", 2),), (0,), 9000, None),
        ((("lte", 0),), (0, 9000), 20_000, None),
        ((("gte", 2), ("lte", 3)), (0, 1, 2), 2000, 3),
    ],
)
def test_what_could_still_change_waits_for_the_end_of_its_timespan(
    bounds: Bounds, times: tuple[int, ...], until: int, count: int | None
) -> None:
    line = timeline(bounds)
    fired(line, *times)
    line.settle(until)
    found = line.episode
    assert (found.count if found else None) == count


def test_a_full_window_lets_its_oldest_go() -> None:
    line = timeline((("gte", 3),), distinct=True, timespan_ms=10**9)
    fired(line, *range(10_050), values="ab" * 5025)
    assert line.spilled == 50
    assert len(line.save().entries) == 10_000
    episode = fired(line, 10_050, values="c")
    assert episode is not None
    assert episode.start_ms == 51


def test_a_threshold_above_the_limit_of_a_window_can_be_reached() -> None:
    line = timeline((("gte", 15_000),), timespan_ms=10**9)
    assert fired(line, *range(14_999)) is None
    assert fired(line, 15_000) == Episode(0, 15_000, 15_000, 15_000)
    assert line.spilled == 0


@given(st.lists(st.integers(0, 900), max_size=30), st.integers(0, 30), st.sampled_from(["gte", "lt", "eq"]))
def test_a_timeline_that_was_kept_goes_on_as_if_it_had_not(steps: list[int], at: int, op: str) -> None:
    rules = rules_of(bounds=((op, 3),))
    one = other = Timeline(rules.targets["many"], RESOLVE_MS)
    time_ms = 0
    for i, step in enumerate(steps):
        time_ms += step
        if i == at:
            other = Timeline(rules.targets["many"], RESOLVE_MS, one.save())
        ended = one.step(time_ms, None)
        assert other is one or other.step(time_ms, None) == ended
    assert one.save() == other.save()
    assert one.deadline_ms() == other.deadline_ms()


@pytest.mark.parametrize("kind", CorrelationType)
@given(st.lists(st.sampled_from(["a", "b", "c", "drop", "clear"]), max_size=40))
def test_windows_count_what_a_list_does(kind: CorrelationType, doings: list[str]) -> None:
    window = WINDOWS[kind]()
    plain: list[tuple[int, str]] = []
    for time_ms, doing in enumerate(doings):
        match doing:
            case "drop":
                if plain:
                    window.drop()
                    plain.pop(0)
            case "clear":
                window.clear()
                plain.clear()
            case _:
                window.add(time_ms, doing)
                plain.append((time_ms, doing))
        distinct = kind is CorrelationType.VALUE_COUNT
        assert window.measure() == (len({v for _, v in plain}) if distinct else len(plain))
        assert [t for t, _ in window.entries()] == [t for t, _ in plain]
        assert len(window) == len(plain)
        assert (window.oldest_ms, window.youngest_ms) == (
            (plain[0][0], plain[-1][0]) if plain else (None, None)
        )
