r"""Writing: the fields of an event as bytes, in every format and in every way that reads as the same.

JSON may escape what it need not, write numbers in many notations, nest what another event dots; Windows'
events, OpenTelemetry's and ECS's have shapes of their own; logfmt, syslog and the rest are lines.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from pipeline.sigma.matcher.subject import text_of
from tests.differential.values import flipped, looking_alike

if TYPE_CHECKING:
    from random import Random

    from tests.differential.values import Wanted

__all__ = ["mutated", "to_json", "written"]

_BLANKS = ("", "", "", "", " ", "\n", "\t", "\r\n ")
_CAPITAL = re.compile(r"(?<=[a-z])(?=[A-Z])")


# --- JSON -----------------------------------------------------------------------------------------------


def to_json(value: object, random: Random) -> str:
    """Write JSON, at times escaped, spaced and counted as nobody would."""
    odd = random.random() < 0.4
    blank = random.choice(_BLANKS) if odd else ""
    match value:
        case dict():
            inner = ",".join(
                f"{blank}{to_json(str(k), random)}{blank}:{blank}{to_json(v, random)}"
                for k, v in value.items()
            )
            return f"{{{inner}{blank}}}"
        case list():
            return f"[{','.join(blank + to_json(v, random) for v in value)}{blank}]"
        case str() if odd:
            return f'"{"".join(_character(c, random) for c in value)}"'
        case int() | float() if odd and not isinstance(value, bool):
            return _number(value, random)
        case str():
            return json.dumps(value, ensure_ascii=random.random() < 0.5)
        case _:
            return json.dumps(value)


def _character(char: str, random: Random) -> str:
    way = random.randrange(12)
    if way < 2:
        units = char.encode("utf-16-be").hex()
        codes = [units[i : i + 4] for i in range(0, len(units), 4)]
        return "".join(f"\\u{code.upper() if way else code}" for code in codes)
    if char == "/" and way < 6:
        return "\\/"
    return json.dumps(char, ensure_ascii=way < 6)[1:-1]


def _number(value: float, random: Random) -> str:
    if isinstance(value, int):
        # Beyond 53 bits these are another number, which hides as well.
        tail = f"{'0' * 21}1"
        ways = [f"{value}.0", f"{value}e0", f"{value}0E-1", f"{value}.000", f"{value}.{tail}", str(value)]
        if value > 0:
            ways.append(f"{value - 1}.{'9' * 22}")
        return random.choice(ways)
    plain = f"{value:.25f}"
    return random.choice([repr(value), plain, f"{plain}0", f"{value:e}", f"{value:.30e}"])


# --- shapes of objects ------------------------------------------------------------------------------------


def _nested(fields: dict[str, Any], random: Random) -> dict[str, Any]:
    """Return fields with dotted names, each as an object or not."""
    made: dict[str, Any] = {}
    for name, value in fields.items():
        head, dot, rest = name.partition(".")
        free = type(made.get(head, made)) is dict
        if dot and rest and head and free and random.random() < 0.6:
            made.setdefault(head, {})[rest] = value
        else:
            made[name] = value
    return made


def _windows(fields: dict[str, Any], words: list[str], random: Random) -> dict[str, Any]:
    system: dict[str, Any] = {
        "EventID": 1,
        "Level": random.choice((0, 2, "3", 4, {"#text": "2"})),
        "Channel": "X",
    }
    data: dict[str, Any] = {}
    for name, value in fields.items():
        element, mark, attribute = name.partition("_")
        if name in ("EventID", "Channel", "Computer", "Keywords", "Task"):
            system[name] = value
        elif mark and element and attribute and random.random() < 0.7:
            kind = random.choice(("#attributes", "$", ""))
            within = {kind: {attribute: value}} if kind else {f"@{attribute}": value}
            system[element] = within
        elif name == "Image" and random.random() < 0.3:
            data["NewProcessName"] = value
        elif random.random() < 0.15:
            data[_CAPITAL.sub(" ", name)] = value
        else:
            data[name] = value
    if words:
        data["Text"] = words
    return _shaped(system, data, random)


def _shaped(system: dict[str, Any], data: dict[str, Any], random: Random) -> dict[str, Any]:
    if random.random() < 0.3:
        key = random.choice(("Name", "@Name"))
        listed = [{key: name, "#text": value} for name, value in data.items()]
        return {"Event": {"System": system, "EventData": {"Data": listed}}}
    if random.random() < 0.3:
        return {"Event": {"System": system, "UserData": {"Wrapper": data}}}
    if random.random() < 0.3:
        beats = {"event_id": system.pop("EventID"), "channel": system.pop("Channel")}
        known = {"Provider_Name": "provider_name", "Computer": "computer_name", "Keywords": "keywords"}
        beats.update((known[name], system[name]) for name in known if name in system)
        return {"winlog": {**beats, "event_data": data}, "host": {"name": "h"}}
    if random.random() < 0.3:
        return {**system, **data, "SourceName": "Microsoft-Windows-X", "RecordNumber": 5}
    return {"Event": {"System": system, "EventData": data}}


def _otel(fields: dict[str, Any], words: list[str], random: Random) -> dict[str, Any]:
    kinds = {str: "stringValue", bool: "boolValue", int: "intValue", float: "doubleValue"}
    listed = []
    for name, value in fields.items():
        if type(value) is list:
            inner = {"arrayValue": {"values": [{kinds.get(type(v), "stringValue"): v} for v in value]}}
        else:
            inner = {kinds.get(type(value), "stringValue"): value}
        listed.append({"key": name, "value": inner})
    return {"severityNumber": 9, "body": {"stringValue": " ".join(words)}, "attributes": listed}


# --- lines ------------------------------------------------------------------------------------------------


def _pairs(fields: dict[str, Any]) -> list[tuple[str, str]]:
    return [
        (name, str(text_of(v)))
        for name, value in fields.items()
        for v in (value if type(value) is list else [value])
        if text_of(v) is not None
    ]


def _bare(name: str) -> str:
    return re.sub(r'[\s="\]]', "", name)


def _logfmt(fields: dict[str, Any], words: list[str], random: Random) -> str:
    told = [f"msg={json.dumps(' '.join(words))}", f"level={random.choice(('info', 'ERROR', 'warn'))}"]
    for name, text in _pairs(fields):
        if text == "" and random.random() < 0.5:
            told.append(_bare(name))
        elif re.search(r'[\s"=]', text) or text == "" or random.random() < 0.5:
            told.append(f"{_bare(name)}={to_json(text, random)}")
        else:
            told.append(f"{_bare(name)}={text}")
    random.shuffle(told)
    return random.choice((" ", "\u00a0", "\t ")).join(["ts=1795523696.5", *told])


def _syslog(fields: dict[str, Any], words: list[str], random: Random) -> str:
    def quoted(text: str) -> str:
        return re.sub(r'([\\"])', r"\\\1", text).replace("]", "\\]")

    told = "".join(f' {_bare(name)}="{quoted(text)}"' for name, text in _pairs(fields) if name.isascii())
    host, service = _first(fields, "host", "h"), _first(fields, "service", "app")
    message = " ".join((*words, _first(fields, "event", "")))
    if random.random() < 0.5:
        return f"<{random.randrange(192)}>1 2026-11-24T12:34:56Z {host} {service} 9 id [a@1{told}] {message}"
    return f"<{random.randrange(192)}>Nov 24 12:34:56 {host} {service}[12]: {message}"


def _first(fields: dict[str, Any], name: str, other: str) -> str:
    texts = [text for known, text in _pairs(fields) if known == name]
    return texts[0] if texts else other


def _access(fields: dict[str, Any], words: list[str], random: Random) -> str:
    method = _first(fields, "cs-method", "GET")
    url = _first(fields, "cs-uri-query", _first(fields, "cs-uri-stem", "/")) + " ".join(words)
    agent = re.sub(r'([\\"])', r"\\\1", _first(fields, "cs-user-agent", "agent"))
    referer = re.sub(r'([\\"])', r"\\\1", _first(fields, "cs-referer", "-"))
    status = _first(fields, "sc-status", "200")
    client = _first(fields, "c-ip", _first(fields, "src_ip", "192.0.2.7"))
    return (
        f"{client} - {_first(fields, 'user', '-')} [24/Nov/2026:12:34:56 +0000] "
        f'"{method} {url} HTTP/1.1" {status} 0{random.randrange(999)} "{referer}" "{agent}"'
    )


def _basic(fields: dict[str, Any], words: list[str], random: Random) -> str:
    message = " ".join((*words, *(text for _, text in _pairs(fields))))
    level = random.choice(("ERROR", "INFO", "CRITICAL"))
    logger = _first(fields, "logger", "a.b")
    return f"2026-11-24 12:34:56,000 - {logger} - {level} - {message}"


def _plain(fields: dict[str, Any], words: list[str], _: Random) -> str:
    return " ".join((*words, *(f"{name}: {text}" for name, text in _pairs(fields))))


_LINES = (_logfmt, _logfmt, _syslog, _syslog, _access, _basic, _plain)


def written(event: Wanted, random: Random) -> bytes:
    """Write an event in some format."""
    fields, words = event.fields, event.words
    way = random.randrange(10)
    if way < 3:
        text = to_json({"event": " ".join(words), "level": "info", **_nested(fields, random)}, random)
    elif way < 5:
        text = to_json(_windows(fields, words, random), random)
    elif way < 6:
        text = to_json(_otel(fields, words, random), random)
    elif way < 7:
        text = to_json({"@timestamp": "2026-11-24T12:34:56Z", "message": words, **fields}, random)
    else:
        text = random.choice(_LINES)(fields, words, random)
    return text.encode("utf-8", "replace")


# --- mutations --------------------------------------------------------------------------------------------


def mutated(raw: bytes, random: Random) -> bytes:
    """Change an event here and there, and write it anew."""
    try:
        fields = json.loads(raw)
    except ValueError:
        text = raw.decode("utf-8", "replace")
        return looking_alike(flipped(text, random), random).encode("utf-8", "replace")

    def changed(value: Any, depth: int) -> Any:  # Any: JSON
        if isinstance(value, dict):
            return {
                (_CAPITAL.sub(" ", k) if depth and random.random() < 0.02 else k): changed(v, depth + 1)
                for k, v in value.items()
                if random.random() > 0.02
            }
        way = random.randrange(40)
        if isinstance(value, list):
            return [changed(v, depth + 1) for v in value]
        if isinstance(value, str):
            if way < 6:
                return looking_alike(flipped(value, random), random)
            if way == 6 and value.isdecimal() and len(value) < 15:
                return int(value)
        elif isinstance(value, int) and not isinstance(value, bool) and way < 4:
            return (float(value), str(value), [value], [1, value])[way]
        return {7: None, 8: [value], 9: ["x", value]}.get(way, value)

    made = changed(fields, 0)
    return to_json(_nested(made, random) if isinstance(made, dict) else made, random).encode()
