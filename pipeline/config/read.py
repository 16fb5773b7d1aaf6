"""Configuration text → typed values; an error names file, line, path and the nearest valid name."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, get_args, get_type_hints

import msgspec

from pipeline.config.model import Config, Duration, RouteConfig, Secret, SlackConfig
from pipeline.decode import FORMATS
from pipeline.document import Document, Key, documents
from pipeline.duration import parse_duration, show_duration
from pipeline.errors import ConfigError, nearest
from pipeline.notify.matchers import Matcher, parse_matchers
from pipeline.notify.route import ALL_LABELS, Route, Router

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

__all__ = ["Settings", "located", "read_config"]

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")
_PATH = re.compile(r"\.([A-Za-z_][\w-]*)|\[(\d+)\]|\[\.\.\.\]")


class Settings(msgspec.Struct, frozen=True):
    """What was read: the configuration, the routing tree made of it, and what deserves a warning."""

    config: Config
    route: Route
    warnings: tuple[str, ...] = ()

    @property
    def receivers(self) -> set[str]:
        """Names of the receivers that a route leads to."""
        return {route.receiver for route in Router(self.route)}

    def with_bootstrap_servers(self, servers: str) -> Settings:
        """Return the same settings for Kafka elsewhere."""
        kafka = msgspec.structs.replace(self.config.kafka, bootstrap_servers=servers)
        return msgspec.structs.replace(self, config=msgspec.structs.replace(self.config, kafka=kafka))


def read_config(text: str, file: str, environment: Mapping[str, str]) -> Settings:
    """Read a configuration.

    Args:
        text: the YAML text.
        file: the name to show in errors.
        environment: what `${NAME}` and `${NAME:-default}` stand for.

    Raises:
        ConfigError: it can't be used as it is written.
    """
    found = [d for d in documents(text, file) if d.data is not None]
    if len(found) > 1:
        raise ConfigError("a configuration is one document", file=file, line=found[1].line())
    document = found[0] if found else next(documents("{}", file))
    data = _expand(document, document.data, environment, ())
    try:
        # Not strict, since what a variable stood for is a text: `port: ${PORT}`.
        config = msgspec.convert(data, Config, strict=False, dec_hook=_decode)
    except msgspec.ValidationError as error:
        raise located(document, str(error), Config) from error
    _check_sources(document, config)
    _check_placeholders(document, config)
    names = _check_receivers(document, config)
    route = _route(document, config, names)
    return Settings(config, route, tuple(_warnings(document, route, ("route",))))


def _expand(
    document: Document, value: object, environment: Mapping[str, str], path: tuple[Key, ...]
) -> object:
    """Replace variables in every text."""
    if isinstance(value, dict):
        return {str(k): _expand(document, v, environment, (*path, str(k))) for k, v in value.items()}
    if isinstance(value, list):
        return [_expand(document, v, environment, (*path, i)) for i, v in enumerate(value)]
    if not isinstance(value, str):
        return value

    def stand_in(found: re.Match[str]) -> str:
        name, default = found.group(1), found.group(2)
        # As in a shell, `:-` stands in for what is empty, too.
        given = environment.get(name) or default
        if given is None:
            raise document.error(
                f"the environment variable {name} is not set or empty; set it or write ${{{name}:-default}}",
                *path,
            )
        return given

    return _VARIABLE.sub(stand_in, value)


def _decode(kind: type, value: object) -> object:
    if kind is Duration:
        # YAML reads a bare 0 as a number; it is the only one that needs no unit.
        if value == 0 and not isinstance(value, bool):
            return Duration(0)
        if not isinstance(value, str):
            raise ValueError(f"{value!r} is not a duration; write it as 30s, 5m or 1h30m")
        return Duration(parse_duration(value))
    if kind is Secret:
        if not isinstance(value, str):
            raise ValueError("a secret is a text")
        return Secret(value)
    raise TypeError(kind)


def located(document: Document, text: str, block: type[msgspec.Struct]) -> ConfigError:
    """Return msgspec's word as an error of ours: with its place, and the nearest valid name.

    Args:
        document: what was converted.
        text: msgspec's message.
        block: the type that it was converted to.
    """
    message, _, where = text.rpartition(" - at `$")
    if not message:
        message, where = text, ""
    path: list[Key] = []
    for name, index in _PATH.findall(where.rstrip("`")):
        if name or index:
            path.append(name or int(index))
    if unknown := re.fullmatch(r"Object contains unknown field `(.*)`", message, re.DOTALL):
        name = unknown.group(1)
        return document.error(f"no such key; {nearest(name, _names(block, path))}", *path, name)
    if missing := re.fullmatch(r"Object missing required field `(.*)`", message):
        return document.error(f"`{missing.group(1)}` is missing", *path)
    if choice := re.fullmatch(r"Invalid enum value '(.*)'", message, re.DOTALL):
        valid = get_args(_hint(block, path))
        return document.error(f"no such value: {choice.group(1)!r}; {nearest(choice.group(1), valid)}", *path)
    return document.error(message[:1].lower() + message[1:], *path)


def _hint(block: Any, path: Sequence[Key]) -> Any:  # Any: types, seen as values
    """Return the annotation of what stands at `path` within a block."""
    hint: Any = block
    for key in path:
        if isinstance(key, int):
            continue
        struct = _struct(hint)
        fields = {f.encode_name: f.name for f in msgspec.structs.fields(struct)}
        hint = get_type_hints(struct)[fields[key]]
    return hint


def _struct(hint: Any) -> Any:  # Any: likewise
    """Return the block within an annotation such as `list[RouteConfig] | None`."""
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        return hint
    return next((found for inner in get_args(hint) if (found := _struct(inner)) is not None), None)


def _names(block: type[msgspec.Struct], path: Sequence[Key]) -> list[str]:
    """Return the keys that are valid in the block at `path`."""
    return [f.encode_name for f in msgspec.structs.fields(_struct(_hint(block, path)))]


def _check_sources(document: Document, config: Config) -> None:
    for i, source in enumerate(config.sources):
        given = [bool(source.kafka), bool(source.file), source.stdin]
        if sum(given) != 1:
            raise document.error("a source is one of `kafka`, `file` and `stdin`", "sources", i)
        if source.silence.ms and not source.kafka:
            raise document.error(
                "is told of services on a `kafka` topic; files don't say whose they are",
                "sources",
                i,
                "silence",
            )
        valid = ("auto", *FORMATS)
        if source.format not in valid:
            raise document.error(
                f"no such format: {source.format!r}; {nearest(source.format, valid)}", "sources", i, "format"
            )


def _check_placeholders(document: Document, config: Config) -> None:
    for name, values in config.placeholders.items():
        if values == []:
            raise document.error(
                "a placeholder needs a value: a rule with a hole in it finds other things than was meant",
                "placeholders",
                name,
            )


def _check_receivers(document: Document, config: Config) -> set[str]:
    names: set[str] = set()
    for i, receiver in enumerate(config.receivers):
        if not receiver.name:
            raise document.error("a receiver needs a name", "receivers", i, "name")
        if receiver.name in names:
            raise document.error(f"the name {receiver.name!r} stands twice", "receivers", i, "name")
        names.add(receiver.name)
    return names


def _check_slack(document: Document, config: Config, name: str) -> None:
    """Refuse a receiver that is routed to and lacks what it needs."""
    for i, receiver in enumerate(config.receivers):
        if receiver.name != name:
            continue
        for j, slack in enumerate(receiver.slack_configs):
            path: tuple[Key, ...] = ("receivers", i, "slack_configs", j)
            webhook = slack.api_url or config.global_.slack_api_url
            token = slack.app_token or config.global_.slack_app_token
            if slack.api_url and not _is_url(slack.api_url.reveal()):
                raise document.error("not a URL: it begins with https://", *path, "api_url")
            if slack.app_url and not _is_url(slack.app_url):
                raise document.error("not a URL: it begins with https://", *path, "app_url")
            if not webhook and not token:
                raise document.error("give `app_token` and `channel`, or `api_url` (a webhook)", *path)
            if token and not slack.api_url and not slack.channel:
                raise document.error("a bot needs a `channel`", *path)
            if slack.replies_per_hour < 0:
                raise document.error("can't be below 0", *path, "replies_per_hour")
            _check_channels(document, slack, path, by_bot=bool(token) and not slack.api_url)


def _check_channels(document: Document, slack: SlackConfig, path: tuple[Key, ...], *, by_bot: bool) -> None:
    """Refuse channels by a label that can't be what was meant: what a log says decides among those listed."""
    if not slack.channel_label and not slack.channels:
        return
    if not by_bot:
        raise document.error("a webhook has one channel; a bot (`app_token`) can choose", *path)
    if not slack.channel_label:
        raise document.error("nothing chooses among these; give `channel_label`", *path, "channels")
    if not slack.channels:
        message = "list in `channels` those that it may name: the label's text may come from a log"
        raise document.error(message, *path, "channel_label")
    for k, name in enumerate(slack.channels):
        if not name.strip("# "):
            raise document.error("a channel is named as `#payments`", *path, "channels", k)


