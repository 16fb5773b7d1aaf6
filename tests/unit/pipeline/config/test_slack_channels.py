"""Slack's channel by a label: what a configuration must say so that a log can't choose freely."""

from __future__ import annotations

import pytest

from pipeline.config.read import read_config
from pipeline.errors import ConfigError

# Lines matter below: the errors name them.
TEXT = """\
route:
  receiver: alerts
  routes:
    - receiver: told
      group_by: [notify]
receivers:
  - name: alerts
    console_configs: [{}]
  - name: told
    slack_configs:
      - app_token: xoxb-1
        channel: C1
        channel_label: notify
        channels: ['#deployments', payments]
        replies_per_hour: 30
"""


def test_channels_by_a_label_are_read() -> None:
    config = read_config(TEXT, "t.yml", {}).config
    (slack,) = config.receivers[1].slack_configs
    assert (slack.channel_label, slack.channels, slack.replies_per_hour) == (
        "notify",
        ["#deployments", "payments"],
        30,
    )


def test_grouping_by_all_labels_is_by_that_one_too() -> None:
    read_config(TEXT.replace("[notify]", "['...']"), "t.yml", {})


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "        channels: ['#deployments', payments]\n",
            "",
            "t.yml:13: receivers[1].slack_configs[0].channel_label: list in `channels` those",
        ),
        (
            "        channel_label: notify\n",
            "",
            "t.yml:13: receivers[1].slack_configs[0].channels: nothing chooses among these",
        ),
        (
            "payments]",
            "'#']",
            "t.yml:14: receivers[1].slack_configs[0].channels[1]: a channel is named as `#payments`",
        ),
        (
            "app_token: xoxb-1",
            "api_url: https://hooks.slack.com/services/T/B/x",
            "t.yml:11: receivers[1].slack_configs[0]: a webhook has one channel",
        ),
        (
            "group_by: [notify]",
            "group_by: [service]",
            "t.yml:5: route.routes[0].group_by: the receiver 'told' takes its channel from",
        ),
        ("      group_by: [notify]\n", "", "t.yml:4: route.routes[0].group_by: the receiver 'told' takes"),
        (
            "replies_per_hour: 30",
            "replies_per_hour: -1",
            "t.yml:15: receivers[1].slack_configs[0].replies_per_h",
        ),
        ("channel: C1", "channel: ''", "t.yml:11: receivers[1].slack_configs[0]: a bot needs a `channel`"),
    ],
)
def test_what_would_send_elsewhere_than_meant_is_an_error_with_its_line(
    old: str, new: str, message: str
) -> None:
    assert old in TEXT
    with pytest.raises(ConfigError) as raised:
        read_config(TEXT.replace(old, new), "t.yml", {})
    assert message in str(raised.value)
