"""pySigma's processing pipelines: what turns a rule's fields and log source into those of the events.

They are files, or the names of installed packages' pipelines. pySigma is not imported before a rule has to
be read; all it takes until then is what tells one set of pipelines from another.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import inspect
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from pipeline.document import documents
from pipeline.errors import ConfigError, nearest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sigma.processing.pipeline import ProcessingPipeline

__all__ = ["Processing", "find_processing"]


class Processing(msgspec.Struct, frozen=True):
    """Pipelines that are applied one after the other.

    Attributes:
        digest: tells their content from any other; empty for none.
        parts: name as written → the text of its file, or an installed pipeline. Any: pySigma's pipelines are
            objects, or functions that make them.
    """

    digest: str = ""
    parts: dict[str, str | Any] = {}

    def made(self) -> ProcessingPipeline | None:
        """Return all of them as one, in the order of their priorities, as pySigma's resolver has it.

        Raises:
            ConfigError: a pipeline is none.
        """
        if not self.parts:
            return None
        made = [(name, _made(name, part)) for name, part in self.parts.items()]
        first, *others = sorted(made, key=lambda item: (item[1].priority, item[0]))
        pipeline = first[1]
        for _, other in others:
            pipeline += other
        return pipeline


def find_processing(names: Sequence[str]) -> Processing:
    """Find pipelines.

    Args:
        names: of files, or of installed pipelines.

    Raises:
        ConfigError: there is no such pipeline, or a file holds no YAML.
    """
    if not names:
        return Processing()
    digest = hashlib.sha256()
    parts: dict[str, str | Any] = {}  # Any: as above
    installed: Mapping[str, Any] | None = None  # Any: likewise
    for name in names:
        if Path(name).is_file():
            parts[name] = content = _text(name)
        else:
            installed = _installed() if installed is None else installed
            if name not in installed:
                hint = nearest(name, installed) if installed else "none is installed"
                raise ConfigError(
                    f"no pipeline {name!r}: no such file (seen from {Path.cwd()}) and none installed; {hint}",
                    path="pipelines",
                )
            parts[name] = installed[name]
            content = _version(installed[name])
        digest.update(f"{len(name)}:{name}{len(content)}:{content}".encode())
    return Processing(digest.hexdigest(), parts)


def _text(file: str) -> str:
    try:
        text = Path(file).read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(f"not UTF-8: {error.reason} at byte {error.start}", file=file) from error
    except OSError as error:
        raise ConfigError(error.strerror or str(error), file=file) from error
    for document in documents(text, file):
        if not isinstance(document.data, dict):
            raise document.error("a pipeline is a mapping with name, priority and transformations")
    return text


def _made(name: str, part: str | Any) -> ProcessingPipeline:  # Any: as in `Processing`
    # pySigma takes half a second to import, and is not needed where every rule comes from the cache.
    import yaml  # noqa: PLC0415 — see above
    from sigma.exceptions import SigmaError  # noqa: PLC0415 — see above
    from sigma.processing.pipeline import ProcessingPipeline  # noqa: PLC0415 — see above

    try:
        if isinstance(part, str):
            return ProcessingPipeline.from_yaml(part, source_path=name)
        made = part() if callable(part) else part
    # What pySigma raises where a key is missing or of another type is Python's own as often as not.
    except (SigmaError, yaml.YAMLError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise ConfigError(f"no processing pipeline: {type(error).__name__}: {error}", file=name) from error
    if not isinstance(made, ProcessingPipeline):
        raise ConfigError(f"no processing pipeline but {type(made).__name__}", file=name)
    return made


def _installed() -> Mapping[str, Any]:  # Any: as in `Processing`
    """Return the pipelines of installed packages by name."""
    # Imports a client of HTTP as well, for a directory of plugins that is never asked here.
    from sigma.plugins import InstalledSigmaPlugins  # noqa: PLC0415 — slow, and seldom needed

    return InstalledSigmaPlugins.autodiscover(include_backends=False, include_validators=False).pipelines


def _version(pipeline: Any) -> str:  # Any: as in `Processing`
    """Return what changes with an installed pipeline: its source file, and the versions of all plugins."""
    function = getattr(pipeline, "func", None) or pipeline
    source = inspect.getsourcefile(function if inspect.isroutine(function) else type(function))
    content = hashlib.sha256(Path(source).read_bytes()).hexdigest() if source else ""
    found = ((d.metadata["Name"].lower(), d.version) for d in importlib.metadata.distributions())
    plugins = sorted(f"{name} {version}" for name, version in found if "sigma" in name)
    return "\n".join((content, *plugins))
