"""Workers whose rules change while they run: the running ones go on until better ones are ready."""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING

from tests.chaos.workers import Installation

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tests.chaos.workers import Worker
    from tests.conftest import Kafka

_OK = 'tocsin_rule_reloads_total{result="ok"}'
_REFUSED = 'tocsin_rule_reloads_total{result="refused"}'


def rules(**words: str) -> str:
    """Return rules by name, each looking for a word, and a correlation of two events of the first."""
    texts = [
        f"title: {name}\nname: {name}\nlogsource: {{category: application}}\n"
        f"detection: {{s: {{event|contains: {word}}}, condition: s}}\n"
        for name, word in words.items()
    ]
    texts.append(
        f"title: many\nname: many\ncorrelation:\n  type: event_count\n  rules: [{next(iter(words))}]\n"
        "  group-by: [service]\n  timespan: 1h\n  condition: {gte: 2}\n  generate: true\n"
    )
    return "---\n".join(texts)


class Reloading:
    """An installation with a worker, and what is asked of both."""

    def __init__(self, installation: Installation, worker: Worker) -> None:
        self._installation = installation
        self._second = 0
        self.worker = worker

    def write(self, text: str) -> None:
        (self._installation.directory / "rules.yml").write_text(text, "utf-8")

    async def shows(self, name: str, value: float) -> Mapping[str, float]:
        return await self.worker.shows(lambda m: m.get(name) == value)

    async def log(self, *words: str) -> None:
        """Log events, and wait until they have gone through both stages."""
        for word in words:
            self._second += 1
            event = {
                "timestamp": f"2026-03-01T10:00:{self._second:02}Z",
                "service": "shop",
                "event": f"{word} {self._second}",
            }
            value = json.dumps(event).encode()
            await self._installation.write(self._installation.topics.logs, value, key=b"shop")
        await self._installation.correlated()

    async def firing(self) -> dict[str, int]:
        """Return the counts of the alerts that fire, by title."""
        alerts = (await self._installation.final_alerts()).values()
        return {a.labels["alertname"]: a.count for a in alerts if a.ends_at is None}

    async def all_told(self) -> set[str]:
        return {a.labels["alertname"] for a in (await self._installation.final_alerts()).values()}


async def test_rules_of_a_running_worker_change_whole_or_not_at_all(kafka: Kafka, tmp_path: Path) -> None:
    more = {"lateness": "0s"}
    first = rules(boom="boom", stays="knock")
    async with Installation(kafka.bootstrap_servers, tmp_path, rules=first, more=more) as installation:
        worker = await installation.start(environment={"TOCSIN_CACHE": str(tmp_path / "cache")})
        await worker.ready()
        job = Reloading(installation, worker)
        await job.log("boom", "knock")
        assert await job.firing() == {"boom": 1, "stays": 1}

        # Asked for by a signal.
        job.write(rules(bang="bang", stays="knock"))
        worker.process.send_signal(signal.SIGHUP)
        await job.shows(_OK, 1)
        await job.log("boom", "bang", "knock", "bang")
        # The rule that has gone is told as ended; the one that stays goes on to count.
        firing = await job.firing()
        assert "boom" not in firing
        assert (firing["bang"], firing["stays"], firing["many"]) == (2, 2, 2)

        # Seen without a signal, and refused as a whole.
        job.write(rules(crash="crash", stays="knock") + "---\ntitle: [\n")
        shown = await job.shows(_REFUSED, 1)
        assert (shown["tocsin_rule_reload_ok"], shown["tocsin_rules_loaded"]) == (0, 3)
        await job.log("crash", "bang")
        assert "crash" not in await job.all_told()
        assert (await job.firing())["bang"] == 3

        # Mended.
        job.write(rules(crash="crash", stays="knock", bang="bang"))
        shown = await job.shows(_OK, 2)
        assert (shown["tocsin_rule_reload_ok"], shown["tocsin_rules_loaded"]) == (1, 4)
        await job.log("crash", "bang")
        firing = await job.firing()
        assert (firing["crash"], firing["bang"], firing["stays"]) == (1, 4, 2)
        assert await worker.stop() == 0
        assert "Traceback" not in worker.log.read_text()


async def test_partitions_that_come_later_have_the_new_rules(kafka: Kafka, tmp_path: Path) -> None:
    more = {"lateness": "0s"}
    cache = {"TOCSIN_CACHE": str(tmp_path / "cache")}
    first = rules(boom="boom")
    async with Installation(kafka.bootstrap_servers, tmp_path, rules=first, more=more) as installation:
        staying, leaving = [await installation.start(environment=cache) for _ in range(2)]
        for worker in (staying, leaving):
            await worker.ready()
            await worker.shows(lambda m: sum(k.startswith("tocsin_lag_records") for k in m) == 6)
        job = Reloading(installation, staying)
        job.write(rules(bang="bang"))
        for worker in (staying, leaving):
            await worker.shows(lambda m: m.get(_OK) == 1)
        assert await leaving.stop() == 0
        await staying.shows(lambda m: sum(k.startswith("tocsin_lag_records") for k in m) == 12)
        await job.log("boom", "bang", "bang")
        assert await job.firing() == {"bang": 2, "many": 2}
