"""Dispatch is Alertmanager's, and a group's key is canonical and bounded."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import ConfigError
from pipeline.notify import ALL_LABELS, Route, Router, group_key, parse_matchers
from tests.unit.pipeline.notify.bench import route


def child(matchers: str, receiver: str, *routes: Route, continue_: bool = False) -> Route:
    return route(receiver=receiver, matchers=parse_matchers(matchers), routes=routes, continue_=continue_)


TREE = route(
    receiver="root",
    routes=(
        child("team=db", "db", child("severity=critical", "db-pager")),
        child("severity=critical", "audit", continue_=True),
        child("severity=critical", "pager"),
        child("team=~web|shop", "web", child('host!=""', "hosts", continue_=True), child("env=prod", "prod")),
    ),
)


@pytest.mark.parametrize(
    ("labels", "receivers"),
    [
        ({}, ["root"]),
        ({"team": "db"}, ["db"]),
        ({"team": "db", "severity": "critical"}, ["db-pager"]),
        ({"severity": "critical"}, ["audit", "pager"]),
        ({"team": "web", "severity": "critical"}, ["audit", "pager"]),
        ({"team": "shop"}, ["web"]),
        ({"team": "web", "host": "h"}, ["hosts"]),
        ({"team": "web", "host": "h", "env": "prod"}, ["hosts", "prod"]),
        ({"team": "webby"}, ["root"]),
    ],
)
def test_first_matching_child_takes_the_alert_unless_it_goes_on(
    labels: dict[str, str], receivers: list[str]
) -> None:
    assert [r.receiver for r in Router(TREE).dispatch(labels)] == receivers


def test_continue_of_the_last_match_does_not_bring_back_the_parent() -> None:
    tree = route(receiver="root", routes=(child("a=b", "one", continue_=True), child("a=c", "two")))
    assert [r.receiver for r in Router(tree).dispatch({"a": "b"})] == ["one"]


def test_each_node_has_a_path_of_its_own() -> None:
    twins = route(receiver="root", routes=(child("a=b", "one"), child("a=b", "two")))
    router = Router(twins)
    assert [r.path for r in router] == ["{}", '{}/{a="b"}/0', '{}/{a="b"}/1']
    assert all(router.route(r.path) is r for r in router)
    assert router.route("{}/nowhere") is None


@pytest.mark.parametrize("setting", ["group_interval_ms", "group_wait_ms", "repeat_interval_ms"])
def test_interval_that_cannot_be_is_refused(setting: str) -> None:
    with pytest.raises(ConfigError, match=setting.removesuffix("_ms")):
        Router(route(**{setting: -1}))


def test_group_is_made_by_the_named_labels() -> None:
    root = Router(route(group_by=("b", "a", "missing", "empty"))).root
    key, labels = group_key(root, {"a": "1", "b": "2", "c": "3", "empty": ""})
    assert labels == {"a": "1", "b": "2"}
    assert key == '{}:{"a":"1","b":"2"}'
    assert group_key(root, {"b": "2", "a": "1"})[0] == key


def test_all_labels_or_none_make_a_group() -> None:
    labels = {"a": "1", "b": "2"}
    assert group_key(Router(route(group_by=ALL_LABELS)).root, labels)[1] == labels
    assert group_key(Router(route(group_by=())).root, labels) == ("{}:{}", {})


values = st.dictionaries(st.sampled_from("abc"), st.text(max_size=400), max_size=3)


@given(values, values)
def test_key_is_bounded_one_line_and_the_same_only_for_the_same_values(
    one: dict[str, str], other: dict[str, str]
) -> None:
    root = Router(route(group_by=ALL_LABELS)).root
    (key, labels), (other_key, other_labels) = group_key(root, one), group_key(root, other)
    assert len(key) <= 512
    assert "\n" not in key
    assert key.encode().decode() == key
    assert (key == other_key) == (labels == other_labels)


def test_long_values_do_not_share_a_group() -> None:
    root = Router(route(group_by=("a",))).root
    one, other = (group_key(root, {"a": "x" * 10_000 + end})[0] for end in "12")
    assert one != other
    assert len(one) == len(other) == 512


def test_lone_surrogate_has_a_key() -> None:
    root = Router(route(group_by=("a",))).root
    assert group_key(root, {"a": "\ud800"})[0].encode()
