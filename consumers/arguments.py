"""The command line: which commands there are and what each takes."""

from __future__ import annotations

import argparse
import os
from typing import TypeAlias

__all__ = ["COMMANDS", "STAGES", "parser"]

STAGES = ("detect", "correlate", "notify")
COMMANDS = (
    *("worker", "run", "topics", "broker"),
    *("check", "rules", "lint", "test", "explain"),
    *("dead-letters", "verify-log"),
)

_Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"  # noqa: SLF001 — no public name


def parser() -> argparse.ArgumentParser:
    """Return the parser of all commands; the command's name is `command`."""
    top = argparse.ArgumentParser(
        prog="tocsin", description="Log alerting and detection on Kafka, or on files."
    )
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    configured = argparse.ArgumentParser(add_help=False)
    configured.add_argument(
        "--config",
        metavar="FILE",
        default=os.environ.get("TOCSIN_CONFIG"),
        help="the configuration (default: TOCSIN_CONFIG, else all that ships, shown on the terminal)",
    )
    common = argparse.ArgumentParser(add_help=False, parents=[configured])
    common.add_argument(
        "--bootstrap-servers",
        metavar="HOST:PORT",
        help="where Kafka is (default: KAFKA_BOOTSTRAP_SERVERS, else what is configured)",
    )

    processed = argparse.ArgumentParser(add_help=False)
    processed.add_argument(
        "--pipeline",
        action="append",
        metavar="NAME_OR_FILE",
        help="apply this pySigma pipeline to the rules; may be repeated (default: those configured)",
    )
    served = argparse.ArgumentParser(add_help=False)
    served.add_argument(
        "--web-port", type=int, metavar="PORT", help="where /metrics is served; 0: any free port"
    )

    loading = argparse.ArgumentParser(add_help=False, parents=[processed])
    loading.add_argument(
        "--skip-bad-rules",
        action="store_true",
        help="leave out rules that can't be used, and say why, instead of refusing to start",
    )

    _add_worker(commands, [common, loading, served])
    _add_run(commands, [common, loading, served])
    _add_kafka_commands(commands, [common])
    commands.add_parser("check", parents=[common, loading], help="check the configuration and the rules")
    _add_rule_commands(commands, [configured, processed])
    _add_dead_letters(commands, [common])
    _add_verify_log(commands, [common])
    return top


def _add_worker(commands: _Commands, parents: list[argparse.ArgumentParser]) -> None:
    worker = commands.add_parser(
        "worker",
        parents=parents,
        help="consume from Kafka: detect, correlate, notify; any number may run",
    )
    worker.add_argument(
        "--stage", action="append", choices=STAGES, help="run only this stage; may be repeated (default: all)"
    )


def _add_run(commands: _Commands, parents: list[argparse.ArgumentParser]) -> None:
    run = commands.add_parser(
        "run",
        parents=parents,
        help="the same job on files or standard input, without Kafka",
    )
    run.add_argument("files", nargs="*", metavar="FILE", help="what to read; - is standard input")
    run.add_argument("--follow", action="store_true", help="wait for more at the end, through rotations")
    run.add_argument("--format", default="auto", help="the format of the files (default: found out)")
    run.add_argument(
        "--logsource",
        default="",
        metavar="PRODUCT=…,CATEGORY=…",
        help="what kind of log the files hold: only rules for it apply (default: what is configured)",
    )
    run.add_argument(
        "--state", metavar="FILE", help="remember positions, alerts and what was sent here (SQLite)"
    )
    run.add_argument("--rules", action="append", metavar="PATH", help="rules instead of the configured ones")


def _add_kafka_commands(commands: _Commands, parents: list[argparse.ArgumentParser]) -> None:
    """Add what prepares Kafka, or is one."""
    topics = commands.add_parser("topics", parents=parents, help="create the topics that are missing")
    topics.add_argument(
        "--partitions", type=int, default=6, help="of each topic that workers share (default: 6)"
    )
    topics.add_argument("--replication-factor", type=int, default=1, help="copies of each (default: 1)")
    topics.add_argument(
        "--wait", type=float, default=0.0, metavar="S", help="seconds to wait for a Kafka that isn't up yet"
    )

    broker = commands.add_parser("broker", help="run a real Kafka for development, from Python packages")
    broker.add_argument("--dir", default=".state/broker", help="where its data is (default: .state/broker)")
    broker.add_argument(
        "--port", type=int, default=9092, help="on loopback; 0: any free port (default: 9092)"
    )


