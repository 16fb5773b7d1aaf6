from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.config.model import PlaceholderFile
from pipeline.config.read import Settings, read_config
from pipeline.errors import ConfigError
from pipeline.notify.route import Router

ROOT = Path(__file__).parents[4]

# Lines matter below: the errors name them.
TEXT = """\
lateness: 30s
sources:
  - kafka: logs
    format: json
    logsource: {category: application}
route:
  receiver: team
  group_by: [alertname]
  routes:
    - receiver: ops
      matchers: ['severity="critical"']
      group_wait: 0s
    - match: {service: shop}
receivers:
  - name: team
    slack_configs:
      - app_token: xoxb-1
        channel: C1
  - name: ops
    console_configs: [{}]
"""


def read(text: str, **environment: str) -> Settings:
    return read_config(text, "t.yml", environment)


def error_of(text: str, **environment: str) -> str:
    with pytest.raises(ConfigError) as raised:
        read(text, **environment)
    return str(raised.value)


def changed(old: str, new: str) -> str:
    assert old in TEXT
    return TEXT.replace(old, new, 1)


# --- errors -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "error"),
    [
        ("lateness", "latenes", "t.yml:1: latenes: no such key; did you mean 'lateness'?"),
        ("30s", "30 s", "t.yml:1: lateness: '30 s' is not a duration; write it as 30s, 5m or 1h30m"),
        ("30s", "5", "t.yml:1: lateness: 5 is not a duration; write it as 30s, 5m or 1h30m"),
        ("30s", "true", "t.yml:1: lateness: true is not a duration; write it as 30s, 5m or 1h30m"),
        ("30s", "[]", "t.yml:1: lateness: [] is not a duration; write it as 30s, 5m or 1h30m"),
        ("- kafka: logs", "- {}", "not valid YAML"),
        ("kafka: logs", "kafak: logs", "t.yml:3: sources[0].kafak: no such key; did you mean 'kafka'?"),
        (
            "kafka: logs",
            "stdin: false",
            "t.yml:3: sources[0]: a source is one of `kafka`, `file` and `stdin`",
        ),
        ("format: json", "file: x", "t.yml:3: sources[0]: a source is one of `kafka`, `file` and `stdin`"),
        (
            "kafka: logs\n    format: json",
            "file: a.log\n    silence: 5m",
            "t.yml:4: sources[0].silence: is told of services on a `kafka` topic",
        ),
        ("json", "jsno", "t.yml:4: sources[0].format: no such format: 'jsno'; did you mean 'json'?"),
        (
            "category:",
            "categry:",
            "t.yml:5: sources[0].logsource.categry: no such key; did you mean 'category'?",
        ),
        (
            "receiver: team",
            "receiver: taem",
            "t.yml:7: route.receiver: no receiver 'taem'; did you mean 'team'?",
        ),
        ("  receiver: team\n", "", "t.yml:6: route: the top route needs a `receiver`"),
        ("[alertname]", "alertname", "t.yml:8: route.group_by: expected `array | null`, got `str`"),
        ("[alertname]", "[a, a]", "t.yml:8: route.group_by: a label stands here twice"),
        ("[alertname]", "[a, '...']", "t.yml:8: route.group_by: `...` means all labels; it stands alone"),
        ("group_by:", "match:", "t.yml:8: route.match: expected `object`, got `array`"),
        ("group_by: [alertname]", "matchers: [a=b]", "t.yml:6: route: the top route takes every alert"),
        ("group_by: [alertname]", "continue: true", "t.yml:8: route.continue: the top route has no siblings"),
        (
            "ops\n      m",
            "opps\n      m",
            "t.yml:10: route.routes[0].receiver: no receiver 'opps'; did you mean 'ops'?",
        ),
        ("matchers:", "matcher:", "t.yml:11: route.routes[0].matcher: no such key; did you mean 'matchers'?"),
        ("'severity=", "'9severity~", "t.yml:11: route.routes[0].matchers[0]: "),
        (
            "group_wait: 0s",
            "group_interval: 0s",
            "t.yml:12: route.routes[0].group_interval: must be longer than nothing",
        ),
        (
            "group_wait: 0s",
            "repeat_interval: 0s",
            "t.yml:12: route.routes[0].repeat_interval: must be longer",
        ),
        (
            "match: {service: shop}",
            "match_re: {service: '('}",
            "t.yml:13: route.routes[1].match_re.service: ",
        ),
        ("service: shop", "service: 5", "t.yml:13: route.routes[1].match: expected `str`, got `int`"),
        ("name: ops", "name: team", "t.yml:19: receivers[1].name: the name 'team' stands twice"),
        ("name: ops", "name: ''", "t.yml:19: receivers[1].name: a receiver needs a name"),
        ("name: ops\n    c", "c", "t.yml:19: receivers[1]: `name` is missing"),
        (
            "slack_configs",
            "slak_configs",
            "t.yml:16: receivers[0].slak_configs: no such key; did you mean 'slack_configs'?",
        ),
        (
            "app_token:",
            "token:",
            "t.yml:17: receivers[0].slack_configs[0].token: no such key; did you mean 'app_token'?",
        ),
        (
            "app_token: xoxb-1",
            "app_token: ''",
            "t.yml:17: receivers[0].slack_configs[0]: give `app_token` and `channel`",
        ),
        ("        channel: C1\n", "", "t.yml:17: receivers[0].slack_configs[0]: a bot needs a `channel`"),
        ("app_token: xoxb-1", "api_url: hook", "t.yml:17: receivers[0].slack_configs[0].api_url: not a URL"),
        ("channel: C1", "app_url: slack.com", "t.yml:18: receivers[0].slack_configs[0]"),
        (
            "xoxb-1",
            "${HIDDEN}",
            "t.yml:17: receivers[0].slack_configs[0].app_token: the environment variable HIDDEN",
        ),
        (
            "lateness: 30s",
            "log_format: jsn",
            "t.yml:1: log_format: no such value: 'jsn'; did you mean 'json'?",
        ),
        ("lateness: 30s", "web: {port: many}", "t.yml:1: web.port: expected `int`, got `str`"),
        ("lateness: 30s", "lateness: 30s\nlateness: 1s", "t.yml:2: lateness: this key stands here twice"),
        ("lateness: 30s", "lateness: [", "not valid YAML"),
        ("lateness: 30s", "--- 1\n---", "a configuration is one document"),
        ("lateness: 30s", "inhibit_rules: []", "t.yml:1: inhibit_rules: no such key"),
    ],
)
def test_an_error_names_file_line_path_and_the_nearest_valid_name(old: str, new: str, error: str) -> None:
    found = error_of(changed(old, new))
    assert error in found
    assert found.startswith("t.yml:")


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n", "null\n"])
def test_an_empty_configuration_lacks_a_route(text: str) -> None:
    assert error_of(text) == "t.yml:1: route: the top route needs a `receiver`"


