"""Windows log sources: which of Sigma's services and categories an event of a channel belongs to.

The rule: a channel is one service, whatever its case, and a few of a service's event numbers are a category
as well; an event that is of several categories is of each. What the tables don't hold is Windows, no more.

Sources: SigmaHQ's mapping (`tests/thor.yml` in SigmaHQ/sigma) and pySigma's (`windows_logsource_mapping`, the
Sysmon and Windows audit pipelines) for the names; Microsoft's manifests for a channel's real spelling where
those name only its provider; Sysmon's manual for its event numbers.
"""

from __future__ import annotations

from pipeline.event import LogSource

__all__ = ["CATEGORIES", "CHANNELS", "PROVIDERS", "is_known", "logsources", "number"]

CHANNELS: dict[str, tuple[str, ...]] = {
    "appmodel-runtime": ("Microsoft-Windows-AppModel-Runtime/Admin",),
    "application": ("Application",),
    "application-experience": (
        "Microsoft-Windows-Application-Experience/Program-Compatibility-Assistant",
        "Microsoft-Windows-Application-Experience/Program-Telemetry",
    ),
    "applocker": (
        "Microsoft-Windows-AppLocker/EXE and DLL",
        "Microsoft-Windows-AppLocker/MSI and Script",
        "Microsoft-Windows-AppLocker/Packaged app-Deployment",
        "Microsoft-Windows-AppLocker/Packaged app-Execution",
    ),
    "appxdeployment-server": ("Microsoft-Windows-AppXDeploymentServer/Operational",),
    "appxpackaging-om": (
        "Microsoft-Windows-AppxPackaging/Operational",
        "Microsoft-Windows-AppxPackagingOM/Operational",
    ),
    "bitlocker": ("Microsoft-Windows-BitLocker/BitLocker Management",),
    "bits-client": ("Microsoft-Windows-Bits-Client/Operational",),
    "capi2": ("Microsoft-Windows-CAPI2/Operational",),
    "certificateservicesclient-lifecycle-system": (
        "Microsoft-Windows-CertificateServicesClient-Lifecycle-System/Operational",
    ),
    "codeintegrity-operational": ("Microsoft-Windows-CodeIntegrity/Operational",),
    "dhcp": ("Microsoft-Windows-DHCP-Server/Operational",),
    "diagnosis-scripted": ("Microsoft-Windows-Diagnosis-Scripted/Operational",),
    "dns-client": (
        "Microsoft-Windows-DNS Client Events/Operational",
        "Microsoft-Windows-DNS-Client/Operational",
    ),
    "dns-server": ("DNS Server",),
    "dns-server-analytic": ("Microsoft-Windows-DNS-Server/Analytical",),
    "dns-server-audit": ("Microsoft-Windows-DNS-Server/Audit",),
    "driver-framework": ("Microsoft-Windows-DriverFrameworks-UserMode/Operational",),
    "firewall-as": ("Microsoft-Windows-Windows Firewall With Advanced Security/Firewall",),
    "hyper-v-worker": ("Microsoft-Windows-Hyper-V-Worker", "Microsoft-Windows-Hyper-V-Worker-Admin"),
    "iis-configuration": ("Microsoft-IIS-Configuration/Operational",),
    "kernel-event-tracing": (
        "Microsoft-Windows-Kernel-EventTracing",
        "Microsoft-Windows-Kernel-EventTracing/Admin",
    ),
    "kernel-shimengine": (
        "Microsoft-Windows-Kernel-ShimEngine/Diagnostic",
        "Microsoft-Windows-Kernel-ShimEngine/Operational",
    ),
    "ldap": ("Microsoft-Windows-LDAP-Client/Debug",),
    "ldap_debug": ("Microsoft-Windows-LDAP-Client/Debug",),
    "lsa-server": ("Microsoft-Windows-LSA/Operational",),
    "microsoft-servicebus-client": (
        "Microsoft-ServiceBus-Client/Admin",
        "Microsoft-ServiceBus-Client/Operational",
    ),
    "msexchange-management": ("MSExchange Management",),
    "ntfs": ("Microsoft-Windows-Ntfs/Operational",),
    "ntlm": ("Microsoft-Windows-NTLM/Operational",),
    "openssh": ("OpenSSH/Operational",),
    "powershell": ("Microsoft-Windows-PowerShell/Operational", "PowerShellCore/Operational"),
    "powershell-classic": ("Windows PowerShell",),
    "printservice-admin": ("Microsoft-Windows-PrintService/Admin",),
    "printservice-operational": ("Microsoft-Windows-PrintService/Operational",),
    "security": ("Security",),
    "security-mitigations": (
        "Microsoft-Windows-Security-Mitigations/Kernel Mode",
        "Microsoft-Windows-Security-Mitigations/KernelMode",
        "Microsoft-Windows-Security-Mitigations/User Mode",
        "Microsoft-Windows-Security-Mitigations/UserMode",
    ),
    "sense": ("Microsoft-Windows-SENSE/Operational",),
    "servicebus-client": (
        "Microsoft-ServiceBus-Client/Admin",
        "Microsoft-ServiceBus-Client/Operational",
    ),
    "shell-core": ("Microsoft-Windows-Shell-Core/Operational",),
    "smbclient-connectivity": ("Microsoft-Windows-SmbClient/Connectivity",),
    "smbclient-security": ("Microsoft-Windows-SmbClient/Security",),
    "smbserver-connectivity": ("Microsoft-Windows-SMBServer/Connectivity",),
    "sysmon": ("Microsoft-Windows-Sysmon/Operational",),
    "system": ("System",),
    "taskscheduler": ("Microsoft-Windows-TaskScheduler/Operational",),
    "terminalservices-localsessionmanager": (
        "Microsoft-Windows-TerminalServices-LocalSessionManager/Operational",
    ),
    "vhdmp": ("Microsoft-Windows-VHDMP-Operational", "Microsoft-Windows-VHDMP/Operational"),
    "windefend": ("Microsoft-Windows-Windows Defender/Operational",),
    "wmi": ("Microsoft-Windows-WMI-Activity/Operational",),
}
"""Sigma's service → the channels it stands for."""

