from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pipeline.decode import FORMATS
from pipeline.errors import DecodeError

if TYPE_CHECKING:
    from pipeline.event import Event

RECORD_MS = 1_795_537_450_000  # 2026-11-24T16:24:10Z
T = 1_795_523_696_000  # 2026-11-24T12:34:56Z
STAMP = "2026-11-24T12:34:56.000Z"


def decode(text: str) -> Event:
    return FORMATS["syslog"].decode(text.encode(), RECORD_MS)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "Nov 24 12:34:56 web1 cron[24200]: (root) CMD (true)",
            {
                "host": "web1",
                "service": "cron",
                "program": "cron",
                "pid": 24200,
                "event": "(root) CMD (true)",
            },
        ),
        (
            "<13>Nov 24 12:34:56 web1 su(pam_unix)[9]: check pass; user unknown",
            {
                "level": "notice",
                "host": "web1",
                "service": "su",
                "program": "su(pam_unix)",
                "pid": 9,
                "event": "check pass; user unknown",
            },
        ),
        (
            "Nov 24 12:34:56 web1 kernel: [ 1.0] usb 1-1: new",
            {"host": "web1", "service": "kernel", "program": "kernel", "event": "[ 1.0] usb 1-1: new"},
        ),
        (
            "Nov 24 12:34:56 web1 syslogd 1.5.0: restart.",
            {"host": "web1", "service": "syslogd", "program": "syslogd", "event": "restart."},
        ),
        (
            "Nov 24 12:34:56 web1 -- root[24]: ROOT LOGIN ON tty2",
            {"host": "web1", "service": "root", "program": "root", "pid": 24, "event": "ROOT LOGIN ON tty2"},
        ),
        ("Nov 24 12:34:56 web1 no tag here", {"host": "web1", "event": "no tag here"}),
        ("Nov 24 12:34:56 cron: no host", {"service": "cron", "program": "cron", "event": "no host"}),
        (
            "2026-11-24T12:34:56.000000+00:00 web1 systemd[1]: Started it.",
            {"host": "web1", "service": "systemd", "program": "systemd", "pid": 1, "event": "Started it."},
        ),
    ],
)
def test_rfc3164_and_its_relatives(text: str, expected: dict[str, object]) -> None:
    event = decode(text)
    assert event.fields == {**expected, "timestamp": STAMP}
    assert (event.time_ms, event.timed, event.text) == (T, True, text)


def test_rfc5424_with_structured_data_and_bom() -> None:
    event = decode(
        '<34>1 2026-11-24T12:34:56.000Z web1 app 77 ID47 [ex@32473 iut="3" q="a '
        '\\"b\\" \\] \\\\ c"][x@1 a="1" a="2"][e@1]'
        " \ufeffit broke"
    )
    assert event.fields == {
        "ex@32473": {"iut": "3", "q": 'a "b" \\] \\ c'},
        "x@1": {"a": ["1", "2"]},
        "e@1": {},
        "level": "critical",
        "timestamp": STAMP,
        "host": "web1",
        "service": "app",
        "program": "app",
        "pid": 77,
        "msgid": "ID47",
        "event": "it broke",
    }
    assert event.timed


def test_rfc5424_with_nothing_in_it() -> None:
    event = decode("<0>1 - - - - - -")
    assert event.fields == {"level": "critical", "event": ""}
    assert (event.time_ms, event.timed) == (RECORD_MS, False)


def test_structured_data_is_bounded_and_the_rest_is_message() -> None:
    event = decode("<11>1 - - - - - " + "".join(f"[a{n}]" for n in range(3000)) + " m")
    assert len(event.fields) < 1010
    assert str(event.fields["event"]).endswith("[a2999] m")
    event = decode("<11>1 - - - - - [a" + "".join(f' b{n}="c"' for n in range(3000)) + "] m")
    assert event.fields["level"] == "error"
    assert str(event.fields["event"]).endswith('b2999="c"] m')


def test_structured_data_takes_no_canonical_name() -> None:
    event = decode('<14>1 2026-11-24T12:34:56Z h app - - [level x="1"][event y="2"] real')
    assert (event.fields["level"], event.fields["event"]) == ("info", "real")


def test_a_priority_without_a_time_leaves_all_as_message() -> None:
    event = decode("<11>it broke")
    assert event.fields == {"level": "error", "event": "it broke"}
    assert not event.timed


def test_repeated_messages_are_unwrapped() -> None:
    event = decode(
        "Nov 24 12:34:56 web1 sshd[1]: message repeated 5 times: [ Failed password "
        "for root from 192.0.2.7 port 22 ssh2]"
    )
    assert event.fields["repeated"] == 5
    assert (event.fields["src_ip"], event.fields["user"], event.fields["src_port"]) == (
        "192.0.2.7",
        "root",
        22,
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hello",
        "<192>Nov 24 12:34:56 h p: x",
        "<-1>x",
        "<01>x",
        "<>x",
        "Foo 24 12:34:56 h p: x",
        "Feb 30 12:34:56 h p: x",
        "2026-11-24T12:34:56Z Starting the backup",
        '<34>1 - - - - - [a b="c',
        '<34>1 - - - - - [a b="c"',
        "<34>1 - - - - - [",
    ],
)
def test_what_is_no_syslog_is_refused(text: str) -> None:
    if text == "<34>1 - - - - - [":
        assert decode(text).fields["event"] == "["
        return
    with pytest.raises(DecodeError):
        decode(text)


@pytest.mark.parametrize("pid", ["\u0661\u0662\u0663", "12\u0663", "\uff11\uff12", "12a", "12345678901"])
def test_a_process_id_that_is_no_plain_number_stays_as_it_is_written(pid: str) -> None:
    event = FORMATS["syslog"].decode(f"<34>1 2026-11-24T12:34:56Z h app {pid} - - m".encode(), RECORD_MS)
    assert event.fields["pid"] == pid
