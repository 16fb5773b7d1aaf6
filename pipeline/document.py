"""YAML documents that know where everything in them stands, so that an error can point at it.

Configuration and rules are both read through this module: it keeps the node tree beside the values and
answers "which line is `route.routes[1].group_by` on?".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import yaml
from yaml.constructor import SafeConstructor

from pipeline.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Broken", "Document", "Key", "Place", "documents", "each_document", "shown"]

Key = str | int
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
# A merge key lays all that it names under its mapping before keys that repeat are dropped.
_MOST_MERGED = 10_000
_MERGE = "tag:yaml.org,2002:merge"
# An impossible date; `!!bool maybe`; a number of more digits than are read, or beyond a double.
_NONE_OF_ITS_TYPE = (ValueError, LookupError, AttributeError, OverflowError)


class Place(NamedTuple):
    """A place in a text: its line, and the column within it in characters, both counted from 1."""

    line: int
    column: int


class Document:
    """One YAML document: its value, and the place of each part of it.

    Attributes:
        file: the name to show in errors.
        data: the plain value.
    """

    def __init__(self, file: str, data: object, root: yaml.Node) -> None:
        self.file = file
        self.data = data
        self._root = root

    def line(self, *path: Key) -> int:
        """Return the line (from 1) of the value at `path`, or of its nearest ancestor that exists."""
        return self.place(*path).line

    def place(self, *path: Key) -> Place:
        """Return the place of the key or element at `path`, or of its nearest ancestor that exists."""
        node = self._root
        mark = node.start_mark
        for key in path:
            found = _child(node, key)
            if found is None:
                break
            mark, node = found
        return Place(mark.line + 1, mark.column + 1)

    def written(self, *path: Key) -> str | None:
        """Return the characters of the plain scalar at `path`; None for what is quoted, or no scalar."""
        node = self._root
        for key in path:
            found = _child(node, key)
            if found is None:
                return None
            node = found[1]
        return str(node.value) if isinstance(node, yaml.ScalarNode) and not node.style else None

    def error(self, message: str, *path: Key) -> ConfigError:
        """Return (not raise) an error that points at `path`."""
        return ConfigError(message, file=self.file, line=self.line(*path), path=shown(path))


def shown(path: tuple[Key, ...]) -> str:
    """Return a path as people write it: `route.routes[1].group_by`."""
    text = ""
    for key in path:
        if isinstance(key, int):
            text += f"[{key}]"
        else:
            text += f".{key}" if text else key
    return text


class Broken(NamedTuple):
    """A document that is YAML, but holds what can't be a value.

    Attributes:
        error: what is wrong, and where.
        keys: those at its top, as written.
    """

    error: ConfigError
    keys: frozenset[str]


def documents(text: str, file: str) -> Iterator[Document]:
    """Yield the documents of a YAML text.

    Args:
        text: the whole text.
        file: the name to show in errors.

    Raises:
        ConfigError: the text is no YAML, a mapping has a key twice, or a value is none of its type.
    """
    for document in each_document(text, file):
        if isinstance(document, Broken):
            raise document.error
        yield document


def each_document(text: str, file: str) -> Iterator[Document | Broken]:
    """Yield the documents of a YAML text, so that one that can't be used does not hide those after it.

    Args:
        text: as of `documents`.
        file: as of `documents`.

    Raises:
        ConfigError: the text is no YAML from here on, so that nothing after it can be told apart.
    """
    may_merge = "<<" in text or "merge" in text
    for node in _composed(text, file):
        yield _document(node, file, may_merge=may_merge)


def _composed(text: str, file: str) -> Iterator[yaml.Node]:
    try:
        loader = _Loader(text)
        while loader.check_node():
            if (node := loader.get_node()) is not None:
                yield node
    except (yaml.YAMLError, RecursionError) as error:
        raise _no_yaml(error, file, 0) from error
    except UnicodeEncodeError as error:
        raise ConfigError("not valid YAML: half a surrogate pair is no character", file=file) from error


def _document(node: yaml.Node, file: str, *, may_merge: bool) -> Document | Broken:
    try:
        _refuse_duplicates(node, file)
        if may_merge:
            _refuse_floods(node, file)
        return Document(file, SafeConstructor().construct_document(node), node)
    except ConfigError as error:
        told = error
    except (yaml.YAMLError, RecursionError, *_NONE_OF_ITS_TYPE) as error:
        told = _no_yaml(error, file, _culprit(node).start_mark.line + 1)
    pairs = node.value if isinstance(node, yaml.MappingNode) else []
    return Broken(told, frozenset(key.value for key, _ in pairs if isinstance(key, yaml.ScalarNode)))


def _no_yaml(error: Exception, file: str, line: int) -> ConfigError:
    """Return the error for a person; `line` where it says none itself."""
    match error:
        case yaml.MarkedYAMLError():
            mark = error.problem_mark or error.context_mark
            message, line = f"{error.problem or error.context}", mark.line + 1 if mark else line
        case yaml.YAMLError():  # a character that YAML forbids
            message = str(error).splitlines()[0]
        case RecursionError():  # libyaml has a limit of its own, the loader in Python has none
            message = "nested too deeply"
        case _:
            message = "a value is none of its type"
    return ConfigError(f"not valid YAML: {message}", file=file, line=line)


def _culprit(root: yaml.Node) -> yaml.Node:
    """Return the first scalar that is none of its type, or else the document's own node."""
    for node in _nodes(root):
        if isinstance(node, yaml.ScalarNode):
            try:
                SafeConstructor().construct_document(node)
            except (yaml.YAMLError, *_NONE_OF_ITS_TYPE):
                return node
    return root


