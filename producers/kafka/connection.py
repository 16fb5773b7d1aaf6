"""The connection: how it is secured, and why the broker won't have it.

What is said contradicts itself or not: that is found out when the handler is made, never at a log call. What
the call says goes before the environment. Files are read anew for each connection, so that what was changed
in them counts. Nothing is sent unencrypted that nobody said to, and no secret has a `repr`.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from producers.options import SECURITY, Secret
from producers.process import say

if TYPE_CHECKING:
    from collections.abc import Mapping

    from producers.options import HandlerOptions

__all__ = ["VARIABLES", "RefusedError", "Security", "knock", "secure"]

# Set for whoever uses TLS: it asks nobody to, and contradicts nothing.
_CHECK_VARIABLE = "KAFKA_SSL_CHECK_HOSTNAME"
# The names of kafka-python, and behind them those of librdkafka's settings.
VARIABLES: Final = {
    "security_protocol": ("KAFKA_SECURITY_PROTOCOL",),
    "sasl_mechanism": ("KAFKA_SASL_MECHANISM",),
    "sasl_username": ("KAFKA_SASL_USERNAME",),
    "sasl_password": ("KAFKA_SASL_PASSWORD",),
    "sasl_password_file": ("KAFKA_SASL_PASSWORD_FILE",),
    "ssl_ca_file": ("KAFKA_SSL_CAFILE", "KAFKA_SSL_CA_LOCATION"),
    "ssl_cert_file": ("KAFKA_SSL_CERTFILE", "KAFKA_SSL_CERTIFICATE_LOCATION"),
    "ssl_key_file": ("KAFKA_SSL_KEYFILE", "KAFKA_SSL_KEY_LOCATION"),
    "ssl_key_password": ("KAFKA_SSL_KEY_PASSWORD",),
    "ssl_check_hostname": (_CHECK_VARIABLE,),
}
_PROTOCOLS = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
_MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")
_ELSEWHERE = ("GSSAPI", "OAUTHBEARER")
_TRUE, _FALSE = frozenset({"true", "1", "yes", "on"}), frozenset({"false", "0", "no", "off"})
_PASSWORDS = {"sasl_password": "sasl_password_file", "sasl_password_file": "sasl_password"}
_MAX_FILE_BYTES = 65_536
_WORDS = 200
_GOODBYE_S = 1.0


class RefusedError(Exception):
    """The broker won't have us or we won't have it; says why, to a person. Trying again soon is no use."""


class Security(NamedTuple):
    """How a connection is secured.

    Attributes:
        protocol: PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL.
        mechanism: PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512; empty without SASL.
        username: who logs in.
        password: as given; empty if it stands in a file.
        password_file: where it stands.
        ca_file: whose certificates are trusted; empty for the system's.
        cert_file: our own certificate.
        key_file: its key; empty if the two stand together.
        key_password: decrypts the key.
        check_hostname: whether the broker's certificate must be for the name that it was reached by.
    """

    protocol: str = "PLAINTEXT"
    mechanism: str = ""
    username: str = ""
    password: Secret = Secret()
    password_file: str = ""
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""
    key_password: Secret = Secret()
    check_hostname: bool = True

    def client_options(self) -> dict[str, Any]:
        """Return the arguments of `AIOKafkaProducer` (Any: as it types them), all files read now.

        Raises:
            ValueError: a file can't be read, or is not what it has to be.
        """
        options: dict[str, Any] = {"security_protocol": self.protocol}
        if self.protocol.startswith("SASL"):
            options |= {
                "sasl_mechanism": self.mechanism,
                "sasl_plain_username": self.username,
                "sasl_plain_password": _from_file(self.password_file)
                if self.password_file
                else self.password,
            }
        if self.protocol.endswith("SSL"):
            options["ssl_context"] = self._context()
        return options

    def _context(self) -> ssl.SSLContext:
        try:
            context = ssl.create_default_context(cafile=self.ca_file or None)
        except OSError as error:
            why = "it holds no certificate" if isinstance(error, ssl.SSLError) else error.strerror
            raise ValueError(f"ssl_ca_file: can't use {self.ca_file!r}: {why}") from error
        context.check_hostname = self.check_hostname
        if self.cert_file:
            try:
                context.load_cert_chain(self.cert_file, self.key_file or None, self._ask)
            except OSError as error:
                raise ValueError(self._unusable(error)) from error
        return context

    def _ask(self) -> str:
        """Return the password of an encrypted key; OpenSSL would ask for it on the terminal."""
        if not self.key_password:
            raise ValueError(
                f"{'ssl_key_file' if self.key_file else 'ssl_cert_file'}: the key is encrypted; give its"
                " ssl_key_password"
            )
        return self.key_password

    def _unusable(self, error: OSError) -> str:
        """Say what is wrong with the client's certificate or its key."""
        if not isinstance(error, ssl.SSLError):
            for option, path in (("ssl_cert_file", self.cert_file), ("ssl_key_file", self.key_file)):
                if path and not os.access(path, os.R_OK):
                    return f"{option}: can't use {path!r}: {error.strerror}"
            return f"ssl_cert_file: can't use {self.cert_file!r}: {error.strerror}"
        if error.reason == "KEY_VALUES_MISMATCH":
            return f"ssl_key_file: the key is not that of {self.cert_file!r}"
        paths = f"{self.cert_file!r}{f' with {self.key_file!r}' if self.key_file else ''}"
        doubt = "; is ssl_key_password right?" if self.key_password else ""
        return f"ssl_cert_file: can't use {paths}: not a certificate and its key, as PEM{doubt}"


