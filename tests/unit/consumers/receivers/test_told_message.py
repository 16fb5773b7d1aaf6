"""What a service wants to be told reads as its own words, not as the alert of a rule."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

from consumers.receivers.message import message_of, news_of
from pipeline.notify.notification import Reason
from tests.unit.consumers.receivers.builders import START, alert, notification

if TYPE_CHECKING:
    from pipeline.alert import Alert

LABELS = {"notify": "#deployments"}


def told(
    text: str, *, service: str = "web", at_s: int = 0, count: int = 1, notify: str = "#deployments"
) -> Alert:
    return alert(
        service,
        count,
        texts=(f'{{"level": "info", "event": "{text}", "version": "1.2.4"}}',),
        seconds=0,
        severity="informational",
        start=START + dt.timedelta(seconds=at_s),
        labels={"notify": notify, "event": text, "alertname": "Notification"},
    )


def test_text_is_the_headline_and_the_rule_is_not_explained() -> None:
    message = message_of(notification(told("deploy finished"), labels=LABELS))
    assert message.text == "⚪ deploy finished · web: Logged · informational · 1 event at 09:14:03 UTC"
    assert message.summary == ""
    assert [field.name for field in message.fields if field.name in {"event", "notify"}] == ["notify"]
    assert message.samples == ("INFO deploy finished version=1.2.4",)


def test_long_text_fills_the_headline_and_no_more() -> None:
    message = message_of(notification(told("x" * 256), labels=LABELS))
    assert len(message.title) == 140
    assert message.title.endswith("…")


def test_of_several_texts_the_newest_come_first() -> None:
    alerts = [told(f"text {n}", at_s=n, count=100 - n) for n in range(12)]
    message = message_of(notification(*alerts, labels=LABELS))
    assert message.title == "text 11, text 10, text 9 and 9 more · web"
    assert [item.name for item in message.items] == [f"text {n}" for n in range(11, 1, -1)]
    assert message.items_left == 2


def test_items_say_whose_text_it_is_where_services_differ() -> None:
    alerts = [told("deploy finished", service="web"), told("deploy finished", service="shop", at_s=1)]
    message = message_of(notification(*alerts, labels=LABELS))
    assert message.title == "deploy finished · shop, web"
    assert [item.name for item in message.items] == ["deploy finished · shop", "deploy finished · web"]


def test_news_are_headed_by_what_is_new() -> None:
    old, new = told("deploy begins"), told("deploy finished", service="shop", at_s=9)
    message = news_of(notification(old, new, reason=Reason.NEW_ALERTS, changed=("id-shop",), labels=LABELS))
    assert message.title == "deploy finished · shop"


def test_hostile_text_is_one_inert_masked_line() -> None:
    message = message_of(notification(told("a\u202e\\nb password=hunter2 \u001b[31m"), labels=LABELS))
    assert "hunter2" not in message.text
    assert message.text.isprintable()


def test_other_alerts_beside_it_are_told_as_alerts() -> None:
    message = message_of(notification(told("deploy finished"), alert(), labels={"service": "web"}))
    assert message.title.startswith("Notification, Error burst")
    assert "Firing" in message.status
