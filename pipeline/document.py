"""YAML documents that know where everything in them stands, so that an error can point at it.

Configuration and rules are both read through this module: it keeps the node tree beside the values and
answers "which line is `route.routes[1].group_by` on?".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import yaml

from pipeline.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Document", "Key", "Place", "documents", "shown"]

Key = str | int
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


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


def documents(text: str, file: str) -> Iterator[Document]:
    """Yield the documents of a YAML text.

    Args:
        text: the whole text.
        file: the name to show in errors.

    Raises:
        ConfigError: the text is no YAML, or a mapping has a key twice.
    """
    try:
        loader = _Loader(text)
        while loader.check_node():
            node = loader.get_node()
            if node is None:
                continue
            _refuse_duplicates(node, file)
            yield Document(file, loader.construct_document(node), node)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise ConfigError(
            f"not valid YAML: {error.problem or error.context}", file=file, line=mark.line + 1 if mark else 0
        ) from error
    except yaml.YAMLError as error:  # a character that YAML forbids
        raise ConfigError(f"not valid YAML: {error}".splitlines()[0], file=file) from error
    except (ValueError, LookupError, AttributeError) as error:  # an impossible date; `!!bool maybe`
        raise ConfigError("not valid YAML: a value is none of its type", file=file) from error
    except RecursionError as error:  # libyaml has a limit of its own, the loader in Python has none
        raise ConfigError("not valid YAML: nested too deeply", file=file) from error


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
                here = (*path, str(name.value))
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
