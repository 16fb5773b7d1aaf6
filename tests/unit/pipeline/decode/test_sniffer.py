from __future__ import annotations

import pytest

from pipeline.decode import FORMATS, Auto, choose, sniff
from pipeline.errors import ConfigError

RECORD_MS = 1_795_537_450_000

SAMPLES: dict[str, bytes] = {
    "windows": b'{"Event":{"System":{"EventID":1},"EventData":{"Message":"x"}}}',
    "json": b'{"event":"x","level":"info"}',
    "access": b'192.0.2.7 - - [24/Nov/2026:12:34:56 +0000] "GET / HTTP/1.1" 200 5 "-" "curl"',
    "apache_error": b"[Tue Nov 24 12:34:56 2026] [error] x",
    "basic": b"2026-11-24 12:34:56,000 - ERROR - x",
    "syslog": b"Nov 24 12:34:56 web1 cron[1]: x",
    "logfmt": b"time=2026-11-24T12:34:56Z level=info msg=x",
    "text": b"something happened",
}
MORE: list[tuple[str, bytes]] = [
    ("windows", b'{"winlog":{"event_id":"1","channel":"Security"}}'),
    ("windows", b'{"EventID":1,"SourceName":"Service Control Manager"}'),
    ("json", b'{"EventID":1,"Event":"x"}'),
    ("basic", b"2026-11-24T12:34:56Z ERROR payments: x"),
    ("basic", b"INFO:     Started"),
    ("basic", b"2026-11-24 12:34:56.000 | INFO | a:b:1 - x"),
    ("syslog", b"<34>1 - - - - - - x"),
    ("syslog", b"2026-11-24T12:34:56+00:00 web1 systemd[1]: x"),
    ("text", b"2026-11-24T12:34:56Z Starting the backup"),
    ("text", b"2026-11-24 12:34:56 hello"),
]


def settled(line: bytes) -> Auto:
    auto = Auto()
    for _ in range(4):
        auto.learn(line)
    return auto


def shown(auto: Auto, records: list[bytes]) -> int:
    """Show records as `Auto` wants to see them, and return how many that were."""
    at = count = 0
    while at < len(records):
        at += 1 + auto.learn(records[at])
        count += 1
    return count


def test_there_is_a_sample_of_every_format() -> None:
    assert SAMPLES.keys() == FORMATS.keys()
    assert all(name == decoder.name for name, decoder in FORMATS.items())


@pytest.mark.parametrize(("name", "line"), [*SAMPLES.items(), *MORE])
def test_each_format_is_recognised(name: str, line: bytes) -> None:
    assert sniff([line]) == name
    assert sniff([line] * 5 + [b"odd"]) == name


def test_tracebacks_do_not_hide_a_format() -> None:
    block = [
        b"ERROR:root:x",
        b"Traceback (most recent call last):",
        b'  File "a"',
        b"    b",
        b"ValueError: c",
        b"",
    ]
    assert sniff(block * 3) == "basic"


def test_nothing_is_text() -> None:
    assert sniff([]) == "text"
    assert sniff([b"", b"  "]) == "text"
    assert sniff([b"prose"] * 9 + [SAMPLES["logfmt"]]) == "text"


@pytest.mark.parametrize("name", [n for n in SAMPLES if n != "text"])
def test_auto_settles_and_one_odd_line_changes_nothing(name: str) -> None:
    auto = Auto()
    for _ in range(4):
        assert auto.starts(SAMPLES[name])
        auto.learn(SAMPLES[name])
        assert auto.decode(SAMPLES[name], RECORD_MS).fields["event"]
    assert auto.settled == name
    for odd in (*SAMPLES.values(), b"\xff\x00", b"{", b"", b'{"a":\n'):
        auto.starts(odd)
        auto.learn(odd)
        auto.decode(odd, RECORD_MS)
        assert auto.settled == name
        auto.starts(SAMPLES[name])
        auto.learn(SAMPLES[name])


