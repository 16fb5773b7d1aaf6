"""The short commands: topics, cases, checks, dead letters. Each returns the exit code."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError

from consumers.cases import run_cases
from consumers.kafka.client import Client
from consumers.kafka.dead_letters import read_dead_letters
from consumers.kafka.topics import TopicNames, TopicState, describe, ensure_topics, topic_specs
from consumers.rules import load, load_rules, rule_files
from consumers.wording import some
from pipeline.errors import TocsinError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from consumers.rules import RuleCache, RuleSources
    from pipeline.config.read import Settings
    from pipeline.sigma.reader.options import Options

__all__ = ["check", "create_topics", "dead_letters", "test_rules"]

_SHOWN_BYTES = 200


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")


def test_rules(paths: list[str], options: Options, *, python: Sequence[str], verbose: bool) -> int:
    """Run the cases beside rules; return 1 if one is not as it should be.

    Args:
        paths: rule files and folders; together they are one set.
        options: how the rules are read.
        python: files of rules in Python, part of the set.
        verbose: whether to show the cases that passed as well.
    """
    # Rules without cases are at least read, and references between files resolved.
    rules = load_rules(paths, options, python=python)
    passed = failed = bare = 0
    for file in (*rule_files(paths), *map(Path, python)):
        outcomes = list(run_cases(file, rules))
        if not outcomes:
            bare += 1
            if verbose:
                _say(f"{file}: no cases")
        for outcome in outcomes:
            if outcome.problem:
                failed += 1
                _say(f"{outcome.file}:{outcome.line}: {outcome.name}: {outcome.problem}")
            else:
                passed += 1
                if verbose:
                    _say(f"{outcome.file}:{outcome.line}: {outcome.name}: ok")
    without = f", {some(bare, 'file')} without cases" if bare else ""
    _say(f"{passed} passed, {failed} failed{without}")
    return 1 if failed else 0


def check(settings: Settings, sources: RuleSources, cache: RuleCache) -> int:
    """Say what a configuration amounts to; whatever is wrong has been raised by now.

    Args:
        settings: the configuration.
        sources: where its rules are.
        cache: what earlier loads have come to.
    """
    loaded = load(sources, cache)
    for warning in settings.warnings:
        _say(f"warning: {warning}")
    for error in loaded.refused:
        _say(f"left out: {error}")
    kinds = [
        some(loaded.kinds.get(kind, 0), *names)
        for kind, *names in (
            ("detection", "detection"),
            ("correlation", "correlation"),
            ("filter", "filter"),
            ("python", "rule in Python", "rules in Python"),
        )
    ]
    left_out = f"; {len(loaded.refused)} left out" if loaded.refused else ""
    _say(f"{', '.join(kinds)}; {some(len(loaded.rules.targets), 'kind')} of alerts{left_out}")
    _say(f"receivers in use: {', '.join(sorted(settings.receivers))}")
    return 0


async def create_topics(
    settings: Settings, *, partitions: int, replication_factor: int, wait_s: float
) -> int:
    """Create the topics that are missing and say how each stands; return 1 if one differs."""
    kafka = settings.config.kafka
    names = TopicNames.prefixed(kafka.topic_prefix)
    outcomes = await ensure_topics(
        kafka.bootstrap_servers,
        topic_specs(names, partitions),
        client_options=Client(kafka).options,
        replication_factor=replication_factor,
        wait_s=wait_s,
    )
    for outcome in outcomes:
        _say(describe(outcome))
    return 1 if any(o.state is TopicState.DIFFERS for o in outcomes) else 0


async def dead_letters(settings: Settings, *, redrive: bool) -> int:
    """List the dead letters, or write each back to the topic that it came from."""
    kafka = settings.config.kafka
    client = Client(kafka)
    topic = TopicNames.prefixed(kafka.topic_prefix).dead_letters
    consumer = AIOKafkaConsumer(**client.options, enable_auto_commit=False, auto_offset_reset="earliest")
    producer = AIOKafkaProducer(**client.options, enable_idempotence=True)
    try:
        await consumer.start()
        await producer.start()
        numbers = await producer.partitions_for(topic)
        letters = await read_dead_letters(consumer, [TopicPartition(topic, n) for n in sorted(numbers)])
        sent = 0
        for letter in letters:
            # The bytes are hostile: repr shows them without letting them act.
            _say(
                f"{letter.origin}  {letter.stage}  {letter.error}: {letter.reason}"
                f"  {letter.value[:_SHOWN_BYTES]!r}"
            )
            if redrive and letter.whole:
                await producer.send_and_wait(
                    letter.origin.rsplit("/", 2)[0], value=letter.value, key=letter.key
                )
                sent += 1
    except KafkaError as error:
        raise TocsinError(
            f"Kafka at {kafka.bootstrap_servers}: {str(error) or type(error).__name__}"
        ) from error
    finally:
        await consumer.stop()
        await producer.stop()
    _say(
        f"{len(letters)} dead letter{'s' if len(letters) != 1 else ''}"
        + (f", {sent} sent back" if redrive else "")
    )
    return 0