PROVIDERS: dict[str, str] = {
    "Microsoft-Windows-Bits-Client": "bits-client",
    "Microsoft-Windows-PowerShell": "powershell",
    "Microsoft-Windows-Security-Auditing": "security",
    "Microsoft-Windows-Sysmon": "sysmon",
    "Microsoft-Windows-TaskScheduler": "taskscheduler",
    "Microsoft-Windows-WMI-Activity": "wmi",
    "Microsoft-Windows-Windows Defender": "windefend",
    "PowerShell": "powershell-classic",
    "PowerShellCore": "powershell",
    "Service Control Manager": "system",
}
"""Provider → the service of the one channel that it writes to; for events that name no channel."""

CATEGORIES: dict[tuple[str, int], tuple[str, ...]] = {
    ("sysmon", 1): ("process_creation",),
    ("sysmon", 2): ("file_change",),
    ("sysmon", 3): ("network_connection",),
    ("sysmon", 4): ("sysmon_status",),
    ("sysmon", 5): ("process_termination",),
    ("sysmon", 6): ("driver_load",),
    ("sysmon", 7): ("image_load",),
    ("sysmon", 8): ("create_remote_thread",),
    ("sysmon", 9): ("raw_access_thread",),
    ("sysmon", 10): ("process_access",),
    ("sysmon", 11): ("file_event",),
    ("sysmon", 12): ("registry_event", "registry_add", "registry_delete"),
    ("sysmon", 13): ("registry_event", "registry_set"),
    ("sysmon", 14): ("registry_event", "registry_rename"),
    ("sysmon", 15): ("create_stream_hash",),
    ("sysmon", 16): ("sysmon_status",),
    ("sysmon", 17): ("pipe_created",),
    ("sysmon", 18): ("pipe_created",),
    ("sysmon", 19): ("wmi_event",),
    ("sysmon", 20): ("wmi_event",),
    ("sysmon", 21): ("wmi_event",),
    ("sysmon", 22): ("dns_query",),
    ("sysmon", 23): ("file_delete",),
    ("sysmon", 24): ("clipboard_capture", "clipboard_change"),
    ("sysmon", 25): ("process_tampering",),
    ("sysmon", 26): ("file_delete", "file_delete_detected"),
    ("sysmon", 27): ("file_block_executable",),
    ("sysmon", 28): ("file_block_shredding",),
    ("sysmon", 29): ("file_executable_detected",),
    ("sysmon", 255): ("sysmon_error",),
    ("security", 4688): ("process_creation",),
    ("powershell", 4103): ("ps_module",),
    ("powershell", 4104): ("ps_script",),
    ("powershell-classic", 400): ("ps_classic_start",),
    ("powershell-classic", 600): ("ps_classic_provider_start",),
    ("powershell-classic", 800): ("ps_classic_script",),
}
"""(service, event number) → categories."""

