"""The handler on a broker that wants logins and certificates: what gets in, what is said where it doesn't."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import re
import select
import shutil
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from unittest.mock import Mock
from uuid import uuid4

import pytest
import structlog
import trustme
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from cryptography.hazmat.primitives import serialization

from consumers.broker import Broker
from consumers.clock import now_ms
from consumers.kafka import session
from consumers.kafka.client import Client
from consumers.kafka.topics import ensure_topics
from consumers.metrics import Metrics
from consumers.verify.command import VerifyOptions, verify_log
from pipeline.config.model import Kafka as KafkaConfig
from pipeline.errors import TocsinError
from producers import KafkaHandler
from tests.conftest import JARS, known

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).parents[2]
USER = "tocsin"
SCRAM_PASSWORD = "of-the-scram-user"  # noqa: S105 - of a broker that lives for this test
PLAIN_PASSWORD = "of-the-plain-user"  # noqa: S105 - likewise
WRONG = "hunter2-is-wrong"
_PLAIN_USERS = (
    'org.apache.kafka.common.security.plain.PlainLoginModule required user_{}="{}" user_turner="{}";'
)
_SCRAM = "org.apache.kafka.common.security.scram.ScramLoginModule required;"


class Secured(NamedTuple):
    """A broker with four ways in besides the open one, and the files that lead there."""

    broker: Broker
    files: Path

    def options(self, way: str) -> dict[str, object]:
        """Return what a handler needs to get in."""
        of_way: dict[str, dict[str, object]] = {
            "SCRAM": {
                "sasl_mechanism": "SCRAM-SHA-512",
                "sasl_username": USER,
                "sasl_password": SCRAM_PASSWORD,
            },
            "PLAIN": {
                "security_protocol": "SASL_PLAINTEXT",
                "sasl_mechanism": "PLAIN",
                "sasl_username": USER,
                "sasl_password": PLAIN_PASSWORD,
            },
            "MUTUAL": {
                "ssl_cert_file": self.files / "client.pem",
                "ssl_key_file": self.files / "client.key",
                "ssl_key_password": "of-the-key",
            },
            "ELSEWHERE": {},
        }
        ca = {} if way == "PLAIN" else {"ssl_ca_file": self.files / "ca.pem"}
        return {"bootstrap_servers": self.broker.address(way), **of_way[way], **ca}


def turner(password: str) -> str:
    return _PLAIN_USERS.format(USER, PLAIN_PASSWORD, password)


def write_pem(certificate: trustme.LeafCert, path: Path) -> None:
    """Write key and certificate the way Kafka reads them."""
    key = serialization.load_pem_private_key(certificate.private_key_pem.bytes(), None)
    pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    text = key.private_bytes(pem, pkcs8, serialization.NoEncryption())
    path.write_bytes(text + b"".join(c.bytes() for c in certificate.cert_chain_pems))


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    files = tmp_path_factory.mktemp("secure")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(files / "ca.pem")
    trustme.CA().cert_pem.write_to_path(files / "other-ca.pem")
    write_pem(authority.issue_cert("127.0.0.1"), files / "server.pem")
    write_pem(authority.issue_cert("kafka.example"), files / "elsewhere.pem")
    client = authority.issue_cert("payments@example.org")
    client.cert_chain_pems[0].write_to_path(files / "client.pem")
    key = serialization.load_pem_private_key(client.private_key_pem.bytes(), None)
    (files / "client.key").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"of-the-key"),
        )
    )
    properties = {
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": str(files / "server.pem"),
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": str(files / "ca.pem"),
        "listener.name.mutual.ssl.client.auth": "required",
        "listener.name.elsewhere.ssl.keystore.type": "PEM",
        "listener.name.elsewhere.ssl.keystore.location": str(files / "elsewhere.pem"),
        "listener.name.scram.sasl.enabled.mechanisms": "SCRAM-SHA-512",
        "listener.name.scram.scram-sha-512.sasl.jaas.config": _SCRAM,
        "listener.name.plain.sasl.enabled.mechanisms": "PLAIN",
        "listener.name.plain.plain.sasl.jaas.config": turner("old-password"),
    }
    broker = Broker(
        files / "kafka",
        cache=JARS,
        listeners={"SCRAM": "SASL_SSL", "PLAIN": "SASL_PLAINTEXT", "MUTUAL": "SSL", "ELSEWHERE": "SSL"},
        properties=properties,
        format_options=("--add-scram", f"SCRAM-SHA-512=[name={USER},password={SCRAM_PASSWORD}]"),
    )
    with broker:
        yield Secured(broker, files)
    shutil.rmtree(files / "kafka", ignore_errors=True)


@pytest.fixture
async def topic(secured: Secured) -> str:
    name = f"secure-{uuid4().hex[:12]}"
    admin = AIOKafkaAdminClient(bootstrap_servers=secured.broker.bootstrap_servers)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(name, 1, 1)])
        await known(admin, name)
    finally:
        await admin.close()
    return name


@pytest.fixture
def logger() -> Iterator[logging.Logger]:
    """A logger that stands alone, so that pytest's own handlers don't listen to it."""
    logger = logging.Logger("shop.web", logging.DEBUG)  # noqa: LOG001 - as said
    yield logger
    for handler in logger.handlers:
        handler.close()


def handler_of(logger: logging.Logger, topic: str, **options: object) -> KafkaHandler:
    handler = KafkaHandler(service="shop", topic=topic, flush_timeout_s=0.2, **options)  # type: ignore[arg-type]  # as tests give them
    logger.addHandler(handler)
    return handler


async def events(secured: Secured, topic: str, count: int) -> list[bytes]:
    consumer = AIOKafkaConsumer(
        topic,
        bootstrap_servers=secured.broker.bootstrap_servers,
        auto_offset_reset="earliest",
        group_id=None,
    )
    found: list[bytes] = []
    async with consumer, asyncio.timeout(60):
        while len(found) < count:
            for records in (await consumer.getmany(timeout_ms=500)).values():
                found += [record.value for record in records]
    return found


async def until(condition: Callable[[], bool], timeout_s: float = 30) -> None:
    async with asyncio.timeout(timeout_s):
        while not condition():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(asyncio.Event().wait(), 0.05)


class Said:
    """Standard error, read bit by bit."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys
        self.text = ""

    def has(self, words: str) -> bool:
        self.text += self._capsys.readouterr().err
        return words in self.text


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Said:
    return Said(capsys)


