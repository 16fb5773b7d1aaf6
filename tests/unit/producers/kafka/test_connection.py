"""How a connection is secured: what options and environment come to, and what contradicts itself."""

from __future__ import annotations

import asyncio
import ssl
from typing import TYPE_CHECKING

import pytest
import trustme
from cryptography.hazmat.primitives import serialization
from hypothesis import given
from hypothesis import strategies as st

from producers import KafkaHandler
from producers.kafka.connection import VARIABLES, RefusedError, Security, knock, secure
from producers.kafka.delivery import KafkaTarget
from producers.options import SECURITY, Secret, settle

if TYPE_CHECKING:
    from pathlib import Path

PASSWORD = "hunter2-in-the-clear"  # noqa: S105 - it opens nothing
LOGIN = {"sasl_username": "shop", "sasl_password": PASSWORD}


def secured(environ: dict[str, str] | None = None, **options: object) -> Security:
    found = secure(settle(options), environ or {})  # type: ignore[arg-type]  # as tests give them
    assert found is not None
    return found


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for variables in VARIABLES.values():
        for variable in variables:
            monkeypatch.delenv(variable, raising=False)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate authority, a client's certificate with its key, and what is none of these."""
    folder = tmp_path_factory.mktemp("tls")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "ca.pem")
    client = authority.issue_cert("shop@example.org")
    client.cert_chain_pems[0].write_to_path(folder / "cert.pem")
    client.private_key_pem.write_to_path(folder / "key.pem")
    client.private_key_and_cert_chain_pem.write_to_path(folder / "both.pem")
    authority.issue_cert("other@example.org").private_key_pem.write_to_path(folder / "other-key.pem")
    key = serialization.load_pem_private_key(client.private_key_pem.bytes(), None)
    encryption = serialization.BestAvailableEncryption(PASSWORD.encode())
    (folder / "locked.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)
    )
    (folder / "nonsense.pem").write_text("no certificate")
    return folder


def test_nothing_said_is_plaintext() -> None:
    assert secured() == Security()
    assert secured().client_options() == {"security_protocol": "PLAINTEXT"}


def test_login_goes_encrypted_unless_someone_says_otherwise(files: Path) -> None:
    assert secured(**LOGIN).protocol == "SASL_SSL"
    assert secured(**LOGIN, ssl_ca_file=files / "ca.pem").protocol == "SASL_SSL"
    plain = secured(**LOGIN, security_protocol="SASL_PLAINTEXT", sasl_mechanism="SCRAM-SHA-256")
    assert plain.protocol == "SASL_PLAINTEXT"


def test_file_of_tls_alone_means_tls_without_a_login(files: Path) -> None:
    assert secured(ssl_ca_file=files / "ca.pem").protocol == "SSL"
    assert secured(ssl_cert_file=files / "both.pem").protocol == "SSL"


def test_plain_is_the_mechanism_where_it_is_encrypted_and_must_be_named_elsewhere() -> None:
    assert secured(**LOGIN).mechanism == "PLAIN"
    with pytest.raises(ValueError, match="SASL_PLAINTEXT needs sasl_mechanism, one of PLAIN, SCRAM"):
        secured(**LOGIN, security_protocol="SASL_PLAINTEXT")


def test_password_that_goes_unencrypted_is_spoken_of(capsys: pytest.CaptureFixture[str]) -> None:
    secured(**LOGIN, security_protocol="SASL_PLAINTEXT", sasl_mechanism="SCRAM-SHA-512")
    secured(**LOGIN)
    assert capsys.readouterr().err == ""
    secured(**LOGIN, security_protocol="SASL_PLAINTEXT", sasl_mechanism="PLAIN")
    expected = "tocsin: the password for Kafka is sent unencrypted: PLAIN over SASL_PLAINTEXT\n"
    assert capsys.readouterr().err == expected


def test_client_gets_its_own_names(files: Path) -> None:
    options = secured(**LOGIN, sasl_mechanism="scram-sha-512", ssl_ca_file=files / "ca.pem").client_options()
    context = options.pop("ssl_context")
    assert options == {
        "security_protocol": "SASL_SSL",
        "sasl_mechanism": "SCRAM-SHA-512",
        "sasl_plain_username": "shop",
        "sasl_plain_password": PASSWORD,
    }
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert len(context.get_ca_certs()) == 1


