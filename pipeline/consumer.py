"""The entry point: `tocsin …` and `python -m pipeline.consumer …`. Composes the core with its I/O.

This is the only module under `pipeline` that touches the world, and the only place where stages, sources,
stores and receivers are put together.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import glob
import os
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import structlog
import uvloop

from consumers import commands
from consumers.broker import serve as serve_broker
from consumers.clock import now_ms
from consumers.defaults import DEFAULT_CONFIG, DEFAULT_NAME
from consumers.delivery import Delivery, build_receivers
from consumers.embedded import Embedded
from consumers.files import FileReader, StdinReader
from consumers.kafka.client import Client
from consumers.kafka.correlate import CorrelateStage
from consumers.kafka.dead_letters import DeadLetters
from consumers.kafka.detect import DetectStage
from consumers.kafka.notify import NotifyStage
from consumers.kafka.session import run_stage
from consumers.kafka.topics import TopicNames
from consumers.logs import configure_logs
from consumers.metrics import Metrics
from consumers.progress import progress, show_summary
from consumers.rules import SHIPPED, load_rules
from consumers.state.sqlite import Database
from consumers.web import serve_web
from pipeline.config.read import Settings, read_config
from pipeline.correlate.correlate import Correlate
from pipeline.decode import choose
from pipeline.detect.detect import Detect, Source
from pipeline.errors import ConfigError, TocsinError
from pipeline.event import LogSource
from pipeline.notify.notify import Notify
from pipeline.notify.route import Router

if TYPE_CHECKING:
    from collections.abc import Sequence

    from consumers.kafka.session import Stage
    from pipeline.config.model import SourceConfig
    from pipeline.sigma.ruleset import RuleSet

__all__ = ["main"]

STAGES = ("detect", "correlate", "notify")
_COMMANDS = ("worker", "run", "topics", "broker", "test", "check", "dead-letters")
_LOG = structlog.get_logger("tocsin")


def main(arguments: Sequence[str] | None = None, *, default: str | None = None) -> int:
    """Run a command.

    Args:
        arguments: as on the command line; those of the process unless given.
        default: the command that runs where none is named.

    Returns:
        The exit code: 0 done, 1 something was found wrong, 2 what was asked for can't be done.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    if default and not (given and (given[0] in _COMMANDS or given[0] in ("-h", "--help"))):
        given.insert(0, default)
    args = _parser().parse_args(given)
    try:
        return _run(args)
    except TocsinError as error:
        sys.stderr.write(f"tocsin: {error}\n")
        return 2
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # Whoever read our output has gone; Python would complain again when it closes the stream.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="tocsin", description="Log alerting and detection on Kafka, or on files.")
    commands_ = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--config", metavar="FILE", default=os.environ.get("TOCSIN_CONFIG"), help="the configuration (TOCSIN_CONFIG)"
    )
    common.add_argument("--bootstrap-servers", metavar="HOST:PORT", help="Kafka (KAFKA_BOOTSTRAP_SERVERS)")

    worker = commands_.add_parser("worker", parents=[common], help="consume from Kafka, detect, correlate, notify")
    worker.add_argument(
        "--stage", action="append", choices=STAGES, help="run only this stage; may be given again (default: all)"
    )
    worker.add_argument("--web-port", type=int, metavar="PORT", help="where /metrics is served; 0 takes a free port")

    run = commands_.add_parser("run", parents=[common], help="the same job on files or standard input, without Kafka")
    run.add_argument("files", nargs="*", metavar="FILE", help="files to read; - is standard input")
    run.add_argument("--follow", action="store_true", help="wait for more, through rotations")
    run.add_argument("--format", default="auto", help="the files' format (default: found out)")
    run.add_argument("--state", metavar="FILE", help="remember positions and alerts here (SQLite)")
    run.add_argument("--rules", action="append", metavar="PATH", help="rules instead of the configured ones")

    topics = commands_.add_parser("topics", parents=[common], help="create the topics that are missing")
    topics.add_argument("--partitions", type=int, default=6, help="of the topics that workers share (default: 6)")
    topics.add_argument("--replication-factor", type=int, default=1, help="copies of each partition (default: 1)")
    topics.add_argument("--wait", type=float, default=0.0, metavar="S", help="wait so many seconds for Kafka to be up")

    broker = commands_.add_parser("broker", help="run a real Kafka for development, from Python packages")
    broker.add_argument("--dir", default=".state/broker", help="where it keeps its data (default: .state/broker)")
    broker.add_argument("--port", type=int, default=9092, help="where it listens on loopback (default: 9092)")

    test = commands_.add_parser("test", help="run the cases beside rules")
    test.add_argument("paths", nargs="*", metavar="PATH", help="rule files or folders (default: the shipped rules)")
    test.add_argument("-v", "--verbose", action="store_true", help="show the cases that pass, too")

    commands_.add_parser("check", parents=[common], help="check the configuration and the rules")

    letters = commands_.add_parser("dead-letters", parents=[common], help="list records that were put aside")
    letters.add_argument("--redrive", action="store_true", help="write each back to the topic it came from")
    return parser


