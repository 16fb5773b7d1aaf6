"""Secrets don't leave the process, whatever is logged; what only looks like words about them stays."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
import string
import sys
import time
from typing import TYPE_CHECKING

import orjson
import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

import producers
from producers import KafkaHandler, KafkaLoggerFactory
from producers.event.encoding import Limits
from producers.event.masking import MASK, Masking
from producers.event.renderer import Renderer

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path
    from types import FrameType

LIMIT = 256 * 1024
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U"


def renderer(masking: Masking | None = None, max_event_bytes: int = LIMIT) -> Renderer:
    return Renderer(
        service="shop",
        environment="test",
        host="h1",
        limits=Limits(max_event_bytes),
        masking=masking or Masking(),
    )


RENDERER = renderer()


def logged(
    message: str = "hello", fields: Mapping[str, object] | None = None, by: Renderer = RENDERER
) -> dict[str, object]:
    event: dict[str, object] = orjson.loads(by.entry("a", "info", {"event": message, **(fields or {})}).value)
    return event


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    for handler in root.handlers:
        if isinstance(handler, KafkaHandler):
            handler.close()
    root.handlers, root.level = handlers, level
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


@pytest.mark.parametrize(
    "name",
    [
        "password",
        "PASSWORD",
        "passwords",
        "passwd",
        "passphrase",
        "pwd",
        "secret",
        "secrets",
        "client_secret",
        "client-secret",
        "clientSecret",
        "api_key",
        "apiKey",
        "X-API-Key",
        "access_key",
        "aws_access_key_id",
        "AWS_SECRET_ACCESS_KEY",
        "secret_key",
        "private_key",
        "private-key",
        "credentials",
        "token",
        "accessToken",
        "auth",
        "authorization",
        "Proxy-Authorization",
        "cookie",
        "Set-Cookie",
        "session_id",
        "session-id",
        "sessionId",
        "php_session_id",
        "db_password",
        "dbpassword",
    ],
)
def test_value_of_a_secrets_name_is_masked_at_any_depth(name: str) -> None:
    assert logged(fields={name: "hunter2"})[name] == MASK
    nested = logged(fields={"request": {"headers": [{name: "hunter2", "n": 1}]}})
    assert nested["request"] == {"headers": [{name: MASK, "n": 1}]}
    assert logged(fields={name: {"inner": ["hunter2"]}})[name] == MASK
    assert logged(fields={name: 123456})[name] == MASK
    assert logged(fields={name: b"hunter2"})[name] == MASK


@pytest.mark.parametrize(
    "name",
    [
        "token_count",
        "tokens",
        "max_tokens",
        "tokenizer",
        "author",
        "authorized",
        "secretary",
        "passwords_checked",
        "password_length",
        "TerminalSessionId",
        "session",
        "key",
        "cache_key",
        "primary_key",
        "public_key",
        "monkey",
        "keyboard",
        "compass",
    ],
)
def test_name_that_only_looks_like_a_secrets_stays(name: str) -> None:
    assert logged(fields={name: 5})[name] == 5
    assert logged(f"{name}: 5, {name}=5", {"o": {name: "x"}})["o"] == {name: "x"}
    assert logged(f"{name}: 5, {name}=5")["event"] == f"{name}: 5, {name}=5"


@pytest.mark.parametrize("value", [True, False, None])
def test_what_tells_only_whether_there_is_a_secret_stays(value: object) -> None:
    assert logged(fields={"password": value})["password"] is value


def test_header_in_a_list_of_pairs_is_masked() -> None:
    event = logged(
        fields={"headers": [("authorization", "Basic dXNlcjpwYXNz"), (b"Cookie", b"a=1"), ("accept", "*/*")]}
    )
    assert event["headers"] == [["authorization", MASK], ["Cookie", MASK], ["accept", "*/*"]]


def test_fields_of_a_dataclass_and_of_an_object_shown_by_its_repr_are_masked() -> None:
    @dataclasses.dataclass
    class Login:
        user: str
        password: str

    class Shown:
        def __repr__(self) -> str:
            return "Shown(user='ann', password='hunter2')"

    event = logged(fields={"login": Login("ann", "hunter2"), "shown": Shown()})
    assert event["login"] == {"user": "ann", "password": MASK}
    assert event["shown"] == f"Shown(user='ann', password={MASK})"


def test_own_names_are_masked_like_the_others() -> None:
    own = renderer(Masking(["iban", "card_number", "Schlüssel"]))
    fields = {
        "IBAN": "DE99",
        "customer_iban": "DE99",
        "o": [{"Card-Number": "4711", "schlüssel": "xyz"}],
        "libanon": "here",
        "password": "hunter2",
    }
    event = logged("iban=DE99, card-number: 4711 spin=5", fields, own)
    assert event["event"] == f"iban={MASK}, card-number: {MASK} spin=5"
    assert (event["IBAN"], event["customer_iban"], event["password"]) == (MASK, MASK, MASK)
    assert event["o"] == [{"Card-Number": MASK, "schlüssel": MASK}]
    assert event["libanon"] == "here"


@pytest.mark.parametrize("name", ["", "a" * 200, "a(b", "_", "x\ny"])
def test_own_name_that_can_not_be_one_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="can't name a field"):
        Masking(["fine", name])


def test_one_text_is_no_list_of_names() -> None:
    with pytest.raises(TypeError, match="list of names"):
        Masking("iban")


SHAPES = [
    ("login with password=hunter2 failed", "hunter2"),
    ("DB_PASSWORD: hunter2", "hunter2"),
    ('{"password": "hunter2 and more", "user": "x"}', "hunter2 and more"),
    ("{'passwd': 'hunter2'}", "hunter2"),
    ("{'passwd': b'hunter2'}", "hunter2"),
    (r'{"event": "{\"password\":\"hunter2\"}"}', "hunter2"),
    (r'{"password":"hun\"ter2"}', "ter2"),
    ('{"password": "hunter2 cut o', "hunter2"),
    ("https://x/y?api_key=hunter2&page=3", "hunter2"),
    ("API key: hunter2", "hunter2"),
    ("client-secret = hunter2", "hunter2"),
    ("passphrase=hunter2", "hunter2"),
    ("pwd=hunter2", "hunter2"),
    ("access_key_id=hunter2", "hunter2"),
    ("Authorization: Bearer abc.def", "abc.def"),
    ("Authorization: Basic dXNlcjpwYXNz", "dXNlcjpwYXNz"),
    ('"authorization": "Bearer abcdef"', "abcdef"),
    ("authorization=abcdef", "abcdef"),
    ("Cookie: lang=de; sid=hunter2", "hunter2"),
    ("session_id=s3ss10nvalue; path=/", "s3ss10nvalue"),
    ("sent Bearer 0123456789abcdef0123", "0123456789abcdef0123"),
    ("sent bearer 0123456789abcdef0123", "0123456789abcdef0123"),
    ("sent BEARER 0123456789abcdef0123", "0123456789abcdef0123"),
    (f"got {JWT}", JWT),
    (f"got {JWT}", JWT.split(".")[2]),
    ("key AKIAIOSFODNN7EXAMPLE used", "AKIAIOSFODNN7EXAMPLE"),
    ("key ASIAIOSFODNN7EXAMPLE used", "ASIAIOSFODNN7EXAMPLE"),
    ("slack xoxb-123456789012-abcdefGHI", "123456789012-abcdefGHI"),
    ("slack xoxe.xoxp-1-abcdefGHI", "1-abcdefGHI"),
    ("slack xapp-1-A0-abcdef", "1-A0-abcdef"),
    ("POST https://hooks.slack.com/services/T0/B0/abcDEF", "abcDEF"),
    ("remote https://ghp_0123456789abcdefABCD@github.com", "0123456789abcdefABCD"),
    *((f"with {kind}_0123456789abcdefABCD", "0123456789abcdefABCD") for kind in ("gho", "ghs", "ghu", "ghr")),
    ("with github_pat_0123456789abcdefABCD", "0123456789abcdefABCD"),
    ("with glpat-0123456789abcdef-BCD", "0123456789abcdef-BCD"),
    ("with sk_live_0123456789abcdefABCD", "0123456789abcdefABCD"),
    ("with rk_live_0123456789abcdefABCD", "0123456789abcdefABCD"),
    ("with npm_0123456789abcdefABCD", "0123456789abcdefABCD"),
    ("with AIzaSy0123456789abcdefghijklmnopqrstuv", "0123456789abcdefghijklmnopqrstuv"),
    ("postgres://app:hunter2@db/x", "hunter2"),
    ("redis://:hun@ter2@db/0", "ter2"),
    ("-----BEGIN RSA PRIVATE KEY-----\nMIIE\nabc\n-----END RSA PRIVATE KEY-----", "MIIE"),
    ("-----BEGIN PRIVATE KEY-----\\nMIIE cut off", "MIIE"),
]


@pytest.mark.parametrize(("text", "secret"), SHAPES)
def test_secret_of_a_known_shape_is_masked_wherever_it_stands(text: str, secret: str) -> None:
    class Shown:
        def __repr__(self) -> str:
            return text

    for event in (
        logged(text),
        *(logged(fields={"a": a}) for a in (text, [{"b": text}], {text: 1})),
        logged(fields={text: 1}),
    ):
        assert secret not in json.dumps(event)
        assert "[masked" in json.dumps(event)
    odd = ({"a": Shown()}, {"a": text.encode()}, {"exc_info": ValueError(text)})
    for event in (logged(fields=fields) for fields in odd):
        assert secret not in json.dumps(event)


@pytest.mark.parametrize(
    "text",
    [
        "Failed password for root from 10.0.0.1 port 22 ssh2",
        "Accepted password for alice: ok",
        "user forgot the password",
        "token expired: 12:30:01",
        "max_tokens=512",
        "the bearer of bad news",
        "time 12:30:01, http://host:80/path",
        "mail a@b.c through http://host/x",
        "the keyJob of AKIA and xox_ghp",
        "author: me, authorized: yes, secretary=x, tokenizer=bpe",
        "café résumé: ok",
    ],
)
def test_words_about_secrets_stay(text: str) -> None:
    assert logged(text, {"a": text, "o": {"b": text}})["o"] == {"b": text}
    assert Masking().text(text) == text


def test_what_stands_around_a_secret_stays() -> None:
    mask = Masking().text
    assert mask("user=alice password=x, ip=10.0.0.1") == f"user=alice password={MASK}, ip=10.0.0.1"
    assert mask('{"password":"x","user":"alice"}') == f'{{"password":{MASK},"user":"alice"}}'
    assert mask("postgres://app:pw@db:5432/x") == f"postgres://app:{MASK}@db:5432/x"


def test_masking_twice_changes_nothing_more() -> None:
    mask = Masking().text
    for text, _ in SHAPES:
        assert mask(mask(text)) == mask(text)


def test_causes_and_groups_of_an_exception_are_masked() -> None:
    error = ExceptionGroup("token: hunter2", [ValueError("password=hunter2")])
    error.__cause__ = OSError("amqp://u:hunter2@h")
    value = RENDERER.entry("a", "error", {"event": "failed", "exc_info": error}).value
    assert b"hunter2" not in value
    exception = orjson.loads(value)["exception"]
    assert exception["exceptions"][0]["value"] == f"password={MASK}"
    assert exception["cause"]["value"] == f"amqp://u:{MASK}@h"


def test_both_ways_to_log_are_masked(tmp_path: Path) -> None:
    producers.configure(path=tmp_path / "log", mask_keys=["iban"])
    structlog.contextvars.bind_contextvars(api_key="hunter2")
    structlog.get_logger("a").info("password=hunter2", iban="hunter2", n=1)
    logging.getLogger("b").info("password=%s", "hunter2", extra={"iban": "hunter2", "n": 1})
    written = (tmp_path / "log").read_bytes()
    assert b"hunter2" not in written
    one, two = map(orjson.loads, written.splitlines())
    for event in (one, two):
        assert (event["event"], event["iban"], event["api_key"]) == (f"password={MASK}", MASK, MASK)
        assert event["n"] == 1


def test_option_off_sends_everything(tmp_path: Path) -> None:
    factory = KafkaLoggerFactory(path=tmp_path / "log", mask=False)
    factory().info(RENDERER.entry("", "info", {"event": "masked by its renderer", "token": "t"}))
    factory().info('{"password":"hunter2"}')
    logger = logging.Logger("a")  # noqa: LOG001 - one that nobody else listens to
    logger.addHandler(factory.handler)
    logger.info("password=hunter2", extra={"token": "hunter2"})
    events = [orjson.loads(line) for line in (tmp_path / "log").read_bytes().splitlines()]
    assert events[1] == {"password": "hunter2"}
    assert (events[2]["event"], events[2]["token"]) == ("password=hunter2", "hunter2")
    factory.handler.close()


def test_own_names_without_masking_are_refused() -> None:
    with pytest.raises(ValueError, match="mask_keys has no effect"):
        KafkaHandler(path="-", mask=False, mask_keys=["iban"])


@pytest.mark.parametrize(
    ("rendered", "sent"),
    [
        ('{"password": "hunter2", "a": 1}', b'{"password":"[masked]","a":1}'),
        (b'[{"event": "token=hunter2"}]', b'[{"event":"token=[masked]"}]'),
        (r'{"p\u0061ssword": "hunter2"}', b'{"password":"[masked]"}'),
        ("level=info password=hunter2", b"level=info password=[masked]"),
        (b"\xff password=hunter2", b"\\xff password=[masked]"),
        (b'{"a": 1, "b": "plain"}', b'{"a": 1, "b": "plain"}'),
        ("[" * 900 + '"password=hunter2"' + "]" * 900, b'{"event":"[masked]"}'),
    ],
)
def test_event_of_another_renderer_is_masked(tmp_path: Path, rendered: str | bytes, sent: bytes) -> None:
    factory = KafkaLoggerFactory(path=tmp_path / "log")
    factory().info(rendered)
    assert (tmp_path / "log").read_bytes() == sent + b"\n"
    factory.handler.close()


def test_field_that_can_not_be_masked_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(self: Masking, value: object) -> object:
        if value == "hunter2":
            raise MemoryError
        return value

    monkeypatch.setattr(Masking, "_value", fails)
    event = logged("m", {"a": "hunter2", "token": "x", "b": "kept"})
    assert (event["a"], event["b"]) == (MASK, "kept")


def test_no_secret_leaves_where_the_stack_ends(tmp_path: Path) -> None:
    handler = KafkaHandler(path=tmp_path / "log", max_depth=100)
    nested: object = "password=hunter2"
    for _ in range(100):
        nested = [nested]

    def log_at(depth: int) -> None:
        if depth:
            log_at(depth - 1)
        else:
            handler.handle(logging.makeLogRecord({"levelno": 20, "msg": "deep", "o": nested}))

    frames = 0
    frame: FrameType | None = sys._getframe()
    while frame is not None:
        frames, frame = frames + 1, frame.f_back
    for left in range(10, 500, 5):
        with contextlib.suppress(RecursionError):
            log_at(sys.getrecursionlimit() - frames - left)
    written = (tmp_path / "log").read_bytes()
    handler.close()
    assert b'"o":"<unprintable list>"' in written
    assert b'"password=[masked]"' in written
    assert b"hunter2" not in written


def test_name_that_resists_takes_no_event_with_it() -> None:
    class Resists:
        def __str__(self) -> str:
            raise RuntimeError("no")

    made = logging.makeLogRecord({"msg": "hello", "levelno": 20, "token": "hunter2"})
    made.__dict__[Resists()] = 1  # type: ignore[index]  # wrong on purpose
    value = RENDERER.record(made).value
    assert orjson.loads(value)["event"] == "hello"
    assert b"hunter2" not in value


def test_arguments_that_do_not_fit_are_masked_too() -> None:
    made = logging.LogRecord("n", logging.INFO, "f", 1, "args %s %d", ("password=hunter2", "x"), None)
    assert b"hunter2" not in RENDERER.record(made).value


def test_event_that_grows_by_masking_is_cut_again() -> None:
    value = (
        renderer(max_event_bytes=32_768).entry("", "info", {"event": "pwd=x " * 5_000, "password": "x"}).value
    )
    assert len(value) <= 32_768
    assert orjson.loads(value)["truncated"] is True


def test_more_names_than_are_remembered_are_told_apart_all_the_same() -> None:
    masking = renderer(Masking())
    for n in range(5_000):
        logged(fields={f"name_{n}": n}, by=masking)
    assert logged(fields={"name_1": "x", "name_password": "x"}, by=masking)["name_password"] == MASK
    assert len(masking._masking._harmless) <= 4_096  # type: ignore[union-attr]  # there is one


HOSTILE = [
    "password=",
    "password=password:",
    'password="',
    'password="\\',
    "password='\\",
    'password:\\"',
    "a",
    "eyJ",
    "-eyJ",
    "eyJaaaaaa.",
    "://a:",
    "://",
    "x://a:b@",
    "bearer ",
    "Bearer a",
    "authorization:",
    "authorization: a ",
    "cookie:",
    "cookie: ",
    "-----BEGIN PRIVATE KEY",
    "-----BEGIN ",
    "-----BEGIN PRIVATE KEY-----END ",
    "xoxb",
    "xoxb-",
    "ghp_",
    "AKIA",
    "AIza",
    "session_id=",
    "hooks.slack.com/services/",
    "iban=",
]


def test_names_that_were_taken_are_as_secret_as_before() -> None:
    request = {"password": "hunter2", b"password": "hunter2", "password_": "hunter2", b"password_": "hunter2"}
    shown = logged(fields={"request": request})["request"]
    assert isinstance(shown, dict)
    assert list(shown.values()) == [MASK] * 4


def test_header_in_a_list_of_pairs_alone_is_masked() -> None:
    for pairs in (
        [["authorization", "Basic aHVudGVyMg"]],
        [("cookie", "hunter2")],
        (("x-api-key", b"hunter2"),),
    ):
        assert "aHVudGVyMg" not in str(logged(fields={"headers": pairs}))
        assert "hunter2" not in str(logged(fields={"headers": pairs}))


@pytest.mark.timeout(20)
@pytest.mark.parametrize("piece", HOSTILE)
def test_hostile_text_takes_linear_time(piece: str) -> None:
    mask = Masking(["iban"]).text

    def measure(size: int) -> float:
        # The first makes any text suspect, so that all patterns run.
        text = "eyJ " + piece * (size // len(piece))
        began = time.thread_time()
        mask(text)
        return time.thread_time() - began

    # Ten times the text: a quadratic pattern would take a hundred times as long, each time; on a busy machine
    # a linear one may, once.
    assert any(measure(200_000) < 40 * max(measure(20_000), 1e-3) for _ in range(5))


@pytest.mark.timeout(20)
@pytest.mark.parametrize("text", ["password=" * 110_000, "a" * 1_000_000, "eyJ" * 300_000, "-eyJ" * 250_000])
def test_hostile_text_of_a_megabyte_is_logged(text: str) -> None:
    huge = renderer(max_event_bytes=2_000_000)
    assert orjson.loads(huge.entry("", "info", {"event": text, "password": text}).value)["password"] == MASK


words = st.text(st.characters(codec=None), max_size=20)
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | words | st.binary(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words | st.integers(), inner, max_size=3),
    max_leaves=8,
)
SECRET = "s3cr" + "Tq9" * 12
names = st.builds(
    lambda before, name, change: change(before + name),
    st.sampled_from(["", "db_", "x-", "my."]),
    st.sampled_from(["password", "passwd", "api_key", "access-key", "token", "cookie", "session_id", "pwd"]),
    st.sampled_from([str.lower, str.upper, str.title]),
)
shapes = st.sampled_from(
    [
        f"password={SECRET}",
        f'"token": "{SECRET}"',
        f"Bearer {SECRET}",
        f"ghp_{SECRET}",
        f"xoxb-{SECRET}",
        f"eyJ{SECRET}.{SECRET}.{SECRET}",
        f"amqp://u:{SECRET}@h",
        f"-----BEGIN EC PRIVATE KEY-----\n{SECRET}",
    ]
)


def _places(planted: st.SearchStrategy[object]) -> st.SearchStrategy[object]:
    return st.recursive(
        planted,
        lambda inner: (
            st.builds(lambda a, b: [a, b], anything, inner)
            | st.builds(lambda a, b, c: {a: b, "other": c}, words, inner, anything)
        ),
        max_leaves=4,
    )


@given(
    st.dictionaries(words, anything, max_size=4),
    _places(
        st.builds(
            lambda name, secret: {name: secret}, names, st.sampled_from([SECRET, [SECRET], {"a": SECRET}])
        )
        | st.builds(lambda before, shape: f"{before} {shape}", words, shapes)
    ),
    words,
)
def test_planted_secret_is_never_in_the_bytes(fields: dict[str, object], planted: object, name: str) -> None:
    value = RENDERER.entry("a", "error", {**fields, "event": "m", name: planted, "o": planted}).value
    assert isinstance(orjson.loads(value), dict)
    assert SECRET.encode() not in value


@given(st.text(st.characters(codec=None)), st.dictionaries(words, anything, max_size=4), names, words)
def test_planted_message_and_field_are_never_in_the_bytes(
    before: str, fields: dict[str, object], name: str, after: str
) -> None:
    made = logging.LogRecord("n", logging.INFO, "f", 1, f"{before} token={SECRET} {after}", (), None)
    for field, value in {**fields, name: SECRET}.items():
        made.__dict__.setdefault(field, value)
    rendered = RENDERER.record(made).value
    assert isinstance(orjson.loads(rendered), dict)
    assert SECRET.encode() not in rendered


@given(st.dictionaries(st.text(string.ascii_letters), st.text() | st.integers(-9, 9)))
def test_plain_fields_come_back_as_they_were(fields: dict[str, object]) -> None:
    harmless = {f"f_{name}_n": value for name, value in fields.items()}
    kept = logged(fields=harmless)
    assert {name: kept[name] for name in harmless} == {
        name: Masking().text(value) if isinstance(value, str) else value for name, value in harmless.items()
    }


def test_password_in_a_kafka_clients_own_record_is_masked() -> None:
    text = "Request 1: SaslAuthenticateRequest_v1(sasl_auth_bytes=b'\\x00shop\\x00hunter2') sent"
    assert "hunter2" not in Masking(()).text(text)
