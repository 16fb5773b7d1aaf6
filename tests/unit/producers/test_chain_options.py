"""Where a handler takes the key of its chain from, and that nothing of it shows."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from producers import KafkaHandler
from producers.kafka.chain import Chain
from producers.kafka.sink import KafkaSink
from producers.options import settle

if TYPE_CHECKING:
    from pathlib import Path

KEY = "a key of thirty-two characters!!"


@pytest.fixture(autouse=True)
def no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TOCSIN_CHAIN_KEY", raising=False)
    monkeypatch.delenv("TOCSIN_CHAIN_KEY_FILE", raising=False)


def chain_of(handler: KafkaHandler) -> Chain | None:
    handler.close()
    assert isinstance(handler.sink, KafkaSink)
    return handler.sink._target.chain


def key_id(handler: KafkaHandler) -> bytes | None:
    chain = chain_of(handler)
    return chain.key_id if chain else None


def test_without_a_key_there_is_no_chain_nor_its_code() -> None:
    assert chain_of(KafkaHandler(bootstrap_servers="h:1")) is None
    code = (
        "import sys, producers; producers.KafkaHandler(bootstrap_servers='h:1')\n"
        "assert 'producers.kafka.chain' not in sys.modules"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, timeout=60)


def test_key_comes_from_options_before_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "key"
    file.write_text(KEY + "\n")
    ours = Chain(KEY.encode(), "logs").key_id
    assert key_id(KafkaHandler(bootstrap_servers="h:1", chain_key=KEY)) == ours
    assert key_id(KafkaHandler(bootstrap_servers="h:1", chain_key=KEY.encode())) == ours
    assert key_id(KafkaHandler(bootstrap_servers="h:1", chain_key_file=file)) == ours
    monkeypatch.setenv("TOCSIN_CHAIN_KEY_FILE", str(file))
    assert key_id(KafkaHandler(bootstrap_servers="h:1")) == ours
    monkeypatch.setenv("TOCSIN_CHAIN_KEY", "another key from the environment")
    assert key_id(KafkaHandler(bootstrap_servers="h:1")) not in {ours, None}
    assert key_id(KafkaHandler(bootstrap_servers="h:1", chain_key=KEY)) == ours
    assert key_id(KafkaHandler(bootstrap_servers="h:1", chain_key_file=file)) == ours


def test_key_of_the_environment_may_be_any_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = bytes(range(128, 160))
    monkeypatch.setenv("TOCSIN_CHAIN_KEY", raw.decode("utf-8", "surrogateescape"))
    assert key_id(KafkaHandler(bootstrap_servers="h:1")) == Chain(raw, "logs").key_id


def test_two_keys_or_a_key_for_a_file_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="give either chain_key or chain_key_file, not both"):
        KafkaHandler(chain_key=KEY, chain_key_file="file")
    with pytest.raises(ValueError, match="a chain key has no effect with path"):
        KafkaHandler(path=tmp_path / "log", chain_key=KEY)
    # The environment is the same for whatever runs there.
    monkeypatch.setenv("TOCSIN_CHAIN_KEY", KEY)
    KafkaHandler(path=tmp_path / "log").close()


def test_key_that_is_too_short_is_refused_at_the_start() -> None:
    with pytest.raises(ValueError, match=r"^chain_key must have 16 to 4,096 bytes, not 6$"):
        KafkaHandler(chain_key="secret")
    with pytest.raises(ValueError, match=r"not 0$"):
        KafkaHandler(chain_key="")


@pytest.mark.parametrize("key", [KEY, KEY.encode()])
def test_options_do_not_show_the_key(key: str | bytes) -> None:
    assert KEY not in repr(settle({"chain_key": key}))
