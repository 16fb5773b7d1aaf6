"""Blocks stay within what Slack takes, whatever the logs hold."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from consumers.receivers.blocks import blocks_of, fallback_of, reply_blocks_of
from consumers.receivers.message import message_of
from consumers.receivers.mrkdwn import width
from tests.fakes.slack_blocks import block_text_length, mentions, problem, rendered
from tests.unit.consumers.receivers.builders import alert, notification

HOSTILE = st.text(
    alphabet=st.one_of(st.sampled_from("&<>`*_~@!|:\n\x1b\u202e😀"), st.characters()), min_size=0, max_size=40
)


@given(
    names=st.lists(HOSTILE, min_size=1, max_size=4),
    texts=st.lists(HOSTILE, max_size=4),
    copies=st.sampled_from([1, 50, 500]),
)
def test_hostile_content_is_taken_and_calls_nobody(names: list[str], texts: list[str], copies: int) -> None:
    labels = {f"l{i}{name}"[: 50 * copies]: name * copies for i, name in enumerate(names)}
    alerts = [alert(name * copies, texts=tuple(t * copies for t in texts), labels=labels) for name in names]
    message = message_of(notification(*alerts, labels=labels))
    for blocks in (blocks_of(message), reply_blocks_of(message, "New alert")):
        assert problem(blocks) is None
        assert block_text_length(blocks) <= 9_500
        assert mentions(fallback_of(message), blocks, link_names=False) == []
    assert 1 <= width(fallback_of(message)) <= 1_000


def test_largest_message_stays_below_what_slack_was_seen_to_refuse() -> None:
    labels = {f"<label&{i}>" * 20: "<&>" * 500 for i in range(20)}
    alerts = [
        alert(f"<{i}>" * 200, texts=tuple(f"<&{i}{k}`" * 900 for k in range(5)), labels=labels)
        for i in range(30)
    ]
    for some in (alerts, alerts[:1]):
        blocks = blocks_of(message_of(notification(*some, labels=labels)))
        assert problem(blocks) is None
        assert block_text_length(blocks) <= 9_500


def test_log_line_is_shown_as_it_was_logged() -> None:
    line = "<!channel> @here & ``` *bold* <http://x|y>"
    message = message_of(notification(alert(texts=(line,))))
    assert line.replace("```", "`\u200b``") in rendered("", blocks_of(message))


def test_message_reads_from_rule_to_evidence() -> None:
    shown = rendered("", blocks_of(message_of(notification(alert()))))
    assert shown.split("\n") == [
        "🟠 Error burst · payments",
        "*Firing* · error · 12,345 events since 09:14:03 UTC, last 09:15:05",
        "More than 50 errors of one service within a minute.",
        "*Service*",
        "`payments`",
        "*Events*",
        "`12,345`",
        "*First*",
        "`2026-10-07 09:14:03 UTC`",
        "*Last*",
        "`09:15:05 UTC`",
        "```",
        "payment failed: card declined",
        "```",
        "rule rule-77 · alert id-payments",
    ]
