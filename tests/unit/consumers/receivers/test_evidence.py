"""Which parts of an event a message shows."""

from __future__ import annotations

import json

from consumers.receivers.evidence import written


def test_windows_event_is_named_by_its_number_and_shows_its_own_fields() -> None:
    event = {
        "EventID": 1,
        "Provider_Name": "Microsoft-Windows-Sysmon",
        "Channel": "Microsoft-Windows-Sysmon/Operational",
        "Level": 4,
        "timestamp": "2026-11-24T08:30:20.966Z",
        "RuleName": "-",
        "ProcessGuid": "0197231E-5D9C-6929-4111-000000000D00",
        "Image": "C:\\x.exe",
        "CommandLine": "x.exe --all",
    }
    assert written(json.dumps(event)) == (
        "2026-11-24T08:30:20.966Z Microsoft-Windows-Sysmon/Operational 1"
        ' Image=C:\\x.exe CommandLine="x.exe --all"'
    )
