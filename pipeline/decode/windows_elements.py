"""Elements of Windows events: the objects that converters make of the event log's XML, as names and values.

Each converter marks attributes and an element's text in its own way; here they become `Element_Attribute`
and `Element`. Values are moved, never rewritten, and of a name that stands twice both are kept. (The schema
of the event log's XML, "Event Schema", Microsoft.)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = [
    "ATTRIBUTES",
    "MARKUP",
    "add_all",
    "attributes",
    "data",
    "system_values",
    "user_data",
]

_Object = dict[str, object]

# How converters of XML mark attributes and an element's text.
ATTRIBUTES = ("#attributes", "$")
_TEXTS = ("#text", "_", "Value", "value")
_MARKED_TEXTS = frozenset(_TEXTS)
_SCALARS = frozenset({str, int, float, bool, type(None)})
MARKUP = frozenset("#@$")


def system_values(system: _Object) -> _Object:
    """Return System's elements and their attributes by name; empty ones are left out."""
    found: _Object = {}
    for name, value in system.items():
        if type(value) is dict:
            if len(value) == 1 and type(marked := value.get("#attributes")) is dict:
                # Nearly every element: a generator would cost twice as much.
                for attribute, inner in marked.items():
                    if (key := f"{name}_{attribute}") in found:
                        _add(found, key, inner)
                    else:
                        found[key] = inner
            else:
                add_all(found, attributes(name, value))
        elif name in found:
            if value is not None:
                _add(found, name, value)
        elif value is not None:
            found[name] = value
    if "Provider" in found and "Provider_Name" not in found:
        found["Provider_Name"] = found.pop("Provider")
    return found


def attributes(name: str, element: object) -> Iterator[tuple[str, object]]:
    """Yield an element's text under its name, its attributes as `Name_Attribute`; namespaces are no data."""
    if type(element) is not dict:
        yield name, element
        return
    text = next((key for key in _TEXTS if key in element), None)
    for key, value in element.items():
        if key in ATTRIBUTES and type(value) is dict:
            yield from ((f"{name}_{k}", v) for k, v in value.items() if not _is_namespace(k, v))
        elif key == text:
            yield name, value
        elif not _is_namespace(key.removeprefix("@"), value):
            yield f"{name}_{key.removeprefix('@')}", value


def _add(found: _Object, name: str, value: object) -> None:
    """Add a value; of a name that stands twice both are kept."""
    if name not in found:
        found[name] = value
    elif type(known := found[name]) is list:
        known.append(value)
    else:
        found[name] = [known, value]


def add_all(found: _Object, more: Iterable[tuple[str, object]]) -> _Object:
    """Add names and values to what was found, and return that."""
    for name, value in more:
        if name in found:
            _add(found, name, value)
        else:
            found[name] = value
    return found


def _is_namespace(name: str, value: object) -> bool:
    return name[:5] == "xmlns" and type(value) is str


def user_data(value: object) -> list[_Object]:
    """Return the names and values of UserData: the provider wraps its elements in one of its own."""
    if type(value) is not dict:
        return [data("UserData", value)]
    marks = {name: inner for name, inner in value.items() if name[:1] in MARKUP or name == "xmlns"}
    wrapped = {name: inner for name, inner in value.items() if name not in marks}
    if not all(type(inner) is dict for inner in wrapped.values()):
        return [data("UserData", value)]
    found = [data(name, inner) for name, inner in wrapped.items()]
    return [*found, add_all({}, attributes("UserData", marks))]


def data(element: str, block: object) -> _Object:
    """Return the names and values of an element, EventData or what UserData wraps; the block may be changed.

    Args:
        element: its name.
        block: the object that a converter made of it, or a text.
    """
    if type(block) is not dict:
        return {} if block is None else {"Data": block}
    # One look at all names and one at all values: most events have nothing odd.
    if "Data" not in block and _SCALARS.issuperset(map(type, block.values())):
        names = "".join(block)
        if not (" " in names or "#" in names or "@" in names or "$" in names):
            return block
    for name, value in list(block.items()):
        if name[:1] in MARKUP:
            del block[name]
            for key, inner in attributes(element, {name: value}):
                _add(block, "Data" if key == element else key, inner)
        elif name == "Data":
            told = block.pop(name)
            _name(block, told if type(told) is list else [told])
        elif type(value) is dict and len(value) == 1 and value.keys() <= _MARKED_TEXTS:
            (block[name],) = value.values()
    _add_spaced(block)
    return block


def _add_spaced(block: _Object) -> None:
    """Add what Windows shows with spaces as rules write it: `ThreatName`, `Feature_Name`."""
    for name in [name for name in block if " " in name]:
        first, *words = name.split(" ")
        if first and all(word[:1].isupper() or word[:1].isdecimal() for word in words):
            block.setdefault(f"{first}{''.join(words)}", block[name])
            block.setdefault("_".join((first, *words)), block[name])


def _name(block: _Object, entries: list[object]) -> None:
    """Add the entries of Data by their names; those without one are Data's values."""
    unnamed: list[object] = []
    for entry in entries:
        parts = add_all({}, attributes("", entry)) if type(entry) is dict else {"": entry}
        name, value = parts.pop("_Name", None), parts.get("")
        if type(name) is str and name:
            _add(block, name, value)
        elif type(value) is list:
            unnamed.extend(value)
        else:
            unnamed.append(value if len(parts) == 1 and "" in parts else entry)
    if unnamed:
        _add(block, "Data", unnamed if len(unnamed) > 1 else unnamed[0])
