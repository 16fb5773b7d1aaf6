from __future__ import annotations

import pytest

from pipeline.decode.windows_logsources import CATEGORIES, CHANNELS, PROVIDERS, is_known, logsources, number
from pipeline.event import LogSource

SYSMON = "Microsoft-Windows-Sysmon/Operational"


def of(service: str, *categories: str) -> tuple[LogSource, ...]:
    return tuple(LogSource("windows", service, category) for category in categories or ("",))


@pytest.mark.parametrize(
    ("channel", "event_id", "expected"),
    [
        ("Security", 4624, of("security")),
        ("SECURITY", 4688, of("security", "process_creation")),
        ("Security", "4688", of("security", "process_creation")),
        ("System", 7045, of("system")),
        ("System", 4688, of("system")),
        (SYSMON, 1, of("sysmon", "process_creation")),
        (SYSMON, 13, of("sysmon", "registry_event", "registry_set")),
        (SYSMON, 26, of("sysmon", "file_delete", "file_delete_detected")),
        (SYSMON, 999, of("sysmon")),
        ("Microsoft-Windows-PowerShell/Operational", 4104, of("powershell", "ps_script")),
        ("PowerShellCore/Operational", 4103, of("powershell", "ps_module")),
        ("Windows PowerShell", 400, of("powershell-classic", "ps_classic_start")),
        ("Microsoft-Windows-LDAP-Client/Debug", 30, (*of("ldap"), *of("ldap_debug"))),
        ("Acme/Operational", 1, of("")),
        ("x" * 10_000, 1, of("")),
    ],
)
def test_a_channel_is_a_service_and_some_of_its_numbers_are_categories(
    channel: str, event_id: object, expected: tuple[LogSource, ...]
) -> None:
    assert logsources(channel, "Microsoft-Windows-Sysmon", event_id) == expected


@pytest.mark.parametrize(
    ("event_type", "categories"),
    [
        ("CreateKey", ("registry_event", "registry_add")),
        ("DeleteKey", ("registry_event", "registry_delete")),
        ("DeleteValue", ("registry_event", "registry_delete")),
        ("other", ("registry_event", "registry_add", "registry_delete")),
        (None, ("registry_event", "registry_add", "registry_delete")),
    ],
)
def test_what_was_done_to_a_registry_key_says_which_category(
    event_type: object, categories: tuple[str, ...]
) -> None:
    assert logsources(SYSMON, None, 12, event_type) == of("sysmon", *categories)
    assert logsources(SYSMON, None, 13, event_type) == of("sysmon", "registry_event", "registry_set")


@pytest.mark.parametrize("channel", [None, "", "ForwardedEvents", 5, ["Security"]])
def test_the_provider_tells_where_the_channel_does_not(channel: object) -> None:
    assert logsources(channel, "Microsoft-Windows-Sysmon", 1) == of("sysmon", "process_creation")
    assert logsources(channel, SYSMON, 1) == of("sysmon", "process_creation")
    assert logsources(channel, "Acme", 1) == of("")
    assert logsources(channel, None, 1) == of("")


def test_the_tables_name_channels_once_and_services_that_exist() -> None:
    twice = {"ldap", "ldap_debug", "microsoft-servicebus-client", "servicebus-client"}
    names = [name.lower() for service, names in CHANNELS.items() if service not in twice for name in names]
    assert len(names) == len(set(names))
    assert {service for service, _ in CATEGORIES} | set(PROVIDERS.values()) <= CHANNELS.keys()
    assert all(is_known(name.upper()) for name in (*names, *PROVIDERS))
    assert not is_known("Acme")
    assert not is_known(None)


@pytest.mark.parametrize(
    ("event_id", "expected"),
    [
        (1, 1),
        ("4688", 4688),
        ("01", 1),
        ("", -1),
        ("123456", -1),
        ("²", -1),
        (1.0, -1),
        (True, -1),
        (None, -1),
    ],
)
def test_an_events_number_may_be_text(event_id: object, expected: int) -> None:
    assert number(event_id) == expected
