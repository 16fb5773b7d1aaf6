"""Words on sources: bounded in number, added up, and data only."""

from __future__ import annotations

import orjson
import pytest

from pipeline.detect import words
from pipeline.detect.silence import Service
from pipeline.detect.words import SourceCounts, SourceEvent, Words

NOW_MS = 1_795_537_450_000


def service(name: str) -> Service:
    return Service(name.encode())


def fields(event: SourceEvent) -> dict[str, object]:
    told = orjson.loads(event.value)
    assert isinstance(told, dict)
    return told


def test_word_is_an_event_of_its_service() -> None:
    said = Words(SourceCounts())
    orders = service("orders")
    orders.environment = "production"
    said.lost(orders, b"00c0ffee", "web-1", 10, 221)
    (event,) = said.due(NOW_MS, NOW_MS - 5)
    assert (event.key, event.time_ms, event.text) == (
        b"orders",
        NOW_MS - 5,
        "212 records of orders were lost",
    )
    assert fields(event) == {
        "timestamp": "2026-11-24T16:24:09.995Z",
        "level": "warning",
        "event": "212 records of orders were lost",
        "logger": "tocsin.sources",
        "service": "orders",
        "environment": "production",
        "host": "web-1",
        "finding": "lost",
        "lost": 212,
        "sources": 1,
        "source": "00c0ffee",
        "from_seq": 10,
        "to_seq": 221,
    }


def test_losses_of_a_service_are_told_at_once_and_then_added_up_for_a_minute() -> None:
    said = Words(SourceCounts())
    orders = service("orders")
    told = []
    for second in range(130):
        said.lost(orders, b"s", "", 10 * second, 10 * second)
        told += [(second, fields(e)["lost"]) for e in said.due(NOW_MS + 1_000 * second, NOW_MS)]
    assert told == [(0, 1), (60, 60), (120, 60)]


def test_losses_of_several_sources_name_none_of_them_nor_a_host_that_differs() -> None:
    said = Words(SourceCounts())
    orders = service("orders")
    said.lost(orders, b"s1", "web-1", 0, 1)
    said.lost(orders, b"s2", "web-2", 0, 1)
    told = fields(said.due(NOW_MS, NOW_MS)[0])
    assert (told["lost"], told["sources"], told["host"]) == (4, 2, "")
    assert {"source", "from_seq", "to_seq"}.isdisjoint(told)


def test_gaps_of_one_source_are_told_from_the_first_to_the_last() -> None:
    said = Words(SourceCounts())
    orders = service("orders")
    said.lost(orders, b"s1", "web-1", 5, 6)
    said.lost(orders, b"s1", "web-1", 9, 9)
    told = fields(said.due(NOW_MS, NOW_MS)[0])
    assert (told["lost"], told["from_seq"], told["to_seq"], told["host"]) == (3, 5, 9, "web-1")


def test_silence_and_return_are_told_at_once_each() -> None:
    said = Words(SourceCounts())
    orders = service("orders")
    for n in range(3):
        said.silent(orders, 300_000)
        said.back(orders, 420_000)
        told = [fields(e) for e in said.due(NOW_MS + n, NOW_MS)]
        assert [(t["event"], t["level"], t["finding"], t["silent_s"]) for t in told] == [
            ("orders fell silent", "warning", "silent", 300),
            ("orders is back", "info", "back", 420),
        ]


def test_words_beyond_what_a_minute_takes_wait_for_the_next() -> None:
    said = Words(SourceCounts())
    for n in range(150):
        said.silent(service(f"s{n}"), 300_000)
    told = [len(said.due(NOW_MS + 1_000 * second, NOW_MS)) for second in range(121)]
    assert (told[0], told[60], told[120], sum(told)) == (60, 60, 30, 150)


def test_words_beyond_the_room_for_them_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(words, "_MAX_WAITING", 10)
    counts = SourceCounts()
    said = Words(counts)
    for n in range(15):
        said.silent(service(f"s{n}"), 300_000)
    said.lost(service("s0"), b"s", "", 0, 0)
    assert counts.untold == 6
    assert len(said.due(NOW_MS, NOW_MS)) == 10


def test_clock_that_is_set_back_holds_no_word_up() -> None:
    said = Words(SourceCounts())
    orders = service("orders")
    said.lost(orders, b"s", "", 0, 0)
    said.due(NOW_MS, NOW_MS)
    said.lost(orders, b"s", "", 2, 2)
    assert said.due(NOW_MS, NOW_MS) == []
    assert len(said.due(NOW_MS - 3_600_000, NOW_MS)) == 1


@pytest.mark.parametrize("name", ['x","lost":9,"a":"', "x\ny\x00", "<!channel> *x*", "", "\ud83d\ude00"])
def test_name_of_a_service_stays_data(name: str) -> None:
    said = Words(SourceCounts())
    hostile = Service(name.encode("utf-8", "surrogatepass"))
    said.silent(hostile, 300_000)
    told = fields(said.due(NOW_MS, NOW_MS)[0])
    assert told["service"] == hostile.name
    assert set(told) == {
        *("timestamp", "level", "event", "logger", "service", "environment", "host", "finding", "silent_s")
    }
