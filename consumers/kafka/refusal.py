"""Refusals: why a broker won't have the worker; the client itself says only that it can't be reached."""

from __future__ import annotations

import asyncio
import ssl
from typing import TYPE_CHECKING, Any

from aiokafka.conn import AIOKafkaConnection, collect_hosts
from aiokafka.errors import IllegalSaslStateError, SaslAuthenticationFailed, UnsupportedSaslMechanismError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["refusal"]

_OF_SECURITY = ("security_", "sasl_", "ssl_")
# A worker that is told to stop waits for it.
_WITHIN_S = 5.0
_GOODBYE_S = 1.0
_WORDS = 200


async def refusal(options: Mapping[str, Any]) -> str | None:
    """Return why no broker takes the worker; None if one does, or where nobody can tell.

    Args:
        options: those of the client (Any: as aiokafka types them).
    """
    if options.get("security_protocol", "PLAINTEXT") == "PLAINTEXT":
        return None
    secured = {name: value for name, value in options.items() if name.startswith(_OF_SECURITY)}
    found = None
    try:
        async with asyncio.timeout(_WITHIN_S):
            for host, port, _ in collect_hosts(options["bootstrap_servers"]):
                error = await _log_in(AIOKafkaConnection(host, port, **secured))
                if error is None:
                    return None
                found = found or _why(error, secured)
                if isinstance(error, SaslAuthenticationFailed):
                    # A login counts for all of them, and failing too often may lock the user out.
                    break
    except TimeoutError:
        return found
    return found


async def _log_in(connection: AIOKafkaConnection) -> Exception | None:
    """Connect and leave again; return what came in between."""
    try:
        await connection.connect()
    except OSError as error:
        connection.close()
        return error
    except Exception as error:  # noqa: BLE001 - whatever the client raises, it is only asked about
        await _close(connection)
        return error
    except BaseException:
        connection.close()
        raise
    await _close(connection)
    return None


async def _close(connection: AIOKafkaConnection) -> None:
    ended = connection.close()
    if ended is not None:
        await asyncio.wait([ended], timeout=_GOODBYE_S)


def _why(error: Exception, options: Mapping[str, Any]) -> str | None:
    mechanism = options.get("sasl_mechanism", "PLAIN")
    if isinstance(error, SaslAuthenticationFailed):
        return f"authentication failed for user {options.get('sasl_plain_username')!r} ({mechanism})"
    if isinstance(error, UnsupportedSaslMechanismError):
        return f"it does not take the mechanism {mechanism}"
    if isinstance(error, IllegalSaslStateError):
        return "it wants no login there: security_protocol is SSL or PLAINTEXT"
    if (why := _of_tls(error)) is not None:
        return why
    if isinstance(error, ConnectionResetError) and str(options["security_protocol"]).endswith("SSL"):
        return "it ends the connection at once; does it speak TLS there?"
    return None


def _of_tls(error: Exception) -> str | None:
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, ssl.SSLError):
        cause = cause.__cause__ or cause.__context__
    if cause is None:
        return None
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"its certificate is not accepted: {cause.verify_message[:_WORDS].rstrip('.')}"
    reason = cause.reason or "TLS failed"
    if "CERTIFICATE_REQUIRED" in reason:
        return "it asks for a certificate of ours: ssl_certfile"
    if "ALERT" in reason and ("CERTIFICATE" in reason or "UNKNOWN_CA" in reason):
        return f"it does not accept our certificate ({reason.lower()})"
    return f"TLS failed ({reason.lower()}); does it speak TLS there?"
