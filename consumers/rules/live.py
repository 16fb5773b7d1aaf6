"""Rules that are reloaded while they run: their files are watched, and SIGHUP asks for it at once.

Another thread loads and compiles; the running rules go on. Whatever is wrong with the new ones, they are
refused as a whole and the reason is said. Otherwise they take the others' place between two batches.
"""

from __future__ import annotations

import asyncio
import contextlib
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import msgspec
import structlog

from consumers.rules.background import calm
from consumers.rules.gate import Gate
from consumers.rules.loading import load
from consumers.rules.watch import look
from pipeline.errors import TocsinError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable

    from consumers.rules.cache import RuleCache
    from consumers.rules.loading import Loaded, RuleSources
    from consumers.rules.watch import Seen
    from pipeline.correlate.correlate import Correlate
    from pipeline.detect.detect import Detect
    from pipeline.detect.engine import Engines
    from pipeline.event import LogSource
    from pipeline.sigma.ruleset import RuleSet

__all__ = ["Figures", "LiveRules"]

_LOOK_S = 2.0
# Files change one after the other: how long nothing has to, and how long that is waited for.
_SETTLED_S = 0.5
_MOST_LOOKS = 20
_Made = TypeVar("_Made")
_log = structlog.get_logger("tocsin.rules")


class Figures(msgspec.Struct):
    """What there is to know of the rules that run; for metrics.

    Attributes:
        loaded: how many there are.
        refused: how many were left out of them.
        loaded_ms: when they were loaded, milliseconds since the epoch.
        ok: whether the last reload worked.
        reloads: how many did (`ok`), and how many did not (`refused`).
    """

    loaded: int
    refused: int
    loaded_ms: int
    ok: bool = True
    reloads: dict[str, int] = {}


class LiveRules:
    """The rules that run now.

    Attributes:
        figures: for metrics.
        detecting: what the detect stages' batches go through.
        correlating: what the correlate stage's batches go through.
        detect: the stage that other rules are given to, if there is one here.
        shards: returns the shards of the correlate stage.
    """

    def __init__(self, sources: RuleSources, cache: RuleCache | None, clock_ms: Callable[[], int]) -> None:
        """Load the rules for the first time.

        Args:
            sources: where they are.
            cache: what earlier loads have come to.
            clock_ms: the wall clock.

        Raises:
            ConfigError: a path leads nowhere, or a placeholder or pipeline can't be used.
            RuleError: a rule can't be used, and is not to be left out.
        """
        self._sources = sources
        self._cache = cache
        self._clock_ms = clock_ms
        self._asked = asyncio.Event()
        self._left_out: set[str] = set()
        # Before the first load: what changes from here on is seen.
        self._seen = look(sources)
        self.detecting = Gate()
        self.correlating = Gate()
        self.detect: Detect | None = None
        self.shards: Callable[[], Iterable[Correlate]] = tuple
        loaded = load(sources, cache)
        self._rules = loaded.rules
        self.figures = self._told(loaded, {})

    @property
    def rules(self) -> RuleSet:
        """The rules that run, or will from the next batch on."""
        return self._rules

    def ask(self) -> None:
        """Ask for a reload, whether or not a file has changed."""
        self._asked.set()

    @contextlib.asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        """Watch while the context lasts."""
        async with asyncio.TaskGroup() as tasks:
            task = tasks.create_task(self.run())
            try:
                yield
            finally:
                task.cancel()

    async def run(self, look_s: float = _LOOK_S, settled_s: float = _SETTLED_S) -> None:
        """Watch, and reload where something changes, until cancelled.

        Args:
            look_s: the time between two looks at the files, in seconds.
            settled_s: how long they have to stay as they are before they are loaded, in seconds.
        """
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._asked.wait(), look_s)
            if self._asked.is_set():
                self._asked.clear()
                seen = await asyncio.to_thread(look, self._sources)
            else:
                seen = await asyncio.to_thread(look, self._sources)
                if seen == self._seen:
                    continue
                seen = await self._settled(seen, settled_s)
            # What changes from here on is another change.
            self._seen = seen
            await self.reload()

    async def reload(self) -> bool:
        """Load, and let what was loaded take over; return whether it did."""
        began_s = asyncio.get_running_loop().time()
        prepared = await self._tried(self._prepared)
        if prepared is None:
            return False
        loaded, engines = prepared
        while missing := await self._replaced(loaded.rules, engines):
            # A partition was opened meanwhile: compiled between two batches, its rules would hold up all.
            if await self._tried(partial(self._completed, engines, missing)) is None:
                return False
        reloads = self.figures.reloads
        self.figures = self._told(loaded, {**reloads, "ok": reloads.get("ok", 0) + 1})
        took_s = round(asyncio.get_running_loop().time() - began_s, 3)
        _log.info("rules reloaded", rules=self.figures.loaded, took_s=took_s, files_read=loaded.read)
        return True

    async def _tried(self, work: Callable[[], _Made]) -> _Made | None:
        """Return what another thread makes, or None if that fails: then the reason is said."""
        try:
            return await asyncio.to_thread(work)
        except TocsinError as error:
            self._refuse(str(error))
        except Exception as error:  # noqa: BLE001 — rules that this version fails on must not end what runs
            self._refuse(f"{type(error).__name__}: {error}", exc_info=True)
        return None

    async def _replaced(self, rules: RuleSet, engines: Engines | None) -> frozenset[frozenset[LogSource]]:
        """Let rules take over, unless they lack something: return that."""
        # Both at once: what the new rules detect must find the windows that it belongs to.
        async with self.correlating.between(), self.detecting.between():
            if self.detect is not None and engines is not None:
                if missing := self.detect.missing(engines):
                    return missing
                self.detect.replace(engines)
            self._rules = rules
            for shard in self.shards():
                shard.replace(rules)
        return frozenset()

    def _prepared(self) -> tuple[Loaded, Engines | None]:
        with calm():
            loaded = load(self._sources, self._cache)
            return loaded, self.detect.prepare(loaded.rules) if self.detect is not None else None

    def _completed(self, engines: Engines | None, missing: Iterable[frozenset[LogSource]]) -> bool:
        with calm():
            if engines is not None:
                engines.compile(missing)
        return True

    def _told(self, loaded: Loaded, reloads: dict[str, int]) -> Figures:
        reasons = set(map(str, loaded.refused))
        # What was said once and is still so is not said at each reload.
        for reason in sorted(reasons - self._left_out):
            _log.warning("a rule is left out", reason=reason)
        self._left_out = reasons
        count = sum(loaded.kinds.values())
        return Figures(count, len(loaded.refused), self._clock_ms(), reloads=reloads)

    def _refuse(self, reason: str, *, exc_info: bool = False) -> None:
        self.figures.ok = False
        self.figures.reloads["refused"] = self.figures.reloads.get("refused", 0) + 1
        _log.error(
            "changed rules are refused; those that run go on", reason=reason, exc_info=exc_info or None
        )

    async def _settled(self, seen: Seen, settled_s: float) -> Seen:
        """Return what the files look like once nothing changes, or after having waited long enough."""
        for _ in range(_MOST_LOOKS):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._asked.wait(), settled_s)
            again = await asyncio.to_thread(look, self._sources)
            if again == seen:
                break
            seen = again
        return seen
