"""Loading: rule files, rules in Python and what the configuration adds, as one set.

A file is read by pySigma once; after that what it came to is in the cache, under a key made of its text, its
name, the options and the reader's own source. With every file there, pySigma is not even imported.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import re
from collections import Counter
from functools import cache as remembered
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

import pipeline.sigma
from consumers.rules.cache import Entries
from consumers.rules.files import read_text, rule_files
from consumers.rules.forms import from_bytes, to_bytes
from consumers.rules.placeholders import placeholder_values
from consumers.rules.processing import Processing, find_processing
from consumers.rules.python_files import python_rules
from consumers.wording import some
from pipeline.config.model import PlaceholderFile
from pipeline.errors import RuleError
from pipeline.python_rule import PythonRule
from pipeline.sigma.form import Correlation, Filter, Rule
from pipeline.sigma.reader.options import NO_OPTIONS, Options
from pipeline.sigma.ruleset import RuleSet

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from consumers.rules.cache import RuleCache
    from consumers.rules.forms import Form

__all__ = ["Loaded", "RuleSources", "load", "load_rules", "load_usable", "reading_options"]

# What else decides how a rule is read, beside the modules of `pipeline.sigma`.
_READ_BY = ("document.py", "duration.py", "errors.py", "event.py")
_PACKAGES = ("pysigma", "pyyaml", "google-re2", "msgspec")
# The modifier, and the ways in which YAML can write it so that it is not seen in the text.
_PLACED = re.compile(r"expand|\\(?:x[0-9A-Fa-f]{2}|u[0-9A-Fa-f]{4}|U[0-9A-Fa-f]{8}|\r?\n)")

_Loadable = Rule | Correlation | Filter | PythonRule


class RuleSources(msgspec.Struct, frozen=True):
    """Where rules come from, as it is configured; files are seen from the working directory.

    Attributes:
        paths: rule files and folders.
        python: files of rules in Python.
        placeholders: name → values, or the file that holds them.
        pipelines: files or names of pySigma's processing pipelines.
        skip: whether a rule that can't be used is left out, instead of being an error.
    """

    paths: tuple[str, ...]
    python: tuple[str, ...] = ()
    placeholders: dict[str, list[str | int | float] | PlaceholderFile] = {}
    pipelines: tuple[str, ...] = ()
    skip: bool = False


def reading_options(sources: RuleSources) -> Options:
    """Return how rules are read, for whoever reads them one by one.

    Args:
        sources: where the placeholders and pipelines are.

    Raises:
        ConfigError: a placeholder or pipeline can't be used.
    """
    pipelines = find_processing(sources.pipelines)
    return _with_pipelines(Options(placeholders=placeholder_values(sources.placeholders)), pipelines)


class Loaded(msgspec.Struct, frozen=True):
    """What was loaded.

    Attributes:
        rules: the set.
        kinds: how many there are of each kind: `detection`, `correlation`, `filter`, `python`.
        refused: why rules were left out, a word for each.
        read: files that had to be read.
        cached: files that the cache knew.
    """

    rules: RuleSet
    kinds: dict[str, int]
    refused: tuple[RuleError, ...]
    read: int
    cached: int


def load(sources: RuleSources, cache: RuleCache | None = None) -> Loaded:
    """Load all rules anew, and what their reading depends on.

    Args:
        sources: where they are.
        cache: what earlier loads have come to.

    Raises:
        ConfigError: a path leads nowhere, or a placeholder or pipeline can't be used.
        RuleError: a rule can't be used, and is not to be left out.
    """
    pipelines = find_processing(sources.pipelines)
    options = Options(
        placeholders=placeholder_values(sources.placeholders), processing_digest=pipelines.digest
    )
    reader = _Reader(options, pipelines)
    return _load(reader, rule_files(sources.paths), sources.python, cache, skip=sources.skip)


def load_rules(
    paths: Iterable[str],
    options: Options = NO_OPTIONS,
    *,
    cache: RuleCache | None = None,
    python: Sequence[str] = (),
) -> RuleSet:
    """Read all rules under `paths`.

    Args:
        paths: rule files, and folders that are searched whole.
        options: placeholders, and a processing pipeline.
        cache: what earlier loads have come to; without one every file is read.
        python: files of rules in Python.

    Raises:
        ConfigError: a path leads nowhere.
        RuleError: a rule can't be used; it names file, line and path within.
    """
    reader = _Reader(options, Processing())
    return _load(reader, rule_files(paths), python, cache, skip=False).rules


def load_usable(
    paths: Iterable[str],
    options: Options = NO_OPTIONS,
    *,
    cache: RuleCache | None = None,
    python: Sequence[str] = (),
) -> Loaded:
    """Read all rules under `paths`, and leave out those that can't be used.

    Args:
        paths: rule files, and folders that are searched whole.
        options: placeholders, and a processing pipeline.
        cache: what earlier loads have come to; without one every file is read.
        python: files of rules in Python.

    Raises:
        ConfigError: a path leads nowhere.
    """
    reader = _Reader(options, Processing())
    return _load(reader, rule_files(paths), python, cache, skip=True)


def _load(
    reader: _Reader, files: Sequence[Path], python: Sequence[str], cache: RuleCache | None, *, skip: bool
) -> Loaded:
    usable: list[_Loadable] = []
    refused: list[RuleError] = []
    with cache.entries() if cache else contextlib.nullcontext(Entries({}, 0)) as entries:
        for form in _forms(reader, files, python, entries):
            if isinstance(form, RuleError):
                refused.append(form)
            else:
                usable.append(form)
    if refused and not skip:
        raise _first_of(refused)
    rules = _together(usable, refused, skip=skip)
    kinds = Counter(_kind(rule) for rule in usable)
    return Loaded(rules, dict(kinds), tuple(refused), len(files) - entries.hits, entries.hits)


def _first_of(refused: Sequence[RuleError]) -> RuleError:
    """Return the first of several errors; it says that there are more."""
    first = refused[0]
    if len(refused) == 1:
        return first
    more = some(len(refused) - 1, "other rule")
    told = f"and {more} can't be used; `tocsin lint` lists them, --skip-bad-rules leaves them out"
    return RuleError(f"{first.message} ({told})", file=first.file, line=first.line, path=first.path)


def _forms(
    reader: _Reader, files: Iterable[Path], python: Iterable[str], entries: Entries
) -> Iterator[Form | PythonRule]:
    """Yield what there is in all files, and the errors where something is none."""
    for file in files:
        try:
            text = read_text(file)
        except RuleError as error:
            yield error
            continue
        yield from reader.forms(text, str(file), entries)
    for name in python:
        try:
            yield from python_rules(name)
        except RuleError as error:
            yield error


def _together(usable: list[_Loadable], refused: list[RuleError], *, skip: bool) -> RuleSet:
    """Return the rules as a set; those that don't go together with others are moved to the refused."""
    while True:
        try:
            return RuleSet(usable)
        except RuleError as error:
            kept = [r for r in usable if (r.about.file, r.about.line) != (error.file, error.line)]
            if not skip or len(kept) == len(usable):
                raise
            refused.append(error)
            usable[:] = kept


