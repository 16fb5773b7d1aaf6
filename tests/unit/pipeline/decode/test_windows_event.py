"""Windows events of every shape, made up for these tests."""

from __future__ import annotations

import datetime as dt
import zoneinfo

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.decode import FORMATS, formats
from pipeline.errors import DecodeError
from pipeline.event import Event, LogSource
from pipeline.sigma.matcher.subject import Subject, leaves

RECORD_MS = 1_795_537_450_000
T = 1_795_523_696_123
UTC = "2026-11-24T12:34:56.1234567Z"
SYSMON = "Microsoft-Windows-Sysmon/Operational"

STARTED: dict[str, object] = {
    "UtcTime": "2026-11-24 12:34:56.100",
    "ProcessId": 6336,
    "Image": "C:\\Tools\\a.exe",
    "CommandLine": '"C:\\Tools\\a.exe" /x',
    "Hashes": "MD5=00,IMPHASH=11",
    "ParentImage": "C:\\Windows\\explorer.exe",
}
SYSTEM: dict[str, object] = {
    "Provider": {"#attributes": {"Name": "Microsoft-Windows-Sysmon", "Guid": "5770385F"}},
    "EventID": 1,
    "Version": 5,
    "Level": 4,
    "Task": 1,
    "Opcode": 0,
    "Keywords": "0x8000000000000000",
    "TimeCreated": {"#attributes": {"SystemTime": UTC}},
    "EventRecordID": 77,
    "Correlation": None,
    "Execution": {"#attributes": {"ProcessID": 3544, "ThreadID": 4264}},
    "Channel": SYSMON,
    "Computer": "ws-1.example.com",
    "Security": {"#attributes": {"UserID": "S-1-5-18"}},
}


def xml(data: object = None, /, user: object = None, **system: object) -> dict[str, object]:
    event: dict[str, object] = {
        "#attributes": {"xmlns": "http://schemas.microsoft.com/win/2004/08/events/event"},
        "System": {**SYSTEM, **system},
    }
    if data is not None or user is None:
        event["EventData"] = data
    if user is not None:
        event["UserData"] = user
    return {"Event": event}


def decode(fields: object, name: str = "windows") -> Event:
    return FORMATS[name].decode(orjson.dumps(fields), RECORD_MS)


def flat(**more: object) -> dict[str, object]:
    return {"EventID": 1, "Channel": SYSMON, **more}


# --- the XML of an event ------------------------------------------------------------------------------


def test_what_an_event_holds_comes_to_the_top_under_its_own_name() -> None:
    event = decode(xml(STARTED))
    assert event.fields == {
        **STARTED,
        "EventID": 1,
        "Version": 5,
        "Level": 4,
        "Task": 1,
        "Opcode": 0,
        "Keywords": "0x8000000000000000",
        "EventRecordID": 77,
        "Channel": SYSMON,
        "Computer": "ws-1.example.com",
        "Provider_Name": "Microsoft-Windows-Sysmon",
        "Provider_Guid": "5770385F",
        "TimeCreated_SystemTime": UTC,
        "Execution_ProcessID": 3544,
        "Execution_ThreadID": 4264,
        "Security_UserID": "S-1-5-18",
        "timestamp": "2026-11-24T12:34:56.123Z",
        "level": "info",
        "host": "ws-1.example.com",
    }
    assert (event.time_ms, event.timed, event.structured) == (T, True, True)
    assert event.logsources == (LogSource("windows", "sysmon", "process_creation"),)


@pytest.mark.parametrize(
    "system",
    [
        {
            "Provider": {"@Name": "P", "@Guid": "G"},
            "EventID": {"#text": "1", "@Qualifiers": "16384"},
            "TimeCreated": {"@SystemTime": UTC},
            "Execution": {"@ProcessID": "3544"},
        },
        {
            "Provider": {"Name": "P", "Guid": "G"},
            "EventID": {"Value": "1", "Qualifiers": "16384"},
            "TimeCreated": {"SystemTime": UTC},
            "Execution": {"ProcessID": "3544"},
        },
        {
            "Provider": {"$": {"Name": "P", "Guid": "G"}},
            "EventID": {"_": "1", "$": {"Qualifiers": "16384"}},
            "TimeCreated": {"$": {"SystemTime": UTC}},
            "Execution": {"$": {"ProcessID": "3544"}},
        },
        {
            "Provider": {"#attributes": {"Name": "P", "Guid": "G"}},
            "EventID": {"#text": "1", "#attributes": {"Qualifiers": "16384"}},
            "TimeCreated": {"#attributes": {"SystemTime": UTC}},
            "Execution": {"#attributes": {"ProcessID": "3544"}},
        },
    ],
)
def test_converters_mark_attributes_and_texts_in_their_own_ways(system: dict[str, object]) -> None:
    event = decode({"Event": {"System": {**system, "Channel": SYSMON}}})
    expected = {"Provider_Name": "P", "Provider_Guid": "G", "EventID": "1", "EventID_Qualifiers": "16384"}
    assert {name: event.fields.get(name) for name in expected} == expected
    assert event.fields["Execution_ProcessID"] == "3544"
    assert event.time_ms == T
    assert event.logsources == (LogSource("windows", "sysmon", "process_creation"),)


