"""The cache of rules: it changes nothing but the time that loading takes."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from consumers.rules import SHIPPED, RuleCache, RuleSources, default_cache, load, load_rules
from pipeline.detect.detect import Detect, Source
from pipeline.errors import RuleError
from pipeline.event import Batch, Partition
from pipeline.sigma.reader.options import Options
from tests.unit.consumers.rules.rule_files import CORRELATION, FILTER, detection, same, write

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).resolve().parents[4]
DAY_MS = 86_400_000
# Every test and value of the rules' form, and what YAML makes of numbers.
VARIETY = """\
title: Variety
name: variety
description: "ümlaut \\U0001F514"
logsource: {product: windows, service: security}
tags: [attack.t1059]
references: [https://example.org/]
falsepositives: [none]
detection:
  a:
    Path|cased|endswith: '\\x?y*.exe'
    Line|contains|windash: ' -enc '
    Number: [1, 1.5, 12345678901234567890, -3]
    Truth: true
    Nothing: null
    Empty: ''
    There|exists: false
    Regex|re|i: '^a.*b$'
    Net|cidr: [10.0.0.0/8, 'fd00::/8']
    Size|gte: 10.5
    Other|fieldref|startswith: Path
  b:
    At|hour|gte: 22
  keywords: [hello, 5]
  condition: (a or 1 of b*) and not keywords
"""


@pytest.fixture
def cache(tmp_path: Path) -> Callable[..., RuleCache]:
    def make(day: int = 20_000) -> RuleCache:
        return RuleCache(tmp_path / "cache" / "rules", lambda: day * DAY_MS)

    return make


def loaded(folder: str, cache: RuleCache | None, **options: object) -> tuple[int, int]:
    """Return how many files were read, and how many the cache knew."""
    found = load(RuleSources((folder,), **options), cache)
    return found.read, found.cached


def test_what_comes_from_the_cache_is_what_was_read(tmp_path: Path, cache: Callable[..., RuleCache]) -> None:
    folder = write(tmp_path / "r", one=detection("one"), many=CORRELATION, off=FILTER, variety=VARIETY)
    for paths in ((folder,), (SHIPPED,)):
        plain = load_rules(paths)
        first, again = load(RuleSources(paths), cache()), load(RuleSources(paths), cache())
        assert same(plain, first.rules)
        assert same(plain, again.rules)
        assert (first.cached, again.read) == (0, 0)
        assert first.kinds == again.kinds
    assert load(RuleSources((folder,)), cache()).kinds == {"detection": 2, "correlation": 1, "filter": 1}


def test_a_rule_that_is_refused_is_so_by_the_cache_as_well(
    tmp_path: Path, cache: Callable[..., RuleCache]
) -> None:
    bad = detection("two", "{level|contians: x}")
    folder = write(tmp_path / "r", two=detection("fine") + "---\n" + bad)
    told = []
    for _ in range(2):
        with pytest.raises(RuleError) as error:
            load_rules([folder], cache=cache())
        told.append((str(error.value), error.value.line, error.value.path))
    assert told[0] == told[1]
    assert "did you mean 'contains'?" in told[0][0]
    assert loaded(folder, cache(), skip=True) == (0, 1)


def test_a_changed_file_costs_only_itself(tmp_path: Path, cache: Callable[..., RuleCache]) -> None:
    folder = write(tmp_path / "r", **{name: detection(name) for name in ("one", "two", "three")})
    assert loaded(folder, cache()) == (3, 0)
    write(tmp_path / "r", two=detection("two", "{level: critical}"))
    assert loaded(folder, cache()) == (1, 2)
    (tmp_path / "r" / "three.yml").rename(tmp_path / "r" / "four.yml")
    assert loaded(folder, cache()) == (1, 2)
    assert load(RuleSources((folder,)), cache()).rules.rules["three"].about.file.endswith("four.yml")


def test_another_reader_reads_anew(
    tmp_path: Path, cache: Callable[..., RuleCache], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write(tmp_path / "r", one=detection("one"))
    assert loaded(folder, cache()) == (1, 0)
    monkeypatch.setattr("consumers.rules.loading._version", lambda: "another")
    assert loaded(folder, cache()) == (1, 0)


def test_placeholders_matter_where_they_may_stand(tmp_path: Path, cache: Callable[..., RuleCache]) -> None:
    folder = write(
        tmp_path / "r",
        one=detection("one"),
        two=detection("two", "{user|expand: '%admins%'}"),
        hidden=detection("three", '{"user|\\x65xpand": "%admins%"}'),
    )
    assert loaded(folder, cache(), placeholders={"admins": ["a"]}) == (3, 0)
    assert loaded(folder, cache(), placeholders={"admins": ["b"]}) == (2, 1)
    read = load_rules([folder], Options({"admins": ("b",)}))
    assert same(read, load_rules([folder], Options({"admins": ("b",)}), cache=cache()))
    assert loaded(folder, cache(), placeholders={"admins": ["b"]}) == (0, 3)


def test_a_value_that_does_not_come_back_the_same_is_read_each_time(
    tmp_path: Path, cache: Callable[..., RuleCache]
) -> None:
    folder = write(tmp_path / "r", one=detection("one", "{n: 123456789012345678901234567890}"))
    assert loaded(folder, cache()) == (1, 0)
    assert loaded(folder, cache()) == (1, 0)


@pytest.mark.parametrize("damage", [b"", b"rubbish", None])
def test_a_damaged_cache_is_said_and_made_anew(
    tmp_path: Path, cache: Callable[..., RuleCache], damage: bytes | None
) -> None:
    folder = write(tmp_path / "r", one=detection("one"))
    loaded(folder, cache())
    pack = tmp_path / "cache" / "rules" / "rules.pack"
    whole = pack.read_bytes()
    pack.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]) if damage is None else damage)
    with capture_logs() as logs:
        assert loaded(folder, cache()) == (1, 0)
    assert [log["event"] for log in logs] == [
        "the cache of rules is damaged, or of another version; it is made anew"
    ]
    assert loaded(folder, cache()) == (0, 1)


def _of_a_file(path: Path) -> None:
    path.parent.mkdir()
    path.write_text("a file")


def _writable_by_all(path: Path) -> None:
    path.mkdir(parents=True)
    path.chmod(0o777)


def _pack_writable_by_all(path: Path) -> None:
    path.mkdir(parents=True, mode=0o700)
    (path / "rules.pack").write_bytes(b"whatever")
    (path / "rules.pack").chmod(0o666)


def _a_link(path: Path) -> None:
    path.mkdir(parents=True, mode=0o700)
    (path.parent / "elsewhere").write_bytes(b"whatever")
    (path / "rules.pack").symlink_to(path.parent / "elsewhere")


def _below_a_file(path: Path) -> None:
    path.parent.write_text("a file where the folder above should be")


@pytest.mark.parametrize(
    ("prepare", "reason"),
    [
        (_of_a_file, "File exists"),
        (_below_a_file, "Not a directory"),
        (_writable_by_all, "others may write to it"),
        (_pack_writable_by_all, "rules.pack: others may write to it"),
        (_a_link, "rules.pack: Too many levels of symbolic links"),
    ],
)
def test_a_cache_that_is_not_ours_alone_is_done_without_and_that_is_said_once(
    tmp_path: Path, cache: Callable[..., RuleCache], prepare: Callable[[Path], None], reason: str
) -> None:
    folder = write(tmp_path / "r", one=detection("one"))
    prepare(tmp_path / "cache" / "rules")
    with capture_logs() as logs:
        used = cache()
        assert loaded(folder, used) == (1, 0)
        assert loaded(folder, used) == (1, 0)
        used.databases.save("key", b"data")
        assert used.databases.load("key") is None
    assert [(log["event"], log["reason"]) for log in logs] == [("the cache of rules is done without", reason)]


def test_a_folder_of_another_user_is_done_without(
    tmp_path: Path, cache: Callable[..., RuleCache], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write(tmp_path / "r", one=detection("one"))
    loaded(folder, cache())
    me = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: me + 1)
    with capture_logs() as logs:
        assert loaded(folder, cache()) == (1, 0)
    assert [log["reason"] for log in logs] == ["it belongs to another user"]


def test_a_full_disk_costs_the_cache_only(
    tmp_path: Path, cache: Callable[..., RuleCache], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write(tmp_path / "r", one=detection("one"))

    def full(*args: object, **kwargs: object) -> tuple[int, str]:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tempfile.mkstemp", full)
    with capture_logs() as logs:
        assert loaded(folder, cache()) == (1, 0)
    assert [log["reason"] for log in logs] == ["rules.pack: No space left on device"]


def test_files_are_for_their_owner_only_and_none_is_left_over(
    tmp_path: Path, cache: Callable[..., RuleCache]
) -> None:
    loaded(write(tmp_path / "r", one=detection("one")), cache())
    cache().databases.save("key", b"data")
    place = tmp_path / "cache" / "rules"
    assert stat.S_IMODE(place.stat().st_mode) == 0o700
    assert {stat.S_IMODE(f.stat().st_mode) for f in place.iterdir()} == {0o600}
    assert len(list(place.iterdir())) == 2


def test_what_is_not_used_for_long_is_dropped(tmp_path: Path, cache: Callable[..., RuleCache]) -> None:
    old = write(tmp_path / "old", one=detection("one"))
    other = write(tmp_path / "other", two=detection("two"))
    loaded(old, cache(day=1000))
    loaded(other, cache(day=1020))
    assert loaded(old, cache(day=1029)) == (0, 1)
    # Using it has made it new again; the other one goes with the next change.
    loaded(write(tmp_path / "r", three=detection("three")), cache(day=1055))
    assert loaded(old, cache(day=1055)) == (0, 1)
    assert loaded(other, cache(day=1055)) == (1, 0)


def test_a_run_that_fails_keeps_what_it_has_read(tmp_path: Path, cache: Callable[..., RuleCache]) -> None:
    folder = write(tmp_path / "r", a=detection("a"), b="title: [\n")
    with pytest.raises(RuleError):
        load_rules([folder], cache=cache())
    (tmp_path / "r" / "b.yml").unlink()
    assert loaded(folder, cache()) == (0, 1)


def test_the_newest_databases_stay(tmp_path: Path, cache: Callable[..., RuleCache]) -> None:
    databases = cache().databases
    for number in range(18):
        databases.save(f"key {number}", b"%d" % number)
        for file in (tmp_path / "cache" / "rules").iterdir():
            os.utime(file, ns=(0, file.stat().st_mtime_ns - 10**9))
        # Used each time, so that it is never among the oldest.
        assert databases.load("key 0") == b"0"
    assert databases.load("key 1") is None
    assert databases.load("key 17") == b"17"
    assert len(list((tmp_path / "cache" / "rules").iterdir())) == 16


def test_a_database_is_compiled_once_and_finds_the_same(
    tmp_path: Path, cache: Callable[..., RuleCache]
) -> None:
    rules = load_rules([write(tmp_path / "r", one=detection("one", "{event|contains: boom}"))])
    place = tmp_path / "cache" / "rules"

    def found() -> list[object]:
        detect = Detect(rules, lateness_ms=0, idle_timeout_ms=0, databases=cache().databases)
        partition = Partition("p")
        detect.open(partition, Source("json"), 0, 1)
        return detect.process(Batch(partition, [0, 1], [1, 1], [b'{"event":"boom"}', b'{"event":"x"}']), 1)

    first = found()
    (kept,) = place.iterdir()
    inode = kept.stat().st_ino
    assert found() == first
    assert kept.stat().st_ino == inode
    kept.write_bytes(kept.read_bytes()[:-1] + b"?")
    assert found() == first


def test_pysigma_is_not_imported_where_the_cache_knows_everything(tmp_path: Path) -> None:
    folder = write(tmp_path / "r", one=detection("one"), many=CORRELATION)
    code = (
        "import sys; from pathlib import Path; from consumers.rules import *;"
        f"load_rules([{folder!r}], cache=RuleCache(Path({str(tmp_path / 'c')!r}), lambda: 0));"
        "print('sigma' in sys.modules)"
    )
    said = [
        subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True)
        for _ in range(2)
    ]
    assert [s.stdout.strip() for s in said] == ["True", "False"]


def test_the_cache_is_where_the_user_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOCSIN_CACHE", "/chosen")
    monkeypatch.setenv("XDG_CACHE_HOME", "/xdg")
    assert default_cache() == Path("/chosen/rules")
    monkeypatch.delenv("TOCSIN_CACHE")
    assert default_cache() == Path("/xdg/tocsin/rules")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert default_cache() == Path.home() / ".cache" / "tocsin" / "rules"


def test_a_user_without_a_home_has_a_cache_as_well(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("TOCSIN_CACHE", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)

    def nobody(_: int) -> None:
        raise KeyError("uid not found")

    monkeypatch.setattr("pwd.getpwuid", nobody)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert default_cache() == tmp_path / f"tocsin-{os.geteuid()}" / "rules"