def _check_grouping(
    document: Document, config: Config, name: str, group_by: tuple[str, ...], path: tuple[Key, ...]
) -> None:
    """Refuse a route whose messages would be of several channels at once."""
    labels = {s.channel_label for r in config.receivers if r.name == name for s in r.slack_configs}
    for label in labels - {"", *group_by}:
        if group_by != ALL_LABELS:
            message = f"the receiver {name!r} takes its channel from the label {label!r}: group by that, too"
            raise document.error(message, *path, "group_by")


def _is_url(text: str) -> bool:
    return text.startswith(("https://", "http://"))


def _route(document: Document, config: Config, names: set[str]) -> Route:
    top = config.route
    if top.receiver is None:
        raise document.error("the top route needs a `receiver`", "route")
    if top.matchers or top.match or top.match_re:
        raise document.error("the top route takes every alert: it has no matchers", "route")
    if top.continue_:
        raise document.error("the top route has no siblings to continue with", "route", "continue")
    defaults = _Inherited(top.receiver, ("alertname",), 30_000, 300_000, 14_400_000)
    return _node(document, config, top, defaults, names, ("route",))


class _Inherited(msgspec.Struct, frozen=True):
    receiver: str
    group_by: tuple[str, ...]
    group_wait_ms: int
    group_interval_ms: int
    repeat_interval_ms: int