def _add_dead_letters(commands: _Commands, parents: list[argparse.ArgumentParser]) -> None:
    letters = commands.add_parser(
        "dead-letters", parents=parents, help="list the records that were put aside"
    )
    letters.add_argument("--redrive", action="store_true", help="write each back to the topic it came from")


def _add_verify_log(commands: _Commands, parents: list[argparse.ArgumentParser]) -> None:
    verify = commands.add_parser(
        "verify-log", parents=parents, help="find what was altered, removed or inserted in a chained topic"
    )
    verify.add_argument("topic", metavar="TOPIC", help="its full name")
    verify.add_argument(
        "--key-file",
        action="append",
        default=[],
        metavar="FILE",
        help="a key of the chain; may be repeated (default: TOCSIN_CHAIN_KEY or TOCSIN_CHAIN_KEY_FILE)",
    )
    verify.add_argument(
        "--since",
        default="",
        metavar="WHEN",
        help="begin with records of this time, ISO 8601, or this long ago, such as 24h (default: the oldest)",
    )
    verify.add_argument(
        "--marks", metavar="FILE", help="see that the log goes on from here, and keep here where it ends"
    )
    verify.add_argument(
        "--allow-unchained",
        action="store_true",
        help="others write to the topic too, without a chain: count their records, don't report them",
    )
    verify.add_argument(
        "--written-to", default="", metavar="TOPIC", help="where the records were written, if this is a copy"
    )
    verify.add_argument("--format", choices=("text", "json"), default="text", help="default: text")


def _add_rule_commands(commands: _Commands, parents: list[argparse.ArgumentParser]) -> None:
    """Add what is about rules themselves; none of these needs Kafka."""
    rules = commands.add_parser("rules", parents=parents, help="list what is loaded, and what it needs")
    rules.add_argument(
        "paths", nargs="*", metavar="PATH", help="rule files and folders (default: those configured)"
    )
    rules.add_argument("--logsource", default="", metavar="PRODUCT=…,CATEGORY=…", help="only those for it")
    rules.add_argument(
        "--only",
        choices=("all", "unfiltered", "alerting", "feeding", "correlations"),
        default="all",
        help="which of them (default: all)",
    )
    rules.add_argument("--format", choices=("text", "json"), default="text", help="default: text")
    rules.add_argument("-v", "--verbose", action="store_true", help="show each rule, not only sums")

    lint = commands.add_parser("lint", parents=parents, help="find what is wrong or doubtful in rules")
    lint.add_argument(
        "paths", nargs="*", metavar="PATH", help="rule files and folders (default: those configured)"
    )
    lint.add_argument("--format", choices=("text", "json", "sarif"), default="text", help="default: text")
    lint.add_argument(
        "--fail-on",
        choices=("error", "warning", "info"),
        default="error",
        help="what makes the exit code 1 (default: error)",
    )
    lint.add_argument(
        "--disable", action="append", default=[], metavar="CHECK", help="turn a check off; may be repeated"
    )

    test = commands.add_parser("test", parents=parents, help="run the cases beside rules")
    test.add_argument(
        "paths", nargs="*", metavar="PATH", help="rule files and folders (default: those configured)"
    )
    test.add_argument("-v", "--verbose", action="store_true", help="show the cases that pass, too")

    explain = commands.add_parser(
        "explain", parents=parents, help="show why a rule matches an event, or does not"
    )
    explain.add_argument(
        "rule", metavar="RULE", help="an id, a name, the beginning of a title, or a rule file"
    )
    explain.add_argument(
        "event",
        metavar="EVENT",
        help="a line, a file of lines (FILE:3 is its third), or -",
    )
    explain.add_argument(
        "--rules", action="append", metavar="PATH", help="where to look (default: the rules configured)"
    )
    explain.add_argument("--format", choices=("text", "json"), default="text", help="default: text")
    explain.add_argument(
        "--decode", default="auto", metavar="FORMAT", help="of the event (default: found out)"
    )
    explain.add_argument(
        "--logsource", default="", metavar="PRODUCT=…,CATEGORY=…", help="what the event's source declares"
    )
