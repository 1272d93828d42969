"""TF Serving's REST interface: https://www.tensorflow.org/tfx/serving/api_rest, over the standard library's HTTP."""

from __future__ import annotations

import base64
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
from kerasmlp.client.failures import TimeIsUp, broken_off, busy, down, failed, nonsense, not_served, quoted, untrusted
from kerasmlp.client.model_signature import Signature, TensorSpec, VersionStatus, signatures_from_json
from kerasmlp.client.tensors import STRING, as_bytes, dtype_name
from kerasmlp.errors import InvalidValue

OK, NOT_FOUND, BUSY = 200, 404, (429, 503)
LARGEST_WHOLE_FLOAT = 2**24 - 1  # as far as the server takes whole numbers for float32
LARGEST_NUMBER_TEXT = 25  # characters of a float in JSON, with its comma
_ERROR = re.compile(r'"error"\s*:\s*"(.*)"\s*\}', re.DOTALL)


class RestTransport:
    """A connection to one model, kept alive; for one thread at a time."""

    def __init__(self, address: Address) -> None:
        """Keeps the address; the first call connects."""
        self._connection: http.client.HTTPConnection | None = None
        self.address = address

    def signatures(self, timeout_s: float) -> dict[str, Signature]:
        """The model's signatures by name."""
        answer = self._ask("GET", f"{self.address.path}/metadata", None, timeout_s)
        try:
            return signatures_from_json(answer)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise nonsense(self.address, f"its metadata cannot be read ({error!r})") from error

    def status(self, timeout_s: float) -> list[VersionStatus]:
        """The model's versions."""
        answer = self._ask("GET", self.address.path, None, timeout_s)
        try:
            return [
                VersionStatus(int(version["version"]), version["state"], version["status"].get("error_message", ""))
                for version in answer["model_version_status"]
            ]
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise nonsense(self.address, f"its status cannot be read ({error!r})") from error

    def predict(
        self, name: str, signature: Signature, inputs: dict[str, np.ndarray], timeout_s: float
    ) -> dict[str, np.ndarray]:
        """The outputs for arrays of exactly the types that the signature takes."""
        columns = {key: _to_json(array) for key, array in inputs.items()}
        body = json.dumps({"signature_name": name, "inputs": columns}, separators=(",", ":")).encode()
        answer = self._ask("POST", f"{self.address.path}:predict", body, timeout_s)
        try:
            outputs = answer["outputs"]
            if len(signature.outputs) == 1:  # the server leaves out the name of an only output
                outputs = {next(iter(signature.outputs)): outputs}
            return {key: _from_json(outputs[key], spec) for key, spec in signature.outputs.items()}
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise nonsense(self.address, f"its prediction cannot be read ({error!r})") from error

    @staticmethod
    def bytes_per_row(array: np.ndarray) -> int:
        """How large a row of an input is in a request, at most."""
        values = array.size // len(array)
        if dtype_name(array) == STRING:
            return max(len(as_bytes(value)) * 4 // 3 + 14 for value in array.ravel()) * values
        return LARGEST_NUMBER_TEXT * values

    def close(self) -> None:
        """Ends the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def __del__(self) -> None:
        self.close()

    def _ask(self, method: str, path: str, body: bytes | None, timeout_s: float) -> Any:
        status, answer = self._exchange(method, path, body, timeout_s)
        text = answer.decode(errors="replace")
        if status == OK:
            try:
                return json.loads(text)
            except ValueError as error:
                raise nonsense(self.address, f"`{quoted(text[:60])}` is no JSON") from error
        message = _error_message(text)
        if status in BUSY:
            raise busy(self.address, message or f"HTTP status {status}")
        if message is None:
            raise nonsense(self.address, f"HTTP status {status} and `{quoted(text[:60])}`")
        if status == NOT_FOUND:
            raise not_served(self.address, message)
        if 400 <= status < 500:
            raise InvalidValue(f"`{self.address.url}` refuses the request: {quoted(message)}.")
        raise failed(self.address, f"HTTP status {status}, {message}")

    def _exchange(self, method: str, path: str, body: bytes | None, timeout_s: float) -> tuple[int, bytes]:
        deadline = time.monotonic() + timeout_s
        is_kept = self._connection is not None
        try:
            return self._send(method, path, body, deadline)
        except (ConnectionError, http.client.IncompleteRead) as error:
            self.close()
            if is_kept:  # the server may have ended a connection that lay idle: that is no failure yet
                return self._exchange(method, path, body, deadline - time.monotonic())
            if isinstance(error, ConnectionRefusedError):
                raise down(self.address, "connection refused") from error
            raise broken_off(self.address) from error
        except TimeoutError as error:
            self.close()
            raise TimeIsUp from error
        except http.client.HTTPException as error:
            self.close()
            raise nonsense(self.address, "it speaks no HTTP") from error
        except ssl.SSLCertVerificationError as error:
            self.close()
            raise untrusted(self.address, error.verify_message, variable="SSL_CERT_FILE") from error
        except ssl.SSLError as error:
            self.close()
            raise nonsense(
                self.address,
                f"no encrypted connection came about ({error.reason or error}); does it speak plain `http://`",
            ) from error
        except OSError as error:  # an unknown host, no way to it
            self.close()
            raise down(self.address, error.strerror or str(error)) from error

    def _send(self, method: str, path: str, body: bytes | None, deadline: float) -> tuple[int, bytes]:
        if self._connection is None:
            kind = http.client.HTTPSConnection if self.address.is_encrypted else http.client.HTTPConnection
            self._connection = kind(self.address.host, self.address.port)
        connection = self._connection
        connection.timeout = _left(deadline)
        if connection.sock is not None:
            connection.sock.settimeout(_left(deadline))
        connection.request(method, path, body, {"Content-Type": "application/json"} if body else {})

        class Response(http.client.HTTPResponse):
            def __init__(self, sock: socket.socket, *args: Any, **options: Any) -> None:
                super().__init__(_Timed(sock, deadline), *args, **options)  # type: ignore[arg-type]

        connection.response_class = Response
        with connection.getresponse() as response:
            return response.status, response.read()


class _Timed(io.RawIOBase):
    """A socket's incoming bytes until a deadline; a socket's own time limit starts anew with every byte."""

    def __init__(self, sock: socket.socket, deadline: float) -> None:
        self._socket, self._deadline = sock, deadline

    def makefile(self, mode: str) -> io.BufferedReader:
        """What `http.client` reads from."""
        return io.BufferedReader(self, 64 * 1024)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._socket.settimeout(_left(self._deadline))
        if hasattr(socket, "TCP_QUICKACK"):
            # TF Serving sends an answer of more than 16 KB in two parts and waits with the second until the first is
            # acknowledged, which Linux puts off by 40 ms; it forgets the request not to with each read.
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        return self._socket.recv_into(buffer)


def _left(deadline: float) -> float:
    seconds = deadline - time.monotonic()
    if seconds <= 0:
        raise TimeoutError
    return seconds


def _error_message(text: str) -> str | None:
    """The message in a server's `{"error": ...}`, whose quotes it escapes as C does and JSON does not."""
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
    """Nested lists; of strings those of bytes as `{"b64": ...}`."""
    if array.dtype.kind == "f" and (np.abs(array) <= LARGEST_WHOLE_FLOAT).all() and (array == np.trunc(array)).all():
        return array.astype(np.int64).tolist()  # pixels: a third shorter, and written in less than half the time
    if array.dtype != object:
        return array.tolist()
    if array.ndim > 1:
        return [_to_json(part) for part in array]
    return [value if isinstance(value, str) else {"b64": base64.b64encode(value).decode()} for value in array]


def _from_json(values: Any, spec: TensorSpec) -> np.ndarray:
    if spec.dtype != STRING:
        array = np.asarray(values)
        if array.size and array.dtype.kind not in "biuf":
            raise ValueError(f"{spec} was promised; got {array.dtype}")
        return array.astype(spec.dtype)
    strings = np.array(values, object)
    for position, value in np.ndenumerate(strings):
        strings[position] = base64.b64decode(value["b64"]) if isinstance(value, Mapping) else as_bytes(value)
    return strings