def _node(
    document: Document,
    config: Config,
    node: RouteConfig,
    above: _Inherited,
    names: set[str],
    path: tuple[Key, ...],
) -> Route:
    own = _Inherited(
        receiver=node.receiver or above.receiver,
        group_by=tuple(node.group_by) if node.group_by is not None else above.group_by,
        group_wait_ms=node.group_wait.ms if node.group_wait else above.group_wait_ms,
        group_interval_ms=node.group_interval.ms if node.group_interval else above.group_interval_ms,
        repeat_interval_ms=node.repeat_interval.ms if node.repeat_interval else above.repeat_interval_ms,
    )
    if own.receiver not in names:
        raise document.error(
            f"no receiver {own.receiver!r}; {nearest(own.receiver, names) if names else 'none is defined'}",
            *path,
            "receiver",
        )
    _check_slack(document, config, own.receiver)
    _check_grouping(document, config, own.receiver, own.group_by, path)
    if len(set(own.group_by)) < len(own.group_by):
        raise document.error("a label stands here twice", *path, "group_by")
    if "..." in own.group_by and own.group_by != ALL_LABELS:
        raise document.error("`...` means all labels; it stands alone", *path, "group_by")
    for name, ms in (("group_interval", own.group_interval_ms), ("repeat_interval", own.repeat_interval_ms)):
        if ms <= 0:
            raise document.error("must be longer than nothing", *path, name)
    matchers = _matchers(document, node, path)
    return Route(
        receiver=own.receiver,
        group_by=own.group_by,
        matchers=matchers,
        continue_=node.continue_,
        group_wait_ms=own.group_wait_ms,
        group_interval_ms=own.group_interval_ms,
        repeat_interval_ms=own.repeat_interval_ms,
        routes=tuple(
            _node(document, config, child, own, names, (*path, "routes", i))
            for i, child in enumerate(node.routes)
        ),
    )


def _matchers(document: Document, node: RouteConfig, path: tuple[Key, ...]) -> tuple[Matcher, ...]:
    found: list[Matcher] = []
    written: list[tuple[str, tuple[Key, ...]]] = [
        (m, (*path, "matchers", i)) for i, m in enumerate(node.matchers)
    ]
    written += [(f"{k}={_quoted(v)}", (*path, "match", k)) for k, v in node.match.items()]
    written += [(f"{k}=~{_quoted(v)}", (*path, "match_re", k)) for k, v in node.match_re.items()]
    for text, where in written:
        try:
            found.extend(parse_matchers(text))
        except ValueError as error:
            raise document.error(str(error), *where) from error
    return tuple(found)


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def _warnings(
    document: Document, route: Route, path: tuple[Key, ...], above: Route | None = None
) -> Iterator[str]:
    """Say where `repeat_interval` will be rounded up: it is looked at on `group_interval` ticks only."""
    intervals = (route.repeat_interval_ms, route.group_interval_ms)
    inherited = above is not None and intervals == (above.repeat_interval_ms, above.group_interval_ms)
    repeat_ms, group_ms = intervals
    if repeat_ms % group_ms and not inherited:
        place = f"{document.file}:{document.line(*path)}"
        effective = show_duration(-(-repeat_ms // group_ms) * group_ms)
        yield (
            f"{place}: repeat_interval {show_duration(repeat_ms)} is no multiple of group_interval"
            f" {show_duration(group_ms)}: repeats come every {effective}"
        )
    for i, child in enumerate(route.routes):
        yield from _warnings(document, child, (*path, "routes", i), route)
