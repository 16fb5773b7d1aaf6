"""The keys of the chain: from files, or from where a handler would take its own. Read, never written."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.chain.form import MAX_KEY_BYTES, ChainKeys, key_of
from pipeline.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["own_key", "read_keys"]


def read_keys(files: Sequence[str], environ: Mapping[str, str]) -> ChainKeys:
    """Return the keys of some files, or else that of the environment.

    Args:
        files: one key each.
        environ: the environment, with `TOCSIN_CHAIN_KEY` or `TOCSIN_CHAIN_KEY_FILE`.

    Raises:
        ConfigError: there is none, a file can't be read, or a key is too short or too long.
    """
    if files:
        return ChainKeys(map(_read, files))
    key = own_key(environ)
    if key is None:
        raise ConfigError("no key to verify with: give --key-file, TOCSIN_CHAIN_KEY or TOCSIN_CHAIN_KEY_FILE")
    return ChainKeys([key])


def own_key(environ: Mapping[str, str]) -> bytes | None:
    """Return the key that the environment tells, None if it doesn't.

    Args:
        environ: the environment, with `TOCSIN_CHAIN_KEY` or `TOCSIN_CHAIN_KEY_FILE`.

    Raises:
        ConfigError: the file can't be read, or the key is too short or too long.
    """
    if text := environ.get("TOCSIN_CHAIN_KEY"):
        return _key(os.fsencode(text), "TOCSIN_CHAIN_KEY")
    named = environ.get("TOCSIN_CHAIN_KEY_FILE")
    return _read(named) if named else None


def _read(file: str) -> bytes:
    try:
        with Path(file).open("rb") as opened:
            # With room for a line break at the end, and to see that it is too long.
            secret = opened.read(MAX_KEY_BYTES + 3)
    except OSError as error:
        raise ConfigError(f"can't be read: {error.strerror}", file=file) from error
    return _key(secret, file)


def _key(secret: bytes, origin: str) -> bytes:
    try:
        return key_of(secret)
    except ValueError as error:
        raise ConfigError(str(error), file=origin) from None
