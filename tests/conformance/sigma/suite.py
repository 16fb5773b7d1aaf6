"""The suite's data: files of rules, events and outcomes, read into groups that an engine can be asked.

The data belongs to no engine: whatever short forms the files use, what an engine is given are full Sigma
documents and events as JSON text. The format is described in `docs/conformance.md`.
"""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import yaml

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["CASES", "SECTIONS", "Case", "Group", "SuiteError", "files", "load"]

CASES = Path(__file__).parent / "cases"

SECTIONS = frozenset(
    {
        "Rules 2.1.0: Yaml File",
        "Rules 2.1.0: Title",
        "Rules 2.1.0: LogSource",
        "Rules 2.1.0: Detection",
        "Rules 2.1.0: Search-Identifier",
        "Rules 2.1.0: General",
        "Rules 2.1.0: String Wildcard",
        "Rules 2.1.0: Escape Character",
        "Rules 2.1.0: Lists",
        "Rules 2.1.0: Maps",
        "Rules 2.1.0: Field Usage",
        "Rules 2.1.0: Special Field Values",
        "Rules 2.1.0: Field Existence",
        "Rules 2.1.0: Value Modifiers",
        "Rules 2.1.0: Placeholders",
        "Rules 2.1.0: Keywords search",
        "Rules 2.1.0: Condition",
        "Modifiers 2.1.0: Generic Modifiers",
        "Modifiers 2.1.0: String Modifiers",
        "Modifiers 2.1.0: Regular Expression",
        "Modifiers 2.1.0: Encoding",
        "Modifiers 2.1.0: Numeric Modifiers",
        "Modifiers 2.1.0: Time Modifiers",
        "Modifiers 2.1.0: IP (Internet Protocol) Modifiers",
        "Modifiers 2.1.0: Specific Modifiers",
        "Filters 2.1.0: Log source",
        "Filters 2.1.0: Relative rules",
        "Filters 2.1.0: Global Filter",
        "Filters 2.1.0: filter selection",
        "Filters 2.1.0: filter condition",
        "Rules 1.0: Rule Collections",
        "RFC 8259: JSON",
    }
)
"""The documents and sections that cases come from, by the headings they have there."""

_KEYS = frozenset(
    {"section", "about", "choice", "rules", "filters", "placeholders", "logsource", "refused", "because"}
    | {"cases", "field", "hits", "misses", "truth"}
)
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_LOGSOURCE = {"category": "conformance"}
_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "urn:sigma:conformance")


class SuiteError(Exception):
    """A data file is not in the suite's format."""


@dataclass(frozen=True)
class Case:
    """One event, and the rules that must match it.

    Attributes:
        name: unique within its group.
        event: the event as JSON text.
        expected: ids of the rules that must match, in order; no others may.
        choice: as of its group, where only this outcome was chosen.
    """

    name: str
    event: str
    expected: tuple[str, ...]
    choice: str = ""


@dataclass(frozen=True)
class Group:
    """What an engine is asked at once: rules and what belongs to them, and the cases that they decide.

    Attributes:
        file: the data file's name.
        line: where the group begins in it.
        section: the specification and the section of it that decides the outcome.
        about: what the group shows.
        choice: where the specification leaves it open: what was chosen, and why; else empty.
        rules: full Sigma documents, as text.
        labels: what people call the rules, by id.
        filters: likewise.
        placeholders: what `expand` is to put in.
        logsource: what the events' source is, or None if that is unknown.
        refused: why the rules must not load; empty where they must.
        cases: none where they must not.
    """

    file: str
    line: int
    section: str
    about: str
    choice: str
    rules: tuple[str, ...]
    labels: dict[str, str]
    filters: tuple[str, ...]
    placeholders: dict[str, list[str]]
    logsource: dict[str, str] | None
    refused: str
    cases: tuple[Case, ...]

    def request(self) -> dict[str, object]:
        """Return the line that an engine is sent, before it is made JSON."""
        return {
            "rules": list(self.rules),
            "filters": list(self.filters),
            "placeholders": self.placeholders,
            "logsource": self.logsource,
            # Some engines compile no rule before the first event.
            "events": [case.event for case in self.cases] or ["{}"],
        }

    @property
    def names(self) -> tuple[str, ...]:
        """What is counted: the names of the cases, or the one reason why the rules must not load."""
        return tuple(case.name for case in self.cases) or (f"refused: {self.refused}",)


def files(only: Iterable[str] = ()) -> list[Path]:
    """Return the data files, or those that are named: with or without folder and `.yml`.

    Raises:
        SuiteError: there is no such file.
    """
    known = {path.stem: path for path in sorted(CASES.glob("*.yml"))}
    wanted = [Path(name).stem for name in only]
    if unknown := [name for name in wanted if name not in known]:
        raise SuiteError(f"no file {unknown[0]!r}; there are {', '.join(known)}")
    return [known[name] for name in wanted] or list(known.values())


def load(path: Path) -> list[Group]:
    """Read one data file.

    Raises:
        SuiteError: it is not in the format.
    """
    text = path.read_text(encoding="utf-8")
    loader = _Loader(text)
    try:
        root = loader.get_single_node()
        if not isinstance(root, yaml.SequenceNode):
            raise SuiteError(f"{path.name}: a file is a list of groups")
        lines = [node.start_mark.line + 1 for node in root.value]
        written = cast("list[object]", loader.construct_document(root))
    except yaml.YAMLError as error:
        raise SuiteError(f"{path.name}: {error}") from error
    groups: list[Group] = []
    for line, data in zip(lines, written, strict=True):
        try:
            groups.append(_group(path.name, line, data))
        except (SuiteError, TypeError, ValueError, LookupError, yaml.YAMLError) as error:
            raise SuiteError(f"{path.name}:{line}: {error}") from error
    return groups


