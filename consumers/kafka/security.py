"""How the worker's clients are secured: by `kafka.client` of the configuration, or else by the environment.

The variables are the handler's, so that a machine sets them once for both. What `kafka.client` says of
security it says alone: then the environment isn't looked at.
"""

from __future__ import annotations

import importlib.util
import ssl
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.errors import ConfigError, nearest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pipeline.config.model import Kafka

__all__ = ["client_options"]

_VARIABLES = {
    "security_protocol": ("KAFKA_SECURITY_PROTOCOL",),
    "sasl_mechanism": ("KAFKA_SASL_MECHANISM",),
    "sasl_plain_username": ("KAFKA_SASL_USERNAME",),
    "sasl_plain_password": ("KAFKA_SASL_PASSWORD",),
    "sasl_password_file": ("KAFKA_SASL_PASSWORD_FILE",),
    "ssl_cafile": ("KAFKA_SSL_CAFILE", "KAFKA_SSL_CA_LOCATION"),
    "ssl_certfile": ("KAFKA_SSL_CERTFILE", "KAFKA_SSL_CERTIFICATE_LOCATION"),
    "ssl_keyfile": ("KAFKA_SSL_KEYFILE", "KAFKA_SSL_KEY_LOCATION"),
    "ssl_key_password": ("KAFKA_SSL_KEY_PASSWORD",),
    "ssl_check_hostname": ("KAFKA_SSL_CHECK_HOSTNAME",),
}
_PROTOCOLS = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
_MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")
# Those of aiokafka that all its clients take and nobody here sets otherwise.
_FURTHER = (
    "connections_max_idle_ms",
    "retry_backoff_ms",
    "sasl_kerberos_domain_name",
    "sasl_kerberos_service_name",
)
_OF_SECURITY = ("security_", "sasl_", "ssl_")
_MEANT = {"true": True, "1": True, "yes": True, "on": True}
_MEANT |= {"false": False, "0": False, "no": False, "off": False}


