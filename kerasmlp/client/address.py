"""`Address`: the server, protocol and model that one URL names."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import quote, unquote, urlsplit

from kerasmlp.errors import InvalidValue

REST, GRPC = "rest", "grpc"
# For each scheme: the protocol, whether it is encrypted, and the default port.
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
EXPECTED = "Expected a URL such as `http://HOST:PORT/v1/models/NAME` or `grpc://HOST:PORT/NAME`."


@dataclass(frozen=True)
class Address:
    """A model on a server.

    Attributes:
        url: The URL as it was given.
        protocol: `rest` or `grpc`.
        is_encrypted: Whether the connection is encrypted.
        host: Name or IP address of the machine.
        port: Port number.
        model: Name of the model.
        version: Number of the version; None for the newest.
        label: Label of the version, used instead of its number; None if there is none.
        prefix: Path before `/v1/models`, for proxies that add one.
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
    """Returns whether `text` looks like the URL of a server rather than a path.

    Example:
        >>> is_address("grpc://localhost/digits"), is_address("models/digits")
        (True, False)
    """
    return isinstance(text, str) and re.match(r"[a-zA-Z][a-zA-Z0-9+.-]*://", text) is not None


def parse_address(url: str) -> Address:
    """Returns the model that a URL names.

    Args:
        url: `http://HOST:PORT/v1/models/NAME` or `grpc://HOST:PORT/NAME`, optionally followed by `/versions/NUMBER` or
            `/labels/LABEL`. `https` and `grpcs` are encrypted. The port defaults to 80 for `http`, 8500 for `grpc`, and
            443 for `https` and `grpcs`.

    Raises:
        InvalidValue: `url` is not such a URL.

    Example:
        >>> address = parse_address("grpc://localhost:8500/digits/versions/3")
        >>> address.server, address.model, address.version
        ('localhost:8500', 'digits', 3)
    """
    try:
        parts = urlsplit(url)
        protocol, is_encrypted, default_port = _SCHEMES[parts.scheme.lower()]
        host, port = parts.hostname, default_port if parts.port is None else parts.port
        url.encode()
        (host or "").encode("idna")  # as it is looked up
    except KeyError:
        raise InvalidValue(
            f"`{_shown(url)}` needs to start with `http://`, `https://`, `grpc://` or `grpcs://`. {EXPECTED}"
        ) from None
    except ValueError as error:  # a wrong port, brackets that do not match, or a name that cannot be encoded
        raise InvalidValue(f"`{_shown(url)}` is not a valid URL: {_shown(str(error))}. {EXPECTED}") from error
    match = _PATHS[protocol].fullmatch(parts.path)
    has_more = parts.query or parts.fragment or parts.username is not None
    if not host or re.search(r"\s", host) or port == 0 or match is None or has_more:
        raise InvalidValue(f"`{url}` does not name a model on a server. {EXPECTED}")
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
        prefix=quote(match["prefix"], safe="/%"),
    )


def _shown(text: str) -> str:
    """Returns `text` with halves of surrogate pairs escaped, which cannot be printed."""
    return text.encode(errors="backslashreplace").decode()