def test_a_provider_may_be_a_mere_name() -> None:
    assert decode(xml(Provider="MsiInstaller")).fields["Provider_Name"] == "MsiInstaller"


@pytest.mark.parametrize(
    "data",
    [
        {
            "Data": [
                {"#attributes": {"Name": "A"}, "#text": "1"},
                {"#attributes": {"Name": "B"}, "#text": "2"},
            ]
        },
        {"Data": [{"@Name": "A", "#text": "1"}, {"@Name": "B", "#text": "2"}]},
        {"Data": [{"Name": "A", "Value": "1"}, {"Name": "B", "value": "2"}]},
        {"Data": [{"$": {"Name": "A"}, "_": "1"}, {"$": {"Name": "B"}, "_": "2"}]},
        {"Data": {"@Name": "A", "#text": "1"}, "B": {"#text": "2"}},
        {"A": "1", "B": "2"},
    ],
)
def test_named_data_become_fields_however_they_are_written(data: object) -> None:
    fields = decode(xml(data)).fields
    assert (fields["A"], fields["B"]) == ("1", "2")
    assert "Data" not in fields


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({"Data": ["a", "b"]}, ["a", "b"]),
        ({"Data": {"#text": ["a", "b"]}}, ["a", "b"]),
        ({"Data": [{"#text": "a"}, {"#text": "b"}]}, ["a", "b"]),
        ({"Data": "a", "Binary": None}, "a"),
        ({"Data": {"#text": "a"}}, "a"),
        ("a", "a"),
        (["a", "b"], ["a", "b"]),
        ({"#text": "a"}, "a"),
        ({"Data": [{"odd": 1}, "b"]}, [{"odd": 1}, "b"]),
    ],
)
def test_data_without_names_are_the_field_data(data: object, expected: object) -> None:
    assert decode(xml(data)).fields["Data"] == expected


def test_a_name_that_stands_twice_has_both_values() -> None:
    fields = decode(xml({"Data": [{"@Name": "A", "#text": t} for t in ("1", "2", "3")]})).fields
    assert fields["A"] == ["1", "2", "3"]


def test_names_with_spaces_are_found_as_rules_write_them() -> None:
    for data in ({"Threat Name": "x"}, {"Data": [{"@Name": "Threat Name", "#text": "x"}]}):
        fields = decode(xml(data)).fields
        assert fields["ThreatName"] == fields["Threat_Name"] == fields["Threat Name"] == "x"


def test_user_data_lose_the_element_that_wraps_them() -> None:
    user = {"Operation_X": {"#attributes": {"xmlns": "http://x"}, "User": "bob", "Inner": {"a": {"b": 1}}}}
    event = decode(xml(user={"@xmlns": "http://y", **user}))
    assert event.fields["User"] == "bob"
    assert Subject(event).values("Inner.a.b") == (1,)
    assert not [name for name in event.fields if "xmlns" in name]
    assert decode(xml(user={"Flat": "x"})).fields["Flat"] == "x"


def test_an_attribute_of_the_data_itself_has_their_name() -> None:
    assert decode(xml({"#attributes": {"Name": "TaskDisabled"}, "A": 1})).fields["EventData_Name"] == (
        "TaskDisabled"
    )


def test_numbers_that_rules_choose_by_are_systems_and_the_datas_stay_beside_them() -> None:
    fields = decode(xml({"EventID": "7", "Computer": "other", "Level": "high", "host": "h2"})).fields
    assert (fields["EventID"], fields["EventData.EventID"]) == (1, "7")
    assert (fields["Computer"], fields["EventData.Computer"]) == ("ws-1.example.com", "other")
    assert (fields["Level"], fields["EventData.Level"], fields["level"]) == (4, "high", "info")
    assert (fields["host"], fields["EventData.host"]) == ("ws-1.example.com", "h2")