@pytest.mark.parametrize("text", ["[]", "text", "5"])
def test_a_configuration_is_a_mapping(text: str) -> None:
    assert error_of(text).startswith("t.yml:1: expected `object`, got ")


def test_no_receiver_at_all_is_said_so() -> None:
    assert error_of("route: {receiver: a}") == "t.yml:1: route.receiver: no receiver 'a'; none is defined"


# --- variables and secrets ----------------------------------------------------------------------------


def test_variables_stand_for_the_environment() -> None:
    text = changed("C1", "'${A}-${B:-b}-${C:-}'") + "web: {port: '${PORT}', enabled: '${ON:-false}'}\n"
    config = read(text, A="a", C="", PORT="9601").config
    assert config.receivers[0].slack_configs[0].channel == "a-b-"
    assert (config.web.port, config.web.enabled) == (9601, False)


@pytest.mark.parametrize("environment", [{}, {"A": ""}])
def test_a_variable_that_is_missing_or_empty_is_an_error(environment: dict[str, str]) -> None:
    error = error_of(changed("C1", "${A}"), **environment)
    assert error == (
        "t.yml:18: receivers[0].slack_configs[0].channel: the environment variable A is not set or empty;"
        " set it or write ${A:-default}"
    )


def test_what_a_variable_stands_for_is_not_read_again() -> None:
    config = read(changed("C1", "${A}"), A="${B} # {x: y}").config
    assert config.receivers[0].slack_configs[0].channel == "${B} # {x: y}"