def test_name_check_is_off_only_when_told_and_the_certificate_is_checked_all_the_same(files: Path) -> None:
    for off in (
        secured(ssl_ca_file=files / "ca.pem", ssl_check_hostname=False),
        secured({"KAFKA_SSL_CHECK_HOSTNAME": "False"}, ssl_ca_file=files / "ca.pem"),
    ):
        context = off.client_options()["ssl_context"]
        assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, False)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sasl_username": "u"}, "sasl_username needs a password: give sasl_password or"),
        ({"sasl_password": "p"}, "sasl_password needs a user: give sasl_username or"),
        ({"sasl_mechanism": "PLAIN"}, "sasl_mechanism needs a user"),
        ({"security_protocol": "SASL_SSL"}, "security_protocol SASL_SSL needs a user"),
        ({**LOGIN, "sasl_password_file": "/p"}, "give either sasl_password or sasl_password_file"),
        ({**LOGIN, "security_protocol": "SSL"}, "sasl_username has no effect with security_protocol SSL"),
        ({"ssl_ca_file": "/ca", "security_protocol": "PLAINTEXT"}, "ssl_ca_file has no effect with security"),
        (
            {**LOGIN, "security_protocol": "SASL_PLAINTEXT", "sasl_mechanism": "PLAIN", "ssl_ca_file": "/c"},
            "ssl_ca_file has no effect with security_protocol SASL_PLAINTEXT",
        ),
        ({"security_protocol": "TLS"}, "security_protocol 'TLS' is unknown; valid: PLAINTEXT, SSL, SASL_"),
        (
            {**LOGIN, "sasl_mechanism": "SCRAM"},
            "sasl_mechanism 'SCRAM' is unknown; valid: PLAIN, SCRAM-SHA-2",
        ),
        ({**LOGIN, "sasl_mechanism": "OAUTHBEARER"}, "sasl_mechanism OAUTHBEARER: give it .* client_options"),
        ({"ssl_key_file": "/k"}, "ssl_key_file needs the certificate, ssl_cert_file"),
        ({"ssl_key_password": "p"}, "ssl_key_password needs the certificate, ssl_cert_file"),
        ({"sasl_username": "a\0b", "sasl_password": "p"}, "sasl_username must be a text, not empty and with"),
        ({"sasl_username": "", "sasl_password": "p"}, "sasl_username must be a text, not empty"),
        ({"sasl_username": 5, "sasl_password": "p"}, "sasl_username must be a text"),
        ({"ssl_check_hostname": "maybe"}, "ssl_check_hostname must be true or false, not 'maybe'"),
        (
            {**LOGIN, "client_options": {"sasl_mechanism": "PLAIN"}},
            r"sasl_username and client_options\['sasl_mechanism'\] are both given",
        ),
        ({**LOGIN, "path": "-"}, "sasl_username is of the connection to Kafka; it has no effect with path"),
        (
            {"sasl_username": "u", "sasl_password_file": "/no/such"},
            "sasl_password_file: can't read '/no/such'",
        ),
        ({"ssl_ca_file": "/no/such"}, "ssl_ca_file: can't use '/no/such': No such file"),
        ({"ssl_cert_file": "/no/such"}, "ssl_cert_file: can't use '/no/such': No such file"),
    ],
)
def test_contradiction_is_told_when_the_handler_is_made(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        KafkaHandler(**options)  # type: ignore[arg-type]  # likewise


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ssl_ca_file": "nonsense.pem"}, "ssl_ca_file: can't use .*nonsense.pem': it holds no certificate"),
        (
            {"ssl_cert_file": "cert.pem", "ssl_key_file": "other-key.pem"},
            "ssl_key_file: the key is not that of",
        ),
        (
            {"ssl_cert_file": "cert.pem", "ssl_key_file": "gone.pem"},
            "ssl_key_file: can't use .*gone.pem': No such file",
        ),
        (
            {"ssl_cert_file": "cert.pem", "ssl_key_file": "locked.pem"},
            "ssl_key_file: the key is encrypted; give its ssl_key_password",
        ),
        (
            {"ssl_cert_file": "cert.pem", "ssl_key_file": "locked.pem", "ssl_key_password": "wrong"},
            "not a certificate and its key, as PEM; is ssl_key_password right?",
        ),
        ({"ssl_cert_file": "cert.pem"}, "not a certificate and its key, as PEM"),
    ],
)
def test_file_that_is_not_what_it_should_be_is_told_by_its_option(
    files: Path, options: dict[str, str], message: str
) -> None:
    given = {n: str(files / v) if n.endswith("_file") else v for n, v in options.items()}
    with pytest.raises(ValueError, match=message):
        secured(**given)


