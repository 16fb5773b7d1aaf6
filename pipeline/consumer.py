"""The entry point: `tocsin …` and `python -m pipeline.consumer …`. Composes the core with its I/O.

This is the only module under `pipeline` that touches the world, and the only place where stages, sources,
stores and receivers are put together.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import structlog
import uvloop
from rich.console import Console

from consumers import commands
from consumers.arguments import COMMANDS, STAGES, parser
from consumers.broker import serve as serve_broker
from consumers.clock import now_ms, timer_ns
from consumers.defaults import DEFAULT_CONFIG, DEFAULT_NAME
from consumers.delivery import Delivery, build_receivers
from consumers.embedded import Embedded
from consumers.explain import explain
from consumers.files import FileReader, StdinReader
from consumers.kafka.client import Client
from consumers.kafka.control import Control
from consumers.kafka.correlate import CorrelateStage
from consumers.kafka.dead_letters import DeadLetters
from consumers.kafka.detect import DetectStage
from consumers.kafka.notify import NotifyStage
from consumers.kafka.session import run_stage
from consumers.kafka.topics import TopicNames
from consumers.lint import lint_rules
from consumers.logs import configure_logs
from consumers.logsources import parse_logsource
from consumers.metrics import Metrics
from consumers.progress import progress, show_summary
from consumers.rule_list import list_rules
from consumers.rules import (
    SHIPPED,
    LiveRules,
    PythonErrors,
    RuleCache,
    RuleSources,
    calm,
    default_cache,
    reading_options,
)
from consumers.sources import declared_source, file_sources, warn_of_universal
from consumers.state.sqlite import Database
from consumers.verify.command import VerifyOptions, verify_log
from consumers.verify.keys import own_key
from consumers.web import serve_web
from pipeline.config.read import Settings, read_config
from pipeline.control import RecorderRequests
from pipeline.correlate.correlate import Correlate
from pipeline.decode import choose
from pipeline.detect.detect import Detect, Source
from pipeline.errors import ConfigError, TocsinError
from pipeline.notify.notify import Notify
from pipeline.notify.route import Router
from pipeline.sigma.explanation.describe import printable

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator, Sequence

    from consumers.kafka.session import Stage

__all__ = ["main"]

_LOG = structlog.get_logger("tocsin")
_MAX_SHOWN = 2000


def main(arguments: Sequence[str] | None = None, *, default: str | None = None) -> int:
    """Run a command.

    Args:
        arguments: as on the command line; those of the process unless given.
        default: the command that runs where none is named.

    Returns:
        The exit code: 0 done, 1 something was found wrong, 2 what was asked for can't be done.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    if default and not (given and (given[0] in COMMANDS or given[0] in ("-h", "--help"))):
        given.insert(0, default)
    args = parser().parse_args(given)
    try:
        return _run(args)
    except TocsinError as error:
        sys.stderr.write(f"tocsin: {_shown(error)}\n")
        return 2
    except BaseExceptionGroup as group:
        # Tasks that ran together: what the user did is told without a traceback, anything else is not.
        told, other = group.split(TocsinError)
        if told is None or other is not None:
            raise
        sys.stderr.write(f"tocsin: {_shown(_first(told))}\n")
        return 2
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # Whoever read our output has gone; Python would complain again when it closes the stream.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _shown(error: BaseException) -> str:
    """Return an error's text; what it quotes of rules and logs must not act on the terminal."""
    return "\n".join(printable(line, _MAX_SHOWN) for line in str(error).split("\n"))


