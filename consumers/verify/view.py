"""How a report of `tocsin verify-log` is shown: as text for a person, as JSON for a program."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from consumers.wording import some
from pipeline.chain.finding import Finding, Kind
from pipeline.sigma.explanation.describe import printable

if TYPE_CHECKING:
    from typing import TextIO

    from pipeline.chain.topic import TopicReport

__all__ = ["show_json", "show_text"]

_MAX_NAME = 60


def show_text(topic: str, report: TopicReport, *, marked: bool, file: TextIO) -> None:
    """Show a report to a person.

    Args:
        topic: the topic.
        report: the report.
        marked: whether it was compared with what an earlier check has seen.
        file: where to.
    """
    # Sources that began before what is there are all but certain in a topic that forgets: their sum will do.
    for finding in report.findings:
        if finding.kind is Kind.BEGINNING:
            continue
        whose = ""
        if finding.source:
            whose = f" (source {_text(finding.source)}, key {_text(finding.key)})"
        place = f"{printable(topic, _MAX_NAME)}/{finding.partition}/{finding.offset}"
        file.write(f"{place}: {finding.kind.value}: {finding.what}{whose}\n")
    file.writelines(line + "\n" for line in _summary(report))
    series = sum(p.counts.series for p in report.partitions)
    open_ended = series - sum(p.counts.ended for p in report.partitions)
    if open_ended and not marked:
        file.write(
            f"{open_ended:,} of {some(series, 'series', 'series')} have no end: they go on, were killed, or"
            " were cut off, which leaves no trace here; --marks FILE tells that from check to check\n"
        )


def show_json(topic: str, report: TopicReport, *, file: TextIO) -> None:
    """Show a report to a program: all of it, in one object.

    Args:
        topic: the topic.
        report: the report.
        file: where to.
    """
    told = {
        "topic": topic,
        "suspicious": report.suspicious,
        "counts": {kind.value: n for kind, n in report.counts.items()},
        "findings": [_plain(finding) for finding in report.findings],
        "left_out": report.left_out,
        "partitions": [
            {
                "partition": p.partition,
                "start": p.start,
                "end": p.end,
                "whole": p.whole,
                **msgspec.to_builtins(p.counts),
                "mark": {"offset": p.mark.offset, "mac": p.mark.mac.hex()} if p.mark else None,
            }
            for p in report.partitions
        ],
    }
    file.write(msgspec.json.encode(told).decode() + "\n")


def _summary(report: TopicReport) -> list[str]:
    partitions = report.partitions
    records = sum(p.counts.records for p in partitions)
    authentic = sum(p.counts.authentic for p in partitions)
    series = sum(p.counts.series for p in partitions)
    of = f"of {some(series, 'series', 'series')} (source and key)"
    lines = [
        f"{some(records, 'record')} in {some(len(partitions), 'partition')}; {authentic:,} authentic, {of}"
    ]
    if dropped := sum(p.counts.dropped for p in partitions):
        lines.append(f"{some(dropped, 'record')} dropped by the services themselves, which is no tampering")
    if repeated := sum(p.counts.repeated for p in partitions):
        lines.append(f"{some(repeated, 'record')} repeated by the services, which is no tampering")
    if beginnings := report.counts.get(Kind.BEGINNING):
        lines.append(
            f"{some(beginnings, 'series', 'series')} began before the oldest record that was read:"
            " by retention, or somebody removed the beginning"
        )
    if unchained := sum(p.counts.unchained for p in partitions):
        lines.append(f"{some(unchained, 'record')} without a chain")
    if forgotten := sum(p.counts.forgotten for p in partitions):
        lines.append(f"{some(forgotten, 'series', 'series')} forgotten for lack of room")
    if report.left_out:
        lines.append(f"{some(report.left_out, 'finding')} not shown one by one")
    if report.suspicious:
        of = ", ".join(f"{n:,} {kind.value}" for kind, n in report.counts.items() if kind in report.suspects)
        lines.append(f"{some(report.suspicious, 'finding')} that no handler leaves: {of}")
    else:
        lines.append("nothing found")
    return lines


def _plain(finding: Finding) -> dict[str, object]:
    return {
        "kind": finding.kind.value,
        "partition": finding.partition,
        "offset": finding.offset,
        "count": finding.count,
        "what": finding.what,
        "source": _text(finding.source),
        "key": _text(finding.key),
        "first": finding.first,
        "last": finding.last,
    }


def _text(raw: bytes) -> str:
    return printable(raw[: _MAX_NAME * 4].decode("utf-8", "backslashreplace"), _MAX_NAME)