class _Said(NamedTuple):
    """A value, and what to call it when it is wrong: the option or the variable."""

    value: Any  # of the option's type, or text of the environment
    name: str


def secure(options: HandlerOptions, environ: Mapping[str, str]) -> Security | None:
    """Return how the connection is secured, by options and environment.

    Args:
        options: those of the handler, as given.
        environ: what the environment says; it counts where an option is not given and could have been.

    Returns:
        None if `client_options` says it.

    Raises:
        ValueError: what is said contradicts itself, is incomplete, unknown or not to be read.
    """
    given = {name: _Said(value, name) for name in SECURITY if (value := options.get(name)) is not None}
    if client := sorted(_securing(options["client_options"] or {})):
        if given:
            one = next(iter(given))
            raise ValueError(f"{one} and client_options[{client[0]!r}] are both given; say all in one place")
        return None
    said = {**_from_environment(environ, given), **given}
    if "sasl_password" in said and "sasl_password_file" in said:
        raise ValueError(f"give either {said['sasl_password'].name} or {said['sasl_password_file'].name}")
    protocol = _protocol(said)
    for name, value in said.items():
        if not _belongs(name, protocol) and value.name != _CHECK_VARIABLE:
            by = said["security_protocol"].name
            raise ValueError(f"{value.name} has no effect with {by} {protocol}")
    security = Security(
        protocol=protocol,
        mechanism=_mechanism(said, protocol),
        username=_text(said, "sasl_username"),
        password=Secret(_text(said, "sasl_password")),
        password_file=_text(said, "sasl_password_file"),
        ca_file=_text(said, "ssl_ca_file"),
        cert_file=_text(said, "ssl_cert_file"),
        key_file=_text(said, "ssl_key_file"),
        key_password=Secret(_text(said, "ssl_key_password")),
        check_hostname=_truth(said),
    )
    for name in ("ssl_key_file", "ssl_key_password"):
        if name in said and not security.cert_file:
            raise ValueError(f"{said[name].name} needs the certificate, ssl_cert_file")
    _try_files(security, said)
    if (security.protocol, security.mechanism) == ("SASL_PLAINTEXT", "PLAIN"):
        say("the password for Kafka is sent unencrypted: PLAIN over SASL_PLAINTEXT")
    return security


def _try_files(security: Security, said: Mapping[str, _Said]) -> None:
    """Read all files; what is wrong with one is told of the variable where that named it."""
    try:
        security.client_options()
    except ValueError as error:
        option, _, why = str(error).partition(":")
        if option not in said:
            raise
        raise ValueError(f"{said[option].name}:{why}") from error.__cause__


