"""`ServerSettings`: where a server listens, and its limits."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from kerasmlp.errors import InvalidValue, NotFound
from kerasmlp.settings_base import Settings

MEGABYTE = 2**20


@dataclass(frozen=True)
class ServerSettings(Settings):
    """Where a server listens, and its limits.

    Attributes:
        host: Address to listen on. Defaults to `"127.0.0.1"`, which other machines cannot reach.
        port: Port of REST, 0 to 65535; 0 chooses a free one. Defaults to 8501, as TF Serving's.
        grpc_port: Port of gRPC; None for no gRPC. TF Serving's is 8500.
        poll_s: Seconds between two looks for a newer version, above 0.
        max_body_mb: Largest request in megabytes, above 0.
        max_batch: Most examples in a request, at least 1.
        timeout_s: Seconds that a client may take to send a request, or to read an answer, above 0.
        labels: Numbers of versions by label, for `/labels/NAME`. Labelled versions are served beside the newest one.
        certificate: File of the certificate, to encrypt REST and gRPC; None for no encryption.
        key: File of the certificate's private key.
        on_request: Called with each request, such as `"POST /v1/models/digits:predict"`, as it arrived: with its `%20`.
    """

    host: str = "127.0.0.1"
    port: int = 8501
    grpc_port: int | None = None
    poll_s: float = 1.0
    max_body_mb: float = 64.0
    max_batch: int = 16_384
    timeout_s: float = 30.0
    labels: Mapping[str, int] = field(default_factory=dict)
    certificate: str | Path | None = None
    key: str | Path | None = None
    on_request: Callable[[str], None] | None = None

    def __post_init__(self) -> None:
        """Checks the values.

        Raises:
            InvalidValue: a value is out of range.
            NotFound: the certificate or its key is not a file.
        """
        for name in ("port", "grpc_port"):
            value = getattr(self, name)
            if value is not None and (type(value) is not int or not 0 <= value <= 65535):
                raise InvalidValue(f"`{name}` needs a whole number from 0 to 65535; got {value!r}.")
        if self.grpc_port and self.grpc_port == self.port:
            raise InvalidValue(f"`grpc_port` needs another port than `port`; got {self.port} for both.")
        for name in ("poll_s", "max_body_mb", "timeout_s"):
            value = getattr(self, name)
            is_number = isinstance(value, int | float) and not isinstance(value, bool)
            if not is_number or not 0 < value < math.inf:
                raise InvalidValue(f"`{name}` needs a finite number above 0; got {value!r}.")
        if type(self.max_batch) is not int or self.max_batch < 1:
            raise InvalidValue(f"`max_batch` needs a whole number of at least 1; got {self.max_batch!r}.")
        for label, version in self.labels.items():
            if not label or "/" in label or ":" in label or type(version) is not int or version < 0:
                raise InvalidValue(
                    f"`labels` needs the number of a version for each name, such as `stable=3`; got {label!r}: "
                    f"{version!r}."
                )
        if (self.certificate is None) != (self.key is None):
            raise InvalidValue("Encryption needs both `certificate` and `key`; got only one of them.")
        for name in ("certificate", "key"):
            file = getattr(self, name)
            if file is not None and not Path(file).is_file():
                raise NotFound(f"`{name}` needs a file; got `{file}`.")

    @property
    def max_body_bytes(self) -> int:
        """Largest request in bytes."""
        return int(self.max_body_mb * MEGABYTE)