def _group(file: str, line: int, data: object) -> Group:
    if not isinstance(data, dict) or (odd := data.keys() - _KEYS):
        raise SuiteError(f"not a group's keys: {sorted(odd) if isinstance(data, dict) else data!r}")
    section = data["section"]
    if section not in SECTIONS:
        raise SuiteError(f"no such section: {section!r}")
    rules = [_Document.of(written, number) for number, written in enumerate(data["rules"])]
    filters = [_Document.of(written, 1000 + number) for number, written in enumerate(data.get("filters", ()))]
    refused = bool(data.get("refused"))
    ids = {} if refused else {key: i for document in rules for key, i in document.ids.items()}
    cases = tuple(_cases(data, ids))
    if refused == bool(cases) or refused != ("because" in data):
        raise SuiteError("a group has cases, or `refused: true` and `because`")
    if len({case.name for case in cases}) < len(cases):
        raise SuiteError("two cases have the same name")
    return Group(
        file=file,
        line=line,
        section=section,
        about=" ".join(str(data.get("about", "")).split()),
        choice=" ".join(str(data.get("choice", "")).split()),
        rules=tuple(document.text for document in rules),
        labels={i: key for key, i in ids.items()},
        filters=tuple(document.text for document in filters),
        placeholders=data.get("placeholders", {}),
        logsource=data.get("logsource"),
        refused=" ".join(str(data.get("because", "")).split()),
        cases=cases,
    )


def _cases(data: dict[str, Any], ids: dict[str, str]) -> Iterator[Case]:  # Any: YAML, checked as it is read
    for case in data.get("cases", ()):
        if case.keys() - {"name", "event", "raw", "match", "choice"} or ("event" in case) == ("raw" in case):
            raise SuiteError(f"a case has name, event or raw, and match: {case}")
        if not isinstance(case["name"], str):
            raise SuiteError(f"a case's name is a text, not {case['name']!r}")
        event = case["raw"] if "raw" in case else _json(case["event"])
        yield Case(case["name"], event, _expected(case["match"], ids), case.get("choice", ""))
    for hit, key in ((True, "hits"), (False, "misses")):
        for value in data.get(key, ()):
            written = _json({data["field"]: value})
            yield Case(f"{written} {'matches' if hit else 'does not match'}", written, _expected(hit, ids))
    if (truth := data.get("truth")) is not None:
        yield from _truth(truth["of"], {frozenset(row.split()) for row in truth["holds"]}, ids)


def _truth(names: list[str], holds: set[frozenset[str]], ids: dict[str, str]) -> Iterator[Case]:
    """Yield a case for each subset of some fields: those in it hold 1, the others are missing."""
    if odd := {name for row in holds for name in row} - set(names):
        raise SuiteError(f"the truth table has no {sorted(odd)}")
    for bits in range(2 ** len(names)):
        held = [name for position, name in enumerate(names) if bits >> position & 1]
        match = frozenset(held) in holds
        name = f"{' '.join(held) or 'none'}: {'true' if match else 'false'}"
        yield Case(name, _json(dict.fromkeys(held, 1)), _expected(match, ids))


def _expected(match: bool | list[str], ids: dict[str, str]) -> tuple[str, ...]:
    if isinstance(match, list):
        return tuple(sorted(ids[name] for name in match))
    if match and len(set(ids.values())) != 1:
        raise SuiteError("`match: true` needs exactly one rule; of several, list the names")
    return tuple(sorted(set(ids.values()))) if match else ()


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


# --- documents ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Document:
    """A rule or filter as text, and what cases may call the rules in it: id or name → id."""

    text: str
    ids: dict[str, str]

    @classmethod
    def of(cls, written: object, number: int) -> _Document:
        """Take a text as it is; give a mapping the title, id and log source that it lacks."""
        if isinstance(written, str):
            return cls(written, _ids_of_text(written))
        if not isinstance(written, dict):
            raise SuiteError(f"a rule is a mapping or a text, not {written!r}")
        name = written.get("name")
        made = str(uuid.uuid5(_NAMESPACE, f"{number} {json.dumps(written, default=str)}"))
        defaults = {"title": name or "A rule of the conformance suite", "id": made, "logsource": _LOGSOURCE}
        full = {**defaults, **written}
        text = yaml.dump(full, Dumper=_Dumper, allow_unicode=True, sort_keys=False, width=1_000_000)
        return cls(text, {key: full["id"] for key in (full["id"], name) if key})


def _ids_of_text(text: str) -> dict[str, str]:
    try:
        documents = [d for d in yaml.safe_load_all(text) if isinstance(d, dict)]
    except yaml.YAMLError:
        return {}
    return {
        str(key): str(document["id"])
        for document in documents
        if "id" in document and "filter" not in document
        for key in (document["id"], document.get("name"))
        if key
    }


class _Dumper(yaml.SafeDumper):
    """Quotes every text: which plain scalars are texts depends on the version of YAML."""

    def ignore_aliases(self, data: object) -> bool:
        """Write everything out: not every reader knows aliases."""
        return True


def _quoted(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="'")


_Dumper.add_representer(str, _quoted)
