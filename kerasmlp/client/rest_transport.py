"""`RestTransport`: TF Serving's REST interface over the standard library's HTTP.

It does not use an HTTP library such as `requests` or `httpx`, because their time limits start again with every byte
received, while `timeout_s` is a deadline for the whole answer.

Source: https://www.tensorflow.org/tfx/serving/api_rest.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import io
import json
import re
import socket
import ssl
import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from kerasmlp.client.address import Address
from kerasmlp.client.failures import (
    CONNECTING,
    TimedOut,
    busy,
    disconnected,
    failed,
    not_served,
    not_tf_serving,
    quoted,
    too_large,
    unreachable,
    untrusted,
)
from kerasmlp.client.model_signature import Signature, TensorSpec, VersionStatus, signatures_from_json
from kerasmlp.client.tensor_types import STRING, as_bytes, dtype_name
from kerasmlp.errors import InvalidValue

OK, NOT_FOUND, TOO_LARGE = 200, 404, 413
BUSY = 429, 502, 503, 504  # 502 is a proxy before a server that is restarting; 504 also the server's own time limit
MAX_WHOLE_FLOAT = 2**24 - 1  # the server refuses larger numbers without a decimal point for float32
MAX_NUMBER_LENGTH = 25  # characters of a float in JSON, including its comma
# A connection that the other side ended. TLS has errors of its own for that.
_CLOSED = (ConnectionError, http.client.IncompleteRead, ssl.SSLEOFError, ssl.SSLZeroReturnError)
_HTTP = b"HTTP/"  # how every answer begins
_ERROR = re.compile(r'"error"\s*:\s*"(.*)"\s*\}', re.DOTALL)


class RestTransport:
    """A connection to one model that stays open between requests. Only one thread at a time may use it."""

    def __init__(self, address: Address) -> None:
        """Stores the address. The first call connects."""
        self._connection = _Connection(address)
        self.address = address

    def signatures(self, timeout_s: float) -> dict[str, Signature]:
        """Returns the model's signatures by name."""
        answer = self._ask("GET", f"{self.address.path}/metadata", None, timeout_s)
        try:
            return signatures_from_json(answer)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise not_tf_serving(self.address, f"its metadata cannot be read ({error!r})") from error

    def status(self, timeout_s: float) -> list[VersionStatus]:
        """Returns the model's versions."""
        answer = self._ask("GET", self.address.path, None, timeout_s)
        try:
            return [
                VersionStatus(int(version["version"]), version["state"], version["status"].get("error_message", ""))
                for version in answer["model_version_status"]
            ]
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise not_tf_serving(self.address, f"its status cannot be read ({error!r})") from error

    def predict(
        self, name: str, signature: Signature, inputs: dict[str, np.ndarray], timeout_s: float
    ) -> dict[str, np.ndarray]:
        """Returns the outputs by name, for arrays with exactly the types of the signature."""
        columns = {key: _to_json(array) for key, array in inputs.items()}
        body = json.dumps({"signature_name": name, "inputs": columns}, separators=(",", ":")).encode()
        answer = self._ask("POST", f"{self.address.path}:predict", body, timeout_s)
        try:
            outputs = answer["outputs"]
            if len(signature.outputs) == 1:  # the server leaves out the name of a single output
                outputs = {next(iter(signature.outputs)): outputs}
            return {key: _from_json(outputs[key], spec) for key, spec in signature.outputs.items()}
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise not_tf_serving(self.address, f"its prediction cannot be read ({error!r})") from error

    @staticmethod
    def bytes_per_row(array: np.ndarray) -> int:
        """Returns the largest number of bytes that one row of an input takes in a request."""
        values = array.size // len(array)
        if dtype_name(array) == STRING:
            return max(len(as_bytes(value)) * 4 // 3 + 14 for value in array.ravel()) * values
        return MAX_NUMBER_LENGTH * values

    def close(self) -> None:
        """Closes the connection."""
        self._connection.close()

    def __del__(self) -> None:
        self.close()

    def _ask(self, method: str, path: str, body: bytes | None, timeout_s: float) -> Any:
        status, answer = self._exchange(method, path, body, timeout_s)
        text = answer.decode(errors="replace")
        if status == OK:
            try:
                return json.loads(text)
            except ValueError as error:
                raise not_tf_serving(self.address, f"`{quoted(text[:60])}` is not JSON") from error
        message = _error_message(text)
        if status in BUSY:
            raise busy(self.address, message or f"HTTP status {status}")
        if status == TOO_LARGE:
            raise too_large(self.address, message or f"HTTP status {status}")
        if message is None:
            raise not_tf_serving(self.address, f"HTTP status {status} and `{quoted(text[:60])}`")
        if status == NOT_FOUND:
            raise not_served(self.address, message)
        if 400 <= status < 500:
            raise InvalidValue(f"`{self.address.url}` refuses the request: {quoted(message)}.")
        raise failed(self.address, f"HTTP status {status}, {message}")

    def _exchange(self, method: str, path: str, body: bytes | None, timeout_s: float) -> tuple[int, bytes]:
        connection = self._connection
        deadline = connection.deadline = time.monotonic() + timeout_s
        is_kept = connection.sock is not None
        try:
            return connection.exchange(method, path, body)
        except BaseException as error:
            self.close()  # also after an interruption, because the rest of the answer is still to come
            if is_kept and isinstance(error, _CLOSED):
                # The server may close a connection that was idle; open a new one.
                return self._exchange(method, path, body, deadline - time.monotonic())
            if isinstance(error, OSError | http.client.HTTPException):
                raise self._as_failure(error, is_late=time.monotonic() > deadline - 0.01) from error
            raise

    def _as_failure(self, error: Exception, *, is_late: bool) -> Exception:
        """Returns what to raise for an error of the network. `is_late` says whether the time is over."""
        address, is_connecting = self.address, self._connection.is_connecting
        if isinstance(error, TimeoutError) and is_late:
            return TimedOut("could not be connected to" if is_connecting else "gave no complete answer")
        if isinstance(error, ConnectionRefusedError):
            return unreachable(address, "connection refused")
        if isinstance(error, _CLOSED):
            return disconnected(address, when=CONNECTING) if is_connecting else disconnected(address)
        if isinstance(error, http.client.HTTPException):
            return not_tf_serving(address, "it does not speak HTTP")
        if isinstance(error, ssl.SSLCertVerificationError):
            return untrusted(address, error.verify_message, variable="SSL_CERT_FILE")
        if isinstance(error, ssl.SSLError):
            if not is_connecting:
                return disconnected(address, reason=error.reason or str(error))
            return not_tf_serving(address, f"TLS failed ({error.reason or error}), so it may speak plain `http://`")
        reason = getattr(error, "strerror", None) or str(error)  # an unknown host, or no route to it
        return unreachable(address, reason) if is_connecting else disconnected(address, reason=reason)


class _Connection(http.client.HTTPConnection):
    """A connection that does everything before `deadline`: connecting, TLS, sending and receiving."""

    def __init__(self, address: Address) -> None:
        self.default_port = 443 if address.is_encrypted else 80  # left out of the header `Host`
        super().__init__(address.host, address.port)
        self.deadline = 0.0
        self.is_connecting = False
        self._is_encrypted = address.is_encrypted
        self._context: ssl.SSLContext | None = None

    def connect(self) -> None:
        """Connects and encrypts. `http.client` calls this before a request if the connection is closed."""
        self.is_connecting = True
        self.sock = _open_socket(self.host, self.port, self.deadline)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._is_encrypted:
            if self._context is None:
                self._context = ssl.create_default_context()
                self._context.set_alpn_protocols(["http/1.1"])
            self.sock.settimeout(_left(self.deadline))
            self.sock = self._context.wrap_socket(self.sock, server_hostname=self.host)
        self.is_connecting = False

    def exchange(self, method: str, path: str, body: bytes | None) -> tuple[int, bytes]:
        """Sends a request. Returns the status and the content of the answer."""
        if self.sock is None:
            self.connect()
        self.sock.settimeout(_left(self.deadline))
        timed = _Timed(self.sock, self.deadline)

        class Response(http.client.HTTPResponse):
            def __init__(self, sock: socket.socket, *args: Any, **options: Any) -> None:
                super().__init__(timed, *args, **options)  # type: ignore[arg-type]

        self.response_class = Response
        with contextlib.suppress(BrokenPipeError):  # a server may refuse a request before it has read all of it
            self.request(method, path, body, {"Content-Type": "application/json"} if body else {})
        with self.getresponse() as response:
            timed.is_in_head = False
            return response.status, response.read()


def _open_socket(host: str, port: int, deadline: float) -> socket.socket:
    """Returns a connection to the first address of `host` that accepts one.

    Each address gets its share of the time, so that one that drops packets leaves some for the others.
    """
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    for number, (family, kind, protocol, _, address) in enumerate(found):
        connection = socket.socket(family, kind, protocol)
        try:
            connection.settimeout(_left(deadline) / (len(found) - number))
            connection.connect(address)
        except OSError:
            connection.close()
            if number == len(found) - 1:
                raise
        else:
            return connection
    raise AssertionError("an unknown host raises")


class _Timed(io.RawIOBase):
    """The bytes that arrive on a socket before a deadline.

    A socket's own time limit is not enough, because it starts again with every byte received.
    """

    def __init__(self, sock: socket.socket, deadline: float) -> None:
        self._socket, self._deadline = sock, deadline
        self._start = b""
        self.is_in_head = True  # until the status and the headers have arrived

    def makefile(self, mode: str) -> io.BufferedReader:
        """Returns the stream that `http.client` reads from."""
        return io.BufferedReader(self, 64 * 1024)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._socket.settimeout(_left(self._deadline))
        if hasattr(socket, "TCP_QUICKACK"):
            # TF Serving sends an answer of more than 16 KB in two parts, and sends the second only when the first is
            # acknowledged. Linux delays that by 40 ms unless this option is set, and resets the option with each read.
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        try:
            count = self._socket.recv_into(buffer)
        except ConnectionError:
            if self._is_http():
                raise
            count = 0
        if not self._start:
            self._start = bytes(buffer[: min(count, len(_HTTP))])
        if not count and self.is_in_head and self._is_http():
            raise ConnectionResetError  # `http.client` would take it for the end of the headers
        return count

    def _is_http(self) -> bool:
        """Returns whether what has arrived may be HTTP. If not, `http.client` says so at the end."""
        return _HTTP.startswith(self._start)


def _left(deadline: float) -> float:
    seconds = deadline - time.monotonic()
    if seconds <= 0:
        raise TimeoutError
    return seconds


def _error_message(text: str) -> str | None:
    """Returns the message in a server's `{"error": ...}`; None if there is none.

    TF Serving escapes quotes in it as C does, which is not valid JSON.
    """
    try:
        answer = json.loads(text)
    except ValueError:
        match = _ERROR.search(text)
        if match is None:
            return None
        octets = match[1].encode("latin-1", "replace").decode("unicode_escape").encode("latin-1", "replace")
        return octets.decode(errors="replace")
    message = answer.get("error") if isinstance(answer, dict) else None
    return message if isinstance(message, str) else None


def _to_json(array: np.ndarray) -> Any:
    """Returns an array as nested lists, with bytes as `{"b64": ...}`."""
    if array.dtype.kind == "f" and (np.abs(array) <= MAX_WHOLE_FLOAT).all() and (array == np.trunc(array)).all():
        return array.astype(np.int64).tolist()  # pixels take a third less space and half the time as integers
    if array.dtype != object:
        return array.tolist()
    if array.ndim > 1:
        return [_to_json(part) for part in array]
    return [value if isinstance(value, str) else {"b64": base64.b64encode(value).decode()} for value in array]


def _from_json(values: Any, spec: TensorSpec) -> np.ndarray:
    if spec.dtype != STRING:
        array = np.asarray(values)
        if array.size and array.dtype.kind not in "biuf":
            raise ValueError(f"got {array.dtype}, but the signature promises {spec}")
        return array.astype(spec.dtype)
    strings = np.array(values, object)
    for position, value in np.ndenumerate(strings):
        strings[position] = base64.b64decode(value["b64"]) if isinstance(value, Mapping) else as_bytes(value)
    return strings