def _first(group: BaseExceptionGroup[TocsinError]) -> BaseException:
    """Return the first error within a group."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _run(args: argparse.Namespace) -> int:
    if args.command == "broker":
        return serve_broker(Path(args.dir), args.port)
    settings = _settings(args)
    if args.command in ("rules", "lint", "test", "explain"):
        return _about_rules(args, _rule_sources(args, settings))
    configure_logs(settings.config.log_format)
    match args.command:
        case "check":
            return commands.check(settings, _rule_sources(args, settings), _cache())
        case "topics":
            work = commands.create_topics(
                settings,
                partitions=args.partitions,
                replication_factor=args.replication_factor,
                wait_s=args.wait,
            )
        case "dead-letters":
            work = commands.dead_letters(settings, redrive=args.redrive)
        case "verify-log":
            work = verify_log(
                settings.config.kafka,
                VerifyOptions(
                    args.topic,
                    args.key_file,
                    args.since,
                    args.written_to,
                    args.allow_unchained,
                    args.marks,
                    args.format,
                ),
            )
        case "run":
            work = _embedded(args, settings)
        case _:
            work = _worker(args, settings)
    return uvloop.run(work)


def _about_rules(args: argparse.Namespace, sources: RuleSources) -> int:
    options = reading_options(sources)
    match args.command:
        case "rules":
            return list_rules(
                args.paths or sources.paths,
                options=options,
                python=() if args.paths else sources.python,
                form=args.format,
                logsource=args.logsource,
                only=args.only,
                verbose=args.verbose,
            )
        case "lint":
            return lint_rules(
                args.paths or list(sources.paths),
                form=args.format,
                fail_on=args.fail_on,
                options=options,
                disabled=args.disable,
            )
        case "test":
            return commands.test_rules(
                args.paths or list(sources.paths),
                options,
                python=() if args.paths else sources.python,
                verbose=args.verbose,
            )
        case _:
            return explain(
                args.rule,
                args.event,
                sources.paths,
                options=options,
                python=sources.python,
                form=args.format,
                format=args.decode,
                logsource=args.logsource,
            )


def _settings(args: argparse.Namespace) -> Settings:
    """Read the configuration; what stands on the command line or in the environment wins."""
    if args.config:
        try:
            text = Path(args.config).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"can't be read: {error}", file=args.config) from error
        settings = read_config(text, args.config, os.environ)
    else:
        settings = read_config(DEFAULT_CONFIG, DEFAULT_NAME, os.environ)
    servers = getattr(args, "bootstrap_servers", None) or os.environ.get("KAFKA_BOOTSTRAP_SERVERS")
    return settings.with_bootstrap_servers(servers) if servers else settings


@contextlib.contextmanager
def _signals(stop: asyncio.Event, reload: Callable[[], None] | None = None) -> Iterator[None]:
    """Let SIGTERM and SIGINT set `stop`, SIGHUP call `reload`; a second SIGINT ends the process at once."""
    loop = asyncio.get_running_loop()

    def interrupted() -> None:
        loop.remove_signal_handler(signal.SIGINT)
        stop.set()

    loop.add_signal_handler(signal.SIGTERM, stop.set)
    loop.add_signal_handler(signal.SIGINT, interrupted)
    if reload is not None:
        loop.add_signal_handler(signal.SIGHUP, reload)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGTERM)
        loop.remove_signal_handler(signal.SIGINT)
        if reload is not None:
            loop.remove_signal_handler(signal.SIGHUP)


# --- rules --------------------------------------------------------------------------------------------


def _cache() -> RuleCache:
    return RuleCache(default_cache(), now_ms)


def _rule_sources(args: argparse.Namespace, settings: Settings) -> RuleSources:
    """Return where rules come from; what stands on the command line wins."""
    config = settings.config
    return RuleSources(
        paths=tuple(getattr(args, "rules", None) or config.rules or [SHIPPED]),
        python=tuple(config.python_rules),
        placeholders=config.placeholders,
        pipelines=tuple(args.pipeline or config.pipelines),
        skip=getattr(args, "skip_bad_rules", False) or config.on_rule_error == "skip",
    )


def _live(args: argparse.Namespace, settings: Settings, cache: RuleCache, metrics: Metrics) -> LiveRules:
    """Load the rules."""
    for warning in settings.warnings:
        _LOG.warning(warning)
    live = LiveRules(_rule_sources(args, settings), cache, now_ms)
    metrics.watch_rules(lambda: live.figures)
    return live


def _detect(settings: Settings, live: LiveRules, cache: RuleCache) -> Detect:
    config = settings.config
    live.detect = Detect(
        live.rules,
        lateness_ms=config.lateness.ms,
        idle_timeout_ms=config.idle_timeout.ms,
        databases=cache.databases,
        timer_ns=timer_ns,
    )
    return live.detect


# --- without Kafka ------------------------------------------------------------------------------------


async def _embedded(args: argparse.Namespace, settings: Settings) -> int:
    config = settings.config
    default = Source(args.format, (parse_logsource(args.logsource),) if args.logsource else ())
    sources = file_sources(args.files, default, settings.config.sources)
    stdin = next((declared_source(s) for s in config.sources if s.stdin), default)
    database = _database(args.state or config.state)
    metrics = Metrics(now_ms)
    cache = _cache()
    with calm():
        live = _live(args, settings, cache, metrics)
        detect = _detect(settings, live, cache)
        for source in dict.fromkeys(sources.values()) if sources else (stdin,):
            warn_of_universal(detect, source)
    # Messages and the bar share the terminal, so that neither tears the other apart.
    console = Console(highlight=False) if sys.stdout.isatty() else None
    receivers = build_receivers(config, settings.receivers, console)
    reader: FileReader | StdinReader
    if sources:
        reader = FileReader(
            [Path(p) for p in sources],
            decoder=lambda path: choose(sources[path].format, sources[path].zone),
            follow=args.follow,
            positions=database.position,
            clock_ms=now_ms,
        )
    else:
        reader = StdinReader(decoder=lambda: choose(stdin.format, stdin.zone), clock_ms=now_ms)

    def source_of(path: str) -> Source:
        # A file's record times are when it was read or written; events tell their own.
        # A program's own log file seldom says which program it is: its name has to do.
        source = sources.get(path, stdin)
        name = source.service or (Path(path).name.split(".")[0] if path in sources else "")
        return msgspec.structs.replace(source, timed=False, service=name)

    metrics.watch_cut(lambda: reader.counts.cut_bytes)
    job = Embedded(settings, detect, receivers, database, metrics, source_of=source_of, clock_ms=now_ms)
    live.shards = lambda: (job.correlate,)
    stop = asyncio.Event()
    began_s = time.monotonic()
    try:
        with _signals(stop, live.ask if args.follow else None):
            async with contextlib.AsyncExitStack() as stack:
                if args.follow:
                    await stack.enter_async_context(live.watching())
                if args.follow and config.web.enabled:
                    port = config.web.port if args.web_port is None else args.web_port
                    await stack.enter_async_context(serve_web(config.web.host, port, metrics, lambda: None))
                await stack.enter_async_context(
                    progress(
                        console,
                        lambda: reader.total_bytes,
                        lambda: reader.read_bytes,
                        lambda: job.detect.counts.events,
                        lambda: sum(map(len, job.alerts.values())),
                    )
                )
                summary = await job.run(reader, list(sources) or ["-"], stop)
    finally:
        database.close()
    first_s = (job.first_alert_ms - job.began_ms) / 1000 if job.first_alert_ms else None
    show_summary(summary, time.monotonic() - began_s, first_s)
    return 1 if summary.failed else 0


def _database(path: str | None) -> Database:
    if path is None:
        return Database(None)
    place = Path(path)
    place.parent.mkdir(parents=True, exist_ok=True)
    return Database(place)


# --- on Kafka -----------------------------------------------------------------------------------------


class _Assembly:
    """The stages of one worker, put together."""

    def __init__(self, settings: Settings, args: argparse.Namespace) -> None:
        config = settings.config
        self._settings = settings
        wanted = set(args.stage or STAGES)
        self.client = Client(config.kafka)
        self._topics = TopicNames.prefixed(config.kafka.topic_prefix)
        self.metrics = Metrics(now_ms)
        self._cache = _cache()
        self.live = _live(args, settings, self._cache, self.metrics)
        # What each topic of events holds, by its name.
        self._sources = {
            f"{config.kafka.topic_prefix}{s.kafka}": declared_source(s) for s in config.sources if s.kafka
        }
        if not self._sources:
            raise ConfigError("no source is a Kafka topic", path="sources")
        self.delivery: Delivery | None = None
        self.stages: list[Stage] = []
        if "detect" in wanted:
            self.stages += self._detect()
        if "correlate" in wanted:
            self.stages.append(self._correlate())
        if "notify" in wanted:
            self.stages.append(self._notify())

    def _letters(self, stage: str) -> DeadLetters:
        return DeadLetters(self._topics.dead_letters, stage, self.metrics)

    def _detect(self) -> Iterator[Stage]:
        detect = _detect(self._settings, self.live, self._cache)
        errors = PythonErrors(detect.python, now_ms)
        self.metrics.watch_detect(detect)
        chain_key = own_key(os.environ)
        for topic, source in self._sources.items():
            warn_of_universal(detect, source)
            unfiltered = detect.unfiltered(source)
            _LOG.info("reading", topic=topic, rules=len(detect.applicable(source)), unfiltered=unfiltered)
            yield DetectStage(
                detect,
                source,
                topic,
                self._topics.detections,
                now_ms,
                self._letters("detect"),
                gate=self.live.detecting,
                python_errors=errors,
                chain_key=chain_key,
            )

    def _correlate(self) -> Stage:
        resolve_ms = self._settings.config.global_.resolve_timeout.ms
        stage = CorrelateStage(
            lambda: Correlate(self.live.rules, resolve_timeout_ms=resolve_ms),
            Router(self._settings.route),
            self.client,
            self._topics,
            self._letters("correlate"),
            self._sources,
            self.live.correlating,
            self._control(),
        )
        self.live.shards = stage.shards.values
        self.metrics.watch_correlate(stage.shards.values)
        return stage

    def _control(self) -> Control | None:
        recorder = self._settings.config.flight_recorder
        if not recorder.enabled:
            return None
        return Control(RecorderRequests(recorder.severity), self._topics.control, now_ms)

    def _notify(self) -> Stage:
        settings = self._settings
        receivers = build_receivers(settings.config, settings.receivers)
        delivery = self.delivery = Delivery(receivers, settings.receivers, now_ms, self.metrics)
        self.metrics.watch_notify(delivery.shards.values)
        self.metrics.waiting = lambda: delivery.outbox.waiting
        return NotifyStage(
            lambda: Notify(settings.route, delivery.integrations),
            delivery,
            self.client,
            self._topics,
            self._letters("notify"),
            now_ms,
        )


async def _worker(args: argparse.Namespace, settings: Settings) -> int:
    config = settings.config
    with calm():
        assembly = _Assembly(settings, args)
    metrics, delivery = assembly.metrics, assembly.delivery
    ready = {stage.name: asyncio.Event() for stage in assembly.stages}
    stop = asyncio.Event()

    def missing() -> str | None:
        waiting = [name for name, event in ready.items() if not event.is_set()]
        return f"not yet in its group: {', '.join(waiting)}" if waiting else None

    async with contextlib.AsyncExitStack() as stack:
        stack.enter_context(_signals(stop, assembly.live.ask))
        if config.web.enabled:
            port = config.web.port if args.web_port is None else args.web_port
            port = await stack.enter_async_context(serve_web(config.web.host, port, metrics, missing))
            _LOG.info("serving metrics", host=config.web.host, port=port)
        async with asyncio.TaskGroup() as tasks:
            sending = tasks.create_task(delivery.outbox.run()) if delivery else None
            running = [
                tasks.create_task(
                    run_stage(stage, assembly.client, metrics, stop, on_ready=ready[stage.name])
                )
                for stage in assembly.stages
            ]
            servers = config.kafka.bootstrap_servers
            watching = tasks.create_task(assembly.live.run())
            _LOG.info("worker started", stages=sorted(set(args.stage or STAGES)), bootstrap_servers=servers)
            await asyncio.wait(running)
            watching.cancel()
            if delivery and sending:
                await delivery.outbox.close()
                sending.cancel()
    _LOG.info("worker stopped")
    return 0


if __name__ == "__main__":
    sys.exit(main(default="worker"))