def test_no_secret_is_shown() -> None:
    text = changed("xoxb-1", "${HIDDEN}") + (
        "global: {slack_api_url: 'https://h/${HIDDEN}', slack_app_token: '${HIDDEN}'}\n"
        "kafka: {client: {sasl_plain_password: '${HIDDEN}'}}\n"
    )
    settings = read(text, HIDDEN="hush")
    assert "hush" not in repr(settings)
    assert "hush" not in f"{settings.config.global_} {settings.config.receivers} {settings.config.kafka}"
    assert settings.config.global_.slack_app_token.reveal() == "hush"
    assert settings.config.kafka.client == {"sasl_plain_password": "hush"}


@pytest.mark.parametrize(
    "change",
    [
        ("channel: C1", "chanel: C1"),
        ("app_token: ${HIDDEN}", "api_url: ${HIDDEN}"),
        ("app_token: ${HIDDEN}", "app_token: ['${HIDDEN}']"),
        ("        channel: C1\n", ""),
    ],
)
def test_an_error_beside_a_secret_does_not_show_it(change: tuple[str, str]) -> None:
    text = changed("xoxb-1", "${HIDDEN}")
    assert change[0] in text
    assert "hush" not in error_of(text.replace(*change), HIDDEN="hush")


# --- routes -------------------------------------------------------------------------------------------


def test_a_route_inherits_what_it_does_not_set() -> None:
    text = changed(
        "  group_by: [alertname]",
        "  group_by: [a]\n  group_wait: 1s\n  group_interval: 2s\n  repeat_interval: 4s",
    )
    route = read(text).route
    first, second = route.routes
    assert (first.receiver, first.group_by, first.group_wait_ms) == ("ops", ("a",), 0)
    assert (second.receiver, second.group_by, second.group_wait_ms) == ("team", ("a",), 1000)
    assert {(r.group_interval_ms, r.repeat_interval_ms) for r in (route, first, second)} == {(2000, 4000)}


def test_defaults_are_alertmanagers() -> None:
    route = read("route: {receiver: a}\nreceivers: [{name: a}]").route
    assert (route.group_wait_ms, route.group_interval_ms, route.repeat_interval_ms) == (
        30_000,
        300_000,
        14_400_000,
    )


def test_a_bare_zero_is_a_duration() -> None:
    assert read(changed("group_wait: 0s", "group_wait: 0")).route.routes[0].group_wait_ms == 0


ALERTMANAGER = """\
global:
  resolve_timeout: 5m
  slack_api_url: https://hooks.slack.com/services/T/B/x
route:
  receiver: default
  group_by: [alertname, cluster]
  group_wait: 30s
  group_interval: 5m
  repeat_interval: 3h
  routes:
    - match_re: {service: ^(foo1|foo2|baz)$}
      receiver: foo
      continue: true
      routes:
        - match: {severity: critical}
          receiver: pager
    - match: {service: 'a "b" \\new'}
      receiver: foo
      continue: true
    - matchers: [service="files", 'severity=~"warning|critical"']
      receiver: pager
      group_by: ['...']
receivers:
  - name: default
    slack_configs: [{channel: '#alerts', send_resolved: true}]
  - name: foo
    slack_configs:
      - channel: '#foo'
      - api_url: https://hooks.slack.com/services/T/B/y
        send_resolved: false
  - name: pager
"""


@pytest.mark.parametrize(
    ("labels", "receivers"),
    [
        ({}, ["default"]),
        ({"service": "foo1"}, ["foo"]),
        ({"service": "foo1", "severity": "critical"}, ["pager"]),
        ({"service": "xfoo1"}, ["default"]),
        ({"service": 'a "b" \\new'}, ["foo"]),
        ({"service": "files", "severity": "warning"}, ["pager"]),
        ({"service": "files"}, ["default"]),
    ],
)
def test_a_configuration_of_alertmanager_routes_as_there(
    labels: dict[str, str], receivers: list[str]
) -> None:
    settings = read(ALERTMANAGER)
    assert [r.receiver for r in Router(settings.route).dispatch(labels)] == receivers
    assert settings.receivers == {"default", "foo", "pager"}
    assert settings.warnings == ()