# Sysmon's event 12 is either; its EventType says which.
_KEY_EVENTS: dict[str, tuple[str, ...]] = {
    "CreateKey": ("registry_event", "registry_add"),
    "DeleteKey": ("registry_event", "registry_delete"),
    "DeleteValue": ("registry_event", "registry_delete"),
}


def _of(service: str, categories: tuple[str, ...] = ("",)) -> tuple[LogSource, ...]:
    return tuple(LogSource("windows", service, category) for category in categories)


_WINDOWS = _of("")
_SERVICES: dict[str, tuple[str, ...]] = {
    name.lower(): tuple(service for service, named in CHANNELS.items() if name in named)
    for names in CHANNELS.values()
    for name in names
}
_BY_PROVIDER = {name.lower(): (service,) for name, service in PROVIDERS.items()}
_PLAIN = {
    services: tuple(source for service in services for source in _of(service))
    for services in (*_SERVICES.values(), *_BY_PROVIDER.values())
}
_NUMBERED = {event: _of(event[0], categories) for event, categories in CATEGORIES.items()}
_KEYED = {kind: _of("sysmon", categories) for kind, categories in _KEY_EVENTS.items()}
_LONGEST = 128
# Where a collector keeps what others sent; "" is a channel left empty.
_COLLECTED = frozenset({"", "forwardedevents"})


def logsources(
    channel: object, provider: object, event_id: object, event_type: object = None
) -> tuple[LogSource, ...]:
    """Return what kinds of log an event is of; each part is known of each of them.

    Args:
        channel: the event's channel; anything but a text is none.
        provider: its provider, asked only where the channel is none or a collector's; it may hold a
            channel's name, as some forwarders write it.
        event_id: its number, or that as text.
        event_type: of Sysmon's events about the registry: what was done to the key.
    """
    collected = type(channel) is not str or channel.lower() in _COLLECTED
    services = _services(provider if collected else channel)
    if not services:
        return _WINDOWS
    event = (services[0], number(event_id))
    found = _NUMBERED.get(event)
    if found is None:
        return _PLAIN[services]
    if event == ("sysmon", 12) and type(event_type) is str:
        return _KEYED.get(event_type, found)
    return found


def is_known(name: object) -> bool:
    """Return whether a channel or provider is in the tables."""
    return bool(_services(name))


def number(event_id: object) -> int:
    """Return an event's number, which may be written as text; -1 when it is none."""
    if type(event_id) is int:
        return event_id
    if type(event_id) is str and len(event_id) <= 5 and event_id.isascii() and event_id.isdecimal():
        return int(event_id)
    return -1


def _services(name: object) -> tuple[str, ...]:
    if type(name) is not str or len(name) > _LONGEST:
        return ()
    folded = name.lower()
    return _SERVICES.get(folded, ()) or _BY_PROVIDER.get(folded, ())
