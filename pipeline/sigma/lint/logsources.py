"""Checks of a rule's log source: a rule whose log source no source has is never asked.

(Sigma rules specification 2.1.0, "Log source"; the names are those of its appendix on taxonomy and of the
rules in use. The table serves to find slips of the pen, not to say what there is: any other name is fine.)
"""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

from pipeline.event import LogSource
from pipeline.sigma.form import Filter, Rule
from pipeline.sigma.lint.finding import Check, Doubt

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipeline.sigma.lint.draft import Draft

__all__ = ["CHECKS"]

_KNOWN: dict[str, frozenset[str]] = {
    "category": frozenset(
        [
            *("antivirus", "application", "appliance", "clipboard_change", "create_remote_thread"),
            *(
                "create_stream_hash",
                "database",
                "dns",
                "dns_query",
                "driver_load",
                "file_access",
                "file_block",
            ),
            *("file_change", "file_delete", "file_event", "file_executable_detected", "file_rename"),
            *("firewall", "image_load", "network_connection", "pipe_created", "process_access"),
            *("process_creation", "process_tampering", "process_termination", "proxy", "ps_classic_script"),
            *("ps_classic_start", "ps_classic_provider_start", "ps_module", "ps_script", "raw_access_thread"),
            *("registry_add", "registry_delete", "registry_event", "registry_rename", "registry_set"),
            *("sysmon_error", "sysmon_status", "webserver", "wmi_event"),
        ]
    ),
    "product": frozenset(
        [
            *(
                "apache",
                "aws",
                "azure",
                "bitbucket",
                "cisco",
                "django",
                "fortigate",
                "fortios",
                "gcp",
                "github",
            ),
            *("huawei", "juniper", "jvm", "kubernetes", "linux", "m365", "macos", "modsecurity", "nodejs"),
            *("okta", "onelogin", "opencanary", "paloalto", "python", "qualys", "rpc_firewall"),
            *("ruby_on_rails", "spring", "sql", "velocity", "windows", "zeek"),
        ]
    ),
    "service": frozenset(
        [
            *("aaa", "activitylogs", "apache", "application", "applocker", "appmodel-runtime"),
            *("appxdeployment-server", "audit", "auditd", "auditlogs", "auth", "bgp", "bits-client", "capi2"),
            *(
                "clamav",
                "cloudtrail",
                "codeintegrity-operational",
                "cron",
                "dce_rpc",
                "dhcp",
                "diagnosis-scripted",
            ),
            *(
                "dns",
                "dns-client",
                "dns-server",
                "dns-server-analytic",
                "driver-framework",
                "event",
                "exchange",
            ),
            *(
                "firewall-as",
                "gcp.audit",
                "globalprotect",
                "google_workspace.admin",
                "google_workspace.login",
            ),
            *("guacamole", "http", "iis", "iis-configuration", "kerberos", "ldap", "ldp", "lsa-server"),
            *(
                "microsoft365portal",
                "msexchange-management",
                "nginx",
                "ntfs",
                "ntlm",
                "okta",
                "onelogin.events",
            ),
            *("openssh", "pim", "powershell", "powershell-classic", "printservice-admin"),
            *("printservice-operational", "rdp", "riskdetection", "security", "security-mitigations"),
            *("shell-core", "signinlogs", "smb_files", "smbclient-connectivity", "smbclient-security"),
            *(
                "smbserver-connectivity",
                "sshd",
                "sslvpnd",
                "sudo",
                "syslog",
                "sysmon",
                "system",
                "taskscheduler",
            ),
            *("terminalservices-localsessionmanager", "threat_detection", "threat_management", "vsftpd"),
            *("windefend", "wmi", "x509"),
        ]
    ),
}
_NEAR = 0.85


def _no_logsource(draft: Draft) -> Iterator[Doubt]:
    if isinstance(draft.loaded, Rule | Filter) and draft.loaded.logsource == LogSource():
        yield Doubt("the log source is empty: the rule applies to every source", ("logsource",))


def _unknown_logsource(draft: Draft) -> Iterator[Doubt]:
    source = draft.data.get("logsource")
    if not isinstance(source, dict):
        return
    for key, known in _KNOWN.items():
        if not isinstance(name := source.get(key), str) or name.lower() in known:
            continue
        if close := get_close_matches(name.lower(), known, n=1, cutoff=_NEAR):
            message = f"no common {key} is called {name!r}; did you mean {close[0]!r}?"
            yield Doubt(message, ("logsource", key))


CHECKS = (
    Check(
        "no-logsource",
        "info",
        "an empty log source",
        "The rule examines events of every kind; on logs that it was not written for it matches by chance.",
        "Say in `logsource` which category, product or service it is about.",
        _no_logsource,
    ),
    Check(
        "unknown-logsource",
        "warning",
        "a category, product or service that is nearly a common one",
        "A rule applies to sources that hold its log source, case aside: with a slip of the pen it is"
        " never asked, and nothing says so.",
        "Correct it; if it is meant, let a comment say so.",
        _unknown_logsource,
    ),
)
