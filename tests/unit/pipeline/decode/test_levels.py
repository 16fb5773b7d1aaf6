from __future__ import annotations

import re

import hyperscan
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.decode import FORMATS, LEVELS, numeric_spellings, spellings
from pipeline.decode.levels import SPELLINGS, canonical

RECORD_MS = 1_795_537_450_000
PRIORITIES = [f"<{pri}>Nov 24 10:00:00 h p: m" for pri in range(192)]

EVENTS: list[tuple[str, str]] = [
    *(("json", f'{{"level":"{s}","event":"x"}}') for s in SPELLINGS),
    *(("json", f'{{"level":"{s.upper()}","event":"x"}}') for s in SPELLINGS),
    *(("json", f'{{"log":{{"level":"{s.title()}"}}}}') for s in SPELLINGS),
    *(("json", f'{{"severityText":"{s.upper()}2"}}') for s in SPELLINGS),
    *(("json", f'{{"severity":"{s}","message":"m"}}') for s in SPELLINGS),
    *(("json", f'{{"levelname" : "{s}" }}') for s in SPELLINGS),
    *(
        ("json", f'{{"level"{gap}:{gap}{n}{gap},"msg":"x"}}')
        for n in range(10, 61, 10)
        for gap in ("", " ", "\n")
    ),
    *(("json", f'{{"x":1,"level":{n}}}') for n in range(10, 61, 10)),
    *(("json", f'{{"{k}":{n}}}') for n in range(1, 25) for k in ("severityNumber", "SeverityNumber")),
    *(("json", f'{{"severityNumber":"SEVERITY_NUMBER_{s}3"}}') for s in ("TRACE", "WARN", "ERROR", "FATAL")),
    *(("basic", f"2026-11-24 10:00:00,000 - {s.upper()} - m") for s in SPELLINGS),
    *(("basic", f"[2026-11-24 10:00:00] [{s}] m") for s in SPELLINGS),
    *(("basic", f"{s.upper()}:root:m") for s in SPELLINGS),
    *(("apache_error", f"[Tue Nov 24 04:47:44 2026] [{s}] m") for s in SPELLINGS if len(s) < 9),
    *(("apache_error", f"[Tue Nov 24 04:47:44 2026] [core:trace{n}] m") for n in range(1, 9)),
    *(("logfmt", f"level={s} msg=x") for s in SPELLINGS),
    *(("logfmt", f'lvl="{s.upper()}" msg=x') for s in SPELLINGS),
    *(
        ("windows", f'{{"Event":{{"System":{{"EventID":1,"Level"{gap}:{gap}{level}{gap}}}}}}}')
        for level in (*range(6), *(f'"{n}"' for n in range(6)), '{"#text":"2"}', "-0")
        for gap in ("", " ", "\n")
    ),
    *(("windows", f'{{"winlog":{{"event_id":1}},"Level":{n}}}') for n in range(6)),
    *(("windows", f'{{"winlog":{{"event_id":1,"level":"{n}"}}}}') for n in range(6)),
    *(("syslog", line) for line in PRIORITIES),
    *(("syslog", f"<{pri}>1 - - - - - - m") for pri in range(192)),
]


def stands_in(level: str, raw: bytes) -> bool:
    lowered = raw.lower()
    return any(s.encode() in lowered for s in spellings(level)) or any(
        re.search(p.encode(), raw) for p in numeric_spellings(level)
    )


@pytest.mark.parametrize(("name", "text"), EVENTS)
def test_every_level_stands_in_the_raw_bytes(name: str, text: str) -> None:
    level = FORMATS[name].decode(text.encode(), RECORD_MS).fields["level"]
    assert level in LEVELS
    assert stands_in(str(level), text.encode())


@given(
    st.dictionaries(
        st.sampled_from(["level", "severity", "severityText", "severityNumber", "lvl", "levelname", "msg"]),
        st.one_of(
            st.integers(0, 70),
            st.sampled_from(sorted(SPELLINGS)).map(str.upper),
            st.text(max_size=8),
            st.none(),
        ),
    )
)
def test_a_known_level_of_any_mixture_stands_in_the_raw_bytes(fields: dict[str, object]) -> None:
    raw = orjson.dumps(fields)
    level = FORMATS["json"].decode(raw, RECORD_MS).fields.get("level")
    if level in LEVELS:
        assert stands_in(str(level), raw)


@pytest.mark.parametrize("level", LEVELS)
def test_numeric_spellings_compile_in_hyperscan(level: str) -> None:
    for pattern in numeric_spellings(level):
        hyperscan.Database().compile(expressions=[pattern.encode()], ids=[1], elements=1)


def test_each_canonical_level_is_its_own_spelling() -> None:
    assert all(level in spellings(level) for level in LEVELS)
    assert set(SPELLINGS.values()) == set(LEVELS)


def test_a_level_nobody_knows_is_looked_for_as_it_is() -> None:
    assert spellings("Audit") == ("audit",)
    assert numeric_spellings("audit") == ()
    assert FORMATS["json"].decode(b'{"severity":"AUDIT"}', RECORD_MS).fields["level"] == "AUDIT"


@pytest.mark.parametrize("value", [None, 35, 50.0, True, [], {}, "", "x" * 100, "\u212aritisch", "50"])
def test_what_is_no_level_is_none(value: object) -> None:
    assert canonical(value) is None


def test_syslog_severities_map_as_stated() -> None:
    expected = ["critical", "critical", "critical", "error", "warning", "notice", "info", "debug"]
    found = [FORMATS["syslog"].decode(line.encode(), RECORD_MS).fields["level"] for line in PRIORITIES]
    assert found == expected * 24
