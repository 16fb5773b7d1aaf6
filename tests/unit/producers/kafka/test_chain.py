"""The chain's headers: what they hold, over what has arrived, and a key that nothing shows."""

from __future__ import annotations

import hmac
import struct
from typing import TYPE_CHECKING

import pytest

from producers.event.renderer import RenderedEvent
from producers.kafka.chain import Chain, make_chain
from producers.kafka.delivery import KafkaTarget
from producers.kafka.queue import Record

if TYPE_CHECKING:
    from pathlib import Path

    from producers.kafka.chain import Links

KEY = b"0123456789abcdef"


def record(
    seq: int, *, source: bytes = b"s" * 16, key: bytes = b"shop", previous: int | None = None
) -> Record:
    return Record(RenderedEvent(b"%d" % seq, key, 1_000 + seq, "info"), source, seq, previous)


def steps(links: Links, *records: Record) -> list[int]:
    """How far back each record's link goes."""
    return [int.from_bytes(links.header(one)[1][5:-16], "big") for one in records]


@pytest.mark.parametrize("key", [KEY, b"k" * 64, b"k" * 65, b"k" * 200])
def test_header_is_version_key_step_and_hmac_of_record_and_place(key: bytes) -> None:
    chain = Chain(key, "logs")
    links = chain.links(3)
    name, header = links.header(record(7))
    framed = b"".join(struct.pack(">I", len(part)) + part for part in (b"logs", b"s" * 16, b"shop"))
    message = b"tocsin-chain-1" + framed[:8] + framed[8:] + struct.pack(">IQQq", 3, 7, 8, 1_007) + b"7"
    assert name == "chain"
    assert header == (
        b"\x01"
        + hmac.digest(key, b"tocsin-chain-key-id", "sha256")[:4]
        + b"\x08"
        + hmac.digest(key, message, "sha256")[:16]
    )


def test_each_record_follows_the_one_before_of_its_source_and_key() -> None:
    links = Chain(KEY, "logs").links(0)
    assert steps(
        links,
        record(0),
        record(1),
        record(0, key=b"billing"),
        record(0, source=b"t" * 16),
        record(5),
        record(700),
        record(1, key=b"billing"),
    ) == [1, 1, 1, 1, 4, 695, 1]


def test_batch_that_is_sent_again_gets_the_same_headers() -> None:
    chain = Chain(KEY, "logs")
    chain.arrived([record(0), record(1)])
    batch = [record(2), record(4)]
    first, second = chain.links(0), chain.links(0)
    assert [first.header(one) for one in batch] == [second.header(one) for one in batch]


def test_refused_batch_is_skipped_by_the_next() -> None:
    chain = Chain(KEY, "logs")
    chain.arrived([record(0), record(1)])
    assert steps(chain.links(0), record(2), record(3)) == [1, 1]
    assert steps(chain.links(0), record(4)) == [3]


def test_records_of_a_process_that_was_killed_follow_what_was_kept_with_them() -> None:
    chain = Chain(KEY, "logs")
    assert steps(chain.links(0), record(9, previous=6), record(10, previous=9)) == [3, 1]
    # Where nothing was kept they begin, and what has arrived since is known better here.
    assert steps(chain.links(0), record(9)) == [10]
    chain.arrived([record(10)])
    assert steps(chain.links(0), record(12, previous=11)) == [2]
    # Once more, though it arrived: the same header.
    assert steps(chain.links(0), record(10, previous=9)) == [1]


def test_sources_that_are_long_silent_are_forgotten() -> None:
    chain = Chain(KEY, "logs")
    ours = record(0)
    chain.arrived([ours])
    for n in range(500):
        chain.arrived([record(0, source=b"%016d" % n), ours])
    assert steps(chain.links(0), record(1)) == [1]
    assert steps(chain.links(0), record(1, source=b"%016d" % 0)) == [2]
    assert len(chain._sources) <= 64


@pytest.mark.parametrize("key", [b"", b"short", "0123456789abcde", b"0123456789abcde\n", b"k" * 5_000])
def test_key_that_is_none_is_refused_without_showing_it(key: bytes | str) -> None:
    with pytest.raises(ValueError, match=r"^chain_key must have 16 to 4,096 bytes, not [\d,]+$"):
        make_chain(key, None, "logs")


def test_key_is_the_same_from_text_bytes_and_a_file_with_a_line_break(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_bytes(KEY + b"\r\n")
    chains = [
        make_chain(KEY, None, "logs"),
        make_chain(KEY.decode(), None, "logs"),
        make_chain(KEY.decode() + "\n", None, "logs"),
        make_chain(None, str(file), "logs"),
        make_chain(None, file, "logs"),
    ]
    assert len({chain.links(0).header(record(0)) for chain in chains}) == 1


def test_file_with_no_key_is_named(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_bytes(b"secret-but-short")
    make_chain(None, file, "logs")
    file.write_bytes(b"secret")
    with pytest.raises(ValueError, match=r"the key in .*key must have 16 to 4,096 bytes, not 6"):
        make_chain(None, file, "logs")
    with pytest.raises(FileNotFoundError):
        make_chain(None, tmp_path / "none", "logs")


def test_nothing_shows_the_key() -> None:
    chain = Chain(KEY, "logs")
    target = KafkaTarget("h:1", "logs", None, 5, chain=chain)
    shown = f"{chain!r} {target!r} {chain.links(0)!r} {vars(chain)!r}"
    assert KEY.decode() not in shown
    assert chain.key_id.hex() in repr(target)
