"""`check_certificate`: whether a server can encrypt with a certificate and its key."""

from __future__ import annotations

import ssl
from pathlib import Path

from kerasmlp.errors import InvalidValue


def check_certificate(certificate: str | Path | None, key: str | Path | None) -> None:
    """Loads a certificate and its private key as a server does. Does nothing without them.

    Raises:
        InvalidValue: they cannot be read, are not in PEM, need a password, or do not belong together.
    """
    if certificate is None or key is None:
        return
    try:
        # OpenSSL would ask the terminal for a password, and gRPC cannot use one.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password="")
    except (OSError, ValueError) as error:  # those of OpenSSL are OSErrors
        reason = getattr(error, "reason", None) or str(error)
        raise InvalidValue(
            f"`certificate={certificate}` and `key={key}` cannot be used: {reason}. They need to be a certificate and "
            "its private key without a password, both in PEM."
        ) from error