class _Hidden(str):
    """A password: no traceback that shows variables shows it."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'[masked]'"


def client_options(kafka: Kafka, environ: Mapping[str, str]) -> dict[str, Any]:
    """Return what every client of aiokafka takes (Any: as it types them), all files read now.

    Args:
        kafka: the configuration.
        environ: what counts where `kafka.client` says nothing of security.

    Raises:
        ConfigError: what is said contradicts itself, is incomplete, or a file can't be used.
    """
    valid = (*_VARIABLES, *_FURTHER)
    for name in kafka.client:
        if name not in valid:
            raise ConfigError(f"no such option; {nearest(name, valid)}", path=f"kafka.client.{name}")
    options: dict[str, Any] = {"bootstrap_servers": kafka.bootstrap_servers, **kafka.client}
    if not any(name.startswith(_OF_SECURITY) for name in kafka.client):
        options |= _from_environment(environ)
    _check_names(options)
    if (path := options.pop("sasl_password_file", None)) is not None:
        options["sasl_plain_password"] = _password(str(path))
    if isinstance(password := options.get("sasl_plain_password"), str):
        options["sasl_plain_password"] = _Hidden(password)
    _check_login(options)
    files = {name: options.pop(name, None) for name in ("ssl_cafile", "ssl_certfile", "ssl_keyfile")}
    key_password = options.pop("ssl_key_password", None)
    check_hostname = options.pop("ssl_check_hostname", True)
    if str(options.get("security_protocol", "")).endswith("SSL"):
        context = options["ssl_context"] = _context(files, key_password)
        context.check_hostname = check_hostname is not False
    return options


def _check_names(options: dict[str, Any]) -> None:
    """Write the protocol and the mechanism as aiokafka does, which raises for others and says little."""
    if "security_protocol" in options:
        protocol = options["security_protocol"] = str(options["security_protocol"]).upper()
        if protocol not in _PROTOCOLS:
            raise ConfigError(nearest(protocol, _PROTOCOLS), path="kafka.client.security_protocol")
    if "sasl_mechanism" in options:
        mechanism = options["sasl_mechanism"] = str(options["sasl_mechanism"]).upper()
        if mechanism == "GSSAPI" and importlib.util.find_spec("gssapi") is None:
            raise ConfigError(
                "GSSAPI needs the library gssapi, which is not installed", path="kafka.client.sasl_mechanism"
            )
        if mechanism not in (*_MECHANISMS, "GSSAPI"):
            raise ConfigError(nearest(mechanism, _MECHANISMS), path="kafka.client.sasl_mechanism")


def _check_login(options: Mapping[str, Any]) -> None:
    """See that there is a user and a password, as texts, where the mechanism sends them."""
    if not options.get("security_protocol", "").startswith("SASL"):
        return
    if options.get("sasl_mechanism", "PLAIN") in _MECHANISMS:
        for name in ("sasl_plain_username", "sasl_plain_password"):
            if not isinstance(options.get(name), str) or not options[name]:
                raise ConfigError("a login to Kafka needs this, as a text", path=f"kafka.client.{name}")


def _from_environment(environ: Mapping[str, str]) -> dict[str, Any]:
    """Return what the environment says of security, under the names of `kafka.client`."""
    variables = {
        name: variable
        for name, each in _VARIABLES.items()
        for variable in each[::-1]
        if environ.get(variable)
    }
    found: dict[str, Any] = {name: environ[variable] for name, variable in variables.items()}
    sasl = [name for name in found if name.startswith("sasl_")]
    if not sasl and found.keys() <= {"ssl_check_hostname"}:
        return {}
    protocol = found.get("security_protocol", "SASL_SSL" if sasl else "SSL").upper()
    if protocol not in _PROTOCOLS:
        raise ConfigError(f"KAFKA_SECURITY_PROTOCOL: {nearest(protocol, _PROTOCOLS)}")
    for name, variable in variables.items():
        asked = "SASL" if name.startswith("sasl_") else "SSL" if name.startswith("ssl_") else ""
        there = protocol.startswith("SASL") if asked == "SASL" else protocol.endswith(asked)
        if not there and name != "ssl_check_hostname":
            raise ConfigError(f"{variable} has no effect with KAFKA_SECURITY_PROTOCOL={protocol}")
    found["security_protocol"] = protocol
    if "ssl_check_hostname" in found:
        if (word := found["ssl_check_hostname"].lower()) not in _MEANT:
            raise ConfigError("KAFKA_SSL_CHECK_HOSTNAME is true or false")
        found["ssl_check_hostname"] = _MEANT[word]
    if protocol.startswith("SASL"):
        _complete(found)
    return found


def _complete(found: dict[str, Any]) -> None:
    """See that a login has all that it needs."""
    if "sasl_plain_username" not in found:
        raise ConfigError("a login to Kafka needs a user: set KAFKA_SASL_USERNAME")
    if ("sasl_plain_password" in found) == ("sasl_password_file" in found):
        raise ConfigError("a login to Kafka needs either KAFKA_SASL_PASSWORD or KAFKA_SASL_PASSWORD_FILE")
    if "sasl_mechanism" in found:
        mechanism = found["sasl_mechanism"] = found["sasl_mechanism"].upper()
        if mechanism not in _MECHANISMS:
            raise ConfigError(f"KAFKA_SASL_MECHANISM: {nearest(mechanism, _MECHANISMS)}")
    elif found["security_protocol"] == "SASL_SSL":
        found["sasl_mechanism"] = "PLAIN"
    else:
        raise ConfigError("SASL_PLAINTEXT needs KAFKA_SASL_MECHANISM: PLAIN sends the password as it is")


def _password(path: str) -> str:
    try:
        password = Path(path).read_text("utf-8").rstrip("\r\n")
    except OSError as error:
        raise ConfigError(f"the file of Kafka's password can't be read: {path}: {error.strerror}") from error
    except UnicodeDecodeError:
        # Its own message quotes what it could not decode.
        raise ConfigError(f"the file of Kafka's password is not UTF-8: {path}") from None
    if not password:
        raise ConfigError(f"the file of Kafka's password is empty: {path}")
    return password


def _context(files: Mapping[str, object], key_password: object) -> ssl.SSLContext:
    def ask() -> str:
        # OpenSSL would ask for it on the terminal.
        if not key_password:
            raise ConfigError(f"{named['ssl_keyfile'] or named['ssl_certfile']}: the key needs its password")
        return str(key_password)

    named = {name: str(path) if path else None for name, path in files.items()}
    try:
        context = ssl.create_default_context(cafile=named["ssl_cafile"])
        if named["ssl_certfile"] is not None:
            context.load_cert_chain(named["ssl_certfile"], named["ssl_keyfile"], ask)
    except OSError as error:
        those = ", ".join(path for path in named.values() if path) or "the system's certificates"
        raise ConfigError(f"TLS to Kafka: can't use {those}: {error.strerror or error}") from error
    return context