def test_the_log_that_was_cleared_is_the_channel_that_rules_ask_for() -> None:
    event = decode(xml(user={"LogFileCleared": {"Channel": SYSMON}}, EventID=104, Channel="System"))
    assert (event.fields["Channel"], event.fields["System.Channel"]) == (SYSMON, "System")
    assert event.logsources == (LogSource("windows", "system"),)


def test_what_a_forwarder_adds_stays_and_wins() -> None:
    event = decode(
        {
            **xml({"user": "data"}),
            "user": "top",
            "host": {"name": "collector"},
            "service": {"name": "wef"},
            "@timestamp": "2026-11-24T13:00:00Z",
        }
    )
    assert (event.fields["user"], event.fields["EventData.user"]) == ("top", "data")
    assert (event.fields["host"], event.fields["host.name"]) == ("ws-1.example.com", "collector")
    assert event.fields["service"] == "wef"
    assert event.time_ms == T
    assert decode({**xml(), "host": "named"}).fields["host"] == "named"
    unnamed = decode({"Event": {"System": {"EventID": 1}}, "host": {"name": "collector"}})
    assert unnamed.fields["host"] == "collector"


def test_other_parts_of_an_event_keep_their_names() -> None:
    event = decode({"Event": {"System": SYSTEM, "RenderingInfo": {"Message": "It began.", "Task": "t"}}})
    assert event.fields["event"] == "It began."
    assert Subject(event).values("RenderingInfo.Task") == ("t",)


def test_no_message_is_made_up() -> None:
    assert "event" not in decode(xml(STARTED)).fields
    assert "service" not in decode(xml(STARTED)).fields
    fields = decode(xml({"Caption": "c", "Message": "It failed."})).fields
    assert fields["event"] == fields["Message"] == "It failed."


@pytest.mark.parametrize(
    ("level", "expected"),
    [
        *zip(range(6), ("info", "critical", "error", "warning", "info", "debug"), strict=True),
        ("2", "error"),
        ("Information", "info"),
        ("Error", "error"),
        (6, None),
        (True, None),
        (2.0, None),
        ("AUDIT", None),
        ([2], None),
    ],
)
def test_levels_become_canonical_and_stay_as_written(level: object, expected: str | None) -> None:
    fields = decode(xml(Level=level)).fields
    assert fields["Level"] == level
    assert fields.get("level") == expected


def test_a_level_that_the_event_states_is_kept() -> None:
    assert decode({**xml(Level=2), "level": "debug"}).fields["level"] == "debug"
    assert decode({**xml(Level=2), "level": {"a": 1}}).fields["level"] == "error"


def test_the_audit_of_a_new_process_has_sysmons_names_too() -> None:
    data = {
        "NewProcessName": "C:\\a.exe",
        "ParentProcessName": "C:\\b.exe",
        "SubjectLogonId": "0x3e7",
        "ProcessId": "0x1a4",
        "CommandLine": "a /x",
    }
    event = decode(xml(data, EventID=4688, Channel="Security"))
    assert event.fields.items() >= data.items()
    assert event.fields["Image"] == "C:\\a.exe"
    assert event.fields["ParentImage"] == "C:\\b.exe"
    assert event.fields["LogonId"] == "0x3e7"
    assert event.logsources == (LogSource("windows", "security", "process_creation"),)
    assert decode(xml({"NewProcessName": "n", "Image": "i"})).fields["Image"] == "i"


def test_a_process_without_a_number_of_its_own_is_the_one_that_logged() -> None:
    assert decode(xml({"ServiceName": "x"})).fields["ProcessId"] == 3544


# --- times --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "time_ms"),
    [
        (xml({"UtcTime": "2026-11-24 01:00:00.000"}), T),
        (xml({"UtcTime": "2026-11-24 12:34:56.123"}, TimeCreated=None), T),
        ({**xml({"UtcTime": "soon"}, TimeCreated={"x": 1}), "@timestamp": UTC}, T),
        ({**xml(), "timestamp": "2026-11-24T12:00:00Z"}, T - 2_096_123),
        (flat(UtcTime="2026-11-24 12:34:56.123", EventTime="2026-11-24 01:00:00"), T),
        (flat(**{"@timestamp": UTC, "EventTime": "2026-11-24 01:00:00"}), T),
        (flat(EventTime="2026-11-24 07:34:56.123"), T),
        (flat(EventTime="2026-11-24T13:34:56.123+01:00"), T),
        (flat(TimeCreated=UTC, EventTime="2026-11-24 01:00:00"), T),
    ],
)
def test_the_first_time_that_can_be_read_counts(fields: dict[str, object], time_ms: int) -> None:
    decoder = formats(zoneinfo.ZoneInfo("America/New_York"))["windows"]
    event = decoder.decode(orjson.dumps(fields), RECORD_MS)
    assert (event.time_ms, event.timed) == (time_ms, True)


