from __future__ import annotations

import hashlib
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from jgo.maven import MavenContext

from consumers.broker import default_cache
from consumers.broker.jars import Jar, _fetch, fetch_jars, locked_jars
from pipeline.errors import TocsinError

if TYPE_CHECKING:
    from collections.abc import Iterator

CONTENT = b"the bytes of a jar" * 1000


@pytest.fixture
def jar() -> Jar:
    return Jar("org.example", "thing", "1.0", hashlib.sha256(CONTENT).hexdigest(), len(CONTENT))


@pytest.fixture
def served(tmp_path: Path) -> Path:
    return tmp_path / "served"


@pytest.fixture
def context(tmp_path: Path, served: Path) -> Iterator[MavenContext]:
    """A Maven repository on loopback, as jgo sees it."""
    served.mkdir()
    handler = partial(SimpleHTTPRequestHandler, directory=str(served))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield MavenContext(
            repo_cache=tmp_path / "cache",
            remote_repos={"loopback": f"http://127.0.0.1:{server.server_port}"},
        )
        server.shutdown()
        thread.join()


def put(jar: Jar, repository: Path, content: bytes) -> None:
    jar.path(repository).parent.mkdir(parents=True)
    jar.path(repository).write_bytes(content)


def test_lock_names_the_broker_and_each_jar_once() -> None:
    jars = list(locked_jars())
    assert ("kafka_2.13", "4.3.1") in {(jar.name, jar.version) for jar in jars}
    assert len({(jar.group, jar.name) for jar in jars}) == len(jars)
    assert all(len(bytes.fromhex(jar.sha256)) == 32 and jar.size_bytes > 0 for jar in jars)


def test_jar_is_fetched_where_maven_keeps_it(
    jar: Jar, context: MavenContext, served: Path, tmp_path: Path
) -> None:
    put(jar, served, CONTENT)
    _fetch(jar, context, tmp_path / "cache")
    assert (tmp_path / "cache/org/example/thing/1.0/thing-1.0.jar").read_bytes() == CONTENT


@pytest.mark.parametrize("found", [CONTENT[:-1], CONTENT[:-1] + b"!", b""])
def test_damaged_jar_in_the_cache_is_fetched_again(
    jar: Jar, context: MavenContext, served: Path, tmp_path: Path, found: bytes
) -> None:
    put(jar, served, CONTENT)
    put(jar, tmp_path / "cache", found)
    assert not jar.is_at(jar.path(tmp_path / "cache"))
    _fetch(jar, context, tmp_path / "cache")
    assert jar.is_at(jar.path(tmp_path / "cache"))


def test_jar_with_other_content_is_refused_and_not_kept(
    jar: Jar, context: MavenContext, served: Path, tmp_path: Path
) -> None:
    put(jar, served, CONTENT[:-1] + b"!")
    with pytest.raises(
        TocsinError, match=r"org\.example:thing:1\.0: what came is not the file of jars\.lock"
    ):
        _fetch(jar, context, tmp_path / "cache")
    assert not jar.path(tmp_path / "cache").exists()


def test_jar_that_is_not_to_be_had_is_named(jar: Jar, context: MavenContext, tmp_path: Path) -> None:
    with pytest.raises(TocsinError, match=r"can't fetch Kafka's org\.example:thing:1\.0: .*not found"):
        _fetch(jar, context, tmp_path / "cache")


def test_missing_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jgo.maven", None)
    with pytest.raises(TocsinError, match=r"install tocsin\[broker\]"):
        fetch_jars(tmp_path)


def test_cache_follows_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOCSIN_CACHE", "/chosen")
    assert default_cache() == Path("/chosen/kafka")
    monkeypatch.delenv("TOCSIN_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/xdg")
    assert default_cache() == Path("/xdg/tocsin/kafka")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert default_cache() == Path.home() / ".cache" / "tocsin" / "kafka"