def test_encrypted_key_is_decrypted(files: Path) -> None:
    found = secured(
        ssl_cert_file=files / "cert.pem", ssl_key_file=files / "locked.pem", ssl_key_password=PASSWORD
    )
    assert found.protocol == "SSL"


@pytest.mark.parametrize("content", ["", "\n", "a\0b", b"\xff\xfe"])
def test_file_without_a_password_is_told(tmp_path: Path, content: str | bytes) -> None:
    file = tmp_path / "password"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ValueError, match="holds no password, as UTF-8"):
        secured(sasl_username="shop", sasl_password_file=file)


def test_password_file_is_read_for_each_connection_and_its_line_end_is_none_of_it(tmp_path: Path) -> None:
    file = tmp_path / "password"
    found = None
    for written, meant in ((" first \r\n", " first "), ("second", "second")):
        file.write_text(written)
        found = found or secured(sasl_username="shop", sasl_password_file=file)
        assert found.client_options()["sasl_plain_password"] == meant
    assert found is not None
    file.unlink()
    with pytest.raises(ValueError, match="sasl_password_file: can't read"):
        found.client_options()


def test_environment_says_what_the_call_does_not(files: Path) -> None:
    environ = {
        "KAFKA_SECURITY_PROTOCOL": "sasl_ssl",
        "KAFKA_SASL_MECHANISM": "SCRAM-SHA-512",
        "KAFKA_SASL_USERNAME": "of-the-machine",
        "KAFKA_SASL_PASSWORD": PASSWORD,
        "KAFKA_SSL_CA_LOCATION": str(files / "ca.pem"),
        "KAFKA_SSL_CERTFILE": "",
    }
    assert secured(environ, sasl_username="shop") == Security(
        protocol="SASL_SSL",
        mechanism="SCRAM-SHA-512",
        username="shop",
        password=Secret(PASSWORD),
        ca_file=str(files / "ca.pem"),
    )


def test_password_of_the_call_takes_the_place_of_the_environments(tmp_path: Path) -> None:
    file = tmp_path / "password"
    written = "from the file"
    file.write_text(written)
    assert secured({"KAFKA_SASL_PASSWORD_FILE": "/no/such"}, **LOGIN).password == PASSWORD
    by_file = secured({"KAFKA_SASL_PASSWORD": "x"}, sasl_username="shop", sasl_password_file=file)
    assert by_file.client_options()["sasl_plain_password"] == written
    with pytest.raises(ValueError, match="give either KAFKA_SASL_PASSWORD or KAFKA_SASL_PASSWORD_FILE"):
        secured({"KAFKA_SASL_PASSWORD": "x", "KAFKA_SASL_PASSWORD_FILE": str(file)}, sasl_username="shop")


def test_protocol_of_the_call_leaves_out_what_it_has_no_use_for() -> None:
    environ = {"KAFKA_SASL_USERNAME": "u", "KAFKA_SASL_PASSWORD": "p", "KAFKA_SSL_CAFILE": "/no/such"}
    assert secured(environ, security_protocol="PLAINTEXT") == Security()
    assert secured({**environ, "KAFKA_SSL_CAFILE": ""}, security_protocol="SSL") == Security("SSL")


def test_environment_that_contradicts_itself_or_the_call_is_told_by_its_variables() -> None:
    with pytest.raises(ValueError, match="KAFKA_SSL_CAFILE has no effect with KAFKA_SECURITY_PROTOCOL PLAIN"):
        secured({"KAFKA_SECURITY_PROTOCOL": "PLAINTEXT", "KAFKA_SSL_CAFILE": "/ca"})
    with pytest.raises(ValueError, match="ssl_ca_file has no effect with KAFKA_SECURITY_PROTOCOL PLAINTEXT"):
        secured({"KAFKA_SECURITY_PROTOCOL": "PLAINTEXT"}, ssl_ca_file="/ca")
    with pytest.raises(ValueError, match="KAFKA_SASL_USERNAME needs a password"):
        secured({"KAFKA_SASL_USERNAME": "u"})