def _nodes(root: yaml.Node) -> Iterator[yaml.Node]:
    """Yield all nodes in the order of the text; each once, for an alias repeats its node."""
    looked: set[int] = set()
    waiting = [root]
    while waiting:
        node = waiting.pop()
        if id(node) in looked:
            continue
        looked.add(id(node))
        yield node
        if isinstance(node, yaml.MappingNode):
            waiting.extend(part for pair in reversed(node.value) for part in reversed(pair))
        elif isinstance(node, yaml.SequenceNode):
            waiting.extend(reversed(node.value))


def _child(node: yaml.Node, key: Key) -> tuple[yaml.Mark, yaml.Node] | None:
    if isinstance(node, yaml.MappingNode):
        for name, value in node.value:
            if name.value == str(key):
                return name.start_mark, value
    elif isinstance(node, yaml.SequenceNode) and isinstance(key, int) and key < len(node.value):
        value = node.value[key]
        return value.start_mark, value
    return None


def _refuse_duplicates(root: yaml.Node, file: str) -> None:
    # An alias repeats its node: each is looked at once, or a few lines could mean years.
    looked: set[int] = set()
    waiting: list[tuple[yaml.Node, tuple[Key, ...]]] = [(root, ())]
    while waiting:
        node, path = waiting.pop()
        if id(node) in looked:
            continue
        looked.add(id(node))
        if isinstance(node, yaml.MappingNode):
            seen: set[tuple[str, str]] = set()
            for name, value in node.value:
                # A key that is no scalar may hold itself.
                here = (*path, str(name.value) if isinstance(name, yaml.ScalarNode) else "?")
                if isinstance(name, yaml.ScalarNode):
                    key = (name.tag, name.value)
                    if key in seen and name.value != "<<":
                        line = name.start_mark.line + 1
                        raise ConfigError(
                            "this key stands here twice", file=file, line=line, path=shown(here)
                        )
                    seen.add(key)
                waiting.append((value, here))
        elif isinstance(node, yaml.SequenceNode):
            waiting.extend((value, (*path, index)) for index, value in enumerate(node.value))


def _refuse_floods(root: yaml.Node, file: str) -> None:
    """Raise where merge keys lay so much under a mapping that a few lines of them could fill the memory."""
    sizes: dict[int, int] = {}
    for node in _nodes(root):
        if _merged_size(node, sizes) > _MOST_MERGED and _merged(node):
            message = f"its merge keys lay more than {_MOST_MERGED:,} keys under this mapping"
            raise ConfigError(message, file=file, line=node.start_mark.line + 1)


def _merged_size(node: yaml.Node, sizes: dict[int, int]) -> int:
    """Return how many keys a mapping has with all that is laid under it, repeated ones counted as well."""
    if id(node) not in sizes:
        sizes[id(node)] = 0  # what is within itself adds nothing
        own = len(node.value) if isinstance(node, yaml.MappingNode) else 0
        sizes[id(node)] = own + sum(_merged_size(part, sizes) for part in _merged(node))
    return sizes[id(node)]


def _merged(node: yaml.Node) -> list[yaml.Node]:
    """Return what a mapping's merge keys lay under it."""
    if not isinstance(node, yaml.MappingNode):
        return []
    merged = [value for key, value in node.value if key.tag == _MERGE]
    return [part for m in merged for part in (m.value if isinstance(m, yaml.SequenceNode) else [m])]