@pytest.mark.parametrize(
    "created", [None, "", "x", 0, {"#attributes": {"SystemTime": "1970-01-02T00:00:00Z"}}]
)
def test_an_event_without_a_time_takes_the_records(created: object) -> None:
    event = decode(xml(TimeCreated=created))
    assert (event.time_ms, event.timed) == (RECORD_MS, False)
    assert "timestamp" not in event.fields


# --- other shapes -------------------------------------------------------------------------------------


def test_winlogbeat() -> None:
    event = decode(
        {
            "@timestamp": UTC,
            "message": "Process Create:\r\nImage: C:\\Tools\\a.exe",
            "log": {"level": "information"},
            "host": {"name": "collector"},
            "event": {"code": "1", "kind": "event"},
            "process": {"executable": "C:\\Tools\\a.exe", "pid": 6336},
            "winlog": {
                "channel": SYSMON,
                "event_id": "1",
                "provider_name": "Microsoft-Windows-Sysmon",
                "computer_name": "ws-1",
                "record_id": 77,
                "keywords": ["Audit Success"],
                "event_data": STARTED,
                "process": {"pid": 3544},
            },
        }
    )
    expected = {
        **STARTED,
        "EventID": "1",
        "Channel": SYSMON,
        "Computer": "ws-1",
        "Provider_Name": "Microsoft-Windows-Sysmon",
        "EventRecordID": 77,
        "Keywords": ["Audit Success"],
        "level": "info",
        "host": "ws-1",
        "host.name": "collector",
        "event.code": "1",
        "process": {"executable": "C:\\Tools\\a.exe", "pid": 6336},
        "winlog": {"process": {"pid": 3544}},
    }
    assert {name: event.fields.get(name) for name in expected} == expected
    assert event.fields["event"] == event.fields["Message"] == event.fields["message"]
    # UtcTime: when it happened, where @timestamp says when it was logged.
    assert event.time_ms == T - 23
    assert event.logsources == (LogSource("windows", "sysmon", "process_creation"),)


def test_winlogbeats_numbered_texts_are_data() -> None:
    winlog = {"channel": "Application", "event_id": 1000, "event_data": {"param1": "a", "param2": "b"}}
    fields = decode({"winlog": winlog}).fields
    assert (fields["param1"], fields["Data"]) == ("a", ["a", "b"])
    assert "winlog" not in fields


def test_winlogbeats_user_data() -> None:
    winlog = {"channel": "System", "event_id": 104, "user_data": {"xml_name": "LogFileCleared", "User": "u"}}
    assert decode({"winlog": winlog}).fields["User"] == "u"


def test_nxlog() -> None:
    event = decode(
        {
            "EventTime": "2026-11-24 12:34:56",
            "Hostname": "ws-1",
            "Keywords": -9223372036854775808,
            "Severity": "WARNING",
            "EventID": 1,
            "SourceName": "Microsoft-Windows-Sysmon",
            "ProviderGuid": "{5770385F}",
            "ExecutionProcessID": 3544,
            "RecordNumber": 77,
            "Channel": SYSMON,
            "Message": "Process Create",
            "Image": "C:\\Tools\\a.exe",
        }
    )
    expected = {
        "Provider_Name": "Microsoft-Windows-Sysmon",
        "Provider_Guid": "{5770385F}",
        "Computer": "ws-1",
        "host": "ws-1",
        "EventRecordID": 77,
        "level": "warning",
        "event": "Process Create",
        "ProcessId": 3544,
        "SourceName": "Microsoft-Windows-Sysmon",
        "timestamp": "2026-11-24T12:34:56.000Z",
    }
    assert {name: event.fields.get(name) for name in expected} == expected
    assert event.logsources == (LogSource("windows", "sysmon", "process_creation"),)


@pytest.mark.parametrize(
    "fields",
    [
        {"EventID": 1, "SourceName": SYSMON},
        {"EventID": "1", "Provider_Name": "Microsoft-Windows-Sysmon"},
        {"EventID": 1, "ProviderName": "microsoft-windows-sysmon"},
    ],
)
def test_a_flat_event_is_told_by_its_number_and_where_it_is_from(fields: dict[str, object]) -> None:
    assert decode({**fields, "Image": "x"}).logsources == (
        LogSource("windows", "sysmon", "process_creation"),
    )


