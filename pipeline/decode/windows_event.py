"""Windows events: the event log's own JSON, in any of its shapes, under the names that Sigma's rules use.

Three shapes are known: the XML of an event as an object (`{"Event": {"System": …, "EventData": …}}`),
Winlogbeat's (`{"winlog": …}`), and one flat object as NXLog and other forwarders write. What an event holds
comes to the top under its own name, attributes as `Element_Attribute` (`Provider_Name`); the objects it came
from are gone, so that keywords don't find everything twice. Values are moved, never rewritten.

Where a name is taken the first stays, in this order: what stood at the top, System's names that rules
choose events by, EventData and UserData, the rest. The other one gets a dotted name (`System.Channel`).

Sources: the schema of the event log's XML ("Event Schema", Microsoft), Winlogbeat's exported fields, NXLog's
`im_msvistalog`; the field names are those of SigmaHQ's rules.
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

from pipeline.decode import levels, timestamps, windows_logsources
from pipeline.decode.dialects import adopt
from pipeline.decode.windows_elements import (
    ATTRIBUTES,
    MARKUP,
    add_all,
    attributes,
    data,
    system_values,
    user_data,
)
from pipeline.event import Event

if TYPE_CHECKING:
    from pipeline.event import LogSource

__all__ = ["MARKS", "read"]

MARKS: frozenset[str] = frozenset({"Event", "EventID", "winlog"})
"""Top-level names of which every Windows event has one."""

_Object = dict[str, object]


# A Windows event taken apart: System under Sigma's names, then the other objects, each with its name.
_Parts = tuple[_Object, list[tuple[str, _Object]]]


# System's names that win over the data's: by these a rule chooses its events. A channel in the data is meant
# by the rules that name one: that of the log which was cleared.
_CHOOSING = ("EventID", "Provider_Name", "Computer", "Level")

# Whatever gives a value another name, here and below, `sigma.witness` must know: it looks for names in bytes.
_BEATS = {
    "activity_id": "Correlation_ActivityID",
    "channel": "Channel",
    "computer_name": "Computer",
    "event_id": "EventID",
    "keywords": "Keywords",
    "level": "Level",
    "opcode": "Opcode",
    "provider_guid": "Provider_Guid",
    "provider_name": "Provider_Name",
    "record_id": "EventRecordID",
    "task": "Task",
    "version": "Version",
}
# What a flat event may call System's fields, first found first.
_FLAT = (
    ("Computer", ("ComputerName", "Hostname", "MachineName")),
    ("EventRecordID", ("RecordNumber", "RecordId", "RecordID")),
    ("Provider_Guid", ("ProviderGuid",)),
    ("Provider_Name", ("ProviderName", "SourceName", "Provider")),
    ("Execution_ProcessID", ("ExecutionProcessID",)),
    ("ProcessId", ("ProcessID",)),
    ("Data", ("StringInserts",)),
)
_GIVEN = (str, int, list)
_PLACES = ("Channel", "Provider_Name", "ProviderName", "SourceName")
# Besides a number and a place, one of these tells a flat event from anybody's `EventID`.
_EVIDENCE = frozenset(
    {
        "EventData",
        "EventRecordID",
        "Keywords",
        "Opcode",
        "OpcodeValue",
        "ProviderGuid",
        "Provider_Guid",
        "RecordNumber",
        "Task",
    }
)
# Sysmon's names for what Security's event 4688 says (pySigma's Windows audit pipeline).
_AUDITED = (("Image", "NewProcessName"), ("ParentImage", "ParentProcessName"), ("LogonId", "SubjectLogonId"))

_CANONICAL: frozenset[object] = frozenset(levels.LEVELS)

# What nearly every event says of its XML; no data.
_SCHEMA = {"xmlns": "http://schemas.microsoft.com/win/2004/08/events/event"}


def read(
    fields: _Object, text: str, zone: dt.tzinfo, record_ms: int, said: tuple[LogSource, ...] = ()
) -> Event | None:
    """Return a Windows event, or None if the object is none; only then it is as it was.

    Args:
        fields: the object as it was parsed; it becomes the event's fields.
        text: how it was written.
        zone: what times without an offset are in, but for UtcTime.
        record_ms: the record's own time, milliseconds since the epoch.
        said: log sources that the event declares besides.
    """
    parts = _of_xml(fields) or _of_beats(fields) or _of_flat(fields)
    if parts is None:
        return None
    system, blocks = parts
    stated, hosted = "timestamp" in fields, type(fields.get("host")) is dict
    adopted = adopt(fields, zone, record_ms) if fields else (record_ms, False)
    if hosted and type(fields.get("host")) is str and type(system.get("Computer")) is str:
        # ECS: the host that sent it, which may have collected it from others; it stays as host.name.
        del fields["host"]
    channel = system.pop("Channel", None)
    chosen = {name: system.pop(name) for name in _CHOOSING if name in system}
    _merge(fields, chosen, "System")
    where, provider = channel or fields.get("Channel"), fields.get("Provider_Name")
    time_ms, timed = _settle(fields, system, blocks, adopted, zone, record_ms, stated=stated)
    _add_canonical(fields)
    for name, block in blocks:
        _merge(fields, block, name)
    if channel is not None:
        system["Channel"] = channel
    _merge(fields, system, "System")
    _add_names(fields)
    found = windows_logsources.logsources(where, provider, fields.get("EventID"), fields.get("EventType"))
    return Event(time_ms, fields, text, timed, structured=True, logsources=(*found, *said))


def _merge(fields: _Object, more: _Object, name: str) -> None:
    """Add names that are free; what would take another's place gets a dotted name."""
    if fields.keys().isdisjoint(more):
        fields.update(more)
        return
    for key, value in more.items():
        if key in fields:
            key = f"{name}.{key}"  # noqa: PLW2901 — the name it gets
        fields.setdefault(key, value)


