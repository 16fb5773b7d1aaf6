from __future__ import annotations

from typing import TYPE_CHECKING

from tests.chaos.storm import run_storm, storm_installation
from tests.fakes.slack import SlackFake

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Kafka


async def test_storm_makes_few_messages_with_exact_counts_and_keeps_to_retry_after(
    kafka: Kafka, tmp_path: Path
) -> None:
    events, services = 20_000, 5
    async with (
        SlackFake(burst=1.0) as slack,
        storm_installation(kafka.bootstrap_servers, tmp_path, slack) as installation,
    ):
        outcome = await run_storm(installation, slack, events, services)
    assert outcome.counts == [events // services] * services
    assert max(outcome.messages_a_group) <= 3
    assert outcome.throttled > 0
    assert outcome.abuse == 0
