"""The runner: puts the suite's groups to an engine, one line each, and judges the answers.

The engine is any command that reads a JSON line and answers with one. Whatever it does instead (crash, hang,
speak something else) fails the cases of the group; it is started anew for the next.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import tempfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Mapping, Sequence

    from tests.conformance.sigma.suite import Group

__all__ = ["EngineError", "Verdict", "judge", "report", "run"]

_LONGEST_LINE = 64 * 1024 * 1024
_SHOWN_CHARS = 300
_MOST_UNANSWERED = 5
_TWO_ANSWERS = "more than one line came for a request: there is no telling which answers it"


@dataclass(frozen=True)
class Verdict:
    """How one case went.

    Attributes:
        group: the case's group.
        name: the case's name.
        event: its event; empty where the rules must not load.
        failure: what is wrong; empty if nothing.
        whole: whether it befell the group as a whole.
        choice: what was chosen where the specification leaves it open; else empty.
    """

    group: Group
    name: str
    event: str
    failure: str
    whole: bool = False
    choice: str = ""

    @property
    def place(self) -> str:
        """Where the group stands."""
        return f"{self.group.file}:{self.group.line}"


def judge(group: Group, answer: Mapping[str, Any] | str) -> list[Verdict]:  # Any: a foreign engine's JSON
    """Compare an engine's answer with what is expected.

    Args:
        group: what was asked.
        answer: the object that came back, or what went wrong instead.
    """
    whole = _fault(group, answer)
    if not group.cases:
        return [Verdict(group, group.names[0], "", whole, whole=bool(whole), choice=group.choice)]
    if whole or isinstance(answer, str):
        return [
            Verdict(group, case.name, case.event, whole, whole=True, choice=group.choice or case.choice)
            for case in group.cases
        ]
    return [
        Verdict(
            group,
            case.name,
            case.event,
            _difference(case.expected, found, group.labels),
            choice=group.choice or case.choice,
        )
        for case, found in zip(group.cases, answer["matches"], strict=True)
    ]


def _fault(group: Group, answer: Mapping[str, Any] | str) -> str:  # Any: as above
    """Return what is wrong with the answer as a whole, or nothing."""
    if isinstance(answer, str):
        return answer
    reason, matches = answer.get("refused"), answer.get("matches")
    if group.refused:
        return "" if isinstance(reason, str) else "the rules were not refused"
    if isinstance(reason, str):
        return f"the rules were refused: {reason}"
    if not isinstance(matches, list) or len(matches) != len(group.cases):
        return f"no answer to {len(group.cases)} events: {json.dumps(answer)[:_SHOWN_CHARS]}"
    return ""


def _difference(expected: Sequence[str], found: object, labels: Mapping[str, str]) -> str:
    if not isinstance(found, list) or not all(isinstance(rule, str) for rule in found):
        return f"no list of ids: {json.dumps(found)[:_SHOWN_CHARS]}"
    if sorted(found) == list(expected):
        return ""
    if len(labels) == 1 and len(expected) + len(found) == 1:
        return "it should have matched" if expected else "it should not have matched"
    matched, wanted = (sorted(labels.get(rule, rule) for rule in ids) for ids in (found, expected))
    return f"{', '.join(matched) or 'nothing'} matched instead of {', '.join(wanted) or 'nothing'}"


async def run(
    groups: Iterable[Group], command: Sequence[str], *, timeout_s: float = 10.0
) -> AsyncIterator[Verdict]:
    """Yield the verdict on every case.

    Args:
        groups: what to ask.
        command: the engine, a program and its arguments.
        timeout_s: how long it may take to answer a line.

    Raises:
        EngineError: it answers nothing at all.
    """
    answered, unanswered = False, 0
    async with _Engine(command, timeout_s) as engine:
        for group in groups:
            answer = await engine.ask(group.request())
            answered = answered or not isinstance(answer, str)
            unanswered += isinstance(answer, str)
            if not answered and unanswered == _MOST_UNANSWERED:
                # Hundreds of groups would take hours to say the same.
                raise EngineError(f"none of the first {unanswered} groups was answered: {answer}")
            for verdict in judge(group, answer):
                yield verdict


class EngineError(Exception):
    """What was named is no engine."""


class _Engine:
    """A command that answers lines; owns its process, and starts another when that one is of no use."""

    def __init__(self, command: Sequence[str], timeout_s: float) -> None:
        self._command = command
        self._timeout_s = timeout_s
        self._process: asyncio.subprocess.Process | None = None
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 — it lives as long as the engine

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stop()
        self._errors.close()

    async def ask(
        self, request: Mapping[str, object]
    ) -> dict[str, Any] | str:  # Any: a foreign engine's JSON
        """Return the object that the engine answers, or what went wrong instead."""
        if await self._wrote_more():
            # It came too late for the line before; taken for an answer it would shift all others.
            await self._stop()
            return _TWO_ANSWERS
        try:
            async with asyncio.timeout(self._timeout_s):
                line = await self._exchange(json.dumps(request).encode() + b"\n")
        except TimeoutError:
            await self._stop()
            return f"no answer within {self._timeout_s:g} s"
        except OSError as error:
            await self._stop()
            return f"the engine can't be started: {error}"
        except ValueError:
            await self._stop()
            return f"an answer of more than {_LONGEST_LINE} bytes"
        if not line.endswith(b"\n"):
            return await self._ended()
        try:
            answer = json.loads(line)
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            # What else it wrote would be taken for the answer to the next line.
            await self._stop()
            return f"no JSON object: {line[:_SHOWN_CHARS]!r}"
        if await self._wrote_more():
            await self._stop()
            return _TWO_ANSWERS
        return answer

    async def _exchange(self, line: bytes) -> bytes:
        if self._process is None:
            self._errors.seek(0)
            self._errors.truncate()
            self._process = await asyncio.create_subprocess_exec(
                *self._command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=self._errors,
                limit=_LONGEST_LINE,
            )
        process = self._process
        if process.stdin is None or process.stdout is None:
            raise OSError("it has no pipes")
        with contextlib.suppress(ConnectionError):  # it has ended: reading tells
            process.stdin.write(line)
            await process.stdin.drain()
        return await process.stdout.readline()

    async def _wrote_more(self) -> bool:
        """Say whether something is left to read that nobody asked for."""
        if self._process is None or self._process.stdout is None:
            return False
        for _ in range(2):
            # What is in the pipe is taken out of it in one turn of the loop, and is here in the next.
            await asyncio.sleep(0)
        try:
            async with asyncio.timeout(0):
                return bool(await self._process.stdout.read(1))
        except TimeoutError:
            return False

    async def _ended(self) -> str:
        """Return how the engine ended, with the last line that it wrote to standard error."""
        process = self._process
        await self._stop()
        self._errors.seek(0)
        said = self._errors.read().decode(errors="replace").strip().splitlines()
        status = process.returncode if process is not None else None
        return (
            f"the engine ended with status {status}: {said[-1][:_SHOWN_CHARS] if said else 'it said nothing'}"
        )

    async def _stop(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        if process.stdin is not None:
            process.stdin.close()
        try:
            async with asyncio.timeout(min(self._timeout_s, 1.0)):
                await process.wait()
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()


def report(verdicts: Sequence[Verdict]) -> dict[str, Any]:  # Any: it becomes JSON
    """Return the summary: counts in all, by file, by section, and every failure."""
    return {
        **_count(verdicts),
        "specified": _count([v for v in verdicts if not v.choice]),
        "choices": _count([v for v in verdicts if v.choice]),
        "files": _by(verdicts, {v.group.file: None for v in verdicts}, "file"),
        "sections": _by(verdicts, {v.group.section: None for v in verdicts}, "section"),
        "failures": [
            {
                "place": v.place,
                "section": v.group.section,
                "about": v.group.about,
                "choice": v.choice,
                "case": v.name,
                "event": v.event,
                "failure": v.failure,
            }
            for v in verdicts
            if v.failure
        ],
    }


def _by(verdicts: Sequence[Verdict], keys: Iterable[str], attribute: str) -> dict[str, dict[str, int]]:
    return {key: _count([v for v in verdicts if getattr(v.group, attribute) == key]) for key in sorted(keys)}


def _count(verdicts: Sequence[Verdict]) -> dict[str, int]:
    failed = sum(bool(v.failure) for v in verdicts)
    return {"passed": len(verdicts) - failed, "failed": failed}
