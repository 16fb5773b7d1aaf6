"""Checks of what a rule says about itself: id, level, status, dates, tags, references, keys.

(Sigma rules specification 2.1.0, "Components"; Sigma tags specification 2.1.0.)
"""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import TYPE_CHECKING

from pipeline.sigma.form import Filter
from pipeline.sigma.lint.finding import Check, Doubt

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipeline.sigma.lint.draft import Draft

__all__ = ["CHECKS"]

_KEYS = (
    *("title", "id", "name", "taxonomy", "related", "status", "description", "license", "references"),
    *("author", "date", "modified", "tags", "logsource", "detection", "fields", "falsepositives", "level"),
    *("scope", "correlation", "filter", "action", "group-by"),
)
_RETIRED = ("deprecated", "unsupported")
_URL = re.compile(r"[a-z][a-z0-9+.-]*://\S+")
_ATTACK = re.compile(r"attack\.(?:t\d{4}(?:\.\d{3})?|ta\d{4}|ds\d{4}|[cgms]\d{4}|[a-z]+(?:-[a-z]+)*)")
_TACTICS = (
    *("collection", "command-and-control", "credential-access", "defense-evasion", "discovery", "execution"),
    *("exfiltration", "impact", "initial-access", "lateral-movement", "persistence", "privilege-escalation"),
    *("reconnaissance", "resource-development"),
)


def _no_id(draft: Draft) -> Iterator[Doubt]:
    if not draft.data.get("id"):
        yield Doubt("the rule has no `id`; give it a random UUID", ())


def _no_level(draft: Draft) -> Iterator[Doubt]:
    if not draft.data.get("level") and not isinstance(draft.loaded, Filter) and "filter" not in draft.data:
        yield Doubt("the rule has no `level`; it counts as `medium`", ())


def _retired_status(draft: Draft) -> Iterator[Doubt]:
    if (status := draft.data.get("status")) in _RETIRED:
        yield Doubt(f"the rule is {status}, and runs like any other", ("status",))


def _slash_date(draft: Draft) -> Iterator[Doubt]:
    for key in ("date", "modified"):
        if isinstance(written := draft.data.get(key), str) and "/" in written:
            yield Doubt(f"{written!r} is a date of an old form; write it as 2026-01-31", (key,))


def _reference_no_url(draft: Draft) -> Iterator[Doubt]:
    for reference in draft.strings("references"):
        if not _URL.match(str(reference.value)):
            yield Doubt(f"{reference.value!r} is no URL", reference.path)


def _attack_tag(draft: Draft) -> Iterator[Doubt]:
    for tag in draft.strings("tags"):
        written = str(tag.value)
        if not written.lower().startswith("attack."):
            continue
        name = written.partition(".")[2]
        meant = name.lower().replace("_", "-")
        if not _ATTACK.fullmatch(f"attack.{meant}"):
            yield Doubt(
                f"{written!r} names no technique (attack.t1059.001), group (attack.g0007),"
                " software (attack.s0002) or tactic (attack.initial-access)",
                tag.path,
            )
        elif name not in _TACTICS and (close := get_close_matches(meant, _TACTICS, n=1, cutoff=0.8)):
            yield Doubt(f"{written!r} is no tactic; did you mean 'attack.{close[0]}'?", tag.path)


def _unknown_key(draft: Draft) -> Iterator[Doubt]:
    for key in draft.data:
        if key not in _KEYS:
            close = get_close_matches(key.lower(), _KEYS, n=1, cutoff=0.8)
            if close and close[0] not in draft.data:
                yield Doubt(f"Sigma has no key {key!r}; did you mean {close[0]!r}?", (key,))


CHECKS = (
    Check(
        "no-id",
        "warning",
        "a rule without `id`",
        "An alert's identity then hangs on the name, or on title and content: the next change of the rule"
        " makes open alerts new ones, and other tools have nothing to refer to.",
        "Give it a random UUID (`uuidgen`), once; keep it for as long as the rule means the same.",
        _no_id,
    ),
    Check(
        "no-level",
        "warning",
        "a rule without `level`",
        "It counts as `medium`, which routes and messages take for the author's word.",
        "Write `level:` with `informational`, `low`, `medium`, `high` or `critical`.",
        _no_level,
    ),
    Check(
        "retired-status",
        "info",
        "`status: deprecated` or `unsupported`",
        "Its author no longer stands for it, but it is loaded and raises alerts.",
        "Take it out of the folder, or see whether another rule has taken its place (`related`).",
        _retired_status,
    ),
    Check(
        "slash-date",
        "info",
        "a date with slashes",
        "Sigma writes dates as ISO 8601 does since 2.0; with slashes, day and month are a guess.",
        "Write `2026-01-31`.",
        _slash_date,
    ),
    Check(
        "reference-no-url",
        "info",
        "a reference that is no URL",
        "Who is woken by the alert can't follow it.",
        "Write a URL, or move the remark to `description`.",
        _reference_no_url,
    ),
    Check(
        "attack-tag",
        "warning",
        "a malformed ATT&CK tag",
        "Whatever counts or filters by technique misses the rule.",
        "Write `attack.t1059`, `attack.t1059.001`, or a tactic with hyphens, as in `attack.initial-access`.",
        _attack_tag,
    ),
    Check(
        "unknown-key",
        "warning",
        "a key that is nearly one of Sigma's",
        "Keys that are not Sigma's are allowed and mean nothing, so a slip of the pen stays unseen.",
        "Correct it; a key of one's own is better named unlike any of Sigma's.",
        _unknown_key,
    ),
    Check(
        "old-action",
        "info",
        "`action: global` and the like",
        "Sigma has dropped it in 2.0; other tools may read the documents as rules of their own, or not"
        " at all.",
        "Write each rule out, or use a filter for what several share.",
    ),
)
