"""`Address`: which model, of which server, over which protocol, as one URL says it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import quote, unquote, urlsplit

from kerasmlp.errors import InvalidValue

REST, GRPC = "rest", "grpc"
# The protocol that a scheme means, whether it is encrypted, and the port where none is named.
_SCHEMES = {
    "http": (REST, False, 80),
    "https": (REST, True, 443),
    "grpc": (GRPC, False, 8500),
    "grpcs": (GRPC, True, 443),
}
_MODEL = r"(?P<model>[^/:]+)(?:/versions/(?P<version>\d+)|/labels/(?P<label>[^/:]+))?/?"
_PATHS = {
    REST: re.compile(rf"(?P<prefix>(?:/[^/:]+)*?)/v1/models/{_MODEL}"),
    GRPC: re.compile(rf"(?P<prefix>)/{_MODEL}"),
}
EXPECTED = "`http://HOST:8501/v1/models/NAME` or `grpc://HOST:8500/NAME`"


@dataclass(frozen=True)
class Address:
    """A model on a server.

    Attributes:
        url: The URL as it was given.
        protocol: `rest` or `grpc`.
        is_encrypted: Whether the connection is.
        host: Name or number of the machine.
        port: Its port.
        model: Name of the model.
        version: Number of a version; None for the newest.
        label: Name of a version instead of its number.
        prefix: What stands before `/v1/models` where a proxy adds a path.
    """

    url: str
    protocol: str
    is_encrypted: bool
    host: str
    port: int
    model: str
    version: int | None = None
    label: str | None = None
    prefix: str = ""

    @property
    def server(self) -> str:
        """Host and port."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def path(self) -> str:
        """The model's path in the REST interface."""
        which = "" if self.version is None else f"/versions/{self.version}"
        if self.label is not None:
            which = f"/labels/{quote(self.label, safe='')}"
        return f"{self.prefix}/v1/models/{quote(self.model, safe='')}{which}"


def is_address(text: object) -> bool:
    """Whether `text` is written as the URL of a server, rather than as a path.

    Example:
        >>> is_address("grpc://localhost/digits"), is_address("models/digits")
        (True, False)
    """
    return isinstance(text, str) and re.match(r"[a-zA-Z][a-zA-Z0-9+.-]*://", text) is not None


def parse_address(url: str) -> Address:
    """The model that a URL names.

    Args:
        url: `http://HOST:PORT/v1/models/NAME` or `grpc://HOST:PORT/NAME`, after which may follow `/versions/NUMBER` or
            `/labels/LABEL`; `https` and `grpcs` are encrypted. Ports default to 80 and 443, for `grpc` to 8500.

    Raises:
        InvalidValue: `url` is no such thing.

    Example:
        >>> address = parse_address("grpc://localhost:8500/digits/versions/3")
        >>> address.server, address.model, address.version
        ('localhost:8500', 'digits', 3)
    """
    try:
        parts = urlsplit(url)
        protocol, is_encrypted, default_port = _SCHEMES[parts.scheme.lower()]
        host, port = parts.hostname, default_port if parts.port is None else parts.port
    except KeyError:
        raise InvalidValue(
            f"`{url}` starts with none of http, https, grpc and grpcs; {EXPECTED} was expected."
        ) from None
    except ValueError as error:  # of the port or of brackets
        raise InvalidValue(f"`{url}`: {error}; {EXPECTED} was expected.") from error
    match = _PATHS[protocol].fullmatch(parts.path)
    if not host or port == 0 or match is None or parts.query or parts.fragment or parts.username is not None:
        raise InvalidValue(f"`{url}` does not name a model on a server; {EXPECTED} was expected.")
    version, label = match["version"], match["label"]
    return Address(
        url=url,
        protocol=protocol,
        is_encrypted=is_encrypted,
        host=host,
        port=port,
        model=unquote(match["model"]),
        version=None if version is None else int(version),
        label=None if label is None else unquote(label),
        prefix=match["prefix"],
    )