def _run(args: argparse.Namespace) -> int:
    match args.command:
        case "broker":
            return serve_broker(Path(args.dir), args.port)
        case "test":
            return commands.test_rules(args.paths or [SHIPPED], verbose=args.verbose)
    settings = _settings(args)
    match args.command:
        case "check":
            return commands.check(settings)
        case "topics":
            configure_logs(settings.config.log_format)
            return uvloop.run(
                commands.create_topics(
                    settings,
                    partitions=args.partitions,
                    replication_factor=args.replication_factor,
                    wait_s=args.wait,
                )
            )
        case "dead-letters":
            configure_logs(settings.config.log_format)
            return uvloop.run(commands.dead_letters(settings, redrive=args.redrive))
        case "run":
            configure_logs(settings.config.log_format)
            return uvloop.run(_embedded(args, settings))
        case _:
            configure_logs(settings.config.log_format)
            return uvloop.run(_worker(args, settings))


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
    servers = args.bootstrap_servers or os.environ.get("KAFKA_BOOTSTRAP_SERVERS")
    return settings.with_bootstrap_servers(servers) if servers else settings


def _source(declared: SourceConfig) -> Source:
    written = declared.logsource if isinstance(declared.logsource, list) else [declared.logsource]
    return Source(declared.format, tuple(LogSource(s.product, s.service, s.category) for s in written))


@contextlib.contextmanager
def _signals(stop: asyncio.Event) -> object:
    """Let SIGTERM and SIGINT set `stop`; a second SIGINT ends the process at once."""
    loop = asyncio.get_running_loop()

    def interrupted() -> None:
        loop.remove_signal_handler(signal.SIGINT)
        stop.set()

    loop.add_signal_handler(signal.SIGTERM, stop.set)
    loop.add_signal_handler(signal.SIGINT, interrupted)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGTERM)
        loop.remove_signal_handler(signal.SIGINT)


def _load(settings: Settings, paths: Sequence[str] | None = None) -> RuleSet:
    for warning in settings.warnings:
        _LOG.warning(warning)
    return load_rules(paths or settings.config.rules or [SHIPPED])


# --- without Kafka ------------------------------------------------------------------------------------


async def _embedded(args: argparse.Namespace, settings: Settings) -> int:
    config = settings.config
    rules = _load(settings, args.rules)
    declared = {p: _source(s) for s in config.sources if s.file for p in _expand(s.file)}
    from_stdin = args.files == ["-"] or (not args.files and any(s.stdin for s in config.sources))
    asked = [] if from_stdin else [str(Path(f).absolute()) for f in args.files] or list(declared)
    if not asked and not from_stdin:
        raise ConfigError("nothing to read: name files, or `-` for standard input")
    stdin = next((_source(s) for s in config.sources if s.stdin), Source(args.format))
    sources = {p: declared.get(p, Source(args.format)) for p in asked}
    state = args.state or config.state
    database = Database(Path(state) if state else None)
    metrics = Metrics(now_ms)
    receivers = build_receivers(config, settings.receivers)

    def source_of(path: str) -> Source:
        # A file's record times are when it was read or written; events tell their own.
        return Source(**{**_columns(sources.get(path, stdin)), "timed": False})

    reader: FileReader | StdinReader
    if from_stdin:
        reader = StdinReader(decoder=lambda: choose(stdin.format), clock_ms=now_ms)
    else:
        reader = FileReader(
            [Path(p) for p in asked],
            decoder=lambda: choose(args.format),
            follow=args.follow,
            positions=database.position,
            clock_ms=now_ms,
        )
    job = Embedded(settings, rules, receivers, database, metrics, source_of=source_of, clock_ms=now_ms)
    stop = asyncio.Event()
    began_s = time.monotonic()
    try:
        with _signals(stop):
            async with contextlib.AsyncExitStack() as stack:
                if args.follow and config.web.enabled:
                    await stack.enter_async_context(
                        serve_web(config.web.host, config.web.port, metrics, lambda: None)
                    )
                await stack.enter_async_context(
                    progress(
                        lambda: reader.total_bytes,
                        lambda: reader.read_bytes,
                        lambda: job.detect.counts.events,
                        lambda: sum(map(len, job.alerts.values())),
                    )
                )
                summary = await job.run(reader, asked or ["-"], stop)
    finally:
        database.close()
    first_s = (job.first_alert_ms - job.began_ms) / 1000 if job.first_alert_ms else None
    show_summary(summary, time.monotonic() - began_s, first_s)
    return 1 if summary.failed else 0