def test_a_flat_event_may_have_its_data_in_an_object() -> None:
    fields = decode(flat(EventData={"Image": "x", "Channel": "c"}, StringInserts=["a", "b"])).fields
    assert fields["Image"] == "x"
    assert fields["EventData.Channel"] == "c"
    assert fields["Data"] == ["a", "b"]
    assert "EventData" not in fields


NOT_WINDOWS: list[dict[str, object]] = [
    {},
    {"event": "x", "level": "info"},
    {"Event": "started"},
    {"Event": {"name": "x"}},
    {"Event": {"System": "billing", "EventData": {}}},
    {"Event": {"System": {"name": "billing"}}},
    {"winlog": "x"},
    {"winlog": {"x": 1}},
    {"EventID": 5},
    {"EventID": 5, "Channel": "web"},
    {"EventID": "0a1b", "Channel": "Security"},
    {"EventID": -5, "Channel": "Security"},
    {"EventID": None, "Channel": "Security"},
    {"EventID": 1, "Channel": ["Security"]},
    {"EventID": 1, "Channel": {"a": "Security"}},
]


@pytest.mark.parametrize("fields", NOT_WINDOWS, ids=repr)
def test_what_is_no_windows_event_is_left_to_json(fields: dict[str, object]) -> None:
    with pytest.raises(DecodeError, match="no Windows event"):
        decode(fields)
    event = decode(fields, "json")
    assert event.fields.items() >= fields.items()
    assert event.logsources == ()


@pytest.mark.parametrize("raw", [b"", b"[]", b"1", b"{", b"Nov 24 12:34:56 h a: b", b'{"Event":'])
def test_what_is_no_json_object_is_no_windows_event(raw: bytes) -> None:
    with pytest.raises(DecodeError):
        FORMATS["windows"].decode(raw, RECORD_MS)


@pytest.mark.parametrize("fields", [xml(STARTED), flat(**STARTED), {"winlog": {"event_id": 1}}])
def test_json_decodes_windows_events_as_windows_does(fields: dict[str, object]) -> None:
    assert decode(fields, "json") == decode(fields)


# --- whatever comes -----------------------------------------------------------------------------------

SCALARS = st.sampled_from([None, True, 7, 1.5, "a", "x y", "2026-11-24T12:34:56Z", "", "Security"])
NAMES = st.sampled_from(
    [
        *("#attributes", "#text", "$", "@Name", "Value", "_", "Data", "param1", "a b", "c"),
        *("EventID", "Channel", "Computer", "Level", "host", "level", "timestamp", "Message", "Provider"),
        *("NewProcessName", "UtcTime", "TimeCreated", "event_data", "user_data", "keywords", "event_id"),
    ]
)
ANY = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=10,
)
OBJECT = st.dictionaries(NAMES, ANY, max_size=6)
SHAPES = st.one_of(
    st.builds(
        lambda system, data, user, top: {
            **top,
            "Event": {"System": {**system, "EventID": 1}, "EventData": data, "UserData": user},
        },
        OBJECT,
        ANY,
        ANY,
        OBJECT,
    ),
    st.builds(lambda winlog, top: {**top, "winlog": {**winlog, "event_id": 1}}, OBJECT, OBJECT),
    st.builds(
        lambda top, data: {**top, "EventID": 1, "SourceName": "System", "EventData": data}, OBJECT, ANY
    ),
)
MADE_UP = ("timestamp", "level")


@given(SHAPES)
def test_any_content_is_survived_nothing_invented_and_nothing_lost(fields: dict[str, object]) -> None:
    raw = orjson.dumps(fields)
    event = FORMATS["windows"].decode(raw, RECORD_MS)
    assert event.fields["EventID"] is not None or "EventID" in fields
    assert event.logsources
    there = orjson.loads(raw)
    assert set(leaves([v for k, v in event.fields.items() if k not in MADE_UP])) <= set(leaves(there))
    kept = set(leaves(dict(event.fields)))
    assert set(leaves({k: v for k, v in there.items() if k not in MADE_UP})) <= kept


def test_a_thousand_levels_are_decoded() -> None:
    deep = b'{"a":' * 900 + b"1" + b"}" * 900
    for place in (b'"System":{"EventID":1,"x":' + deep + b"}", b'"System":{"EventID":1},"EventData":' + deep):
        assert FORMATS["windows"].decode(b'{"Event":{' + place + b"}}", RECORD_MS).fields["EventID"] == 1


def test_a_time_zone_is_for_times_without_an_offset() -> None:
    assert formats(dt.UTC)["windows"].decode(orjson.dumps(xml()), RECORD_MS).time_ms == T
