from __future__ import annotations

import pytest

from pipeline.sigma.form import And, Compare, Exists, Item, Network, Node, Not, Null, Or, Pattern, Text, Wild
from pipeline.sigma.witness.unfiltered import why_unfiltered

# A name that decoders make up can't be looked for, nor can values of it.
FIELD = "outcome"
PLAIN = Item("Image", Text((Wild.ANY, "\\mimikatz.exe")))
BARE = Item(FIELD, Pattern("a|b"))


@pytest.mark.parametrize(
    ("node", "why"),
    [
        (PLAIN, ""),
        (And((PLAIN, Not(BARE))), ""),
        (BARE, "a regular expression without a literal: outcome matches /a|b/"),
        (Or((PLAIN, BARE)), "a regular expression without a literal: outcome matches /a|b/"),
        (Not(PLAIN), "only negations: not Image ends with '\\mimikatz.exe'"),
        (And((Not(PLAIN), Not(BARE))), "only negations: not Image ends with '\\mimikatz.exe'"),
        (And((Not(PLAIN), BARE)), "a regular expression without a literal: outcome matches /a|b/"),
        (Not(Or((PLAIN, BARE))), "only negations: not Image ends with '\\mimikatz.exe'"),
        (Item(FIELD, Compare("gt", 5)), "a comparison of numbers: outcome > 5"),
        (Item(FIELD, Network("10.0.0.0/8")), "a network: outcome is in 10.0.0.0/8"),
        (Item(FIELD, Null()), "a field that may be missing: outcome is null or missing"),
        (Item(FIELD, Exists(value=False)), "a field that must be there or not: outcome is missing"),
        (Item(FIELD, Text(("x",))), "no literal that is long enough: outcome is 'x'"),
    ],
)
def test_what_leaves_a_rule_without_a_witness(node: Node, why: str) -> None:
    assert why_unfiltered(node) == why