def _columns(source: Source) -> dict[str, object]:
    return {"format": source.format, "logsources": source.logsources, "siblings": source.siblings}


def _expand(pattern: str) -> list[str]:
    """Return the files that a pattern names now; a name without wildcards stands for itself."""
    found = sorted(glob.glob(pattern, recursive=True)) if glob.has_magic(pattern) else [pattern]
    return [str(Path(p).absolute()) for p in found]


# --- on Kafka -----------------------------------------------------------------------------------------


async def _worker(args: argparse.Namespace, settings: Settings) -> int:
    config = settings.config
    rules = _load(settings)
    wanted = set(args.stage or STAGES)
    client = Client(config.kafka)
    topics = TopicNames.prefixed(config.kafka.topic_prefix)
    metrics = Metrics(now_ms)
    router = Router(settings.route)
    stages: list[Stage] = []
    if "detect" in wanted:
        detect = Detect(rules, lateness_ms=config.lateness.ms, idle_timeout_ms=config.idle_timeout.ms)
        metrics.watch_detect(detect)
        named = [s for s in config.sources if s.kafka]
        if not named:
            raise ConfigError("no source is a Kafka topic", path="sources")
        for declared in named:
            topic = f"{config.kafka.topic_prefix}{declared.kafka}"
            source = _source(declared)
            _LOG.info("reading", topic=topic, rules=len(detect.applicable(source)), unfiltered=detect.unfiltered(source))
            stages.append(DetectStage(detect, source, topic, topics.detections, now_ms))
    if "correlate" in wanted:
        correlate = CorrelateStage(
            lambda: Correlate(rules, resolve_timeout_ms=config.global_.resolve_timeout.ms),
            router,
            client,
            topics,
            DeadLetters(topics.dead_letters, "correlate", metrics),
        )
        metrics.watch_correlate(correlate.shards.values)
        stages.append(correlate)
    delivery: Delivery | None = None
    if "notify" in wanted:
        delivery = Delivery(build_receivers(config, settings.receivers), settings.receivers, now_ms, metrics)
        integrations = delivery.integrations
        letters = DeadLetters(topics.dead_letters, "notify", metrics)
        stages.append(
            NotifyStage(lambda: Notify(settings.route, integrations), delivery, client, topics, letters, now_ms)
        )
        outbox = delivery.outbox
        metrics.waiting = lambda: outbox.waiting
    ready = {stage.name: asyncio.Event() for stage in stages}
    stop = asyncio.Event()

    def missing() -> str | None:
        waiting = [name for name, event in ready.items() if not event.is_set()]
        return f"not yet in its group: {', '.join(waiting)}" if waiting else None

    async with contextlib.AsyncExitStack() as stack:
        stack.enter_context(_signals(stop))
        if config.web.enabled:
            port = config.web.port if args.web_port is None else args.web_port
            port = await stack.enter_async_context(serve_web(config.web.host, port, metrics, missing))
            _LOG.info("serving metrics", host=config.web.host, port=port)
        async with asyncio.TaskGroup() as tasks:
            sending = tasks.create_task(delivery.outbox.run()) if delivery else None
            running = [
                tasks.create_task(run_stage(stage, client, metrics, stop, on_ready=ready[stage.name]))
                for stage in stages
            ]
            _LOG.info("worker started", stages=sorted(wanted), bootstrap_servers=config.kafka.bootstrap_servers)
            await asyncio.wait(running)
            if delivery and sending:
                await delivery.outbox.close()
                sending.cancel()
    _LOG.info("worker stopped")
    return 0


if __name__ == "__main__":
    sys.exit(main(default="worker"))
