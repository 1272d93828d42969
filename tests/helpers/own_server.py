"""`OwnServer`: kerasmlp's own server with what tests need to know; and versions that are published for it."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from kerasmlp.serving import LocalServer

POLL_S = 0.05
MOST_EXAMPLES = 2**20  # so that the limits of a graph are reached


class OwnServer(LocalServer):
    """kerasmlp's server on free ports, with the URLs and the requests that tests look at."""

    def __init__(self, models: Mapping[str, Path], **options: Any) -> None:
        """Loads the models by name. Entering the context starts the server."""
        self.requests: list[str] = []  # for tests that count requests
        self.paths = dict(models)
        super().__init__(
            [f"{name}={path}" for name, path in models.items()],
            port=0,
            grpc_port=0,
            poll_s=POLL_S,
            max_batch=MOST_EXAMPLES,
            on_request=self.requests.append,
            **options,
        )

    @property
    def rest(self) -> str:
        """The URL of REST."""
        return self.url

    @property
    def grpc(self) -> str:
        """The URL of gRPC."""
        assert self.grpc_url is not None
        return self.grpc_url


def publish(version: Path, base: Path, number: int) -> None:
    """Copies an exported version to `base` in one step, so that a server never sees half a version."""
    base.mkdir(exist_ok=True)
    shutil.copytree(version, base / f".writing-{number}")
    (base / f".writing-{number}").rename(base / str(number))


def wait_until(is_so: Callable[[], bool], *, seconds: float, what: str) -> None:
    """Returns as soon as `is_so()` is true; fails after `seconds`. `what` names the event in the failure."""
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, f"{what} did not happen within {seconds} s"
        time.sleep(0.01)
