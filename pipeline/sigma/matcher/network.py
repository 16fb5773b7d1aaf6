"""Networks: whether a text is an address within one of them.

An address is parsed once, however many networks are asked about, and found among their ranges by bisection.
(Sigma modifiers appendix 2.1.0, `cidr`.)
"""

from __future__ import annotations

import ipaddress
from bisect import bisect_right
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["network_predicate"]

# The longest written form of an address, a zone's name included, has far fewer characters.
_LONGEST = 64


def network_predicate(networks: Iterable[str]) -> Callable[[str], bool]:
    """Return a predicate over a text: an IPv4 or IPv6 address, and nothing else, within one of `networks`."""
    ranges: dict[int, list[tuple[int, int]]] = {4: [], 6: []}
    for network in map(ipaddress.ip_network, networks):
        ranges[network.version].append((int(network.network_address), int(network.broadcast_address)))
    firsts, lasts = {}, {}
    for version, found in ranges.items():
        joined = _joined(found)
        firsts[version], lasts[version] = [first for first, _ in joined], [last for _, last in joined]

    def inside(text: str) -> bool:
        if len(text) > _LONGEST or not (text[:1].isalnum() or text[:1] == ":"):
            return False
        try:
            address = ipaddress.ip_address(text)
        except ValueError:
            return False
        number = int(address)
        at = bisect_right(firsts[address.version], number) - 1
        return at >= 0 and number <= lasts[address.version][at]

    return inside


def _joined(ranges: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return the ranges in order, without those that lie within another: networks never overlap in part."""
    kept: list[tuple[int, int]] = []
    for first, last in sorted(ranges, key=lambda r: (r[0], -r[1])):
        if not (kept and last <= kept[-1][1]):
            kept.append((first, last))
    return kept
