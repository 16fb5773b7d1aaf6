"""What services log under load is what arrives, to the record, however they end."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.accounts.scenarios import SCENARIOS, killed_with_spool, terminated

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Kafka


async def test_service_that_is_told_to_end_while_its_threads_log_loses_nothing(
    kafka: Kafka, tmp_path: Path
) -> None:
    account = await terminated(kafka, tmp_path, rounds=3)
    assert account.logged > 6_000
    assert (account.dropped, account.balanced) == (0, True)


async def test_service_with_a_spool_that_is_killed_loses_nothing(kafka: Kafka, tmp_path: Path) -> None:
    account = await killed_with_spool(kafka, tmp_path, rounds=3)
    assert account.logged > 6_000
    assert (account.dropped, account.balanced) == (0, True)


@pytest.mark.parametrize(("name", "sources"), [("forks", 51), ("threads", 1)])
async def test_forks_and_threads_lose_nothing(kafka: Kafka, tmp_path: Path, name: str, sources: int) -> None:
    account = await SCENARIOS[name](kafka, tmp_path)
    assert (account.dropped, account.balanced, account.seen.sources) == (0, True, sources)


async def test_full_queue_is_accounted_for(kafka: Kafka, tmp_path: Path) -> None:
    account = await SCENARIOS["full-queue"](kafka, tmp_path)
    assert account.dropped > 1_000
    assert (account.balanced, account.seen.gaps, account.seen.told) == (
        True,
        account.dropped,
        account.dropped,
    )
