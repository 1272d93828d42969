"""Servers that send wrong answers over HTTP and gRPC."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc


class Rogue:
    """A server that sends scripted answers whatever the request is.

    The script has one entry per request; the last entry also answers all further requests. An entry is a sequence of
    bytes, which are sent unchanged, and floats, which are pauses in seconds. The server closes the connection after
    each entry.
    """

    def __init__(self, script: Sequence[Sequence[bytes | float]]) -> None:
        """Listens on a free loopback port."""
        self._script = script
        self.num_requests = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.server = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> Rogue:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()

    def _serve(self) -> None:
        while not self._ended.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection:
                self._answer(connection)

    def _answer(self, connection: socket.socket) -> None:
        received = b""
        while b"\r\n\r\n" not in received:
            received += connection.recv(65536) or b"\r\n\r\n"
        head, _, body = received.partition(b"\r\n\r\n")
        length = re.search(rb"(?i)content-length: (\d+)", head)
        missing = int(length[1]) - len(body) if length else 0
        while missing > 0:
            missing -= len(connection.recv(65536))
        entry = self._script[min(self.num_requests, len(self._script) - 1)]
        self.num_requests += 1
        try:
            for part in entry:
                if isinstance(part, bytes):
                    connection.sendall(part)
                else:
                    self._ended.wait(part)
        except OSError:
            return  # the client closed the connection


def http(status: int, text: str, *, kind: str = "application/json") -> bytes:
    """Returns a complete HTTP answer."""
    content = text.encode()
    return f"HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\nContent-Length: {len(content)}\r\n\r\n".encode() + content


@contextmanager
def rogue_grpc(
    answer: Callable[[str, bytes, Any], bytes], *, certificate: tuple[Path, Path] | None = None, **options: int
) -> Iterator[str]:
    """Runs a gRPC server that answers what `answer(method, request, context)` returns; yields its `HOST:PORT`.

    Args:
        answer: What the server does.
        certificate: Files of the certificate and of its key, to encrypt.
        options: Channel arguments without their prefix `grpc.`.
    """

    class Handler(grpc.GenericRpcHandler):
        def service(self, details: Any) -> Any:
            return grpc.unary_unary_rpc_method_handler(
                lambda request, context: answer(details.method, request, context)
            )

    with ThreadPoolExecutor(2) as pool:
        server = grpc.server(pool, handlers=[Handler()], options=[(f"grpc.{name}", v) for name, v in options.items()])
        if certificate is None:
            port = server.add_insecure_port("127.0.0.1:0")
        else:
            chain, key = (file.read_bytes() for file in certificate)
            port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([(key, chain)]))
        server.start()
        try:
            yield f"127.0.0.1:{port}"
        finally:
            server.stop(None).wait()