class Door:
    """A port in front of another that notes when somebody comes."""

    def __init__(self, address: str) -> None:
        host, _, port = address.partition(":")
        self._target = (host, int(port))
        self.came_at: list[float] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.came_at.append(time.monotonic())
            threading.Thread(target=self._pass, args=(client,), daemon=True).start()

    def _pass(self, client: socket.socket) -> None:
        with client, socket.create_connection(self._target) as server:
            ends = {client: server, server: client}
            while ends:
                for end in select.select(list(ends), [], [])[0]:
                    if data := end.recv(65_536):
                        ends[end].sendall(data)
                    else:
                        return

    def close(self) -> None:
        # A plain close would leave the thread in its `accept`.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


@pytest.mark.parametrize("way", ["SCRAM", "PLAIN", "MUTUAL"])
async def test_record_arrives_by_each_way_in(
    secured: Secured, topic: str, logger: logging.Logger, way: str
) -> None:
    handler = handler_of(logger, topic, **secured.options(way))
    logger.info("let in")
    (event,) = await events(secured, topic, 1)
    assert b"let in" in event
    assert handler.dropped == {}


async def test_environment_alone_gets_a_script_in_that_ends_at_once(secured: Secured, topic: str) -> None:
    """The first login of a short script falls into the interpreter's end, when executors take no work."""
    password = secured.files / "password"
    password.write_text(f"{SCRAM_PASSWORD}\n")
    environment = {
        **os.environ,
        "KAFKA_BOOTSTRAP_SERVERS": secured.broker.address("SCRAM"),
        "KAFKA_SASL_MECHANISM": "SCRAM-SHA-512",
        "KAFKA_SASL_USERNAME": USER,
        "KAFKA_SASL_PASSWORD_FILE": str(password),
        "KAFKA_SSL_CAFILE": str(secured.files / "ca.pem"),
    }
    script = f"import logging, producers; producers.configure(topic={topic!r}); logging.warning('bye')"
    ran = await run(script, environment)
    (event,) = await events(secured, topic, 1)
    assert b"bye" in event
    assert ran.stderr == ""


