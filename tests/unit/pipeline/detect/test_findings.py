from __future__ import annotations

import orjson

from pipeline.detect.detect import Detect, Source
from pipeline.detection import Detection
from pipeline.event import Batch, Partition
from pipeline.sigma.reader.read import read
from pipeline.sigma.ruleset import RuleSet

NOW_MS = 1_795_537_450_000
PART = Partition("logs")
RULE = """\
title: Bang
name: bang
logsource: {product: windows}
detection: {s: {CommandLine|contains: bang}, condition: s}
"""


def sample_of(raw: bytes) -> str:
    detect = Detect(RuleSet(read(RULE, "r.yml")), lateness_ms=30_000, idle_timeout_ms=60_000)
    detect.open(PART, Source("json"), 0, NOW_MS)
    found = detect.process(Batch(PART, [0], [NOW_MS], [raw]), NOW_MS)
    (detection,) = (f for f in found if isinstance(f, Detection))
    ((_, text),) = detection.samples
    return text


def test_sample_is_the_event_as_it_was_written() -> None:
    raw = b'{ "CommandLine":"bang" }'
    assert sample_of(raw) == raw.decode()


def test_sample_of_a_windows_event_is_what_it_says_without_its_markup() -> None:
    system = {
        "Provider": {"#attributes": {"Name": "Microsoft-Windows-Sysmon", "Guid": "x" * 36}},
        "EventID": 1,
        "Channel": "Microsoft-Windows-Sysmon/Operational",
    }
    event = {
        "Event": {
            "#attributes": {"xmlns": "http://schemas.microsoft.com/win/2004/08/events/event"},
            "System": system,
            "EventData": {"CommandLine": "bang", "Image": "C:\\x.exe"},
        }
    }
    shown = orjson.loads(sample_of(orjson.dumps(event)))
    assert (shown["EventID"], shown["CommandLine"], shown["Image"]) == (1, "bang", "C:\\x.exe")
    assert "Event" not in shown
    assert "xmlns" not in shown


def test_sample_of_a_windows_event_is_bounded() -> None:
    event = {
        "Event": {"System": {"EventID": 1, "Channel": "Security"}, "EventData": {"CommandLine": "bang" * 999}}
    }
    assert len(sample_of(orjson.dumps(event))) == 2000