def test_auto_follows_a_source_that_changed() -> None:
    for path in ("learn", "starts"):
        auto = Auto()
        for line in [SAMPLES["syslog"]] * 20 + [SAMPLES["basic"]] * 20:
            if path == "learn":
                auto.learn(line)
            else:
                assert auto.starts(line)
        assert auto.settled == "basic"


def test_auto_finds_a_format_behind_a_long_banner() -> None:
    auto = Auto()
    shown(auto, [b"welcome"] * 40 + [SAMPLES["basic"]] * 40)
    assert auto.settled == "basic"


def test_decoding_teaches_nothing() -> None:
    auto = settled(SAMPLES["syslog"])
    for _ in range(100):
        auto.decode(SAMPLES["basic"], RECORD_MS)
    assert auto.settled == "syslog"
    auto = Auto()
    for _ in range(100):
        auto.decode(SAMPLES["basic"], RECORD_MS)
    assert auto.settled == "text"


@pytest.mark.parametrize("name", [n for n in SAMPLES if n != "text"])
def test_a_settled_source_is_looked_at_now_and_then(name: str) -> None:
    auto = Auto()
    assert shown(auto, [SAMPLES[name]] * 10_000) < 50
    # What it turns into is found within a few hundred records.
    other = SAMPLES["access" if name != "access" else "syslog"]
    assert shown(auto, [other] * 600) < 20
    assert auto.settled == ("access" if name != "access" else "syslog")


def test_auto_looks_at_a_text_source_ever_more_rarely(monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[int] = []
    auto = Auto()

    def look(lines: list[bytes]) -> str:
        looks.append(len(lines))
        return "text"

    monkeypatch.setattr("pipeline.decode.sniffer.sniff", look)
    assert shown(auto, [b"prose"] * 20_000) < 120
    assert 8 < len(looks) < 20
    assert max(looks) <= 8


@pytest.mark.parametrize("format_", ["windows", "basic", "json"])
def test_auto_decodes_windows_events_whatever_it_settled_on(format_: str) -> None:
    event = settled(SAMPLES[format_]).decode(SAMPLES["windows"], RECORD_MS)
    assert (event.fields["EventID"], event.logsources[0].product) == (1, "windows")


def test_an_object_ends_a_run_of_odd_lines_where_objects_were_found() -> None:
    for name in ("json", "windows"):
        auto = settled(SAMPLES[name])
        for _ in range(20):
            auto.learn(SAMPLES["basic"])
            auto.learn(SAMPLES[name])
        assert auto.settled == name


def test_auto_decodes_json_whatever_it_settled_on() -> None:
    auto = settled(SAMPLES["basic"])
    event = auto.decode(SAMPLES["json"], RECORD_MS)
    assert event.fields["event"] == "x"
    assert event.structured
    assert auto.settled == "basic"
    assert auto.starts(SAMPLES["json"])


def test_auto_decodes_a_line_of_another_format_as_that() -> None:
    auto = settled(SAMPLES["basic"])
    assert auto.decode(SAMPLES["access"], RECORD_MS).fields["status"] == 200
    assert auto.starts(SAMPLES["access"])
    assert not auto.starts(b"ValueError: x")


@pytest.mark.parametrize(
    "raw", [b"", b"{", b"\xff\xfe", b'{"a":"\\ud800"}', b"[1]", b"\x00", b'{"a":' * 100_000]
)
def test_auto_decodes_what_nothing_takes_as_text(raw: bytes) -> None:
    for warm in SAMPLES.values():
        auto = settled(warm)
        event = auto.decode(raw, RECORD_MS)
        assert event.fields["event"] == raw.decode("utf-8", "replace")
        assert not event.structured


def test_sources_do_not_learn_from_each_other() -> None:
    one, other = settled(SAMPLES["syslog"]), Auto()
    assert one.settled == "syslog"
    assert other.settled == "text"


def test_a_format_is_chosen_by_name() -> None:
    assert choose("auto").name == "auto"
    assert all(choose(name).name == name for name in FORMATS)
    with pytest.raises(ConfigError, match="did you mean 'syslog'"):
        choose("sysslog")
