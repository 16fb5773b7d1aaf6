"""A message says in two seconds: which rule, which service, how many, since when, going on or over."""

from __future__ import annotations

import datetime as dt
import json

import msgspec

from consumers.receivers.evidence import evidence, written
from consumers.receivers.message import Message, message_of, news_of
from pipeline.notify.notification import Reason
from tests.unit.consumers.receivers.builders import START, alert, notification


def fields(message: Message) -> dict[str, str]:
    return {field.name: field.value for field in message.fields}


def test_title_names_rule_and_service_and_status_the_rest() -> None:
    message = message_of(notification(alert("payments", 12_345)))
    assert message.title == "Error burst · payments"
    assert message.status == "Firing · error · 12,345 events since 09:14:03 UTC, last 09:15:05"
    assert message.icon == "🟠"
    assert message.footer == "rule rule-77 · alert id-payments"


def test_footer_says_what_an_unproven_rule_is_and_what_it_is_about() -> None:
    about = {"status": "experimental", "tags": "attack.t1110, attack.credential-access"}
    told = msgspec.structs.replace(alert("payments"), annotations=about)
    expected = (
        "rule rule-77 · status experimental · tags attack.t1110, attack.credential-access · alert id-payments"
    )
    assert message_of(notification(told)).footer == expected
    proven = msgspec.structs.replace(told, annotations={"status": "stable"})
    assert message_of(notification(proven)).footer == "rule rule-77 · alert id-payments"


def test_alert_that_is_over_says_so_and_how_long_it_took() -> None:
    message = message_of(notification(alert(over=True), reason=Reason.RESOLVED))
    assert message.icon == "✅"
    assert message.status == "Over · error · 12,345 events in 1 min 2 s, 09:14:03 to 09:15:05 UTC"
    assert fields(message)["Resolved"] == "09:20:05 UTC"


def test_single_event_is_told_at_its_time() -> None:
    assert (
        message_of(notification(alert(count=1, seconds=0))).status
        == "Firing · error · 1 event at 09:14:03 UTC"
    )


def test_some_resolved_are_counted_against_all() -> None:
    message = message_of(notification(alert("a", 2), alert("b", 3, over=True), reason=Reason.SOME_RESOLVED))
    assert message.status.startswith("1 of 2 still firing · error · 5 events since")
    assert [item.firing for item in message.items] == [True, False]
    assert fields(message)["Resolved"] == "1 of 2, the last at 09:20:05 UTC"


def test_storm_shows_its_largest_alerts_and_counts_the_rest() -> None:
    message = message_of(notification(*(alert(f"svc-{i:02}", 2_000 + i) for i in range(50))))
    assert message.title == "Error burst · svc-00, svc-01, svc-02 and 47 more"
    assert message.status.startswith("Firing · error · 101,225 events in 50 alerts since 09:14:03 UTC")
    assert len(message.items) == 10
    assert message.items[0].name == "svc-49"
    assert message.items[0].says == "2,049 events, 09:14:03 to 09:15:05"
    assert message.items_left == 40
    assert len(message.samples) == 1


def test_news_tells_only_changed_alerts_that_fire() -> None:
    old, new, gone = alert("old"), alert("new", 7), alert("gone", over=True)
    message = news_of(notification(old, new, gone, reason=Reason.NEW_ALERTS, changed=("id-new", "id-gone")))
    assert message.title == "Error burst · new"
    assert "7 events" in message.status


def test_time_of_another_day_shows_its_date() -> None:
    message = message_of(notification(alert(seconds=86_400)))
    assert message.status.endswith("since 2026-10-07 09:14:03 UTC, last 09:14:03")
    assert fields(message)["First"] == "2026-10-07 09:14:03 UTC"
    assert fields(message)["Last"] == "2026-10-08 09:14:03 UTC"


def test_times_are_utc_whatever_zone_they_come_in() -> None:
    local = START.astimezone(dt.timezone(dt.timedelta(hours=9)))
    assert "09:14:03 UTC" in message_of(notification(alert(start=local))).status