def _kind(rule: _Loadable) -> str:
    match rule:
        case Rule():
            return "detection"
        case Correlation():
            return "correlation"
        case Filter():
            return "filter"
        case _:
            return "python"


class _Reader:
    """Reads texts with the same options; pySigma comes in with the first one that the cache does not know."""

    def __init__(self, options: Options, pipelines: Processing) -> None:
        self._options = options
        self._pipelines = pipelines
        self._ready: Options | None = None
        placed = repr(sorted(options.placeholders.items()))
        self._always = f"{_version()}\0{options.processing_digest}\0"
        self._placed = hashlib.sha256(placed.encode("utf-8", "surrogatepass")).hexdigest()

    def forms(self, text: str, file: str, entries: Entries) -> tuple[Form, ...]:
        """Return what a text holds, from the cache if it is there."""
        key = self._key(text, file)
        if key is not None and (data := entries.get(key)) is not None:
            if (kept := from_bytes(data)) is not None:
                return kept
            entries.hits -= 1
        forms = self._read(text, file)
        if key is not None and (data := to_bytes(forms)) is not None:
            entries.put(key, data)
        return forms

    def _key(self, text: str, file: str) -> bytes | None:
        """Return a digest of all that decides what a text is read as, or None where that is not known."""
        options = self._options
        if options.processing is not None and not options.processing_digest:
            return None
        # Only where placeholders may stand do their values matter: a list that changes costs few rules.
        placed = self._placed if options.processing_digest or _PLACED.search(text) else ""
        parts = (f"{self._always}{placed}", file, text)
        whole = "".join(f"{len(part)}:{part}" for part in parts)
        return hashlib.sha256(whole.encode("utf-8", "surrogatepass")).digest()

    def _read(self, text: str, file: str) -> tuple[Form, ...]:
        # pySigma takes half a second to import, and is not needed where every rule comes from the cache.
        from pipeline.sigma.reader.read import read_each  # noqa: PLC0415 — see above

        if self._ready is None:
            self._ready = _with_pipelines(self._options, self._pipelines)
        return tuple(read_each(text, file, self._ready))


def _with_pipelines(options: Options, pipelines: Processing) -> Options:
    made = pipelines.made()
    return (
        options if made is None else Options(options.placeholders, made, processing_digest=pipelines.digest)
    )


@remembered
def _version() -> str:
    """Return what changes when rules may be read in another way: the reader's source, the packages it uses.

    It is found once: a process goes on with the code that it has begun with.
    """
    digest = hashlib.sha256()
    for folder in pipeline.sigma.__path__:
        sources = sorted(Path(folder).rglob("*.py"))
        for source in (*sources, *(Path(folder).parent / name for name in _READ_BY)):
            digest.update(source.read_bytes())
    for package in _PACKAGES:
        # Where packages have come without their metadata, our own source has to tell.
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            digest.update(f"{package} {importlib.metadata.version(package)}\n".encode())
    return digest.hexdigest()
