"""The ledger's table, row by row (semantics, section 3)."""

from __future__ import annotations

import pytest

from pipeline.notify.dedup import decide
from pipeline.notify.group import Entry
from pipeline.notify.notification import Reason, Receipt

NOW = 1_000_000
REPEAT = 10_000


def told(
    firing: dict[str, int] | None = None,
    resolved: dict[str, int] | None = None,
    *,
    ago: int = 0,
    taken: bool = True,
) -> Entry:
    return Entry(firing or {}, resolved or {}, NOW - ago, Receipt("C", "1"), taken)


@pytest.mark.parametrize(
    ("entry", "firing", "resolved", "owed", "expected"),
    [
        pytest.param(None, {}, {}, set(), None, id="nothing-yet-and-nothing"),
        pytest.param(None, {"a": 1}, {}, set(), Reason.FIRST, id="nothing-yet-and-something-fires"),
        pytest.param(None, {}, {"a": 1}, set(), None, id="nothing-yet-and-all-over"),
        pytest.param(None, {}, {"a": 1}, {"a"}, Reason.FIRST, id="nothing-yet-but-owed"),
        pytest.param(told({"a": 1}), {"a": 1, "b": 1}, {}, set(), Reason.NEW_ALERTS, id="lacks-one"),
        pytest.param(told({}, {"a": 1}), {"b": 1}, {}, set(), Reason.FIRST, id="lacks-one-after-resolution"),
        pytest.param(told({}, {"a": 1}), {"a": 2}, {}, set(), Reason.FIRST, id="fires-again"),
        pytest.param(told({"a": 1}), {}, {"a": 1}, set(), Reason.RESOLVED, id="all-resolved"),
        pytest.param(told({}, {"a": 1}), {}, {"a": 1}, set(), None, id="resolution-was-told"),
        pytest.param(told({}, {"a": 1}), {}, {"a": 1, "b": 1}, set(), None, id="came-and-went-unseen"),
        pytest.param(told({}, {"a": 1}), {}, {"b": 1}, {"b"}, Reason.FIRST, id="owed-after-resolution"),
        pytest.param(told({"a": 1, "b": 1}), {"a": 1}, {"b": 1}, set(), Reason.SOME_RESOLVED, id="one-over"),
        pytest.param(told({"a": 1}, {"b": 1}), {"a": 1}, {"b": 1}, set(), None, id="nothing-changed"),
        pytest.param(told({"a": 1}, {"b": 1}), {"a": 1}, {}, set(), None, id="one-dropped"),
        pytest.param(told({"a": 1}, ago=REPEAT), {"a": 1}, {}, set(), Reason.REPEAT, id="repeat-is-due"),
        pytest.param(told({"a": 1}, ago=REPEAT - 1), {"a": 1}, {}, set(), None, id="repeat-is-not-due"),
        pytest.param(told({}, {"a": 1}, ago=REPEAT), {}, {"a": 1}, set(), None, id="no-repeat-of-an-end"),
    ],
)
def test_table(
    entry: Entry | None,
    firing: dict[str, int],
    resolved: dict[str, int],
    owed: set[str],
    expected: Reason | None,
) -> None:
    for edits in (False, True):
        found = decide(
            entry,
            firing,
            resolved,
            send_resolved=True,
            edits=edits,
            repeat_interval_ms=REPEAT,
            now_ms=NOW,
            owed=owed,
        )
        # No count moved in any row but the one where an alert fires again, which is more than an edit.
        assert found is expected


@pytest.mark.parametrize(
    ("entry", "firing", "resolved", "owed", "expected"),
    [
        pytest.param(told({"a": 1, "b": 1}), {"a": 1}, {"b": 1}, set(), None, id="an-end-is-no-news"),
        pytest.param(told({"a": 1}), {}, {"a": 1}, set(), Reason.RESOLVED, id="the-ledger-still-hears"),
        pytest.param(told({"a": 1}), {"a": 1}, {"b": 1}, {"b"}, Reason.SOME_RESOLVED, id="owed-is-news"),
        pytest.param(told({"a": 1}, ago=REPEAT), {"a": 1}, {"b": 1}, set(), Reason.REPEAT, id="repeat"),
    ],
)
def test_table_without_send_resolved(
    entry: Entry, firing: dict[str, int], resolved: dict[str, int], owed: set[str], expected: Reason | None
) -> None:
    found = decide(
        entry,
        firing,
        resolved,
        send_resolved=False,
        edits=False,
        repeat_interval_ms=REPEAT,
        now_ms=NOW,
        owed=owed,
    )
    assert found is expected


@pytest.mark.parametrize(
    ("entry", "edits", "expected"),
    [
        pytest.param(told({"a": 1}), True, Reason.UPDATE, id="an-edit"),
        pytest.param(told({"a": 1}), False, None, id="cannot-edit"),
        pytest.param(told({"a": 1}, taken=False), True, None, id="no-message-to-edit"),
        pytest.param(told({"a": 1}, ago=REPEAT), True, Reason.REPEAT, id="a-repeat-says-it-anyway"),
        pytest.param(told({"a": 2}), True, None, id="nothing-moved"),
    ],
)
def test_counts_that_moved_are_worth_an_edit(entry: Entry, edits: bool, expected: Reason | None) -> None:
    found = decide(
        entry, {"a": 2}, {}, send_resolved=True, edits=edits, repeat_interval_ms=REPEAT, now_ms=NOW
    )
    assert found is expected