def test_variable_of_the_name_check_alone_asks_nobody_for_tls() -> None:
    assert secured({"KAFKA_SSL_CHECK_HOSTNAME": "false"}) == Security()


def test_client_options_that_speak_of_security_speak_alone() -> None:
    context = ssl.create_default_context()
    options = settle({"client_options": {"security_protocol": "SSL", "ssl_context": context}})
    assert secure(options, {"KAFKA_SASL_USERNAME": "u"}) is None
    other = settle({**LOGIN, "client_options": {"metadata_max_age_ms": 1_000}})  # type: ignore[typeddict-item]  # likewise
    assert secure(other, {}) is not None


def test_file_that_cannot_be_used_is_told_by_the_variable_that_named_it() -> None:
    with pytest.raises(ValueError, match=r"^KAFKA_SSL_CA_LOCATION: can't use '/no/such': No such file"):
        secured({"KAFKA_SSL_CA_LOCATION": "/no/such"})
    login = {"KAFKA_SASL_USERNAME": "u", "KAFKA_SASL_PASSWORD_FILE": "/no/such"}
    with pytest.raises(ValueError, match=r"^KAFKA_SASL_PASSWORD_FILE: can't read '/no/such'"):
        secured(login)


def test_path_leaves_the_environment_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("KAFKA_SASL_USERNAME", "without a password")
    KafkaHandler(path=tmp_path / "log").close()


def test_secret_is_in_no_repr(capsys: pytest.CaptureFixture[str]) -> None:
    options = settle(LOGIN)  # type: ignore[arg-type]  # likewise
    security = secure(options, {})
    handler = KafkaHandler(**LOGIN)  # type: ignore[arg-type]  # likewise
    target = KafkaTarget("b", "t", None, 5, {"sasl_plain_password": PASSWORD}, security)
    assert security is not None
    shown = [options, security, security.client_options(), handler, handler.sink, vars(handler.sink), target]
    shown.append([target, (Secret(PASSWORD),)])
    for each in shown:
        assert PASSWORD not in f"{each!r} {each}"
    assert PASSWORD not in capsys.readouterr().err


_TEXTS = st.sampled_from(
    ["", PASSWORD, "PLAIN", "SASL_SSL", "SASL_PLAINTEXT", "PLAINTEXT", "/no/such", "false"]
)


@given(
    st.dictionaries(st.sampled_from(SECURITY), _TEXTS),
    st.dictionaries(st.sampled_from([v for each in VARIABLES.values() for v in each]), _TEXTS),
)
def test_whatever_is_said_is_whole_or_refused_and_no_error_tells_the_password(
    options: dict[str, str], environ: dict[str, str]
) -> None:
    secret = ("sasl_password", "ssl_key_password")
    hidden = {n: v for n, v in options.items() if n in secret or v != PASSWORD}
    environ = {
        n: v
        for n, v in environ.items()
        if n in {"KAFKA_SASL_PASSWORD", "KAFKA_SSL_KEY_PASSWORD"} or v != PASSWORD
    }
    found, refused = None, ""
    try:
        found = secure(settle(hidden), environ)  # type: ignore[arg-type]  # likewise
    except ValueError as error:
        refused = str(error)
    assert PASSWORD not in refused
    assert (found is None) == bool(refused)
    if found is None:
        return
    assert bool(found.username) == bool(found.mechanism) == found.protocol.startswith("SASL")
    assert not (found.ca_file or found.cert_file) or found.protocol.endswith("SSL")
    assert not found.mechanism or bool(found.password) != bool(found.password_file)
    assert found.protocol != "SASL_PLAINTEXT" or "SASL_PLAINTEXT" in {*hidden.values(), *environ.values()}


async def test_broker_that_is_away_is_no_refusal(unused_tcp_port: int) -> None:
    options = secured(**LOGIN).client_options()
    with pytest.raises(OSError, match="Connect call failed"):
        await knock(f"127.0.0.1:{unused_tcp_port}", options)


async def test_whoever_speaks_no_tls_is_told_of() -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"220 mail.example.org ESMTP\r\n")
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        with pytest.raises(RefusedError, match=r"TLS failed \(.*\); does it speak TLS there\?"):
            await knock(f"127.0.0.1:{port}", secured(**LOGIN).client_options())
