"""The command `tocsin verify-log TOPIC`."""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from aiokafka.errors import KafkaError, OffsetOutOfRangeError

from consumers.clock import now_ms
from consumers.kafka.client import Client
from consumers.kafka.refusal import refusal
from consumers.verify.keys import read_keys
from consumers.verify.marks import read_marks, write_marks
from consumers.verify.reading import reading
from consumers.verify.view import show_json, show_text
from pipeline.chain.topic import TopicCheck
from pipeline.duration import parse_duration
from pipeline.errors import ConfigError, TocsinError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipeline.config.model import Kafka

__all__ = ["VerifyOptions", "verify_log"]


@dataclass(frozen=True)
class VerifyOptions:
    """What to verify, and how.

    Attributes:
        topic: the topic.
        key_files: files with the keys, one each; without any, the environment tells.
        since: begin with records of this time: ISO 8601, or a duration before now; empty: with the oldest.
        written_to: the topic that the records were written to, where this is a copy of it; empty: `topic`.
        allow_unchained: whether others write to the topic too, without a chain.
        marks: a file to compare with, and to keep where the log ends; None: neither.
        form: how to say what was found.
    """

    topic: str
    key_files: Sequence[str] = ()
    since: str = ""
    written_to: str = ""
    allow_unchained: bool = False
    marks: str | None = None
    form: Literal["text", "json"] = "text"


async def verify_log(kafka: Kafka, options: VerifyOptions) -> int:
    """Verify a topic, and say what was found.

    Args:
        kafka: where Kafka is.
        options: what to verify, and how.

    Returns:
        0 if nothing was found that no handler leaves, else 1.

    Raises:
        ConfigError: there is no key, or no time that is one; the marks can't be read or written.
        TocsinError: the topic can't be read.
    """
    keys = read_keys(options.key_files, os.environ)
    since_ms = _time_ms(options.since) if options.since else None
    written_to = options.written_to or options.topic
    marks = Path(options.marks) if options.marks else None
    known = read_marks(marks, written_to) if marks else {}
    check = TopicCheck(written_to, keys, allow_unchained=options.allow_unchained)
    try:
        async with reading(kafka, options.topic) as reader:
            await reader.read(check, since_ms, known)
    except OffsetOutOfRangeError as error:
        raise TocsinError(
            "records were deleted before they could be read: begin later, with --since"
        ) from error
    except KafkaError as error:
        why = await refusal(Client(kafka).options) or str(error) or type(error).__name__
        raise TocsinError(f"Kafka at {kafka.bootstrap_servers}: {why}") from error
    report = check.finish()
    if options.form == "json":
        show_json(options.topic, report, file=sys.stdout)
    else:
        show_text(options.topic, report, marked=marks is not None, file=sys.stdout)
    if report.suspicious:
        return 1
    if marks:
        seen = known | {p.partition: p.mark for p in report.partitions if p.mark is not None}
        write_marks(marks, written_to, seen.values())
    return 0


def _time_ms(text: str) -> int:
    # Never below 0, where Kafka's own codes for the oldest and the newest begin.
    with contextlib.suppress(ValueError):
        return max(0, now_ms() - parse_duration(text))
    try:
        # A time without a zone is one of this machine.
        return max(0, int(dt.datetime.fromisoformat(text).astimezone().timestamp() * 1000))
    except (ValueError, OverflowError, OSError) as error:
        raise ConfigError(
            f"--since {text!r} is neither a time such as 2026-11-24T17:30:00Z nor a duration such as 24h"
        ) from error
