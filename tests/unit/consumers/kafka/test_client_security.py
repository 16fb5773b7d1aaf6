"""How the worker's clients are secured: by the configuration, or else by the handler's variables."""

from __future__ import annotations

import re
import ssl
from typing import TYPE_CHECKING

import pytest
import trustme

from consumers.kafka.client import Client
from consumers.kafka.security import client_options
from pipeline.config.model import Kafka
from pipeline.errors import ConfigError
from producers.kafka.connection import VARIABLES, secure
from producers.options import settle

if TYPE_CHECKING:
    from pathlib import Path

PASSWORD = "hunter2-in-the-clear"  # noqa: S105 - it opens nothing
LOGIN = {"KAFKA_SASL_USERNAME": "tocsin", "KAFKA_SASL_PASSWORD": PASSWORD}


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> str:
    file = tmp_path_factory.mktemp("tls") / "ca.pem"
    trustme.CA().cert_pem.write_to_path(file)
    return str(file)


def test_nothing_said_is_what_the_client_does_by_itself() -> None:
    assert client_options(Kafka(), {}) == {"bootstrap_servers": "127.0.0.1:9092"}
    assert "security_protocol" not in client_options(Kafka(), {"KAFKA_SSL_CHECK_HOSTNAME": "false"})


@pytest.mark.parametrize(
    "environ",
    [
        LOGIN,
        {**LOGIN, "KAFKA_SECURITY_PROTOCOL": "sasl_plaintext", "KAFKA_SASL_MECHANISM": "scram-sha-512"},
        {**LOGIN, "KAFKA_SSL_CHECK_HOSTNAME": "0"},
        {"KAFKA_SECURITY_PROTOCOL": "SSL"},
        {"KAFKA_SECURITY_PROTOCOL": "PLAINTEXT", "KAFKA_SSL_CHECK_HOSTNAME": "true"},
    ],
)
def test_variables_mean_what_they_mean_to_the_handler(environ: dict[str, str]) -> None:
    ours = client_options(Kafka(), environ)
    found = secure(settle({}), {**environ, "KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:9092"})
    assert found is not None
    handlers = found.client_options()
    contexts = [options.pop("ssl_context", None) for options in (ours, handlers)]
    assert ours == {"bootstrap_servers": "127.0.0.1:9092", **handlers}
    first, second = (c and (c.check_hostname, c.verify_mode) for c in contexts)
    assert first == second


def test_every_variable_of_the_handler_is_known(ca: str, tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text(f"{PASSWORD}\n")
    values = {
        "security_protocol": "SASL_SSL",
        "sasl_mechanism": "PLAIN",
        "sasl_username": "tocsin",
        "sasl_password_file": str(file),
        "ssl_ca_file": ca,
        "ssl_check_hostname": "no",
    }
    for position in (0, -1):
        options = client_options(Kafka(), {VARIABLES[n][position]: v for n, v in values.items()})
        context = options["ssl_context"]
        assert isinstance(context, ssl.SSLContext)
        assert (len(context.get_ca_certs()), context.check_hostname) == (1, False)
        assert options["sasl_plain_password"] == PASSWORD
        assert PASSWORD not in repr(options)


def test_configuration_that_speaks_of_security_speaks_alone(ca: str) -> None:
    kafka = Kafka(client={"security_protocol": "SSL", "ssl_cafile": ca, "retry_backoff_ms": 1_000})
    options = client_options(kafka, LOGIN)
    assert options.keys() == {
        "bootstrap_servers",
        "security_protocol",
        "ssl_context",
        "retry_backoff_ms",
    }
    assert "sasl_plain_username" in client_options(Kafka(client={"retry_backoff_ms": 1_000}), LOGIN)


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({"KAFKA_SASL_USERNAME": "u"}, "either KAFKA_SASL_PASSWORD or KAFKA_SASL_PASSWORD_FILE"),
        ({"KAFKA_SASL_PASSWORD": "p"}, "set KAFKA_SASL_USERNAME"),
        ({**LOGIN, "KAFKA_SASL_PASSWORD_FILE": "/p"}, "either KAFKA_SASL_PASSWORD or"),
        ({**LOGIN, "KAFKA_SECURITY_PROTOCOL": "SSL"}, "KAFKA_SASL_USERNAME has no effect with"),
        ({**LOGIN, "KAFKA_SECURITY_PROTOCOL": "SASL_PLAINTEXT"}, "needs KAFKA_SASL_MECHANISM"),
        ({"KAFKA_SECURITY_PROTOCOL": "TLS"}, "KAFKA_SECURITY_PROTOCOL: "),
        (
            {"KAFKA_SECURITY_PROTOCOL": "PLAINTEXT", "KAFKA_SSL_CAFILE": "/c"},
            "KAFKA_SSL_CAFILE has no effect",
        ),
        ({"KAFKA_SSL_CAFILE": "/no/such"}, "can't use /no/such: No such file"),
        ({"KAFKA_SASL_USERNAME": "u", "KAFKA_SASL_PASSWORD_FILE": "/no/such"}, "can't be read: /no/such"),
        ({**LOGIN, "KAFKA_SSL_CHECK_HOSTNAME": "perhaps"}, "KAFKA_SSL_CHECK_HOSTNAME is true or false"),
    ],
)
def test_what_contradicts_itself_is_an_error_of_the_configuration(
    environ: dict[str, str], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        client_options(Kafka(), environ)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"sasl_mechanism": "SCRAM-SHA-265"}, "sasl_mechanism: did you mean 'SCRAM-SHA-256'?"),
        ({"sasl_mechanism": "OAUTHBEARER"}, "sasl_mechanism: valid: PLAIN"),
        ({"security_protocol": "TLS"}, "security_protocol: "),
        ({"sasl_plain_username": 7}, "sasl_plain_username: a login to Kafka needs this, as a text"),
        ({"sasl_plain_password": ""}, "sasl_plain_password: a login to Kafka needs this"),
        ({"sasl_mechansim": "PLAIN"}, "sasl_mechansim: no such option; did you mean 'sasl_mechanism'?"),
        ({"group_id": "x"}, "group_id: no such option"),
    ],
)
def test_what_the_client_would_raise_for_is_an_error_of_the_configuration(
    changed: dict[str, str | int | bool | None], message: str
) -> None:
    client: dict[str, str | int | bool | None] = {
        "security_protocol": "SASL_PLAINTEXT",
        "sasl_mechanism": "plain",
        "sasl_plain_username": "tocsin",
        "sasl_plain_password": PASSWORD,
    }
    assert client_options(Kafka(client=client), {})["sasl_mechanism"] == "PLAIN"
    with pytest.raises(ConfigError, match=re.escape(f"kafka.client.{message}")) as raised:
        client_options(Kafka(client={**client, **changed}), {})
    assert PASSWORD not in str(raised.value)
    environ = {"KAFKA_SECURITY_PROTOCOL": "SASL_SSL", **LOGIN, "KAFKA_SASL_MECHANISM": "SCRAMBLE"}
    with pytest.raises(ConfigError, match="KAFKA_SASL_MECHANISM: "):
        client_options(Kafka(), environ)


@pytest.mark.parametrize("name", ["connections_max_idle_ms", "retry_backoff_ms"])
async def test_further_options_are_taken_by_every_client(name: str) -> None:
    client = Client(Kafka(client={name: 1_000}))
    for made in (client.consumer("detect"), client.producer("detect")):
        await made.stop()
    assert client.options[name] == 1_000