def test_labels_of_a_single_alert_are_fields_and_never_more_than_ten() -> None:
    labels = {"host": "h1", "environment": "prod", **{f"label{i}": f"v{i}" for i in range(12)}}
    message = message_of(notification(alert(labels=labels)))
    shown = fields(message)
    assert (shown["Service"], shown["Host"], shown["Environment"]) == ("payments", "h1", "prod")
    assert len(message.fields) == 10
    assert "label11=v11" in shown["Other labels"]


def test_group_without_service_is_named_by_its_labels() -> None:
    message = message_of(
        notification(alert(""), labels={"alertname": "Error burst", "source.ip": "10.0.0.1"})
    )
    assert message.title == "Error burst · 10.0.0.1"


def test_hostile_labels_are_bounded_masked_and_inert() -> None:
    message = message_of(notification(alert("x" * 10_000), alert("a\x1b[31m\nb"), alert("password=hunter2")))
    whole = repr(message)
    assert len(message.title) <= 140
    assert "\x1b" not in message.title
    assert "\n" not in message.title
    assert "hunter2" not in whole
    assert len(whole) < 5_000


def test_unknown_severity_is_shown_as_it_is() -> None:
    assert message_of(notification(alert(severity="odd"))).icon == "⚪"


def test_lines_that_differ_in_digits_only_leave_room_for_others() -> None:
    texts = (*(f"user {i} failed" for i in range(9)), "disk full")
    shown = evidence([alert(texts=texts)], 2)
    assert shown == ("user 8 failed", "disk full")


def test_room_that_is_left_is_filled_with_the_alike() -> None:
    shown = evidence([alert(texts=tuple(f"Failed password for root from 10.0.0.{i}" for i in range(10)))], 5)
    assert [line[-1] for line in shown] == ["5", "6", "7", "8", "9"]


def test_every_alert_shows_a_line_before_any_shows_two() -> None:
    shown = evidence([alert("a", texts=("one", "two", "three")), alert("b", texts=("other",))], 2)
    assert set(shown) == {"three", "other"}


def test_equal_lines_are_shown_once() -> None:
    assert evidence([alert(texts=("same",) * 10)], 5) == ("same",)


def test_json_line_is_written_as_a_person_would_log_it() -> None:
    line = {
        "timestamp": "T",
        "level": "error",
        "event": "no <luck>",
        "id": 3,
        "note": "a b",
        "password": "x y",
    }
    assert written(json.dumps(line)) == 'T ERROR no <luck> id=3 note="a b" password=[masked]'


def test_json_without_a_message_stays_as_it_came() -> None:
    for text in ('{"a": 1}', '{"event": 1', "{}", '{"event": ""}', "[1]"):
        assert written(text) == text


def test_traceback_keeps_its_beginning_and_its_end() -> None:
    lines = written("\n".join(f"line {i}" for i in range(100))).split("\n")
    assert len(lines) == 12
    assert lines[0] == "line 0"
    assert lines[3] == "… 89 lines …"
    assert lines[-1] == "line 99"


def test_huge_line_is_bounded() -> None:
    assert len(written("x" * 10_000_000)) == 1_500


def test_summary_that_repeats_the_title_gives_way_to_what_the_rule_finds() -> None:
    named = alert()
    notes = {"summary": named.labels["alertname"], "description": "Cards are declined."}
    told = message_of(notification(msgspec.structs.replace(named, annotations=notes)))
    assert told.summary == "Cards are declined."
    said = msgspec.structs.replace(named, annotations={**notes, "summary": "Payments fail"})
    assert message_of(notification(said)).summary == "Payments fail"


def test_exception_is_written_as_its_last_line_and_where_it_was_raised() -> None:
    frames = [
        {"file": "a.py", "line": 1, "function": "main"},
        {"file": "b.py", "line": 7, "function": "charge"},
    ]
    exception = {"type": "OSError", "value": "disk full", "frames": frames, "cause": {"type": "X"}}
    line = written(json.dumps({"event": "failed", "level": "error", "exception": exception}))
    assert line == 'ERROR failed exception="OSError: disk full (b.py:7 in charge)"'


def test_what_the_message_says_of_the_alert_is_not_said_again_in_each_line() -> None:
    line = written(json.dumps({"event": "failed", "host": "h1", "pid": 7, "environment": "", "order": 3}))
    assert line == "failed order=3"
