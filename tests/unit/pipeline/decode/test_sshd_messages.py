from __future__ import annotations

import pytest

from pipeline.decode import FORMATS, sshd

RECORD_MS = 1_795_537_450_000


def ip(address: str) -> dict[str, object]:
    return {"src_ip": address, "src_address": address}


A = ip("192.0.2.7")
FAIL = {"outcome": "failure"}


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (
            "Failed password for root from 192.0.2.7 port 4022 ssh2",
            A | FAIL | {"user": "root", "src_port": 4022, "auth_method": "password"},
        ),
        (
            "Failed password for invalid user bob from 192.0.2.7 port 4022 ssh2",
            A | FAIL | {"user": "bob", "src_port": 4022, "auth_method": "password"},
        ),
        (
            "Failed none for invalid user from from 192.0.2.7 port 1 ssh2",
            A | FAIL | {"user": "from", "src_port": 1, "auth_method": "none"},
        ),
        (
            "Failed password for root from 2001:db8::7 port 4022 ssh2",
            ip("2001:db8::7") | FAIL | {"user": "root", "src_port": 4022, "auth_method": "password"},
        ),
        (
            "Failed publickey for git from 192.0.2.7 port 1 ssh2: RSA SHA256:abc",
            A | FAIL | {"user": "git", "src_port": 1, "auth_method": "publickey"},
        ),
        ("Invalid user bob from 192.0.2.7", A | FAIL | {"user": "bob"}),
        ("Invalid user bob from 192.0.2.7 port 22", A | FAIL | {"user": "bob", "src_port": 22}),
        ("Invalid user  from 192.0.2.7 port 22", A | FAIL | {"src_port": 22}),
        (
            "Accepted publickey for git from 192.0.2.7 port 5 ssh2: ED25519 SHA256:abc",
            A | {"user": "git", "src_port": 5, "auth_method": "publickey", "outcome": "success"},
        ),
        (
            (
                "error: maximum authentication attempts exceeded for invalid user bob "
                "from 192.0.2.7 port 5 ssh2 [preauth]"
            ),
            A | FAIL | {"user": "bob", "src_port": 5},
        ),
        (
            "error: maximum authentication attempts exceeded for root from 192.0.2.7 port 5 ssh2 [preauth]",
            A | FAIL | {"user": "root", "src_port": 5},
        ),
        ("Disconnecting: Too many authentication failures for root [preauth]", FAIL | {"user": "root"}),
        (
            "Disconnecting invalid user bob 192.0.2.7 port 5: Too many authentication failures [preauth]",
            A | {"user": "bob", "src_port": 5},
        ),
        ("Connection closed by 192.0.2.7 [preauth]", A),
        ("Connection closed by 192.0.2.7 port 5", A | {"src_port": 5}),
        (
            "Connection closed by invalid user bob 192.0.2.7 port 5 [preauth]",
            A | {"user": "bob", "src_port": 5},
        ),
        (
            "Connection reset by authenticating user root 192.0.2.7 port 5 [preauth]",
            A | {"user": "root", "src_port": 5},
        ),
        ("Disconnected from user root 192.0.2.7 port 5", A | {"user": "root", "src_port": 5}),
        ("Disconnected from 192.0.2.7 port 5", A | {"src_port": 5}),
        ("Received disconnect from 192.0.2.7: 11: Bye Bye [preauth]", A),
        ("Received disconnect from 192.0.2.7 port 5:11: Bye", A | {"src_port": 5}),
        ("Received disconnect from ::1: 11: Bye", ip("::1")),
        ("error: Received disconnect from 192.0.2.7: 3: Auth fail [preauth]", A),
        ("Did not receive identification string from 192.0.2.7", A),
        (
            (
                "reverse mapping checking getaddrinfo for a.example [192.0.2.7] "
                "failed - POSSIBLE BREAK-IN ATTEMPT!"
            ),
            A | {"src_host": "a.example"},
        ),
        (
            "Address 192.0.2.7 maps to a.example, but this does not map back to the address",
            A | {"src_host": "a.example"},
        ),
        ("input_userauth_request: invalid user bob [preauth]", {"user": "bob"}),
        ("User bob from 192.0.2.7 not allowed because not listed in AllowUsers", A | FAIL | {"user": "bob"}),
        (
            (
                "pam_unix(sshd:auth): authentication failure; logname= uid=0 euid=0 "
                "tty=ssh ruser= rhost=192.0.2.7  user=root"
            ),
            A | FAIL | {"user": "root"},
        ),
        (
            "PAM 2 more authentication failures; logname= uid=0 euid=0 tty=ssh ruser= rhost=192.0.2.7 ",
            A | FAIL,
        ),
        (
            "authentication failure; logname= uid=0 euid=0 tty=NODEVssh ruser= rhost=a.example  user=root",
            FAIL | {"user": "root", "src_host": "a.example", "src_address": "a.example"},
        ),
        ("pam_unix(sshd:session): session opened for user bob by (uid=0)", {"user": "bob"}),
        ("pam_unix(sshd:session): session opened for user bob(uid=1000) by (uid=0)", {"user": "bob"}),
        ("session closed for user bob", {"user": "bob"}),
        ("Server listening on 0.0.0.0 port 22.", {}),
        ("", {}),
    ],
)
def test_what_sshd_says(message: str, expected: dict[str, object]) -> None:
    assert sshd.from_message(message) == expected


@pytest.mark.parametrize(
    "name",
    [
        "root from 198.51.100.1",
        "x from 198.51.100.1 port 22 ssh2",
        "a from 198.51.100.1 port 22 ssh2: b",
        "from",
        "a b",
    ],
)
def test_a_user_name_cannot_forge_the_address(name: str) -> None:
    for message in (
        f"Failed password for invalid user {name} from 192.0.2.7 port 9 ssh2",
        f"Invalid user {name} from 192.0.2.7 port 9",
    ):
        found = sshd.from_message(message)
        assert (found["src_ip"], found["src_port"], found["user"]) == ("192.0.2.7", 9, name)


def test_a_remote_user_cannot_forge_the_remote_host() -> None:
    found = sshd.from_pam(
        "authentication failure; logname= uid=0 euid=0 tty=ssh ruser=x "
        "rhost=198.51.100.1  user=y rhost=192.0.2.7 "
    )
    assert found["src_ip"] == "192.0.2.7"


def test_pam_is_read_for_any_program_and_sshd_only_for_sshd() -> None:
    pam = (
        b"Nov 24 12:34:56 h vsftpd(pam_unix)[1]: authentication failure; logname= "
        b"uid=0 euid=0 tty= ruser= rhost=192.0.2.7 "
    )
    assert FORMATS["syslog"].decode(pam, RECORD_MS).fields["src_ip"] == "192.0.2.7"
    other = b"Nov 24 12:34:56 h app[1]: Invalid user bob from 192.0.2.7"
    assert "src_ip" not in FORMATS["syslog"].decode(other, RECORD_MS).fields
    newer = b"Nov 24 12:34:56 h sshd-session[1]: Invalid user bob from 192.0.2.7"
    assert FORMATS["syslog"].decode(newer, RECORD_MS).fields["src_ip"] == "192.0.2.7"