def _settle(
    fields: _Object,
    system: _Object,
    blocks: list[tuple[str, _Object]],
    adopted: tuple[int, bool],
    zone: dt.tzinfo,
    record_ms: int,
    *,
    stated: bool,
) -> tuple[int, bool]:
    """Return the event's time and whether it is its own; a time nobody stated becomes the `timestamp`."""
    found = timestamps.of_value(fields.get("timestamp"), zone) if stated else None
    if found is None:
        created = system.get("TimeCreated_SystemTime") or system.get("TimeCreated")
        found = timestamps.of_value(created or fields.get("TimeCreated"), zone)
    if found is None:
        told = [block["UtcTime"] for _, block in blocks if "UtcTime" in block]
        found = timestamps.of_value(told[0] if told else fields.get("UtcTime"), dt.UTC)
    if found is None and adopted[1]:
        found = adopted[0]
    if found is None:
        found = timestamps.of_value(fields.get("EventTime"), zone)
    time_ms, timed = timestamps.settle(found, record_ms)
    if timed and not stated:
        fields["timestamp"] = timestamps.rfc3339(time_ms)
    return time_ms, timed


def _add_canonical(fields: _Object) -> None:
    if "host" not in fields and type(computer := fields.get("Computer")) is str:
        fields["host"] = computer
    if type(level := fields.get("level")) is not str or level not in _CANONICAL:
        written = fields.get("Level")
        meant = levels.of_windows_level(written)
        if meant is None:
            known = (levels.canonical(v) for v in (written, fields.get("Severity")) if type(v) is str)
            meant = next((found for found in known if found is not None), None)
        if meant is not None:
            fields["level"] = meant


def _add_names(fields: _Object) -> None:
    """Add what rules call things that the event has under another name."""
    if "NewProcessName" in fields:
        for name, source in _AUDITED:
            if source in fields:
                fields.setdefault(name, fields[source])
    if "ProcessId" not in fields and "Execution_ProcessID" in fields:
        fields["ProcessId"] = fields["Execution_ProcessID"]
    message = fields.get("Message")
    if message is None and type(rendered := fields.get("RenderingInfo")) is dict:
        message = rendered.get("Message")
    if message is None and type(message := fields.get("message")) is str:
        fields["Message"] = message
    if type(message) is str:
        fields.setdefault("event", message)


# --- shapes -------------------------------------------------------------------------------------------


def _of_xml(fields: _Object) -> _Parts | None:
    event = fields.get("Event")
    if type(event) is not dict or type(system := event.get("System")) is not dict or "EventID" not in system:
        return None
    del fields["Event"]
    blocks: list[tuple[str, _Object]] = []
    for name, value in event.items():
        if name == "System" or (name in ATTRIBUTES and value == _SCHEMA):
            continue
        if name == "EventData":
            blocks.append((name, data(name, value)))
        elif name == "UserData":
            blocks.extend((name, block) for block in user_data(value))
        elif name[:1] in MARKUP or name == "xmlns":
            blocks.append(("Event", add_all({}, attributes("Event", {name: value}))))
        else:
            blocks.append(("Event", {name: value}))
    return system_values(system), blocks


def _of_beats(fields: _Object) -> _Parts | None:
    winlog = fields.get("winlog")
    if type(winlog) is not dict or ("event_id" not in winlog and "event_data" not in winlog):
        return None
    blocks = [
        (name, data(source, winlog.pop(source)))
        for source, name in (("event_data", "EventData"), ("user_data", "UserData"))
        if source in winlog
    ]
    for _, block in blocks:
        # Winlogbeat numbers the texts of events that don't name them; rules know them as Data.
        if "param1" in block and "Data" not in block:
            block["Data"] = [value for name, value in block.items() if name.startswith("param")]
    system = {_BEATS[name]: winlog.pop(name) for name in list(winlog) if name in _BEATS}
    if not winlog:
        del fields["winlog"]
    return system, blocks


def _of_flat(fields: _Object) -> _Parts | None:
    if windows_logsources.number(fields.get("EventID")) < 0:
        return None
    places = [place for name in _PLACES if type(place := fields.get(name)) is str and place]
    if not places or not (
        any(windows_logsources.is_known(place) or place[:10].lower() == "microsoft-" for place in places)
        or not _EVIDENCE.isdisjoint(fields)
    ):
        return None
    system: _Object = {}
    for name, sources in _FLAT:
        if name not in fields:
            given = (fields[s] for s in sources if s in fields and type(fields[s]) in _GIVEN)
            if (value := next(given, None)) is not None:
                system[name] = value
    blocks = [
        (str(name), data(name, fields.pop(name))) for name in ("EventData", "UserData") if name in fields
    ]
    return system, blocks
