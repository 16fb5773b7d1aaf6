from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.sigma.matcher.network import network_predicate

v4 = st.builds(
    lambda n, p: ipaddress.ip_network((n, p), strict=False),
    st.integers(0x0A000000, 0x0A0000FF),
    st.integers(20, 32),
)
v6 = st.builds(
    lambda n, p: ipaddress.ip_network((n, p), strict=False),
    st.integers(2**64, 2**64 + 255),
    st.integers(118, 128),
)
addresses = st.integers(0x0A000000, 0x0A0001FF).map(ipaddress.IPv4Address) | st.integers(
    2**64, 2**64 + 511
).map(ipaddress.IPv6Address)


@given(st.lists(v4 | v6, min_size=1, max_size=8), addresses)
def test_one_of_many_networks_is_found_as_if_each_were_asked(networks: list[object], address: object) -> None:
    asked = [ipaddress.ip_network(str(n)) for n in networks]
    expected = any(address in network for network in asked)  # type: ignore[operator]  # both are drawn as such
    assert network_predicate(map(str, asked))(str(address)) is expected


@pytest.mark.parametrize(
    "text", ["", "x", "10.0.0.1 ", " 10.0.0.1", "010.0.0.1", "10.0.0.1/32", "167772161", "1" * 10**6]
)
def test_what_is_no_address_is_in_no_network(text: str) -> None:
    assert not network_predicate(["0.0.0.0/0", "::/0"])(text)
