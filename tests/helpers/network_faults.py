"""A network that is slow or breaks: a TCP proxy before a server, and servers that answer at once, for both protocols.

The proxy counts the bytes that the server sends. They are the same in each stage of a connection (TLS's or HTTP/2's
first messages, headers, body), so a fault after a number of bytes is a fault in one of these stages.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Fault:
    """What happens to a connection.

    Attributes:
        after_bytes: How many bytes of the server pass before.
        pause_s: How long nothing passes then.
        ends: What follows the pause: None to let everything pass, "close", or "reset".
        each_byte_s: A pause after every byte that follows.
    """

    after_bytes: int = 0
    pause_s: float = 0
    ends: str | None = None
    each_byte_s: float = 0


class Proxy:
    """A TCP proxy on loopback whose connections suffer the faults that `fault_of` returns for their numbers."""

    def __init__(self, server: str, fault_of: Callable[[int], Fault | None], *, port: int = 0) -> None:
        """Listens on a free port or the given one. `server` is the `HOST:PORT` to pass everything on to."""
        host, _, number = server.rpartition(":")
        self._target = (host, int(number))
        self._fault_of = fault_of
        self.num_connections = 0
        self._ended = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", port))
        self.server = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._sockets: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept, daemon=True)]

    def __enter__(self) -> Proxy:
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for end in (self._listener, *self._sockets):
            _shut(end, socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(5)
        self._listener.close()

    def _accept(self) -> None:
        while not self._ended.is_set():
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            fault = self._fault_of(self.num_connections)
            self.num_connections += 1
            thread = threading.Thread(target=self._serve, args=(client, fault or Fault()), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, client: socket.socket, fault: Fault) -> None:
        with client, contextlib.suppress(OSError), socket.create_connection(self._target) as server:
            self._sockets += [client, server]
            upwards = threading.Thread(target=_copy, args=(client, server), daemon=True)
            upwards.start()
            with contextlib.suppress(OSError):
                self._pass_answers(server, client, fault)
            if fault.ends == "reset":  # instead of the usual end, once the other thread has let go of the socket
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                _shut(client, socket.SHUT_RD)
            else:
                _shut(client, socket.SHUT_RDWR)
            _shut(server, socket.SHUT_RDWR)
            upwards.join(5)

    def _pass_answers(self, server: socket.socket, client: socket.socket, fault: Fault) -> None:
        missing = fault.after_bytes
        while missing:
            content = server.recv(missing)
            if not content:
                return
            client.sendall(content)
            missing -= len(content)
        self._ended.wait(fault.pause_s)
        if fault.ends is not None:
            return
        while content := server.recv(1 if fault.each_byte_s else 65536):
            client.sendall(content)
            if self._ended.wait(fault.each_byte_s):
                return


def _copy(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while content := source.recv(65536):
            target.sendall(content)
        target.shutdown(socket.SHUT_WR)


def _shut(end: socket.socket, how: int) -> None:
    with contextlib.suppress(OSError):
        end.shutdown(how)


@contextlib.contextmanager
def restarting(server: str, *, seconds: float) -> Iterator[str]:
    """Refuses connections for some seconds, then passes them on to `server`; yields `HOST:PORT`."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with contextlib.ExitStack() as stack:
        lock = threading.Lock()
        has_ended = False

        def start() -> None:
            with lock:
                if not has_ended:
                    stack.enter_context(Proxy(server, lambda _: None, port=port))

        timer = threading.Timer(seconds, start)
        timer.start()
        yield f"127.0.0.1:{port}"
        with lock:
            has_ended = True
        timer.cancel()
        timer.join()


@contextlib.contextmanager
def dropped_packets(server: str, *, seconds: float) -> Iterator[str]:
    """Passes connections on to `server` after some seconds in which packets are dropped; yields `HOST:PORT`.

    The queue of connections to accept is full until then, so Linux drops packets. Clients repeat them after 1 s.
    """
    host, port = server.rsplit(":", 1)
    ended = threading.Event()
    with socket.socket() as listener, contextlib.ExitStack() as fillers:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(2):
            filler = fillers.enter_context(socket.socket())
            filler.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                filler.connect(listener.getsockname())

        def run() -> None:
            ended.wait(seconds)
            listener.settimeout(0.05)
            while not ended.is_set():
                with contextlib.suppress(OSError):
                    client, _ = listener.accept()
                    client.settimeout(None)
                    threading.Thread(target=_pass_on, args=(client, (host, int(port))), daemon=True).start()

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        yield f"127.0.0.1:{listener.getsockname()[1]}"
        ended.set()
        thread.join(5)


def _pass_on(client: socket.socket, target: tuple[str, int]) -> None:
    with client, contextlib.suppress(OSError), socket.create_connection(target) as server:
        threading.Thread(target=_copy, args=(client, server), daemon=True).start()
        _copy(server, client)


def make_certificate(folder: Path) -> tuple[Path, Path]:
    """Returns the files of a new certificate for `localhost` and of its key. Needs `openssl` on PATH."""
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    make = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout"]
    make += [str(key), "-out", str(certificate), "-days", "2", "-subj", "/CN=localhost"]
    subprocess.run([*make, "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"], check=True, capture_output=True)
    return certificate, key


@contextlib.contextmanager
def answering_rest(answer_of: Callable[[str], str], *, certificate: tuple[Path, Path] | None = None) -> Iterator[str]:
    """Runs an HTTP server that answers what `answer_of(path)` returns; yields its `HOST:PORT`."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            content = answer_of(self.path).encode()
            self.rfile.read(int(self.headers["Content-Length"] or 0))
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def do_POST(self) -> None:
            self.do_GET()

    class Server(ThreadingHTTPServer):
        request_queue_size = 100

        def handle_error(self, *_: Any) -> None:
            """Ignores clients that close their connection."""

        def get_request(self) -> Any:
            client, address = super().get_request()
            if certificate is None:
                return client, address
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certificate)
            return context.wrap_socket(client, server_side=True, do_handshake_on_connect=False), address

    with Server(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield f"127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()
