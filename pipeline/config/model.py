"""The configuration as it is written: one type a block, one field a key.

Routing and receivers have Alertmanager's names and defaults (its documentation, "Configuration"); the rest
is Tocsin's. Durations are milliseconds once read.
"""

from __future__ import annotations

from typing import Literal

import msgspec

__all__ = [
    "Config",
    "ConsoleConfig",
    "Duration",
    "FlightRecorder",
    "Global",
    "JsonLinesConfig",
    "Kafka",
    "LogSourceConfig",
    "PlaceholderFile",
    "ReceiverConfig",
    "RouteConfig",
    "Secret",
    "SlackConfig",
    "SourceConfig",
    "Web",
]


class Duration:
    """A length of time; `ms` are milliseconds."""

    __slots__ = ("ms",)

    def __init__(self, ms: int) -> None:
        self.ms = ms

    def __repr__(self) -> str:
        return f"Duration({self.ms})"


class Secret:
    """A text that no log and no error shows; `reveal` gives it."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """Return the secret itself."""
        return self._text

    def __bool__(self) -> bool:
        return bool(self._text)

    def __repr__(self) -> str:
        return "Secret(…)" if self._text else "Secret()"


class _Block(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A block of the configuration: an unknown key in it is an error."""


class Kafka(_Block, frozen=True):
    """Where Kafka is and what is used of it.

    `client` holds further options of the client, as aiokafka names them (`security_protocol`, …).
    """

    bootstrap_servers: str = "127.0.0.1:9092"
    group: str = "tocsin"
    topic_prefix: str = ""
    client: dict[str, str | int | bool | None] = {}

    def __repr__(self) -> str:
        # Passwords are among the client's options.
        return f"Kafka({self.bootstrap_servers!r}, {self.group!r}, client={sorted(self.client)})"


class LogSourceConfig(_Block, frozen=True):
    """What a source holds, in Sigma's terms."""

    product: str = ""
    service: str = ""
    category: str = ""


class SourceConfig(_Block, frozen=True):
    """One source: exactly one of `kafka` (a topic), `file` (a path or glob) and `stdin` is set.

    `service` names the service of events that don't say theirs; of a file it is the file's name unless set.
    `timezone` is that of times written without an offset, by its IANA name. `silence` is how long a service
    that is heard regularly on a topic may be quiet before that is told; 0: it never is.
    """

    kafka: str | None = None
    file: str | None = None
    stdin: bool = False
    format: str = "auto"
    service: str = ""
    timezone: str = "UTC"
    logsource: list[LogSourceConfig] | LogSourceConfig = []
    silence: Duration = Duration(0)


class PlaceholderFile(_Block, frozen=True):
    """A file with a placeholder's values, one a line; `#` begins a comment."""

    file: str


class Web(_Block, frozen=True):
    """Where `/metrics`, `/healthz` and `/readyz` are served; port 0 takes any free one."""

    host: str = "127.0.0.1"
    port: int = 9600
    enabled: bool = True


class FlightRecorder(_Block, frozen=True):
    """Whether services are asked for what their recorders keep, and how grave an alert has to be for that."""

    enabled: bool = True
    severity: Literal["informational", "low", "medium", "high", "critical"] = "high"


class Global(_Block, frozen=True):
    """What applies to all receivers."""

    resolve_timeout: Duration = Duration(300_000)
    slack_api_url: Secret = Secret("")
    slack_app_token: Secret = Secret("")
    slack_app_url: str = "https://slack.com/api/"


class RouteConfig(_Block, frozen=True, rename={"continue_": "continue"}):
    """A node of the routing tree; what is not set is inherited."""

    receiver: str | None = None
    group_by: list[str] | None = None
    matchers: list[str] = []
    match: dict[str, str] = {}
    match_re: dict[str, str] = {}
    continue_: bool = False
    group_wait: Duration | None = None
    group_interval: Duration | None = None
    repeat_interval: Duration | None = None
    routes: list[RouteConfig] = []


class SlackConfig(_Block, frozen=True):
    """Slack by a bot (`app_token` and `channel`) or by an incoming webhook (`api_url`).

    The bot's channel is that of the label `channel_label`, if it is one of `channels`; else `channel`.
    `replies_per_hour` is how many replies with new alerts a thread gets at the most; edits tell the rest.
    """

    app_token: Secret | None = None
    app_url: str | None = None
    api_url: Secret | None = None
    channel: str = ""
    channel_label: str = ""
    channels: list[str] = []
    replies_per_hour: int = 2
    send_resolved: bool = True
    interval: Duration = Duration(1000)


class ConsoleConfig(_Block, frozen=True):
    """The terminal, as Slack would show it."""

    send_resolved: bool = True


class JsonLinesConfig(_Block, frozen=True):
    """A file that gets one JSON object a notification; `-` is standard output."""

    path: str = "-"
    send_resolved: bool = True


class ReceiverConfig(_Block, frozen=True):
    """A name, and what it stands for."""

    name: str
    slack_configs: list[SlackConfig] = []
    console_configs: list[ConsoleConfig] = []
    jsonl_configs: list[JsonLinesConfig] = []


class Config(_Block, frozen=True, rename={"global_": "global"}):
    """The whole configuration."""

    kafka: Kafka = Kafka()
    sources: list[SourceConfig] = []
    rules: list[str] = []
    python_rules: list[str] = []
    placeholders: dict[str, list[str | int | float] | PlaceholderFile] = {}
    pipelines: list[str] = []
    on_rule_error: Literal["refuse", "skip"] = "refuse"
    lateness: Duration = Duration(30_000)
    idle_timeout: Duration = Duration(60_000)
    state: str | None = None
    web: Web = Web()
    flight_recorder: FlightRecorder = FlightRecorder()
    log_format: Literal["auto", "json", "text"] = "auto"
    global_: Global = Global()
    route: RouteConfig = RouteConfig()
    receivers: list[ReceiverConfig] = []