async def run(script: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", script],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )


@pytest.mark.parametrize(
    ("way", "change", "words"),
    [
        ("SCRAM", {"sasl_password": WRONG}, "authentication failed for user 'tocsin' (SCRAM-SHA-512)"),
        ("SCRAM", {"sasl_username": "nobody"}, "authentication failed for user 'nobody' (SCRAM-SHA-512)"),
        ("PLAIN", {"sasl_password": WRONG}, "authentication failed for user 'tocsin' (PLAIN)"),
        ("SCRAM", {"sasl_mechanism": "PLAIN"}, "it does not take the mechanism PLAIN"),
        ("SCRAM", {"ssl_ca_file": "other-ca.pem"}, "its certificate is not accepted: "),
        ("ELSEWHERE", {}, "its certificate is not accepted: IP address mismatch"),
        (
            "MUTUAL",
            {"ssl_cert_file": None, "ssl_key_file": None, "ssl_key_password": None},
            "it asks for a certificate of ours: ssl_cert_file",
        ),
        (
            "SCRAM",
            {"security_protocol": "SASL_PLAINTEXT", "ssl_ca_file": None},
            "is away (",
        ),
    ],
)
async def test_refusal_is_said_as_what_it_is_and_the_record_waits(
    secured: Secured,
    topic: str,
    logger: logging.Logger,
    said: Said,
    way: str,
    change: dict[str, object],
    words: str,
) -> None:
    options = {**secured.options(way), **change}
    if options.get("ssl_ca_file") == "other-ca.pem":
        options["ssl_ca_file"] = secured.files / "other-ca.pem"
    handler = handler_of(logger, topic, **options)
    logger.error("kept out")
    await until(lambda: said.has(words))
    assert (handler.pending, handler.dropped) == (1, {})
    handler.close()
    assert handler.dropped == {"error": 1}
    assert said.has("1 log records were not delivered")
    assert WRONG not in said.text


async def test_certificate_for_another_name_is_taken_where_the_check_is_off(
    secured: Secured, topic: str, logger: logging.Logger
) -> None:
    # The client goes on to the address that the broker advertises, which is none of the certificate's either.
    handler_of(logger, topic, **secured.options("ELSEWHERE"), ssl_check_hostname=False)
    logger.info("let in")
    assert len(await events(secured, topic, 1)) == 1


async def test_login_that_fails_is_tried_seldom_and_said_once(
    secured: Secured, topic: str, logger: logging.Logger, said: Said
) -> None:
    door = Door(secured.broker.address("SCRAM"))
    options = {**secured.options("SCRAM"), "sasl_password": WRONG, "bootstrap_servers": door.address}
    handler = handler_of(logger, topic, **options)
    logger.info("kept out")
    await until(lambda: len(door.came_at) == 3)
    for n in range(1_000):
        logger.info("kept out as well %d", n)
    assert said.has("authentication failed")
    handler.close()
    door.close()
    assert said.has("not delivered")
    assert said.text.count("authentication failed") == 1
    pauses = [later - earlier for earlier, later in zip(door.came_at, door.came_at[1:], strict=False)]
    # Each is a half to the whole of 1, 2, 4, … seconds.
    assert pauses[0] > 0.5
    assert pauses[1] > 1.0


async def test_password_that_was_changed_in_its_file_counts_at_the_next_connection(
    secured: Secured, topic: str, logger: logging.Logger, said: Said
) -> None:
    file = secured.files / "turner"
    file.write_text("old-password")
    options = {**secured.options("PLAIN"), "sasl_username": "turner", "sasl_password": None}
    handler = handler_of(logger, topic, **options, sasl_password_file=file)
    logger.info("before")
    await until(lambda: handler.pending == 0)
    secured.broker.properties["listener.name.plain.plain.sasl.jaas.config"] = turner("new-password")
    await asyncio.to_thread(secured.broker.stop)
    logger.info("meanwhile")
    await asyncio.to_thread(secured.broker.start)
    await until(lambda: said.has("authentication failed for user 'turner' (PLAIN)"))
    assert handler.pending == 1
    assert said.text.count("authentication failed") == 1
    file.write_text("new-password\n")
    logger.info("after")
    await until(lambda: said.has("is back"))
    found = await events(secured, topic, 3)
    assert [next(w for w in (b"before", b"meanwhile", b"after") if w in e) for e in found] == [
        b"before",
        b"meanwhile",
        b"after",
    ]
    assert "old-password" not in said.text


@pytest.mark.parametrize("way", ["SCRAM", "PLAIN"])
async def test_no_output_of_a_failing_login_has_the_password(secured: Secured, topic: str, way: str) -> None:
    options = {**secured.options(way), "sasl_password": WRONG}
    options = {name: str(value) if isinstance(value, Path) else value for name, value in options.items()}
    script = f"""
import logging, sys, time
logging.basicConfig(level=logging.DEBUG, stream=sys.stdout)  # whatever anybody logs, aiokafka and asyncio
import producers
handler = producers.configure(level="DEBUG", topic={topic!r}, flush_timeout_s=0.2, **{options!r})
logging.error("kept out")
print(handler, handler.sink, vars(handler.sink), handler.sink._target)
handler.flush(3)
try:
    producers.KafkaHandler(**{{**{options!r}, "sasl_mechanism": "none"}})
except ValueError:
    logging.exception("once more")
"""
    environment = {**os.environ, "PYTHONASYNCIODEBUG": "1", "PYTHONDEVMODE": "1"}
    ran = await run(script, environment)
    output = ran.stdout + ran.stderr
    assert "authentication failed for user 'tocsin'" in output
    assert "sasl_mechanism 'none' is unknown" in output
    assert "not delivered" in output
    assert WRONG not in output


@pytest.mark.parametrize(
    ("way", "changed", "message"),
    [
        ("SCRAM", {"KAFKA_SASL_PASSWORD": WRONG}, "authentication failed for user 'tocsin' (SCRAM-SHA-512)"),
        ("SCRAM", {"KAFKA_SASL_MECHANISM": "PLAIN"}, "it does not take the mechanism PLAIN"),
        ("SCRAM", {"KAFKA_SSL_CAFILE": "other-ca.pem"}, "its certificate is not accepted: "),
        ("PLAIN", {}, "does it speak TLS there?"),
        ("MUTUAL", {"KAFKA_SECURITY_PROTOCOL": "SSL"}, "it asks for a certificate of ours: ssl_certfile"),
    ],
)
async def test_worker_says_why_it_is_refused(
    secured: Secured,
    monkeypatch: pytest.MonkeyPatch,
    way: str,
    changed: dict[str, str],
    message: str,
) -> None:
    login = {
        "KAFKA_SASL_MECHANISM": "SCRAM-SHA-512",
        "KAFKA_SASL_USERNAME": USER,
        "KAFKA_SASL_PASSWORD": SCRAM_PASSWORD,
    }
    for name, value in {
        **({} if "KAFKA_SECURITY_PROTOCOL" in changed else login),
        "KAFKA_SSL_CAFILE": "ca.pem",
        **changed,
    }.items():
        monkeypatch.setenv(name, str(secured.files / value) if name.endswith("FILE") else value)
    address = secured.broker.address(way)
    client = Client(KafkaConfig(bootstrap_servers=address))
    with pytest.raises(TocsinError, match=f"Kafka at {address}: .*{re.escape(message)}"):
        await ensure_topics(address, [], client_options=client.options, wait_s=0)


async def test_stage_that_is_refused_says_why_and_says_it_once(
    secured: Secured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KAFKA_SASL_MECHANISM", "SCRAM-SHA-512")
    monkeypatch.setenv("KAFKA_SASL_USERNAME", USER)
    monkeypatch.setenv("KAFKA_SASL_PASSWORD", WRONG)
    monkeypatch.setenv("KAFKA_SSL_CAFILE", str(secured.files / "ca.pem"))
    monkeypatch.setattr(session, "_LONGEST_PAUSE_S", 0.2)
    tried = 0

    class Counting(Client):
        def producer(self, stage: str) -> AIOKafkaProducer:
            nonlocal tried
            tried += 1
            return super().producer(stage)

    client = Counting(KafkaConfig(bootstrap_servers=secured.broker.address("SCRAM")))
    stop, stage = asyncio.Event(), Mock(topic="logs")
    stage.name = "detect"
    with structlog.testing.capture_logs() as logged:
        running = asyncio.create_task(
            session.run_stage(stage, client, Metrics(now_ms), stop, on_ready=asyncio.Event())
        )
        await until(lambda: tried >= 3)
        stop.set()
        await running
    (said,) = [line for line in logged if line["log_level"] == "warning"]
    assert said["error"] == "authentication failed for user 'tocsin' (SCRAM-SHA-512)"
    assert WRONG not in repr(logged)


async def test_verification_that_is_refused_says_why(
    secured: Secured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOCSIN_CHAIN_KEY", "a key of sixteen bytes or more")
    monkeypatch.setenv("KAFKA_SASL_MECHANISM", "SCRAM-SHA-512")
    monkeypatch.setenv("KAFKA_SASL_USERNAME", USER)
    monkeypatch.setenv("KAFKA_SASL_PASSWORD", WRONG)
    monkeypatch.setenv("KAFKA_SSL_CAFILE", str(secured.files / "ca.pem"))
    kafka = KafkaConfig(bootstrap_servers=secured.broker.address("SCRAM"))
    with pytest.raises(TocsinError, match=f"authentication failed for user '{USER}'"):
        await verify_log(kafka, VerifyOptions("logs"))


async def test_same_variables_let_the_worker_in(secured: Secured) -> None:
    environment = {
        **os.environ,
        "KAFKA_BOOTSTRAP_SERVERS": secured.broker.address("SCRAM"),
        "KAFKA_SASL_MECHANISM": "SCRAM-SHA-512",
        "KAFKA_SASL_USERNAME": USER,
        "KAFKA_SASL_PASSWORD": SCRAM_PASSWORD,
        "KAFKA_SSL_CAFILE": str(secured.files / "ca.pem"),
    }
    script = "import sys; from pipeline.entry import main; sys.argv[1:] = ['topics']; sys.exit(main())"
    ran = await run(script, environment)
    assert "created" in ran.stdout + ran.stderr
    assert SCRAM_PASSWORD not in ran.stdout + ran.stderr
