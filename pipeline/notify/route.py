"""Routes: which receivers hear of an alert, and by which labels alerts share a message.

Depth first, the first child that matches takes the alert; with `continue_` its later siblings get to see it
too; where no child matches, the node itself is the one. A group is a route and the values of its `group_by`
labels. (Alertmanager's dispatch/route.go; semantics, section 3.)
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

import msgspec

from pipeline.errors import ConfigError
from pipeline.notify.matchers import Matcher, all_match, show_matchers

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["ALL_LABELS", "Route", "Router", "group_key"]

ALL_LABELS = ("...",)
"""The `group_by` that makes a group of each set of labels."""

_KEY_CHARACTERS = 512


class Route(msgspec.Struct, frozen=True):
    """One node of the tree; what a node does not set it has inherited by now.

    Attributes:
        receiver: the receiver's name.
        group_by: names of the labels that make a group; `ALL_LABELS` for all.
        matchers: all of them must match; the root has none.
        continue_: whether later siblings see the alert too (`continue` in the configuration).
        group_wait_ms: from a group's first alert to its first notification.
        group_interval_ms: between two looks at a group; more than 0.
        repeat_interval_ms: after which the same is said again.
        routes: the children, in order.
        path: names the node; `Router` gives it.
    """

    receiver: str
    group_by: tuple[str, ...] = ()
    matchers: tuple[Matcher, ...] = ()
    continue_: bool = False
    group_wait_ms: int = 30_000
    group_interval_ms: int = 300_000
    repeat_interval_ms: int = 14_400_000
    routes: tuple[Route, ...] = ()
    path: str = ""


class Router:
    """The tree of routes, each named by its path.

    Args:
        root: the tree; paths in it are ignored.

    Raises:
        ConfigError: an interval that can't be.
    """

    def __init__(self, root: Route) -> None:
        self.root = _named(root, "{}")
        self._routes = {route.path: route for route in _walk(self.root)}
        for route in self._routes.values():
            if route.group_interval_ms <= 0:
                raise ConfigError("group_interval must be more than 0", path=route.path)
            if route.group_wait_ms < 0 or route.repeat_interval_ms < 0:
                raise ConfigError("group_wait and repeat_interval can't be below 0", path=route.path)

    def __iter__(self) -> Iterator[Route]:
        """Yield every route, depth first."""
        return iter(self._routes.values())

    def route(self, path: str) -> Route | None:
        """Return the route of a path, or None when the tree has none."""
        return self._routes.get(path)

    def dispatch(self, labels: Mapping[str, str]) -> list[Route]:
        """Return the routes that an alert takes, at least one."""
        return _matching(self.root, labels)


def group_key(route: Route, labels: Mapping[str, str]) -> tuple[str, dict[str, str]]:
    """Name the group that an alert belongs to on a route.

    Args:
        route: as `Router` gave it.
        labels: the alert's.

    Returns:
        The key, the same for the same route and values, at most 512 characters without line ends; and the
        labels that the group is made by. A label that is missing or empty is left out.
    """
    names = labels if route.group_by == ALL_LABELS else route.group_by
    group = {name: labels[name] for name in sorted(names) if labels.get(name)}
    text = f"{route.path}:{json.dumps(group, ensure_ascii=False, separators=(',', ':'))}"
    # Lone surrogates have no UTF-8, and the key must have one.
    data = text.encode("utf-8", "backslashreplace")
    key = data.decode()
    if len(key) > _KEY_CHARACTERS:
        digest = hashlib.sha256(data).hexdigest()
        key = f"{key[: _KEY_CHARACTERS - len(digest) - 1]}#{digest}"
    return key, group


def _named(route: Route, path: str) -> Route:
    # The position makes siblings with the same matchers two.
    children = tuple(
        _named(child, f"{path}/{show_matchers(child.matchers)}/{position}")
        for position, child in enumerate(route.routes)
    )
    return msgspec.structs.replace(route, path=path, routes=children)


def _walk(route: Route) -> Iterator[Route]:
    yield route
    for child in route.routes:
        yield from _walk(child)


def _matching(route: Route, labels: Mapping[str, str]) -> list[Route]:
    found: list[Route] = []
    for child in route.routes:
        if all_match(child.matchers, labels):
            found += _matching(child, labels)
            if not child.continue_:
                break
    return found or [route]
