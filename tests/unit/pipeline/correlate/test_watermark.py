from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pipeline.correlate.watermark import Watermarks
from pipeline.detection import Progress
from pipeline.event import Partition


def word(number: int, watermark_ms: int, **more: bool | int) -> Progress:
    return Progress(Partition("logs", number), more.pop("offset", 0), watermark_ms, **{"siblings": 2, **more})  # type: ignore[arg-type]  # only flags are left


def marks_after(*words: Progress) -> Watermarks:
    marks = Watermarks()
    for progress in words:
        marks.observe(progress)
    return marks


def test_there_is_none_until_all_partitions_have_told() -> None:
    marks = marks_after(word(0, 500))
    assert marks.value_ms == 0
    marks.observe(word(1, 300))
    assert marks.value_ms == 300


def test_another_topic_does_not_stand_in_for_a_silent_sibling() -> None:
    marks = marks_after(word(0, 500), Progress(Partition("other"), 0, 900))
    assert marks.value_ms == 0


def test_the_slowest_partition_holds_it() -> None:
    marks = marks_after(word(0, 500), word(1, 300))
    assert not marks.observe(word(0, 10_000))
    assert marks.value_ms == 300


def test_a_partition_of_which_nothing_is_known_holds_it() -> None:
    assert marks_after(word(0, 500), word(1, 0)).value_ms == 0


def test_an_idle_partition_holds_nobody() -> None:
    marks = marks_after(word(0, 500), word(1, 300))
    assert marks.observe(word(1, 300, idle=True))
    assert marks.value_ms == 500


def test_when_all_are_idle_the_highest_counts() -> None:
    assert marks_after(word(0, 500, idle=True), word(1, 300, idle=True)).value_ms == 500


def test_a_worker_that_takes_over_turns_neither_time_nor_offset_back() -> None:
    marks = marks_after(word(0, 500, offset=9), word(1, 500))
    marks.observe(word(0, 0, offset=4))
    marks.observe(word(1, 700))
    assert marks.applied("logs/0") == 9
    assert marks.value_ms == 500
    assert marks.applied("logs/7") == 0


def test_partitions_that_are_added_hold_it_where_it_is() -> None:
    marks = marks_after(word(0, 500), word(1, 500))
    marks.observe(word(0, 900, siblings=3))
    marks.observe(word(1, 900, siblings=3))
    assert marks.value_ms == 500
    marks.observe(word(2, 800, siblings=3))
    assert marks.value_ms == 800


def test_a_topic_that_nobody_reads_any_more_holds_nobody() -> None:
    old = Progress(Partition("old", 0), 3, 100, siblings=5)
    marks = marks_after(old, word(0, 500, offset=7), word(1, 500))
    assert marks.value_ms == 0
    assert marks.expect({"logs"})
    assert marks.value_ms == 500
    assert marks.applied("old/0") == 3
    assert not marks.expect({"logs"})


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 1000), st.booleans()), max_size=40))
def test_it_never_goes_back_and_never_passes_who_is_busy(words: list[tuple[int, int, bool]]) -> None:
    marks, before = Watermarks(), 0
    for number, at_ms, idle in words:
        moved = marks.observe(word(number, at_ms, idle=idle, siblings=3))
        assert moved == (marks.value_ms > before)
        assert marks.value_ms >= before
        if moved:
            assert len(marks.progress) == 3
            busy = [p.watermark_ms for p in marks.progress.values() if not p.idle]
            assert not busy or marks.value_ms == min(busy)
        before = marks.value_ms