def test_a_receiver_that_no_route_leads_to_may_lack_its_secrets() -> None:
    text = TEXT + "  - name: later\n    slack_configs: [{app_token: '', channel: ''}]\n"
    assert read(text).receivers == {"team", "ops"}
    assert "receivers[2].slack_configs[0]: give" in error_of(text.replace("receiver: ops", "receiver: later"))


def test_repeat_interval_that_is_no_multiple_is_warned_of_once() -> None:
    text = changed(
        "  group_by: [alertname]", "  group_by: [alertname]\n  group_interval: 5m\n  repeat_interval: 12m"
    )
    text = text.replace("group_wait: 0s", "group_wait: 0s\n      repeat_interval: 7m")
    assert read(text).warnings == (
        "t.yml:6: repeat_interval 12m is no multiple of group_interval 5m: repeats come every 15m",
        "t.yml:12: repeat_interval 7m is no multiple of group_interval 5m: repeats come every 10m",
    )


def test_kafka_elsewhere_changes_nothing_else() -> None:
    settings = read(TEXT + "kafka: {group: g}\n")
    moved = settings.with_bootstrap_servers("k:1")
    assert (moved.config.kafka.bootstrap_servers, moved.config.kafka.group) == ("k:1", "g")
    assert moved.route == settings.route


# --- what ships ---------------------------------------------------------------------------------------


def deployed(**environment: str) -> Settings:
    text = (ROOT / "deploy" / "tocsin.yml").read_text("utf-8")
    return read_config(text, "deploy/tocsin.yml", {"KAFKA_BOOTSTRAP_SERVERS": "kafka:9092", **environment})


@pytest.mark.parametrize("environment", [{}, {"SLACK_BOT_TOKEN": "", "SLACK_CHANNEL": ""}])
def test_the_configuration_of_compose_works_without_slack(environment: dict[str, str]) -> None:
    settings = deployed(**environment)
    assert settings.receivers == {"console"}
    assert settings.warnings == ()


def test_the_configuration_of_compose_takes_slack_from_the_environment() -> None:
    text = (ROOT / "deploy" / "tocsin.yml").read_text("utf-8").replace("receiver: console", "receiver: slack")
    environment = {"KAFKA_BOOTSTRAP_SERVERS": "k:1", "SLACK_BOT_TOKEN": "xoxb-2", "SLACK_CHANNEL": "C2"}
    settings = read_config(text, "t.yml", environment)
    (slack,) = next(r for r in settings.config.receivers if r.name == "slack").slack_configs
    assert slack.app_token is not None
    assert (slack.app_token.reveal(), slack.channel) == ("xoxb-2", "C2")
    with pytest.raises(ConfigError, match="give `app_token`"):
        read_config(text, "t.yml", {"KAFKA_BOOTSTRAP_SERVERS": "k:1"})


# --- rules --------------------------------------------------------------------------------------------


def test_what_belongs_to_rules_is_read() -> None:
    more = "python_rules: [own.py]\npipelines: [sysmon, ours.yml]\non_rule_error: skip\n"
    more += "placeholders:\n  admins: [root, 0, '007', 1.5]\n  hosts: {file: hosts.txt}\n"
    config = read(TEXT + more).config
    assert (config.python_rules, config.pipelines, config.on_rule_error) == (
        ["own.py"],
        ["sysmon", "ours.yml"],
        "skip",
    )
    assert config.placeholders == {
        "admins": ["root", 0, "007", 1.5],
        "hosts": PlaceholderFile(file="hosts.txt"),
    }


def test_bad_rules_are_refused_unless_it_says_otherwise() -> None:
    assert read(TEXT).config.on_rule_error == "refuse"


@pytest.mark.parametrize(
    ("more", "error"),
    [
        ("on_rule_error: skp", ": on_rule_error: no such value: 'skp'; did you mean 'skip'?"),
        ("placeholders: {a: []}", ": placeholders.a: a placeholder needs a value"),
        ("placeholders: {a: {fiel: x}}", "no such key; did you mean 'file'?"),
        ("placeholders: {a: root}", ": placeholders: expected `object | array`, got `str`"),
        ("placeholders: {a: [[x]]}", "expected `"),
        ("python_rule: [a.py]", "no such key; did you mean 'python_rules'?"),
    ],
)
def test_errors_of_what_belongs_to_rules(more: str, error: str) -> None:
    assert error in error_of(f"{TEXT}{more}\n")