def _securing(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of the client's arguments that secure the connection (Any: as it types them)."""
    return {k: v for k, v in options.items() if k.startswith(("security_", "sasl_", "ssl_"))}


def _from_environment(environ: Mapping[str, str], given: Mapping[str, _Said]) -> dict[str, _Said]:
    """Return what the environment adds to what the call gives."""
    found = {}
    for option, variables in VARIABLES.items():
        variable = next((v for v in variables if environ.get(v)), None)
        if variable is None or option in given or _PASSWORDS.get(option) in given:
            continue
        if "security_protocol" in given and not _belongs(option, str(given["security_protocol"].value)):
            # The call's protocol has no use for it.
            continue
        text = environ[variable]
        secret = option in {"sasl_password", "ssl_key_password"}
        found[option] = _Said(Secret(text) if secret else text, variable)
    return {} if not given and found.keys() == {"ssl_check_hostname"} else found


def _belongs(name: str, protocol: str) -> bool:
    if name.startswith("sasl_"):
        return protocol.upper().startswith("SASL")
    return not name.startswith("ssl_") or protocol.upper().endswith("SSL")


def _protocol(said: Mapping[str, _Said]) -> str:
    if "security_protocol" in said:
        return _one_of(said["security_protocol"], _PROTOCOLS)
    if any(name.startswith("sasl_") for name in said):
        # A password may go unencrypted only where someone has said so.
        return "SASL_SSL"
    return "SSL" if said else "PLAINTEXT"


def _mechanism(said: Mapping[str, _Said], protocol: str) -> str:
    """Return the mechanism, once everything is there that it needs."""
    if not protocol.startswith("SASL"):
        return ""
    if "sasl_username" not in said:
        cause = next((v.name for n, v in said.items() if n.startswith("sasl_")), "") or (
            f"{said['security_protocol'].name} {protocol}"
        )
        raise ValueError(f"{cause} needs a user: give sasl_username or set KAFKA_SASL_USERNAME")
    if "sasl_password" not in said and "sasl_password_file" not in said:
        raise ValueError(
            f"{said['sasl_username'].name} needs a password: give sasl_password or sasl_password_file, or"
            " set KAFKA_SASL_PASSWORD or KAFKA_SASL_PASSWORD_FILE"
        )
    if "sasl_mechanism" in said:
        given = said["sasl_mechanism"]
        if str(given.value).upper() in _ELSEWHERE:
            raise ValueError(f"{given.name} {given.value}: give it and all that it needs in client_options")
        return _one_of(given, _MECHANISMS)
    if protocol == "SASL_SSL":
        return "PLAIN"
    raise ValueError(
        f"{protocol} needs sasl_mechanism, one of {', '.join(_MECHANISMS)}; PLAIN sends the password as it is"
    )


def _one_of(said: _Said, valid: tuple[str, ...]) -> str:
    name = str(said.value).strip().upper()
    if name not in valid:
        raise ValueError(f"{said.name} {str(said.value)[:_WORDS]!r} is unknown; valid: {', '.join(valid)}")
    return name


def _text(said: Mapping[str, _Said], name: str) -> str:
    """Return a text; empty if it was not given.

    Raises:
        ValueError: it is none, empty, or holds NUL, which separates name and password on the wire.
    """
    if name not in said:
        return ""
    try:
        text = os.fspath(said[name].value)
    except TypeError:
        text = None
    if not isinstance(text, str) or not text or "\0" in text:
        raise ValueError(f"{said[name].name} must be a text, not empty and without NUL")
    return text


def _truth(said: Mapping[str, _Said]) -> bool:
    if "ssl_check_hostname" not in said:
        return True
    value, name = said["ssl_check_hostname"]
    word = str(value).strip().lower()
    if word not in _TRUE | _FALSE:
        raise ValueError(f"{name} must be true or false, not {str(value)[:_WORDS]!r}")
    return word in _TRUE


def _from_file(path: str) -> Secret:
    """Read a password; the line end behind it is not part of it.

    Raises:
        ValueError: the file can't be read, or holds no password.
    """
    try:
        with open(path, "rb") as file:  # noqa: PTH123 - pathlib is loaded by nobody else here
            # Not strict: an error of decoding would hold the bytes.
            password = Secret(file.read(_MAX_FILE_BYTES).decode("utf-8", "replace").rstrip("\r\n"))
    except OSError as error:
        raise ValueError(f"sasl_password_file: can't read {path!r}: {error.strerror}") from error
    if not password or not {"\0", "\ufffd"}.isdisjoint(password):
        raise ValueError(f"sasl_password_file: {path!r} holds no password, as UTF-8")
    return password


# --- why the broker won't have it -------------------------------------------------------------------------


async def knock(servers: str, options: Mapping[str, Any]) -> None:
    """Connect to a broker, log in and leave: the client's own start never says why it failed.

    Args:
        servers: `host:port`, several with commas between; the first that takes us will do.
        options: arguments of the client (Any: as it types them), of which those that secure it are used.

    Raises:
        RefusedError: the login or a certificate was refused, by either side.
        Exception: whatever else kept us from the last of them.
    """
    from aiokafka.conn import collect_hosts  # noqa: PLC0415 - the caller has loaded it

    secured = _securing(options)
    trouble: Exception | None = None
    for host, port, _ in collect_hosts(servers):
        try:
            await _log_in(host, port, secured)
        except Exception as error:  # noqa: BLE001 - whatever it is, the next may take us
            refusal = _refusal(error, secured)
            if refusal is None:
                trouble = trouble if isinstance(trouble, RefusedError) else error
                continue
            trouble = RefusedError(refusal)
            if "sasl" in type(error).__name__.lower():
                # A login counts for all of them.
                break
        else:
            return
    if trouble is not None:
        raise trouble


async def _log_in(host: str, port: int, secured: Mapping[str, Any]) -> None:
    """Connect and leave again; what is raised is whatever came in between."""
    from aiokafka.conn import AIOKafkaConnection  # noqa: PLC0415 - the caller has loaded it

    connection = AIOKafkaConnection(host, port, **secured)
    there = True
    try:
        await connection.connect()
    except OSError:
        there = False
        raise
    finally:
        # What is left open is complained about when the loop ends.
        ended = connection.close()
        if there and ended is not None:
            await asyncio.wait([ended], timeout=_GOODBYE_S)


def _refusal(error: BaseException, options: Mapping[str, Any]) -> str | None:
    """Say why a connection was refused; None if it was not, or nobody can tell."""
    mechanism = options.get("sasl_mechanism", "PLAIN")
    match type(error).__name__:
        case "SaslAuthenticationFailed":
            user = options.get("sasl_plain_username")
            whom = f" for user {user!r}" if user else ""
            return f"authentication failed{whom} ({mechanism})"
        case "UnsupportedSaslMechanismError":
            return f"it does not take the mechanism {mechanism}"
        case "IllegalSaslStateError":
            return "it wants no login there: security_protocol is SSL or PLAINTEXT"
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"its certificate is not accepted: {cause.verify_message[:_WORDS].rstrip('.')}"
        if isinstance(cause, ssl.SSLError):
            return _of_tls(cause)
        cause = cause.__cause__ or cause.__context__
    if isinstance(error, ConnectionResetError) and str(options["security_protocol"]).endswith("SSL"):
        return "it ends the connection at once; does it speak TLS there?"
    return None


def _of_tls(error: ssl.SSLError) -> str:
    reason = error.reason or "TLS failed"
    if "CERTIFICATE_REQUIRED" in reason:
        return "it asks for a certificate of ours: ssl_cert_file"
    if "ALERT" in reason and ("CERTIFICATE" in reason or "UNKNOWN_CA" in reason):
        return f"it does not accept our certificate ({reason.lower()})"
    return f"TLS failed ({reason.lower()}); does it speak TLS there?"
